//! Locks of folders: only one thread at a time changes the owners in a folder.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The folders that are locked.
#[derive(Debug, Default)]
pub(super) struct FolderLocks {
    folders: Mutex<HashSet<PathBuf>>,
    unlocked: Condvar,
}

/// The lock of one folder. Dropping it unlocks the folder.
#[derive(Debug)]
pub(super) struct FolderLock<'a> {
    locks: &'a FolderLocks,
    folder: PathBuf,
}

impl FolderLocks {
    /// Locks `folder`. Waits while another thread has the lock.
    pub(super) fn lock(&self, folder: &Path) -> FolderLock<'_> {
        let folders = self.unlocked.wait_while(self.folders(), |folders| folders.contains(folder));
        folders.unwrap_or_else(PoisonError::into_inner).insert(folder.to_owned());
        FolderLock { locks: self, folder: folder.to_owned() }
    }

    fn folders(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for FolderLock<'_> {
    fn drop(&mut self) {
        self.locks.folders().remove(&self.folder);
        self.locks.unlocked.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_folder_has_one_thread_and_others_do_not_wait_for_it() {
        let locks = FolderLocks::default();
        let first = locks.lock(Path::new("/a"));
        drop(locks.lock(Path::new("/b")));
        std::thread::scope(|scope| {
            let second = scope.spawn(|| drop(locks.lock(Path::new("/a"))));
            assert!(!second.is_finished());
            drop(first);
            second.join().unwrap();
        });
        assert!(locks.folders().is_empty());
    }
}
