//! How long a request's head may take once it has begun. hyper's own limit counts from the end of the request
//! before, so it bounds how long a connection may be idle.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// A connection that is cut off when a head takes too long.
#[derive(Debug)]
pub(super) struct Timed {
    stream: TcpStream,
    clock: Clock,
    limit: Duration,
    /// When the head that has begun must be complete.
    until: Option<Pin<Box<Sleep>>>,
}

/// Knows whether a request is being served.
#[derive(Debug, Clone, Default)]
pub(super) struct Clock(Arc<AtomicBool>);

/// A request is being served: what is read belongs to no head.
#[derive(Debug)]
pub(super) struct Serving(Arc<AtomicBool>);

impl Timed {
    /// The time for the first head begins now.
    pub(super) fn new(stream: TcpStream, limit: Duration) -> (Self, Clock) {
        let clock = Clock::default();
        (Self { stream, clock: clock.clone(), limit, until: Some(Box::pin(sleep(limit))) }, clock)
    }
}

impl Clock {
    pub(super) fn serve(&self) -> Serving {
        self.0.store(true, Relaxed);
        Serving(self.0.clone())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.store(false, Relaxed);
    }
}

impl AsyncRead for Timed {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.clock.0.load(Relaxed) {
            this.until = None;
        } else if let Some(until) = &mut this.until
            && until.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before && this.until.is_none() {
            this.until = Some(Box::pin(sleep(this.limit)));
        }
        read
    }
}

impl AsyncWrite for Timed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, buffers)
    }
}
