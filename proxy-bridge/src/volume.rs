//! The volume: the staging of uploads, and the swap of a project's tree, or of a folder or file that
//! projects share, for another one.
//!
//! ```text
//! <projects>/<project>/…                 the trees that routers serve
//! <projects>/_<shared>/…, deno.json      folders and files that projects include
//! <projects>/.switchyard-bridge/
//!   lock                                 held by the one bridge of the volume
//!   incarnations/<project>.json          incarnations of a name that was removed once
//!   behind/<project>.json                routers that serve an older version than was deployed
//!   deploys/<deploy>.json                the record of a deploy
//!   staging/<deploy>/new/<entry>         the new tree or file; after the swap, the old one
//!   staging/<deploy>/old/<entry>         the old one, where the file system cannot exchange
//!   staging/<deploy>/journal.json        exists while a swap may have begun and is not settled
//! ```

mod carry;
mod change;
mod error;
mod folder;
mod journal;
mod register;
mod staging;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::RenameFlags;

pub use self::change::{Change, EntryName, InvalidSharedName, SharedName, SharedTree};
pub use self::error::{OpenError, VolumeError};
use self::folder::VolumeFolder;
pub use self::register::Register;
pub use self::staging::{RemovalTerms, RestoreReport, Staging};
use switchyard_contract::project::ProjectName;

/// The folder of the bridge's own; routers leave names with a dot alone.
const OWN: &str = ".switchyard-bridge";

const NEW: &str = "new";
const OLD: &str = "old";

/// The projects root: a name, which is resolved anew for each deploy. The folder behind it may be
/// replaced: a link is swapped, the folder is created again, or a file system is mounted over it.
#[derive(Debug)]
pub struct Volume {
    /// Absolute, not resolved.
    name: PathBuf,
    own: PathBuf,
    folder: Mutex<Arc<VolumeFolder>>,
}

/// A deploy in which a bridge was killed.
#[derive(Debug)]
pub struct UnfinishedDeploy {
    /// The deploy's staging folder.
    pub staging: Staging,
    /// The changes in its journal.
    pub changes: Vec<Change>,
}

/// The opened folder, and the deploys that a killed bridge left in it.
type Opened<T> = Result<(T, Vec<UnfinishedDeploy>), OpenError>;

impl Volume {
    /// Opens the volume, and removes what a killed bridge left before it had changed anything.
    ///
    /// # Errors
    /// The folder is missing, cannot be written, or is in use by another bridge.
    pub fn open(projects: &Path) -> Result<(Self, Vec<UnfinishedDeploy>), OpenError> {
        Self::open_by(projects, VolumeFolder::open)
    }

    /// Opens the volume once no other bridge uses it, as [`Self::open`] does. Blocks until then.
    ///
    /// # Errors
    /// The folder is missing, or cannot be written.
    pub fn wait(projects: &Path) -> Result<(Self, Vec<UnfinishedDeploy>), OpenError> {
        Self::open_by(projects, VolumeFolder::wait)
    }

    fn open_by(projects: &Path, open: fn(&Path) -> Opened<VolumeFolder>) -> Opened<Self> {
        let missing = |source| OpenError::Missing { path: projects.to_owned(), source };
        let name = std::path::absolute(projects).map_err(missing)?;
        let (folder, unfinished) = open(&name)?;
        let own = name.join(OWN);
        Ok((Self { name, own, folder: Mutex::new(Arc::new(folder)) }, unfinished))
    }

    /// The bridge's own folder on the volume, not resolved.
    pub fn state_dir(&self) -> &Path {
        &self.own
    }

    /// Returns true if two folders can be exchanged in one step. On NFS and some others they
    /// cannot: there a replaced project has no folder between two renames.
    pub fn can_exchange(&self) -> bool {
        self.folder().can_exchange
    }

    /// Returns true if there is a folder of that name, and while the whole volume is missing, which
    /// [`Volume::stage`] reports.
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

    /// Returns the incarnations of all names, in the folder that was there at the last
    /// [`Volume::stage`].
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
        tracing::info!(folder = %folder.projects.display(), "{} was replaced by another folder", self.name.display());
        for one in unfinished {
            let deploy = one.staging.deploy();
            tracing::warn!(deploy, "an unfinished deploy in this folder waits for the bridge's next start");
        }
        *held = Arc::new(folder);
        Ok(held.clone())
    }

    fn folder(&self) -> MutexGuard<'_, Arc<VolumeFolder>> {
        self.folder.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn rename(from: &Path, to: &Path, flags: RenameFlags) -> io::Result<()> {
    Ok(rustix::fs::renameat_with(rustix::fs::CWD, from, rustix::fs::CWD, to, flags)?)
}

#[cfg(test)]
mod tests;
