//! The file of a Unix socket: made with its mode, and removed with its listener.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, fchmod, flock};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};

/// The mode of a listener's file: its user and its group may connect.
pub(super) const SHARED: u32 = 0o660;

/// The mode of a file for this process alone.
pub(super) const PRIVATE: u32 = 0o600;

/// Attempts to lock the folder, a second in all: others lock it for as long as one call takes.
const LOCK_ATTEMPTS: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// The file of a socket, which is removed when this is dropped.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

/// Listens at `path`. A socket that is there is replaced if nobody listens at it.
pub(super) fn bind_at(path: &Path, backlog: i32, mode: u32) -> io::Result<(UnixListener, SocketFile)> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    // Two processes that start at once would both find the same stale file, and one would remove
    // the other's.
    let folder = File::open(folder).map_err(|error| named(&folder.display().to_string(), &error))?;
    lock(&folder)?;
    remove_stale(path)?;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // The file gets the mode of the socket at first: nobody but its user can connect before the
    // mode is set.
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    let file = SocketFile::at(path)?;
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    listen(&socket, backlog)?;
    Ok((UnixListener::from(socket), file))
}

fn lock(folder: &File) -> io::Result<()> {
    for _ in 0..LOCK_ATTEMPTS {
        match flock(folder, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => sleep(LOCK_PAUSE),
            locked => return Ok(locked?),
        }
    }
    Err(io::Error::other("another process has locked its folder"))
}

/// Removes a socket at which nobody listens.
fn remove_stale(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if !found.file_type().is_socket() {
        let message = "a file that is no socket is there: remove it, or name another path";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    // A server whose queue is full is not waited for.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let client = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match connect(&client, &SocketAddrUnix::new(path)?) {
        Err(Errno::CONNREFUSED) => fs::remove_file(path),
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}

fn named(what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        let found = fs::symlink_metadata(path)?;
        Ok(Self { path: path.to_owned(), device: found.dev(), inode: found.ino() })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another process may have replaced it.
        let is_own = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == (self.device, self.inode));
        if is_own {
            // If this fails, the file is stale, and the next listener replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_socket_is_replaced_but_not_one_that_is_listened_at_nor_any_other_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        drop(UnixListener::bind(&path).unwrap());
        let (first, file) = bind_at(&path, 1, SHARED).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, SHARED);
        assert_eq!(bind_at(&path, 1, SHARED).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop((first, file));
        assert!(!path.exists());
        fs::write(&path, "text").unwrap();
        assert!(bind_at(&path, 1, SHARED).unwrap_err().to_string().contains("no socket"));
    }

    #[test]
    fn a_file_that_another_process_has_replaced_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        let (_first, file) = bind_at(&path, 1, SHARED).unwrap();
        fs::remove_file(&path).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        drop(file);
        assert!(path.exists());
    }
}
