//! The task of a connection, which reads and writes.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use switchyard_contract::bounds::{FRAME_WEIGHT, FRAMED_HEAD, TURN_BYTES};
use switchyard_edge::upstream::BadAnswer;
use switchyard_protocol::frame::{Decoder, FrameError, HeadLimits, Sender};
use tokio::io::{AsyncReadExt as _, AsyncWrite as _};
use tokio::net::UnixStream;
use tokio::task::yield_now;

use super::Failure;
use super::conn::Conn;

/// Bytes that are read at once: at first, and from a cell that has more.
const FIRST_READ: usize = 8 << 10;
const MAX_READ: usize = 128 << 10;

/// Reads and writes one connection.
#[derive(Debug)]
pub(super) struct Driver {
    stream: UnixStream,
    conn: Rc<Conn>,
    decoder: Decoder,
    buffer: BytesMut,
    /// Bytes that are read at once.
    read_size: usize,
    /// A write has failed. What the cell has sent before is still read.
    is_deaf: bool,
}

/// The reason why a driver stops for the moment.
enum Stop {
    /// Other tasks have their turn.
    TurnOver,
    Ended(Failure),
}

impl Driver {
    /// The driver of `conn`, whose bytes come and go on `stream`.
    pub(super) fn new(stream: UnixStream, conn: Rc<Conn>) -> Self {
        let HeadLimits { bytes, .. } = conn.limits();
        let limits = HeadLimits { bytes: bytes.max(FRAMED_HEAD), headers: usize::from(u16::MAX) };
        let decoder = Decoder::new(Sender::Cell, limits);
        Self { stream, conn, decoder, buffer: BytesMut::new(), read_size: FIRST_READ, is_deaf: false }
    }

    /// Reads and writes until the connection ends.
    pub(super) async fn run(mut self) {
        loop {
            match poll_fn(|cx| self.poll_turn(cx)).await {
                Stop::TurnOver => yield_now().await,
                Stop::Ended(failure) => return self.conn.end(failure),
            }
        }
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Stop> {
        self.poll_write(cx);
        if self.conn.watch(cx) {
            return Poll::Ready(Stop::Ended(Failure::Ended));
        }
        let mut left = TURN_BYTES;
        while left > 0 {
            // First what the last turn has left.
            if let Err(error) = self.decode(&mut left) {
                return Poll::Ready(Stop::Ended(Failure::Invalid(match error {
                    FrameError::HeadTooLarge => BadAnswer::HeadTooLarge,
                    _ => BadAnswer::Invalid,
                })));
            }
            if left > 0 {
                // An error is an end as well: what came before it was read.
                match self.poll_read(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(0) => return Poll::Ready(Stop::Ended(Failure::Ended)),
                    Poll::Ready(_) => {}
                }
            }
        }
        Poll::Ready(Stop::TurnOver)
    }

    /// Writes what waits, as far as the socket takes it.
    fn poll_write(&mut self, cx: &mut Context<'_>) {
        while !self.is_deaf {
            let write = |bytes: &[u8]| Pin::new(&mut self.stream).poll_write(cx, bytes);
            match self.conn.poll_write(write) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) | Poll::Pending => return,
                Poll::Ready(Err(_)) => self.is_deaf = true,
            }
        }
        self.conn.discard();
    }

    /// Reads once. Returns 0 at the end.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        let missing = self.decoder.missing(&self.buffer);
        if self.buffer.capacity() - self.buffer.len() < missing.max(self.read_size / 2) {
            self.buffer.reserve(missing.max(self.read_size));
        }
        let room = self.buffer.capacity() - self.buffer.len();
        let read = match pin!(self.stream.read_buf(&mut self.buffer)).poll(cx) {
            Poll::Ready(read) => read.unwrap_or_default(),
            Poll::Pending => return Poll::Pending,
        };
        if read == room {
            self.read_size = (2 * self.read_size).min(MAX_READ);
        }
        Poll::Ready(read)
    }

    /// Hands out the frames that have come, as far as `left` of the turn allows.
    fn decode(&mut self, left: &mut usize) -> Result<(), FrameError> {
        while *left > 0 {
            let before = self.buffer.len();
            let Some(frame) = self.decoder.decode(&mut self.buffer)? else { break };
            *left = left.saturating_sub(FRAME_WEIGHT.max(before - self.buffer.len()));
            self.conn.receive(frame)?;
        }
        Ok(())
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Requests do not wait for a driver that is gone.
        self.conn.end(Failure::Ended);
    }
}
