//! Connections to the servers behind, cells and routers: bounds on the bytes of a response, and the
//! faults of responses.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::turn::Turn;
use switchyard_contract::bounds;

/// The fault of a response whose server may be healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadAnswer {
    /// The bytes are not HTTP, or contradict themselves.
    Invalid,
    /// More bytes, or more headers than [`MAX_HEADERS`](switchyard_contract::bounds::MAX_HEADERS).
    HeadTooLarge,
    /// The connection ended before the end of the response's head.
    ClosedEarly,
    /// The server switched protocols without a request for it, or to another protocol than the
    /// request's.
    Switch,
    /// The server takes no connection.
    NoConnection,
}

impl BadAnswer {
    /// Returns the fault of the bytes that caused `error`. `None` if the connection ended instead.
    pub fn of(error: &hyper::Error) -> Option<Self> {
        match error {
            error if error.is_parse_too_large() => Some(Self::HeadTooLarge),
            error if error.is_parse() => Some(Self::Invalid),
            error => has_invalid_bytes(error).then_some(Self::Invalid),
        }
    }
}

/// Returns true if the body of a response is invalid, rather than incomplete.
fn has_invalid_bytes(error: &hyper::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData);
        }
        cause = error.source();
    }
    false
}

/// The bytes that may still come before the head of a response is complete, or before there is more
/// of its body. Interim (1xx) responses count as well, of which hyper skips any number, and the
/// digits of a chunk's size, which may have any number of zeros. Clones share one budget.
#[derive(Debug, Clone)]
pub struct HeadBudget(Arc<Budget>);

#[derive(Debug)]
struct Budget {
    left: AtomicUsize,
    /// Further reads that may bring any number of bytes.
    reads: AtomicUsize,
    /// The largest head, in bytes.
    head: AtomicUsize,
}

impl HeadBudget {
    /// The number of bytes where there is no bound.
    const UNLIMITED: usize = usize::MAX;

    /// A budget without a bound, for servers that are trusted.
    pub fn unlimited() -> Self {
        let unlimited = || Self::UNLIMITED.into();
        Self(Arc::new(Budget { left: unlimited(), reads: 0.into(), head: unlimited() }))
    }

    /// A budget for heads of `most` bytes. The first one is awaited.
    pub fn new(most: usize) -> Self {
        let budget = Self::unlimited();
        budget.await_head(most);
        budget
    }

    /// Awaits the head of a response, of at most `most` bytes. To be called before a request is
    /// sent.
    pub fn await_head(&self, most: usize) {
        // The same amount again leaves room for interim responses and the beginning of the body.
        // hyper itself refuses a larger head.
        self.0.head.store(most, Relaxed);
        self.wait(0);
    }

    /// Awaits the next frame of the body.
    fn await_frame(&self) {
        self.wait(READS_AHEAD);
    }

    fn wait(&self, reads: usize) {
        self.0.left.store(self.0.head.load(Relaxed).saturating_mul(2), Relaxed);
        self.0.reads.store(reads, Relaxed);
    }

    /// Ends the bound after a head: later bytes have other bounds, or are the body of a
    /// [`Counted`].
    pub fn complete(&self) {
        self.0.left.store(Self::UNLIMITED, Relaxed);
    }

    /// Returns how many bytes may be read at once. `None` for any number.
    fn left(&self) -> Option<usize> {
        let left = self.0.left.load(Relaxed);
        (left != Self::UNLIMITED && self.0.reads.load(Relaxed) == 0).then_some(left)
    }

    fn spend(&self, left: usize, bytes: usize) {
        self.0.left.store(left.saturating_sub(bytes), Relaxed);
    }

    /// Counts a read of any number of bytes.
    fn read(&self) {
        let reads = self.0.reads.load(Relaxed);
        self.0.reads.store(reads.saturating_sub(1), Relaxed);
    }
}

