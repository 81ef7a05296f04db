//! Values of a source's settings that are one of a few words, and the names of sources.

use std::fmt;
use std::str::FromStr;

/// The name of a source: 1 to 63 of a-z, 0-9 and `-`, the first a letter or digit.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceName(String);

/// Shown in quotes, as in messages.
impl fmt::Debug for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A text that is not the name of a source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid name {0:?}: expected 1 to 63 of a-z, 0-9 and -, the first a letter or digit")]
pub struct InvalidSourceName(String);

/// The unit of a source that goes live whole or not at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Together {
    /// All projects of a commit.
    #[default]
    Commit,
    /// Each project by itself.
    Project,
}

/// The moment at which a commit goes live.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum PublishMode {
    /// As soon as it is built.
    #[default]
    Follow,
    /// When somebody publishes it.
    Hold,
}

/// The consequence of a project's folder that left the repository.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum OnRemoval {
    /// The project stays until somebody approves its removal.
    #[default]
    Ask,
    /// The project is removed.
    Remove,
    /// The project stays.
    Keep,
}

/// The consequence of a project's files that differ from the commit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum OnDrift {
    /// It is reported.
    #[default]
    Report,
    /// It is reported, and the commit's files are put back.
    Restore,
}

/// A value that the file has as one of a few words.
pub(super) trait Word: Copy + PartialEq + 'static {
    const WORDS: &'static [(&'static str, Self)];

    fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, value)| *value == self).map_or("", |(word, _)| word)
    }
}

impl Word for Together {
    const WORDS: &'static [(&'static str, Self)] = &[("commit", Self::Commit), ("project", Self::Project)];
}

impl Word for PublishMode {
    const WORDS: &'static [(&'static str, Self)] = &[("follow", Self::Follow), ("hold", Self::Hold)];
}

impl Word for OnRemoval {
    const WORDS: &'static [(&'static str, Self)] =
        &[("ask", Self::Ask), ("remove", Self::Remove), ("keep", Self::Keep)];
}

impl Word for OnDrift {
    const WORDS: &'static [(&'static str, Self)] = &[("report", Self::Report), ("restore", Self::Restore)];
}

impl Together {
    /// Returns the word in the file.
    pub fn as_str(self) -> &'static str {
        self.word()
    }
}

impl PublishMode {
    /// Returns the word in the file.
    pub fn as_str(self) -> &'static str {
        self.word()
    }
}

impl OnRemoval {
    /// Returns the word in the file.
    pub fn as_str(self) -> &'static str {
        self.word()
    }
}

impl OnDrift {
    /// Returns the word in the file.
    pub fn as_str(self) -> &'static str {
        self.word()
    }
}

impl SourceName {
    /// The longest name, in bytes: it may become that of a project.
    pub const MAX_LEN: usize = 63;

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SourceName {
    type Err = InvalidSourceName;

    fn from_str(name: &str) -> Result<Self, InvalidSourceName> {
        let is_letter = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        let valid = name.len() <= Self::MAX_LEN
            && name.bytes().next().is_some_and(is_letter)
            && name.bytes().all(|c| is_letter(c) || c == b'-');
        if valid { Ok(Self(name.to_owned())) } else { Err(InvalidSourceName(name.to_owned())) }
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
