//! What needs more than the objects of the repository: signatures, submodules, LFS.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::store::Steps;
use super::{ReadError, ReceiveError};
use crate::git::{Mirror, ObjectId, TreeEntry};
use crate::sources::settings::SourceSettings;

/// The files of a submodule.
#[derive(Debug)]
pub(super) struct Submodule {
    /// The mirror that holds them.
    pub(super) mirror: Arc<Mirror>,
    /// All files, with paths that begin at the submodule.
    pub(super) entries: Vec<TreeEntry>,
}

/// A file whose content is kept by LFS.
#[derive(Debug)]
pub(super) struct Pointer {
    /// Relative to the project.
    pub(super) path: String,
    /// The pointer's own text.
    pub(super) text: Bytes,
}

/// Verifies that one of `signers` signed the commit.
pub(super) async fn verify(_: &Mirror, commit: &ObjectId, _: &Path) -> Result<(), ReadError> {
    Err(ReadError::Invalid(format!("commit {}: verify is not supported yet", commit.short())))
}

/// Lists the submodule at `path`, whose commit is `gitlink`.
pub(super) async fn submodule(
    _: &Mirror,
    _: &SourceSettings,
    _commit: &ObjectId,
    path: &str,
    _gitlink: &ObjectId,
) -> Result<Submodule, ReadError> {
    Err(ReadError::Invalid(format!("{path:?} is a submodule: not supported yet")))
}

/// Stores the contents of LFS files by `steps`. `folder` is the project's folder in the commit.
pub(super) async fn lfs(
    _: &Mirror,
    _: &SourceSettings,
    folder: &str,
    pointers: Vec<Pointer>,
    _: &Steps,
) -> Result<(), ReceiveError> {
    match pointers.first() {
        None => Ok(()),
        Some(Pointer { path, text }) => {
            let bytes = text.len();
            let why = format!("{folder}/{path}: a pointer of LFS ({bytes} bytes) is not supported yet");
            Err(ReceiveError::Invalid(why))
        }
    }
}
