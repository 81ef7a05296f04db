//! The folder that the projects root is at one time, held by this process alone.

use std::fs::{self, File};
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
        let place = Place::find(name)?;
        let lock = place.lock(try_lock).map_err(|error| match error {
            OpenError::Unwritable { source, .. } if source.kind() == io::ErrorKind::WouldBlock => {
                OpenError::InUse(place.projects.clone())
            }
            other => other,
        })?;
        Self::with(place, lock)
    }

    /// Opens the folder once no other bridge uses it. Blocks until then: the kernel ends the wait in the
    /// moment in which the other process ends, however it does.
    ///
    /// # Errors
    /// The folder is missing, or cannot be written.
    pub(super) fn wait(name: &Path) -> Result<(Self, Vec<UnfinishedDeploy>), OpenError> {
        loop {
            let place = Place::find(name)?;
            let lock = place.lock(wait_for_lock)?;
            // After a long time the name may lead elsewhere, or someone has removed the file.
            if is_at(name, &place.projects, place.identity) && place.has(&lock) {
                return Self::with(place, lock);
            }
        }
    }

    fn with(place: Place, lock: File) -> Result<(Self, Vec<UnfinishedDeploy>), OpenError> {
        let Place { projects, own, identity } = place;
        let path = own.clone();
        let unwritable = |source| OpenError::Unwritable { path: path.clone(), source };
        let can_exchange = can_exchange(&own).map_err(unwritable)?;
        let register = Register::open(&projects).map_err(unwritable)?;
        let folder = Self { projects, own, can_exchange, register, identity, _lock: lock };
        let unfinished = folder.sweep().map_err(unwritable)?;
        Ok((folder, unfinished))
    }

    /// Returns true if `name` leads to this folder.
    pub(super) fn is_behind(&self, name: &Path) -> bool {
        is_at(name, &self.projects, self.identity)
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

/// A folder that is not locked yet, with the bridge's own folders in it.
struct Place {
    projects: PathBuf,
    own: PathBuf,
    identity: (u64, u64),
}

impl Place {
    fn find(name: &Path) -> Result<Self, OpenError> {
        let missing = |source| OpenError::Missing { path: name.to_owned(), source };
        let projects = name.canonicalize().map_err(missing)?;
        let identity = identity(&projects).map_err(missing)?;
        let place = Self { own: projects.join(OWN), projects, identity };
        for folder in [&place.own, &place.own.join("staging")] {
            match fs::create_dir(folder) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(place.unwritable(error));
                }
                _ => {}
            }
            let there = folder.symlink_metadata().map_err(|error| place.unwritable(error))?;
            if !there.is_dir() || there.dev() != identity.0 {
                return Err(OpenError::OtherDevice { path: folder.clone() });
            }
        }
        Ok(place)
    }

    fn lock(&self, how: fn(&File) -> io::Result<()>) -> Result<File, OpenError> {
        lock(&self.lock_file(), how).map_err(|error| self.unwritable(error))
    }

    /// Returns true if `lock` is the file that other bridges find.
    fn has(&self, lock: &File) -> bool {
        let held = lock.metadata().map(|metadata| (metadata.dev(), metadata.ino()));
        held.is_ok_and(|held| identity(&self.lock_file()).is_ok_and(|there| there == held))
    }

    fn lock_file(&self) -> PathBuf {
        self.own.join("lock")
    }

    fn unwritable(&self, source: io::Error) -> OpenError {
        OpenError::Unwritable { path: self.own.clone(), source }
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

/// Returns true if `name` leads to the folder `real` with this identity.
fn is_at(name: &Path, real: &Path, expected: (u64, u64)) -> bool {
    name.canonicalize().is_ok_and(|found| found == real)
        && identity(name).is_ok_and(|identity| identity == expected)
}

/// Locks the file for this process alone, by `how`. No other user may open it, since a reader could
/// lock it.
fn lock(path: &Path, how: fn(&File) -> io::Result<()>) -> io::Result<File> {
    let writable = File::options().create(true).append(true).mode(0o600).open(path)?;
    // One of an earlier version is open to readers. A file system that has no modes keeps its own.
    let _ = writable.set_permissions(fs::Permissions::from_mode(0o600));
    // Held open for reading only where that will do, so that the volume can be remounted read-only.
    let readable = File::open(path)?;
    match how(&readable) {
        Ok(()) => Ok(readable),
        // NFS locks only files that are open for writing.
        Err(error) if error.raw_os_error() == Some(Errno::BADF.raw_os_error()) => {
            how(&writable)?;
            Ok(writable)
        }
        Err(error) => Err(error),
    }
}

/// Locks at once; `WouldBlock` while another process has the lock.
fn try_lock(file: &File) -> io::Result<()> {
    Ok(file.try_lock()?)
}

/// Locks once no other process has the lock.
fn wait_for_lock(file: &File) -> io::Result<()> {
    loop {
        match file.lock() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            locked => return locked,
        }
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
