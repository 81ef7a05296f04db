//! The id of a git object.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The id of a git object: 40 (SHA-1) or 64 (SHA-256) lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectId(String);

/// A text that is no object id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a commit must be given in full: 40 or 64 lower-case hex digits, as `git rev-parse HEAD` prints them"
)]
pub struct InvalidObjectId;

impl ObjectId {
    /// All digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id that no object has.
    pub fn none(format: ObjectFormat) -> Self {
        let digits = match format {
            ObjectFormat::Sha1 => 40,
            ObjectFormat::Sha256 => 64,
        };
        Self("0".repeat(digits))
    }

    /// The first 12 digits.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }

    /// The hash function that the id comes from.
    pub fn format(&self) -> ObjectFormat {
        if self.0.len() == 64 { ObjectFormat::Sha256 } else { ObjectFormat::Sha1 }
    }
}

/// The hash function of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectFormat {
    /// 40 hex digits.
    Sha1,
    /// 64 hex digits.
    Sha256,
}

impl ObjectFormat {
    /// The name that git gives it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
        }
    }
}

impl FromStr for ObjectId {
    type Err = InvalidObjectId;

    fn from_str(text: &str) -> Result<Self, InvalidObjectId> {
        let hex = text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
        if hex && matches!(text.len(), 40 | 64) { Ok(Self(text.to_owned())) } else { Err(InvalidObjectId) }
    }
}

impl TryFrom<String> for ObjectId {
    type Error = InvalidObjectId;

    fn try_from(text: String) -> Result<Self, InvalidObjectId> {
        text.parse()
    }
}

impl From<ObjectId> for String {
    fn from(id: ObjectId) -> Self {
        id.0
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_40_or_64_lower_case_digits() {
        for length in [40, 64] {
            let text = "0a1b".repeat(length / 4);
            let id: ObjectId = text.parse().unwrap();
            assert_eq!((id.as_str(), id.short()), (text.as_str(), "0a1b0a1b0a1b"));
        }
        for text in ["", "HEAD", "0a1b", &"0A1B".repeat(10), &"0g1b".repeat(10), &"é".repeat(20)] {
            assert_eq!(text.parse::<ObjectId>(), Err(InvalidObjectId), "{text}");
        }
    }

    #[test]
    fn an_id_is_checked_when_it_is_read() {
        let text = format!("\"{}\"", "0a1b".repeat(10));
        let id: ObjectId = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&id).unwrap(), text);
        assert!(serde_json::from_str::<ObjectId>("\"--upload-pack=x\"").is_err());
    }
}
