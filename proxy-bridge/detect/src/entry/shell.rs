//! A parser of shell commands, as far as start scripts need it: quotes, escapes and separators.

/// Bytes of one command. Usual commands have a few hundred.
const MAX_COMMAND: usize = 8 << 10;

/// Returns the commands in `text`, in order, each as its words. Redirections and pipes are left
/// out. `None` if the text is too long, has an open quote, or computes words by running a command.
pub(super) fn commands(text: &str) -> Option<Vec<Vec<String>>> {
    if text.len() > MAX_COMMAND {
        return None;
    }
    let mut split = Split::default();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match (split.quote, c) {
            (None | Some('"'), '`') => return None,
            (None | Some('"'), '$') if rest.peek() == Some(&'(') => return None,
            (Some(quote), _) if c == quote => split.quote = None,
            (Some('\''), _) => split.push(c),
            (_, '\\') => split.push(rest.next()?),
            (Some(_), _) => split.push(c),
            (None, '\'' | '"') => split.open(c),
            (None, '&' | '|' | ';' | '\n') => {
                let is_pair = matches!(c, '&' | '|') && rest.next_if_eq(&c).is_some();
                split.end_command(c == '|' && !is_pair);
            }
            (None, '>' | '<') => {
                while rest.next_if(|c| matches!(c, '>' | '<' | '&')).is_some() {}
                split.redirect();
            }
            (None, c) if c.is_whitespace() => split.end_word(),
            (None, c) => split.push(c),
        }
    }
    split.quote.is_none().then(|| split.finish())
}

#[derive(Default)]
struct Split {
    done: Vec<Vec<String>>,
    words: Vec<String>,
    word: Option<String>,
    quote: Option<char>,
    /// The next word names a file that is written or read.
    is_redirected: bool,
    /// The next command reads what this one writes.
    is_piped: bool,
}

impl Split {
    fn push(&mut self, c: char) {
        self.word.get_or_insert_default().push(c);
    }

    fn open(&mut self, quote: char) {
        self.quote = Some(quote);
        self.word.get_or_insert_default();
    }

    fn end_word(&mut self) {
        if let Some(word) = self.word.take()
            && !std::mem::take(&mut self.is_redirected)
        {
            self.words.push(word);
        }
    }

    fn redirect(&mut self) {
        // `2>` names a descriptor.
        if self.word.as_ref().is_some_and(|word| word.bytes().all(|byte| byte.is_ascii_digit())) {
            self.word = None;
        }
        self.end_word();
        self.is_redirected = true;
    }

    fn end_command(&mut self, pipes: bool) {
        self.end_word();
        self.is_redirected = false;
        let words = std::mem::take(&mut self.words);
        if !words.is_empty() && !std::mem::replace(&mut self.is_piped, pipes) {
            self.done.push(words);
        }
    }

    fn finish(mut self) -> Vec<Vec<String>> {
        self.end_command(false);
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_split_as_a_shell_splits_it() {
        for (text, expected) in [
            ("node server.js", &[&["node", "server.js"][..]][..]),
            ("  a   'b c' \"d e\" f\\ g ", &[&["a", "b c", "d e", "f g"]]),
            ("a && b; c || d & e", &[&["a"], &["b"], &["c"], &["d"], &["e"]]),
            ("node x.js 2>&1 > out.log | pino-pretty && b", &[&["node", "x.js"], &["b"]]),
            ("a ''", &[&["a", ""]]),
            ("node x.js --name=\"a b\" $PORT", &[&["node", "x.js", "--name=a b", "$PORT"]]),
            ("", &[]),
            ("&& ;", &[]),
        ] {
            assert_eq!(commands(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn commands_that_need_a_shell_are_refused() {
        for text in ["node $(cat entry)", "node `cat entry`", "node 'x", "node \"$(x)\"", "node x\\"] {
            assert_eq!(commands(text), None, "{text}");
        }
        assert_eq!(commands(&"x".repeat(MAX_COMMAND + 1)), None);
        assert!(commands("echo '$(x)'").is_some());
    }
}
