//! Whom the processes that a router makes run as.

use std::io;
use std::os::unix::fs::chown;
use std::path::Path;

/// A user and its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl User {
    /// Makes `path` this user's.
    ///
    /// # Errors
    /// It cannot be given away.
    pub(crate) fn give(self, path: &Path) -> io::Result<()> {
        chown(path, Some(self.uid), Some(self.gid))
    }
}