/// Frames that hyper reads ahead of the one that is polled.
const READS_AHEAD: usize = 2;

/// A response body with a bound on the bytes between two of its frames, and before the first one.
#[derive(Debug)]
pub struct Counted {
    body: Incoming,
    head: HeadBudget,
}

impl Counted {
    /// `head` is the budget of the connection that `body` comes on.
    pub fn new(body: Incoming, head: HeadBudget) -> Self {
        head.await_frame();
        Self { body, head }
    }
}

impl Body for Counted {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if frame.is_ready() {
            self.head.await_frame();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection that is still read after a write has failed: a server that refuses a request before
/// it has read all of it may close the connection after the response, and hyper would report the
/// failed write instead. Reading takes turns with other tasks, regardless of the input: hyper skips
/// interim responses and reads heads and trailers in one go.
#[derive(Debug)]
pub struct ReadsOn<S> {
    stream: S,
    /// A write has failed.
    is_deaf: bool,
    turn: Turn,
    head: HeadBudget,
}

impl<S> ReadsOn<S> {
    /// `head` bounds the bytes before bodies.
    pub fn new(stream: S, head: HeadBudget) -> Self {
        Self { stream, is_deaf: false, turn: Turn::default(), head }
    }

    /// Returns the connection itself.
    pub fn into_inner(self) -> S {
        self.stream
    }

