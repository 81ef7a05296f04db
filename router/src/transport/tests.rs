//! Tests against a cell that does what it likes, over a real Unix stream.

mod aborts;
mod fuzz;
mod hostile;
mod responses;
mod uploads;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Frame as BodyFrame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use switchyard_protocol::frame::{Content, Decoder, Frame, RequestHead, Sender, encode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::timeout;

use super::*;

const MAX_HEAD: usize = 4096;

/// The id of the only cell.
const CELL: u64 = 7;

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a test on one thread, as the router's are.
fn run<T>(test: impl AsyncFnOnce(Setup) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        timeout(PATIENCE, test(Setup::new())).await.expect("the test ends in time")
    })
}

/// A thread's transport, and the socket of a cell.
struct Setup {
    transport: Rc<Transport>,
    listener: UnixListener,
    folder: tempfile::TempDir,
}

type Sent = JoinHandle<Result<Response<FramedBody>, SendError>>;

impl Setup {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("mux")).unwrap();
        Self { transport: Rc::new(Transport::new(MAX_HEAD)), listener, folder }
    }

    /// Sends a request in a task of its own.
    fn send(&self, request: Request<Upload>) -> Sent {
        let (transport, socket) = (self.transport.clone(), self.folder.path().join("mux"));
        spawn_local(async move { transport.send(CELL, &socket, request).await })
    }

    async fn get(&self) -> Sent {
        self.send(request("GET", None).await)
    }

    async fn accept(&self) -> Cell {
        let (stream, _) = self.listener.accept().await.unwrap();
        Cell { stream, input: BytesMut::new(), output: BytesMut::new() }
    }

    /// Sends a request, and accepts the connection that it comes on. Returns its stream.
    async fn begin(&self) -> (Sent, Cell, u32) {
        let sent = self.get().await;
        let mut cell = self.accept().await;
        let stream = cell.request().await.0;
        (sent, cell, stream)
    }

    /// The connection that requests go to. There is one.
    fn conn(&self) -> Rc<Conn> {
        self.transport.conns.borrow()[&CELL].clone()
    }
}

/// The pieces of a request's body, which end with the sender. An error breaks it off.
type Pieces = mpsc::Receiver<Result<Bytes, std::io::Error>>;

/// Returns a request as a handler of the public listener gets it.
async fn request(method: &'static str, body: Option<Pieces>) -> Request<Upload> {
    limited(method, body, u64::MAX).await
}

/// Returns a request whose body may have `limit` bytes.
async fn limited(method: &'static str, body: Option<Pieces>, limit: u64) -> Request<Upload> {
    let (near, far) = tokio::io::duplex(256 << 10);
    let (hand_out, handed_out) = oneshot::channel();
    let hand_out = RefCell::new(Some(hand_out));
    spawn_local(async move {
        let service = service_fn(move |request: Request<Incoming>| {
            let _ = hand_out.take().unwrap().send(request);
            std::future::pending::<Result<Response<Empty<Bytes>>, std::convert::Infallible>>()
        });
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(far), service).await;
    });
    let body: BoxBody<Bytes, std::io::Error> = match body {
        None => Empty::new().map_err(|never| match never {}).boxed(),
        Some(mut pieces) => {
            let pieces = futures_util::stream::poll_fn(move |cx| pieces.poll_recv(cx));
            let frames = futures_util::StreamExt::map(pieces, |piece| piece.map(BodyFrame::data));
            BodyExt::boxed(StreamBody::new(frames))
        }
    };
    let sent = Request::builder().method(method).uri("/path?query").header("host", "a.test").body(body);
    spawn_local(async move {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(near)).await.unwrap();
        let sent = sender.send_request(sent.unwrap());
        let _ = tokio::join!(connection, sent);
    });
    let request = handed_out.await.unwrap();
    let mut request = request.map(|body| Upload::new(body, limit, PATIENCE));
    *request.uri_mut() = "http://a.test/path?query".parse().unwrap();
    request
}

/// Returns a request with a body of known length, all of which is there.
async fn post(body: &'static [u8]) -> Request<Upload> {
    let (pieces, received) = mpsc::channel(1);
    pieces.try_send(Ok(Bytes::from_static(body))).unwrap();
    request("POST", Some(received)).await
}

/// The other end: a cell, or what has taken over one.
struct Cell {
    stream: UnixStream,
    input: BytesMut,
    output: BytesMut,
}

impl Cell {
    /// The next frame. `None`: the router has closed the connection.
    async fn next(&mut self) -> Option<Frame> {
        const ROUTER: Decoder = Decoder::new(Sender::Router, HeadLimits::ROUTER);
        loop {
            if let Some(frame) = ROUTER.decode(&mut self.input).unwrap() {
                return Some(frame);
            }
            if self.stream.read_buf(&mut self.input).await.ok()? == 0 {
                return None;
            }
        }
    }

    /// The next frame, which is a request: its stream, its head, and the beginning of its body.
    async fn request(&mut self) -> (u32, RequestHead, Bytes, bool) {
        let Some(Frame { stream, end, content: Content::Request(payload) }) = self.next().await else {
            panic!("a request is expected")
        };
        let (head, body) = RequestHead::parse(payload).unwrap();
        (stream, head, body, end)
    }

    /// Waits for the end of the connection.
    async fn closed(&mut self) {
        while self.next().await.is_some() {}
    }

    /// Writes frames.
    async fn send(&mut self, frames: impl FnOnce(&mut BytesMut)) {
        frames(&mut self.output);
        let output = self.output.split();
        // The router may have closed the connection.
        let _ = self.stream.write_all(&output).await;
    }

    /// Responds 200 with a whole body.
    async fn respond(&mut self, stream: u32, body: &str) {
        self.send(|out| whole(out, stream, body)).await;
    }
}

const NO_HEADERS: [(&str, &str); 0] = [];

fn whole(out: &mut BytesMut, stream: u32, body: &str) {
    encode::response(out, stream, 200, [("x-is", "here")], (body.as_bytes(), true)).unwrap();
}

fn head(out: &mut BytesMut, stream: u32) {
    encode::response(out, stream, 200, NO_HEADERS, (b"", false)).unwrap();
}

/// Returns the body of the response to a request.
async fn text(sent: Sent) -> String {
    let response = sent.await.unwrap().unwrap();
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// Returns the reason why a request, or its response, ended early.
async fn failure(sent: Sent) -> Failure {
    match sent.await.unwrap() {
        Ok(response) => response.into_body().collect().await.unwrap_err(),
        Err(SendError::Failed(failure)) => failure,
        Err(SendError::NotSent(_)) => panic!("the request is given back"),
    }
}
