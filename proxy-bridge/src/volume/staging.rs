//! One deploy's trees: staged, stored, swapped, put back or settled.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rustix::fs::{RenameFlags, syncfs};

use super::carry::carry_over;
use super::folder::VolumeFolder;
use super::journal::{FolderIdentity, Journal, JournalEntry, listing};
use super::{Change, NEW, OLD, Register, VolumeError, rename, sync_folder};
use switchyard_contract::incarnation::{EndedIncarnation, Incarnations};
use switchyard_contract::project::ProjectName;
use switchyard_program::removal::try_remove;

/// Up to so many files and folders are written to the disk one by one (10 of them took 2 ms on ext4); for more the whole
/// file system is, which waits for other writers' data too, but costs a tenth of that for 2,000 files.
const FEW: usize = 64;

/// The staging folder of a deploy. Its steps block. Dropped before a swap or after it is settled, it is removed.
#[derive(Debug)]
pub struct Staging {
    projects: PathBuf,
    pub(super) dir: PathBuf,
    incoming: PathBuf,
    can_exchange: bool,
    register: Register,
    /// The projects root by name, and the folder that it was. `None` for a deploy of an earlier process.
    pub(super) root: Option<(PathBuf, Arc<VolumeFolder>)>,
    /// What is being done to the volume.
    pub(super) journal: Option<Journal>,
    /// Not all old trees are back: what is here is needed by the next start.
    stranded: bool,
}

