//! Response bodies: their sources, and the leases and slots that are held until their end.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Frame, SizeHint};
use switchyard_edge::fair::FairBody;

use super::connector::CellBody;
use super::dev_changes::Changes;
use super::lease::{CellLease, SiteLease};
use crate::pieces::FilePieces;
use crate::slots::Slot;
use crate::transport::Failure;

/// The reason why a body ends early.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error(transparent)]
    Cell(Failure),
    #[error("a file cannot be read: {0}")]
    File(std::io::Error),
}

/// A response body.
#[derive(Debug)]
pub(super) enum Body {
    /// A response of the router's own.
    Own(Full<Bytes>),
    /// A cell's response. The lease is given up when the cell breaks it off.
    Proxied { body: FairBody<CellBody>, lease: Option<CellLease>, _slot: Slot },
    /// A file of a version, with the request's slot where one client can have many files at once.
    File { pieces: FilePieces, _lease: SiteLease, _slot: Option<Slot> },
    /// With `--dev`: a page, and the element that loads the script for it.
    WithScript { body: Box<Body>, script: Option<Bytes> },
    /// With `--dev`: the changes that pages follow.
    Changes(Changes),
}

impl Body {
    pub(super) fn file(pieces: FilePieces, lease: SiteLease, slot: Option<Slot>) -> Self {
        Self::File { pieces, _lease: lease, _slot: slot }
    }

    pub(super) fn proxied(body: CellBody, lease: CellLease, slot: Slot) -> Self {
        Self::Proxied { body: FairBody::new(body), lease: Some(lease), _slot: slot }
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
            Self::Proxied { body, lease, .. } => {
                let frame = Pin::new(&mut *body).poll_frame(cx);
                if let Poll::Ready(Some(Err(failure))) = &frame
                    && let Some(lease) = lease.take()
                {
                    lease.blame_for_body(*failure);
                }
                frame.map_err(BodyError::Cell)
            }
            Self::File { pieces, .. } => pieces.poll_next(cx).map_ok(Frame::data).map_err(BodyError::File),
            Self::WithScript { body, script } => match Pin::new(&mut **body).poll_frame(cx) {
                Poll::Ready(None) => Poll::Ready(script.take().map(|script| Ok(Frame::data(script)))),
                // No trailers can follow what is added.
                Poll::Ready(Some(Ok(frame))) if frame.is_trailers() => {
                    Poll::Ready(script.take().map(|script| Ok(Frame::data(script))))
                }
                polled => polled,
            },
            Self::Changes(changes) => {
                changes.poll_next(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(full) => full.is_end_stream(),
            Self::Proxied { body, .. } => body.is_end_stream(),
            Self::File { pieces, .. } => pieces.left() == 0,
            Self::WithScript { body, script } => script.is_none() && body.is_end_stream(),
            Self::Changes(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(full) => full.size_hint(),
            Self::Proxied { body, .. } => body.size_hint(),
            Self::File { pieces, .. } => SizeHint::with_exact(pieces.left()),
            Self::WithScript { body, script } => {
                let added = script.as_ref().map_or(0, |script| script.len() as u64);
                body.size_hint().exact().map_or_else(SizeHint::new, |size| SizeHint::with_exact(size + added))
            }
            Self::Changes(_) => SizeHint::new(),
        }
    }
}
