//! The journal of a deploy: its changes to the volume, on disk before they begin.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Change, EntryName, Register, SharedTree, VolumeError};
use crate::tree::Tree;
use switchyard_contract::digest::{Digest, is_counted, is_entered};
use switchyard_contract::incarnation::{DataFate, Incarnation, Incarnations};
use switchyard_contract::project::ProjectName;
use switchyard_program::atomic_file::{self, sync_folder};

const FILE: &str = "journal.json";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Journal {
    pub(super) entries: Vec<JournalEntry>,
    /// The projects of the deploy whose own files stay.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) kept: Vec<ProjectName>,
}

/// One project or shared entry that the deploy changes. A bridge of a version without shared entries
/// refuses a journal with one, as its name is no project's.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct JournalEntry {
    #[serde(rename = "project")]
    pub(super) name: EntryName,
    /// `None`: the entry is removed.
    pub(super) put: Option<StoredTree>,
    /// The fate of its data when it is taken away.
    #[serde(default)]
    pub(super) data: DataFate,
    /// The incarnation that is brought back with the tree.
    #[serde(default)]
    pub(super) brings_back: Option<Reinstatement>,
    /// The folder or file that was on the volume before.
    pub(super) before: Option<EntryIdentity>,
}

/// An incarnation that had ended is the current one from the swap on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Reinstatement {
    pub(super) incarnation: Incarnation,
    /// The content that is written again when the tree is taken back.
    pub(super) before: Incarnations,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct StoredTree {
    pub(super) identity: EntryIdentity,
    /// The hash by [`listing`] at the time when the tree was stored.
    pub(super) listing: Digest,
    digest: Digest,
    #[serde(default)]
    files: u64,
    #[serde(default)]
    bytes: u64,
    /// True for a shared file.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_file: bool,
}

/// A folder or file by identity, regardless of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EntryIdentity {
    device: u64,
    inode: u64,
}

impl EntryIdentity {
    /// `None` when there is nothing, or something that is neither a folder nor a file.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let metadata = path.symlink_metadata().ok().filter(|there| there.is_dir() || there.is_file())?;
        Some(Self { device: metadata.dev(), inode: metadata.ino() })
    }
}

impl Journal {
    /// Returns the journal of trees that are stored and not yet in place.
    pub(super) fn of(changes: &[Change], projects: &Path, register: &Register) -> Result<Self, VolumeError> {
        let entry = |change: &Change| {
            let name = change.entry();
            let before = EntryIdentity::of(&projects.join(name.as_str()));
            let put = match change {
                Change::Put(tree) | Change::BringBack(tree, _) => Some(StoredTree::of(tree)),
                Change::PutShared(tree) => Some(StoredTree::of_shared(tree)),
                Change::Remove(..) | Change::RemoveShared(_) | Change::Keep(_) => None,
            };
            let put = put.transpose();
            let put = put.map_err(|source| VolumeError::io("list the stored files", source))?;
            let (mut data, mut brings_back) = Default::default();
            match change {
                Change::BringBack(tree, incarnation) => {
                    let before = register.of(&tree.project)?;
                    brings_back = Some(Reinstatement { incarnation: *incarnation, before });
                }
                Change::Remove(_, what) => data = *what,
                _ => {}
            }
            Ok(JournalEntry { name, put, data, brings_back, before })
        };
        let changing = changes.iter().filter(|change| !change.keeps());
        let kept = changes.iter().filter(|change| change.keeps()).filter_map(Change::project);
        Ok(Self {
            entries: changing.map(entry).collect::<Result<_, VolumeError>>()?,
            kept: kept.cloned().collect(),
        })
    }

    /// Written whole or not at all, and durably.
    pub(super) fn write(&self, dir: &Path) -> io::Result<()> {
        atomic_file::write(&dir.join(FILE), &serde_json::to_vec(self)?, atomic_file::READABLE)?;
        // The folder's own name is new, too.
        dir.parent().map_or(Ok(()), sync_folder)
    }

