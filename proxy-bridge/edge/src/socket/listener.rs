//! Bound listeners.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::net::{Shutdown, listen, shutdown};

use super::address::{ListenAddress, ListenSetting};
use super::file::{PRIVATE, SHARED, SocketFile, bind_at};
use super::stream::{LOCAL, Stream};
use crate::tls::Tls;

/// Connections that the kernel holds until they are accepted. It drops those beyond, and their
/// clients try again after a second, so that everybody would feel a flood. The kernel's own limit
/// (`somaxconn`) is the same; the standard library's default is 128.
const BACKLOG: i32 = 4096;

/// A bound listener. Its file, if it has one, is removed when it is dropped.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    /// `None`: it has no file, or one that it did not make.
    file: Option<SocketFile>,
    tls: Option<Tls>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A listener that cannot be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("{0} is already in use: stop the process that listens there, or name another port")]
    PortInUse(ListenAddress),
    #[error("{0} is already in use: stop the process that listens there, or name another path")]
    PathInUse(ListenAddress),
    #[error("cannot listen on {address}: {error}")]
    Other {
        /// The address.
        address: ListenAddress,
        /// The reason.
        error: io::Error,
    },
}

impl Listener {
    /// Binds a listener, or takes the one that the process was started with.
    ///
    /// # Errors
    /// The address is in use, or the process may not listen there.
    pub fn bind(setting: &ListenSetting) -> Result<Self, BindError> {
        let address = setting.address.clone();
        Self::open(setting).map_err(|error| match (error.kind(), &address) {
            (io::ErrorKind::AddrInUse, ListenAddress::Ip(_)) => BindError::PortInUse(address),
            (io::ErrorKind::AddrInUse, ListenAddress::Path(_)) => BindError::PathInUse(address),
            _ => BindError::Other { address, error },
        })
    }

    /// Binds a Unix socket that only processes of this one's user can connect to.
    ///
    /// # Errors
    /// The path is in use, or too long, or the process may not listen there.
    pub fn bind_private(path: &Path) -> Result<Self, BindError> {
        let address = ListenAddress::Path(path.to_owned());
        let (listener, file) = bind_at(path, BACKLOG, PRIVATE).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => BindError::PathInUse(address),
            _ => BindError::Other { address, error },
        })?;
        Ok(Self { socket: Socket::Unix(listener), file: Some(file), tls: None })
    }

    fn open(setting: &ListenSetting) -> io::Result<Self> {
        let inherited = setting.inherited.as_ref().map(|socket| socket.try_clone()).transpose()?;
        let (socket, file) = match (&setting.address, inherited) {
            (ListenAddress::Ip(_), Some(socket)) => (Socket::Tcp(socket.into()), None),
            (ListenAddress::Path(_), Some(socket)) => (Socket::Unix(socket.into()), None),
            (ListenAddress::Ip(address), None) => {
                let listener = TcpListener::bind(address)?;
                listen(&listener, BACKLOG)?;
                (Socket::Tcp(listener), None)
            }
            (ListenAddress::Path(path), None) => {
                let (listener, file) = bind_at(path, BACKLOG, SHARED)?;
                (Socket::Unix(listener), Some(file))
            }
        };
        Ok(Self { socket, file, tls: None })
    }

    /// Has the clients speak TLS.
    #[must_use]
    pub fn with_tls(self, tls: Option<Tls>) -> Self {
        Self { tls, ..self }
    }

    /// TLS, if the clients speak it.
    #[must_use]
    pub fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// Returns the address: with the actual port where the setting has port 0.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn address(&self) -> io::Result<ListenAddress> {
        match &self.socket {
            Socket::Tcp(listener) => listener.local_addr().map(ListenAddress::Ip),
            Socket::Unix(listener) => {
                let address = listener.local_addr()?;
                Ok(ListenAddress::Path(address.as_pathname().map(Into::into).unwrap_or_default()))
            }
        }
    }

    /// Returns a second handle for the same socket. The file stays with the first one.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn try_clone(&self) -> io::Result<Self> {
        let socket = match &self.socket {
            Socket::Tcp(listener) => Socket::Tcp(listener.try_clone()?),
            Socket::Unix(listener) => Socket::Unix(listener.try_clone()?),
        };
        Ok(Self { socket, file: None, tls: self.tls.clone() })
    }

    /// Refuses connections from now on. The address stays taken. Connections to a Unix socket wait
    /// instead: its kernel side cannot be opened again.
    ///
    /// # Errors
    /// The kernel cannot close it.
    pub fn refuse(&self) -> io::Result<()> {
        match &self.socket {
            Socket::Tcp(listener) => Ok(shutdown(listener, Shutdown::Read)?),
            Socket::Unix(_) => Ok(()),
        }
    }

    /// Takes connections again.
    ///
    /// # Errors
    /// The kernel cannot open it again.
    pub fn accept_again(&self) -> io::Result<()> {
        match &self.socket {
            Socket::Tcp(listener) => Ok(listen(listener.as_fd(), BACKLOG)?),
            Socket::Unix(_) => Ok(()),
        }
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self { socket: Socket::Tcp(listener), file: None, tls: None }
    }
}

/// A listener in a runtime.
#[derive(Debug)]
pub(crate) struct AsyncListener {
    socket: AsyncSocket,
    _file: Option<SocketFile>,
}

#[derive(Debug)]
enum AsyncSocket {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

impl AsyncListener {
    /// Called in the context of the runtime.
    pub(crate) fn new(listener: Listener) -> io::Result<Self> {
        let socket = match listener.socket {
            Socket::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                AsyncSocket::Tcp(tokio::net::TcpListener::from_std(listener)?)
            }
            Socket::Unix(listener) => {
                listener.set_nonblocking(true)?;
                AsyncSocket::Unix(tokio::net::UnixListener::from_std(listener)?)
            }
        };
        Ok(Self { socket, _file: listener.file })
    }

    /// Returns the next connection, and the address of its client. Cancel safe.
    pub(crate) async fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        match &self.socket {
            AsyncSocket::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((Stream::Tcp(stream), peer))
            }
            AsyncSocket::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Stream::Unix(stream), LOCAL))
            }
        }
    }
}
