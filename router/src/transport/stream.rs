//! The router's end of one stream: the response as it comes, and the credit for the request's body.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::Frame as BodyFrame;
use switchyard_contract::bounds::COPIED_PIECE;
use switchyard_edge::upstream::BadAnswer;
use switchyard_protocol::frame::{
    Content, Frame, FrameError, HeadLimits, ReceiveCredit, ResponseHead, SendCredit, parse_trailers,
};

use super::Failure;

/// A stream.
#[derive(Debug)]
pub(super) struct Stream {
    /// The response has no body, regardless of its headers.
    is_head: bool,
    waker: Option<Waker>,
    head: Head,
    pieces: Pieces,
    trailers: Option<HeaderMap>,
    /// The cell has sent everything.
    is_complete: bool,
    /// The cell has reset the stream.
    is_reset: bool,
    ending: Option<Ending>,
    /// Bytes of the body that are still to come, if its length was announced.
    left: Option<u64>,
    received: ReceiveCredit,
    /// Credit that the cell is to get.
    earned: Option<u32>,
    credit: SendCredit,
    /// The place of the request's end in everything that was sent on the connection.
    sent_at: u64,
}

/// The head of the response.
#[derive(Debug)]
enum Head {
    Awaited,
    Ready(ResponseHead),
    Taken,
}

/// The early end of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// No handler got the request.
    NotSent,
    Failed(Failure),
}

/// The reason why a frame is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The connection cannot be used any more.
    Connection(FrameError),
    /// The response is invalid.
    Response(BadAnswer),
}

/// The head of a response, for the request that it answers.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: ResponseHead,
    /// The length of the body, if it is known.
    pub(super) length: Option<u64>,
    /// The whole body. `None`: there is more to come.
    pub(super) whole: Option<Bytes>,
}

/// Pieces of a body that have come. Most responses have one.
#[derive(Debug, Default)]
struct Pieces {
    first: Option<Bytes>,
    others: VecDeque<Bytes>,
}

impl Pieces {
    fn push(&mut self, piece: Bytes) {
        if self.is_empty() {
            self.first = Some(piece);
        } else {
            self.others.push_back(piece);
        }
    }

    fn pop(&mut self) -> Option<Bytes> {
        self.first.take().or_else(|| self.others.pop_front())
    }

    fn is_empty(&self) -> bool {
        self.first.is_none() && self.others.is_empty()
    }

    fn bytes(&self) -> u64 {
        self.first.iter().chain(&self.others).map(|piece| piece.len() as u64).sum()
    }
}

/// Returns the fault of a frame whose content is invalid.
fn invalid(error: FrameError) -> Fault {
    Fault::Response(match error {
        FrameError::HeadTooLarge => BadAnswer::HeadTooLarge,
        _ => BadAnswer::Invalid,
    })
}

const OUT_OF_ORDER: Fault = Fault::Connection(FrameError::Stream);

/// The process goes on: it has not crashed.
const BROKEN_OFF: Ending = Ending::Failed(Failure::Invalid(BadAnswer::ClosedEarly));

const INVALID: Fault = Fault::Response(BadAnswer::Invalid);

impl Stream {
    /// A stream whose request has been sent up to `sent_at`, with `body` bytes of its body.
    /// `is_head`: the method is `HEAD`.
    pub(super) fn new(is_head: bool, body: usize, sent_at: u64) -> Self {
        let mut credit = SendCredit::default();
        credit.spend(body);
        Self {
            is_head,
            waker: None,
            head: Head::Awaited,
            pieces: Pieces::default(),
            trailers: None,
            is_complete: false,
            is_reset: false,
            ending: None,
            left: None,
            received: ReceiveCredit::default(),
            earned: None,
            credit,
            sent_at,
        }
    }

    /// Takes a frame of the cell.
    ///
    /// # Errors
    /// See [`Fault`].
    pub(super) fn receive(&mut self, frame: Frame, limits: HeadLimits) -> Result<(), Fault> {
        let is_awaited = matches!(self.head, Head::Awaited);
        match frame.content {
            Content::Response(payload) if is_awaited => {
                let (head, body) = ResponseHead::parse(payload, limits).map_err(invalid)?;
                self.left = self.length(&head)?;
                self.receive_body(body, frame.end)?;
                self.head = Head::Ready(head);
            }
            Content::Data(body) if !is_awaited && !self.is_complete => self.receive_body(body, frame.end)?,
            Content::Trailers(payload) if !is_awaited && !self.is_complete => {
                self.trailers = Some(parse_trailers(&payload, limits).map_err(invalid)?);
                self.receive_body(Bytes::new(), true)?;
            }
            Content::Credit(bytes) => self.credit.add(bytes).map_err(Fault::Connection)?,
            // After the response it ends the request's body alone.
            Content::Reset { .. } if self.is_complete => self.is_reset = true,
            Content::Reset { refused } => {
                self.is_reset = true;
                let is_refused = refused && is_awaited;
                self.ending = Some(if is_refused { Ending::NotSent } else { BROKEN_OFF });
            }
            _ => return Err(OUT_OF_ORDER),
        }
        self.wake();
        Ok(())
    }

