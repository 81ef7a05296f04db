//! The plain requests of a connection, one after the other, without hyper: each is given to the
//! handler as it came, and its response written as it comes. With the first request that is not
//! plain, the connection goes the long way for the rest of its life.
//!
//! The limits are those of [`GuardedStream`](crate::guarded::GuardedStream) and of hyper's
//! connection: on the time of a head, on idle connections, and on clients that do not read.

mod output;
mod response;

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use http::Response;
use http_body::Body as _;
use tokio::io::AsyncReadExt as _;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until};

use self::output::Output;
use self::response::BodyWriter;
use super::accepted::Worker;
use super::{Caller, Handler, HandlerBody as _};
use crate::framing::{Framing, Stop};
use crate::plain::{self, Look};
use crate::socket::Stream;

/// Bytes of one read: more than most requests.
const READ: usize = 4 << 10;

/// Bytes that are read ahead of the response to the request before them.
const AHEAD: usize = 64 << 10;

/// A connection that goes the long way.
#[derive(Debug)]
pub(super) struct Rest {
    pub(super) stream: Stream,
    /// Bytes that were read, from the beginning of a request.
    pub(super) input: BytesMut,
    /// Requests that were answered.
    pub(super) requests: u64,
    /// The time by which the head of the request that has begun is complete.
    pub(super) head_until: Option<Instant>,
}

/// The reason why no further plain request comes.
enum Halt {
    /// The connection is over.
    Over,
    /// The connection goes the long way.
    Rest,
}

/// A connection.
struct Direct<'a, H> {
    worker: &'a Worker<H>,
    caller: &'a Caller,
    stream: Stream,
    input: BytesMut,
    /// The client has ended its direction.
    is_ended: bool,
    output: Output,
    requests: u64,
    /// A part of a head has come, whose deadline is the alarm's.
    is_head_begun: bool,
    alarm: Alarm,
}

/// A timer whose deadline is moved at each request, and set anew only if it would fire too late.
struct Alarm {
    deadline: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Alarm {
    fn new(deadline: Instant) -> Self {
        Self { deadline, timer: Box::pin(sleep_until(deadline)) }
    }

    fn set(&mut self, deadline: Instant) {
        self.deadline = deadline;
        if self.timer.deadline() > deadline {
            self.timer.as_mut().reset(deadline);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            if self.timer.deadline() >= self.deadline {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(self.deadline);
        }
    }
}

/// Serves the plain requests of a connection. Returns it if it has others. `None`: it is over.
pub(super) async fn serve<H: Handler>(
    stream: Stream,
    worker: &Worker<H>,
    caller: &Caller,
    stop: &watch::Receiver<Option<Duration>>,
) -> Option<Rest> {
    let first_head = Instant::now() + worker.limits.head_timeout;
    let mut direct = Direct {
        worker,
        caller,
        stream,
        input: BytesMut::new(),
        is_ended: false,
        output: Output::new(worker.limits.body_timeout),
        requests: 0,
        is_head_begun: false,
        alarm: Alarm::new(first_head),
    };
    let mut stopped = stop.clone();
    let mut stopped = pin!(async move { stopped.wait_for(Option::is_some).await.is_ok() });
    loop {
        let next = poll_fn(|cx| direct.poll_next(cx, stopped.as_mut())).await;
        let halt = match next {
            // Boxed, so that a connection is small while it is idle.
            Ok((length, request)) => Box::pin(direct.exchange(length, request, stop)).await.err(),
            Err(halt) => Some(halt),
        };
        match halt {
            None => {}
            Some(Halt::Over) => return None,
            Some(Halt::Rest) => return Some(direct.into_rest()),
        }
    }
}

impl<H: Handler> Direct<'_, H> {
    fn into_rest(self) -> Rest {
        let head_until = self.is_head_begun.then_some(self.alarm.deadline);
        Rest { stream: self.stream, input: self.input, requests: self.requests, head_until }
    }

    /// Takes the next request. Returns its length as well.
    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        stopped: Pin<&mut impl Future<Output = bool>>,
    ) -> Poll<Result<(usize, H::Direct), Halt>> {
        loop {
            if !self.input.is_empty() {
                match self.look() {
                    Look::Taken(length, request) => return Poll::Ready(Ok((length, request))),
                    Look::Incomplete => self.await_head(),
                    Look::Other => return Poll::Ready(Err(Halt::Rest)),
                }
            }
            match self.poll_read(cx) {
                Poll::Ready(Ok(())) if !self.is_ended => continue,
                // The rest of a head will not come.
                Poll::Ready(_) => return Poll::Ready(Err(Halt::Over)),
                Poll::Pending => {}
            }
            if stopped.poll(cx).is_ready() {
                return Poll::Ready(Err(Halt::Rest));
            }
            ready!(self.alarm.poll(cx));
            // The long way answers a head that is too slow.
            let is_begun = !self.input.is_empty();
            return Poll::Ready(Err(if is_begun { Halt::Rest } else { Halt::Over }));
        }
    }

