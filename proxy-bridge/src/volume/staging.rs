//! One deploy's trees and shared entries: staged, stored, swapped, put back or settled.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::SignedDuration;
use rustix::fs::syncfs;

use super::carry::carry_over;
use super::folder::VolumeFolder;
use super::journal::{Journal, JournalEntry, listing};
use super::{Change, EntryName, NEW, OLD, Register, SharedTree, VolumeError};
use switchyard_contract::project::ProjectName;
use switchyard_program::atomic_file::sync_folder;
use switchyard_program::removal::try_remove;

/// Up to this many files and folders are synced one by one (10 of them took 2 ms on ext4). For more
/// the whole file system is synced, which waits for other writers' data too, but costs a tenth of
/// that for 2,000 files.
const FEW: usize = 64;

mod incarnations;
mod swap;

/// The staging folder of a deploy. Its steps block. If it is dropped before a swap or after it is
/// settled, it is removed.
#[derive(Debug)]
pub struct Staging {
    projects: PathBuf,
    pub(super) dir: PathBuf,
    incoming: PathBuf,
    can_exchange: bool,
    register: Register,
    /// The projects root by name, and the folder behind it. `None` for a deploy of an earlier
    /// process.
    pub(super) root: Option<(PathBuf, Arc<VolumeFolder>)>,
    /// The changes to the volume that are under way.
    pub(super) journal: Option<Journal>,
    /// `true`: not all old trees are back, and the next start needs this folder.
    stranded: bool,
}

/// The result of putting the old trees back.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RestoreReport {
    /// Entries that someone else has changed in the meantime: they are left as they were found.
    pub left: Vec<EntryName>,
}

/// The facts that are noted of the incarnations that a deploy ends.
#[derive(Debug, Default)]
pub struct RemovalTerms {
    /// The time for which the project can be brought back.
    pub keep: SignedDuration,
    /// The versions that were live.
    pub versions: BTreeMap<ProjectName, String>,
}

impl Staging {
    pub(super) fn of(name: PathBuf, folder: Arc<VolumeFolder>, dir: PathBuf) -> Self {
        let mut staging = Self::new(&folder, dir);
        staging.root = Some((name, folder));
        staging
    }

    fn new(folder: &VolumeFolder, dir: PathBuf) -> Self {
        Self {
            projects: folder.projects.clone(),
            incoming: dir.join(NEW),
            dir,
            can_exchange: folder.can_exchange,
            register: folder.register.clone(),
            root: None,
            journal: None,
            stranded: false,
        }
    }

    /// Takes up a deploy of an earlier process.
    pub(super) fn again(folder: &VolumeFolder, dir: PathBuf, journal: Journal) -> Self {
        let mut staging = Self::new(folder, dir);
        staging.journal = Some(journal);
        staging
    }

    /// The incarnations of the folder that the deploy is for.
    pub fn register(&self) -> &Register {
        &self.register
    }

