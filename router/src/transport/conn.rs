//! A connection as the requests on it and its driver share it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::{Method, Request};
use http_body::Frame as BodyFrame;
use switchyard_protocol::frame::encode::TooLong;
use switchyard_protocol::frame::{Content, Frame, FrameError, HEADER, HeadLimits};
use tokio::sync::Notify;

use super::Failure;
use super::ids::IdMap;
use super::stream::{Answer, Ending, Fault, Stream};
use super::wire::{FirstPart, Phase, Wire};

/// A connection.
#[derive(Debug)]
pub(super) struct Conn {
    limits: HeadLimits,
    state: RefCell<State>,
    /// Notified when there is room for requests again, and when there will never be.
    room: Notify,
    /// Sweeps in a row that have found no stream.
    idle_sweeps: Cell<u8>,
}

#[derive(Debug, Default)]
struct State {
    streams: IdMap<u32, Stream>,
    wire: Wire,
    /// Streams whose bodies wait for room.
    blocked: Vec<u32>,
}

impl Conn {
    /// A connection without streams.
    pub(super) fn new(limits: HeadLimits) -> Self {
        let (state, room, idle_sweeps) = (RefCell::default(), Notify::new(), Cell::new(0));
        Self { limits, state, room, idle_sweeps }
    }

    /// The limits of heads.
    pub(super) fn limits(&self) -> HeadLimits {
        self.limits
    }

    /// Returns true if requests can begin.
    pub(super) fn is_open(&self) -> bool {
        self.state.borrow().wire.is_open()
    }

    /// Returns true if a request need not wait, because the cell reads what is written, or the
    /// connection takes no request.
    pub(super) fn has_room(&self) -> bool {
        let wire = &self.state.borrow().wire;
        wire.has_room() || !wire.is_open()
    }

    /// Waits until [`Conn::has_room`].
    pub(super) async fn room(&self) {
        loop {
            let notified = self.room.notified();
            if self.has_room() {
                return;
            }
            notified.await;
        }
    }

    /// Begins a request: see [`Wire::send_request`].
    pub(super) fn begin<B>(self: &Rc<Self>, request: &Request<B>, body: FirstPart<'_>) -> Option<OpenStream> {
        let State { streams, wire, .. } = &mut *self.state.borrow_mut();
        let id = wire.send_request(request, body)?;
        let is_head = request.method() == Method::HEAD;
        streams.insert(id, Stream::new(is_head, body.piece.len(), wire.sent()));
        self.idle_sweeps.set(0);
        Some(OpenStream { conn: self.clone(), id, is_sent: body.is_whole })
    }

    /// Begins a request that is sent whole by [`Wire::begin`], with `body` bytes of body.
    pub(super) fn begin_whole(
        self: &Rc<Self>,
        is_head: bool,
        body: usize,
        append: impl FnOnce(&mut BytesMut, u32) -> Result<(), TooLong>,
    ) -> Option<OpenStream> {
        let State { streams, wire, .. } = &mut *self.state.borrow_mut();
        let id = wire.begin(append)?;
        streams.insert(id, Stream::new(is_head, body, wire.sent()));
        self.idle_sweeps.set(0);
        Some(OpenStream { conn: self.clone(), id, is_sent: true })
    }

    /// Returns true if the connection stays. One without a stream in `most` sweeps is closed.
    pub(super) fn sweep(&self, most: u8) -> bool {
        let is_idle = self.state.borrow().streams.is_empty();
        self.idle_sweeps.set(if is_idle { self.idle_sweeps.get() + 1 } else { 0 });
        if self.idle_sweeps.get() >= most {
            self.end(Failure::Ended);
        }
        self.is_open()
    }

    /// Ends the connection, and all of its streams in `failure`.
    pub(super) fn end(&self, failure: Failure) {
        let State { streams, wire, .. } = &mut *self.state.borrow_mut();
        streams.values_mut().for_each(|stream| stream.disconnect(failure, wire.written()));
        wire.close();
        self.room.notify_waiters();
    }

    /// Drops what waits to be written, because the cell takes nothing more. Requests that it did
    /// not get end; responses still come.
    pub(super) fn discard(&self) {
        let State { streams, wire, .. } = &mut *self.state.borrow_mut();
        wire.discard();
        streams.values_mut().for_each(|stream| stream.end_unless_sent(wire.written()));
        self.room.notify_waiters();
    }

    /// Takes no more requests.
    pub(super) fn leave(&self) {
        self.state.borrow_mut().wire.leave();
        self.room.notify_waiters();
    }

    /// Takes a frame of the cell. One with an invalid content ends its stream.
    ///
    /// # Errors
    /// The frame does not fit the connection.
    pub(super) fn receive(&self, frame: Frame) -> Result<(), FrameError> {
        if matches!(frame.content, Content::GoAway) {
            self.leave();
            return Ok(());
        }
        let State { streams, wire, .. } = &mut *self.state.borrow_mut();
        let (id, size) = (frame.stream, size(&frame));
        let Some(stream) = streams.get_mut(&id).filter(|stream| !stream.has_ended()) else {
            return wire.ignore(id, size);
        };
        match stream.receive(frame, self.limits) {
            Ok(()) => Ok(()),
            Err(Fault::Connection(error)) => Err(error),
            Err(Fault::Response(bad)) => {
                stream.end(Failure::Invalid(bad));
                Ok(())
            }
        }
    }

