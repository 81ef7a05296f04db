//! The projects root: a name that is resolved anew at each use. The folder behind it may be replaced (a link is swapped,
//! the folder is made again, something is mounted over it) and may be missing for a while.

use std::collections::BTreeSet;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::SystemTime;

use rustix::fs::{AtFlags, FileType, statat};
use switchyard_contract::project::is_ignored;

/// The projects root. Clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct Root(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: PathBuf,
    /// The folder in which a project that is not there is really gone: not one that has just
    /// appeared under the root's name and may still be filled.
    trusted: Mutex<Option<Identity>>,
    /// Where the trusted folder is kept over restarts.
    file: OnceLock<PathBuf>,
}

/// Tells one folder from another under the same name. The time of creation is there because file
/// systems use inode numbers again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
    created: Option<SystemTime>,
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino(), created: metadata.created().ok() }
    }

    fn shown(self) -> String {
        let created = self.created.and_then(|created| created.duration_since(SystemTime::UNIX_EPOCH).ok());
        format!("{} {} {}", self.device, self.inode, created.unwrap_or_default().as_nanos())
    }
}

impl Root {
    /// The root of this name, whose present folder is trusted.
    ///
    /// # Errors
    /// There is no such folder.
    pub(crate) fn open(name: &Path) -> io::Result<Self> {
        let name = std::path::absolute(name)?;
        let root = Self(Arc::new(Inner { name, trusted: Mutex::default(), file: OnceLock::new() }));
        root.trust(Some(root.identity()?));
        Ok(root)
    }

    /// Keeps in `state` which folder is trusted. One that is empty and not that of the run before is not: a volume
    /// that is not mounted or written yet.
    pub(crate) fn remember(&self, state: &Path) {
        let file = self.0.file.get_or_init(|| state.join("root"));
        let before = fs::read_to_string(file).ok();
        let now = *self.trusted();
        let is_other = before.is_some() && before != now.map(Identity::shown);
        let trusted = now.filter(|_| !is_other || !self.names().is_empty());
        self.trust(trusted);
    }

    /// The folders and files in it that may be projects. Empty while it is missing.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(&self.0.name).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| !is_ignored(name)).collect()
    }

    /// The name, absolute and not resolved.
    pub(crate) fn path(&self) -> &Path {
        &self.0.name
    }

    /// The folder of a project, not resolved.
    pub(crate) fn project(&self, name: &str) -> PathBuf {
        self.0.name.join(name)
    }

    /// The folder that the name leads to now.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn identity(&self) -> io::Result<Identity> {
        let metadata = fs::metadata(&self.0.name)?;
        if metadata.is_dir() { Ok(Identity::of(&metadata)) } else { Err(io::ErrorKind::NotADirectory.into()) }
    }

    /// Sets the folder in which projects that are not there are gone.
    pub(crate) fn trust(&self, identity: Option<Identity>) {
        *self.trusted() = identity;
        let (Some(identity), Some(file)) = (identity, self.0.file.get()) else { return };
        if let Err(error) = fs::write(file, identity.shown()) {
            tracing::warn!("{} cannot be written: {error}", file.display());
        }
    }

    pub(crate) fn is_trusted(&self) -> bool {
        self.trusted().is_some()
    }

    /// Whether the name leads to the trusted folder now.
    pub(crate) fn is_there(&self) -> bool {
        self.identity().is_ok_and(|identity| *self.trusted() == Some(identity))
    }

    /// Whether a project is really gone: the root is there, it is the trusted folder, and it has no
    /// such folder in it.
    pub(crate) fn lacks(&self, project: &str) -> bool {
        // Both looks are at one open folder, so that no swap comes between them.
        let Ok(folder) = File::open(&self.0.name) else { return false };
        let is_trusted = folder
            .metadata()
            .is_ok_and(|metadata| metadata.is_dir() && *self.trusted() == Some(Identity::of(&metadata)));
        is_trusted
            && match statat(&folder, project, AtFlags::empty()) {
                Ok(found) => FileType::from_raw_mode(found.st_mode) != FileType::Directory,
                Err(error) => error == rustix::io::Errno::NOENT,
            }
    }

    fn trusted(&self) -> MutexGuard<'_, Option<Identity>> {
        self.0.trusted.lock().expect("no holder of this lock panics")
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
        assert!(root.is_there() && !root.lacks("a") && root.lacks("b"));
        fs::remove_file(&link).unwrap();
        assert!(!root.is_there());
        assert!(!root.lacks("a") && !root.lacks("b"), "the root is missing");
        symlink("two", &link).unwrap();
        assert!(!root.is_there() && !root.lacks("a"), "it is another folder, which may still be filled");
        root.trust(root.identity().ok());
        assert!(root.is_there() && root.lacks("a"));
    }

    #[test]
    fn an_empty_folder_that_is_not_that_of_the_run_before_is_not_trusted() {
        let dir = tempfile::tempdir().unwrap();
        let (state, root) = (dir.path().join("state"), dir.path().join("root"));
        let open = || {
            let root = Root::open(&root).unwrap();
            root.remember(&state);
            root.is_trusted()
        };
        fs::create_dir_all(&state).unwrap();
        fs::create_dir_all(root.join("a")).unwrap();
        assert!(open());
        fs::remove_dir(root.join("a")).unwrap();
        assert!(open(), "it is the same folder");
        fs::remove_dir(&root).unwrap();
        // So that no inode number is used again.
        fs::create_dir(dir.path().join("other")).unwrap();
        fs::create_dir(&root).unwrap();
        assert!(!open());
        fs::create_dir(root.join("b")).unwrap();
        assert!(open());
    }
}
