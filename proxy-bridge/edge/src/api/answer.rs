//! Answers of an API: JSON, text, problem documents and streams. None may be cached.

use axum::BoxError;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, TryStreamExt as _};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use http_body_util::StreamBody;
use hyper::body::Frame;
use serde::Serialize;
use switchyard_contract::visible;

use crate::fair::FairBody;
use crate::problem::{PROBLEM_JSON, Problem};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// The content type of metrics in OpenMetrics, which Prometheus reads.
pub const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// Seconds after which a refused client may try again: about as long as a build takes.
const RETRY_SOON: HeaderValue = HeaderValue::from_static("1");

/// An answer of plain text.
pub fn text(status: StatusCode, text: impl Into<String>) -> Response {
    whole(status, TEXT, text.into())
}

/// An answer of JSON.
pub fn json(status: StatusCode, value: &impl Serialize) -> Response {
    document(status, JSON, &serde_json::to_string(value).expect("answers are plain data"))
}

/// A problem document that was stored earlier.
pub fn stored_problem(status: StatusCode, document: &serde_json::Value) -> Response {
    retrying(self::document(status, PROBLEM_JSON, &document.to_string()))
}

/// The answer 204.
pub fn no_content() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// An answer of any type.
pub fn whole(status: StatusCode, kind: HeaderValue, text: String) -> Response {
    respond(status, kind, Body::from(text))
}

/// An answer with a body that is made while it is sent. An error breaks the connection off, so that
/// a part never passes for the whole.
pub fn streamed<E>(
    kind: HeaderValue,
    chunks: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
) -> Response
where
    E: Into<BoxError> + Send + 'static,
{
    let body = StreamBody::new(Box::pin(chunks.map_ok(Frame::data)));
    respond(StatusCode::OK, kind, Body::new(FairBody::new(body)))
}

/// One line of JSON. Characters that a terminal would obey are escaped: text of projects may be in
/// it.
fn document(status: StatusCode, kind: HeaderValue, text: &str) -> Response {
    whole(status, kind, format!("{}\n", visible::json(text)))
}

fn respond(status: StatusCode, kind: HeaderValue, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Adds `retry-after` to an answer 503 that has none.
fn retrying(mut response: Response) -> Response {
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().entry(RETRY_AFTER).or_insert(RETRY_SOON);
    }
    response
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        tracing::debug!(status = self.status.as_u16(), "refused: {}", self.detail());
        retrying(self.to_response().map(Body::new))
    }
}
