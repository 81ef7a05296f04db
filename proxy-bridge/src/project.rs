//! What a project may be called, for the router that serves it and the bridge that stores it.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// `[a-z0-9][a-z0-9-]{0,62}`: a DNS label, because it is the first label of Host. So no two names have the same
/// label. Digits alone, `localhost` and `www` are names, and found by path alone ([`crate::routes`]).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProjectName(Arc<str>);

/// A text that is no project name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no project name: use at most 63 of a-z, 0-9 and -, beginning with a letter or digit")]
pub struct InvalidName(String);

impl ProjectName {
    /// The longest DNS label (RFC 1035, 2.3.4).
    pub const MAX_LEN: usize = 63;

    /// # Errors
    /// The name is none; the error says what would be right.
    pub fn parse(name: &str) -> Result<Self, InvalidName> {
        let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        let valid = name.len() <= Self::MAX_LEN
            && name.bytes().next().is_some_and(plain)
            && name.bytes().all(|c| plain(c) || c == b'-');
        if valid { Ok(Self(name.into())) } else { Err(InvalidName(name.to_owned())) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A directory whose name begins so is never a project (nor an error): `.git`, `_staging`.
pub fn is_ignored(directory: &str) -> bool {
    directory.starts_with(['.', '_'])
}

impl fmt::Display for ProjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ProjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Borrow<str> for ProjectName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ProjectName {
    type Error = InvalidName;

    fn try_from(name: String) -> Result<Self, InvalidName> {
        Self::parse(&name)
    }
}

impl From<ProjectName> for String {
    fn from(name: ProjectName) -> Self {
        name.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_dns_label() {
        for name in ["a", "blog-2", "0x", &"a".repeat(63)] {
            assert!(ProjectName::parse(name).is_ok(), "{name}");
        }
        for name in ["", "Blog", "-a", "a_b", "a.b", "é", &"a".repeat(64)] {
            assert!(ProjectName::parse(name).is_err(), "{name}");
        }
    }
}
