//! Marks in the output of a cell that name the request, or the run, that a line belongs to. A project
//! can print marks of its own.

use std::borrow::Cow;
use std::fmt;

use switchyard_contract::bounds::REQUEST_ID;

/// Control characters that separate records and their parts, which text does not contain.
const BEGIN: char = '\u{1e}';
const END: char = '\u{1f}';

/// Follows the mark of a run whose output ends in the stream.
const LAST: char = '\u{1d}';

/// The id of the request that a line of output belongs to. Displayed in front of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark<'a>(&'a str);

impl<'a> Mark<'a> {
    /// Returns the mark for a request's id, or `None` if the id is invalid: 1 to 64 letters, digits
    /// and `-_.:/+=@` are valid.
    pub fn parse(id: &'a str) -> Option<Self> {
        let is_sane = |c: u8| c.is_ascii_alphanumeric() || b"-_.:/+=@".contains(&c);
        ((1..=REQUEST_ID).contains(&id.len()) && id.bytes().all(is_sane)).then_some(Self(id))
    }

    /// Returns the id of the request.
    pub fn id(self) -> &'a str {
        self.0
    }

    /// Returns the line after which the stream has no more output of the run.
    pub fn last_line(self) -> String {
        format!("{self}{LAST}\n")
    }

    /// Splits a line after which its stream has no more output of a run into the text before that
    /// and the run's mark. `None`: it is another line.
    pub fn split_last(line: &'a str) -> Option<(&'a str, Self)> {
        let (before, id) = line.strip_suffix(LAST)?.strip_suffix(END)?.rsplit_once(BEGIN)?;
        Some((before, Self::parse(id)?))
    }

    /// Splits a line into its mark and its text. Output that was printed before the mark without an
    /// end of line stays in front of the text.
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
    fn the_last_line_of_a_run_is_told_from_its_other_lines() {
        let mark = Mark::parse("3f9a-1").unwrap();
        let last = mark.last_line();
        let last = last.strip_suffix('\n').unwrap();
        assert_eq!(Mark::split_last(last), Some(("", mark)));
        let glued = format!("{mark}said {last}");
        assert_eq!(Mark::split_last(&glued), Some((&*format!("{mark}said "), mark)));
        for line in
            ["", "\u{1d}", "\u{1e}\u{1f}\u{1d}", "a b\u{1f}\u{1d}", &format!("{last}x"), &format!("{mark}a")]
        {
            assert_eq!(Mark::split_last(line), None, "{line:?}");
        }
    }

    #[test]
    fn text_that_a_log_could_misread_is_not_an_id() {
        let long = "x".repeat(65);
        for id in ["", "a b", "a\n", "a\"", "a,b", "ä", &long] {
            assert_eq!(Mark::parse(id), None, "{id}");
        }
        assert!(Mark::parse(&long[1..]).is_some());
    }
}
