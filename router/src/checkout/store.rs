//! The checkouts on disk: `<state>/checkouts/<project>@<12 hex>/<project>/…`.

use std::collections::{HashMap, HashSet};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use switchyard_bridge::project::ProjectName;

use super::snapshot::{FileHash, Files, HashCache, Snapshot, hash_file, snapshot};
use crate::version::Version;

/// Marks a checkout that is not finished; nothing but its own making reads it.
const UNFINISHED: &str = ".new-";

/// A version's read-only copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checkout {
    /// The project's directory in it: what its cell imports from.
    pub(crate) dir: PathBuf,
}

/// Why a checkout was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckoutError {
    /// A file on the volume is no longer what the snapshot saw: snapshot again.
    #[error("the project changed while it was copied")]
    Moved,
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

/// The folder of all checkouts.
#[derive(Debug)]
pub(crate) struct Store {
    root: PathBuf,
    /// Checkouts that this process made or has compared with their digest, and what is in them.
    trusted: Mutex<HashMap<Version, Arc<Files>>>,
    next: AtomicU64,
}

impl Store {
    /// Opens the store below `state` and clears away what a killed router left half made.
    ///
    /// # Errors
    /// The folder cannot be made or read.
    pub(crate) fn open(state: &Path) -> Result<Self> {
        let root = state.join("checkouts");
        fs::create_dir_all(&root).with_context(|| format!("create {}", root.display()))?;
        for name in names(&root)? {
            if name.starts_with(UNFINISHED) {
                remove(&root.join(name));
            }
        }
        let root = root.canonicalize().context("resolve the state folder")?;
        Ok(Self { root, trusted: Mutex::default(), next: AtomicU64::new(0) })
    }

    /// The checkout of `version`, when it is there and holds what its digest says.
    pub(crate) fn find(&self, version: &Version) -> Option<Checkout> {
        self.files(version).map(|_| Checkout { dir: self.dir(version) })
    }

    fn files(&self, version: &Version) -> Option<Arc<Files>> {
        let dir = self.dir(version);
        if !dir.is_dir() {
            return None;
        }
        if let Some(files) = self.trusted().get(version) {
            return Some(files.clone());
        }
        // A power cut can leave names without their content: what an earlier process made is
        // believed only when it hashes to its name.
        let found = snapshot(&dir, &mut HashCache::default()).ok()?;
        if found.digest != version.digest {
            remove(&self.folder(version));
            return None;
        }
        self.trusted().insert(version.clone(), found.files.clone());
        Some(found.files)
    }

