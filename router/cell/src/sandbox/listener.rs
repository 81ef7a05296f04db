//! The one Unix socket on which a version is served. It listens before any of the project's code is
//! read, as the kernel lets no other one be made from then on: whoever asks for such a socket gets
//! this one, and binding gives it its name.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::OnceLock;

use libc::c_int;

/// The extension of the name that stays: a server that closes removes the name under which it was
/// served.
const SPARE: &str = "listener";

static KEPT: OnceLock<Kept> = OnceLock::new();

struct Kept {
    socket: OwnedFd,
    spare: CString,
}

/// Listens at `path`, which does not exist until a server is bound to it.
///
/// # Errors
/// The system's, such as for a path that is longer than 107 bytes.
pub(super) fn keep(path: &Path) -> io::Result<()> {
    let listener = UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    // To the kernel, it stays the name of the socket.
    let spare = path.with_extension(SPARE);
    std::fs::rename(path, &spare)?;
    let spare = CString::new(spare.as_os_str().as_bytes())?;
    _ = KEPT.set(Kept { socket: listener.into(), spare });
    Ok(())
}

/// A new descriptor of the listener for who asks for a Unix socket of this type. `None` where there
/// is no listener yet.
pub(super) fn instead_of(kind: c_int) -> Option<io::Result<c_int>> {
    let kept = KEPT.get()?;
    if kind & !(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK) != libc::SOCK_STREAM {
        return Some(Err(io::ErrorKind::PermissionDenied.into()));
    }
    // SAFETY: makes a descriptor, which is the caller's.
    #[expect(unsafe_code, reason = "libc call")]
    let socket = unsafe { libc::fcntl(kept.socket.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 0) };
    Some(if socket < 0 { Err(io::Error::last_os_error()) } else { Ok(socket) })
}

/// Gives the listener a name where its cell may have sockets. `None` where there is no listener
/// yet.
pub(super) fn name(name: &CStr) -> Option<io::Result<()>> {
    let kept = KEPT.get()?;
    // SAFETY: both are strings that live until the call returns.
    #[expect(unsafe_code, reason = "libc call")]
    let linked = unsafe { libc::link(kept.spare.as_ptr(), name.as_ptr()) };
    Some(match linked {
        0 => Ok(()),
        _ => Err(match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::AlreadyExists => io::ErrorKind::AddrInUse.into(),
            error => error,
        }),
    })
}
