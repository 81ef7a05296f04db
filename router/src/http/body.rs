//! Bodies of answers on their way to the client: what they come from, and what lasts as long as they do.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Frame, SizeHint};
use switchyard_edge::fair::FairBody;
use switchyard_edge::upstream::Counted;

use super::lease::{CellLease, SiteLease};
use super::pool::Exchange;
use crate::pieces::FilePieces;
use crate::slots::Slot;

/// Why a body ends too early.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error(transparent)]
    Cell(hyper::Error),
    #[error("a file cannot be read: {0}")]
    File(std::io::Error),
}

/// A response body.
#[derive(Debug)]
pub(super) enum Body {
    /// The router's own.
    Own(Full<Bytes>),
    /// A project's, with the request's place among those in flight, which is given up when the cell breaks off.
    Proxied { exchange: FairBody<Exchange>, lease: Option<CellLease>, _slot: Slot },
    /// A file of a version's, with the request's slot where the client can have many at once.
    File { pieces: FilePieces, _lease: SiteLease, _slot: Option<Slot> },
    /// A project's refusal to switch protocols: on a connection of its own.
    Refused { body: FairBody<Counted>, _lease: CellLease, _slot: Slot },
}

impl Body {
    pub(super) fn file(pieces: FilePieces, lease: SiteLease, slot: Option<Slot>) -> Self {
        Self::File { pieces, _lease: lease, _slot: slot }
    }

    /// Whether the router answers itself.
    pub(super) fn is_own(&self) -> bool {
        matches!(self, Self::Own(_))
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(text: T) -> Self {
        Self::Own(Full::new(text.into()))
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Own(full) => Pin::new(full).poll_frame(cx).map_err(|never: Infallible| match never {}),
            Self::Proxied { exchange, lease, .. } => {
                let frame = Pin::new(&mut *exchange).poll_frame(cx);
                if let Poll::Ready(Some(Err(error))) = &frame
                    && let Some(lease) = lease.take_if(|_| !exchange.get_ref().upload_failed())
                {
                    lease.broke_off(error);
                }
                frame.map_err(BodyError::Cell)
            }
            Self::File { pieces, .. } => pieces.poll_next(cx).map_ok(Frame::data).map_err(BodyError::File),
            Self::Refused { body, .. } => Pin::new(body).poll_frame(cx).map_err(BodyError::Cell),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(full) => full.is_end_stream(),
            Self::Proxied { exchange, .. } => exchange.is_end_stream(),
            Self::File { pieces, .. } => pieces.left() == 0,
            Self::Refused { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(full) => full.size_hint(),
            Self::Proxied { exchange, .. } => exchange.size_hint(),
            Self::File { pieces, .. } => SizeHint::with_exact(pieces.left()),
            Self::Refused { body, .. } => body.size_hint(),
        }
    }
}
