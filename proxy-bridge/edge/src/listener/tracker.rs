//! The requests on one connection: how many there were, how many are in flight, and how long the
//! connection has been idle.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::{HandlerBody, ListenerLimits};

/// Time beyond the head timeout for a connection without a request. A slow first head is refused
/// with a response by the guarded stream, which must come first; without any bytes of a request
/// (HTTP/2) only the tracker closes the connection.
const FIRST_HEAD_MARGIN: Duration = Duration::from_secs(1);

/// The state that a connection's service and its task share. `B` is the body of responses.
#[derive(Debug)]
pub(super) struct ConnectionTracker<B> {
    /// Requests so far.
    begun: Cell<u64>,
    in_flight: Cell<u64>,
    idle_since: Cell<Instant>,
    /// Responses on HTTP/2 streams, by the request's number. hyper polls one only when the client
    /// has room for more.
    streams: RefCell<BTreeMap<u64, Rc<StreamBody<B>>>>,
    closing: Notify,
}

/// A request from its head to the last byte of its response.
#[derive(Debug)]
pub(super) struct InFlightRequest<B> {
    tracker: Rc<ConnectionTracker<B>>,
    /// The request's number on its connection, from 0.
    pub(super) number: u64,
}

/// A response body that shares its connection with others.
#[derive(Debug)]
pub(super) struct StreamBody<B> {
    /// `None` after the body was dropped because the client stalled.
    body: RefCell<Option<B>>,
    /// Time at which the next piece was offered to the client. `None` while the next piece is
    /// awaited.
    ready_since: Cell<Option<Instant>>,
}

impl<B> ConnectionTracker<B> {
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self {
            begun: Cell::new(0),
            in_flight: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
            streams: RefCell::default(),
            closing: Notify::new(),
        })
    }

    /// Counts a new request.
    pub(super) fn begin(self: &Rc<Self>) -> InFlightRequest<B> {
        let number = self.begun.get();
        self.begun.set(number + 1);
        self.in_flight.set(self.in_flight.get() + 1);
        InFlightRequest { tracker: self.clone(), number }
    }

    /// Asks the connection's task to take no more requests.
    pub(super) fn close(&self) {
        self.closing.notify_one();
    }

    /// Resolves after [`ConnectionTracker::close`].
    pub(super) async fn closed(&self) {
        self.closing.notified().await;
    }

    /// Resolves when no request has been in flight for longer than the limits allow, counted from
    /// this call on. Meanwhile drops the responses of stalled streams.
    pub(super) async fn idle(&self, limits: &ListenerLimits) {
        let begin = Instant::now();
        // The deadline can change while it is slept for.
        let check = limits.head_timeout.min(limits.idle_timeout).min(limits.body_timeout);
        loop {
            let limit = match self.begun.get() {
                0 => limits.head_timeout + FIRST_HEAD_MARGIN,
                _ => limits.idle_timeout,
            };
            let now = Instant::now();
            let since = if self.in_flight.get() > 0 { now } else { self.idle_since.get().max(begin) };
            if now >= since + limit {
                return;
            }
            sleep_until((since + limit).min(now + check)).await;
            self.drop_stalled(limits.body_timeout);
        }
    }

    /// Drops the response bodies of which the client has taken nothing for `limit`: an HTTP/2
    /// stream can stall while its connection does not.
    fn drop_stalled(&self, limit: Duration) {
        let is_late =
            |stream: &&Rc<StreamBody<B>>| stream.ready_since.get().is_some_and(|at| at.elapsed() >= limit);
        let stalled: Vec<_> = self.streams.borrow().values().filter(is_late).cloned().collect();
        for stream in stalled {
            stream.body.take();
        }
    }
}

impl<B> Drop for InFlightRequest<B> {
    fn drop(&mut self) {
        let Self { tracker, number } = self;
        tracker.in_flight.set(tracker.in_flight.get() - 1);
        tracker.idle_since.set(Instant::now());
        tracker.streams.borrow_mut().remove(number);
    }
}

/// A response body that keeps its request in flight.
#[derive(Debug)]
pub(super) enum TrackedBody<B> {
    /// The only response on its connection at this time: the connection's writes are timed.
    Whole { body: B, _request: InFlightRequest<B> },
    /// A response beside others, dropped if the client stalls: see [`ConnectionTracker::idle`].
    Stream { stream: Rc<StreamBody<B>>, _request: InFlightRequest<B> },
}

/// The client took nothing of a response for too long.
#[derive(Debug, thiserror::Error)]
#[error("the client does not read the response")]
struct Unread;

impl<B> InFlightRequest<B> {
    /// Returns the response's body on a connection without other responses.
    pub(super) fn body(self, body: B) -> TrackedBody<B> {
        TrackedBody::Whole { body, _request: self }
    }

    /// Returns the response's body on an HTTP/2 connection.
    pub(super) fn stream_body(self, body: B) -> TrackedBody<B> {
        let ready_since = Cell::new(Some(Instant::now()));
        let stream = Rc::new(StreamBody { body: RefCell::new(Some(body)), ready_since });
        self.tracker.streams.borrow_mut().insert(self.number, stream.clone());
        TrackedBody::Stream { stream, _request: self }
    }
}

impl<B: HandlerBody> Body for TrackedBody<B> {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Whole { body, .. } => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::Stream { stream, .. } => {
                let mut body = stream.body.borrow_mut();
                let Some(body) = body.as_mut() else { return Poll::Ready(Some(Err(Unread.into()))) };
                let frame = Pin::new(body).poll_frame(cx);
                stream.ready_since.set(frame.is_ready().then(Instant::now));
                frame.map_err(Into::into)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole { body, .. } => body.is_end_stream(),
            Self::Stream { stream, .. } => stream.body.borrow().as_ref().is_some_and(Body::is_end_stream),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole { body, .. } => body.size_hint(),
            Self::Stream { stream, .. } => {
                stream.body.borrow().as_ref().map_or_else(SizeHint::default, Body::size_hint)
            }
        }
    }
}
