//! Bodies on their way through: never held, only handed on.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{Either, Empty, Full};
use hyper::body::{Frame, SizeHint};

use super::pool::Exchange;
use crate::routers::InFlight;
use switchyard_edge::fair::FairBody;

/// A request's body. The empty one can be had again.
pub(super) type Upload = Either<switchyard_edge::upload::Upload, Empty<Bytes>>;

/// An answer's body, and what lasts as long as it does.
#[derive(Debug)]
pub(super) struct Body {
    source: Source,
    _in_flight: Option<InFlight>,
}

#[derive(Debug)]
enum Source {
    Own(Full<Bytes>),
    Router(FairBody<Exchange>),
}

impl Body {
    pub(super) fn own(text: impl Into<Bytes>) -> Self {
        Self { source: Source::Own(Full::new(text.into())), _in_flight: None }
    }

    pub(super) fn of_router(exchange: Exchange, in_flight: InFlight) -> Self {
        Self { source: Source::Router(FairBody::new(exchange)), _in_flight: Some(in_flight) }
    }

    /// Whether the bridge answers itself.
    pub(super) fn is_own(&self) -> bool {
        matches!(self.source, Source::Own(_))
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.get_mut().source {
            Source::Own(full) => Pin::new(full).poll_frame(cx).map_err(|never: Infallible| match never {}),
            Source::Router(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Own(full) => full.is_end_stream(),
            Source::Router(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Own(full) => full.size_hint(),
            Source::Router(body) => body.size_hint(),
        }
    }
}
