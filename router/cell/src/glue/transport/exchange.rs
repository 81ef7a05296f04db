//! A request and its response: the state of one stream.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use deno_core::v8;
use switchyard_protocol::frame::{FrameError, MAX_DATA, ReceiveCredit, RequestHead, SendCredit, encode};

use super::connection;

/// A connection of the router.
pub(super) type Connection = connection::Connection<Exchange>;

/// A request, from its frame until its response has been sent in full and nobody reads its body.
pub(super) struct Exchange {
    connection: Rc<Connection>,
    stream: u32,
    head: RequestHead,
    request: RefCell<Incoming>,
    response: RefCell<Outgoing>,
    /// `true`: the router wants no response, or has gone.
    is_cancelled: Cell<bool>,
    /// Called if the request is cancelled.
    on_cancel: RefCell<Vec<v8::Global<v8::Function>>>,
}

/// The body of a request.
#[derive(Default)]
struct Incoming {
    chunks: VecDeque<Bytes>,
    is_complete: bool,
    /// `true`: JavaScript reads it, and has not read it to its end.
    is_read: bool,
    credit: ReceiveCredit,
    reader: Option<Waker>,
}

impl Incoming {
    /// Takes at most `limit` bytes of the first chunk.
    fn take(&mut self, limit: usize) -> Bytes {
        let Some(first) = self.chunks.front_mut() else { return Bytes::new() };
        let data = first.split_to(limit.min(first.len()));
        if first.is_empty() {
            self.chunks.pop_front();
        }
        data
    }
}

/// The body of a response.
#[derive(Default)]
struct Outgoing {
    credit: SendCredit,
    is_complete: bool,
    sender: Option<Waker>,
}

/// The body of a request cannot be read any more: its client has gone.
#[derive(Debug)]
pub(super) struct Gone;

impl Exchange {
    pub(super) fn new(connection: &Rc<Connection>, stream: u32, head: RequestHead) -> Rc<Self> {
        connection.server().begin();
        Rc::new(Self {
            connection: Rc::clone(connection),
            stream,
            head,
            request: RefCell::default(),
            response: RefCell::default(),
            is_cancelled: Cell::new(false),
            on_cancel: RefCell::default(),
        })
    }

    pub(super) fn connection(&self) -> Rc<Connection> {
        Rc::clone(&self.connection)
    }

    pub(super) fn stream(&self) -> u32 {
        self.stream
    }

    pub(super) fn head(&self) -> &RequestHead {
        &self.head
    }

    /// Returns `true` if the request is `HEAD`: its response has no body.
    pub(super) fn is_head(&self) -> bool {
        self.head.method() == b"HEAD"
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.is_cancelled.get()
    }

    /// Ends it early: the client has gone.
    pub(super) fn cancel(&self) {
        if self.is_cancelled.replace(true) {
            return;
        }
        self.wake();
        let functions = self.on_cancel.take();
        if self.response.borrow().is_complete {
            return;
        }
        if let Some(transport) = self.connection.transport() {
            functions.into_iter().for_each(|function| transport.call(function));
        }
    }

