//! The folder of removed folders, and the thread that deletes them: giving up a folder only renames
//! it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::remove;

/// A handle to the trash. Folders that wait to be deleted are on disk, not in memory. The thread
/// ends with the last handle.
#[derive(Debug, Clone)]
pub(crate) struct Trash {
    dir: Arc<Path>,
    /// Folders that could not be moved to `dir`, as they are on another file system.
    elsewhere: Arc<Mutex<Vec<PathBuf>>>,
    /// Wakes the thread. One notification is enough for all folders.
    wake: SyncSender<()>,
}

impl Trash {
    /// Makes the folder `dir`, and deletes everything that an earlier process left in it.
    ///
    /// # Errors
    /// The folder cannot be made, or the thread cannot be started.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let (wake, woken) = mpsc::sync_channel(1);
        let trash = Self { dir: dir.into(), elsewhere: Arc::default(), wake };
        let (dir, elsewhere) = (trash.dir.clone(), trash.elsewhere.clone());
        let work = move || delete_all(&dir, &elsewhere, &woken);
        std::thread::Builder::new().name("trash".to_owned()).spawn(work)?;
        trash.notify();
        Ok(trash)
    }

    /// Moves `folder` out of the way at once, if it exists, and has it deleted, without waiting for
    /// that.
    ///
    /// # Errors
    /// The folder cannot be moved, and stays as it is.
    pub(crate) fn discard(&self, folder: &Path) -> io::Result<()> {
        let name = format!(".gone-{}", uuid::Uuid::new_v4());
        let beside = folder.with_file_name(&name);
        match fs::rename(folder, self.dir.join(&name)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => {
                fs::rename(folder, &beside)?;
                lock(&self.elsewhere).push(beside);
            }
        }
        self.notify();
        Ok(())
    }

    fn notify(&self) {
        // Fails if a notification is waiting already, which is enough.
        let _ = self.wake.try_send(());
    }
}

/// Deletes all folders in the trash each time that it is woken.
fn delete_all(dir: &Path, elsewhere: &Mutex<Vec<PathBuf>>, woken: &Receiver<()>) {
    while woken.recv().is_ok() {
        let here = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
        let here: Vec<_> = here.collect();
        let elsewhere = std::mem::take(&mut *lock(elsewhere));
        here.iter().chain(&elsewhere).for_each(|folder| remove(folder));
    }
}

fn lock(folders: &Mutex<Vec<PathBuf>>) -> MutexGuard<'_, Vec<PathBuf>> {
    folders.lock().unwrap_or_else(PoisonError::into_inner)
}
