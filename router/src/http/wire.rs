//! A client's connection as hyper sees it: only whole heads of requests that can be read in one way, and
//! writes that end. What [`Framing`] refuses is turned into the refusal's answer.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::Bounds;
use super::door::Permit;
use super::framing::{Framing, Refusal};
use super::problem::Problem;

/// Read at once where hyper offers less room (its look at the first bytes has 24): more than most heads.
const PIECE: usize = 2048;

/// What hyper is given in place of a head that is refused, so that it answers when it is that one's turn.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

/// How long a client that was answered in the middle of its request may go on sending: were it closed on at
/// once, the kernel would reset the connection, and the answer could be lost on its way.
const LINGER: Duration = Duration::from_secs(1);

/// What is read of it meanwhile, in bytes.
const LINGER_BYTES: usize = 1 << 20;

/// What the connection's two ends inside the router say to each other: [`Wire`] and the service.
#[derive(Debug, Default)]
pub(super) struct Signs {
    /// The number of the request that is refused, and why.
    refused: OnceLock<(u64, Refusal)>,
    /// Answers that have begun.
    answered: AtomicU64,
    /// Protocols were switched.
    switched: AtomicBool,
}

impl Signs {
    /// Why the connection's request of that number, from 0, is not to be served.
    pub(super) fn refusal(&self, number: u64) -> Option<Refusal> {
        self.refused.get().filter(|(refused, _)| *refused == number).map(|(_, refusal)| *refusal)
    }

    pub(super) fn answer(&self) {
        self.answered.fetch_add(1, Relaxed);
    }

    pub(super) fn switch(&self) {
        self.switched.store(true, Relaxed);
    }
}

/// A connection of a client, from its first byte to its last.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    framing: Framing,
    signs: Arc<Signs>,
    /// Read, and not passed on yet: for want of room, or because it is part of something.
    held: BytesMut,
    /// How much of it may be passed on.
    admitted: usize,
    /// When the head that has begun must be complete.
    head_until: Option<Pin<Box<Sleep>>>,
    /// When something must have been written.
    write_until: Option<Pin<Box<Sleep>>>,
    farewell: Option<Farewell>,
    head_timeout: Duration,
    write_timeout: Duration,
    ended: bool,
    _permit: Permit,
}

