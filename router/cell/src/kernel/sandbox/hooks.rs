//! Replacements of the C library's functions for sockets, for all Rust code of this process:
//! addresses are checked, datagram sockets receive only from addresses that they have sent to, and
//! the version's listener replaces Unix sockets. The library's own calls, such as those of its
//! resolver, do not come here, nor does native code: the kernel's filters are for them.

use std::ffi::CString;
use std::io;
use std::mem::size_of;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use libc::{
    c_int, c_long, c_void, mmsghdr, msghdr, sa_family_t, size_t, sockaddr, sockaddr_in, sockaddr_in6,
    sockaddr_un, socklen_t, ssize_t,
};

use super::{datagrams, listener, network};

/// The address that a socket is used with.
enum SocketTarget {
    /// The address that the socket is connected to, which was checked then.
    Connected,
    /// An address of no family, which ends a connection.
    Unspecified,
    Address(SocketAddr),
    /// An address of any other family, such as a socket of another cell.
    Other,
}

/// # Safety
/// `address` is null or points to `length` bytes.
#[expect(unsafe_code, reason = "reads what a caller of the C library hands over")]
unsafe fn target(address: *const sockaddr, length: socklen_t) -> SocketTarget {
    if address.is_null() || length == 0 {
        return SocketTarget::Connected;
    }
    let holds = |size: usize| length as usize >= size;
    if !holds(size_of::<sa_family_t>()) {
        return SocketTarget::Other;
    }
    // SAFETY: each is read only if the length covers it, and without relying on alignment.
    unsafe {
        match c_int::from(address.cast::<sa_family_t>().read_unaligned()) {
            libc::AF_UNSPEC => SocketTarget::Unspecified,
            libc::AF_INET if holds(size_of::<sockaddr_in>()) => {
                let v4 = address.cast::<sockaddr_in>().read_unaligned();
                let ip = Ipv4Addr::from_bits(u32::from_be(v4.sin_addr.s_addr));
                SocketTarget::Address(SocketAddr::new(ip.into(), u16::from_be(v4.sin_port)))
            }
            libc::AF_INET6 if holds(size_of::<sockaddr_in6>()) => {
                let v6 = address.cast::<sockaddr_in6>().read_unaligned();
                let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                SocketTarget::Address(SocketAddr::new(ip.into(), u16::from_be(v6.sin6_port)))
            }
            _ => SocketTarget::Other,
        }
    }
}

