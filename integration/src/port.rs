//! A free port of 127.0.0.1 for a server that cannot say which one it got.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::net::sockopt::{set_socket_reuseaddr, set_socket_reuseport};
use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};

/// Reserved as long as this value lives. A server with `SO_REUSEADDR` or `SO_REUSEPORT` can listen
/// on it, which is any server that can be restarted; until then connections are refused.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) address: SocketAddr,
    _socket: OwnedFd,
}

impl Port {
    pub(crate) fn reserve() -> Self {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket can be made");
        set_socket_reuseaddr(&socket, true).expect("an address can be shared");
        set_socket_reuseport(&socket, true).expect("a port can be shared");
        bind(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a port is free");
        let address = getsockname(&socket).expect("it is bound");
        Self { address: address.try_into().expect("it is an internet address"), _socket: socket }
    }

    pub(crate) fn number(&self) -> u16 {
        self.address.port()
    }
}
