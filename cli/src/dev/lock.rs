//! The lock of a folder's state: one `dev` at a time serves a folder. The file has the address of the one
//! that holds it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::net::SocketAddr;

use super::folder::DevFolder;

/// The lock, until it is dropped.
#[derive(Debug)]
pub(super) struct DevLock(File);

impl DevLock {
    /// Takes the lock, and makes the folders that are kept.
    ///
    /// # Errors
    /// Another `dev` has it, or the state folder cannot be written.
    pub(super) fn take(folder: &DevFolder) -> Result<Self, String> {
        let cannot = |path: &std::path::Path, error: std::io::Error| {
            format!("cannot write {}: {error}; name another folder with --state", path.display())
        };
        let (volume, path) = (folder.volume(), folder.state().join("dev.lock"));
        fs::create_dir_all(&volume).map_err(|error| cannot(&volume, error))?;
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = opened.map_err(|error| cannot(&path, error))?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0).map_err(|error| cannot(&path, error))?;
                Ok(Self(file))
            }
            Err(TryLockError::WouldBlock) => {
                let mut at = String::new();
                // One that is starting has no address yet.
                let _ = file.read_to_string(&mut at);
                let at = if at.is_empty() { String::new() } else { format!(": {}", at.trim()) };
                Err(format!("switchyard dev already serves this folder{at}"))
            }
            Err(TryLockError::Error(error)) => Err(cannot(&path, error)),
        }
    }

    /// Notes the address at which the projects answer.
    pub(super) fn note(&mut self, public: SocketAddr) {
        // Without it, a second `dev` says less.
        let _ = self.0.rewind().and_then(|()| writeln!(self.0, "http://{public}/"));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_folder_that_is_served_is_refused_with_its_address() {
        let (dir, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folder = DevFolder::find(dir.path(), true, Some(Path::new(state.path()))).unwrap();
        let mut lock = DevLock::take(&folder).unwrap();
        let text = "switchyard dev already serves this folder";
        assert_eq!(DevLock::take(&folder).unwrap_err(), text);
        lock.note("127.0.0.1:8000".parse().unwrap());
        assert_eq!(DevLock::take(&folder).unwrap_err(), format!("{text}: http://127.0.0.1:8000/"));
        drop(lock);
        DevLock::take(&folder).unwrap();
    }
}
