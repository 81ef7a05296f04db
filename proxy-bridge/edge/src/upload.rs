//! Request bodies on their way to a server: limited in size and pace. The progress of a body
//! decides when the time for the response begins.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body_util::{Either, Empty};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use super::turn::Turn;

/// The lowest average rate of a body once its first pause is used up, in bytes per second: below
/// the slowest of networks, and above what an attacker with thousands of connections can spare.
pub(super) const MIN_RATE: u64 = 1024;

/// Returns the length in bytes that a head announces for its body. `None`: none, or not as one number.
#[must_use]
pub fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A request body on its way to a server.
pub trait RequestBody:
    Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static
{
    /// The progress of the body. `None` if the request has none.
    fn progress(&self) -> Option<&Arc<Progress>>;
}

/// A request body that ends in an error when it is larger than its limit, or too slow.
#[derive(Debug)]
pub struct Upload {
    body: Incoming,
    /// The beginning of the body, if it was put back.
    unread: Bytes,
    /// Bytes that may still come.
    left: u64,
    pace: Pace,
    turn: Turn,
    /// `None` if the request has no body.
    progress: Option<Arc<Progress>>,
}

/// The progress of a request's body.
#[derive(Debug)]
pub struct Progress {
    begun: Instant,
    /// The time at which the server last got a piece, or the end, in microseconds since `begun`.
    handed_on: AtomicU64,
    /// The server has everything that the client has sent, and the body has not ended.
    awaited: AtomicBool,
    over: AtomicBool,
    failed: AtomicBool,
}

/// The time that a client takes to send a body.
#[derive(Debug)]
struct Pace {
    /// The longest pause.
    pause: Duration,
    /// The time that all further pauses may take together. Each byte adds to it.
    left: Duration,
    /// The current pause: its beginning and its end.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

/// The client's failure to send a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UploadError {
    /// The body is larger than its limit.
    #[error("the request body is larger than the limit")]
    TooLarge,
    /// The client paused for too long, or sends too slowly.
    #[error("the request body did not arrive in time")]
    TooSlow,
    /// The connection ended, or the body's framing is invalid.
    #[error("the body of the request broke off")]
    BrokenOff,
}

impl UploadError {
    /// Returns the client's failure that caused an error of the connection to the server. `None` if
    /// the error has another cause.
    pub fn behind(error: &hyper::Error) -> Option<Self> {
        if !error.is_user() {
            return None;
        }
        let mut cause: Option<&dyn std::error::Error> = Some(error);
        while let Some(error) = cause {
            if let Some(found) = error.downcast_ref::<Self>() {
                return Some(*found);
            }
            cause = error.source();
        }
        Some(Self::BrokenOff)
    }
}

impl Upload {
    /// Limits `body` to `limit` bytes, and to pauses of at most `pause` between two pieces.
    pub fn new(body: Incoming, limit: u64, pause: Duration) -> Self {
        let progress = (!body.is_end_stream()).then(|| Arc::new(Progress::new()));
        let pace = Pace { pause, left: pause, waiting: None };
        Self { body, unread: Bytes::new(), left: limit, pace, turn: Turn::default(), progress }
    }

    /// Puts back the first piece of the body, which was taken and did not reach the server.
    pub fn put_back(&mut self, piece: Bytes) {
        self.unread = piece;
    }

    fn update(&self, update: impl FnOnce(&Progress)) {
        if let Some(progress) = &self.progress {
            update(progress);
        }
    }

    /// Counts a frame.
    fn count(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, UploadError> {
        if let Some(data) = frame.data_ref() {
            let length = data.len() as u64;
            self.turn.count(data.len());
            self.pace.resume(length);
            self.left = self.left.checked_sub(length).ok_or(UploadError::TooLarge)?;
        }
        Ok(frame)
    }
}

impl RequestBody for Upload {
    fn progress(&self) -> Option<&Arc<Progress>> {
        self.progress.as_ref()
    }
}

/// A body that may be replaced with an empty one, to send the request again.
impl RequestBody for Either<Upload, Empty<Bytes>> {
    fn progress(&self) -> Option<&Arc<Progress>> {
        match self {
            Self::Left(body) => body.progress(),
            Self::Right(_) => None,
        }
    }
}

impl Progress {
    fn new() -> Self {
        Self {
            begun: Instant::now(),
            handed_on: AtomicU64::new(0),
            awaited: AtomicBool::new(false),
            over: AtomicBool::new(false),
            failed: AtomicBool::new(false),
        }
    }

