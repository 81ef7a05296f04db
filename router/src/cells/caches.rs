//! The compiled modules that cells keep on disk for the next versions of their project. Each tenant
//! has a folder of its own, because V8 trusts what it finds there. Cells write the folders; here
//! they are kept small, and removed with their tenant.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use switchyard_protocol::{MODULE_CACHE_UNFINISHED, ModuleCache};

use crate::folder::{DiskUsage, names, try_remove};
use crate::version::Tenant;

/// Age at which an unused module is removed: by then no rollback needs it either.
const UNUSED: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Age of an unfinished module at which it must have been left by a cell that was killed.
const UNFINISHED: Duration = Duration::from_secs(60);

/// Multiple of its limit that a project's folder may have, because cells of several versions add
/// their share to it at once. More is written not by the runtime but by native code.
const EXCESS: u64 = 4;

/// The least bytes that a file takes on the disk. An empty file counts as much.
const BLOCK: u64 = 4096;

/// The folders of all projects.
#[derive(Debug)]
pub(crate) struct Caches {
    root: PathBuf,
    /// The bytes that one project may take: half of them for kept modules, half for what cells add.
    /// 0: no modules are kept.
    limit: u64,
}

struct CacheEntry {
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
}

impl Caches {
    pub(crate) fn new(root: PathBuf, limit: u64) -> Self {
        Self { root, limit }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The cache of a project for each of `cells` cells. `None`: no modules are kept.
    pub(super) fn of(&self, tenant: &Tenant, cells: usize) -> Option<ModuleCache> {
        let dir = self.root.join(tenant.to_string());
        let share = self.limit / 2 / u64::try_from(cells.max(1)).unwrap_or(u64::MAX);
        (self.limit > 0).then_some(ModuleCache { dir, max_bytes: share })
    }

    /// Returns true if a project's folder has more in it than its cells' runtime ever writes.
    pub(super) fn is_overfull(&self, used: DiskUsage) -> bool {
        let bytes = self.limit.saturating_mul(EXCESS);
        used.bytes > bytes || used.files > bytes / BLOCK || used.is_too_deep
    }

    /// Removes the modules that `tenant` has not used for long, and then the least recently used
    /// ones until half of its limit is free.
    ///
    /// # Errors
    /// The folder cannot be read, or a module cannot be removed.
    pub(crate) fn prune(&self, tenant: &Tenant) -> Result<()> {
        let folder = self.root.join(tenant.to_string());
        let mut entries = match entries(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.with_context(|| format!("read {}", folder.display()))?,
        };
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.used));
        let mut kept = 0_u64;
        for CacheEntry { path, bytes, used } in entries {
            let age = used.elapsed().unwrap_or_default();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let is_unfinished = name.starts_with(MODULE_CACHE_UNFINISHED);
            if age > UNUSED
                || (is_unfinished && age > UNFINISHED)
                || kept.saturating_add(bytes) > self.limit / 2
            {
                remove(&path)?;
            } else {
                kept += bytes;
            }
        }
        Ok(())
    }

    /// Removes all modules of `tenant`.
    ///
    /// # Errors
    /// The folder cannot be removed.
    pub(crate) fn remove(&self, tenant: &Tenant) -> Result<()> {
        remove(&self.root.join(tenant.to_string()))
    }

    /// The tenants that have compiled modules.
    pub(crate) fn tenants(&self) -> BTreeSet<Tenant> {
        names(&self.root).iter().filter_map(|name| Tenant::of_folder(name)).collect()
    }
}

/// The entries of a folder. A cell writes in it, so no link in it is followed.
fn entries(folder: &Path) -> io::Result<Vec<CacheEntry>> {
    let entries = fs::read_dir(folder)?.map(|entry| {
        let path = entry?.path();
        let metadata = path.symlink_metadata()?;
        // An empty file takes room, too.
        Ok(CacheEntry { path, bytes: (metadata.blocks() * 512).max(BLOCK), used: metadata.modified()? })
    });
    // An entry may be gone by now.
    let is_there = |entry: &io::Result<CacheEntry>| {
        !entry.as_ref().is_err_and(|error: &io::Error| error.kind() == io::ErrorKind::NotFound)
    };
    entries.filter(is_there).collect()
}