    /// The checkout of `snapshot`, made if it is not there. What is unchanged since `previous`
    /// is linked to it; the rest is copied (a reflink where the file system can).
    pub(crate) fn make(
        &self,
        version: &Version,
        snapshot: &Snapshot,
        previous: Option<&Version>,
    ) -> Result<Checkout, CheckoutError> {
        if let Some(found) = self.find(version) {
            relink_node_modules(&found.dir, snapshot).context("link node_modules")?;
            return Ok(found);
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let unfinished = self.root.join(format!("{UNFINISHED}{number}-{}", version.project));
        remove(&unfinished);
        let made = self.fill(&unfinished, version, snapshot, previous);
        if made.is_err() {
            remove(&unfinished);
        }
        made?;
        self.trusted().insert(version.clone(), snapshot.files.clone());
        Ok(Checkout { dir: self.dir(version) })
    }

    fn fill(
        &self,
        unfinished: &Path,
        version: &Version,
        snapshot: &Snapshot,
        previous: Option<&Version>,
    ) -> Result<(), CheckoutError> {
        let previous = previous.and_then(|version| Some((self.files(version)?, self.dir(version))));
        let dir = unfinished.join(version.project.as_str());
        fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
        for (path, hash) in &*snapshot.files {
            let to = dir.join(path);
            if let Some(parent) = to.parent() {
                fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
            }
            let unchanged = previous.as_ref().filter(|(files, _)| files.get(path) == Some(hash));
            let linked = unchanged.is_some_and(|(_, dir)| fs::hard_link(dir.join(path), &to).is_ok());
            if !linked {
                copy(&snapshot.root.join(path), &to, hash)?;
            }
        }
        relink_node_modules(&dir, snapshot).context("link node_modules")?;
        let folder = self.folder(version);
        fs::rename(unfinished, &folder).with_context(|| format!("name {}", folder.display()))?;
        Ok(())
    }

    /// Removes the checkouts of `project` but the `keep` newest and those of `used`.
    pub(crate) fn prune(&self, project: &ProjectName, keep: usize, used: &[Version]) -> Result<()> {
        let used: HashSet<PathBuf> = used.iter().map(|version| self.folder(version)).collect();
        let mut found = Vec::new();
        let prefix = format!("{project}@");
        for name in names(&self.root)? {
            let folder = self.root.join(&name);
            if name.starts_with(&prefix) && !used.contains(&folder) {
                let made = folder.metadata().and_then(|metadata| metadata.modified());
                found.push((made.unwrap_or(SystemTime::UNIX_EPOCH), folder));
            }
        }
        found.sort();
        found.truncate(found.len().saturating_sub(keep));
        for (_, folder) in found {
            self.trusted().retain(|version, _| self.folder(version) != folder);
            remove(&folder);
        }
        Ok(())
    }

    fn folder(&self, version: &Version) -> PathBuf {
        self.root.join(version.to_string())
    }

    fn dir(&self, version: &Version) -> PathBuf {
        self.folder(version).join(version.project.as_str())
    }

    fn trusted(&self) -> MutexGuard<'_, HashMap<Version, Arc<Files>>> {
        self.trusted.lock().expect("no holder of this lock panics")
    }
}

fn names(dir: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    names.collect::<io::Result<_>>().with_context(|| format!("read {}", dir.display()))
}

fn remove(path: &Path) {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!("{} cannot be removed: {error}", path.display());
        }
        _ => {}
    }
}

fn copy(from: &Path, to: &Path, hash: &FileHash) -> Result<(), CheckoutError> {
    match fs::copy(from, to) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound && to.parent().is_some_and(Path::is_dir) => {
            return Err(CheckoutError::Moved);
        }
        Err(error) => {
            return Err(anyhow::Error::new(error).context(format!("copy to {}", to.display())).into());
        }
    }
    let copied = hash_file(to).with_context(|| format!("read {}", to.display()))?;
    if copied != *hash {
        return Err(CheckoutError::Moved);
    }
    let read_only = Permissions::from_mode(0o444);
    fs::set_permissions(to, read_only).with_context(|| format!("protect {}", to.display()))?;
    Ok(())
}

