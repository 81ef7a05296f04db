//! The errors that the router itself answers: RFC 9457, each with a stable `type`.

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde::Serialize;
use switchyard_bridge::event::Diagnostic;

use super::body::Body;
use super::dev_page;
use super::framing::Refusal;
use crate::live::Entry;

/// What can go wrong before a project's own answer begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Problem {
    BadRequest(&'static str),
    /// The bytes on the connection are no request that can be read in one way only.
    Refused(Refusal),
    UnknownProject,
    /// No version of it ever was live, or the live one cannot be started again.
    NoGoodVersion,
    /// It has not been read to its end yet.
    NotReady,
    Timeout,
    CellDied,
    Overloaded,
    BodyTooLarge,
    /// The client stopped sending the request's body, or nearly so.
    BodyTooSlow,
}

/// In seconds: about as long as a build takes.
const RETRY_SOON: HeaderValue = HeaderValue::from_static("1");

#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// The build error, for whoever is no browser.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a Diagnostic>,
}

impl Problem {
    fn status(self) -> StatusCode {
        match self {
            Self::BodyTooSlow | Self::Refused(Refusal::HeadTooSlow) => StatusCode::REQUEST_TIMEOUT,
            Self::Refused(Refusal::HeadTooLarge) => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::BadRequest(_) | Self::Refused(_) => StatusCode::BAD_REQUEST,
            Self::UnknownProject => StatusCode::NOT_FOUND,
            Self::NoGoodVersion | Self::NotReady | Self::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Self::CellDied => StatusCode::BAD_GATEWAY,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        }
    }

    fn slug(self) -> &'static str {
        match self {
            Self::BodyTooSlow => "body-timeout",
            Self::Refused(Refusal::HeadTooSlow) => "head-timeout",
            Self::Refused(Refusal::HeadTooLarge) => "head-too-large",
            Self::BadRequest(_) | Self::Refused(_) => "bad-request",
            Self::UnknownProject => "unknown-project",
            Self::NoGoodVersion | Self::NotReady => "no-good-version",
            Self::Timeout => "timeout",
            Self::CellDied => "cell-died",
            Self::Overloaded => "overloaded",
            Self::BodyTooLarge => "body-too-large",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::BodyTooSlow => "Body too slow",
            Self::Refused(Refusal::HeadTooSlow) => "Head too slow",
            Self::Refused(Refusal::HeadTooLarge) => "Head too large",
            Self::BadRequest(_) | Self::Refused(_) => "Bad request",
            Self::UnknownProject => "Unknown project",
            Self::NoGoodVersion | Self::NotReady => "No good version",
            Self::Timeout => "No answer in time",
            Self::CellDied => "The project's process ended",
            Self::Overloaded => "Overloaded",
            Self::BodyTooLarge => "Body too large",
        }
    }

    fn detail(self) -> &'static str {
        match self {
            Self::BadRequest(what) => what,
            Self::Refused(refusal) => refusal.rule(),
            Self::BodyTooSlow => "the request body did not come in time",
            Self::UnknownProject => "neither the host nor the path names a project",
            Self::NoGoodVersion => "no version of the project can be served",
            Self::NotReady => "the project is being built for the first time",
            Self::Timeout => "the project did not begin its answer in time",
            Self::CellDied => "the project's process ended before it answered",
            Self::Overloaded => "too many requests of the project are in flight",
            Self::BodyTooLarge => "the request body is larger than is allowed",
        }
    }

    /// The answer. `entry` is the project, when it is known; a browser (by `Accept`) is shown the
    /// project's build error only when `dev`.
    pub(super) fn answer(self, entry: Option<&Entry>, headers: &HeaderMap, dev: bool) -> Response<Body> {
        let failed = entry.and_then(|entry| entry.failed.as_ref()).filter(|_| self == Self::NoGoodVersion);
        let browser = accepts_html(headers);
        if let (true, true, Some(entry), Some(failed)) = (browser, dev, entry, failed) {
            return self.respond(
                "text/html; charset=utf-8",
                dev_page::render(entry.project.as_str(), failed).into(),
            );
        }
        let document = Document {
            project: entry.map(|entry| entry.project.as_str()),
            version: failed.and_then(|failed| failed.version.as_ref()).map(ToString::to_string),
            error: failed.map(|failed| &failed.error).filter(|_| !browser),
            ..self.document()
        };
        let text = serde_json::to_vec(&document).expect("a problem is plain data");
        self.respond("application/problem+json", text.into())
    }

    /// The answer as bytes, for a connection that hyper has given up.
    pub(super) fn to_http(self) -> Vec<u8> {
        let text = serde_json::to_string(&self.document()).expect("a problem is plain data");
        let (status, length) = (self.status(), text.len());
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\ncache-control: no-store\r\n\
             connection: close\r\ncontent-length: {length}\r\n\r\n{text}"
        )
        .into_bytes()
    }

    fn document(self) -> Document<'static> {
        Document {
            kind: format!("urn:switchyard:problem:{}", self.slug()),
            title: self.title(),
            status: self.status().as_u16(),
            detail: self.detail().to_owned(),
            project: None,
            version: None,
            error: None,
        }
    }

    fn respond(self, kind: &'static str, text: Bytes) -> Response<Body> {
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if matches!(self, Self::Overloaded | Self::NotReady) {
            headers.insert(RETRY_AFTER, RETRY_SOON);
        }
        if matches!(self, Self::BadRequest(_) | Self::Refused(_) | Self::BodyTooSlow) {
            // What comes next on the connection may be anything.
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

fn accepts_html(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT).iter().any(|value| value.as_bytes().windows(9).any(|part| part == b"text/html"))
}