/// What came of putting the old trees back.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RestoreReport {
    /// Somebody else changed these meanwhile: they are as they were found.
    pub left: Vec<ProjectName>,
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

    /// Where an upload is received: each tree in a folder by its project's name.
    pub fn incoming(&self) -> &Path {
        &self.incoming
    }

    /// Completes the trees with what the volume has and no upload brings, and makes all of it durable.
    ///
    /// # Errors
    /// A project's folder on the volume cannot be exchanged, or the volume fails.
    pub fn store(&self, changes: &[Change]) -> Result<(), VolumeError> {
        for change in changes {
            self.check_plain(change.project())?;
            let old = self.place(change.project());
            if let (Some(tree), true) = (change.tree(), old.is_dir()) {
                carry_over(&old, &tree.dir, tree.carries_packages)
                    .map_err(|source| VolumeError::io("carry packages over", source))?;
            }
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
            tracing::error!(deploy = self.deploy(), "the old files are not all back: {error}");
        }
        swapped
    }

    /// Puts those trees in their places that are not there yet.
    ///
    /// # Errors
    /// The volume fails.
    pub fn complete(&mut self) -> Result<(), VolumeError> {
        let entries = self.entries();
        for entry in &entries {
            self.check_plain(&entry.project)?;
            // Before its files are there: no router may read them as another incarnation's.
            self.bring_back(entry)?;
            if self.is_due(entry) {
                let put = self.put_in_place(entry);
                put.map_err(|source| {
                    VolumeError::io(&format!("put {} in its place", entry.project), source)
                })?;
            }
        }
        self.sync_places()
    }

    fn bring_back(&self, entry: &JournalEntry) -> Result<(), VolumeError> {
        let Some(back) = &entry.brings_back else { return Ok(()) };
        let mut incarnations = back.before.clone();
        incarnations.bring_back(back.incarnation, self.deploy());
        self.note(&entry.project, &incarnations)
    }

    /// Notes which incarnations end with this deploy, and which projects are there again. From here
    /// on the deploy is not undone: routers may delete what was to be deleted. May be called again,
    /// by another process too.
    ///
    /// # Errors
    /// The volume fails.
    pub fn commit(&self, ending: &RemovalTerms) -> Result<(), VolumeError> {
        for entry in self.entries() {
            let before = self.register.of(&entry.project)?;
            let mut after = before.clone();
            if entry.put.is_some() {
                after.removed = false;
            } else if before.removed && entry.before.is_none() {
                // It was taken away before: what is left is its data.
                after.set_data(entry.data);
            } else if self.ended(&entry).is_none() {
                let version = ending.versions.get(&entry.project).cloned();
                let until = Timestamp::now().saturating_add(ending.keep).unwrap_or(Timestamp::MAX);
                after.end(self.deploy(), version, entry.data, until);
            }
            // Of names that were never removed nothing is noted.
            if after != before {
                self.note(&entry.project, &after)?;
            }
        }
        Ok(())
    }

    /// Returns `true` when the deploy can no longer be undone.
    pub fn is_committed(&self) -> bool {
        self.entries().iter().any(|entry| self.ended(entry).is_some())
    }

    /// The incarnation that this deploy has ended by taking the project away.
    fn ended(&self, entry: &JournalEntry) -> Option<EndedIncarnation> {
        let incarnations = self.register.of(&entry.project).ok().filter(|_| entry.put.is_none())?;
        incarnations.ended.into_iter().find(|ended| ended.deploy == self.deploy())
    }

    fn note(&self, project: &ProjectName, incarnations: &Incarnations) -> Result<(), VolumeError> {
        self.register
            .put(project, incarnations)
            .map_err(|source| VolumeError::io("note which data is the project's", source))
    }

    /// Whether the project is as this deploy left it: the very same folder, and nothing in it was written since.
    pub fn is_ours(&self, project: &ProjectName) -> bool {
        let entries = self.journal.iter().flat_map(|journal| &journal.entries);
        let Some(entry) = entries.into_iter().find(|entry| entry.project == *project) else { return false };
        match &entry.put {
            Some(put) => {
                self.is_done(entry)
                    && listing(&self.place(project)).is_ok_and(|listing| listing == put.listing)
            }
            None => self.is_done(entry),
        }
    }

    /// Puts the old trees back where nobody else has changed anything since.
    ///
    /// # Errors
    /// The volume fails; what could be put back is.
    pub fn put_back(&mut self) -> Result<RestoreReport, VolumeError> {
        let mut left = Vec::new();
        let mut failed = None;
        for entry in self.entries() {
            let place = self.place(&entry.project);
            if self.ended(&entry).is_some() {
                continue;
            }
            if FolderIdentity::of(&place) == entry.before {
                failed = self.end_again(&entry).err().or(failed);
                continue;
            }
            if self.is_between(&entry) || self.is_ours(&entry.project) {
                let taken = self.take_back(&entry);
                let taken =
                    taken.map_err(|source| VolumeError::io(&format!("put {} back", entry.project), source));
                // Behind its files, for the reason that it was brought back before them.
                failed = taken.and_then(|()| self.end_again(&entry)).err().or(failed);
            } else {
                left.push(entry.project);
            }
        }
        let put_back = failed.map_or(Ok(RestoreReport { left }), Err);
        let put_back = put_back.and_then(|done| self.sync_places().map(|()| done));
        self.stranded = put_back.is_err();
        put_back
    }

    /// Ends an incarnation again that was to be brought back.
    fn end_again(&self, entry: &JournalEntry) -> Result<(), VolumeError> {
        entry.brings_back.as_ref().map_or(Ok(()), |back| self.note(&entry.project, &back.before))
    }

    /// Settles it: what is on the volume stays, whatever happens to this process. Where not all old trees could be
    /// put back it is not settled, and the journal stays: the next start tries again.
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

    pub(super) fn place(&self, project: &ProjectName) -> PathBuf {
        self.projects.join(project.as_str())
    }

    fn new_of(&self, entry: &JournalEntry) -> PathBuf {
        self.dir.join(NEW).join(entry.project.as_str())
    }

    pub(super) fn old_of(&self, entry: &JournalEntry) -> PathBuf {
        self.dir.join(OLD).join(entry.project.as_str())
    }

    fn is_done(&self, entry: &JournalEntry) -> bool {
        let there = FolderIdentity::of(&self.place(&entry.project));
        match &entry.put {
            Some(put) => there == Some(put.identity),
            None => there.is_none(),
        }
    }

    /// Whether its step was not taken yet. One that was taken and undone by a later deploy is not due.
    fn is_due(&self, entry: &JournalEntry) -> bool {
        match &entry.put {
            Some(put) => FolderIdentity::of(&self.new_of(entry)) == Some(put.identity),
            None => entry.before.is_some() && FolderIdentity::of(&self.place(&entry.project)) == entry.before,
        }
    }

    /// Killed between two renames: the place is empty, both trees are here.
    fn is_between(&self, entry: &JournalEntry) -> bool {
        entry.before.is_some()
            && FolderIdentity::of(&self.place(&entry.project)).is_none()
            && FolderIdentity::of(&self.old_of(entry)) == entry.before
    }

    pub(super) fn put_in_place(&self, entry: &JournalEntry) -> io::Result<()> {
        let (place, new) = (self.place(&entry.project), self.new_of(entry));
        let there = FolderIdentity::of(&place);
        if entry.put.is_some() && there.is_some() && self.can_exchange {
            return rename(&new, &place, RenameFlags::EXCHANGE);
        }
        if there.is_some() {
            fs::create_dir_all(self.dir.join(OLD))?;
            rename_fresh(&place, &self.old_of(entry))?;
        }
        if entry.put.is_some() { rename_fresh(&new, &place) } else { Ok(()) }
    }

    fn take_back(&self, entry: &JournalEntry) -> io::Result<()> {
        let (place, new, old) = (self.place(&entry.project), self.new_of(entry), self.old_of(entry));
        // After an exchange the old tree is where the new one was.
        if entry.before.is_some() && FolderIdentity::of(&new) == entry.before {
            return rename(&new, &place, RenameFlags::EXCHANGE);
        }
        if entry.put.is_some() && FolderIdentity::of(&place).is_some() {
            rename_fresh(&place, &new)?;
        }
        if entry.before.is_some() { rename_fresh(&old, &place) } else { Ok(()) }
    }

    /// # Errors
    /// The project's folder on the volume is not one that can be renamed.
    fn check_plain(&self, project: &ProjectName) -> Result<(), VolumeError> {
        let (Ok(there), Ok(root)) = (self.place(project).symlink_metadata(), self.projects.metadata()) else {
            return Ok(());
        };
        let plain = there.is_dir() && there.dev() == root.dev() && !has_mount(&self.place(project));
        if plain { Ok(()) } else { Err(VolumeError::NotPlain(project.clone())) }
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

/// Whether something is mounted in `folder`: removing the old tree would empty it.
fn has_mount(folder: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    // proc_pid_mountinfo(5): the fifth field, with blanks and the like in octal.
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    points.map(|point| point.replace("\\040", " ")).any(|point| Path::new(&point).starts_with(folder))
}

/// Never onto something that is there.
fn rename_fresh(from: &Path, to: &Path) -> io::Result<()> {
    match rename(from, to, RenameFlags::NOREPLACE) {
        // NFS and others do not know the flag.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) => {
            fs::rename(from, to)
        }
        other => other,
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.journal.is_none() {
            // What cannot be removed now is removed at the next start.
            let _ = try_remove(&self.dir);
        }
    }
}