fn remove(path: &Path) -> Result<()> {
    match try_remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::symlink;

    use switchyard_contract::incarnation::Incarnation;
    use switchyard_contract::project::ProjectName;

    use super::*;

    const LIMIT: u64 = 144 << 10;

    fn names(folder: &Path) -> BTreeSet<String> {
        crate::folder::names(folder).into_iter().collect()
    }

    /// A folder of project `a` with entries of 16 KiB, each last used the given number of seconds
    /// ago.
    fn folder(root: &Path, entries: &[(&str, u64)]) -> PathBuf {
        let folder = root.join("a");
        fs::create_dir_all(&folder).unwrap();
        for (name, seconds) in entries {
            fs::write(folder.join(name), vec![1; 16 << 10]).unwrap();
            let used = SystemTime::now() - Duration::from_secs(*seconds);
            File::options().write(true).open(folder.join(name)).unwrap().set_modified(used).unwrap();
        }
        folder
    }

    fn tenant() -> Tenant {
        Tenant::first(&ProjectName::parse("a").unwrap())
    }

    #[test]
    fn what_was_used_least_recently_goes_first() {
        let root = tempfile::tempdir().unwrap();
        let month = 31 * 24 * 60 * 60;
        let used = [("1", 60), ("2", 50), ("3", 40), ("4", 30), ("5", 20), (".new-1", 90), (".new-2", 10)];
        let folder = folder(root.path(), &used);
        fs::write(root.path().join("outside"), "").unwrap();
        symlink(root.path().join("outside"), folder.join("link")).unwrap();
        Caches::new(root.path().to_owned(), LIMIT).prune(&tenant()).unwrap();
        assert_eq!(names(&folder), ["3", "4", "5", ".new-2", "link"].map(str::to_owned).into());
        let old = [("3", month), ("4", month)];
        super::tests::folder(root.path(), &old);
        Caches::new(root.path().to_owned(), LIMIT).prune(&tenant()).unwrap();
        assert_eq!(names(&folder), ["5", ".new-2", "link"].map(str::to_owned).into());
        Caches::new(root.path().to_owned(), 0).prune(&tenant()).unwrap();
        assert!(names(&folder).iter().all(|name| name == "link"));
        assert!(root.path().join("outside").exists());
    }

    #[test]
    fn a_folder_is_overfull_with_more_than_runtimes_write_in_bytes_or_in_empty_files() {
        let caches = Caches::new(PathBuf::new(), 1 << 20);
        let used = |bytes, files| DiskUsage { bytes, files, is_too_deep: false };
        for normal in [used(0, 0), used(4 << 20, 1024)] {
            assert!(!caches.is_overfull(normal), "{normal:?}");
        }
        for excess in [used((4 << 20) + 1, 1), used(0, 1025), DiskUsage { is_too_deep: true, ..used(0, 1) }] {
            assert!(caches.is_overfull(excess), "{excess:?}");
        }
    }

    #[test]
    fn empty_files_are_pruned_as_others_are() {
        let root = tempfile::tempdir().unwrap();
        let folder = folder(root.path(), &[]);
        (0..100).for_each(|number| fs::write(folder.join(number.to_string()), "").unwrap());
        Caches::new(root.path().to_owned(), LIMIT).prune(&tenant()).unwrap();
        assert_eq!(names(&folder).len(), 18);
    }

    #[test]
    fn what_a_tenant_has_is_removed_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let caches = Caches::new(root.path().to_owned(), LIMIT);
        folder(root.path(), &[("1", 0)]);
        let later = Tenant::new(&tenant().project, Incarnation::from_number(1));
        fs::create_dir(root.path().join(later.to_string())).unwrap();
        assert_eq!(caches.tenants(), [tenant(), later.clone()].into());
        caches.remove(&tenant()).unwrap();
        caches.remove(&tenant()).unwrap();
        assert_eq!(names(root.path()), [later.to_string()].into());
        caches.prune(&tenant()).unwrap();
    }
}