/// Refuses a closed address, and opens a datagram socket to answers from an open one.
fn permit(socket: c_int, address: SocketAddr) -> io::Result<()> {
    if !network::admits(address) {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    datagrams::open(socket, address)
}

/// # Safety
/// The caller keeps the contract of [`target`].
#[expect(unsafe_code, reason = "reads what a caller of the C library hands over")]
unsafe fn may_connect(socket: c_int, address: *const sockaddr, length: socklen_t) -> io::Result<()> {
    // SAFETY: as the caller promises.
    match unsafe { target(address, length) } {
        SocketTarget::Connected | SocketTarget::Unspecified => Ok(()),
        SocketTarget::Address(address) => permit(socket, address),
        SocketTarget::Other => Err(io::ErrorKind::PermissionDenied.into()),
    }
}

/// # Safety
/// The caller keeps the contract of [`target`].
#[expect(unsafe_code, reason = "reads what a caller of the C library hands over")]
unsafe fn may_send(socket: c_int, address: *const sockaddr, length: socklen_t) -> io::Result<()> {
    // SAFETY: as the caller promises.
    match unsafe { target(address, length) } {
        SocketTarget::Connected => Ok(()),
        SocketTarget::Address(address) => permit(socket, address),
        // The kernel treats an address without a family as one of IPv4.
        SocketTarget::Unspecified | SocketTarget::Other => Err(io::ErrorKind::PermissionDenied.into()),
    }
}

fn fail<T: From<i8>>(error: &io::Error) -> T {
    let code = error.raw_os_error().unwrap_or(match error.kind() {
        io::ErrorKind::AddrInUse => libc::EADDRINUSE,
        _ => libc::EACCES,
    });
    // SAFETY: errno belongs to this thread.
    #[expect(unsafe_code, reason = "errno")]
    unsafe {
        *libc::__errno_location() = code;
    }
    T::from(-1)
}

fn call(result: c_long) -> ssize_t {
    result as ssize_t
}

/// Returns the version's listener in place of a Unix socket, once it exists. A new datagram socket
/// receives nothing at first.
#[expect(unsafe_code, reason = "stands for the C library's function")]
#[unsafe(no_mangle)]
unsafe extern "C" fn socket(family: c_int, kind: c_int, protocol: c_int) -> c_int {
    if family == libc::AF_UNIX
        && let Some(listener) = listener::replace_socket(kind)
    {
        return listener.unwrap_or_else(|error| fail(&error));
    }
    // SAFETY: as the caller promises the C library.
    let made = unsafe { call(libc::syscall(libc::SYS_socket, family, kind, protocol)) as c_int };
    if made < 0 {
        return made;
    }
    if !matches!(family, libc::AF_INET | libc::AF_INET6) || kind & SOCKET_KIND != libc::SOCK_DGRAM {
        datagrams::forget(made);
    } else if let Err(error) = datagrams::close(made) {
        // SAFETY: no other code has the descriptor.
        unsafe { libc::close(made) };
        return fail(&error);
    }
    made
}

#[expect(unsafe_code, reason = "stands for the C library's function")]
#[unsafe(no_mangle)]
unsafe extern "C" fn connect(socket: c_int, address: *const sockaddr, length: socklen_t) -> c_int {
    // SAFETY: as the caller promises the C library.
    unsafe {
        match may_connect(socket, address, length) {
            Ok(()) => call(libc::syscall(libc::SYS_connect, socket, address, length)) as c_int,
            Err(error) => fail(&error),
        }
    }
}

#[expect(unsafe_code, reason = "stands for the C library's function")]
#[unsafe(no_mangle)]
unsafe extern "C" fn sendto(
    socket: c_int,
    buffer: *const c_void,
    size: size_t,
    flags: c_int,
    address: *const sockaddr,
    length: socklen_t,
) -> ssize_t {
    // SAFETY: as the caller promises the C library.
    unsafe {
        match may_send(socket, address, length) {
            Ok(()) => call(libc::syscall(libc::SYS_sendto, socket, buffer, size, flags, address, length)),
            Err(error) => fail(&error),
        }
    }
}

#[expect(unsafe_code, reason = "stands for the C library's function")]
#[unsafe(no_mangle)]
unsafe extern "C" fn sendmsg(socket: c_int, message: *const msghdr, flags: c_int) -> ssize_t {
    // SAFETY: as the caller promises the C library.
    unsafe {
        match may_send(socket, (*message).msg_name.cast(), (*message).msg_namelen) {
            Ok(()) => call(libc::syscall(libc::SYS_sendmsg, socket, message, flags)),
            Err(error) => fail(&error),
        }
    }
}

#[expect(unsafe_code, reason = "stands for the C library's function")]
#[unsafe(no_mangle)]
unsafe extern "C" fn sendmmsg(socket: c_int, messages: *mut mmsghdr, count: u32, flags: c_int) -> c_int {
    // SAFETY: as the caller promises the C library.
    unsafe {
        for index in 0..count as usize {
            let header = &(*messages.add(index)).msg_hdr;
            if let Err(error) = may_send(socket, header.msg_name.cast(), header.msg_namelen) {
                return fail(&error);
            }
        }
        call(libc::syscall(libc::SYS_sendmmsg, socket, messages, count, flags)) as c_int
    }
}

/// Binds a Unix socket to a file only: names outside of the file system are global. The system
/// chooses the ports of datagram sockets, as a project with a chosen port would be a server beside
/// the router. TCP sockets have no ports, as Landlock enforces too.
#[expect(unsafe_code, reason = "stands for the C library's function")]
#[unsafe(no_mangle)]
unsafe extern "C" fn bind(socket: c_int, address: *const sockaddr, length: socklen_t) -> c_int {
    // SAFETY: as the caller promises the C library; both families have the port at the same offset.
    unsafe {
        let family = if address.is_null() { libc::AF_UNSPEC } else { c_int::from((*address).sa_family) };
        if family == libc::AF_UNIX {
            let named = socket_name(address, length).map(|name| listener::bind(socket, &name));
            match named {
                Ok(Some(Ok(()))) => return 0,
                Ok(Some(Err(error))) | Err(error) => return fail(&error),
                Ok(None) => {}
            }
        } else if length as usize >= size_of::<sockaddr_in>() {
            let port = address.cast::<sockaddr_in>().read_unaligned().sin_port;
            if matches!(family, libc::AF_INET | libc::AF_INET6) && (port != 0 || is_stream(socket)) {
                return fail(&io::ErrorKind::PermissionDenied.into());
            }
        }
        call(libc::syscall(libc::SYS_bind, socket, address, length)) as c_int
    }
}

/// Succeeds without a call for the version's listener, which listens already.
#[expect(unsafe_code, reason = "stands for the C library's function")]
#[unsafe(no_mangle)]
unsafe extern "C" fn listen(socket: c_int, backlog: c_int) -> c_int {
    if option(socket, libc::SO_ACCEPTCONN) != 0 {
        return 0;
    }
    // SAFETY: as the caller promises the C library.
    unsafe { call(libc::syscall(libc::SYS_listen, socket, backlog)) as c_int }
}

/// Returns the path of a Unix socket.
///
/// # Errors
/// The address has no path: its name is global, or chosen by the kernel.
///
/// # Safety
/// The caller keeps the contract of [`target`].
#[expect(unsafe_code, reason = "reads what a caller of the C library hands over")]
unsafe fn socket_name(address: *const sockaddr, length: socklen_t) -> io::Result<CString> {
    let bytes = (length as usize).min(size_of::<sockaddr_un>()).saturating_sub(size_of::<sa_family_t>());
    // SAFETY: as the caller promises.
    let path =
        unsafe { std::slice::from_raw_parts(address.cast::<u8>().add(size_of::<sa_family_t>()), bytes) };
    let path = path.split(|byte| *byte == 0).next().unwrap_or_default();
    if path.is_empty() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    Ok(CString::new(path)?)
}

/// The bits of a socket's type that are not flags.
const SOCKET_KIND: c_int = 0xf;

fn is_stream(socket: c_int) -> bool {
    option(socket, libc::SO_TYPE) == libc::SOCK_STREAM
}

/// Returns a numeric option of a socket, 0 if it has none.
fn option(socket: c_int, name: c_int) -> c_int {
    let mut value: c_int = 0;
    let mut size = size_of::<c_int>() as socklen_t;
    // SAFETY: the pointers are to live values, and the size is that of the first.
    #[expect(unsafe_code, reason = "libc call")]
    unsafe {
        libc::getsockopt(socket, libc::SOL_SOCKET, name, (&raw mut value).cast(), &mut size);
    }
    value
}
