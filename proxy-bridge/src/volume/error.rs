//! What can go wrong on the volume, and what to do about it.

use std::io;
use std::path::PathBuf;

use http::StatusCode;

use crate::storage::StorageError;
use switchyard_contract::project::ProjectName;
use switchyard_edge::problem::Problem;

/// Why the volume cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{}: {source}; create it, or name the folder that the routers serve", path.display())]
    Missing { path: PathBuf, source: io::Error },
    #[error("{} cannot be written: {source}; mount the volume for writing, for the bridge's user", path.display())]
    Unwritable { path: PathBuf, source: io::Error },
    #[error("{} is in use by another bridge; a volume has one", .0.display())]
    InUse(PathBuf),
    #[error("{} is a mount or a link of its own; it must be a plain folder on the projects' file system, so that trees can be renamed into place", path.display())]
    OtherDevice { path: PathBuf },
}

/// Why a step of a deploy failed.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    #[error(
        "the folder of {0} is a link or a mount, or something is mounted in it: it can only be exchanged as a plain folder of the volume"
    )]
    NotPlain(ProjectName),
    #[error("the projects root is missing: {source}; mount it or make it, and deploy again")]
    Missing { source: io::Error },
    #[error("the projects root has become another folder since the upload began; deploy again")]
    Replaced,
    #[error(transparent)]
    Open(OpenError),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl VolumeError {
    /// Returns the error of a step that failed on the disk. `step` completes "could not …".
    pub fn io(step: &str, source: io::Error) -> Self {
        Self::Storage(StorageError::new(step, source))
    }

    pub fn status(&self) -> StatusCode {
        match self {
            Self::Storage(error) => error.status(),
            Self::NotPlain(_) => StatusCode::CONFLICT,
            Self::Missing { .. } | Self::Replaced => StatusCode::SERVICE_UNAVAILABLE,
            Self::Open(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub fn slug(&self) -> &'static str {
        match self {
            Self::Storage(error) => error.slug(),
            Self::NotPlain(_) => "not-a-folder",
            Self::Missing { .. } => "volume-missing",
            Self::Replaced => "volume-replaced",
            Self::Open(_) => "volume-failed",
        }
    }
}

impl From<OpenError> for VolumeError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Missing { source, .. } => Self::Missing { source },
            other => Self::Open(other),
        }
    }
}

impl From<VolumeError> for Problem {
    fn from(error: VolumeError) -> Self {
        Self::new(error.status(), error.slug(), error.to_string())
    }
}
