//! Response bodies on their way through, which are never held as a whole.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Frame, SizeHint};
use switchyard_edge::fair::FairBody;
use switchyard_edge::listener::HandlerBody;

use super::connector::RouterBody;
use crate::routers::InFlight;

/// A response's body.
#[derive(Debug)]
pub(super) enum Body {
    /// A response of the bridge's own.
    Own(Full<Bytes>),
    /// A router's response, which counts as in flight there.
    Router { body: FairBody<RouterBody>, _in_flight: InFlight },
}

impl Body {
    pub(super) fn own(text: impl Into<Bytes>) -> Self {
        Self::Own(Full::new(text.into()))
    }

    pub(super) fn of_router(body: RouterBody, in_flight: InFlight) -> Self {
        Self::Router { body: FairBody::new(body), _in_flight: in_flight }
    }
}

impl HandlerBody for Body {
    fn is_own(&self) -> bool {
        matches!(self, Self::Own(_))
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
            Self::Router { body, .. } => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(full) => full.is_end_stream(),
            Self::Router { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(full) => full.size_hint(),
            Self::Router { body, .. } => body.size_hint(),
        }
    }
}
