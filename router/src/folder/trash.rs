//! The folder for what is to be removed, and the thread that removes it: whoever gives up a folder only renames it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard};

use super::remove;

/// What waits to be removed is on the disk, not in memory. The thread ends with the last handle.
#[derive(Debug, Clone)]
pub(crate) struct Trash {
    dir: Arc<Path>,
    /// Folders that could not be moved there: on another file system.
    elsewhere: Arc<Mutex<Vec<PathBuf>>>,
    /// One notice is enough for all there is.
    wake: SyncSender<()>,
}

impl Trash {
    /// Makes the folder `dir`, and has removed what an earlier process left in it.
    ///
    /// # Errors
    /// The folder or the thread cannot be made.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let (wake, woken) = mpsc::sync_channel(1);
        let trash = Self { dir: dir.into(), elsewhere: Arc::default(), wake };
        let (dir, elsewhere) = (trash.dir.clone(), trash.elsewhere.clone());
        let work = move || empty(&dir, &elsewhere, &woken);
        std::thread::Builder::new().name("trash".to_owned()).spawn(work)?;
        trash.notify();
        Ok(trash)
    }

    /// Takes `folder` out of the way at once, if it is there, and has it removed. Never waits for that.
    ///
    /// # Errors
    /// It cannot be moved, and stays as it is.
    pub(crate) fn take(&self, folder: &Path) -> io::Result<()> {
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
        // When it is full, the thread will look anyway.
        let _ = self.wake.try_send(());
    }
}

fn empty(dir: &Path, elsewhere: &Mutex<Vec<PathBuf>>, woken: &Receiver<()>) {
    while woken.recv().is_ok() {
        let here = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
        let here: Vec<_> = here.collect();
        let elsewhere = std::mem::take(&mut *lock(elsewhere));
        here.iter().chain(&elsewhere).for_each(|folder| remove(folder));
    }
}

fn lock(folders: &Mutex<Vec<PathBuf>>) -> MutexGuard<'_, Vec<PathBuf>> {
    folders.lock().expect("no holder of this lock panics")
}
