//! Bodies on their way through: limited towards the cell, counted towards the client.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Frame, Incoming, SizeHint};

use super::pool::Exchange;
use crate::drain::Guard;
use crate::slots::Slot;

/// A request body that ends in an error when it grows past its limit.
#[derive(Debug)]
pub(super) struct Limited {
    body: Incoming,
    left: u64,
}

/// A request body is larger than its project's limit.
#[derive(Debug, thiserror::Error)]
#[error("the request body is larger than is allowed")]
pub(super) struct TooLarge;

impl Limited {
    pub(super) fn new(body: Incoming, limit: u64) -> Self {
        Self { body, left: limit }
    }
}

impl hyper::body::Body for Limited {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)) else { return Poll::Ready(None) };
        let frame = frame?;
        if let Some(data) = frame.data_ref() {
            let length = data.len() as u64;
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
    /// A project's, with the request's place among those in flight. The guard is given up when the
    /// cell breaks off.
    Proxied { exchange: Exchange, guard: Option<Guard>, _slot: Slot },
    /// A project's refusal to switch protocols: on a connection of its own.
    Refused { body: Incoming, _guard: Guard, _slot: Slot },
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
            Self::Proxied { exchange, guard, .. } => {
                let frame = exchange.poll_frame(cx);
                if matches!(frame, Poll::Ready(Some(Err(_)))) {
                    guard.take().into_iter().for_each(Guard::broke);
                }
                frame
            }
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
