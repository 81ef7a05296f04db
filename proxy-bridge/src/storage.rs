//! Failures of the disk under the volume, distinguished by the fix.

use std::io;

use http::StatusCode;

/// A failed read or write on the volume. `step` completes the phrase "could not …".
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// No space is left, or the quota is used up.
    #[error("the volume is full: could not {step}; make room, and deploy again")]
    Full { step: String },
    /// The volume is mounted read-only.
    #[error("the volume is read-only: could not {step}; mount it for writing, and deploy again")]
    ReadOnly { step: String },
    /// A rename would cross file systems.
    #[error(
        "could not {step}: the staging folder and the project are on different file systems; \
         remove the mount below the volume"
    )]
    OtherDevice { step: String },
    /// Any other failure.
    #[error("could not {step}: {source}")]
    Io { step: String, source: io::Error },
}

impl StorageError {
    /// Classifies `source`, the failure of `step`.
    pub fn new(step: &str, source: io::Error) -> Self {
        let step = step.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { step },
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { step },
            io::ErrorKind::CrossesDevices => Self::OtherDevice { step },
            _ => Self::Io { step, source },
        }
    }

    /// The status of the problem document: 507 when the volume is full, otherwise 500.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Full { .. } => StatusCode::INSUFFICIENT_STORAGE,
            Self::ReadOnly { .. } | Self::OtherDevice { .. } | Self::Io { .. } => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }

    /// The name of the problem.
    pub fn slug(&self) -> &'static str {
        match self {
            Self::Full { .. } => "volume-full",
            Self::ReadOnly { .. } | Self::OtherDevice { .. } | Self::Io { .. } => "volume-failed",
        }
    }
}
