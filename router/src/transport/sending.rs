//! The body of a request on its way to a cell, driven by the request's own task.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Request;
use http_body::Body as _;
use switchyard_edge::upload::{Upload, UploadError};
use switchyard_protocol::frame::MAX_DATA;

use super::conn::{Conn, OpenStream};
use super::wire::FirstPart;

/// The piece of a request's body that was last taken from the client.
#[derive(Debug)]
pub(super) struct Sending {
    piece: Bytes,
    /// Bytes of the piece that are sent.
    sent: usize,
    /// No piece came before this one: the body can still be sent from its beginning.
    is_first: bool,
}

/// The reason why a request did not begin.
#[derive(Debug)]
pub(super) enum BeginError {
    /// The connection does not take the request, which is as it was.
    NotSent,
    /// The client failed to send the body.
    Upload(UploadError),
}

impl Sending {
    /// Begins a request with the part of its body that is there already.
    ///
    /// # Errors
    /// See [`BeginError`].
    pub(super) fn begin(
        conn: &Rc<Conn>,
        request: &mut Request<Upload>,
        cx: &mut Context<'_>,
    ) -> Result<(OpenStream, Self), BeginError> {
        let mut sending = Self { piece: Bytes::new(), sent: 0, is_first: true };
        let is_expected = !request.body().is_end_stream();
        let mut is_last = !is_expected;
        if is_expected && let Poll::Ready(next) = next_piece(request.body_mut(), cx) {
            let piece = next.map_err(BeginError::Upload)?;
            is_last = piece.is_none() || request.body().is_end_stream();
            sending.piece = piece.unwrap_or_default();
        }
        sending.sent = sending.piece.len().min(MAX_DATA);
        let is_whole = is_last && sending.sent == sending.piece.len();
        let first = FirstPart { piece: &sending.piece[..sending.sent], is_whole, is_expected };
        match conn.begin(request, first) {
            Some(stream) => Ok((stream, sending)),
            None => {
                sending.take_back(request.body_mut());
                Err(BeginError::NotSent)
            }
        }
    }

    /// Sends what there is of the body, as far as the cell takes it.
    ///
    /// # Errors
    /// The client failed to send the body.
    pub(super) fn poll(
        &mut self,
        body: &mut Upload,
        stream: &mut OpenStream,
        cx: &mut Context<'_>,
    ) -> Result<(), UploadError> {
        while !stream.is_sent() {
            let most = stream.may_send(cx).min(MAX_DATA);
            if most == 0 {
                break;
            }
            if self.sent == self.piece.len() {
                let Poll::Ready(next) = next_piece(body, cx) else { break };
                let Some(piece) = next? else {
                    stream.send_data(&[], true);
                    break;
                };
                *self = Self { piece, sent: 0, is_first: false };
            }
            let end = self.piece.len().min(self.sent + most);
            let is_last = end == self.piece.len() && body.is_end_stream();
            stream.send_data(&self.piece[self.sent..end], is_last);
            self.sent = end;
        }
        Ok(())
    }

    /// Gives back to `body` what was taken of it. Returns false if its beginning is gone.
    pub(super) fn take_back(self, body: &mut Upload) -> bool {
        if self.is_first {
            body.put_back(self.piece);
        }
        self.is_first
    }
}

/// Takes the next piece of a body. `None`: it has ended.
fn next_piece(body: &mut Upload, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, UploadError>> {
    loop {
        let Some(frame) = ready!(Pin::new(&mut *body).poll_frame(cx)) else { return Poll::Ready(Ok(None)) };
        // Trailers of requests end here: no handler could see them.
        match frame?.into_data() {
            Ok(piece) if !piece.is_empty() => return Poll::Ready(Ok(Some(piece))),
            _ => {}
        }
    }
}
