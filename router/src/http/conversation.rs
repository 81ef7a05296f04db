//! The requests on one connection: how many there were, how many are being answered, and since when nobody
//! has asked for anything.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::Bounds;
use super::body::Body;

/// What a connection's service and its owner both look at.
#[derive(Debug)]
pub(super) struct Conversation {
    begun: Cell<u64>,
    in_flight: Cell<u64>,
    idle_since: Cell<Instant>,
    /// Answers of streams, of which hyper takes one piece when the client has room for it.
    streams: RefCell<BTreeMap<u64, Rc<Stream>>>,
    enough: Notify,
}

/// One request being answered.
#[derive(Debug)]
pub(super) struct Turn {
    conversation: Rc<Conversation>,
    /// Its number on the connection, from 0.
    pub(super) number: u64,
}

/// An answer beside others on its connection.
#[derive(Debug)]
pub(super) struct Stream {
    body: RefCell<Option<Body>>,
    /// Since when it is the client's turn. `None`: it is the project's.
    waiting: Cell<Option<Instant>>,
}

impl Conversation {
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self {
            begun: Cell::new(0),
            in_flight: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
            streams: RefCell::default(),
            enough: Notify::new(),
        })
    }

    pub(super) fn begin(self: &Rc<Self>) -> Turn {
        let number = self.begun.get();
        self.begun.set(number + 1);
        self.in_flight.set(self.in_flight.get() + 1);
        Turn { conversation: self.clone(), number }
    }

    /// No more requests are wanted on this connection.
    pub(super) fn end(&self) {
        self.enough.notify_one();
    }

    /// Returns after [`Conversation::end`].
    pub(super) async fn ended(&self) {
        self.enough.notified().await;
    }

    /// Returns when nothing has been in flight for too long, from now on.
    pub(super) async fn idle(&self, bounds: &Bounds) {
        let begin = Instant::now();
        // What is waited for can change meanwhile.
        let look = bounds.head_timeout.min(bounds.idle_timeout).min(bounds.body_timeout);
        loop {
            let limit = if self.begun.get() == 0 { bounds.head_timeout } else { bounds.idle_timeout };
            let now = Instant::now();
            let since = if self.in_flight.get() > 0 { now } else { self.idle_since.get().max(begin) };
            if now >= since + limit {
                return;
            }
            sleep_until((since + limit).min(now + look)).await;
            self.drop_stalled(bounds.body_timeout);
        }
    }

    /// Drops the answers of which the client has taken nothing for `patience`: a stream of HTTP/2 can stand
    /// still while its connection does not.
    fn drop_stalled(&self, patience: Duration) {
        let late = |stream: &&Rc<Stream>| stream.waiting.get().is_some_and(|at| at.elapsed() >= patience);
        let stalled: Vec<_> = self.streams.borrow().values().filter(late).cloned().collect();
        for stream in stalled {
            stream.body.take();
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Self { conversation, number } = self;
        conversation.in_flight.set(conversation.in_flight.get() - 1);
        conversation.idle_since.set(Instant::now());
        conversation.streams.borrow_mut().remove(number);
    }
}

/// A response's body, with the request's place in the conversation.
#[derive(Debug)]
pub(super) enum Answer {
    /// On a connection of its own, whose writes are timed.
    Whole { body: Body, _turn: Turn },
    /// Beside others.
    Stream { stream: Rc<Stream>, _turn: Turn },
}

/// The client took nothing of the answer for too long.
#[derive(Debug, thiserror::Error)]
#[error("the client does not read the answer")]
struct Unread;

impl Turn {
    pub(super) fn answer(self, body: Body) -> Answer {
        Answer::Whole { body, _turn: self }
    }

    /// An answer that is given up when the client leaves it standing: see [`Conversation::drop_stalled`].
    pub(super) fn answer_stream(self, body: Body) -> Answer {
        let waiting = Cell::new(Some(Instant::now()));
        let stream = Rc::new(Stream { body: RefCell::new(Some(body)), waiting });
        self.conversation.streams.borrow_mut().insert(self.number, stream.clone());
        Answer::Stream { stream, _turn: self }
    }
}

impl hyper::body::Body for Answer {
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
                stream.waiting.set(frame.is_ready().then(Instant::now));
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
