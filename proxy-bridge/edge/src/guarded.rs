//! A client's connection as hyper sees it: only whole and unambiguous heads of requests, and writes
//! that end in time. A request that [`Framing`] refuses gets the refusal as its response, and a
//! client that gets a response in the middle of its request can read it to the end.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::framing::{Framing, Stop};
use super::lingering::LingeringClose;
use super::problem::Problem;
use super::refusal::Refusal;
use super::socket::Stream;
use super::turn::Turn;

/// The size of one read where hyper's buffer has less room (24 bytes for the first ones): more than
/// most heads.
const PIECE: usize = 2048;

/// The head that hyper gets instead of a refused one, so that the refusal is sent after the
/// responses before it.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

/// The limits of one connection.
#[derive(Debug, Clone, Copy)]
pub struct StreamLimits {
    /// The largest head of a request, in bytes.
    pub max_head: usize,
    /// The time from a head's first byte (for the first head: from connecting) to its end.
    pub head_timeout: Duration,
    /// The longest time for which a client takes nothing of its response.
    pub write_timeout: Duration,
}

/// The state that [`GuardedStream`] and the service of its connection share.
#[derive(Debug, Default)]
pub struct ConnState {
    /// The number of the refused request, and the reason.
    refused: OnceLock<(u64, Refusal)>,
    /// Requests that [`ConnState::begin`] has counted.
    begun: AtomicU64,
    /// Responses that have begun.
    answered: AtomicU64,
    /// The connection has switched protocols.
    switched: AtomicBool,
}

impl ConnState {
    /// Returns the reason why the connection's request of that number, from 0, is refused.
    pub fn refusal(&self, number: u64) -> Option<Refusal> {
        self.refused.get().filter(|(refused, _)| *refused == number).map(|(_, refusal)| *refusal)
    }

    /// Counts a request, on a connection that has one request at a time. Returns the reason if it
    /// is refused.
    pub fn begin(&self) -> Option<Refusal> {
        self.refusal(self.begun.fetch_add(1, Relaxed))
    }

    /// Counts a response that begins.
    pub fn answer(&self) {
        self.answered.fetch_add(1, Relaxed);
    }

    /// Notes that the connection has become a WebSocket: a client may pause as long as it wants.
    pub fn switch(&self) {
        self.switched.store(true, Relaxed);
    }
}

/// A client's connection, from its first byte to its last. `K` is a permit that is held while the
/// connection is open.
#[derive(Debug)]
pub struct GuardedStream<K> {
    stream: Stream,
    framing: Framing,
    state: Arc<ConnState>,
    /// Bytes that were read and not passed on yet: for want of room, or because they are part of an
    /// incomplete head.
    held: BytesMut,
    /// The number of held bytes that may be passed on.
    admitted: usize,
    /// The length of the head behind the admitted bytes, and the head that is passed on instead.
    replacement: Option<(usize, Vec<u8>)>,
    /// A rewritten head, passed on before the held bytes.
    rewritten: Bytes,
    /// The framing has not seen the held bytes.
    unseen: bool,
    /// The deadline of the head that has begun.
    head_until: Option<Pin<Box<Sleep>>>,
    /// The deadline of the current write.
    write_until: Option<Pin<Box<Sleep>>>,
    close: Option<LingeringClose>,
    limits: StreamLimits,
    turn: Turn,
    /// The client has ended its direction.
    ended: bool,
    _permit: K,
}

/// The beginning of a connection that was read from before it is guarded.
#[derive(Debug)]
pub struct Begun {
    /// Has seen none of the held bytes.
    pub framing: Framing,
    /// Bytes that were read, from the beginning of a request.
    pub held: BytesMut,
    /// The time by which the head of the request that has begun is complete.
    pub head_until: Option<Instant>,
}

impl<K> GuardedStream<K> {
    /// Guards `stream`. Returns the state that the connection's service needs as well.
    pub fn new(stream: Stream, limits: StreamLimits, permit: K) -> (Self, Arc<ConnState>) {
        let begun = Begun { framing: Framing::new(limits.max_head), held: BytesMut::new(), head_until: None };
        Self::resume(stream, begun, limits, permit)
    }

