//! A client's connection as hyper sees it: only whole heads of requests that can be read in one way, and
//! writes that end. What [`Framing`] refuses is turned into the refusal's answer, and a client that was
//! answered in the middle of its request gets to read that.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::framing::{Framing, Stop};
use super::lingering::LingeringClose;
use super::refusal::Refusal;
use super::turn::Turn;

/// Read at once where hyper offers less room (its look at the first bytes has 24): more than most heads.
const PIECE: usize = 2048;

/// What hyper is given in place of a head that is refused, so that it answers when it is that one's turn.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

/// The limits of one connection.
#[derive(Debug, Clone, Copy)]
pub struct StreamLimits {
    /// The largest head of a request, in bytes.
    pub max_head: usize,
    /// From a head's first byte (for the first one, from connecting) to its end.
    pub head_timeout: Duration,
    /// The longest time in which a client takes nothing of its answer.
    pub write_timeout: Duration,
}

/// The state that [`GuardedStream`] and the service of its connection share.
#[derive(Debug, Default)]
pub struct ConnState {
    /// The number of the request that is refused, and why.
    refused: OnceLock<(u64, Refusal)>,
    /// Requests that were counted in by [`ConnState::begin`].
    begun: AtomicU64,
    /// Answers that have begun.
    answered: AtomicU64,
    /// Protocols were switched.
    switched: AtomicBool,
}

impl ConnState {
    /// Why the connection's request of that number, from 0, is not to be served.
    pub fn refusal(&self, number: u64) -> Option<Refusal> {
        self.refused.get().filter(|(refused, _)| *refused == number).map(|(_, refusal)| *refusal)
    }

    /// Counts a request of a connection in that answers one after the other. Returns why it is not to be
    /// served, if it is not.
    pub fn begin(&self) -> Option<Refusal> {
        self.refusal(self.begun.fetch_add(1, Relaxed))
    }

    /// An answer begins.
    pub fn answer(&self) {
        self.answered.fetch_add(1, Relaxed);
    }

    /// From here on the connection is a WebSocket's.
    pub fn switch(&self) {
        self.switched.store(true, Relaxed);
    }
}

/// A connection of a client, from its first byte to its last. `K` is kept as long as it is open.
#[derive(Debug)]
pub struct GuardedStream<K> {
    stream: TcpStream,
    framing: Framing,
    state: Arc<ConnState>,
    /// Read, and not passed on yet: for want of room, or because it is part of something.
    held: BytesMut,
    /// How much of it may be passed on.
    admitted: usize,
    /// What comes in place of so many bytes behind that.
    replacement: Option<(usize, Vec<u8>)>,
    /// A head in another form, to be passed on before anything of what is held.
    rewritten: Bytes,
    /// What is held has not been looked at.
    unseen: bool,
    /// When the head that has begun must be complete.
    head_until: Option<Pin<Box<Sleep>>>,
    /// When something must have been written.
    write_until: Option<Pin<Box<Sleep>>>,
    close: Option<LingeringClose>,
    limits: StreamLimits,
    turn: Turn,
    ended: bool,
    _kept: K,
}

impl<K> GuardedStream<K> {
    pub fn new(stream: TcpStream, limits: StreamLimits, kept: K) -> (Self, Arc<ConnState>) {
        let state = Arc::new(ConnState::default());
        let guarded = Self {
            stream,
            framing: Framing::new(limits.max_head),
            state: state.clone(),
            held: BytesMut::new(),
            admitted: 0,
            replacement: None,
            rewritten: Bytes::new(),
            unseen: false,
            head_until: None,
            write_until: None,
            close: None,
            limits,
            turn: Turn::default(),
            ended: false,
            _kept: kept,
        };
        (guarded, state)
    }

    /// Reads into hyper's buffer, and takes back what is incomplete.
    fn read_in_place(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let read = &buffer.filled()[before..];
        self.ended = read.is_empty();
        let (passed, stop) = self.framing.look(read);
        self.held.extend_from_slice(&read[passed..]);
        buffer.set_filled(before + passed);
        self.stopped(stop);
        Poll::Ready(Ok(()))
    }

