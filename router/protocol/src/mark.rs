//! Marks in what a cell prints: which request a line is about. They are the cell's word, and a project can make its own.

use std::borrow::Cow;
use std::fmt;

use switchyard_contract::bounds::REQUEST_ID;

/// Control characters that no text has: they separate records and their parts.
const BEGIN: char = '\u{1e}';
const END: char = '\u{1f}';

/// Before a line, says which request it is about. Written, it is to be followed by the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark<'a>(&'a str);

impl<'a> Mark<'a> {
    /// For the request of this id, if it is one: 1 to 64 letters, digits and `-_.:/+=@`.
    pub fn parse(id: &'a str) -> Option<Self> {
        let is_sane = |c: u8| c.is_ascii_alphanumeric() || b"-_.:/+=@".contains(&c);
        ((1..=REQUEST_ID).contains(&id.len()) && id.bytes().all(is_sane)).then_some(Self(id))
    }

    /// The id.
    pub fn id(self) -> &'a str {
        self.0
    }

    /// Takes the mark out of a line. What was printed before without an end of line stands before it.
    pub fn split(line: &'a str) -> (Option<Self>, Cow<'a, str>) {
        let Some((before, rest)) = line.split_once(BEGIN) else { return (None, line.into()) };
        let Some((id, text)) = rest.split_once(END) else { return (None, line.into()) };
        match (Self::parse(id), before) {
            (None, _) => (None, line.into()),
            (mark, "") => (mark, text.into()),
            (mark, before) => (mark, format!("{before}{text}").into()),
        }
    }
}

impl fmt::Display for Mark<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{BEGIN}{}{END}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_taken_out_of_its_line() {
        let mark = Mark::parse("3f9a-1").unwrap();
        for (line, text) in [(format!("{mark}a b"), "a b"), (format!("said {mark}more"), "said more")] {
            assert_eq!(Mark::split(&line), (Some(mark), text.into()));
        }
        for line in ["", "a b", "\u{1e}", "\u{1e}a b\u{1f}c", "\u{1e}\u{1f}c", "\u{1f}a\u{1e}"] {
            assert_eq!(Mark::split(line), (None, line.into()));
        }
    }

    #[test]
    fn what_would_be_read_as_something_else_in_a_log_is_no_id() {
        let long = "x".repeat(65);
        for id in ["", "a b", "a\n", "a\"", "a,b", "ä", &long] {
            assert_eq!(Mark::parse(id), None, "{id}");
        }
        assert!(Mark::parse(&long[1..]).is_some());
    }
}
