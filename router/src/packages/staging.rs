//! The folder that an installation is made in, until it is complete.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::folder::remove;
use crate::user::User;

/// A folder that is removed when it is dropped, unless it has been renamed.
#[derive(Debug)]
pub(super) struct StagingFolder {
    /// `None` once the folder has its name.
    path: Option<PathBuf>,
}

impl StagingFolder {
    /// Makes the folder at `path`.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub(super) fn create(path: PathBuf) -> Result<Self> {
        fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(Self { path: Some(path) })
    }

    /// The path of the folder.
    pub(super) fn path(&self) -> &Path {
        self.path.as_deref().unwrap_or(Path::new(""))
    }

    /// Lets `user`, and no other user, enter the folder.
    ///
    /// # Errors
    /// Its mode or owner cannot be changed.
    pub(super) fn give(&self, user: User) -> Result<()> {
        let dir = self.path();
        let is_own = user == User::own();
        fs::set_permissions(dir, Permissions::from_mode(0o700))
            .and_then(|()| if is_own { Ok(()) } else { user.give(dir) })
            .with_context(|| format!("protect {}", dir.display()))
    }

    /// Renames the folder, which stays from now on.
    ///
    /// # Errors
    /// The folder cannot be renamed.
    pub(super) fn rename(mut self, to: &Path) -> io::Result<()> {
        fs::rename(self.path(), to)?;
        self.path = None;
        Ok(())
    }
}

impl Drop for StagingFolder {
    fn drop(&mut self) {
        let Some(path) = self.path.take() else { return };
        // The folder may be large, and an installation that is cancelled is dropped on the thread
        // of the control flow. Without a thread, the folder is removed at the next start.
        let _ = std::thread::Builder::new().name("staging".to_owned()).spawn(move || remove(&path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_removed_unless_it_was_renamed() {
        let dir = tempfile::tempdir().unwrap();
        let (staged, named) = (dir.path().join(".new-0"), dir.path().join("a.0"));
        StagingFolder::create(staged.clone()).unwrap().rename(&named).unwrap();
        assert!(named.is_dir());
        fs::remove_dir(&named).unwrap();
        let staging = StagingFolder::create(staged.clone()).unwrap();
        assert!(staged.is_dir());
        drop(staging);
        while staged.exists() {
            std::thread::yield_now();
        }
    }
}