    /// Wakes whoever waits for a body.
    fn wake(&self) {
        let wakers = [self.request.borrow_mut().reader.take(), self.response.borrow_mut().sender.take()];
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// Has `function` called if the request is cancelled before its response has been sent.
    pub(super) fn on_cancel(&self, function: v8::Global<v8::Function>) {
        match self.connection.transport() {
            Some(transport) if self.is_cancelled() => transport.call(function),
            _ => self.on_cancel.borrow_mut().push(function),
        }
    }

    // The body of the request.

    /// Takes a part of the body from the router.
    ///
    /// # Errors
    /// The router had no credit for it.
    pub(super) fn receive(&self, data: Bytes, end: bool) -> Result<(), FrameError> {
        let mut request = self.request.borrow_mut();
        request.credit.receive(data.len())?;
        if !data.is_empty() {
            request.chunks.push_back(data);
        }
        request.is_complete |= end;
        if let Some(reader) = request.reader.take() {
            reader.wake();
        }
        drop(request);
        if end && self.response.borrow().is_complete {
            self.connection.forget(self.stream);
        }
        Ok(())
    }

    /// Returns the whole body, if it has come and was not read.
    pub(super) fn take_body(&self) -> Option<VecDeque<Bytes>> {
        let mut request = self.request.borrow_mut();
        request.is_complete.then(|| std::mem::take(&mut request.chunks))
    }

    /// Notes that JavaScript reads the body from now on.
    pub(super) fn begin_reading(&self) {
        self.request.borrow_mut().is_read = true;
    }

    /// Notes that JavaScript does not read the body any more.
    pub(super) fn stop_reading(&self) {
        self.request.borrow_mut().is_read = false;
        self.end_if_over();
    }

    /// Returns the next bytes of the body, at most `limit`. Empty at its end.
    ///
    /// # Errors
    /// The client has gone.
    pub(super) fn poll_read(&self, cx: &Context<'_>, limit: usize) -> Poll<Result<Bytes, Gone>> {
        let is_open = std::task::ready!(self.poll_chunk(cx))?;
        let data = if is_open { self.request.borrow_mut().take(limit) } else { Bytes::new() };
        self.grant(data.len());
        Poll::Ready(Ok(data))
    }

    /// Copies what has come of the body into `buffer`, as much as fits. Returns the number of bytes,
    /// 0 at its end.
    ///
    /// # Errors
    /// The client has gone.
    pub(super) fn poll_fill(&self, cx: &Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize, Gone>> {
        if !std::task::ready!(self.poll_chunk(cx))? {
            return Poll::Ready(Ok(0));
        }
        let mut filled = 0;
        {
            let mut request = self.request.borrow_mut();
            while filled < buffer.len() && !request.chunks.is_empty() {
                let data = request.take(buffer.len() - filled);
                buffer[filled..filled + data.len()].copy_from_slice(&data);
                filled += data.len();
            }
        }
        self.grant(filled);
        Poll::Ready(Ok(filled))
    }

    /// Waits for bytes of the body. `false`: it has ended.
    fn poll_chunk(&self, cx: &Context<'_>) -> Poll<Result<bool, Gone>> {
        if self.is_cancelled() {
            self.request.borrow_mut().is_read = false;
            return Poll::Ready(Err(Gone));
        }
        let mut request = self.request.borrow_mut();
        if !request.chunks.is_empty() {
            return Poll::Ready(Ok(true));
        }
        if !request.is_complete {
            request.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        drop(request);
        self.stop_reading();
        Poll::Ready(Ok(false))
    }

    /// Gives the router credit for `bytes` that were read.
    fn grant(&self, bytes: usize) {
        let credit = {
            let mut request = self.request.borrow_mut();
            request.credit.take(bytes).filter(|_| !request.is_complete)
        };
        if let Some(credit) = credit {
            self.connection.write(|output| encode::credit(output, self.stream, credit));
        }
    }

    // The response.

    /// Takes credit from the router.
    ///
    /// # Errors
    /// There would be more than a window.
    pub(super) fn add_credit(&self, bytes: u32) -> Result<(), FrameError> {
        let mut response = self.response.borrow_mut();
        response.credit.add(bytes)?;
        if let Some(sender) = response.sender.take() {
            sender.wake();
        }
        Ok(())
    }

    /// Returns the bytes of body that one frame may have now: at least one.
    ///
    /// # Errors
    /// The client has gone.
    pub(super) fn poll_room(&self, cx: &Context<'_>) -> Poll<Result<usize, Gone>> {
        self.poll_cancelled(cx)?;
        let left = self.response.borrow().credit.left();
        if left == 0 || self.connection.poll_room(cx).is_pending() {
            return Poll::Pending;
        }
        Poll::Ready(Ok(left.min(MAX_DATA)))
    }

    /// Has the task of the body woken if the request is cancelled.
    ///
    /// # Errors
    /// It is.
    pub(super) fn poll_cancelled(&self, cx: &Context<'_>) -> Result<(), Gone> {
        if self.is_cancelled() {
            return Err(Gone);
        }
        self.response.borrow_mut().sender = Some(cx.waker().clone());
        Ok(())
    }

    /// Returns the bytes of body that the first frame may have.
    pub(super) fn first_room(&self) -> usize {
        self.response.borrow().credit.left().min(MAX_DATA)
    }

    /// Counts bytes of body that were written.
    pub(super) fn sent(&self, bytes: usize) {
        self.response.borrow_mut().credit.spend(bytes);
    }

    /// Notes the end of the response.
    pub(super) fn end(&self) {
        self.response.borrow_mut().is_complete = true;
        self.end_if_over();
        self.connection.server().finish(self.connection.transport());
    }

    /// Ends the response early, as it cannot be sent, or not in full.
    pub(super) fn fail(&self) {
        if !self.is_cancelled.replace(true) {
            self.connection.write(|output| encode::reset(output, self.stream, false));
            self.connection.forget(self.stream);
            self.wake();
        }
        self.end();
    }

    /// Forgets the stream once the response is complete and nobody reads the request's body. The
    /// router need not send the rest of that.
    fn end_if_over(&self) {
        let request = self.request.borrow();
        let is_read = request.is_read && !request.is_complete;
        if is_read || !self.response.borrow().is_complete || self.is_cancelled() {
            return;
        }
        if !request.is_complete {
            self.connection.write(|output| encode::reset(output, self.stream, false));
        }
        self.connection.forget(self.stream);
    }
}

impl Connection {
    /// Calls `append` with the buffer of what is to be written, and has that sent soon.
    pub(super) fn write<T>(self: &Rc<Self>, append: impl FnOnce(&mut BytesMut) -> T) -> T {
        let result = self.append(append);
        match self.transport() {
            Some(transport) => transport.send_soon(self),
            None => self.wake(),
        }
        result
    }
}
