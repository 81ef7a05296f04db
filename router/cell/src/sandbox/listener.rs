//! The Unix sockets on which a version is served and the router's probe is answered. They listen
//! before any of the project's code is read, as the kernel lets no other one be made from then on:
//! whoever asks for such a socket gets the first of these, and binding gives it its name, or makes
//! it the one that is kept for that name.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use libc::c_int;

/// The extension of the name that stays: a server that closes removes the name under which it was
/// served.
const SPARE: &str = "listener";

static KEPT: OnceLock<[Kept; 2]> = OnceLock::new();

struct Kept {
    socket: OwnedFd,
    path: PathBuf,
    spare: CString,
}

impl Kept {
    fn new(path: &Path) -> io::Result<Self> {
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        // To the kernel, it stays the name of the socket.
        let spare = path.with_extension(SPARE);
        std::fs::rename(path, &spare)?;
        let spare = CString::new(spare.as_os_str().as_bytes())?;
        Ok(Self { socket: listener.into(), path: path.to_owned(), spare })
    }
}

/// Listens at these paths, which do not exist until a server is bound to them.
///
/// # Errors
/// The system's, such as for a path that is longer than 107 bytes.
pub(super) fn keep([served, probe]: [&Path; 2]) -> io::Result<()> {
    _ = KEPT.set([Kept::new(served)?, Kept::new(probe)?]);
    Ok(())
}

/// A new descriptor of the listener for who asks for a Unix socket of this type. `None` where there
/// is no listener yet.
pub(super) fn instead_of(kind: c_int) -> Option<io::Result<c_int>> {
    let [served, _] = KEPT.get()?;
    if kind & !(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK) != libc::SOCK_STREAM {
        return Some(Err(io::ErrorKind::PermissionDenied.into()));
    }
    // SAFETY: makes a descriptor, which is the caller's.
    #[expect(unsafe_code, reason = "libc call")]
    let socket = unsafe { libc::fcntl(served.socket.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 0) };
    Some(if socket < 0 { Err(io::Error::last_os_error()) } else { Ok(socket) })
}

/// Gives the listener a name where its cell may have sockets, and has `socket` be the one that is
/// kept for that name. `None` where there is no listener yet.
pub(super) fn name(socket: c_int, name: &CStr) -> Option<io::Result<()>> {
    let [served, probe] = KEPT.get()?;
    let is_probe = Path::new(OsStr::from_bytes(name.to_bytes())) == probe.path;
    Some(if is_probe { become_other(socket, probe) } else { Ok(served) }.and_then(|kept| link(kept, name)))
}

fn become_other(socket: c_int, kept: &Kept) -> io::Result<&Kept> {
    // SAFETY: replaces a descriptor of the caller's, who is about to bind it.
    #[expect(unsafe_code, reason = "libc call")]
    let replaced = unsafe { libc::dup3(kept.socket.as_raw_fd(), socket, libc::O_CLOEXEC) };
    if replaced < 0 { Err(io::Error::last_os_error()) } else { Ok(kept) }
}

fn link(kept: &Kept, name: &CStr) -> io::Result<()> {
    let (spare, here) = (kept.spare.as_ptr(), libc::AT_FDCWD);
    // No file of the project's, so it is not counted as one.
    // SAFETY: both are strings that live until the call returns.
    #[expect(unsafe_code, reason = "system call")]
    let linked = unsafe { libc::syscall(libc::SYS_linkat, here, spare, here, name.as_ptr(), 0) };
    if linked == 0 {
        return Ok(());
    }
    Err(match io::Error::last_os_error() {
        error if error.kind() == io::ErrorKind::AlreadyExists => io::ErrorKind::AddrInUse.into(),
        error => error,
    })
}