fn relink_node_modules(dir: &Path, snapshot: &Snapshot) -> io::Result<()> {
    let root = "node_modules".to_owned();
    for path in snapshot.node_modules.iter().chain([&root]) {
        let link = dir.join(path);
        let target = snapshot.root.join(path);
        if fs::read_link(&link).is_ok_and(|found| found == target) && target.is_dir() {
            continue;
        }
        if link.symlink_metadata().is_ok() {
            fs::remove_file(&link)?;
        }
        if !target.is_dir() {
            continue;
        }
        if let Some(parent) = link.parent() {
            fs::create_dir_all(parent)?;
        }
        symlink(target, link)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    struct Volume {
        dir: tempfile::TempDir,
        store: Store,
        name: ProjectName,
    }

    impl Volume {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir(dir.path().join("blog")).unwrap();
            let store = Store::open(&dir.path().join("state")).unwrap();
            Self { dir, store, name: ProjectName::parse("blog").unwrap() }
        }

        fn write(&self, path: &str, text: &str) {
            fs::write(self.dir.path().join("blog").join(path), text).unwrap();
        }

        fn take(&self, previous: Option<&Version>) -> (Version, Checkout) {
            let snapshot = snapshot(&self.dir.path().join("blog"), &mut HashCache::default()).unwrap();
            let version = Version::new(&self.name, snapshot.digest);
            let checkout = self.store.make(&version, &snapshot, previous).unwrap();
            (version, checkout)
        }
    }

    fn inode(path: &Path) -> u64 {
        path.metadata().unwrap().ino()
    }

    #[test]
    fn a_checkout_keeps_what_was_there() {
        let volume = Volume::new();
        volume.write("main.ts", "1");
        let (_, first) = volume.take(None);
        volume.write("main.ts", "2");
        let (_, second) = volume.take(None);
        assert_eq!(fs::read_to_string(first.dir.join("main.ts")).unwrap(), "1");
        assert_eq!(fs::read_to_string(second.dir.join("main.ts")).unwrap(), "2");
        assert!(first.dir.ends_with("blog"), "the project's own name is its folder's");
    }

    #[test]
    fn unchanged_files_are_links_to_the_previous_checkout_never_to_the_volume() {
        let volume = Volume::new();
        volume.write("same.ts", "same");
        volume.write("main.ts", "1");
        let (version, first) = volume.take(None);
        volume.write("main.ts", "2");
        let (_, second) = volume.take(Some(&version));
        assert_eq!(inode(&first.dir.join("same.ts")), inode(&second.dir.join("same.ts")));
        assert_ne!(inode(&first.dir.join("same.ts")), inode(&volume.dir.path().join("blog/same.ts")));
        assert_ne!(inode(&first.dir.join("main.ts")), inode(&second.dir.join("main.ts")));
    }

    #[test]
    fn packages_are_a_link_to_the_volumes() {
        let volume = Volume::new();
        volume.write("main.ts", "1");
        fs::create_dir(volume.dir.path().join("blog/node_modules")).unwrap();
        let (_, checkout) = volume.take(None);
        let target = fs::read_link(checkout.dir.join("node_modules")).unwrap();
        assert_eq!(target, volume.dir.path().canonicalize().unwrap().join("blog/node_modules"));
        fs::remove_dir(volume.dir.path().join("blog/node_modules")).unwrap();
        let (_, checkout) = volume.take(None);
        assert!(checkout.dir.join("node_modules").symlink_metadata().is_err());
    }

    #[test]
    fn a_checkout_of_an_earlier_process_is_believed_only_when_it_hashes_to_its_name() {
        let volume = Volume::new();
        volume.write("main.ts", "1");
        let (version, checkout) = volume.take(None);
        let reopened = Store::open(&volume.dir.path().join("state")).unwrap();
        assert!(reopened.find(&version).is_some());
        let reopened = Store::open(&volume.dir.path().join("state")).unwrap();
        fs::remove_file(checkout.dir.join("main.ts")).unwrap();
        assert!(reopened.find(&version).is_none());
    }

    #[test]
    fn a_file_that_changed_since_the_snapshot_is_not_copied() {
        let volume = Volume::new();
        volume.write("main.ts", "1");
        let snapshot = snapshot(&volume.dir.path().join("blog"), &mut HashCache::default()).unwrap();
        volume.write("main.ts", "2");
        let version = Version::new(&volume.name, snapshot.digest);
        let made = volume.store.make(&version, &snapshot, None);
        assert!(matches!(made, Err(CheckoutError::Moved)));
        assert!(names(&volume.store.root).unwrap().is_empty(), "nothing is left behind");
    }

    #[test]
    fn pruning_keeps_what_is_used_and_the_newest() {
        let volume = Volume::new();
        let mut versions = Vec::new();
        for n in 0..5 {
            volume.write("main.ts", &n.to_string());
            let (version, _) = volume.take(None);
            let folder = volume.store.folder(&version);
            let made = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000 + n);
            fs::File::open(folder).unwrap().set_modified(made).unwrap();
            versions.push(version);
        }
        volume.store.prune(&volume.name, 2, &versions[..1]).unwrap();
        let left: Vec<_> = versions.iter().map(|version| volume.store.find(version).is_some()).collect();
        assert_eq!(left, [true, false, false, true, true]);
    }
}
