//! A connection to whoever answers: a cell, or a router. What comes of an answer that is there already, and what
//! is wrong with one that is none.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::turn::Turn;

/// Why what came back is not an answer, though whoever sent it may be well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadAnswer {
    /// The bytes are no HTTP, or contradict themselves.
    Invalid,
    /// More bytes, or more headers than [`MAX_HEADERS`](crate::bounds::MAX_HEADERS).
    HeadTooLarge,
    /// The connection ended before the answer's head did.
    ClosedEarly,
    /// Protocols were switched without being asked for, or to another one than what was asked for.
    Switch,
    /// No connection is taken.
    NoConnection,
}

impl BadAnswer {
    /// What was wrong with the bytes that came. `None`: they were too few to tell.
    pub fn of(error: &hyper::Error) -> Option<Self> {
        match error {
            error if error.is_parse_too_large() => Some(Self::HeadTooLarge),
            error if error.is_parse() => Some(Self::Invalid),
            error => has_invalid_bytes(error).then_some(Self::Invalid),
        }
    }
}

/// Whether the body of an answer could not be read, rather than not been had.
fn has_invalid_bytes(error: &hyper::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData);
        }
        cause = error.source();
    }
    false
}

/// A connection that goes on being read when it takes no more: who refuses a request before having read all of it may
/// close the connection behind the answer, and hyper would report that the request could not be written. It is read in
/// turns with others, whatever it brings: hyper skips heads of 1xx and reads heads and trailers in one go.
#[derive(Debug)]
pub struct ReadsOn<S> {
    stream: S,
    is_deaf: bool,
    turn: Turn,
}

impl<S> ReadsOn<S> {
    pub fn new(stream: S) -> Self {
        Self { stream, is_deaf: false, turn: Turn::default() }
    }

    pub fn into_inner(self) -> S {
        self.stream
    }

    /// What a write came to. When it failed there is nothing more to write; reading tells how it ends.
    fn written<T>(&mut self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if matches!(written, Poll::Ready(Err(_))) {
            self.is_deaf = true;
            return Poll::Pending;
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadsOn<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.turn.poll_begin(cx));
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        match &read {
            Poll::Ready(_) => this.turn.count(buffer.filled().len() - before),
            Poll::Pending => this.turn.end(),
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReadsOn<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_deaf {
            return Poll::Pending;
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(written)
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
        if self.is_deaf {
            return Poll::Pending;
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, buffers);
        self.written(written)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixStream;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn an_answer_is_read_though_nothing_more_can_be_written() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let mut near = ReadsOn::new(near);
        far.write_all(b"HTTP/1.1 401 Unauthorized\r\n\r\n").await.unwrap();
        drop(far);
        let writing = timeout(Duration::from_millis(20), near.write_all(b"more"));
        assert!(writing.await.is_err(), "the failure is not reported");
        let mut answer = String::new();
        near.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    }
}
