//! The bytes that wait to be written to a cell, and the bounds on what it may send unasked.

use std::task::{Context, Poll, Waker};

use bytes::{Buf as _, BytesMut};
use http::Request;
use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING};
use switchyard_contract::bounds;
use switchyard_protocol::frame::encode::TooLong;
use switchyard_protocol::frame::{FrameError, MAX_STREAM, encode};

/// The header with which HTTP/1.1 announces a body of unknown length.
static CHUNKED: (HeaderName, HeaderValue) = (TRANSFER_ENCODING, HeaderValue::from_static("chunked"));

/// The part of a request's body that goes with its head.
#[derive(Debug, Clone, Copy)]
pub(super) struct FirstPart<'a> {
    /// At most [`MAX_DATA`](switchyard_protocol::frame::MAX_DATA) bytes.
    pub(super) piece: &'a [u8],
    /// Nothing follows.
    pub(super) is_whole: bool,
    /// The request came with a body, which may be empty.
    pub(super) is_expected: bool,
}

/// One connection's bytes to a cell.
#[derive(Debug)]
pub(super) struct Wire {
    phase: Phase,
    /// The id of the next stream.
    next: u32,
    /// Bytes that wait to be written.
    out: BytesMut,
    /// Bytes that the cell may have got.
    written: u64,
    /// Bytes that may still come on streams that are over.
    stray: usize,
    /// The driver's task. `None`: it is woken already.
    driver: Option<Waker>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Requests can begin.
    Open,
    /// No request begins; those that have go on.
    Leaving,
    /// Nothing is read or written any more.
    Closed,
}

impl Default for Wire {
    fn default() -> Self {
        let out = BytesMut::new();
        Self { phase: Phase::Open, next: 1, out, written: 0, stray: 0, driver: None }
    }
}

impl Wire {
    /// The phase of the connection.
    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    /// Returns true if requests can begin.
    pub(super) fn is_open(&self) -> bool {
        self.phase == Phase::Open && self.next <= MAX_STREAM
    }

    /// Returns true if more may wait to be written.
    pub(super) fn has_room(&self) -> bool {
        self.out.len() < bounds::WAITING_FRAMES
    }

    /// Returns true if nothing waits to be written.
    pub(super) fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Bytes that the cell may have got of everything that was sent.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Everything that was sent, written or not.
    pub(super) fn sent(&self) -> u64 {
        self.written + self.out.len() as u64
    }

    /// Takes no more requests.
    pub(super) fn leave(&mut self) {
        if self.phase == Phase::Open {
            self.phase = Phase::Leaving;
            self.wake_driver();
        }
    }

    /// Takes no more requests, and drops what waits to be written.
    pub(super) fn discard(&mut self) {
        self.phase = Phase::Leaving;
        self.out.clear();
    }

    /// Ends the connection.
    pub(super) fn close(&mut self) {
        self.phase = Phase::Closed;
        self.out = BytesMut::new();
        self.wake_driver();
    }

    /// Sends a request with the beginning of its body. Returns the stream. `None`: no frame can
    /// express the request, or no request may begin.
    pub(super) fn send_request<B>(&mut self, request: &Request<B>, body: FirstPart<'_>) -> Option<u32> {
        let (uri, headers) = (request.uri(), request.headers());
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let target = [uri.scheme_str()?, "://", uri.authority()?.as_str(), path];
        let is_chunked = body.is_expected && !headers.contains_key(CONTENT_LENGTH);
        let headers = headers.iter().chain(is_chunked.then_some((&CHUNKED.0, &CHUNKED.1)));
        let (method, body) = (request.method().as_str(), (body.piece, body.is_whole));
        self.begin(|out, stream| encode::request(out, stream, method, &target, headers, body))
    }

    /// Sends a request that `append` appends as the stream that it gets. Returns the stream. `None`:
    /// as for [`Wire::send_request`].
    pub(super) fn begin(
        &mut self,
        append: impl FnOnce(&mut BytesMut, u32) -> Result<(), TooLong>,
    ) -> Option<u32> {
        if !self.is_open() {
            return None;
        }
        let stream = self.next;
        append(&mut self.out, stream).ok()?;
        self.next += 1;
        self.wake_driver();
        Some(stream)
    }

    /// Sends a piece of a request's body.
    pub(super) fn send_data(&mut self, stream: u32, data: &[u8], is_last: bool) {
        encode::data(&mut self.out, stream, data, is_last);
        self.wake_driver();
    }

    /// Sends credit for the body of a response.
    pub(super) fn send_credit(&mut self, stream: u32, bytes: u32) {
        encode::credit(&mut self.out, stream, bytes);
        self.wake_driver();
    }

    /// Ends a stream early.
    pub(super) fn reset(&mut self, stream: u32) {
        if self.phase != Phase::Closed {
            encode::reset(&mut self.out, stream, false);
            self.stray = self.stray.saturating_add(bounds::FRAMES_AFTER_RESET);
            self.wake_driver();
        }
    }

    /// Notes that a stream has ended well.
    pub(super) fn end(&mut self) {
        self.stray = self.stray.saturating_add(bounds::FRAMES_AFTER_END);
        if self.phase == Phase::Leaving {
            self.wake_driver();
        }
    }

    /// Ignores a frame of `bytes` on a stream that is over.
    ///
    /// # Errors
    /// The stream was never there, or the cell sends too many of them.
    pub(super) fn ignore(&mut self, stream: u32, bytes: usize) -> Result<(), FrameError> {
        let left = self.stray.checked_sub(bytes).filter(|_| stream < self.next);
        self.stray = left.ok_or(FrameError::Stream)?;
        Ok(())
    }

    /// Has `write` write some of the bytes that wait.
    pub(super) fn write<E>(
        &mut self,
        write: impl FnOnce(&[u8]) -> Poll<Result<usize, E>>,
    ) -> Poll<Result<(), E>> {
        write(&self.out).map_ok(|written| {
            self.out.advance(written);
            self.written += written as u64;
        })
    }

    /// Remembers the driver's task.
    pub(super) fn watch(&mut self, cx: &Context<'_>) {
        self.driver = Some(cx.waker().clone());
    }

    fn wake_driver(&mut self) {
        if let Some(driver) = self.driver.take() {
            driver.wake();
        }
    }
}
