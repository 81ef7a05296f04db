//! The faults of policies and of the requests of projects.

use std::fmt;
use std::path::PathBuf;

/// A fault in the policy's file. Never contains a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PolicyError {
    /// The file cannot be read.
    #[error("{} cannot be read: {error}", file.display())]
    Unreadable {
        /// The policy's file.
        file: PathBuf,
        /// The reason, as text.
        error: String,
    },
    /// One value is wrong.
    #[error("{}:{line}:{column}: {key}: {reason}", file.display())]
    Invalid {
        /// The policy's file.
        file: PathBuf,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// The path of the key: `projects.blog.limits.memory`.
        key: String,
        /// The fault, and how to fix it.
        reason: String,
    },
}

/// The reason why one value is invalid, with what is expected: the rest of a sentence that begins with the
/// value's key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct InvalidValue(String);

impl InvalidValue {
    pub(super) fn new(reason: impl fmt::Display) -> Self {
        Self(reason.to_string())
    }
}

/// A field of a project's configuration that is invalid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InvalidField {
    /// The path of the field: `permissions.default.net`.
    pub(crate) field: String,
    /// The rest of the sentence: the fault, and what is expected.
    pub(crate) fix: String,
}

impl InvalidField {
    pub(crate) fn new(field: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { field: field.into(), fix: fix.into() }
    }
}
