//! A request's body on its way to whoever answers: limited in size and pace. How far it has come decides
//! when the time for the answer begins.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use super::turn::Turn;

/// The least that a body is sent with on average, once its first pause is used up, in bytes a second:
/// less than the slowest of networks, and more than an attacker who wants thousands of connections can spare.
pub(super) const MIN_RATE: u64 = 1024;

/// A request body that ends in an error when it grows past its limit, or hardly at all.
#[derive(Debug)]
pub struct Upload {
    body: Incoming,
    left: u64,
    pace: Pace,
    turn: Turn,
    /// `None`: there is no body.
    progress: Option<Arc<Progress>>,
}

/// How far a request's body has come.
#[derive(Debug)]
pub struct Progress {
    begun: Instant,
    /// In microseconds since then: when the receiver last got something, or was given the end.
    handed_on: AtomicU64,
    /// The receiver has all that has come, and the client has not ended the body.
    awaited: AtomicBool,
    over: AtomicBool,
    failed: AtomicBool,
}

/// How long the client has been waited for, and may be.
#[derive(Debug)]
struct Pace {
    /// The longest pause.
    pause: Duration,
    /// All pauses together may take this long still. What comes adds to it.
    left: Duration,
    /// The pause that is now.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

/// What is wrong with the client's part of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UploadError {
    #[error("the request body is larger than is allowed")]
    TooLarge,
    #[error("the request body did not come in time")]
    TooSlow,
    #[error("the body of the request broke off")]
    BrokenOff,
}

impl UploadError {
    /// The reason for an error of the connection that the body went to, if it is the client's doing.
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
    /// `limit` is in bytes, `pause` the longest time between two pieces.
    pub fn new(body: Incoming, limit: u64, pause: Duration) -> Self {
        let progress = (!body.is_end_stream()).then(|| Arc::new(Progress::new()));
        let pace = Pace { pause, left: pause, waiting: None };
        Self { body, left: limit, pace, turn: Turn::default(), progress }
    }

    /// `None`: there is no body.
    pub fn progress(&self) -> Option<&Arc<Progress>> {
        self.progress.as_ref()
    }

    fn note(&self, what: impl FnOnce(&Progress)) {
        if let Some(progress) = &self.progress {
            what(progress);
        }
    }

    fn take(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, UploadError> {
        if let Some(data) = frame.data_ref() {
            let length = data.len() as u64;
            self.turn.count(data.len());
            self.pace.came(length);
            self.left = self.left.checked_sub(length).ok_or(UploadError::TooLarge)?;
        }
        Ok(frame)
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

    /// How much of the receiver's time for its answer is left. `limit` is all of it: it counts from the end of the body,
    /// or from the last piece while the receiver takes no more of it. `None`: none is left.
    pub fn time_left(&self, limit: Duration) -> Option<Duration> {
        if self.awaited.load(Relaxed) && !self.over.load(Relaxed) {
            return Some(limit);
        }
        self.left_after(self.begun.elapsed(), limit)
    }

    /// The same, `now` after the beginning, when it is not the client's turn.
    fn left_after(&self, now: Duration, limit: Duration) -> Option<Duration> {
        let used = now.saturating_sub(Duration::from_micros(self.handed_on.load(Relaxed)));
        limit.checked_sub(used).filter(|left| !left.is_zero())
    }

    /// Whether the receiver has all of the body.
    pub fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }

    /// Whether the client's part went wrong.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Relaxed)
    }

    fn handed_on(&self) {
        self.awaited.store(false, Relaxed);
        self.handed_on_after(self.begun.elapsed());
    }

    fn handed_on_after(&self, now: Duration) {
        let micros = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        self.handed_on.store(micros, Relaxed);
    }

    fn end(&self) {
        self.handed_on();
        self.over.store(true, Relaxed);
    }
}

impl Pace {
    /// Whether the client, of which there is nothing now, has been waited for too long.
    ///
    /// Only the time in which somebody waits for it counts, not that in which the receiver takes nothing.
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        let longest = self.pause.min(self.left);
        let begin = || (Instant::now(), Box::pin(sleep(longest)));
        let (_, over) = self.waiting.get_or_insert_with(begin);
        over.as_mut().poll(cx).is_ready()
    }

    fn came(&mut self, length: u64) {
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
        ready!(this.turn.poll_begin(cx));
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        if polled.is_pending() {
            this.turn.end();
            this.note(|progress| progress.awaited.store(true, Relaxed));
            if !this.pace.is_over(cx) {
                return Poll::Pending;
            }
            this.note(|progress| progress.failed.store(true, Relaxed));
            return Poll::Ready(Some(Err(UploadError::TooSlow)));
        }
        let frame = match ready!(polled) {
            None => {
                this.note(Progress::end);
                return Poll::Ready(None);
            }
            Some(Ok(frame)) => this.take(frame),
            Some(Err(_)) => Err(UploadError::BrokenOff),
        };
        match &frame {
            Ok(_) if this.body.is_end_stream() => this.note(Progress::end),
            Ok(_) => this.note(Progress::handed_on),
            Err(_) => this.note(|progress| progress.failed.store(true, Relaxed)),
        }
        Poll::Ready(Some(frame))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[test]
    fn the_receivers_time_counts_from_what_it_got_last() {
        let progress = Progress::new();
        let second = Duration::from_secs(1);
        assert_eq!(progress.left_after(9 * second, LIMIT), Some(second));
        progress.handed_on_after(9 * second);
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
