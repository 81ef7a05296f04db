//! Problem documents (RFC 9457): the one form in which every listener reports an error of its own.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;
use serde_json::{Map, Value};
use switchyard_contract::visible;

use crate::connections::Busy;
use crate::gate::GateError;
use crate::refusal::Refusal;

/// The content type of a problem document.
pub const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// The prefix of every problem's `type`.
const TYPE_PREFIX: &str = "urn:switchyard:problem:";

/// The error in an answer: a status, a stable type, and a sentence that ends with the fix.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// The status of the answer, also in the document.
    pub status: StatusCode,
    slug: &'static str,
    /// The status's reason phrase, if none.
    title: Option<&'static str>,
    detail: Cow<'static, str>,
    /// Boxed, because a problem is the rare half of many results.
    extras: Box<Extras>,
}

/// The parts that few problems have.
#[derive(Debug, Clone, Default, PartialEq)]
struct Extras {
    /// Further members of the document, in this order.
    members: Map<String, Value>,
    /// Further headers of the answer.
    headers: HeaderMap,
}

/// The members of the JSON document.
#[derive(Serialize)]
struct Document<'p> {
    #[serde(rename = "type")]
    kind: String,
    title: Option<&'p str>,
    status: u16,
    detail: &'p str,
    #[serde(flatten)]
    members: &'p Map<String, Value>,
}

impl Problem {
    /// A problem of type `urn:switchyard:problem:SLUG`. `detail` is a sentence that ends with the
    /// fix.
    pub fn new(status: StatusCode, slug: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, slug, title: None, detail: detail.into(), extras: Box::default() }
    }

    /// A problem of the request itself, with status 400.
    pub fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", detail)
    }

    /// Sets the title, which otherwise is the status's reason phrase.
    #[must_use]
    pub fn titled(mut self, title: &'static str) -> Self {
        self.title = Some(title);
        self
    }

    /// Adds a member to the document.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.extras.members.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a header to the answer.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.extras.headers.insert(name, value);
        self
    }

    /// Asks the client to try again after the given number of seconds.
    #[must_use]
    pub fn retry_after(self, seconds: u32) -> Self {
        self.with_header(RETRY_AFTER, seconds.into())
    }

    /// The end of the document's `type`.
    pub fn slug(&self) -> &'static str {
        self.slug
    }

    /// The sentence for people.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// An added member, if it is text.
    pub fn member(&self, name: &str) -> Option<&str> {
        self.extras.members.get(name)?.as_str()
    }

    /// The document as a JSON value, to be stored.
    pub fn document(&self) -> Value {
        serde_json::to_value(self.parts()).expect("a problem is plain data")
    }

    /// The document as one line of JSON without a line end. Characters that a terminal would obey
    /// are escaped: names and messages of projects may be in it.
    pub fn to_json(&self) -> String {
        let text = serde_json::to_string(&self.parts()).expect("a problem is plain data");
        visible::json(&text).into_owned()
    }

    /// The answer, with a `www-authenticate` header if its status is 401.
    pub fn to_response(&self) -> Response<Full<Bytes>> {
        let mut text = self.to_json();
        text.push('\n');
        let mut response = Response::new(Full::new(Bytes::from(text)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, PROBLEM_JSON);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        headers.extend(self.extras.headers.clone());
        response
    }

    fn parts(&self) -> Document<'_> {
        Document {
            kind: format!("{TYPE_PREFIX}{}", self.slug),
            title: self.title.or_else(|| self.status.canonical_reason()),
            status: self.status.as_u16(),
            detail: &self.detail,
            members: &self.extras.members,
        }
    }
}

impl From<Busy> for Problem {
    fn from(busy: Busy) -> Self {
        // Requests that hold a permit are short, but for streams, which a client may end.
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", busy.to_string()).retry_after(1)
    }
}

impl From<GateError> for Problem {
    fn from(error: GateError) -> Self {
        Self::new(error.status(), error.slug(), error.to_string()).with("field", error.field())
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.status(), refusal.slug(), refusal.rule())
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_problem_is_a_document_with_a_stable_type() {
        let problem =
            Problem::new(StatusCode::CONFLICT, "deploy-under-way", "wait for it").with("deploy", "d1");
        assert_eq!(
            problem.document(),
            json!({
                "type": "urn:switchyard:problem:deploy-under-way", "title": "Conflict", "status": 409,
                "detail": "wait for it", "deploy": "d1"
            })
        );
        assert_eq!(problem.member("deploy"), Some("d1"));
    }

    #[tokio::test]
    async fn an_answer_has_the_headers_that_belong_to_its_problem() {
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "later").retry_after(1);
        let response = problem.to_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
        assert_eq!(response.headers()[RETRY_AFTER], "1");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), problem.document());
        let unauthorized = Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "send a token");
        assert_eq!(unauthorized.to_response().headers()[WWW_AUTHENTICATE], "Bearer");
    }

    #[test]
    fn text_of_projects_is_safe_to_print() {
        let problem = Problem::new(StatusCode::BAD_REQUEST, "bad-request", "\u{9b}31m").titled("\u{202e}");
        assert!(problem.to_json().is_ascii());
        assert_eq!(serde_json::from_str::<Value>(&problem.to_json()).unwrap(), problem.document());
    }
}
