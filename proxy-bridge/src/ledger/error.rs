//! Failures of the history, distinguished by the fix.

use std::io;
use std::path::{Path, PathBuf};

use switchyard_contract::run::RunId;

/// A failed call of the [`Ledger`](super::Ledger).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// No space is left. What was asked for has not happened; everything before is kept.
    #[error("the history cannot be written: no space is left on its disk; make room, and try again")]
    Full,
    /// Another process has it open.
    #[error(
        "{} is in use by another bridge; stop it, or give this one a state folder of its own", .0.display()
    )]
    Busy(PathBuf),
    /// A newer bridge wrote it.
    #[error(
        "{} was written by a newer bridge (format {found}, this one knows {known}); run that version, or \
         restore the backup from before the update", .file.display()
    )]
    Newer {
        /// The database.
        file: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format that this bridge knows.
        known: i64,
    },
    /// The cursor of a page is not one.
    #[error("invalid cursor {0:?}: expected the \"next\" of the page before, unchanged")]
    Cursor(String),
    /// A step belongs to a run that is not there.
    #[error("there is no run {0} in the history")]
    UnknownRun(RunId),
    /// A file or folder of the history cannot be read or written.
    #[error("could not {step} {}: {text}", .path.display())]
    File {
        /// Completes the phrase "could not …".
        step: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's text.
        text: String,
    },
    /// Any other failure of the database.
    #[error("the database of the history failed: {0}")]
    Database(String),
    /// The history is closed, or its thread has ended by a bug.
    #[error("the history is closed")]
    Closed,
}

impl LedgerError {
    /// Returns a function that classifies the failure of `step` on `path`.
    pub(super) fn file(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::File { step, path, text: error.to_string() },
        }
    }
}

impl From<rusqlite::Error> for LedgerError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::Full,
            _ => Self::Database(error.to_string()),
        }
    }
}

impl From<serde_json::Error> for LedgerError {
    fn from(error: serde_json::Error) -> Self {
        Self::Database(error.to_string())
    }
}
