//! The swap of trees and shared entries with those on the volume, and the way back.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::RenameFlags;

use super::super::journal::{EntryIdentity, JournalEntry};
use super::super::{EntryName, NEW, OLD, VolumeError, rename};
use super::{RestoreReport, Staging};

impl Staging {
    /// Moves the trees into place that are not there yet.
    ///
    /// # Errors
    /// The volume fails.
    pub fn complete(&mut self) -> Result<(), VolumeError> {
        let entries = self.entries();
        for entry in &entries {
            self.check_plain(&entry.name)?;
            // Written before the files: no router may read them as another incarnation's.
            self.bring_back(entry)?;
            if self.is_due(entry) {
                let put = self.put_in_place(entry);
                put.map_err(|source| {
                    VolumeError::io(&format!("move {} into the projects root", entry.name), source)
                })?;
            }
        }
        self.sync_places()
    }

    /// Puts the old trees back where no one else has changed anything since.
    ///
    /// # Errors
    /// The volume fails; the trees that can be put back are.
    pub fn put_back(&mut self) -> Result<RestoreReport, VolumeError> {
        let mut left = Vec::new();
        let mut failed = None;
        for entry in self.entries() {
            let target = self.place(&entry.name);
            if self.ended(&entry).is_some() {
                continue;
            }
            if EntryIdentity::of(&target) == entry.before {
                failed = self.end_again(&entry).err().or(failed);
                continue;
            }
            if self.is_between(&entry) || self.is_ours(&entry.name) {
                let taken = self.take_back(&entry);
                let taken =
                    taken.map_err(|source| VolumeError::io(&format!("put {} back", entry.name), source));
                // Behind its files, for the reason that it was brought back before them.
                failed = taken.and_then(|()| self.end_again(&entry)).err().or(failed);
            } else {
                left.push(entry.name);
            }
        }
        let put_back = failed.map_or(Ok(RestoreReport { left }), Err);
        let put_back = put_back.and_then(|done| self.sync_places().map(|()| done));
        self.stranded = put_back.is_err();
        put_back
    }

    fn new_of(&self, entry: &JournalEntry) -> PathBuf {
        self.dir.join(NEW).join(entry.name.as_str())
    }

    pub(in super::super) fn old_of(&self, entry: &JournalEntry) -> PathBuf {
        self.dir.join(OLD).join(entry.name.as_str())
    }

    pub(super) fn is_done(&self, entry: &JournalEntry) -> bool {
        let there = EntryIdentity::of(&self.place(&entry.name));
        match &entry.put {
            Some(put) => there == Some(put.identity),
            None => there.is_none(),
        }
    }

    /// Returns true if the entry's step was not taken yet. A step that was taken, and undone by a
    /// later deploy, is not due.
    fn is_due(&self, entry: &JournalEntry) -> bool {
        match &entry.put {
            Some(put) => EntryIdentity::of(&self.new_of(entry)) == Some(put.identity),
            None => entry.before.is_some() && EntryIdentity::of(&self.place(&entry.name)) == entry.before,
        }
    }

    /// Killed between two renames: the place is empty, both trees are here.
    fn is_between(&self, entry: &JournalEntry) -> bool {
        entry.before.is_some()
            && EntryIdentity::of(&self.place(&entry.name)).is_none()
            && EntryIdentity::of(&self.old_of(entry)) == entry.before
    }

    pub(in super::super) fn put_in_place(&self, entry: &JournalEntry) -> io::Result<()> {
        let (target, new) = (self.place(&entry.name), self.new_of(entry));
        let there = EntryIdentity::of(&target);
        if entry.put.is_some() && there.is_some() && self.can_exchange {
            return rename(&new, &target, RenameFlags::EXCHANGE);
        }
        if there.is_some() {
            fs::create_dir_all(self.dir.join(OLD))?;
            rename_fresh(&target, &self.old_of(entry))?;
        }
        if entry.put.is_some() { rename_fresh(&new, &target) } else { Ok(()) }
    }

    fn take_back(&self, entry: &JournalEntry) -> io::Result<()> {
        let (target, new, old) = (self.place(&entry.name), self.new_of(entry), self.old_of(entry));
        // After an exchange the old tree is where the new one was.
        if entry.before.is_some() && EntryIdentity::of(&new) == entry.before {
            return rename(&new, &target, RenameFlags::EXCHANGE);
        }
        if entry.put.is_some() && EntryIdentity::of(&target).is_some() {
            rename_fresh(&target, &new)?;
        }
        if entry.before.is_some() { rename_fresh(&old, &target) } else { Ok(()) }
    }

    /// # Errors
    /// The entry of the volume is not one that can be renamed.
    pub(super) fn check_plain(&self, name: &EntryName) -> Result<(), VolumeError> {
        let (Ok(there), Ok(root)) = (self.place(name).symlink_metadata(), self.projects.metadata()) else {
            return Ok(());
        };
        let is_folder = there.is_dir() && there.dev() == root.dev() && !has_mount(&self.place(name));
        match name {
            EntryName::Project(_) if is_folder => Ok(()),
            EntryName::Project(_) => Err(VolumeError::NotPlain(name.clone())),
            EntryName::Shared(shared) if is_folder && shared.may_be_folder() => Ok(()),
            EntryName::Shared(_) if there.is_file() && !has_mount(&self.place(name)) => Ok(()),
            EntryName::Shared(shared) => Err(VolumeError::NotShared(shared.clone())),
        }
    }
}

/// Returns true if something is mounted in `folder`: removing the old tree would empty it.
fn has_mount(folder: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    // proc_pid_mountinfo(5): the fifth field, with blanks and the like in octal.
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    points.map(|point| point.replace("\\040", " ")).any(|point| Path::new(&point).starts_with(folder))
}

/// Renames, but never onto an existing file or folder.
fn rename_fresh(from: &Path, to: &Path) -> io::Result<()> {
    match rename(from, to, RenameFlags::NOREPLACE) {
        // NFS and others do not know the flag.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) => {
            fs::rename(from, to)
        }
        other => other,
    }
}
