//! The volume: where uploads are staged, and how a project's tree takes another one's place.
//!
//! ```text
//! <projects>/<project>/…                                      what routers serve
//! <projects>/.switchyard-bridge/lock                          held by the one bridge of the volume
//! <projects>/.switchyard-bridge/incarnations/<project>.json   whose data a project has, once the name was removed
//! <projects>/.switchyard-bridge/staging/<deploy>/new/<project> what is put on the volume; after the swap, what was there
//! <projects>/.switchyard-bridge/staging/<deploy>/old/<project> what was there, where folders cannot be exchanged
//! <projects>/.switchyard-bridge/staging/<deploy>/journal.json there while the swap may have begun and is not settled
//! ```

mod carry;
mod error;
mod journal;
mod register;
mod staging;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, RenameFlags, flock};

pub use self::error::{OpenError, VolumeError};
use self::journal::Journal;
pub use self::register::{MAX_ENDED, Register};
pub use self::staging::{Ending, PutBack, Staging};
use super::upload::Tree;
use crate::digest::Digest;
use crate::incarnation::{Data, Incarnation};
use crate::project::ProjectName;

/// The folder of the bridge's own; routers leave names with a dot alone.
const OWN: &str = ".switchyard-bridge";

const NEW: &str = "new";
const OLD: &str = "old";

/// The projects' folder, held by this process alone.
#[derive(Debug)]
pub struct Volume {
    projects: PathBuf,
    own: PathBuf,
    can_exchange: bool,
    register: Register,
    _lock: File,
}

/// What a deploy does to a project.
#[derive(Debug, Clone)]
pub enum Change {
    Put(Tree),
    /// Files of an incarnation that a removal had ended, and that this brings back.
    BringBack(Tree, Incarnation),
    Remove(ProjectName, Data),
}

/// A deploy in which a bridge was killed.
#[derive(Debug)]
pub struct Unfinished {
    pub staging: Staging,
    pub changes: Vec<Change>,
}

impl Change {
    pub fn project(&self) -> &ProjectName {
        match self {
            Self::Put(tree) | Self::BringBack(tree, _) => &tree.project,
            Self::Remove(project, _) => project,
        }
    }

    /// The tree that is put on the volume; `None` when the project is taken away.
    pub fn tree(&self) -> Option<&Tree> {
        match self {
            Self::Put(tree) | Self::BringBack(tree, _) => Some(tree),
            Self::Remove(..) => None,
        }
    }

    /// What becomes of the project; `None` when it is taken away.
    pub fn digest(&self) -> Option<&Digest> {
        self.tree().map(|tree| &tree.digest)
    }
}

impl Volume {
    /// Opens the volume, and clears away what a killed bridge left that had changed nothing yet.
    ///
    /// # Errors
    /// The folder is not there, cannot be written, or is another bridge's.
    pub fn open(projects: &Path) -> Result<(Self, Vec<Unfinished>), OpenError> {
        let missing = |source| OpenError::Missing { path: projects.to_owned(), source };
        let projects = projects.canonicalize().map_err(missing)?;
        let own = projects.join(OWN);
        let path = own.clone();
        let unwritable = |source| OpenError::Unwritable { path: path.clone(), source };
        for folder in [&own, &own.join("staging")] {
            match fs::create_dir(folder) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(unwritable(error)),
                _ => {}
            }
            let there = folder.symlink_metadata().map_err(unwritable)?;
            if !there.is_dir() || there.dev() != projects.metadata().map_err(missing)?.dev() {
                return Err(OpenError::OtherDevice { path: folder.clone() });
            }
        }
        let lock = lock(&own.join("lock")).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => OpenError::InUse(projects.clone()),
            _ => unwritable(error),
        })?;
        let can_exchange = can_exchange(&own).map_err(unwritable)?;
        let register = Register::open(&projects).map_err(unwritable)?;
        let volume = Self { projects, own, can_exchange, register, _lock: lock };
        let unfinished = volume.sweep().map_err(unwritable)?;
        Ok((volume, unfinished))
    }

    /// The bridge's own folder on the volume.
    pub fn state_dir(&self) -> &Path {
        &self.own
    }

    /// Whether two folders can change places in one step. On NFS and some others they cannot: there a project that
    /// is replaced has no folder between two renames.
    pub fn can_exchange(&self) -> bool {
        self.can_exchange
    }

    /// Whether there is a folder of that name.
    pub fn has(&self, project: &ProjectName) -> bool {
        self.projects.join(project.as_str()).symlink_metadata().is_ok()
    }

    /// Makes the staging folder of a deploy.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn stage(&self, deploy: &str) -> Result<Staging, VolumeError> {
        let dir = self.own.join("staging").join(deploy);
        let io = |source| VolumeError::io("make the staging folder", source);
        fs::create_dir_all(dir.join(NEW)).map_err(io)?;
        Ok(self.staging(dir))
    }

    /// Which incarnation each name is in.
    pub fn register(&self) -> &Register {
        &self.register
    }

    fn staging(&self, dir: PathBuf) -> Staging {
        Staging::new(self.projects.clone(), dir, self.can_exchange, self.register.clone())
    }

    fn sweep(&self) -> io::Result<Vec<Unfinished>> {
        let mut unfinished = Vec::new();
        for entry in fs::read_dir(self.own.join("staging"))? {
            let dir = entry?.path();
            match Journal::read(&dir) {
                Ok(Some(journal)) => {
                    let changes = journal.changes(&dir.join(NEW));
                    let staging = self.staging(dir).again(journal);
                    unfinished.push(Unfinished { staging, changes });
                }
                Ok(None) => fs::remove_dir_all(&dir)?,
                Err(error) => {
                    tracing::error!(
                        "{} is left as it is: its journal cannot be read: {error}",
                        dir.display()
                    );
                }
            }
        }
        Ok(unfinished)
    }
}

/// Locks the file for this process alone; `WouldBlock` while another one has it.
fn lock(path: &Path) -> io::Result<File> {
    let writable = File::options().create(true).append(true).open(path)?;
    // Held open for reading only where that will do, so that the volume can be remounted read-only.
    let readable = File::open(path)?;
    match flock(&readable, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(readable),
        // NFS locks only what is open for writing.
        Err(rustix::io::Errno::BADF) => {
            flock(&writable, FlockOperation::NonBlockingLockExclusive)?;
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

fn rename(from: &Path, to: &Path, flags: RenameFlags) -> io::Result<()> {
    Ok(rustix::fs::renameat_with(rustix::fs::CWD, from, rustix::fs::CWD, to, flags)?)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests;
