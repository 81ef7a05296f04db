//! The folders that projects know as `DATA_DIR`: one for each incarnation of a project. A folder
//! outlives versions and restarts of the router.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::folder::{names, remove};
use crate::version::Tenant;

/// The prefix of a folder that is being removed. No tenant has such a name.
const GONE: &str = ".gone-";

/// The data of all projects.
#[derive(Debug)]
pub(crate) struct DataFolders {
    root: PathBuf,
    next: AtomicU64,
}

impl DataFolders {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root, next: AtomicU64::new(0) }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The `DATA_DIR` of `tenant`, which need not exist.
    pub(crate) fn of(&self, tenant: &Tenant) -> PathBuf {
        self.root.join(tenant.to_string())
    }

    /// The tenants that have data.
    pub(crate) fn tenants(&self) -> BTreeSet<Tenant> {
        names(&self.root).iter().filter_map(|name| Tenant::of_folder(name)).collect()
    }

    /// Removes the data of `tenant`. Returns true if there was any.
    pub(crate) fn remove(&self, tenant: &Tenant) -> bool {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let gone = self.root.join(format!("{GONE}{number}-{tenant}"));
        // Renamed first, so that an interrupted removal leaves nothing that looks like data.
        let is_taken = fs::rename(self.of(tenant), &gone).is_ok();
        if is_taken {
            remove(&gone);
        }
        is_taken
    }

    /// Finishes the removals that a killed router had begun, on a thread of their own: the data may
    /// be large.
    pub(super) fn finish_removals(&self) {
        let gone = names(&self.root).into_iter().filter(|name| name.starts_with(GONE));
        let gone: Vec<_> =
            gone.enumerate().filter_map(|(index, name)| self.set_aside(index, &name)).collect();
        if !gone.is_empty() {
            std::thread::spawn(move || gone.iter().for_each(|folder| remove(folder)));
        }
    }

    /// Renames a folder of an earlier router, so that no removal of this one chooses its name.
    fn set_aside(&self, index: usize, name: &str) -> Option<PathBuf> {
        let aside = self.root.join(format!("{GONE}old-{}-{index}", std::process::id()));
        fs::rename(self.root.join(name), &aside).ok().map(|()| aside)
    }
}

#[cfg(test)]
mod tests {
    use switchyard_contract::incarnation::Incarnation;
    use switchyard_contract::project::ProjectName;

    use super::*;

    #[test]
    fn each_incarnation_has_data_of_its_own_and_only_what_is_named_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let data = DataFolders::new(root.path().to_owned());
        let first = Tenant::first(&ProjectName::parse("blog").unwrap());
        let later = Tenant::new(&first.project, Incarnation::from_number(1));
        for tenant in [&first, &later] {
            fs::create_dir(data.of(tenant)).unwrap();
        }
        assert_eq!(data.tenants(), [first.clone(), later.clone()].into());
        assert!(data.remove(&first) && !data.remove(&first));
        assert_eq!(names(root.path()), [later.to_string()]);
    }
}
