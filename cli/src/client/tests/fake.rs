//! A fake bridge on a real socket: records the requests and answers as configured.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// One request as it came in.
#[derive(Debug, Clone)]
pub(super) struct ReceivedRequest {
    pub(super) method: Method,
    /// With its query.
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    /// `None` if it was incomplete, or not read.
    pub(super) body: Option<Bytes>,
}

/// The answer to a request.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    Json(u16, Value),
    Page(u16, &'static str),
    /// Server-sent events, in pieces of the given number of bytes.
    Events(String, usize),
    /// Before the body has been read.
    AtOnce(u16, Value),
    /// The connection is closed instead, once the request has arrived.
    Break,
    /// Events that end in the middle.
    BreakAfter(String),
    Never,
}

pub(super) struct FakeBridge {
    port: u16,
    requests: Arc<Mutex<Vec<ReceivedRequest>>>,
    server: JoinHandle<()>,
}

type Replies = Arc<Mutex<VecDeque<Reply>>>;
type Answered = Result<Response<UnsyncBoxBody<Bytes, io::Error>>, io::Error>;

impl FakeBridge {
    /// Answers the requests in turn, and further ones with 500.
    pub(super) async fn answering(replies: impl Into<VecDeque<Reply>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let replies: Replies = Arc::new(Mutex::new(replies.into()));
        let requests = Arc::default();
        let server = tokio::spawn(serve(listener, replies, Arc::clone(&requests)));
        Self { port, requests, server }
    }

    pub(super) fn to(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(super) fn requests(&self) -> Vec<ReceivedRequest> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for FakeBridge {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, replies: Replies, requests: Arc<Mutex<Vec<ReceivedRequest>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (replies, requests) = (replies.clone(), requests.clone());
        let service = service_fn(move |request| answer(request, replies.clone(), requests.clone()));
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(
    request: Request<Incoming>,
    replies: Replies,
    requests: Arc<Mutex<Vec<ReceivedRequest>>>,
) -> Answered {
    let (parts, body) = request.into_parts();
    let reply = replies.lock().unwrap().pop_front().unwrap_or(Reply::Page(500, "not expected"));
    let body = match reply {
        // Read behind the answer, as a bridge does: closed on unread bytes, a connection may lose
        // the answer.
        Reply::AtOnce(..) => {
            tokio::spawn(body.collect());
            None
        }
        _ => body.collect().await.ok().map(|body| body.to_bytes()),
    };
    let path = parts.uri.path_and_query().unwrap().to_string();
    requests.lock().unwrap().push(ReceivedRequest {
        method: parts.method,
        path,
        headers: parts.headers,
        body,
    });
    match reply {
        Reply::Json(status, body) | Reply::AtOnce(status, body) => {
            Ok(response(status, "application/json", full(body.to_string())))
        }
        Reply::Page(status, body) => Ok(response(status, "text/html", full(body.to_owned()))),
        Reply::Events(text, size) => {
            let pieces: Vec<_> = text.as_bytes().chunks(size).map(Bytes::copy_from_slice).map(Ok).collect();
            Ok(response(200, "text/event-stream", pieces_of(pieces)))
        }
        Reply::Break => Err(io::ErrorKind::ConnectionReset.into()),
        Reply::BreakAfter(text) => {
            let pieces = vec![Ok(text.into()), Err(io::ErrorKind::ConnectionReset.into())];
            Ok(response(200, "text/event-stream", pieces_of(pieces)))
        }
        Reply::Never => std::future::pending().await,
    }
}

fn response(
    status: u16,
    kind: &str,
    body: UnsyncBoxBody<Bytes, io::Error>,
) -> Response<UnsyncBoxBody<Bytes, io::Error>> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response.headers_mut().insert("content-type", kind.parse().unwrap());
    response
}

fn full(text: String) -> UnsyncBoxBody<Bytes, io::Error> {
    Full::new(Bytes::from(text)).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// Each piece is sent separately.
fn pieces_of(pieces: Vec<io::Result<Bytes>>) -> UnsyncBoxBody<Bytes, io::Error> {
    let pieces = stream::iter(pieces).then(|piece| async {
        tokio::task::yield_now().await;
        piece.map(Frame::data)
    });
    StreamBody::new(pieces).boxed_unsync()
}