    /// Has `write` write some of the bytes that wait. Returns false if there are none.
    pub(super) fn poll_write<E>(
        &self,
        write: impl FnOnce(&[u8]) -> Poll<Result<usize, E>>,
    ) -> Poll<Result<bool, E>> {
        let State { streams, wire, blocked } = &mut *self.state.borrow_mut();
        if wire.is_empty() {
            return Poll::Ready(Ok(false));
        }
        let had_room = wire.has_room();
        let written = wire.write(write);
        if !had_room && wire.has_room() {
            self.room.notify_waiters();
            for id in blocked.drain(..) {
                streams.get_mut(&id).into_iter().for_each(Stream::wake);
            }
        }
        written.map_ok(|()| true)
    }

    /// Returns true if there are no streams.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.state.borrow().streams.is_empty()
    }

    /// Bytes that wait to be written.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        let wire = &self.state.borrow().wire;
        usize::try_from(wire.sent() - wire.written()).unwrap()
    }

    /// Bytes of responses that have come, and that no client has taken.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.state.borrow().streams.values().map(Stream::held).sum()
    }

    /// Remembers the driver's task, for when there is something to write. Returns true if the
    /// connection is over instead.
    pub(super) fn watch(&self, cx: &Context<'_>) -> bool {
        let State { streams, wire, .. } = &mut *self.state.borrow_mut();
        wire.watch(cx);
        match wire.phase() {
            Phase::Open => false,
            // The end of the connection ends everything on it, as what waits would.
            Phase::Leaving => streams.is_empty(),
            Phase::Closed => true,
        }
    }
}

/// Returns the bytes of a frame.
fn size(frame: &Frame) -> usize {
    HEADER
        + match &frame.content {
            Content::Request(payload) | Content::Response(payload) => payload.len(),
            Content::Data(payload) | Content::Trailers(payload) => payload.len(),
            Content::Credit(_) => 4,
            Content::Reset { .. } | Content::GoAway => 0,
        }
}

/// A stream, held by its request. Dropped before its end, it is reset.
#[derive(Debug)]
pub(crate) struct OpenStream {
    conn: Rc<Conn>,
    id: u32,
    /// The whole body of the request is sent.
    is_sent: bool,
}

impl OpenStream {
    fn with<T>(&self, with: impl FnOnce(&mut Stream, &mut Wire, &mut Vec<u32>) -> T) -> T {
        let State { streams, wire, blocked } = &mut *self.conn.state.borrow_mut();
        let stream = streams.get_mut(&self.id).expect("a stream is in its connection until it is dropped");
        with(stream, wire, blocked)
    }

    /// Takes the head of the response.
    pub(crate) fn poll_head(&self, cx: &Context<'_>) -> Poll<Result<Answer, Ending>> {
        self.with(|stream, _, _| stream.poll_head(cx))
    }

    /// Takes the next piece of the response's body, or its trailers.
    pub(super) fn poll_body(&self, cx: &Context<'_>) -> Poll<Option<Result<BodyFrame<Bytes>, Failure>>> {
        self.with(|stream, wire, _| {
            let frame = stream.poll_body(cx);
            if let Some(credit) = stream.take_credit() {
                wire.send_credit(self.id, credit);
            }
            frame
        })
    }

    /// Returns true if the response was taken to its end.
    pub(super) fn is_drained(&self) -> bool {
        self.with(|stream, _, _| stream.is_drained())
    }

    /// Returns how many bytes of the request's body may be sent now. 0: the request's task is woken
    /// when more may, if ever.
    pub(super) fn may_send(&self, cx: &Context<'_>) -> usize {
        self.with(|stream, wire, blocked| {
            let most = stream.may_send();
            if most > 0 && wire.has_room() {
                return most;
            }
            stream.watch(cx);
            if most > 0 && !blocked.contains(&self.id) {
                blocked.push(self.id);
            }
            0
        })
    }

    /// Sends a piece of the request's body, for which there is credit.
    pub(super) fn send_data(&mut self, data: &[u8], is_last: bool) {
        self.is_sent = is_last;
        let id = self.id;
        self.with(|stream, wire, _| {
            stream.spend(data.len());
            wire.send_data(id, data, is_last);
        });
    }

    /// Returns true if the whole body of the request is sent.
    pub(super) fn is_sent(&self) -> bool {
        self.is_sent
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let State { streams, wire, .. } = &mut *self.conn.state.borrow_mut();
        match streams.remove(&self.id) {
            Some(stream) if stream.is_over(self.is_sent) => wire.end(),
            _ => wire.reset(self.id),
        }
    }
}