    fn look(&mut self) -> Look<H::Direct> {
        let Self { worker, caller, input, requests, .. } = self;
        // The last request is announced as such, and answered the long way.
        if *requests + 1 >= worker.limits.max_connection_requests {
            return Look::Other;
        }
        let take = |request: &plain::PlainRequest<'_>| worker.handler.begin(request, caller);
        match plain::look(input, worker.limits.max_head, take) {
            Look::Incomplete if !is_incomplete(input, worker.limits.max_head) => Look::Other,
            look => look,
        }
    }

    /// Sets the deadline of a head that has begun.
    fn await_head(&mut self) {
        // The first one has its time from connecting.
        if !std::mem::replace(&mut self.is_head_begun, true) && self.requests > 0 {
            self.alarm.set(Instant::now() + self.worker.limits.head_timeout);
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.input.capacity() - self.input.len() < READ / 2 {
            self.input.reserve(READ);
        }
        let read = pin!(self.stream.read_buf(&mut self.input)).poll(cx);
        if self.input.is_empty() {
            // Most connections are idle most of the time, and need no buffer then.
            self.input = BytesMut::new();
        }
        self.is_ended = ready!(read)? == 0;
        Poll::Ready(Ok(()))
    }

    /// Answers a request of `length` bytes at the beginning of the input.
    async fn exchange(
        &mut self,
        length: usize,
        request: H::Direct,
        stop: &watch::Receiver<Option<Duration>>,
    ) -> Result<(), Halt> {
        self.is_head_begun = false;
        let is_head = self.input.starts_with(b"HEAD ");
        let response = {
            let worker = self.worker;
            let mut response = pin!(worker.handler.finish(request));
            poll_fn(|cx| match response.as_mut().poll(cx) {
                Poll::Ready(response) => Poll::Ready(Ok(response)),
                Poll::Pending => self.poll_gone(cx).map(|()| Err(Halt::Over)),
            })
            .await?
        };
        // No handler got it: the long way sends it again.
        let Some(response) = response else { return Err(Halt::Rest) };
        self.input.advance(length);
        let is_last = stop.borrow().is_some();
        self.respond(response, is_head, is_last).await?;
        self.requests += 1;
        self.alarm.set(Instant::now() + self.worker.limits.idle_timeout);
        Ok(())
    }

    /// Ready if the client has gone while its request is answered. Reads what comes meanwhile.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.input.len() < AHEAD {
            match ready!(self.poll_read(cx)) {
                Ok(()) if !self.is_ended => {}
                _ => return Poll::Ready(()),
            }
        }
        // The end of the client is noticed when the response is written.
        Poll::Pending
    }

    async fn respond(
        &mut self,
        response: Response<H::Body>,
        is_head: bool,
        is_last: bool,
    ) -> Result<(), Halt> {
        let (head, mut body) = response.into_parts();
        let mut writer =
            BodyWriter::begin(&mut self.output, &head, (&body, body.request_id()), is_head, is_last);
        while !writer.is_over(&body) {
            let frame = poll_fn(|cx| {
                if self.output.is_full() {
                    ready!(self.output.poll_flush(cx, &mut self.stream)).map_err(|_| Halt::Over)?;
                }
                if let Poll::Ready(frame) = Pin::new(&mut body).poll_frame(cx) {
                    return Poll::Ready(Ok(frame));
                }
                // The next piece is awaited: what there is leaves now.
                if let Poll::Ready(Err(_)) = self.output.poll_flush(cx, &mut self.stream) {
                    return Poll::Ready(Err(Halt::Over));
                }
                self.poll_gone(cx).map(|()| Err(Halt::Over))
            });
            match frame.await? {
                Some(Ok(frame)) => writer.write(&mut self.output, frame),
                // The response is cut off behind what came before.
                Some(Err(_)) => {
                    _ = self.flush().await;
                    return Err(Halt::Over);
                }
                None => break,
            }
        }
        // The body holds the cell's side of the request.
        drop(body);
        if self.output.is_full() {
            self.flush().await?;
        }
        let is_whole = writer.end(&mut self.output);
        self.flush().await?;
        if is_whole { Ok(()) } else { Err(Halt::Over) }
    }

    async fn flush(&mut self) -> Result<(), Halt> {
        poll_fn(|cx| self.output.poll_flush(cx, &mut self.stream)).await.map_err(|_| Halt::Over)
    }
}

/// Returns false if the long way would refuse what has come of a head.
fn is_incomplete(input: &[u8], max_head: usize) -> bool {
    Framing::new(max_head).look(input) == (0, Stop::Incomplete)
}
