//! Sizes of files and functions, first words of comments, and words in names and texts.

use super::lexer::{Token, TokenKind};
use super::source::SourceFile;

/// The distribution of a set of sizes.
#[derive(Debug, Default)]
pub struct Spread {
    pub count: usize,
    pub median: usize,
    pub p90: usize,
    pub max: usize,
}

impl Spread {
    pub fn of(mut sizes: Vec<usize>) -> Self {
        sizes.sort_unstable();
        let last = sizes.len().saturating_sub(1);
        let at = |percent: usize| sizes.get((last * percent + 50) / 100).copied().unwrap_or_default();
        Self { count: sizes.len(), median: at(50), p90: at(90), max: at(100) }
    }
}

/// The lines of each function with a body, from `fn` to its last brace, without those of tests.
pub fn functions(file: &SourceFile) -> Vec<usize> {
    let tokens = file.product_tokens();
    let starts = tokens.iter().enumerate().filter(|(_, token)| token.kind == TokenKind::Ident("fn"));
    starts.filter_map(|(at, _)| lines_of_body(&tokens[at..])).collect()
}

fn lines_of_body(tokens: &[Token<'_>]) -> Option<usize> {
    // `fn(…)` is a type.
    matches!(tokens.get(1)?.kind, TokenKind::Ident(_)).then_some(())?;
    let (mut depth, mut is_in_body) = (0_usize, false);
    for token in tokens {
        match token.kind {
            TokenKind::Punct('{') => {
                is_in_body |= depth == 0;
                depth += 1;
            }
            TokenKind::Punct('(' | '[') => depth += 1,
            TokenKind::Punct(';') if depth == 0 => return None,
            TokenKind::Punct(')' | ']' | '}') => {
                depth = depth.checked_sub(1)?;
                if is_in_body && depth == 0 {
                    return Some(token.line - tokens[0].line + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// Numbers of comments: all, and those that begin with a word that leaves the reader to find the
/// subject. Comments on lines that follow each other are one.
#[derive(Debug, Default)]
pub struct FirstWords {
    pub comments: usize,
    pub riddles: usize,
}

const RIDDLES: [&str; 9] = ["What", "Who", "Whose", "Whether", "Of", "It", "So", "As", "How"];

impl FirstWords {
    /// Counts the comments of a file.
    pub fn add(&mut self, file: &SourceFile) {
        let mut last = (0, "");
        for comment in file.comments() {
            let text = comment.text.trim_start_matches(['/', '!']);
            let kind = &comment.text[..comment.text.len() - text.len()];
            let continues = (comment.line - 1, kind) == last;
            last = (comment.line, kind);
            if !continues && !text.trim().is_empty() {
                let first = text.trim_start().split(|c: char| !c.is_alphanumeric()).next();
                self.comments += 1;
                self.riddles += usize::from(first.is_some_and(|first| RIDDLES.contains(&first)));
            }
        }
    }
}

/// Returns the number of occurrences of `words` in a text, including parts of names: `is_told` and
/// `ToldOff` contain `told`.
pub fn count_words(text: &str, words: &[&str]) -> usize {
    let mut count = 0;
    let mut word = String::new();
    let mut was_lower = false;
    for c in text.chars().chain([' ']) {
        if !c.is_alphabetic() || (c.is_uppercase() && was_lower) {
            count += usize::from(words.contains(&word.as_str()));
            word.clear();
        }
        if c.is_alphabetic() {
            word.extend(c.to_lowercase());
        }
        was_lower = c.is_lowercase();
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::house::lexer::lex;

    #[test]
    fn words_are_found_in_names() {
        let text = "replace place PLACE is_placed Placed places, NewPlace";
        assert_eq!(count_words(text, &["place", "placed", "places"]), 6);
    }

    #[test]
    fn a_function_ends_with_its_body() {
        let text = "fn a(\n    b: [u8; 2],\n) {\n    c();\n}\nfn d();\ntype E = fn(u8) -> u8;\nfn f() {}";
        let tokens = lex(text).tokens;
        let starts = tokens.iter().enumerate().filter(|(_, token)| token.kind == TokenKind::Ident("fn"));
        let lines: Vec<_> = starts.map(|(at, _)| lines_of_body(&tokens[at..])).collect();
        assert_eq!(lines, [Some(5), None, None, Some(1)]);
    }
}