    /// Reads behind what is incomplete.
    fn read_behind(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut piece = [MaybeUninit::uninit(); PIECE];
        let mut piece = ReadBuf::uninit(&mut piece);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut piece))?;
        self.ended = piece.filled().is_empty();
        self.held.extend_from_slice(piece.filled());
        self.admit();
        Poll::Ready(Ok(()))
    }

    /// Looks at what is held, of which nothing is admitted.
    fn admit(&mut self) {
        self.unseen = false;
        let (passed, stop) = self.framing.look(&self.held);
        self.admitted = passed;
        self.stopped(stop);
    }

    /// `held` has, behind what is admitted, what [`Framing::look`] stopped at.
    fn stopped(&mut self, stop: Stop) {
        match stop {
            Stop::Incomplete => {}
            Stop::Refused(refusal) => {
                self.held.truncate(self.admitted);
                self.refuse(refusal);
            }
            Stop::Replaced { length, by } => self.replacement = Some((length, by)),
        }
    }

    /// Passes on what may be. Returns whether there was anything.
    fn pass(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        if self.admitted > 0 {
            let length = self.admitted.min(buffer.remaining());
            buffer.put_slice(&self.held[..length]);
            self.held.advance(length);
            self.admitted -= length;
            if self.held.is_empty() {
                // Many connections are idle most of the time.
                self.held = BytesMut::new();
            }
            return true;
        }
        if let Some((length, by)) = self.replacement.take() {
            self.held.advance(length);
            self.rewritten = by.into();
            self.unseen = true;
        }
        let length = self.rewritten.len().min(buffer.remaining());
        buffer.put_slice(&self.rewritten.split_to(length));
        length > 0
    }

    /// From here on nothing of the client's is passed on. `held` has what comes before, all of it admitted.
    fn refuse(&mut self, refusal: Refusal) {
        if self.framing.is_between_requests() {
            let _ = self.state.refused.set((self.framing.heads(), refusal));
            self.held.extend_from_slice(STAND_IN);
            self.admitted = self.held.len();
        } else {
            // The body's, whose request has been passed on: it is never completed. hyper answers nothing
            // then, so it is done here, unless it has begun to.
            let begun =
                self.state.answered.load(Relaxed) >= self.framing.heads() || self.write_until.is_some();
            let answer = if begun { Vec::new() } else { refusal.to_http() };
            self.held.clear();
            self.admitted = 0;
            self.close = Some(LingeringClose::new(&answer));
        }
    }

    /// Whether a head has taken too long: one that has begun, or the connection's first.
    fn is_head_late(&mut self, cx: &mut Context<'_>) -> bool {
        let awaited = !self.held.is_empty() || self.framing.heads() == 0;
        if !(awaited && self.framing.is_between_requests()) {
            self.head_until = None;
            return false;
        }
        let timeout = self.limits.head_timeout;
        self.head_until.get_or_insert_with(|| Box::pin(sleep(timeout))).as_mut().poll(cx).is_ready()
    }

    /// What a write came to; a client that takes nothing for long is given up.
    fn in_time<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.write_until = None;
        } else if !self.state.switched.load(Relaxed) {
            let timeout = self.limits.write_timeout;
            ready!(self.write_until.get_or_insert_with(|| Box::pin(sleep(timeout))).as_mut().poll(cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        written
    }
}

impl<K: Unpin> AsyncRead for GuardedStream<K> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.pass(buffer) {
                return Poll::Ready(Ok(()));
            }
            if this.unseen {
                this.admit();
                continue;
            }
            if let Some(close) = &mut this.close {
                ready!(close.poll(cx, &mut this.stream));
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
            if this.state.refused.get().is_some() {
                // The answer is on its way, and closes the connection. To read on could tell hyper of an
                // end that keeps it from answering.
                return Poll::Pending;
            }
            ready!(this.turn.poll_begin(cx));
            let (before, held) = (buffer.filled().len(), this.held.len());
            let in_place = this.held.is_empty() && buffer.remaining() >= PIECE;
            let read = if in_place { this.read_in_place(cx, buffer) } else { this.read_behind(cx) };
            if read.is_pending() {
                this.turn.end();
                if this.is_head_late(cx) {
                    if this.held.is_empty() {
                        // The client has not asked for anything, so there is nothing to answer.
                        return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                    }
                    this.held.clear();
                    this.refuse(Refusal::HeadTooSlow);
                    continue;
                }
                return Poll::Pending;
            }
            this.turn.count(buffer.filled().len() - before + this.held.len().saturating_sub(held));
            ready!(read)?;
            if this.ended || buffer.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<K: Unpin> AsyncWrite for GuardedStream<K> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.close.is_some() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.in_time(cx, written)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let finished = this.ended || this.framing.is_opaque();
        let finished = finished
            || this.framing.is_between_requests()
                && this.held.is_empty()
                && this.state.refused.get().is_none();
        if finished {
            return Pin::new(&mut this.stream).poll_shutdown(cx);
        }
        let close = this.close.get_or_insert_with(|| LingeringClose::new(&[]));
        close.poll(cx, &mut this.stream).map(Ok)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.close.is_some() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, buffers);
        this.in_time(cx, written)
    }
}
