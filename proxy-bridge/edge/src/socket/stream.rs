//! Connections of clients.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use crate::tls::Tls;

/// The address of both ends of a connection to a Unix socket: this machine. A proxy in front is
/// trusted as one that connects from 127.0.0.1.
pub(super) const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 80);

/// A client's connection.
#[derive(Debug)]
pub enum Stream {
    /// To an IP address.
    Tcp(TcpStream),
    /// To a path.
    Unix(UnixStream),
    /// To an IP address, encrypted.
    Tls(Box<TlsStream<TcpStream>>),
}

/// A client's connection on its way to another runtime.
#[derive(Debug)]
pub(crate) enum DetachedStream {
    Tcp(std::net::TcpStream),
    Unix(StdUnixStream),
}

impl Stream {
    /// Returns the address that the client has connected to.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.local_addr(),
            Self::Unix(_) => Ok(LOCAL),
            Self::Tls(stream) => stream.get_ref().0.local_addr(),
        }
    }

    /// Returns the TCP connection below, if that is what it is.
    #[must_use]
    pub fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(stream) => Some(stream),
            Self::Unix(_) => None,
            Self::Tls(stream) => Some(stream.get_ref().0),
        }
    }

    /// Sends each write at once: waiting for more would only add latency.
    pub(crate) fn set_nodelay(&self) {
        if let Some(stream) = self.tcp() {
            // Affects latency only.
            let _ = stream.set_nodelay(true);
        }
    }

    /// Makes the handshake of a listener with TLS, within a time.
    ///
    /// # Errors
    /// The client speaks no TLS, or is too slow.
    pub(crate) async fn secure(self, tls: Option<&Tls>, limit: Duration) -> io::Result<Self> {
        match (self, tls) {
            (Self::Tcp(stream), Some(tls)) => {
                let stream = timeout(limit, tls.accept(stream)).await??;
                Ok(Self::Tls(Box::new(stream)))
            }
            (stream, _) => Ok(stream),
        }
    }

    /// Takes a new connection out of its runtime.
    pub(crate) fn detach(self) -> io::Result<DetachedStream> {
        match self {
            Self::Tcp(stream) => stream.into_std().map(DetachedStream::Tcp),
            Self::Unix(stream) => stream.into_std().map(DetachedStream::Unix),
            Self::Tls(_) => Err(io::Error::other("its state is the runtime's")),
        }
    }
}

impl DetachedStream {
    /// Puts the connection into the current runtime.
    pub(crate) fn attach(self) -> io::Result<Stream> {
        Ok(match self {
            Self::Tcp(stream) => Stream::Tcp(TcpStream::from_std(stream)?),
            Self::Unix(stream) => Stream::Unix(UnixStream::from_std(stream)?),
        })
    }
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        Self::Tcp(stream)
    }
}

/// Calls a method of whichever stream it is.
macro_rules! either {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Tcp($stream) => $call,
            Stream::Unix($stream) => $call,
            Stream::Tls($stream) => $call,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, stream => Pin::new(stream).poll_write_vectored(cx, buffers))
    }
}
