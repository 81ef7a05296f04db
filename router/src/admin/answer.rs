//! Answers of the admin listener.

use std::convert::Infallible;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use serde::Serialize;
use serde_json::json;

pub(super) type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

pub(super) fn text(status: StatusCode, text: impl Into<String>) -> Answer {
    whole(status, "text/plain; charset=utf-8", text.into())
}

pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    let mut text = serde_json::to_string(value).expect("answers are plain data");
    text.push('\n');
    whole(status, "application/json", text)
}

/// RFC 9457.
pub(super) fn problem(status: StatusCode, slug: &str, detail: &str) -> Answer {
    let document = json!({
        "type": format!("urn:switchyard:problem:{slug}"),
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "detail": detail,
    });
    whole(status, "application/problem+json", format!("{document}\n"))
}

pub(super) fn whole(status: StatusCode, kind: &'static str, text: String) -> Answer {
    answer(status, kind, Full::new(Bytes::from(text)).boxed_unsync())
}

pub(super) fn answer(
    status: StatusCode,
    kind: &'static str,
    body: UnsyncBoxBody<Bytes, Infallible>,
) -> Answer {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