/// The last things that are done on a connection whose client has not finished its request.
#[derive(Debug)]
struct Farewell {
    unsent: BytesMut,
    shut: bool,
    until: Pin<Box<Sleep>>,
    left: usize,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, permit: Permit, bounds: &Bounds) -> (Self, Arc<Signs>) {
        let signs = Arc::new(Signs::default());
        let wire = Self {
            stream,
            framing: Framing::new(bounds.max_head),
            signs: signs.clone(),
            held: BytesMut::new(),
            admitted: 0,
            head_until: None,
            write_until: None,
            farewell: None,
            head_timeout: bounds.head_timeout,
            write_timeout: bounds.body_timeout,
            ended: false,
            _permit: permit,
        };
        (wire, signs)
    }

    /// Reads into hyper's buffer, and takes back what is incomplete.
    fn read_in_place(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let read = &buffer.filled()[before..];
        self.ended = read.is_empty();
        let passed = match self.framing.look(read) {
            Ok(passed) => {
                self.held.extend_from_slice(&read[passed..]);
                passed
            }
            Err((passed, refusal)) => {
                self.refuse(refusal);
                passed
            }
        };
        buffer.set_filled(before + passed);
        Poll::Ready(Ok(()))
    }

    /// Reads behind what is incomplete.
    fn read_behind(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut piece = [MaybeUninit::uninit(); PIECE];
        let mut piece = ReadBuf::uninit(&mut piece);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut piece))?;
        self.ended = piece.filled().is_empty();
        self.held.extend_from_slice(piece.filled());
        match self.framing.look(&self.held) {
            Ok(passed) => self.admitted = passed,
            Err((passed, refusal)) => {
                self.held.truncate(passed);
                self.refuse(refusal);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// From here on nothing of the client's is passed on. `held` has what comes before.
    fn refuse(&mut self, refusal: Refusal) {
        if self.framing.is_between_requests() {
            let _ = self.signs.refused.set((self.framing.heads(), refusal));
            self.held.extend_from_slice(STAND_IN);
            self.admitted = self.held.len();
        } else {
            // The body's, whose request has been passed on: it is never completed. hyper answers nothing
            // then, so it is done here, unless it has begun to.
            let begun =
                self.signs.answered.load(Relaxed) >= self.framing.heads() || self.write_until.is_some();
            let answer = if begun { Vec::new() } else { Problem::Refused(refusal).to_http() };
            self.held.clear();
            self.admitted = 0;
            self.farewell = Some(Farewell::new(&answer));
        }
    }

    /// Whether a head that has begun has taken too long.
    fn is_head_late(&mut self, cx: &mut Context<'_>) -> bool {
        let begun = self.framing.is_between_requests() && !self.held.is_empty();
        if !begun {
            self.head_until = None;
            return false;
        }
        let timeout = self.head_timeout;
        self.head_until.get_or_insert_with(|| Box::pin(sleep(timeout))).as_mut().poll(cx).is_ready()
    }

    /// What a write came to; a client that takes nothing for long is given up.
    fn in_time<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.write_until = None;
        } else if !self.signs.switched.load(Relaxed) {
            let timeout = self.write_timeout;
            ready!(self.write_until.get_or_insert_with(|| Box::pin(sleep(timeout))).as_mut().poll(cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        written
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.admitted > 0 {
                let length = this.admitted.min(buffer.remaining());
                buffer.put_slice(&this.held[..length]);
                this.held.advance(length);
                this.admitted -= length;
                if this.held.is_empty() {
                    // Many connections are idle most of the time.
                    this.held = BytesMut::new();
                }
                return Poll::Ready(Ok(()));
            }
            if let Some(farewell) = &mut this.farewell {
                ready!(farewell.poll(cx, &mut this.stream));
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
            if this.signs.refused.get().is_some() {
                // The answer is on its way, and closes the connection. To read on could tell hyper of an
                // end that keeps it from answering.
                return Poll::Pending;
            }
            let before = buffer.filled().len();
            let in_place = this.held.is_empty() && buffer.remaining() >= PIECE;
            let read = if in_place { this.read_in_place(cx, buffer) } else { this.read_behind(cx) };
            if read.is_pending() {
                if this.is_head_late(cx) {
                    this.held.clear();
                    this.refuse(Refusal::HeadTooSlow);
                    continue;
                }
                return Poll::Pending;
            }
            ready!(read)?;
            if this.ended || buffer.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.farewell.is_some() {
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
        let finished = finished || this.framing.is_between_requests() && this.signs.refused.get().is_none();
        if finished {
            return Pin::new(&mut this.stream).poll_shutdown(cx);
        }
        let farewell = this.farewell.get_or_insert_with(|| Farewell::new(&[]));
        farewell.poll(cx, &mut this.stream).map(Ok)
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
        if this.farewell.is_some() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, buffers);
        this.in_time(cx, written)
    }
}

impl Farewell {
    fn new(answer: &[u8]) -> Self {
        Self { unsent: answer.into(), shut: false, until: Box::pin(sleep(LINGER)), left: LINGER_BYTES }
    }

    /// Sends what is to be sent, says that it was the last, and waits for the client to hang up.
    fn poll(&mut self, cx: &mut Context<'_>, stream: &mut TcpStream) -> Poll<()> {
        if self.until.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        while !self.unsent.is_empty() {
            match ready!(Pin::new(&mut *stream).poll_write(cx, &self.unsent)) {
                Ok(length) if length > 0 => self.unsent.advance(length),
                _ => return Poll::Ready(()),
            }
        }
        if !self.shut {
            let shut = ready!(Pin::new(&mut *stream).poll_shutdown(cx));
            if shut.is_err() {
                return Poll::Ready(());
            }
            self.shut = true;
        }
        let mut piece = [MaybeUninit::uninit(); PIECE];
        while self.left > 0 {
            let mut piece = ReadBuf::uninit(&mut piece);
            let read = ready!(Pin::new(&mut *stream).poll_read(cx, &mut piece));
            if read.is_err() || piece.filled().is_empty() {
                break;
            }
            self.left = self.left.saturating_sub(piece.filled().len());
        }
        Poll::Ready(())
    }
}
