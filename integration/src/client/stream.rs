//! Bodies that come and go in pieces, when the test says so.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::unfold;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use tokio::sync::mpsc;

use super::{Body, Driver, with_method};
use crate::within;

/// The sending end of a request's body. Dropping it ends the body.
#[derive(Debug)]
pub struct Upload(mpsc::Sender<Bytes>);

impl Upload {
    /// `POST path`, with a body that is still to be sent.
    pub fn post(path: &str) -> (Self, Request<Body>) {
        let (sender, receiver) = mpsc::channel::<Bytes>(1);
        let frames = unfold(receiver, |mut receiver| async move {
            let chunk = receiver.recv().await?;
            Some((Ok::<_, Infallible>(Frame::data(chunk)), receiver))
        });
        let body = BodyExt::boxed(StreamBody::new(frames));
        (Self(sender), with_method(Method::POST, path).map(|_| body))
    }

    pub async fn send(&self, chunk: impl Into<Bytes>) {
        let sent = within("a chunk is taken", self.0.send(chunk.into())).await;
        sent.expect("the other end still reads the body");
    }

    /// Ends the body.
    pub fn end(self) {}
}

/// An answer whose body is still to be read.
#[derive(Debug)]
pub struct Streaming {
    response: Response<Incoming>,
    _driver: Arc<Driver>,
}

impl Streaming {
    pub(super) fn new(response: Response<Incoming>, driver: Arc<Driver>) -> Self {
        Self { response, _driver: driver }
    }

    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    pub fn version(&self) -> Option<&str> {
        self.response.headers().get("x-switchyard-version")?.to_str().ok()
    }

    /// The next chunk as text, or None at the end of the body.
    pub async fn next(&mut self) -> Option<String> {
        self.try_next().await.map(|chunk| chunk.expect("the body continues"))
    }

    /// Like `next`, but returns an error if the body is cut off.
    pub async fn try_next(&mut self) -> Option<Result<String, hyper::Error>> {
        within("a chunk of the body", self.next_unbounded()).await
    }

    /// Like `try_next`, without a time limit.
    pub(crate) async fn next_unbounded(&mut self) -> Option<Result<String, hyper::Error>> {
        let chunk = self.next_chunk().await?;
        Some(chunk.map(|data| String::from_utf8_lossy(&data).into_owned()))
    }

    /// The next chunk, or None at the end of the body.
    ///
    /// # Panics
    /// The body is cut off.
    pub async fn next_bytes(&mut self) -> Option<Bytes> {
        within("a chunk of the body", self.next_chunk()).await.map(|chunk| chunk.expect("the body continues"))
    }

    async fn next_chunk(&mut self) -> Option<Result<Bytes, hyper::Error>> {
        loop {
            let frame = match self.response.body_mut().frame().await? {
                Ok(frame) => frame,
                Err(error) => return Some(Err(error)),
            };
            if let Ok(data) = frame.into_data() {
                return Some(Ok(data));
            }
        }
    }
}
