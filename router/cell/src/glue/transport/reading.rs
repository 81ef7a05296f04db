//! The reading half of a connection: frames in. Its task reads them, and queues the requests.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use switchyard_protocol::frame::{
    Content, Decoder, Frame, FrameError, HeadLimits, RequestHead, Sender, encode,
};
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;

use super::Transport;
use super::exchange::{Connection, Exchange};
use super::server::Server;

/// Bytes of a read buffer. An idle connection keeps no larger one.
const BUFFER: usize = 16 << 10;

/// Bytes of a read buffer while uploads fill it.
const LARGE_BUFFER: usize = 128 << 10;

/// Reads after which other tasks get their turn.
const TURN_READS: usize = 8;

/// Bytes of a payload from which on it is kept as it is. A smaller one is copied, so that it does
/// not keep the whole read buffer.
const SHARED: usize = 16 << 10;

/// Streams that may be open at once: more than the router lets into a project.
const MAX_STREAMS: usize = 1 << 16;

const DECODER: Decoder = Decoder::new(Sender::Router, HeadLimits::ROUTER);

/// The reading half, with its task.
struct Reading {
    connection: Rc<Connection>,
    socket: OwnedReadHalf,
    input: BytesMut,
}

/// Returns a connection and its task, which ends with the connection.
pub(super) fn open(
    stream: UnixStream,
    server: Rc<Server>,
    transport: &Rc<Transport>,
) -> (Rc<Connection>, impl Future<Output = ()> + 'static) {
    let (reading, writing) = stream.into_split();
    let connection = Rc::new(Connection::new(server, transport, writing));
    let mut reading = Reading { connection: Rc::clone(&connection), socket: reading, input: BytesMut::new() };
    (connection, async move { poll_fn(|cx| reading.poll(cx)).await })
}

impl Connection {
    /// Announces that further requests are refused.
    pub(super) fn go_away(self: &Rc<Self>) {
        self.write(encode::go_away);
    }

    /// Ends all requests that are under way.
    pub(super) fn reset_all(self: &Rc<Self>) {
        for (_, exchange) in self.streams.take() {
            self.write(|output| encode::reset(output, exchange.stream(), false));
            exchange.cancel();
        }
    }

    /// Ends all streams: the connection is broken.
    fn break_off(&self) {
        self.lose();
        let exchanges = self.streams.take();
        exchanges.into_values().for_each(|exchange| exchange.cancel());
    }

    fn receive(self: &Rc<Self>, frame: Frame) -> Result<(), FrameError> {
        let Frame { stream, end, content } = frame;
        if let Content::Request(payload) = content {
            return self.receive_request(stream, payload, end);
        }
        if stream > self.last_stream.get() {
            return Err(FrameError::Stream);
        }
        let exchange = self.streams.borrow().get(&stream).cloned();
        // The stream may have ended here before the router knew.
        let Some(exchange) = exchange else { return Ok(()) };
        match content {
            Content::Data(data) => exchange.receive(own(data), end),
            Content::Credit(bytes) => exchange.add_credit(bytes),
            Content::Reset { .. } => {
                self.forget(stream);
                exchange.cancel();
                Ok(())
            }
            // Not from the router.
            _ => Err(FrameError::Flags),
        }
    }

    fn receive_request(self: &Rc<Self>, stream: u32, payload: Bytes, end: bool) -> Result<(), FrameError> {
        if stream <= self.last_stream.replace(stream) {
            return Err(FrameError::Stream);
        }
        if self.server().is_closed() || self.streams.borrow().len() >= MAX_STREAMS {
            self.write(|output| encode::reset(output, stream, true));
            return Ok(());
        }
        let (head, body) = RequestHead::parse(own(payload))?;
        let exchange = Exchange::new(self, stream, head);
        exchange.receive(body, end)?;
        self.streams.borrow_mut().insert(stream, Rc::clone(&exchange));
        if let Some(transport) = self.transport() {
            transport.receive(exchange);
        }
        Ok(())
    }
}

/// Returns a payload that keeps no other bytes in memory.
fn own(payload: Bytes) -> Bytes {
    if payload.len() < SHARED { Bytes::copy_from_slice(&payload) } else { payload }
}

impl Reading {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.connection.set_task(cx.waker());
        let Some(transport) = self.connection.transport() else { return Poll::Ready(()) };
        // Requests may be left from the end of a turn.
        transport.schedule();
        for _ in 0..TURN_READS {
            match self.read(cx) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false) | Err(_)) => return Poll::Ready(()),
                Poll::Pending => {
                    _ = self.connection.poll_flush(cx);
                    return if self.connection.is_lost() { Poll::Ready(()) } else { Poll::Pending };
                }
            }
        }
        _ = self.connection.poll_flush(cx);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads once, and receives the frames that are complete. `false`: the router sends no more.
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let missing = DECODER.missing(&self.input);
        let size = if self.input.capacity() > BUFFER { LARGE_BUFFER } else { BUFFER };
        self.input.reserve(missing.max(size));
        let read = std::task::ready!(pin!(self.socket.read_buf(&mut self.input)).poll(cx))?;
        if read == 0 {
            return Poll::Ready(Ok(false));
        }
        let is_full = self.input.len() == self.input.capacity();
        while let Some(frame) = DECODER.decode(&mut self.input).map_err(io::Error::other)? {
            self.connection.receive(frame).map_err(io::Error::other)?;
        }
        if is_full {
            self.input.reserve(LARGE_BUFFER);
        } else if self.input.is_empty() && self.input.capacity() > BUFFER {
            self.input = BytesMut::new();
        }
        Poll::Ready(Ok(true))
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.connection.break_off();
    }
}
