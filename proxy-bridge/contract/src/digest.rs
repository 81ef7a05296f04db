//! The digest of a project: one hash for all the content that makes two versions the same or not.
//!
//! Reading files is left to the caller; what is here is pure. The value is what coreutils print for
//! the files that [`is_counted`] lets through:
//!
//! ```sh
//! cd project && find -L . -type f -printf '%P\n' | LC_ALL=C sort | tr '\n' '\0' | xargs -r0 sha256sum | sha256sum
//! ```

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

mod names;

pub use names::{InvalidPath, check_path, is_counted, is_entered};

/// Hex digits in a version's name, as in `blog@3f9a1c2b7d4e`. 48 bits: a project would need some
/// sixteen million versions before two of them were likely to share a name.
const SHORT_LEN: usize = 12;

/// The content hash of a project's files. Shown, parsed and serialized as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Combines the SHA-256 of each file, given with the file's path relative to the project and
    /// with `/` between. The order in which they come does not matter; each path comes once.
    pub fn of_files<P: AsRef<[u8]>>(files: impl IntoIterator<Item = (P, [u8; 32])>) -> Self {
        let mut files: Vec<_> = files.into_iter().collect();
        files.sort_unstable_by(|(a, _), (b, _)| a.as_ref().cmp(b.as_ref()));
        let mut all = Sha256::new();
        for (path, hash) in &files {
            hash_line(&mut all, path.as_ref(), hash);
        }
        Self(all.finalize().into())
    }

    /// The first 12 hex digits, which name the version.
    pub fn short(&self) -> String {
        let mut short = self.to_string();
        short.truncate(SHORT_LEN);
        short
    }

    /// The 32 bytes that the hex digits stand for.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// One line of `sha256sum`. It marks a name that holds a backslash with one at the line's start and
/// doubles those in the name; the other bytes that it escapes are control characters, which no
/// counted path has.
fn hash_line(all: &mut Sha256, path: &[u8], hash: &[u8; 32]) {
    let escaped = path.contains(&b'\\');
    if escaped {
        all.update(b"\\");
    }
    all.update(hex(hash));
    all.update(b"  ");
    for byte in path {
        all.update(if *byte == b'\\' { b"\\\\".as_slice() } else { std::slice::from_ref(byte) });
    }
    all.update(b"\n");
}

fn hex(bytes: &[u8; 32]) -> [u8; 64] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 64];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 0xf)];
    }
    text
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(std::str::from_utf8(&hex(&self.0)).expect("hex digits are ASCII"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// A text that is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseDigestError {
    #[error("a digest has 64 hex digits, not {0} bytes")]
    Length(usize),
    #[error("a digest has only the digits 0-9 and a-f, not {0:?}")]
    Character(char),
}

impl FromStr for Digest {
    type Err = ParseDigestError;

    /// Upper-case digits are refused: the text is compared and used in file names, so one value has
    /// one spelling.
    fn from_str(text: &str) -> Result<Self, ParseDigestError> {
        if let Some(other) = text.chars().find(|c| !matches!(c, '0'..='9' | 'a'..='f')) {
            return Err(ParseDigestError::Character(other));
        }
        if text.len() != 64 {
            return Err(ParseDigestError::Length(text.len()));
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = nibble(pair[0]) << 4 | nibble(pair[1]);
        }
        Ok(Self(bytes))
    }
}

fn nibble(digit: u8) -> u8 {
    if digit <= b'9' { digit - b'0' } else { digit - b'a' + 10 }
}

impl TryFrom<String> for Digest {
    type Error = ParseDigestError;

    fn try_from(text: String) -> Result<Self, ParseDigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

#[cfg(test)]
mod tests;