    /// Returns the announced length of the body of a response.
    fn length(&self, head: &ResponseHead) -> Result<Option<u64>, Fault> {
        let mut lengths = head.headers.get_all(CONTENT_LENGTH).iter().map(parse_length);
        let announced = lengths.next().map(|first| first.ok_or(INVALID)).transpose()?;
        if lengths.any(|other| other != announced) {
            return Err(INVALID);
        }
        let none = self.is_head || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        Ok(if none { Some(0) } else { announced })
    }

    fn receive_body(&mut self, body: Bytes, is_last: bool) -> Result<(), Fault> {
        self.received.receive(body.len()).map_err(Fault::Connection)?;
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(body.len() as u64).ok_or(INVALID)?;
            if is_last && *left != 0 {
                return Err(INVALID);
            }
        }
        if !body.is_empty() {
            let is_small = body.len() < COPIED_PIECE;
            self.pieces.push(if is_small { Bytes::copy_from_slice(&body) } else { body });
        }
        self.is_complete = is_last;
        Ok(())
    }

    /// Ends the stream early. What came before is still handed out.
    pub(super) fn end(&mut self, failure: Failure) {
        self.ending.get_or_insert(Ending::Failed(failure));
        self.wake();
    }

    /// Ends the stream because its connection is over. `written`: the bytes that the cell may have
    /// got of everything that was sent.
    pub(super) fn disconnect(&mut self, failure: Failure, written: u64) {
        self.end_unless_sent(written);
        self.end(failure);
    }

    /// Ends a stream whose request the cell cannot have got.
    pub(super) fn end_unless_sent(&mut self, written: u64) {
        if self.sent_at > written {
            self.ending.get_or_insert(Ending::NotSent);
            self.wake();
        }
    }

    /// Returns true if the stream has ended early: its frames are ignored.
    pub(super) fn has_ended(&self) -> bool {
        self.ending.is_some()
    }

    /// Returns true if the cell knows of the stream's end. `is_sent`: it has the whole request.
    pub(super) fn is_over(&self, is_sent: bool) -> bool {
        self.is_reset || (self.is_complete && is_sent)
    }

    /// Wakes the request's task.
    pub(super) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn wait<T>(&mut self, cx: &Context<'_>) -> Poll<T> {
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Takes the head of the response.
    pub(super) fn poll_head(&mut self, cx: &Context<'_>) -> Poll<Result<Answer, Ending>> {
        match (&self.head, self.ending) {
            (Head::Ready(_), _) => {}
            (_, Some(ending)) => return Poll::Ready(Err(ending)),
            _ => return self.wait(cx),
        }
        let Head::Ready(head) = std::mem::replace(&mut self.head, Head::Taken) else { return self.wait(cx) };
        let has_all = self.is_complete && self.trailers.is_none() && self.pieces.others.is_empty();
        let whole = has_all.then(|| self.pieces.pop().unwrap_or_default());
        let length = match &whole {
            Some(whole) => Some(whole.len() as u64),
            None => self.left.map(|left| left + self.pieces.bytes()),
        };
        Poll::Ready(Ok(Answer { head, length, whole }))
    }

    /// Takes the next piece of the body, or the trailers.
    pub(super) fn poll_body(&mut self, cx: &Context<'_>) -> Poll<Option<Result<BodyFrame<Bytes>, Failure>>> {
        if let Some(piece) = self.pieces.pop() {
            self.earned = self.received.take(piece.len()).filter(|_| !self.is_complete);
            return Poll::Ready(Some(Ok(BodyFrame::data(piece))));
        }
        if self.is_complete {
            return Poll::Ready(self.trailers.take().map(|trailers| Ok(BodyFrame::trailers(trailers))));
        }
        match self.ending {
            None => self.wait(cx),
            Some(Ending::Failed(failure)) => Poll::Ready(Some(Err(failure))),
            Some(Ending::NotSent) => Poll::Ready(Some(Err(Failure::Ended))),
        }
    }

    /// Returns true if the response was taken to its end.
    pub(super) fn is_drained(&self) -> bool {
        self.is_complete && self.pieces.is_empty() && self.trailers.is_none()
    }

    /// Bytes of the body that have come and were not taken.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        usize::try_from(self.pieces.bytes()).unwrap()
    }

    /// Takes the credit that the cell is to get for what was taken of the body.
    pub(super) fn take_credit(&mut self) -> Option<u32> {
        self.earned.take()
    }

    /// Returns how many bytes of the request's body the cell takes.
    pub(super) fn may_send(&self) -> usize {
        if self.is_reset || self.has_ended() { 0 } else { self.credit.left() }
    }

    /// Counts bytes of the request's body that are sent.
    pub(super) fn spend(&mut self, bytes: usize) {
        self.credit.spend(bytes);
    }

    /// Remembers the task to wake.
    pub(super) fn watch(&mut self, cx: &Context<'_>) {
        let _ = self.wait::<()>(cx);
    }
}

fn parse_length(value: &HeaderValue) -> Option<u64> {
    let text = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    text.parse().ok()
}
