//! The failures on the volume, with what to do about them.

use std::io;
use std::path::PathBuf;

use http::StatusCode;

use super::{EntryName, SharedName};
use crate::storage::StorageError;
use switchyard_contract::project::ProjectName;
use switchyard_edge::problem::Problem;

/// A volume that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{}: {source}; create it, or name the folder that the routers serve", path.display())]
    Missing { path: PathBuf, source: io::Error },
    #[error("{} cannot be written: {source}; mount the volume for writing, for the user of the bridge", path.display())]
    Unwritable { path: PathBuf, source: io::Error },
    #[error("{} is in use by another bridge; stop that one first: a volume has one bridge", .0.display())]
    InUse(PathBuf),
    #[error("{} is a mount or a link; replace it with a plain folder on the file system of \
         the projects, so that trees can be renamed into place", path.display())]
    OtherDevice { path: PathBuf },
}

/// A failed step of a deploy.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    #[error(
        "{0} in the projects root is a link or a mount, or has a mount in it: it can only be exchanged as \
         a plain folder of the volume"
    )]
    NotPlain(EntryName),
    #[error(
        "{0} in the projects root is a link or a mount, has a mount in it, or is a folder whose name does \
         not begin with _: move it away, and deploy again"
    )]
    NotShared(SharedName),
    #[error("the deploy leaves the files of {0} as they are, and there are none: deploy them too")]
    NothingKept(ProjectName),
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

    /// Returns the status of the problem document.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Storage(error) => error.status(),
            Self::NotPlain(_) | Self::NotShared(_) | Self::NothingKept(_) => StatusCode::CONFLICT,
            Self::Missing { .. } | Self::Replaced => StatusCode::SERVICE_UNAVAILABLE,
            Self::Open(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Returns the name of the problem.
    pub fn slug(&self) -> &'static str {
        match self {
            Self::Storage(error) => error.slug(),
            Self::NotPlain(_) | Self::NotShared(_) => "not-a-folder",
            Self::NothingKept(_) => "project-gone",
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
