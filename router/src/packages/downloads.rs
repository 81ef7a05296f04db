//! The cache of downloaded tarballs, shared by all projects. Only installers read and write its
//! files.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};
use switchyard_protocol::NetTarget;

use crate::folder::try_remove;
use crate::user::{User, Users};

/// Maximum size of all tarballs in bytes: some ten thousand packages.
const MAX_BYTES: u64 = 2 << 30;

/// Name in the folder of all packages, where no project's name begins with a dot.
const DOWNLOADS: &str = ".downloads";

/// The cache of downloads.
#[derive(Debug, Clone)]
pub(super) struct DownloadCache {
    dir: PathBuf,
    owner: User,
    mode: u32,
}

/// Mode of the folders if one user fetches all packages.
const PRIVATE: u32 = 0o700;

/// Mode of the folders if several users of one group fetch packages. New files inherit the group.
const SHARED: u32 = 0o2770;

impl DownloadCache {
    /// Opens the folder in `root` for the users that installers run as; `None`: packages are not
    /// fetched. Files that other users have put there are removed.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub(super) fn open(root: &Path, users: Option<&Users>) -> Result<Self> {
        let dir = root.join(DOWNLOADS);
        let own = User::own();
        let (owner, mode) = match users.and_then(Users::shared_group) {
            Some(gid) => (User { gid, ..own }, SHARED),
            None => (users.and_then(Users::at_start).unwrap_or(own), PRIVATE),
        };
        let is_others = |metadata: fs::Metadata| {
            let is_shared = (metadata.gid(), metadata.mode() & 0o7777) == (owner.gid, SHARED);
            metadata.uid() != owner.uid || (mode == SHARED && !is_shared)
        };
        if users.is_some() && dir.symlink_metadata().is_ok_and(is_others) {
            try_remove(&dir).with_context(|| format!("remove {}", dir.display()))?;
        }
        let downloads = Self { dir, owner, mode };
        downloads.make(&downloads.dir)?;
        Ok(downloads)
    }

    fn make(&self, dir: &Path) -> Result<()> {
        fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
        let given = if self.owner == User::own() { Ok(()) } else { self.owner.give(dir) };
        // After the change of the group, which clears the bit that makes new files inherit it.
        given
            .and_then(|()| fs::set_permissions(dir, fs::Permissions::from_mode(self.mode)))
            .with_context(|| format!("protect {}", dir.display()))
    }

    /// Returns the folder of projects that reach the same private addresses. A project gets no
    /// download that it could not have requested.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub(super) fn of(&self, private_net: &[NetTarget]) -> Result<PathBuf> {
        let mut reaches: Vec<_> = private_net.iter().map(ToString::to_string).collect();
        reaches.sort();
        let hash = Sha256::digest(reaches.join(" "));
        let name: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let dir = self.dir.join(name);
        self.make(&dir)?;
        Ok(dir)
    }

    /// Removes the files that have been unused for longest, until all others together are small
    /// enough.
    pub(super) fn prune(&self) {
        self.prune_to(MAX_BYTES);
    }

    fn prune_to(&self, most: u64) {
        let dirs = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let entries = dirs.flat_map(|dir| fs::read_dir(dir.path()).into_iter().flatten().flatten());
        let mut files: Vec<(SystemTime, u64, PathBuf)> = entries
            .filter_map(|entry| {
                let metadata = entry.metadata().ok()?;
                Some((metadata.modified().ok()?, metadata.len(), entry.path()))
            })
            .collect();
        files.sort();
        let mut all: u64 = files.iter().map(|(_, size, _)| size).sum();
        for (_, size, path) in files {
            if all <= most {
                break;
            }
            // A file that cannot be removed counts as removed, so that the loop ends.
            let _ = fs::remove_file(path);
            all -= size;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_longest_unused_files_are_removed_first() {
        let root = tempfile::tempdir().unwrap();
        let downloads = DownloadCache::open(root.path(), None).unwrap();
        let dir = downloads.of(&[]).unwrap();
        assert_ne!(dir, downloads.of(&["127.0.0.1:80".parse().unwrap()]).unwrap());
        for (name, age) in [("old", 20), ("older", 30), ("new", 10)] {
            let path = dir.join(name);
            fs::write(&path, [0; 100]).unwrap();
            let used = SystemTime::now() - Duration::from_secs(age);
            fs::File::options().append(true).open(path).unwrap().set_modified(used).unwrap();
        }
        downloads.prune_to(250);
        let left = |name| dir.join(name).exists();
        assert_eq!([left("older"), left("old"), left("new")], [false, true, true]);
        downloads.prune_to(0);
        assert!(!left("new"));
    }
}
