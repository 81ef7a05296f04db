//! Bodies of responses that do not leave at once: those that JavaScript still makes, and those that
//! are larger than a frame or than the router's credit.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use deno_core::{AsyncResult, BufView, Resource};
use switchyard_protocol::frame::MAX_DATA;
use switchyard_protocol::frame::encode::{self, TooLong};

use super::compress::{Coding, Compressor};
use super::exchange::{Exchange, Gone};
use super::head::Head;

/// Bytes of a body that are compressed in one turn of the event loop.
const PIECE: usize = 64 << 10;

/// The rest of a body.
pub(super) enum Body {
    /// Bytes that are there.
    Whole(BufView),
    /// Bytes that a resource of Deno's brings.
    Resource(Source),
    /// Bytes that are compressed.
    Compressed(Box<Compressed>),
}

/// A body that is compressed while it is sent.
pub(super) struct Compressed {
    input: Body,
    /// `None` at the end.
    compressor: Option<Compressor>,
    /// `true`: the compressor has bytes that it has not put out.
    is_unflushed: bool,
    /// The bytes that are left of `content-length`, which cuts the body off.
    remaining: Option<u64>,
    output: BufView,
}

/// A resource that is read.
pub(super) struct Source {
    resource: Rc<dyn Resource>,
    /// `true`: it belongs to the response, and is closed at its end.
    is_owned: bool,
    /// The read that is under way.
    read: AsyncResult<BufView>,
    /// Bytes that were read and have no room yet.
    rest: BufView,
}

/// A body that cannot be sent in full.
struct Incomplete;

impl Source {
    pub(super) fn new(resource: Rc<dyn Resource>, is_owned: bool) -> Self {
        let read = Rc::clone(&resource).read(MAX_DATA);
        Self { resource, is_owned, read, rest: BufView::empty() }
    }

    /// Returns once there is data to take. `false`: none will come any more.
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Incomplete>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Ok(true));
        }
        let data = std::task::ready!(Pin::new(&mut self.read).poll(cx));
        self.rest = data.map_err(|_| Incomplete)?;
        if self.rest.is_empty() {
            return Poll::Ready(Ok(false));
        }
        self.read = Rc::clone(&self.resource).read(MAX_DATA);
        Poll::Ready(Ok(true))
    }

    /// Closes the resource.
    pub(super) fn abort(self) {
        self.resource.close();
    }
}

impl Compressed {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Incomplete>> {
        while self.output.is_empty() {
            let Some(compressor) = &mut self.compressor else { return Poll::Ready(Ok(false)) };
            let left = self.remaining.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
            let next = if left == 0 { Poll::Ready(Ok(false)) } else { self.input.poll_data(cx) };
            let output = match next {
                Poll::Ready(Ok(true)) => {
                    let data = self.input.data();
                    let length = data.len().min(left).min(PIECE);
                    compressor.write(&data[..length]).map_err(|_| Incomplete)?;
                    data.advance_cursor(length);
                    if let Some(remaining) = &mut self.remaining {
                        *remaining -= length as u64;
                    }
                    self.is_unflushed = true;
                    let output = compressor.take();
                    if output.is_empty() && matches!(self.input, Body::Whole(_)) {
                        // Other requests have their turn.
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    output
                }
                Poll::Ready(Ok(false)) if self.remaining.is_some_and(|left| left > 0) => {
                    return Poll::Ready(Err(Incomplete));
                }
                Poll::Ready(Ok(false)) => {
                    let ended = self.compressor.take().expect("it has not ended");
                    ended.finish().map_err(|_| Incomplete)?
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                // Compressed bytes leave before the next ones come.
                Poll::Pending if std::mem::take(&mut self.is_unflushed) => {
                    compressor.flush().map_err(|_| Incomplete)?;
                    compressor.take()
                }
                Poll::Pending => return Poll::Pending,
            };
            self.output = BufView::from(output);
        }
        Poll::Ready(Ok(true))
    }
}

impl Body {
    /// A body that is there, compressed.
    pub(super) fn compressed(body: BufView, coding: Coding) -> Self {
        Self::compressing(Self::Whole(body), coding, None)
    }

    /// A body that a resource brings, compressed if there is a coding. `length`: its length, if the
    /// handler names it.
    pub(super) fn of_resource(source: Source, coding: Option<Coding>, length: Option<u64>) -> Self {
        let body = Self::Resource(source);
        match coding {
            Some(coding) => Self::compressing(body, coding, length),
            None => body,
        }
    }