    pub(super) fn read(dir: &Path) -> io::Result<Option<Self>> {
        match fs::read(dir.join(FILE)) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn remove(dir: &Path) -> io::Result<()> {
        fs::remove_file(dir.join(FILE))?;
        sync_folder(dir)
    }

    /// Returns the changes of the deploy, the projects that it keeps last. `new` is the folder of
    /// its new trees.
    pub(super) fn changes(&self, new: &Path) -> Vec<Change> {
        let kept = self.kept.iter().cloned().map(Change::Keep);
        self.entries.iter().map(|entry| entry.change(new)).chain(kept).collect()
    }
}

impl JournalEntry {
    fn change(&self, new: &Path) -> Change {
        let path = new.join(self.name.as_str());
        match (&self.name, &self.put) {
            (EntryName::Project(project), None) => Change::Remove(project.clone(), self.data),
            (EntryName::Shared(name), None) => Change::RemoveShared(name.clone()),
            (EntryName::Project(project), Some(put)) => {
                let tree = put.tree(project.clone(), path);
                match &self.brings_back {
                    Some(back) => Change::BringBack(tree, back.incarnation),
                    None => Change::Put(tree),
                }
            }
            (EntryName::Shared(name), Some(put)) => Change::PutShared(SharedTree {
                name: name.clone(),
                path,
                is_folder: !put.is_file,
                digest: put.digest,
            }),
        }
    }
}

impl StoredTree {
    fn of(tree: &Tree) -> io::Result<Self> {
        let stored = Self::at(&tree.dir, tree.digest)?;
        Ok(Self { files: tree.files, bytes: tree.bytes, ..stored })
    }

    fn of_shared(tree: &SharedTree) -> io::Result<Self> {
        Ok(Self { is_file: !tree.is_folder, ..Self::at(&tree.path, tree.digest)? })
    }

    fn at(path: &Path, digest: Digest) -> io::Result<Self> {
        let gone = || io::Error::new(io::ErrorKind::NotFound, "the staged tree is gone");
        let identity = EntryIdentity::of(path).ok_or_else(gone)?;
        Ok(Self { identity, listing: listing(path)?, digest, files: 0, bytes: 0, is_file: false })
    }

    /// Returns the tree of `project` in the folder `dir`.
    fn tree(&self, project: ProjectName, dir: PathBuf) -> Tree {
        let (digest, files, bytes) = (self.digest, self.files, self.bytes);
        // A tree in the journal has its packages already.
        Tree { project, dir, digest, files, bytes, carries_packages: true }
    }
}

/// Returns a hash of the names, sizes, times and inodes of the file `root`, or of all files that
/// count below the folder: another one after any write.
pub(super) fn listing(root: &Path) -> io::Result<Digest> {
    let mut lines = Vec::new();
    let metadata = root.symlink_metadata()?;
    if metadata.is_dir() {
        list(root, "", &mut lines)?;
    } else {
        lines.push(line("", &metadata));
    }
    lines.sort_unstable();
    Ok(Digest::from(<[u8; 32]>::from(Sha256::digest(lines.concat()))))
}

fn list(dir: &Path, prefix: &str, lines: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let path = format!("{prefix}{}", name.to_string_lossy());
        let metadata = entry.path().symlink_metadata()?;
        if metadata.is_dir() {
            if is_entered(name.as_encoded_bytes()) {
                list(&entry.path(), &format!("{path}/"), lines)?;
            }
        } else if is_counted(&path) {
            lines.push(line(&path, &metadata));
        }
    }
    Ok(())
}

fn line(path: &str, metadata: &fs::Metadata) -> String {
    let (seconds, nanos) = (metadata.mtime(), metadata.mtime_nsec());
    format!("{path}\0{}\0{seconds}\0{nanos}\0{}\n", metadata.len(), metadata.ino())
}
