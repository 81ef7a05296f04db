//! Answers of the admin listener.

use std::io;

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt as _};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use hyper::body::Frame;
use serde::Serialize;
use serde_json::json;
use switchyard_edge::fair::FairBody;
use switchyard_program::visible;

/// A body whose error breaks the connection off, so that half of it never passes for the whole.
pub(super) type Answer = Response<UnsyncBoxBody<Bytes, io::Error>>;

pub(super) fn text(status: StatusCode, text: impl Into<String>) -> Answer {
    whole(status, "text/plain; charset=utf-8", text.into())
}

pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    let text = serde_json::to_string(value).expect("answers are plain data");
    whole(status, "application/json", format!("{}\n", visible::json(&text)))
}

/// RFC 9457.
pub(super) fn problem(status: StatusCode, slug: &str, detail: &str) -> Answer {
    let document = json!({
        "type": format!("urn:switchyard:problem:{slug}"),
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "detail": detail,
    });
    let text = document.to_string();
    whole(status, "application/problem+json", format!("{}\n", visible::json(&text)))
}

pub(super) fn whole(status: StatusCode, kind: &'static str, text: String) -> Answer {
    answer(status, kind, Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync())
}

/// A body that is made while it is sent, in turns with others.
pub(super) fn streamed(
    kind: &'static str,
    chunks: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
) -> Answer {
    let body = StreamBody::new(Box::pin(chunks.map_ok(Frame::data)));
    answer(StatusCode::OK, kind, FairBody::new(body).boxed_unsync())
}

/// Nothing to say but that it is done.
pub(super) fn done() -> Answer {
    let mut response = Response::new(nothing());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

pub(super) fn nothing() -> UnsyncBoxBody<Bytes, io::Error> {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// One server-sent event, without an id.
pub(super) fn server_sent(kind: &str, data: &impl Serialize) -> String {
    let data = serde_json::to_string(data).expect("events are plain data");
    format!("event: {kind}\ndata: {}\n\n", visible::json(&data))
}

fn answer(status: StatusCode, kind: &'static str, body: UnsyncBoxBody<Bytes, io::Error>) -> Answer {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
