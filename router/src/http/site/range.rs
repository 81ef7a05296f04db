//! Byte ranges (RFC 9110, 14), one per request: a request for several gets the whole file, which a
//! server may always send.

use http::HeaderMap;
use http::header::RANGE;
use http_range_header::{
    EndPosition, RangeUnsatisfiableError, StartPosition, SyntacticallyCorrectRange, parse_range_header,
};

use crate::pieces::ByteRange;

/// A range as a client requests it.
#[derive(Debug)]
pub(super) enum RequestedRange {
    /// From a byte to another one, or to the last.
    Bytes(u64, Option<u64>),
    /// This many bytes at the end.
    Last(u64),
}

/// Returns the range that the client requests. `None` for none, several, and invalid ones.
pub(super) fn requested(headers: &HeaderMap) -> Option<RequestedRange> {
    let mut values = headers.get_all(RANGE).iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    match parse_range_header(value.trim()) {
        Ok(ranges) => match ranges.ranges.as_slice() {
            [one] => RequestedRange::new(one),
            _ => None,
        },
        Err(RangeUnsatisfiableError::ZeroSuffix) => Some(RequestedRange::Last(0)),
        Err(_) => None,
    }
}

impl RequestedRange {
    fn new(range: &SyntacticallyCorrectRange) -> Option<Self> {
        match (range.start, range.end) {
            (StartPosition::FromLast(last), _) => Some(Self::Last(last)),
            (StartPosition::Index(from), EndPosition::LastByte) => Some(Self::Bytes(from, None)),
            (StartPosition::Index(from), EndPosition::Index(to)) => {
                (from <= to).then_some(Self::Bytes(from, Some(to)))
            }
        }
    }

    /// Returns the range of a file of `size` bytes.
    pub(super) fn of(&self, size: u64) -> ByteRange {
        let (from, to) = match *self {
            Self::Bytes(from, to) => (from, to),
            Self::Last(0) => return ByteRange::Unsatisfiable,
            Self::Last(last) => (size.saturating_sub(last), None),
        };
        match size.checked_sub(1) {
            Some(last) if from <= last => ByteRange::Part(from..=to.map_or(last, |to| to.min(last))),
            _ => ByteRange::Unsatisfiable,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(value: &'static str, size: u64) -> Option<ByteRange> {
        let headers = [(RANGE, HeaderValue::from_static(value))].into_iter().collect();
        requested(&headers).map(|range| range.of(size))
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
            assert_eq!(of(value, 10), Some(ByteRange::Part(part)), "{value}");
        }
    }

    #[test]
    fn a_range_beyond_the_file_cannot_be_satisfied() {
        for value in ["bytes=10-", "bytes=10-20", "bytes=-0"] {
            assert_eq!(of(value, 10), Some(ByteRange::Unsatisfiable), "{value}");
        }
        for value in ["bytes=0-", "bytes=-1"] {
            assert_eq!(of(value, 0), Some(ByteRange::Unsatisfiable), "{value}");
        }
    }

    #[test]
    fn several_ranges_and_invalid_ones_give_the_whole_file() {
        for value in
            ["bytes=0-1,3-4", "bytes=0-5,1-2", "bytes=5-2", "lines=0-1", "bytes=a-b", "bytes=", "bytes=1", ""]
        {
            assert_eq!(of(value, 10), None, "{value}");
        }
    }
}
