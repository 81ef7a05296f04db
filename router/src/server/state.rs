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
    /// The folder lies where projects do, cannot be written, belongs to a running router, or has a path
    /// that is too long for sockets.
    pub(super) fn open(path: &Path, projects: &Path) -> Result<Self, InvalidSetting> {
        check_outside(path, projects)?;
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

/// Resolves symbolic links in the part of the path that exists.
fn resolve(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    let existing = path.ancestors().find(|ancestor| ancestor.exists())?;
    Some(existing.canonicalize().ok()?.join(path.strip_prefix(existing).ok()?))
}
