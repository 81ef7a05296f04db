//! The state folder: created if missing, outside the projects, and locked against a second router.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use switchyard_program::settings::InvalidSetting;

/// Longest path of a Unix socket: `sun_path` has 108 bytes, one of them the closing NUL.
const MAX_SOCKET_PATH: usize = 107;

/// Longest path of a socket below the state folder, with room for a billion cells.
const SOCKET_SUFFIX: usize = "/run/999999999/http".len();

/// Folders of the kernel. No permission but that to everything opens files below them to a project.
const KERNEL_FOLDERS: [&str; 3] = ["/dev", "/proc", "/sys"];

/// The state folder, for as long as this router has it.
pub(super) struct StateFolder {
    /// Without symbolic links.
    pub(super) path: PathBuf,
    /// Locked until it is closed.
    pub(super) lock: File,
}

impl StateFolder {
    /// Creates the folder if it is missing, and locks it.
    ///
    /// # Errors
    /// The folder lies where projects or the kernel's files do, cannot be written, belongs to a running router, or has a path
    /// that is too long for sockets.
    pub(super) fn open(path: &Path, projects: &Path) -> Result<Self, InvalidSetting> {
        check_outside(path, projects)?;
        check_not_of_kernel(path)?;
        let cannot = |verb: &str, error: io::Error| {
            InvalidSetting(format!(
                "cannot {verb} {}: {error}; name a folder that the router's user can write to",
                path.display()
            ))
        };
        fs::create_dir_all(path).map_err(|error| cannot("create", error))?;
        let real = path.canonicalize().map_err(|error| cannot("read", error))?;
        let lock = lock_file(&real.join("lock")).map_err(|error| cannot("write to", error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(InvalidSetting(format!(
                    "{} is in use by another router: each router needs a folder of its own",
                    path.display()
                )));
            }
            Err(TryLockError::Error(error)) => return Err(cannot("lock", error)),
        }
        let longest = real.as_os_str().len() + SOCKET_SUFFIX;
        if longest > MAX_SOCKET_PATH {
            return Err(InvalidSetting(format!(
                "{} is {} bytes too long for the sockets below it: name a shorter path",
                real.display(),
                longest - MAX_SOCKET_PATH
            )));
        }
        Ok(Self { path: real, lock })
    }
}

/// Opens a file that no other user may open: any user who can read it could lock it, and keep the
/// router from starting.
fn lock_file(path: &Path) -> io::Result<File> {
    let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    // An existing file may have other permissions. A file system without any keeps its own.
    let _ = file.set_permissions(fs::Permissions::from_mode(0o600));
    Ok(file)
}

/// Checks that the router would not take the state folder for a project or a part of one: each write to
/// it would be a change of that project.
fn check_outside(state: &Path, projects: &Path) -> Result<(), InvalidSetting> {
    let (Ok(root), Some(real)) = (projects.canonicalize(), resolve(state)) else { return Ok(()) };
    let Ok(below) = real.strip_prefix(root) else { return Ok(()) };
    let first = below.iter().next().map(OsStr::as_encoded_bytes);
    // Not the name of a project.
    if first.is_some_and(|name| name.starts_with(b".") || name.starts_with(b"_")) {
        return Ok(());
    }
    Err(InvalidSetting(format!(
        "{} is inside the projects folder, where each folder is a project: name a folder outside it",
        state.display()
    )))
}

/// Checks that projects may read the folder: their checkouts, data and sockets are below it.
fn check_not_of_kernel(state: &Path) -> Result<(), InvalidSetting> {
    let Some(real) = resolve(state) else { return Ok(()) };
    let Some(folder) = KERNEL_FOLDERS.iter().find(|folder| real.starts_with(folder)) else { return Ok(()) };
    let link = if real == state { String::new() } else { format!(" (which is {})", real.display()) };
    Err(InvalidSetting(format!(
        "{}{link} is below {folder}, whose files are closed to projects, so none could start: name a folder \
         elsewhere, such as /var/lib/switchyard, or one on a tmpfs of its own",
        state.display()
    )))
}

/// Resolves symbolic links in the part of the path that exists.
fn resolve(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    let existing = path.ancestors().find(|ancestor| ancestor.exists())?;
    Some(existing.canonicalize().ok()?.join(path.strip_prefix(existing).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_below_those_of_the_kernel_is_refused_and_not_made() {
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/dev/shm", &link).unwrap();
        for state in [Path::new("/dev/shm/switchyard-state"), &link.join("switchyard-state")] {
            let error = StateFolder::open(state, dir.path()).err().unwrap().to_string();
            assert!(error.contains("is below /dev") && error.contains("/dev/shm"), "{error}");
            assert!(!state.exists());
        }
        assert!(StateFolder::open(&dir.path().join("devices"), &dir.path().join("projects")).is_ok());
    }
}
