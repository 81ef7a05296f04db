//! Lengths of time and numbers of bytes as people write them: one grammar for flags, variables and
//! files.
//!
//! `500ms`, `30s`, `10m`, `1h 30m`; `512KiB`, `10MB`, `1GiB`. A number without a unit keeps the
//! meaning that its setting documents: see [`Span::parse`]; a size without a unit is in bytes.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use jiff::SignedDuration;
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A length of time, never negative.
///
/// Text has a unit, as in `30s`. In JSON and TOML a number is in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub Duration);

/// A number of bytes. Text and numbers without a unit are in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(pub u64);

/// The unit of a time that is written as a plain number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlainNumber {
    /// Flags and variables.
    Milliseconds,
    /// Files.
    Seconds,
    /// A unit is required.
    Invalid,
}

/// Text that is not a length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid time {0:?}: expected a number and a unit, such as 500ms, 30s, 10m or \"1h 30m\"")]
pub struct InvalidSpan(pub String);

/// Text that is not a number of bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid size {0:?}: expected a number and a unit, such as 512KiB, 10MB or 1GiB, or a number of bytes"
)]
pub struct InvalidSize(pub String);

impl Span {
    /// Reads a time. `plain` is the unit of a number that is written without one.
    ///
    /// # Errors
    /// The text is not a time, or it is negative or too large.
    pub fn parse(text: &str, plain: PlainNumber) -> Result<Self, InvalidSpan> {
        let invalid = || InvalidSpan(text.to_owned());
        let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_plain {
            let signed = text.parse::<SignedDuration>().map_err(|_| invalid())?;
            return Duration::try_from(signed).map(Self).map_err(|_| invalid());
        }
        let number = text.parse().map_err(|_| invalid())?;
        match plain {
            PlainNumber::Milliseconds => Ok(Self(Duration::from_millis(number))),
            PlainNumber::Seconds => Ok(Self(Duration::from_secs(number))),
            PlainNumber::Invalid => Err(invalid()),
        }
    }
}

impl FromStr for Span {
    type Err = InvalidSpan;

    fn from_str(text: &str) -> Result<Self, InvalidSpan> {
        Self::parse(text, PlainNumber::Invalid)
    }
}

impl fmt::Display for Span {
    /// Writes the time in the form that [`Span::from_str`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Beyond what a `SignedDuration` holds, a time is not reached anyway.
        let signed = SignedDuration::try_from(self.0).unwrap_or(SignedDuration::MAX);
        write!(f, "{signed:#}")
    }
}

impl FromStr for Size {
    type Err = InvalidSize;

    fn from_str(text: &str) -> Result<Self, InvalidSize> {
        text.parse::<ByteSize>().map(|size| Self(size.as_u64())).map_err(|_| InvalidSize(text.to_owned()))
    }
}

impl fmt::Display for Size {
    /// Writes the exact size, in the largest binary unit that divides it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 4] =
            [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        let divides = |(unit, _): &&(u64, &str)| self.0 >= *unit && self.0.is_multiple_of(*unit);
        match UNITS.iter().find(divides) {
            Some((unit, name)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SpanVisitor)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SizeVisitor)
    }
}

struct SpanVisitor;

impl Visitor<'_> for SpanVisitor {
    type Value = Span;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time such as \"30s\", or a number of seconds")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Span, E> {
        Ok(Span(Duration::from_secs(seconds)))
    }

    fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Span, E> {
        u64::try_from(seconds)
            .map_err(|_| E::invalid_value(de::Unexpected::Signed(seconds), &self))
            .and_then(|seconds| self.visit_u64(seconds))
    }

    fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Span, E> {
        Duration::try_from_secs_f64(seconds)
            .map(Span)
            .map_err(|_| E::invalid_value(de::Unexpected::Float(seconds), &self))
    }
}

struct SizeVisitor;

impl Visitor<'_> for SizeVisitor {
    type Value = Size;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size such as \"10MiB\", or a number of bytes")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Size, E> {
        Ok(Size(bytes))
    }

    fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<Size, E> {
        u64::try_from(bytes).map(Size).map_err(|_| E::invalid_value(de::Unexpected::Signed(bytes), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit_or_the_unit_of_its_setting() {
        let millis = |text| Span::parse(text, PlainNumber::Milliseconds).map(|span| span.0.as_millis());
        for (text, expected) in
            [("250", 250), ("500ms", 500), ("30s", 30_000), ("10m", 600_000), ("1h 30m", 5_400_000), ("0", 0)]
        {
            assert_eq!(millis(text), Ok(expected), "{text}");
        }
        assert_eq!(Span::parse("2", PlainNumber::Seconds), Ok(Span(Duration::from_secs(2))));
        for text in ["", "soon", "-1", "-1s", "1 day", "99999999999999999999", "1.5"] {
            assert!(millis(text).is_err(), "{text}");
        }
        assert!("30".parse::<Span>().is_err());
    }

    #[test]
    fn a_size_has_a_unit_or_is_in_bytes() {
        for (text, expected) in
            [("0", 0), ("70", 70), ("10MiB", 10 << 20), ("10MB", 10_000_000), ("1 GiB", 1 << 30)]
        {
            assert_eq!(text.parse(), Ok(Size(expected)), "{text}");
        }
        for text in ["", "much", "-1", "10 apples"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_again_unchanged() {
        for millis in [0, 1, 500, 1_500, 30_000, 5_400_000, 2_592_000_000] {
            let span = Span(Duration::from_millis(millis));
            assert_eq!(span.to_string().parse(), Ok(span), "{span}");
        }
        for bytes in [0, 70, 1023, 1024, 65_536, 10 << 20, (1 << 30) + 1] {
            let size = Size(bytes);
            assert_eq!(size.to_string().parse(), Ok(size), "{size}");
        }
        assert_eq!(Span(Duration::from_millis(30_000)).to_string(), "30s");
        assert_eq!(Size(10 << 20).to_string(), "10MiB");
    }

    #[test]
    fn numbers_in_files_are_seconds_and_bytes() {
        assert_eq!(serde_json::from_str::<Span>("90").unwrap(), Span(Duration::from_secs(90)));
        assert_eq!(serde_json::from_str::<Span>("0.5").unwrap(), Span(Duration::from_millis(500)));
        assert_eq!(serde_json::from_str::<Span>("\"10m\"").unwrap(), Span(Duration::from_secs(600)));
        assert_eq!(serde_json::from_str::<Size>("4096").unwrap(), Size(4096));
        assert_eq!(serde_json::to_string(&Size(4096)).unwrap(), "\"4KiB\"");
        assert!(serde_json::from_str::<Span>("-1").is_err());
        assert!(serde_json::from_str::<Size>("true").is_err());
    }
}
