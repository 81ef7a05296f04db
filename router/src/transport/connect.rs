//! Connecting to a cell without waiting, so that requests of one turn share one connection.

use std::io;
use std::path::Path;

use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect as connect_to, socket_with,
};
use tokio::net::UnixStream;

/// Connects to a Unix socket. The kernel does that at once, or refuses.
///
/// # Errors
/// Nobody listens, or more connections wait to be accepted than the listener allows.
pub(super) fn connect(path: &Path) -> io::Result<UnixStream> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect_to(&socket, &SocketAddrUnix::new(path)?)?;
    UnixStream::from_std(socket.into())
}
