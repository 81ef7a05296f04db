//! The folder that the projects root is at one time, held by this process alone.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::RenameFlags;
use rustix::io::Errno;

use super::journal::Journal;
use super::{NEW, OWN, OpenError, Register, Staging, UnfinishedDeploy, rename};
use switchyard_program::removal::try_remove;

#[derive(Debug)]
pub(super) struct VolumeFolder {
    /// The real folder.
    pub(super) projects: PathBuf,
    pub(super) own: PathBuf,
    pub(super) can_exchange: bool,
    pub(super) register: Register,
    /// Device and inode.
    identity: (u64, u64),
    _lock: File,
}

impl VolumeFolder {
    /// Opens the folder that `name` leads to, and removes what a killed bridge left before it had
    /// changed anything.
    ///
    /// # Errors
    /// The folder is missing, cannot be written, or is in use by another bridge.
    pub(super) fn open(name: &Path) -> Result<(Self, Vec<UnfinishedDeploy>), OpenError> {
        let missing = |source| OpenError::Missing { path: name.to_owned(), source };
        let projects = name.canonicalize().map_err(missing)?;
        let identity = identity(&projects).map_err(missing)?;
        let own = projects.join(OWN);
        let path = own.clone();
        let unwritable = |source| OpenError::Unwritable { path: path.clone(), source };
        for folder in [&own, &own.join("staging")] {
            match fs::create_dir(folder) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(unwritable(error)),
                _ => {}
            }
            let there = folder.symlink_metadata().map_err(unwritable)?;
            if !there.is_dir() || there.dev() != identity.0 {
                return Err(OpenError::OtherDevice { path: folder.clone() });
            }
        }
        let lock = lock(&own.join("lock")).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => OpenError::InUse(projects.clone()),
            _ => unwritable(error),
        })?;
        let can_exchange = can_exchange(&own).map_err(unwritable)?;
        let register = Register::open(&projects).map_err(unwritable)?;
        let folder = Self { projects, own, can_exchange, register, identity, _lock: lock };
        let unfinished = folder.sweep().map_err(unwritable)?;
        Ok((folder, unfinished))
    }

    /// Returns true if `name` leads to this folder.
    pub(super) fn is_behind(&self, name: &Path) -> bool {
        name.canonicalize().is_ok_and(|real| real == self.projects)
            && identity(name).is_ok_and(|identity| identity == self.identity)
    }

    fn sweep(&self) -> io::Result<Vec<UnfinishedDeploy>> {
        let mut unfinished = Vec::new();
        for entry in fs::read_dir(self.own.join("staging"))? {
            let dir = entry?.path();
            match Journal::read(&dir) {
                Ok(Some(journal)) => {
                    let changes = journal.changes(&dir.join(NEW));
                    let staging = Staging::again(self, dir, journal);
                    unfinished.push(UnfinishedDeploy { staging, changes });
                }
                Ok(None) => clear(&dir),
                Err(error) => {
                    tracing::error!("keeping {} unchanged: cannot read its journal: {error}", dir.display());
                }
            }
        }
        Ok(unfinished)
    }
}

/// Removes the leftovers of a killed bridge. A failure is harmless.
fn clear(dir: &Path) {
    if let Err(error) = try_remove(dir) {
        tracing::warn!("{} cannot be removed: {error}", dir.display());
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = path.metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Locks the file for this process alone; `WouldBlock` while another process has the lock. No other
/// user may open it, since a reader could lock it.
fn lock(path: &Path) -> io::Result<File> {
    let writable = File::options().create(true).append(true).mode(0o600).open(path)?;
    // One of an earlier version is open to readers. A file system that has no modes keeps its own.
    let _ = writable.set_permissions(fs::Permissions::from_mode(0o600));
    // Held open for reading only where that will do, so that the volume can be remounted read-only.
    let readable = File::open(path)?;
    match readable.try_lock() {
        Ok(()) => Ok(readable),
        // NFS locks only files that are open for writing.
        Err(TryLockError::Error(error)) if error.raw_os_error() == Some(Errno::BADF.raw_os_error()) => {
            writable.try_lock()?;
            Ok(writable)
        }
        Err(error) => Err(error.into()),
    }
}

/// Tries it with two folders of its own.
fn can_exchange(own: &Path) -> io::Result<bool> {
    let folders = [own.join("staging/.exchange-a"), own.join("staging/.exchange-b")];
    for folder in &folders {
        fs::create_dir_all(folder)?;
    }
    let exchanged = rename(&folders[0], &folders[1], RenameFlags::EXCHANGE).is_ok();
    for folder in &folders {
        fs::remove_dir(folder)?;
    }
    Ok(exchanged)
}
