//! The journal of a deploy: its changes to the volume, on disk before they begin.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Change, Register, VolumeError};
use crate::tree::Tree;
use switchyard_contract::digest::{Digest, is_counted, is_entered};
use switchyard_contract::incarnation::{DataFate, Incarnation, Incarnations};
use switchyard_contract::project::ProjectName;
use switchyard_program::atomic_file::{self, sync_folder};

const FILE: &str = "journal.json";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Journal {
    pub(super) entries: Vec<JournalEntry>,
}

/// One project of the deploy.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct JournalEntry {
    pub(super) project: ProjectName,
    /// `None`: the project is removed.
    pub(super) put: Option<StoredTree>,
    /// The fate of its data when it is taken away.
    #[serde(default)]
    pub(super) data: DataFate,
    /// The incarnation that is brought back with the tree.
    #[serde(default)]
    pub(super) brings_back: Option<Reinstatement>,
    /// The folder that was on the volume before.
    pub(super) before: Option<FolderIdentity>,
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
    pub(super) identity: FolderIdentity,
    /// The hash by [`listing`] at the time when the tree was stored.
    pub(super) listing: Digest,
    digest: Digest,
    files: u64,
    bytes: u64,
}

/// A folder by identity, regardless of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FolderIdentity {
    device: u64,
    inode: u64,
}

impl FolderIdentity {
    /// `None` when there is nothing, or something that is no folder.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let metadata = path.symlink_metadata().ok().filter(fs::Metadata::is_dir)?;
        Some(Self { device: metadata.dev(), inode: metadata.ino() })
    }
}

impl Journal {
    /// Returns the journal of trees that are stored and not yet in place.
    pub(super) fn of(changes: &[Change], projects: &Path, register: &Register) -> Result<Self, VolumeError> {
        let entry = |change: &Change| {
            let project = change.project().clone();
            let before = FolderIdentity::of(&projects.join(project.as_str()));
            let put = change.tree().map(StoredTree::of).transpose();
            let put = put.map_err(|source| VolumeError::io("list the stored files", source))?;
            let (mut data, mut brings_back) = Default::default();
            match change {
                Change::Put(_) => {}
                Change::BringBack(_, incarnation) => {
                    let before = register.of(&project)?;
                    brings_back = Some(Reinstatement { incarnation: *incarnation, before });
                }
                Change::Remove(_, what) => data = *what,
            }
            Ok(JournalEntry { project, put, data, brings_back, before })
        };
        Ok(Self { entries: changes.iter().map(entry).collect::<Result<_, VolumeError>>()? })
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

    pub(super) fn changes(&self, new: &Path) -> Vec<Change> {
        let change = |entry: &JournalEntry| {
            let Some(put) = &entry.put else { return Change::Remove(entry.project.clone(), entry.data) };
            let tree = Tree {
                project: entry.project.clone(),
                dir: new.join(entry.project.as_str()),
                digest: put.digest,
                files: put.files,
                bytes: put.bytes,
                // A tree in the journal has its packages already.
                carries_packages: true,
            };
            match &entry.brings_back {
                Some(back) => Change::BringBack(tree, back.incarnation),
                None => Change::Put(tree),
            }
        };
        self.entries.iter().map(change).collect()
    }
}

impl StoredTree {
    fn of(tree: &Tree) -> io::Result<Self> {
        let gone = || io::Error::new(io::ErrorKind::NotFound, "the staged tree is gone");
        Ok(Self {
            identity: FolderIdentity::of(&tree.dir).ok_or_else(gone)?,
            listing: listing(&tree.dir)?,
            digest: tree.digest,
            files: tree.files,
            bytes: tree.bytes,
        })
    }
}

/// Returns a hash of the names, sizes, times and inodes of all files that count below `root`:
/// another one after any write.
pub(super) fn listing(root: &Path) -> io::Result<Digest> {
    let mut lines = Vec::new();
    list(root, "", &mut lines)?;
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
            let (seconds, nanos) = (metadata.mtime(), metadata.mtime_nsec());
            lines.push(format!("{path}\0{}\0{seconds}\0{nanos}\0{}\n", metadata.len(), metadata.ino()));
        }
    }
    Ok(())
}
