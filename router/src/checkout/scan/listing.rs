//! The result of a listing: the files and folders that count, and the metadata of each file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rustix::fs::Stat;

use crate::checkout::source_folders::{FileLocation, SourceFolders};
use crate::project::Include;

/// Everything of a project that counts, at one moment.
#[derive(Debug)]
pub(in crate::checkout) struct FileListing {
    /// The files by path relative to the project, in bytewise order. Paths of includes begin with
    /// `../`.
    pub(in crate::checkout) files: BTreeMap<String, ListedFile>,
    /// The paths of the `node_modules` folders, relative to the project.
    pub(in crate::checkout) node_modules: Vec<String>,
    /// The folders that the files lie in.
    pub(in crate::checkout) folders: SourceFolders,
    /// The includes, each with the real folder that it lies in.
    pub(in crate::checkout) includes: Vec<(Include, PathBuf)>,
}

impl FileListing {
    /// Returns `true` if both listings have the same files and `node_modules` folders.
    pub(in crate::checkout) fn is_same(&self, other: &Self) -> bool {
        (&self.files, &self.node_modules) == (&other.files, &other.node_modules)
    }
}

/// A file that counts.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::checkout) struct ListedFile {
    pub(in crate::checkout) stamp: FileStamp,
    pub(in crate::checkout) at: FileLocation,
}

/// The metadata that changes whenever a file does. The change time is part of it because, unlike
/// the modification time, it cannot be set back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::checkout) struct FileStamp {
    /// Size in bytes.
    pub(in crate::checkout) size: u64,
    /// Modification time: seconds since 1970 and nanoseconds.
    pub(in crate::checkout) modified: (i64, i64),
    /// Change time, like the modification time.
    pub(in crate::checkout) changed: (i64, i64),
    device: u64,
    inode: u64,
}

impl FileStamp {
    /// The stamp of a file with this status.
    pub(in crate::checkout) fn of(status: &Stat) -> Self {
        #[allow(clippy::unnecessary_cast, reason = "the types differ between architectures")]
        Self {
            size: u64::try_from(status.st_size).unwrap_or(0),
            modified: (status.st_mtime as i64, status.st_mtime_nsec as i64),
            changed: (status.st_ctime as i64, status.st_ctime_nsec as i64),
            device: status.st_dev as u64,
            inode: status.st_ino as u64,
        }
    }
}
