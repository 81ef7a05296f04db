//! The end of a connection while its client may still be sending. If it were closed at once, the
//! kernel would answer further bytes with a reset, and the client could lose the response.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::socket::Stream;
use super::upload::MIN_RATE;

/// The longest time for which a client is read from after its response. nginx's `lingering_time`.
const LINGER: Duration = Duration::from_secs(30);

/// The longest pause of a client meanwhile: one that has its response hangs up at once. nginx's
/// `lingering_timeout`.
const PAUSE: Duration = Duration::from_secs(5);

/// The most bytes that are read and dropped: a few seconds of a fast line.
const BYTES: u64 = 1 << 30;

/// The size of one read, in bytes: fits on the stack, and large enough to make system calls cheap
/// in comparison.
const PIECE: usize = 16 * 1024;

/// Sends the last bytes, ends the outgoing direction, and keeps reading until the client hangs up.
#[derive(Debug)]
pub struct LingeringClose {
    unsent: BytesMut,
    shut: bool,
    begun: Instant,
    until: Pin<Box<Sleep>>,
    pause: Option<Pin<Box<Sleep>>>,
    left: u64,
}

impl LingeringClose {
    /// Ends a connection after `unsent`.
    pub fn new(unsent: &[u8]) -> Self {
        let until = Box::pin(sleep(LINGER));
        Self { unsent: unsent.into(), shut: false, begun: Instant::now(), until, pause: None, left: BYTES }
    }

    /// Returns true if the client only drips: the minimum rate is that of request bodies.
    fn is_slow(&self) -> bool {
        let earned = Duration::from_secs((BYTES - self.left) / MIN_RATE);
        self.begun.elapsed() > PAUSE + earned
    }

    /// Returns ready when the connection can be dropped.
    pub fn poll(&mut self, cx: &mut Context<'_>, stream: &mut Stream) -> Poll<()> {
        if self.until.as_mut().poll(cx).is_ready() || ready!(self.poll_send(cx, stream)).is_err() {
            return Poll::Ready(());
        }
        let mut piece = [MaybeUninit::uninit(); PIECE];
        while self.left > 0 {
            let mut piece = ReadBuf::uninit(&mut piece);
            let Poll::Ready(read) = Pin::new(&mut *stream).poll_read(cx, &mut piece) else {
                return self.pause.get_or_insert_with(|| Box::pin(sleep(PAUSE))).as_mut().poll(cx);
            };
            self.pause = None;
            self.left = self.left.saturating_sub(piece.filled().len() as u64);
            if read.is_err() || piece.filled().is_empty() || self.is_slow() {
                break;
            }
        }
        Poll::Ready(())
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, stream: &mut Stream) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            match ready!(Pin::new(&mut *stream).poll_write(cx, &self.unsent))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                length => self.unsent.advance(length),
            }
        }
        if !self.shut {
            ready!(Pin::new(&mut *stream).poll_shutdown(cx))?;
            self.shut = true;
        }
        Poll::Ready(Ok(()))
    }
}