    /// Returns how much of `limit`, the server's time for its response, is left. The time counts
    /// from the end of the body, or from the last piece while the server takes no more of it.
    /// `None` if the time is over.
    pub fn time_left(&self, limit: Duration) -> Option<Duration> {
        if self.awaited.load(Relaxed) && !self.over.load(Relaxed) {
            return Some(limit);
        }
        self.left_after(self.begun.elapsed(), limit)
    }

    /// Returns the same while the client is not waited for. `now` counts from the beginning.
    fn left_after(&self, now: Duration, limit: Duration) -> Option<Duration> {
        let used = now.saturating_sub(Duration::from_micros(self.handed_on.load(Relaxed)));
        limit.checked_sub(used).filter(|left| !left.is_zero())
    }

    /// Returns true if the server has the whole body.
    pub fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }

    /// Returns true if the client failed to send the body.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Relaxed)
    }

    fn hand_on(&self) {
        self.awaited.store(false, Relaxed);
        self.hand_on_at(self.begun.elapsed());
    }

    fn hand_on_at(&self, now: Duration) {
        let micros = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        self.handed_on.store(micros, Relaxed);
    }

    fn end(&self) {
        self.hand_on();
        self.over.store(true, Relaxed);
    }
}

impl Pace {
    /// Returns true if the client has stalled for too long. Called when no part of the body is
    /// available. The time in which the server takes nothing does not count.
    ///
    /// The time in which the server takes nothing does not count.
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        let longest = self.pause.min(self.left);
        let begin = || (Instant::now(), Box::pin(sleep(longest)));
        let (_, over) = self.waiting.get_or_insert_with(begin);
        over.as_mut().poll(cx).is_ready()
    }

    /// Ends the current pause, with `length` bytes.
    fn resume(&mut self, length: u64) {
        let waited = self.waiting.take().map_or(Duration::ZERO, |(since, _)| since.elapsed());
        let earned = Duration::from_micros(length.saturating_mul(1_000_000) / MIN_RATE);
        self.left = self.left.saturating_sub(waited) + earned;
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let this = &mut *self;
        if !this.unread.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.unread)))));
        }
        ready!(this.turn.poll_begin(cx));
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        if polled.is_pending() {
            this.turn.end();
            this.update(|progress| progress.awaited.store(true, Relaxed));
            if !this.pace.is_over(cx) {
                return Poll::Pending;
            }
            this.update(|progress| progress.failed.store(true, Relaxed));
            return Poll::Ready(Some(Err(UploadError::TooSlow)));
        }
        let frame = match ready!(polled) {
            None => {
                this.update(Progress::end);
                return Poll::Ready(None);
            }
            Some(Ok(frame)) => this.count(frame),
            Some(Err(_)) => Err(UploadError::BrokenOff),
        };
        match &frame {
            Ok(_) if this.body.is_end_stream() => this.update(Progress::end),
            Ok(_) => this.update(Progress::hand_on),
            Err(_) => this.update(|progress| progress.failed.store(true, Relaxed)),
        }
        Poll::Ready(Some(frame))
    }

    fn is_end_stream(&self) -> bool {
        self.unread.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (hint, unread) = (self.body.size_hint(), self.unread.len() as u64);
        let mut whole = SizeHint::new();
        if let Some(upper) = hint.upper() {
            whole.set_upper(upper + unread);
        }
        whole.set_lower(hint.lower() + unread);
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[test]
    fn the_receivers_time_counts_from_its_last_bytes() {
        let progress = Progress::new();
        let second = Duration::from_secs(1);
        assert_eq!(progress.left_after(9 * second, LIMIT), Some(second));
        progress.hand_on_at(9 * second);
        assert_eq!(progress.left_after(9 * second, LIMIT), Some(LIMIT));
        assert_eq!(progress.left_after(19 * second, LIMIT), None, "it takes no more of the body");
        assert_eq!(progress.time_left(Duration::ZERO), None);
        progress.awaited.store(true, Relaxed);
        assert_eq!(progress.time_left(LIMIT), Some(LIMIT), "it is the client's turn");
        assert!(!progress.is_over() && !progress.has_failed());
        progress.end();
        assert!(progress.time_left(LIMIT).is_some_and(|left| left <= LIMIT) && progress.is_over());
    }
}
