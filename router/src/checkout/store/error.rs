//! The reason why a checkout was not made.

use std::io;
use std::path::Path;

use switchyard_contract::event::Diagnostic;

use crate::checkout::bounds::Interruption;
use crate::checkout::hashes::FileReadError;
use crate::checkout::node_modules::LinkError;

/// The reason why a checkout was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckoutError {
    /// A file on the volume differs from the snapshot: a new snapshot is needed.
    #[error("the project changed while it was copied")]
    Moved,
    /// A file on the volume cannot be read.
    #[error("{}", .0.message)]
    Invalid(Diagnostic),
    /// The pace has interrupted the copying.
    #[error("the copying was interrupted")]
    Interrupted,
    /// The checkout cannot be written.
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

/// A failed operation on a file of the checkout.
pub(super) struct CopyFailure<'a> {
    /// The operation, as a verb: `create`, `copy to`.
    pub(super) operation: &'static str,
    pub(super) path: &'a Path,
    pub(super) error: io::Error,
}

impl From<CopyFailure<'_>> for CheckoutError {
    fn from(CopyFailure { operation, path, error }: CopyFailure<'_>) -> Self {
        Self::Failed(anyhow::Error::new(error).context(format!("{operation} {}", path.display())))
    }
}

impl From<FileReadError> for CheckoutError {
    fn from(error: FileReadError) -> Self {
        match error {
            FileReadError::Moved => Self::Moved,
            FileReadError::Invalid(diagnostic) => Self::Invalid(diagnostic),
            FileReadError::Interrupted => Self::Interrupted,
        }
    }
}

impl From<LinkError> for CheckoutError {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Failed(error) => Self::Failed(anyhow::Error::new(error).context("link node_modules")),
            LinkError::Interrupted => Self::Interrupted,
        }
    }
}

impl From<Interruption> for CheckoutError {
    fn from(_: Interruption) -> Self {
        Self::Interrupted
    }
}
