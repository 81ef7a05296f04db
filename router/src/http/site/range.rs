//! Ranges of bytes that clients ask for (RFC 9110, 14). One at once: whoever asks for several gets
//! the whole file, which a server may always send.

use http::HeaderMap;
use http::header::RANGE;
use http_range_header::{ParsedRanges, RangeUnsatisfiableError, parse_range_header};

use crate::pieces::Range;

/// A range that a client asked for.
#[derive(Debug)]
pub(super) enum Wanted {
    One(ParsedRanges),
    /// The last zero bytes.
    Nothing,
}

/// The range that the client asks for. `None`: none, several, or what is not understood.
pub(super) fn wanted(headers: &HeaderMap) -> Option<Wanted> {
    let mut values = headers.get_all(RANGE).iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    match parse_range_header(value.trim()) {
        Ok(ranges) => (ranges.ranges.len() == 1).then_some(Wanted::One(ranges)),
        Err(RangeUnsatisfiableError::ZeroSuffix) => Some(Wanted::Nothing),
        Err(_) => None,
    }
}

impl Wanted {
    /// The bytes of a file of `size`.
    pub(super) fn of(&self, size: u64) -> Range {
        let Self::One(ranges) = self else { return Range::Unsatisfiable };
        // Nothing is a part of an empty file.
        let valid = if size == 0 { None } else { ranges.validate(size).ok() };
        valid.and_then(|mut ranges| ranges.pop()).map_or(Range::Unsatisfiable, Range::Part)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(value: &'static str, size: u64) -> Option<Range> {
        let headers = [(RANGE, HeaderValue::from_static(value))].into_iter().collect();
        wanted(&headers).map(|wanted| wanted.of(size))
    }

    #[test]
    fn one_range_is_cut_to_the_file() {
        for (value, part) in [
            ("bytes=0-0", 0..=0),
            ("bytes=0-99", 0..=9),
            ("bytes=3-", 3..=9),
            ("bytes=-3", 7..=9),
            ("bytes=-99", 0..=9),
        ] {
            assert_eq!(of(value, 10), Some(Range::Part(part)), "{value}");
        }
    }

    #[test]
    fn a_range_beyond_the_file_cannot_be_satisfied() {
        for value in ["bytes=10-", "bytes=10-20", "bytes=-0"] {
            assert_eq!(of(value, 10), Some(Range::Unsatisfiable), "{value}");
        }
        for value in ["bytes=0-", "bytes=-1"] {
            assert_eq!(of(value, 0), Some(Range::Unsatisfiable), "{value}");
        }
    }

    #[test]
    fn several_ranges_and_what_is_not_understood_give_the_whole_file() {
        for value in ["bytes=0-1,3-4", "bytes=0-5,1-2", "lines=0-1", "bytes=a-b", "bytes=", "bytes=1", ""] {
            assert_eq!(of(value, 10), None, "{value}");
        }
    }
}
