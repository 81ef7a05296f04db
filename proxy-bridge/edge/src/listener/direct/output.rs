//! The bytes that wait to be written to a client.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::AsyncWrite as _;
use tokio::time::{Sleep, sleep};

use crate::socket::Stream;

/// Bytes of a piece from which on it is written as it is. A smaller one is copied behind the head:
/// one buffer costs the kernel less.
const LARGE: usize = 16 << 10;

/// Bytes that wait, from which on no more are added.
const FULL: usize = 64 << 10;

/// The output of one connection.
#[derive(Debug)]
pub(super) struct Output {
    buffer: BytesMut,
    /// A large piece, behind the buffer.
    piece: Bytes,
    /// The bytes behind the piece.
    behind: &'static [u8],
    /// The longest time for which a client takes nothing.
    timeout: Duration,
    until: Option<Pin<Box<Sleep>>>,
}

impl Output {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { buffer: BytesMut::new(), piece: Bytes::new(), behind: b"", timeout, until: None }
    }

    /// Returns true if no more may be added before something was written.
    pub(super) fn is_full(&self) -> bool {
        !self.piece.is_empty() || self.buffer.len() >= FULL
    }

    /// The buffer, for heads. Must not be called while the output is full.
    pub(super) fn buffer(&mut self) -> &mut BytesMut {
        debug_assert!(self.piece.is_empty());
        &mut self.buffer
    }

    /// Adds a piece of a body, and what follows it. Must not be called while the output is full.
    pub(super) fn add(&mut self, piece: Bytes, behind: &'static [u8]) {
        debug_assert!(self.piece.is_empty());
        if piece.len() < LARGE {
            self.buffer.extend_from_slice(&piece);
            self.buffer.extend_from_slice(behind);
        } else {
            (self.piece, self.behind) = (piece, behind);
        }
    }

    /// Writes everything.
    ///
    /// # Errors
    /// The connection is broken, or the client has taken nothing for too long.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>, stream: &mut Stream) -> Poll<io::Result<()>> {
        while !(self.buffer.is_empty() && self.piece.is_empty()) {
            let stream = Pin::new(&mut *stream);
            let written = if self.piece.is_empty() {
                stream.poll_write(cx, &self.buffer)
            } else {
                stream.poll_write_vectored(cx, &[IoSlice::new(&self.buffer), IoSlice::new(&self.piece)])
            };
            let Poll::Ready(written) = written else {
                let timeout = self.timeout;
                ready!(self.until.get_or_insert_with(|| Box::pin(sleep(timeout))).as_mut().poll(cx));
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            };
            self.until = None;
            match written? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.advance(written),
            }
        }
        // TLS may hold a part of it.
        if Pin::new(&mut *stream).poll_flush(cx)?.is_pending() {
            let timeout = self.timeout;
            ready!(self.until.get_or_insert_with(|| Box::pin(sleep(timeout))).as_mut().poll(cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.until = None;
        // An idle connection needs no buffer.
        self.buffer = BytesMut::new();
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, written: usize) {
        let of_buffer = written.min(self.buffer.len());
        self.buffer.advance(of_buffer);
        self.piece.advance(written - of_buffer);
        if self.piece.is_empty() {
            self.piece = Bytes::new();
            self.buffer.extend_from_slice(std::mem::take(&mut self.behind));
        }
    }
}
