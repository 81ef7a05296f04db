//! The table of inotify's watches: the watch of each folder, and the folder of each watch.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// A watch of the kernel: its watch descriptor.
pub(super) type WatchId = i32;

/// The table. Each folder has at most one watch, and each watch at most one folder.
#[derive(Debug, Default)]
pub(super) struct WatchTable {
    watches: BTreeMap<PathBuf, WatchId>,
    paths: HashMap<WatchId, PathBuf>,
}

impl WatchTable {
    /// The folder of a watch.
    pub(super) fn path(&self, watch: WatchId) -> Option<&PathBuf> {
        self.paths.get(&watch)
    }

    /// Adds a watch. The folder of a watch is the newest path that it was added by: a folder that
    /// was moved keeps its watch.
    pub(super) fn insert(&mut self, path: &Path, watch: WatchId) {
        if let Some(before) = self.paths.insert(watch, path.to_owned())
            && before != path
        {
            self.watches.remove(&before);
        }
        if let Some(before) = self.watches.insert(path.to_owned(), watch)
            && before != watch
        {
            // The watch of the folder that had this path before. Without a path it continues until
            // the kernel ends it.
            self.paths.remove(&before);
        }
    }

    /// Removes the watch of a folder.
    pub(super) fn remove(&mut self, path: &Path) -> Option<WatchId> {
        let watch = self.watches.remove(path)?;
        self.paths.remove(&watch);
        Some(watch)
    }

    /// Removes a watch that the kernel has ended.
    pub(super) fn remove_watch(&mut self, watch: WatchId) {
        if let Some(path) = self.paths.remove(&watch) {
            self.watches.remove(&path);
        }
    }

    /// Removes the watches of a folder that was moved away, and of all folders below it: their
    /// paths may belong to other folders now.
    pub(super) fn remove_all(&mut self, path: &Path) -> Vec<WatchId> {
        let below = self.watches.range(path.to_owned()..).map(|(below, _)| below);
        let below: Vec<_> = below.take_while(|below| below.starts_with(path)).cloned().collect();
        below.iter().filter_map(|below| self.remove(below)).collect()
    }

    /// The watched folders, in order.
    #[cfg(test)]
    pub(super) fn folders(&self) -> impl Iterator<Item = &PathBuf> {
        assert_eq!(self.watches.len(), self.paths.len());
        self.watches.keys()
    }
}
