//! The volume: where uploads are staged, and how a project's tree takes another one's place.
//!
//! ```text
//! <projects>/<project>/…                                      what routers serve
//! <projects>/.switchyard-bridge/lock                          held by the one bridge of the volume
//! <projects>/.switchyard-bridge/incarnations/<project>.json   whose data a project has, once the name was removed
//! <projects>/.switchyard-bridge/behind/<project>.json          which routers serve an older version than was deployed
//! <projects>/.switchyard-bridge/staging/<deploy>/new/<project> what is put on the volume; after the swap, what was there
//! <projects>/.switchyard-bridge/staging/<deploy>/old/<project> what was there, where folders cannot be exchanged
//! <projects>/.switchyard-bridge/staging/<deploy>/journal.json there while the swap may have begun and is not settled
//! ```

mod carry;
mod error;
mod folder;
mod journal;
mod register;
mod staging;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use rustix::fs::RenameFlags;

pub use self::error::{OpenError, VolumeError};
use self::folder::VolumeFolder;
pub use self::register::Register;
pub use self::staging::{RemovalTerms, RestoreReport, Staging};
use crate::tree::Tree;
use switchyard_contract::digest::Digest;
use switchyard_contract::incarnation::{DataFate, Incarnation};
use switchyard_contract::project::ProjectName;

/// The folder of the bridge's own; routers leave names with a dot alone.
const OWN: &str = ".switchyard-bridge";

const NEW: &str = "new";
const OLD: &str = "old";

/// The projects root: a name, which is resolved anew for each deploy. The folder behind it may be replaced: a link is
/// swapped, the folder is made again, something is mounted over it.
#[derive(Debug)]
pub struct Volume {
    /// Absolute, not resolved.
    name: PathBuf,
    own: PathBuf,
    folder: Mutex<Arc<VolumeFolder>>,
}

/// What a deploy does to a project.
#[derive(Debug, Clone)]
pub enum Change {
    Put(Tree),
    /// Files of an incarnation that a removal had ended, and that this brings back.
    BringBack(Tree, Incarnation),
    Remove(ProjectName, DataFate),
}

/// A deploy in which a bridge was killed.
#[derive(Debug)]
pub struct UnfinishedDeploy {
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
    pub fn open(projects: &Path) -> Result<(Self, Vec<UnfinishedDeploy>), OpenError> {
        let missing = |source| OpenError::Missing { path: projects.to_owned(), source };
        let name = std::path::absolute(projects).map_err(missing)?;
        let (folder, unfinished) = VolumeFolder::open(&name)?;
        let own = name.join(OWN);
        Ok((Self { name, own, folder: Mutex::new(Arc::new(folder)) }, unfinished))
    }

    /// The bridge's own folder on the volume, not resolved.
    pub fn state_dir(&self) -> &Path {
        &self.own
    }

    /// Whether two folders can change places in one step. On NFS and some others they cannot: there a project that
    /// is replaced has no folder between two renames.
    pub fn can_exchange(&self) -> bool {
        self.folder().can_exchange
    }

    /// Whether there is a folder of that name. Also while the whole volume is missing: [`Volume::stage`] reports that.
    pub fn has(&self, project: &ProjectName) -> bool {
        self.name.join(project.as_str()).symlink_metadata().is_ok() || !self.name.is_dir()
    }

    /// Makes the staging folder of a deploy.
    ///
    /// # Errors
    /// The volume is missing, or cannot be written.
    pub fn stage(&self, deploy: &str) -> Result<Staging, VolumeError> {
        let folder = self.current()?;
        let dir = folder.own.join("staging").join(deploy);
        let io = |source| VolumeError::io("make the staging folder", source);
        fs::create_dir_all(dir.join(NEW)).map_err(io)?;
        Ok(Staging::of(self.name.clone(), folder, dir))
    }

    /// Which incarnation each name is in, in the folder that was there at the last [`Volume::stage`].
    pub fn register(&self) -> Register {
        self.folder().register.clone()
    }

    /// The folder that the name leads to now, opened if it is another one than before.
    fn current(&self) -> Result<Arc<VolumeFolder>, VolumeError> {
        let mut held = self.folder();
        if held.is_behind(&self.name) {
            return Ok(held.clone());
        }
        let (folder, unfinished) = VolumeFolder::open(&self.name)?;
        tracing::info!(folder = %folder.projects.display(), "{} is another folder now", self.name.display());
        for one in unfinished {
            let deploy = one.staging.deploy();
            tracing::warn!(
                deploy,
                "a deploy that was not finished in this folder waits for the bridge's next start"
            );
        }
        *held = Arc::new(folder);
        Ok(held.clone())
    }

    fn folder(&self) -> MutexGuard<'_, Arc<VolumeFolder>> {
        self.folder.lock().expect("no holder of this lock panics")
    }
}

fn rename(from: &Path, to: &Path, flags: RenameFlags) -> io::Result<()> {
    Ok(rustix::fs::renameat_with(rustix::fs::CWD, from, rustix::fs::CWD, to, flags)?)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests;
