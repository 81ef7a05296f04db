//! Rust source as tokens and comments. Just enough of the language to find paths and braces;
//! literals become one token without content.

use std::str::CharIndices;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind<'a> {
    Ident(&'a str),
    /// `::`
    PathSep,
    Literal,
    Punct(char),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'a> {
    pub(super) kind: TokenKind<'a>,
    /// From 1.
    pub(super) line: usize,
}

/// A comment to the end of its line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Comment<'a> {
    /// From 1.
    pub(super) line: usize,
    /// With its slashes.
    pub(super) text: &'a str,
}

#[derive(Debug, Default)]
pub(super) struct Lexed<'a> {
    pub(super) tokens: Vec<Token<'a>>,
    pub(super) comments: Vec<Comment<'a>>,
}

pub(super) fn lex(text: &str) -> Lexed<'_> {
    let mut lexer = Lexer { text, chars: text.char_indices(), line: 1, lexed: Lexed::default() };
    while lexer.step() {}
    lexer.lexed
}

struct Lexer<'a> {
    text: &'a str,
    chars: CharIndices<'a>,
    line: usize,
    lexed: Lexed<'a>,
}

impl<'a> Lexer<'a> {
    /// Reads one token or comment. Returns false at the end.
    fn step(&mut self) -> bool {
        let Some(first) = self.peek() else { return false };
        let rest = self.rest();
        if rest.starts_with("//") {
            self.line_comment();
        } else if rest.starts_with("/*") {
            self.block_comment();
        } else if let Some(hashes) = raw_string(rest) {
            self.raw_string(hashes);
        } else if first == '"' || rest.starts_with("b\"") || rest.starts_with("c\"") {
            self.take_through('"');
            self.quoted('"');
        } else if first == '\'' || rest.starts_with("b'") {
            self.take_through('\'');
            self.char_or_lifetime();
        } else if rest.starts_with("::") {
            self.push(TokenKind::PathSep);
            self.take();
            self.take();
        } else if first.is_ascii_digit() {
            self.push(TokenKind::Literal);
            self.take_while(|c| c.is_alphanumeric() || c == '_');
        } else if first.is_alphabetic() || first == '_' {
            self.ident();
        } else {
            if !first.is_whitespace() {
                self.push(TokenKind::Punct(first));
            }
            self.take();
        }
        true
    }

    fn rest(&self) -> &'a str {
        self.chars.as_str()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take(&mut self) -> Option<char> {
        let (_, c) = self.chars.next()?;
        self.line += usize::from(c == '\n');
        Some(c)
    }

    /// Takes everything up to and including `end`.
    fn take_through(&mut self, end: char) {
        while self.take().is_some_and(|c| c != end) {}
    }

    fn take_while(&mut self, is_part: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&is_part) {
            self.take();
        }
    }

    fn push(&mut self, kind: TokenKind<'a>) {
        self.lexed.tokens.push(Token { kind, line: self.line });
    }

    fn ident(&mut self) {
        if self.rest().starts_with("r#") {
            self.take();
            self.take();
        }
        let start = self.chars.offset();
        let line = self.line;
        self.take_while(|c| c.is_alphanumeric() || c == '_');
        let kind = TokenKind::Ident(&self.text[start..self.chars.offset()]);
        self.lexed.tokens.push(Token { kind, line });
    }

    fn line_comment(&mut self) {
        let text = self.rest().lines().next().unwrap_or_default();
        self.lexed.comments.push(Comment { line: self.line, text });
        self.take_while(|c| c != '\n');
    }

    /// Block comments may be nested.
    fn block_comment(&mut self) {
        let mut depth = 0;
        loop {
            match self.rest() {
                rest if rest.starts_with("/*") => (depth, _) = (depth + 1, self.take()),
                rest if rest.starts_with("*/") => (depth, _) = (depth - 1, self.take()),
                _ => {}
            }
            if self.take().is_none() || depth == 0 {
                return;
            }
        }
    }

    /// The rest of a string or character whose opening quote has been taken.
    fn quoted(&mut self, quote: char) {
        self.push(TokenKind::Literal);
        while let Some(c) = self.take() {
            match c {
                '\\' => _ = self.take(),
                c if c == quote => return,
                _ => {}
            }
        }
    }

    fn raw_string(&mut self, hashes: usize) {
        self.push(TokenKind::Literal);
        self.take_through('"');
        let end = format!("\"{}", "#".repeat(hashes));
        while !self.rest().starts_with(&end) && self.take().is_some() {}
        for _ in 0..end.len() {
            self.take();
        }
    }

    fn char_or_lifetime(&mut self) {
        let mut ahead = self.rest().chars();
        let (first, second) = (ahead.next(), ahead.next());
        if first == Some('\\') || second == Some('\'') {
            self.quoted('\'');
        } else {
            self.take_while(|c| c.is_alphanumeric() || c == '_');
        }
    }
}

/// The number of `#` of the raw string that `rest` begins with, if it begins with one.
fn raw_string(rest: &str) -> Option<usize> {
    let after = ["r", "br", "cr"]
        .iter()
        .find_map(|prefix| rest.strip_prefix(prefix).filter(|after| after.starts_with(['"', '#'])))?;
    let hashes = after.bytes().take_while(|byte| *byte == b'#').count();
    after[hashes..].starts_with('"').then_some(hashes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idents(text: &str) -> Vec<&str> {
        let tokens = lex(text).tokens.into_iter();
        tokens
            .filter_map(|token| if let TokenKind::Ident(name) = token.kind { Some(name) } else { None })
            .collect()
    }

    #[test]
    fn strings_comments_and_lifetimes_hide_no_code() {
        let text = "fn a<'x>(b: &'x str) { \"crate::no \\\" no\"; r#\"no \" no\"#; 'n'; '\\''; b'n'; /* no /* no */ no */ c } // no";
        assert_eq!(idents(text), ["fn", "a", "b", "str", "c"]);
        assert_eq!(idents("r#type b\"no\" br\"no\" x"), ["type", "x"]);
    }

    #[test]
    fn tokens_and_comments_know_their_lines() {
        let lexed = lex("a\n\"b\nc\"\n/// d\ne");
        let lines: Vec<_> = lexed.tokens.iter().map(|token| token.line).collect();
        assert_eq!(lines, [1, 2, 5]);
        assert_eq!((lexed.comments[0].line, lexed.comments[0].text), (4, "/// d"));
    }
}
