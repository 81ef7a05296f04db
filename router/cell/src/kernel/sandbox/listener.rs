//! The Unix sockets on which a version is served, in HTTP/1.1 and in frames, and the router's probe
//! is answered. They listen before any of the project's code is read: later the sandbox refuses
//! further ones. Code that asks for a Unix socket gets the first of them; binding gives it its
//! name, or replaces it with the socket that is reserved for that name.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use libc::c_int;

/// The extension of the socket's permanent name: a server that closes removes the name that it was
/// bound to.
const PERMANENT: &str = "listener";

/// The listener for servers of the project's, and those that are reserved for one name each.
static RESERVED: OnceLock<[ReservedListener; 3]> = OnceLock::new();

/// A socket that listens, and the name that it is reserved for.
struct ReservedListener {
    socket: OwnedFd,
    path: PathBuf,
    /// The permanent name.
    permanent: CString,
}

impl ReservedListener {
    fn new(path: &Path) -> io::Result<Self> {
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        // The kernel keeps the first name as that of the socket.
        let permanent = path.with_extension(PERMANENT);
        std::fs::rename(path, &permanent)?;
        let permanent = CString::new(permanent.as_os_str().as_bytes())?;
        Ok(Self { socket: listener.into(), path: path.to_owned(), permanent })
    }
}

/// Listens on these paths, which do not exist until a server is bound to them.
///
/// # Errors
/// The system's, such as for a path of more than 107 bytes.
pub(super) fn reserve([served, transport, probe]: [&Path; 3]) -> io::Result<()> {
    let [served, transport, probe] = [served, transport, probe].map(ReservedListener::new);
    _ = RESERVED.set([served?, transport?, probe?]);
    Ok(())
}

/// Returns a new descriptor of the listener, in place of a Unix socket of this type. `None` if
/// there is no listener yet.
pub(super) fn replace_socket(kind: c_int) -> Option<io::Result<c_int>> {
    let [served, ..] = RESERVED.get()?;
    if kind & !(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK) != libc::SOCK_STREAM {
        return Some(Err(io::ErrorKind::PermissionDenied.into()));
    }
    // SAFETY: makes a descriptor that belongs to the caller.
    #[expect(unsafe_code, reason = "libc call")]
    let socket = unsafe { libc::fcntl(served.socket.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 0) };
    Some(if socket < 0 { Err(io::Error::last_os_error()) } else { Ok(socket) })
}

/// Binds the listener to a name, and makes `socket` the listener that is reserved for that name.
/// `None` if there is no listener yet.
pub(super) fn bind(socket: c_int, name: &CStr) -> Option<io::Result<()>> {
    let [served, others @ ..] = RESERVED.get()?;
    let path = Path::new(OsStr::from_bytes(name.to_bytes()));
    let other = others.iter().find(|other| other.path == path);
    let reserved = other.map_or(Ok(served), |other| replace_with(socket, other));
    Some(reserved.and_then(|reserved| link(reserved, name)))
}

fn replace_with(socket: c_int, reserved: &ReservedListener) -> io::Result<&ReservedListener> {
    // SAFETY: replaces a descriptor of the caller's, which is about to be bound.
    #[expect(unsafe_code, reason = "libc call")]
    let replaced = unsafe { libc::dup3(reserved.socket.as_raw_fd(), socket, libc::O_CLOEXEC) };
    if replaced < 0 { Err(io::Error::last_os_error()) } else { Ok(reserved) }
}

fn link(reserved: &ReservedListener, name: &CStr) -> io::Result<()> {
    let (permanent, here) = (reserved.permanent.as_ptr(), libc::AT_FDCWD);
    // Not by the C library's call: the name is not a file of the project's, and is not counted.
    // SAFETY: both strings live until the call returns.
    #[expect(unsafe_code, reason = "system call")]
    let linked = unsafe { libc::syscall(libc::SYS_linkat, here, permanent, here, name.as_ptr(), 0) };
    if linked == 0 {
        return Ok(());
    }
    Err(match io::Error::last_os_error() {
        error if error.kind() == io::ErrorKind::AlreadyExists => io::ErrorKind::AddrInUse.into(),
        error => error,
    })
}
