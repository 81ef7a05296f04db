//! The quota of this process and the folders that it is for.

use std::ffi::CStr;
use std::os::fd::{AsRawFd as _, RawFd};
use std::path::PathBuf;
use std::sync::OnceLock;

use super::files;
use super::quota::Quota;

/// The limit of this process. Nothing is limited before it is set: a spare and a process that
/// fetches packages have no project.
pub(super) static DISK: OnceLock<Disk> = OnceLock::new();

/// The limit of the disk space of one project.
pub(super) struct Disk {
    pub(super) quota: Quota,
    /// The folders that are counted. Empty if nothing else can be written, so that no path has to
    /// be looked up.
    pub(super) folders: Vec<PathBuf>,
}

impl Disk {
    /// Returns `true` if a file is counted.
    pub(super) fn counts_file(&self, fd: RawFd) -> bool {
        self.folders.is_empty() || self.contains(fd)
    }

    /// Returns `true` if a file made at this path is counted, by the folder that it would be in. A
    /// path without a folder is not counted: nothing can be made there.
    pub(super) fn counts_name(&self, at: RawFd, name: &CStr) -> bool {
        let is_inside = || files::folder(at, name).is_some_and(|folder| self.contains(folder.as_raw_fd()));
        self.folders.is_empty() || is_inside()
    }

    /// Returns `true` if an open file lies below the folders, or has a path that is too long to
    /// read.
    fn contains(&self, fd: RawFd) -> bool {
        let path = std::fs::read_link(format!("/proc/self/fd/{fd}"));
        path.map_or(true, |path| self.folders.iter().any(|folder| path.starts_with(folder)))
    }
}
