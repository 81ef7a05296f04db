//! The names of projects.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The name of a project and of its folder: `[A-Za-z0-9][A-Za-z0-9_-]{0,62}`. Its host label
/// ([`ProjectName::label`]) is another thing, and two names may share one. Names of digits alone,
/// `localhost` and `www` are found by path alone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String)]
pub struct ProjectName(Arc<str>);

/// A text that is not a project name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid project name {0:?}: expected at most 63 of A-Z, a-z, 0-9, - and _, the first a letter or digit"
)]
pub struct InvalidName(String);

impl ProjectName {
    /// The longest DNS label (RFC 1035, 2.3.4).
    pub const MAX_LEN: usize = 63;

    /// Parses a name.
    ///
    /// # Errors
    /// The name is invalid; the error says what was expected.
    pub fn parse(name: &str) -> Result<Self, InvalidName> {
        let valid = name.len() <= Self::MAX_LEN
            && name.bytes().next().is_some_and(|c| c.is_ascii_alphanumeric())
            && name.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_'));
        if valid { Ok(Self(name.into())) } else { Err(InvalidName(name.to_owned())) }
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the first label of the project's hosts: its name in lower case, with `-` for `_`.
    pub fn label(&self) -> Cow<'_, str> {
        let is_label = |c: u8| !c.is_ascii_uppercase() && c != b'_';
        match self.0.bytes().all(is_label) {
            true => Cow::Borrowed(&self.0),
            false => Cow::Owned(self.0.to_ascii_lowercase().replace('_', "-")),
        }
    }
}

/// Returns true for a directory that is never a project (nor an error): `.git`, `_staging`,
/// `node_modules`.
pub fn is_ignored(directory: &str) -> bool {
    directory.starts_with(['.', '_']) || directory == "node_modules"
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
    fn a_name_has_letters_digits_and_two_signs() {
        for name in ["a", "blog-2", "0x", "greet_user", "Upper", &"a".repeat(63)] {
            assert!(ProjectName::parse(name).is_ok(), "{name}");
        }
        for name in ["", "-a", "_a", "a.b", "a b", "é", &"a".repeat(64)] {
            assert!(ProjectName::parse(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_label_is_what_a_host_can_have() {
        for (name, label) in [("blog", "blog"), ("greet_user", "greet-user"), ("Upper-2_B", "upper-2-b")] {
            assert_eq!(ProjectName::parse(name).unwrap().label(), label);
        }
    }
}
