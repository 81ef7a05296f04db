//! Bodies on their way through: limited in size and time towards the cell, counted towards the client.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use super::pool::Exchange;
use crate::drain::Guard;

/// The least that a body is sent with on average, once its first patience is used up, in bytes a second:
/// less than the slowest of networks, and more than an attacker who wants thousands of places can spare.
const MIN_RATE: u64 = 1024;

/// A request body that ends in an error when it grows past its limit, or hardly at all.
#[derive(Debug)]
pub(super) struct Limited {
    body: Incoming,
    left: u64,
    pace: Pace,
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

/// A request body is larger than `--max-body`.
#[derive(Debug, thiserror::Error)]
#[error("the request body is larger than is allowed")]
pub(super) struct TooLarge;

/// A request body does not come, or comes too slowly.
#[derive(Debug, thiserror::Error)]
#[error("the request body did not come in time")]
pub(super) struct TooSlow;

impl Limited {
    /// `pause` is the longest time between two pieces.
    pub(super) fn new(body: Incoming, limit: u64, pause: Duration) -> Self {
        Self { body, left: limit, pace: Pace { pause, left: pause, waiting: None } }
    }
}

impl Pace {
    /// Whether the client, of which there is nothing now, has been waited for too long.
    ///
    /// Only the time in which somebody waits for it counts, not that in which the project takes nothing.
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

impl hyper::body::Body for Limited {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            if self.pace.is_over(cx) {
                return Poll::Ready(Some(Err(Box::new(TooSlow))));
            }
            return Poll::Pending;
        };
        let Some(frame) = frame else { return Poll::Ready(None) };
        let frame = frame?;
        if let Some(data) = frame.data_ref() {
            let length = data.len() as u64;
            self.pace.came(length);
            match self.left.checked_sub(length) {
                Some(left) => self.left = left,
                None => return Poll::Ready(Some(Err(Box::new(TooLarge)))),
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A response body.
#[derive(Debug)]
pub(super) enum Body {
    /// The router's own.
    Own(Full<Bytes>),
    /// A project's, with the request's place among those in flight.
    Proxied { exchange: Exchange, _guard: Guard },
    /// A project's refusal to switch protocols: on a connection of its own.
    Refused { body: Incoming, _guard: Guard },
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(text: T) -> Self {
        Self::Own(Full::new(text.into()))
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Own(full) => Pin::new(full).poll_frame(cx).map_err(|never: Infallible| match never {}),
            Self::Proxied { exchange, .. } => exchange.poll_frame(cx),
            Self::Refused { body, .. } => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(full) => full.is_end_stream(),
            Self::Proxied { exchange, .. } => exchange.is_end_stream(),
            Self::Refused { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(full) => full.size_hint(),
            Self::Proxied { exchange, .. } => exchange.size_hint(),
            Self::Refused { body, .. } => body.size_hint(),
        }
    }
}
