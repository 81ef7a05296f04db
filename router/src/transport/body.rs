//! The body of a response, as it comes from a cell.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use switchyard_edge::upload::Upload;

use super::Failure;
use super::conn::OpenStream;
use super::sending::Sending;
use super::stream::Answer;

/// The body of a cell's response. Dropped before its end, it resets the stream, which the handler
/// sees as an abort. It also sends what is left of the request's body.
#[derive(Debug)]
pub(crate) struct FramedBody {
    /// The whole body, if it came with the head.
    whole: Option<Bytes>,
    open: Option<Open>,
    /// Bytes that are still to come, if that is known.
    left: Option<u64>,
}

/// A body that has not ended.
#[derive(Debug)]
struct Open {
    stream: OpenStream,
    /// The rest of the request's body. Boxed, because it is rare.
    upload: Option<Box<(Upload, Sending)>>,
}

impl FramedBody {
    /// The response to a request that was sent whole.
    pub(crate) fn response_to_whole(answer: Answer, stream: OpenStream) -> Response<Self> {
        Self::respond(answer, || Open { stream, upload: None })
    }

    /// The response to a request, with the rest of the request's body.
    pub(super) fn response(
        answer: Answer,
        stream: OpenStream,
        upload: Upload,
        sending: Sending,
    ) -> Response<Self> {
        Self::respond(answer, || {
            let upload = (!stream.is_sent()).then(|| Box::new((upload, sending)));
            Open { stream, upload }
        })
    }

    fn respond(answer: Answer, open: impl FnOnce() -> Open) -> Response<Self> {
        let Answer { head, length, whole } = answer;
        let open = whole.is_none().then(open);
        let whole = whole.filter(|whole| !whole.is_empty());
        let mut response = Response::new(Self { whole, open, left: length });
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        response
    }

    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let Some(Open { stream, upload }) = &mut self.open else { return Poll::Ready(None) };
        if let Some(sent) = upload {
            let (body, sending) = &mut **sent;
            if let Err(error) = sending.poll(body, stream, cx) {
                self.open = None;
                return Poll::Ready(Some(Err(error.into())));
            }
            if stream.is_sent() {
                *upload = None;
            }
        }
        let frame = ready!(stream.poll_body(cx));
        if !matches!(frame, Some(Ok(_))) || stream.is_drained() {
            self.open = None;
        }
        Poll::Ready(frame)
    }
}

impl Body for FramedBody {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let frame = match self.whole.take() {
            Some(whole) => Some(Ok(Frame::data(whole))),
            None => ready!(self.poll_open(cx)),
        };
        if let (Some(left), Some(Ok(frame))) = (&mut self.left, &frame) {
            *left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len) as u64);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.whole.is_none() && self.open.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
