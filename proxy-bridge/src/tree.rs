//! A project's files in the staging folder, on their way from an upload to the volume.

mod archive;

use std::path::PathBuf;

pub(crate) use self::archive::archive;
use switchyard_contract::digest::Digest;
use switchyard_contract::project::ProjectName;

/// A project's files on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// The project.
    pub project: ProjectName,
    /// The folder with the files.
    pub dir: PathBuf,
    /// The digest of the files.
    pub digest: Digest,
    /// The number of files that count in the digest.
    pub files: u64,
    /// The bytes of all files.
    pub bytes: u64,
    /// `true`: the `node_modules` folders on the volume are carried over where the tree has none of
    /// its own.
    pub carries_packages: bool,
}
