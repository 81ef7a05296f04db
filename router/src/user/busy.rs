//! Folders that a thread is at work on, so that no second one does the same.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard};

#[derive(Debug, Default)]
pub(super) struct Busy {
    folders: Mutex<HashSet<PathBuf>>,
    left: Condvar,
}

/// Dropped, the folder is free again.
#[derive(Debug)]
pub(super) struct Entered<'a> {
    busy: &'a Busy,
    folder: PathBuf,
}

impl Busy {
    /// Waits until no other thread is at work on `folder`.
    pub(super) fn enter(&self, folder: &Path) -> Entered<'_> {
        let taken = self.left.wait_while(self.lock(), |folders| folders.contains(folder));
        taken.expect("no holder of this lock panics").insert(folder.to_owned());
        Entered { busy: self, folder: folder.to_owned() }
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.folders.lock().expect("no holder of this lock panics")
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.busy.lock().remove(&self.folder);
        self.busy.left.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_folder_has_one_thread_and_others_do_not_wait_for_it() {
        let busy = Busy::default();
        let first = busy.enter(Path::new("/a"));
        drop(busy.enter(Path::new("/b")));
        std::thread::scope(|scope| {
            let second = scope.spawn(|| drop(busy.enter(Path::new("/a"))));
            assert!(!second.is_finished());
            drop(first);
            second.join().unwrap();
        });
        assert!(busy.lock().is_empty());
    }
}