    /// The deploy's id.
    pub fn deploy(&self) -> &str {
        self.dir.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// The folder that an upload is received in: each tree in a folder with its project's name, and
    /// each shared entry by its own.
    pub fn incoming(&self) -> &Path {
        &self.incoming
    }

    /// Completes the trees with folders of the volume that no upload brings, and makes all of it
    /// durable.
    ///
    /// # Errors
    /// An entry of the volume cannot be exchanged, a project that is kept has no files, or the
    /// volume fails.
    pub fn store(&self, changes: &[Change]) -> Result<(), VolumeError> {
        for change in changes {
            let name = change.entry();
            let old = self.place(&name);
            if let Change::Keep(project) = change {
                if !old.is_dir() {
                    return Err(VolumeError::NothingKept(project.clone()));
                }
                continue;
            }
            self.check_plain(&name)?;
            let (new, packages) = match change {
                Change::Put(tree) | Change::BringBack(tree, _) => (&tree.dir, tree.carries_packages),
                Change::PutShared(tree) => (self.checked(tree)?, true),
                _ => continue,
            };
            carry_over(&old, new, packages)
                .map_err(|source| VolumeError::io("carry packages over", source))?;
        }
        self.sync().map_err(|source| VolumeError::io("write the files to the disk", source))
    }

    fn sync(&self) -> io::Result<()> {
        let mut staged = Vec::new();
        if walk(&self.incoming, &mut staged)? {
            return staged.iter().try_for_each(|path| sync_folder(path));
        }
        Ok(syncfs(File::open(&self.incoming)?)?)
    }

    /// Puts every tree in its place. If one of them fails, the others are put back.
    ///
    /// # Errors
    /// The volume fails; nothing has changed.
    pub fn swap(&mut self, changes: &[Change]) -> Result<(), VolumeError> {
        if self.root.as_ref().is_some_and(|(name, folder)| !folder.is_behind(name)) {
            return Err(VolumeError::Replaced);
        }
        let journal = Journal::of(changes, &self.projects, &self.register)?;
        journal.write(&self.dir).map_err(|source| VolumeError::io("write the journal", source))?;
        self.journal = Some(journal);
        let swapped = self.complete();
        if swapped.is_err()
            && let Err(error) = self.put_back()
        {
            tracing::error!(deploy = self.deploy(), "not all old files are restored: {error}");
        }
        swapped
    }

    /// Returns true if the entry is as this deploy left it: the same folder or file, without any
    /// write since. Of a project that is kept, no more than its folder has to be there.
    pub fn is_ours(&self, name: &EntryName) -> bool {
        let Some(journal) = &self.journal else { return false };
        if name.project().is_some_and(|project| journal.kept.contains(project)) {
            return self.place(name).is_dir();
        }
        let Some(entry) = journal.entries.iter().find(|entry| entry.name == *name) else { return false };
        match &entry.put {
            Some(put) => {
                self.is_done(entry) && listing(&self.place(name)).is_ok_and(|listing| listing == put.listing)
            }
            None => self.is_done(entry),
        }
    }

    /// Settles the deploy: its trees stay on the volume, even if this process is killed. If not all
    /// old trees could be restored, the journal stays, and the next start tries again.
    ///
    /// # Errors
    /// The journal cannot be removed.
    pub fn settle(&mut self) -> Result<(), VolumeError> {
        if self.journal.is_none() || self.stranded {
            return Ok(());
        }
        Journal::remove(&self.dir).map_err(|source| VolumeError::io("remove the journal", source))?;
        self.journal = None;
        Ok(())
    }

    /// Removes the trees that are not on the volume, unless it is not settled.
    ///
    /// # Errors
    /// Something cannot be removed; the next start of a bridge does it.
    pub fn finish(mut self) -> Result<(), VolumeError> {
        self.settle()?;
        if self.journal.is_some() {
            return Ok(());
        }
        try_remove(&self.dir).map_err(|source| VolumeError::io("remove the old files", source))
    }

    fn entries(&self) -> Vec<JournalEntry> {
        self.journal.as_ref().map(|journal| journal.entries.clone()).unwrap_or_default()
    }

    pub(super) fn place(&self, name: &EntryName) -> PathBuf {
        self.projects.join(name.as_str())
    }

    /// Returns the path of a shared entry in the staging folder.
    ///
    /// # Errors
    /// There is something else than the entry.
    fn checked<'t>(&self, tree: &'t SharedTree) -> Result<&'t PathBuf, VolumeError> {
        let there = tree.path.symlink_metadata();
        let there = there.map_err(|source| VolumeError::io("find the files of a shared entry", source))?;
        let is_it =
            if tree.is_folder { there.is_dir() && tree.name.may_be_folder() } else { there.is_file() };
        if is_it && tree.path == self.incoming.join(tree.name.as_str()) {
            Ok(&tree.path)
        } else {
            let kind = io::ErrorKind::InvalidInput;
            let source = io::Error::new(kind, format!("{} is not what it was received as", tree.name));
            Err(VolumeError::io("store a shared entry", source))
        }
    }

    fn sync_places(&self) -> Result<(), VolumeError> {
        let folders = [self.projects.clone(), self.dir.clone(), self.dir.join(NEW), self.dir.join(OLD)];
        let mut there = folders.iter().filter(|folder| folder.is_dir());
        there
            .try_for_each(|folder| sync_folder(folder))
            .map_err(|source| VolumeError::io("write the folders to the disk", source))
    }
}

/// Adds all files and folders below `dir`, the inner ones first; stops at [`FEW`] and says `false`.
fn walk(dir: &Path, staged: &mut Vec<PathBuf>) -> io::Result<bool> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() && !walk(&entry.path(), staged)? {
            return Ok(false);
        }
        if kind.is_file() {
            staged.push(entry.path());
        }
    }
    staged.push(dir.to_owned());
    Ok(staged.len() <= FEW)
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.journal.is_none() {
            // A folder that cannot be removed now is removed at the next start.
            let _ = try_remove(&self.dir);
        }
    }
}
