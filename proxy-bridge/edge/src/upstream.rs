//! A connection to whoever answers: a cell, or a router. What comes of an answer that is there already, and what
//! is wrong with one that is none.

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

/// Why what came back is not an answer, though whoever sent it may be well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadAnswer {
    /// The bytes are no HTTP, or contradict themselves.
    Invalid,
    /// More bytes, or more headers than [`MAX_HEADERS`](switchyard_contract::bounds::MAX_HEADERS).
    HeadTooLarge,
    /// The connection ended before the answer's head did.
    ClosedEarly,
    /// Protocols were switched without being asked for, or to another one than what was asked for.
    Switch,
    /// No connection is taken.
    NoConnection,
}

impl BadAnswer {
    /// What was wrong with the bytes that came. `None`: they were too few to tell.
    pub fn of(error: &hyper::Error) -> Option<Self> {
        match error {
            error if error.is_parse_too_large() => Some(Self::HeadTooLarge),
            error if error.is_parse() => Some(Self::Invalid),
            error => has_invalid_bytes(error).then_some(Self::Invalid),
        }
    }
}

/// Whether the body of an answer could not be read, rather than not been had.
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

/// The bytes that may still come before the head of an answer is complete, or before there is more
/// of its body. Those of 1xx answers count as well, of which there may be any number for hyper, and
/// those of a chunk's size, which may have any number of zeros. Clones are the same.
#[derive(Debug, Clone)]
pub struct HeadBudget(Arc<Budget>);

#[derive(Debug)]
struct Budget {
    left: AtomicUsize,
    /// Reads that may still bring any number of bytes.
    reads: AtomicUsize,
    /// The largest head.
    head: AtomicUsize,
}

impl HeadBudget {
    /// No head is awaited.
    const ANY: usize = usize::MAX;

    /// Without a bound.
    pub fn any() -> Self {
        Self(Arc::new(Budget { left: Self::ANY.into(), reads: 0.into(), head: 0.into() }))
    }

    /// A budget for heads of `most` bytes, the first of which is awaited.
    pub fn new(most: usize) -> Self {
        let budget = Self::any();
        budget.await_head(most);
        budget
    }

    /// A request is sent: from here on the head of its answer is awaited, of at most `most` bytes.
    pub fn await_head(&self, most: usize) {
        // As much again is room for 1xx, and for the beginning of the body. A larger head hyper
        // notices by itself.
        self.0.head.store(most, Relaxed);
        self.wait(0);
    }

    /// There is a frame of the body, or its head: from here on the next frame is awaited.
    fn await_frame(&self) {
        self.wait(READS_AHEAD);
    }

    fn wait(&self, reads: usize) {
        self.0.left.store(self.0.head.load(Relaxed).saturating_mul(2), Relaxed);
        self.0.reads.store(reads, Relaxed);
    }

    /// The head has come: what follows has other bounds, or is a body in the hands of a [`Counted`].
    pub fn complete(&self) {
        self.0.left.store(Self::ANY, Relaxed);
    }

    /// The bytes that may be read at once; `None`: any.
    fn left(&self) -> Option<usize> {
        let left = self.0.left.load(Relaxed);
        (left != Self::ANY && self.0.reads.load(Relaxed) == 0).then_some(left)
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

/// Frames that hyper has read before the one that was read first is asked for.
const READS_AHEAD: usize = 2;

/// A body whose frames are counted: between two of them, and before the first one, only so much may
/// come.
#[derive(Debug)]
pub struct Counted {
    body: Incoming,
    head: HeadBudget,
}

impl Counted {
    /// `head` is that of the connection on which `body` comes.
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

/// A connection that goes on being read when it takes no more: who refuses a request before having read all of it may
/// close the connection behind the answer, and hyper would report that the request could not be
/// written. It is read in turns with others, whatever it brings: hyper skips heads of 1xx and reads
/// heads and trailers in one go.
#[derive(Debug)]
pub struct ReadsOn<S> {
    stream: S,
    is_deaf: bool,
    turn: Turn,
    head: HeadBudget,
}

impl<S> ReadsOn<S> {
    /// `head` bounds what comes before bodies.
    pub fn new(stream: S, head: HeadBudget) -> Self {
        Self { stream, is_deaf: false, turn: Turn::default(), head }
    }

    pub fn into_inner(self) -> S {
        self.stream
    }

    /// What a write came to. When it failed there is nothing more to write; reading tells how it ends.
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
    /// Reads a piece of a head, or of what is between two frames, of which `left` bytes may still come.
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

    /// The outcome for hyper of `sent` as the answer to a request, read through a connection whose heads
    /// have 4096 bytes: its headers, and the bytes of its body.
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
            // The next connection is none the worse for it.
            let well = b"HTTP/1.1 204 No Content\r\n\r\n".to_vec();
            prop_assert_eq!(runtime.block_on(answered(well)), Ok((0, 0)));
        }
    }
}