    fn compressing(input: Self, coding: Coding, remaining: Option<u64>) -> Self {
        let compressor = Some(Compressor::new(coding));
        let output = BufView::empty();
        Self::Compressed(Box::new(Compressed { input, compressor, is_unflushed: false, remaining, output }))
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Incomplete>> {
        match self {
            Self::Whole(data) => Poll::Ready(Ok(!data.is_empty())),
            Self::Resource(source) => source.poll_data(cx),
            Self::Compressed(compressed) => compressed.poll_data(cx),
        }
    }

    /// The data that [`Self::poll_data`] has found.
    fn data(&mut self) -> &mut BufView {
        match self {
            Self::Whole(data) => data,
            Self::Resource(source) => &mut source.rest,
            Self::Compressed(compressed) => &mut compressed.output,
        }
    }

    fn close(self, is_complete: bool) {
        match self {
            Self::Resource(source) if source.is_owned || !is_complete => source.abort(),
            Self::Compressed(compressed) => compressed.input.close(is_complete),
            Self::Whole(_) | Self::Resource(_) => {}
        }
    }
}

/// A response that is being sent.
pub(super) struct Sending {
    exchange: Rc<Exchange>,
    /// The head, until it was sent.
    head: Option<Head>,
    body: Body,
    /// The bytes that are left of `content-length`, which cuts the body off.
    remaining: Option<u64>,
}

/// A part of a body that can be sent.
struct Part {
    length: usize,
    end: bool,
}

impl Sending {
    pub(super) fn new(exchange: Rc<Exchange>, head: Head, body: Body, remaining: Option<u64>) -> Self {
        Self { exchange, head: Some(head), body, remaining }
    }

    /// Sends the response, or ends it early if its body ends early.
    pub(super) async fn send(mut self) {
        let sent = self.send_all().await;
        if sent.is_err() {
            // The client gets the head even of a body that fails at once, as in HTTP/1.1.
            if self.head.is_some() && !self.exchange.is_cancelled() {
                _ = self.write(None);
            }
            self.exchange.fail();
        }
        self.body.close(sent.is_ok());
    }

    async fn send_all(&mut self) -> Result<(), Incomplete> {
        loop {
            let part = poll_fn(|cx| self.poll_part(cx)).await?;
            let end = part.as_ref().is_some_and(|part| part.end);
            self.write(part)?;
            if end {
                self.exchange.end();
                return Ok(());
            }
        }
    }

    /// Returns the next part. `None`: there is none yet, but the head is to leave.
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Part>, Incomplete>> {
        self.exchange.poll_cancelled(cx).map_err(|Gone| Incomplete)?;
        if self.remaining == Some(0) {
            return Poll::Ready(Ok(Some(Part { length: 0, end: true })));
        }
        match self.body.poll_data(cx)? {
            Poll::Ready(true) => {}
            Poll::Ready(false) if self.remaining.is_some() => return Poll::Ready(Err(Incomplete)),
            Poll::Ready(false) => return Poll::Ready(Ok(Some(Part { length: 0, end: true }))),
            Poll::Pending if self.head.is_some() => return Poll::Ready(Ok(None)),
            Poll::Pending => return Poll::Pending,
        }
        let room = std::task::ready!(self.exchange.poll_room(cx)).map_err(|Gone| Incomplete)?;
        let is_whole = matches!(self.body, Body::Whole(_));
        let available = self.body.data().len();
        let wanted = self
            .remaining
            .map_or(available, |left| available.min(usize::try_from(left).unwrap_or(usize::MAX)));
        let length = wanted.min(room);
        let end = (is_whole && length == available) || self.remaining == Some(length as u64);
        Poll::Ready(Ok(Some(Part { length, end })))
    }

    fn write(&mut self, part: Option<Part>) -> Result<(), Incomplete> {
        let Part { length, end } = part.unwrap_or(Part { length: 0, end: false });
        let (stream, head) = (self.exchange.stream(), self.head.take());
        let data = self.body.data();
        let part = &data[..length];
        let written = self.exchange.connection().write(|output| {
            if let Some(head) = &head {
                // A head with the end gives the length, which is known only if the head names it.
                head.append(output, stream, part, end && head.has_length())?;
                if end && !head.has_length() {
                    encode::data(output, stream, &[], true);
                }
            } else {
                encode::data(output, stream, part, end);
            }
            Ok::<_, TooLong>(())
        });
        written.map_err(|_| Incomplete)?;
        data.advance_cursor(length);
        if let Some(remaining) = &mut self.remaining {
            *remaining -= length as u64;
        }
        self.exchange.sent(length);
        Ok(())
    }
}