    /// Returns the result of a write. A failed write stays pending: reading shows how the
    /// connection ends.
    fn written<T>(&mut self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if matches!(written, Poll::Ready(Err(_))) {
            self.is_deaf = true;
            return Poll::Pending;
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadsOn<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.turn.poll_begin(cx));
        let before = buffer.filled().len();
        let (read, weight) = match this.head.left() {
            None => {
                let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
                if read.is_ready() {
                    this.head.read();
                }
                (read, 1)
            }
            Some(left) => (this.read_head(cx, buffer, left), bounds::TURN_BYTES / bounds::HEAD_READ),
        };
        match &read {
            Poll::Ready(_) => this.turn.count(weight * (buffer.filled().len() - before)),
            Poll::Pending => this.turn.end(),
        }
        read
    }
}

impl<S: AsyncRead + Unpin> ReadsOn<S> {
    /// Reads a piece of a head, or of the framing between two frames, of which `left` bytes may
    /// still come.
    fn read_head(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
        left: usize,
    ) -> Poll<io::Result<()>> {
        if left == 0 {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "nothing but framing")));
        }
        let mut piece = [MaybeUninit::uninit(); bounds::HEAD_READ];
        let most = left.min(bounds::HEAD_READ).min(buffer.remaining());
        let mut piece = ReadBuf::uninit(&mut piece[..most]);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut piece))?;
        self.head.spend(left, piece.filled().len());
        buffer.put_slice(piece.filled());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReadsOn<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_deaf {
            return Poll::Pending;
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.is_deaf {
            return Poll::Pending;
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, buffers);
        self.written(written)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::BodyExt as _;
    use hyper_util::rt::TokioIo;
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixStream;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn an_answer_is_read_though_nothing_more_can_be_written() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let mut near = ReadsOn::new(near, HeadBudget::new(1024));
        far.write_all(b"HTTP/1.1 401 Unauthorized\r\n\r\n").await.unwrap();
        drop(far);
        let writing = timeout(Duration::from_millis(20), near.write_all(b"more"));
        assert!(writing.await.is_err(), "the failure is not reported");
        let mut answer = String::new();
        near.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    }

    /// Returns how many headers and body bytes hyper reads of `sent` as the response to a request,
    /// on a connection whose heads have at most 4096 bytes.
    async fn answered(sent: Vec<u8>) -> Result<(usize, usize), Option<BadAnswer>> {
        let (near, mut far) = UnixStream::pair().unwrap();
        let head = HeadBudget::new(4096);
        let stream = TokioIo::new(ReadsOn::new(near, head.clone()));
        let mut builder = hyper::client::conn::http1::Builder::new();
        builder.max_headers(64).max_header_size(8192);
        let (mut sender, connection) = builder.handshake(stream).await.unwrap();
        let writing = tokio::spawn(async move {
            let _ = far.write_all(&sent).await;
        });
        let connection = tokio::spawn(connection);
        let request = http::Request::new(http_body_util::Empty::<bytes::Bytes>::new());
        let answer = sender.send_request(request).await;
        let answered = match answer {
            Ok(answer) => {
                let headers = answer.headers().len();
                let body = Counted::new(answer.into_body(), head).collect().await;
                body.map(|body| (headers, body.to_bytes().len()))
            }
            Err(error) => Err(error),
        };
        let answered = answered.map_err(|error| BadAnswer::of(&error));
        connection.abort();
        writing.await.unwrap();
        answered
    }

    #[tokio::test]
    async fn heads_of_1xx_are_skipped_as_long_as_they_are_few() {
        let hint = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n";
        let end = "HTTP/1.1 204 No Content\r\nX: y\r\n\r\n";
        let sent = |hints: usize| (hint.repeat(hints) + end).into_bytes();
        assert_eq!(answered(sent(0)).await, Ok((1, 0)));
        assert_eq!(answered(sent(80)).await, Ok((1, 0)));
        assert_eq!(answered(sent(10_000)).await, Err(Some(BadAnswer::Invalid)));
    }

    #[tokio::test]
    async fn a_body_of_any_length_is_read_and_framing_without_a_body_is_refused() {
        const HEAD: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let sent = |chunks: &str| format!("{HEAD}{chunks}").into_bytes();
        let large = format!("100000\r\n{}\r\n", "x".repeat(1 << 20)).repeat(3);
        assert_eq!(answered(sent(&(large + "0\r\n\r\n"))).await, Ok((1, 3 << 20)));
        let small = "1;a=b\r\nx\r\n".repeat(2_000);
        assert_eq!(answered(sent(&(small + "0\r\n\r\n"))).await, Ok((1, 2_000)));
        let padded = format!("{}1\r\nx\r\n0\r\n{}\r\n", "0".repeat(4_000), "a: b\r\n".repeat(60));
        assert_eq!(answered(sent(&padded)).await, Ok((1, 1)));
        for endless in ["0".repeat(4 << 20), format!("1{}", " ".repeat(4 << 20))] {
            assert_eq!(answered(sent(&endless)).await, Err(Some(BadAnswer::Invalid)));
            let after = "1\r\nx\r\n".to_owned() + &endless;
            assert_eq!(answered(sent(&after)).await, Err(Some(BadAnswer::Invalid)));
        }
    }

    proptest! {
        #![proptest_config(crate::fuzz())]

        #[test]
        fn whatever_comes_as_an_answer_is_read_or_refused(
            start in "(HTTP/1.1 (200|101|103|99) X\r\n){0,2}",
            headers in prop::collection::vec("[a-zA-Z:\r\n\u{0} -]{0,80}", 0..100),
            noise in prop::collection::vec(any::<u8>(), 0..400),
            times in 0..60_usize,
            is_ended: bool,
        ) {
            let end = if is_ended { "\r\n\r\n" } else { "" };
            let head = format!("{start}{}{end}", headers.join("\r\n"));
            let sent = [head.into_bytes(), noise.repeat(times)].concat();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            match runtime.block_on(answered(sent)) {
                Ok((headers, _)) => prop_assert!(headers <= 64),
                Err(Some(bad)) => prop_assert!(matches!(bad, BadAnswer::Invalid | BadAnswer::HeadTooLarge)),
                Err(None) => {}
            }
            // The next connection is not affected.
            let well = b"HTTP/1.1 204 No Content\r\n\r\n".to_vec();
            prop_assert_eq!(runtime.block_on(answered(well)), Ok((0, 0)));
        }
    }
}
