//! The projects root: a name that is resolved anew at each use. The folder behind it may be
//! replaced (a link is swapped, the folder is made again, a volume is mounted over it) and may be
//! missing for a while. Some projects may lie elsewhere: see [`Overrides`].

mod overrides;

use std::collections::BTreeSet;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::SystemTime;

use rustix::fs::{AtFlags, FileType, statat};
use switchyard_contract::project::is_ignored;
use switchyard_program::atomic_file;

pub(crate) use self::overrides::{AllowedFolders, OverrideRefusal, Overrides, Place, find_with};

/// The projects root. Clones share one state.
#[derive(Debug, Clone)]
pub(crate) struct Root(Arc<RootState>);

#[derive(Debug)]
struct RootState {
    name: PathBuf,
    /// The folder that is trusted to be complete: projects that are missing in it are gone. A
    /// folder that has just appeared under the root's name is not trusted, as it may still be
    /// filled.
    trusted: Mutex<Option<FolderIdentity>>,
    /// The file that keeps the trusted folder over restarts, once it is known.
    file: OnceLock<PathBuf>,
    overrides: Overrides,
}

/// The identity of a folder, which differs from that of another folder of the same name. The time
/// of creation is part of it because file systems reuse inode numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FolderIdentity {
    device: u64,
    inode: u64,
    created: Option<SystemTime>,
}

impl FolderIdentity {
    fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino(), created: metadata.created().ok() }
    }

    /// A line of text, equal for equal folders.
    fn to_line(self) -> String {
        let created = self.created.and_then(|created| created.duration_since(SystemTime::UNIX_EPOCH).ok());
        format!("{} {} {}", self.device, self.inode, created.unwrap_or_default().as_nanos())
    }
}

impl Root {
    /// Opens the root of this name. Its present folder is trusted.
    ///
    /// # Errors
    /// There is no such folder.
    pub(crate) fn open(name: &Path) -> io::Result<Self> {
        let name = std::path::absolute(name)?;
        let (trusted, file, overrides) = (Mutex::default(), OnceLock::new(), Overrides::default());
        let root = Self(Arc::new(RootState { name, trusted, file, overrides }));
        root.trust(Some(root.identity()?));
        Ok(root)
    }

    /// Keeps the trusted folder in the state folder `state` from now on. An empty folder that is
    /// not the one of the last run loses its trust: a volume that is not mounted, or not written
    /// yet.
    pub(crate) fn persist_in(&self, state: &Path) {
        let file = self.0.file.get_or_init(|| state.join("root"));
        let before = fs::read_to_string(file).ok();
        let present = *self.trusted();
        let is_other = before.is_some() && before != present.map(FolderIdentity::to_line);
        let trusted = present.filter(|_| !is_other || !self.names().is_empty());
        self.trust(trusted);
    }

    /// The names of folders and files that may be projects. Empty while the root is missing.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(&self.0.name).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| !is_ignored(name)).collect()
    }

    /// The root's path, absolute and not resolved.
    pub(crate) fn path(&self) -> &Path {
        &self.0.name
    }

    /// The projects that are read from elsewhere.
    pub(crate) fn overrides(&self) -> &Overrides {
        &self.0.overrides
    }

    /// The place of a project: below the root's path, not resolved, or its override.
    pub(crate) fn place(&self, name: &str) -> Place {
        self.0.overrides.place(&self.0.name, name)
    }

    /// The identity of the folder that the name leads to now.
    ///
    /// # Errors
    /// The name leads to no folder.
    pub(crate) fn identity(&self) -> io::Result<FolderIdentity> {
        let metadata = fs::metadata(&self.0.name)?;
        if metadata.is_dir() {
            Ok(FolderIdentity::of(&metadata))
        } else {
            Err(io::ErrorKind::NotADirectory.into())
        }
    }

    /// Sets the trusted folder. Waits for the disk, if it is kept there.
    pub(crate) fn trust(&self, identity: Option<FolderIdentity>) {
        *self.trusted() = identity;
        let (Some(identity), Some(file)) = (identity, self.0.file.get()) else { return };
        if let Err(error) = atomic_file::write(file, identity.to_line().as_bytes(), atomic_file::PRIVATE) {
            tracing::warn!("{} cannot be written: {error}", file.display());
        }
    }

    /// Returns `true` if a folder is trusted.
    pub(crate) fn is_trusted(&self) -> bool {
        self.trusted().is_some()
    }

    /// Returns `true` if the name leads to the trusted folder now.
    pub(crate) fn is_present(&self) -> bool {
        self.identity().is_ok_and(|identity| *self.trusted() == Some(identity))
    }

    /// Returns `true` if a project is really gone: the root is the trusted folder, and has no
    /// folder of this name. A project with an override is not.
    pub(crate) fn is_gone(&self, project: &str) -> bool {
        if self.0.overrides.folder(project).is_some() {
            return false;
        }
        // Both checks use one open folder, so that it cannot be swapped between them.
        let Ok(folder) = File::open(&self.0.name) else { return false };
        let is_trusted = folder.metadata().is_ok_and(|metadata| {
            metadata.is_dir() && *self.trusted() == Some(FolderIdentity::of(&metadata))
        });
        is_trusted
            && match statat(&folder, project, AtFlags::empty()) {
                Ok(found) => FileType::from_raw_mode(found.st_mode) != FileType::Directory,
                Err(error) => error == rustix::io::Errno::NOENT,
            }
    }

    fn trusted(&self) -> MutexGuard<'_, Option<FolderIdentity>> {
        self.0.trusted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_project_is_gone_only_from_the_folder_that_is_trusted() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("root");
        for folder in ["one/a", "two"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        symlink("one", &link).unwrap();
        let root = Root::open(&link).unwrap();
        assert!(root.is_present() && !root.is_gone("a") && root.is_gone("b"));
        fs::remove_file(&link).unwrap();
        assert!(!root.is_present());
        assert!(!root.is_gone("a") && !root.is_gone("b"), "the root is missing");
        symlink("two", &link).unwrap();
        assert!(!root.is_present() && !root.is_gone("a"), "it is another folder, which may still be filled");
        root.trust(root.identity().ok());
        assert!(root.is_present() && root.is_gone("a"));
    }

    #[test]
    fn an_empty_folder_that_is_not_that_of_the_run_before_is_not_trusted() {
        let dir = tempfile::tempdir().unwrap();
        let (state, root) = (dir.path().join("state"), dir.path().join("root"));
        let open = || {
            let root = Root::open(&root).unwrap();
            root.persist_in(&state);
            root.is_trusted()
        };
        fs::create_dir_all(&state).unwrap();
        fs::create_dir_all(root.join("a")).unwrap();
        assert!(open());
        fs::remove_dir(root.join("a")).unwrap();
        assert!(open(), "it is the same folder");
        fs::remove_dir(&root).unwrap();
        // Takes the freed inode number, so that the next folder has another one.
        fs::create_dir(dir.path().join("other")).unwrap();
        fs::create_dir(&root).unwrap();
        assert!(!open());
        fs::create_dir(root.join("b")).unwrap();
        assert!(open());
    }
}
