//! Pointers of git LFS, read strictly: what is nearly one is reported, not taken for a file.

use std::fmt;
use std::str::FromStr;

/// The sha256 of a content: 64 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LfsOid(String);

/// The place of a content in a commit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LfsPointer {
    pub oid: LfsOid,
    /// Of the content, in bytes.
    pub size: u64,
}

/// A file that begins as a pointer does, but is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is a malformed LFS pointer: {0}")]
pub struct InvalidPointer(&'static str);

impl LfsOid {
    /// All digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 12 digits.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl FromStr for LfsOid {
    type Err = InvalidPointer;

    fn from_str(text: &str) -> Result<Self, InvalidPointer> {
        let hex = text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
        let oid = (hex && text.len() == 64).then(|| Self(text.to_owned()));
        oid.ok_or(InvalidPointer("the oid must be sha256: and 64 lower-case hex digits"))
    }
}

impl fmt::Display for LfsOid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const VERSION: &str = "version https://git-lfs.github.com/spec/v1";
/// The beginning of pointers of any version.
const BEGINNING: &[u8] = b"version https://git-lfs";

impl LfsPointer {
    /// A longer file is no pointer. In bytes.
    pub const MAX_BYTES: u64 = 1024;

    /// Reads the content of a file in a commit: `None` for one that is no pointer.
    ///
    /// # Errors
    /// The file begins as a pointer does, but something in it is missing, unknown or out of order.
    pub fn parse(content: &[u8]) -> Result<Option<Self>, InvalidPointer> {
        if !content.starts_with(BEGINNING) || content.len() as u64 >= Self::MAX_BYTES {
            return Ok(None);
        }
        let text = std::str::from_utf8(content).map_err(|_| InvalidPointer("it is not UTF-8"))?;
        let text = text.strip_suffix('\n').ok_or(InvalidPointer("the last line has no end"))?;
        let mut lines = text.split('\n');
        if lines.next() != Some(VERSION) {
            return Err(InvalidPointer("the version is not https://git-lfs.github.com/spec/v1"));
        }
        let (mut oid, mut size, mut last) = (None, None, "");
        for line in lines {
            let (key, value) = line.split_once(' ').ok_or(InvalidPointer("a line has no value"))?;
            if key <= last {
                return Err(InvalidPointer("the lines are not in the order of their keys"));
            }
            last = key;
            match key {
                "oid" => {
                    let hex = value.strip_prefix("sha256:");
                    oid = Some(hex.ok_or(InvalidPointer("the oid is not of sha256"))?.parse()?);
                }
                "size" => size = Some(number(value)?),
                // Programs that change contents on their way: without them it would be another file.
                _ if key.starts_with("ext-") => {
                    return Err(InvalidPointer("extensions of LFS are not supported"));
                }
                _ => return Err(InvalidPointer("it has an unknown key")),
            }
        }
        match (oid, size) {
            (Some(oid), Some(size)) => Ok(Some(Self { oid, size })),
            _ => Err(InvalidPointer("it must have oid and size")),
        }
    }
}

fn number(value: &str) -> Result<u64, InvalidPointer> {
    let digits = value.bytes().all(|c| c.is_ascii_digit()) && (value == "0" || !value.starts_with('0'));
    let number = value.parse().ok().filter(|_| digits);
    number.ok_or(InvalidPointer("the size must be a number of bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_is_read_and_other_files_are_none() {
        let oid = "0a1b".repeat(16);
        let text = format!("{VERSION}\noid sha256:{oid}\nsize 12\n");
        let pointer = LfsPointer::parse(text.as_bytes()).unwrap().unwrap();
        assert_eq!((pointer.oid.as_str(), pointer.oid.short(), pointer.size), (&*oid, "0a1b0a1b0a1b", 12));
        for text in ["", "export {}", "version 1\n", " version https://git-lfs.github.com/spec/v1\n"] {
            assert_eq!(LfsPointer::parse(text.as_bytes()), Ok(None), "{text}");
        }
        let long = text.clone() + &"x".repeat(1024);
        assert_eq!(LfsPointer::parse(long.as_bytes()), Ok(None));
    }

    #[test]
    fn what_is_nearly_a_pointer_is_told() {
        let oid = "0a1b".repeat(16);
        for (text, says) in [
            (format!("{VERSION}\noid sha256:{oid}\nsize 12"), "no end"),
            (format!("{VERSION}\nsize 12\noid sha256:{oid}\n"), "order"),
            (format!("{VERSION}\noid sha256:{oid}\noid sha256:{oid}\nsize 1\n"), "order"),
            (format!("{VERSION}\noid md5:{oid}\nsize 12\n"), "sha256"),
            (format!("{VERSION}\noid sha256:../../x\nsize 12\n"), "64"),
            (format!("{VERSION}\noid sha256:{}\nsize 12\n", oid.to_uppercase()), "64"),
            (format!("{VERSION}\noid sha256:{oid}\nsize -1\n"), "number"),
            (format!("{VERSION}\noid sha256:{oid}\nsize +1\n"), "number"),
            (format!("{VERSION}\noid sha256:{oid}\nsize 012\n"), "number"),
            (format!("{VERSION}\noid sha256:{oid}\nsize 99999999999999999999\n"), "number"),
            (format!("{VERSION}\noid sha256:{oid}\n"), "oid and size"),
            (format!("{VERSION}\next-0-x sha256:{oid}\noid sha256:{oid}\nsize 1\n"), "extensions"),
            (format!("{VERSION}\noid sha256:{oid}\nsize 1\r\n"), "number"),
            (format!("{VERSION}\n\noid sha256:{oid}\nsize 1\n"), "no value"),
            (format!("version https://git-lfs.github.com/spec/v2\noid sha256:{oid}\nsize 1\n"), "version"),
        ] {
            let error = LfsPointer::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