    /// Guards a stream that was read from before.
    pub fn resume(stream: Stream, begun: Begun, limits: StreamLimits, permit: K) -> (Self, Arc<ConnState>) {
        let Begun { framing, held, head_until } = begun;
        let state = Arc::new(ConnState::default());
        let guarded = Self {
            stream,
            framing,
            state: state.clone(),
            unseen: !held.is_empty(),
            held,
            admitted: 0,
            replacement: None,
            rewritten: Bytes::new(),
            head_until: head_until.map(|until| Box::pin(sleep_until(until))),
            write_until: None,
            close: None,
            limits,
            turn: Turn::default(),
            ended: false,
            _permit: permit,
        };
        (guarded, state)
    }

    /// Reads into hyper's buffer, and takes back an incomplete part at the end.
    fn read_in_place(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let read = &buffer.filled()[before..];
        self.ended = read.is_empty();
        let (passed, stop) = self.framing.look(read);
        self.held.extend_from_slice(&read[passed..]);
        buffer.set_filled(before + passed);
        self.on_stop(stop);
        Poll::Ready(Ok(()))
    }

    /// Reads behind the held bytes.
    fn read_behind(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut piece = [MaybeUninit::uninit(); PIECE];
        let mut piece = ReadBuf::uninit(&mut piece);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut piece))?;
        self.ended = piece.filled().is_empty();
        self.held.extend_from_slice(piece.filled());
        self.admit();
        Poll::Ready(Ok(()))
    }

    /// Passes the held bytes to the framing. None of them is admitted yet.
    fn admit(&mut self) {
        self.unseen = false;
        let (passed, stop) = self.framing.look(&self.held);
        self.admitted = passed;
        self.on_stop(stop);
    }

    /// Acts on the bytes at which [`Framing::look`] stopped. They are held, behind the admitted
    /// ones.
    fn on_stop(&mut self, stop: Stop) {
        match stop {
            Stop::Incomplete => {}
            Stop::Refused(refusal) => {
                self.held.truncate(self.admitted);
                self.refuse(refusal);
            }
            Stop::Replaced { length, by } => self.replacement = Some((length, by)),
        }
    }

    /// Passes admitted bytes on. Returns false if no such bytes are left.
    fn pass(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        if self.admitted > 0 {
            let length = self.admitted.min(buffer.remaining());
            buffer.put_slice(&self.held[..length]);
            self.held.advance(length);
            self.admitted -= length;
            if self.held.is_empty() {
                // Most connections are idle most of the time, and need no buffer then.
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

    /// Passes nothing more of the client's on. `held` has the bytes before, all of them admitted.
    fn refuse(&mut self, refusal: Refusal) {
        if self.framing.is_between_requests() {
            let _ = self.state.refused.set((self.framing.heads(), refusal));
            self.held.extend_from_slice(STAND_IN);
            self.admitted = self.held.len();
        } else {
            // The refused bytes belong to a body whose head has been passed on. hyper sends no
            // response to an incomplete request, so the refusal is sent here, unless a response has
            // begun.
            let begun =
                self.state.answered.load(Relaxed) >= self.framing.heads() || self.write_until.is_some();
            let answer = if begun { Vec::new() } else { response(refusal) };
            self.held.clear();
            self.admitted = 0;
            self.close = Some(LingeringClose::new(&answer));
        }
    }

    /// Returns true if a head has taken too long: one that has begun, or the connection's first.
    fn is_head_late(&mut self, cx: &mut Context<'_>) -> bool {
        let awaited = !self.held.is_empty() || self.framing.heads() == 0;
        if !(awaited && self.framing.is_between_requests()) {
            self.head_until = None;
            return false;
        }
        let timeout = self.limits.head_timeout;
        self.head_until.get_or_insert_with(|| Box::pin(sleep(timeout))).as_mut().poll(cx).is_ready()
    }

    /// Returns the result of a write. Fails if the client has taken nothing for too long.
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

/// Returns a refusal as a whole HTTP/1.1 response, for a connection that hyper has given up.
fn response(refusal: Refusal) -> Vec<u8> {
    let status = refusal.status();
    let mut text = Problem::from(refusal).titled(refusal.title()).to_json();
    text.push('\n');
    let length = text.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\ncache-control: no-store\r\n\
         connection: close\r\ncontent-length: {length}\r\n\r\n{text}"
    )
    .into_bytes()
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
                // The refusal is on its way, and closes the connection. Reading on could find the
                // client's end, which keeps hyper from sending the refusal.
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
                        // The client has sent no part of a request, so there is nothing to respond
                        // to.
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
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(cx);
        this.in_time(cx, flushed)
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
