//! The errors that the router itself answers: RFC 9457, each with a stable `type`.

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde::Serialize;
use switchyard_contract::event::Diagnostic;
use switchyard_edge::refusal::Refusal;
use switchyard_edge::upstream::BadAnswer;
use switchyard_program::visible;

use super::body::Body;
use super::dev_page;
use crate::live::ProjectEntry;
use crate::token::Unauthorized;

/// What can go wrong before a project's own answer begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Problem {
    BadRequest(&'static str),
    /// The bytes on the connection are no request that can be read in one way only.
    Refused(Refusal),
    UnknownProject,
    /// No version of it ever was live.
    NoGoodVersion,
    /// It has not been read to its end yet.
    NotReady,
    Timeout,
    CellDied,
    /// The cell goes on, and what it sent is no answer.
    BadAnswer(BadAnswer),
    /// The live version's process ended, and another one does not come soon enough.
    Restarting,
    /// The live version's processes ended again and again.
    Stopped,
    /// As many requests are in it, and wait for it, as may.
    Overloaded,
    /// A file of the live version cannot be read from the router's own copy.
    Unreadable,
    BodyTooLarge,
    /// The client stopped sending the request's body, or nearly so.
    BodyTooSlow,
    /// The project wants a token with each request.
    Unauthorized(Unauthorized),
}

/// Whoever an answer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    /// Browsers (by `Accept`) are not shown the project's build error; other clients are shown its
    /// place and the beginning of its message.
    Anybody,
    /// With `--dev`: all of it is shown, to browsers as a page.
    Developer,
    /// With `--dev`, a page of an origin that is not this machine's: it is not shown the build error.
    Elsewhere,
}

impl Audience {
    /// The part of a build error that it is shown.
    fn sees(self, error: &Diagnostic) -> Option<Diagnostic> {
        match self {
            Self::Anybody => Some(error.brief()),
            Self::Developer => Some(error.clone()),
            Self::Elsewhere => None,
        }
    }
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
    error: Option<Diagnostic>,
}

impl Problem {
    fn status(self) -> StatusCode {
        match self {
            Self::Refused(refusal) => refusal.status(),
            Self::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::UnknownProject => StatusCode::NOT_FOUND,
            Self::NoGoodVersion | Self::NotReady | Self::Restarting | Self::Stopped | Self::Overloaded => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Self::CellDied | Self::BadAnswer(_) => StatusCode::BAD_GATEWAY,
            Self::Unreadable => StatusCode::INTERNAL_SERVER_ERROR,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
        }
    }

    fn slug(self) -> &'static str {
        match self {
            Self::BodyTooSlow => "body-timeout",
            Self::Refused(refusal) => refusal.slug(),
            Self::BadRequest(_) => "bad-request",
            Self::UnknownProject => "unknown-project",
            Self::NoGoodVersion | Self::NotReady => "no-good-version",
            Self::Timeout => "timeout",
            Self::CellDied => "cell-died",
            Self::BadAnswer(_) => "bad-answer",
            Self::Restarting => "restarting",
            Self::Stopped => "stopped",
            Self::Overloaded => "overloaded",
            Self::Unreadable => "unreadable",
            Self::BodyTooLarge => "body-too-large",
            Self::Unauthorized(_) => "unauthorized",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::BodyTooSlow => "Body too slow",
            Self::Refused(refusal) => refusal.title(),
            Self::BadRequest(_) => "Bad request",
            Self::UnknownProject => "Unknown project",
            Self::NoGoodVersion | Self::NotReady => "No good version",
            Self::Timeout => "No answer in time",
            Self::CellDied => "The project's process ended",
            Self::BadAnswer(_) => "The project answered wrongly",
            Self::Restarting => "The project is being restarted",
            Self::Stopped => "The project is stopped",
            Self::Overloaded => "Overloaded",
            Self::Unreadable => "Unreadable",
            Self::BodyTooLarge => "Body too large",
            Self::Unauthorized(_) => "Unauthorized",
        }
    }

    pub(super) fn detail(self) -> &'static str {
        match self {
            Self::BadRequest(what) => what,
            Self::Refused(refusal) => refusal.rule(),
            Self::BodyTooSlow => "the request body did not come in time",
            Self::UnknownProject => "neither the host nor the path names a project",
            Self::NoGoodVersion => "no version of the project can be served",
            Self::NotReady => "the project is being built for the first time",
            Self::Timeout => "the project did not begin its answer in time",
            Self::CellDied => "the project's process ended before it answered",
            Self::BadAnswer(BadAnswer::Invalid) => "what the project's process sent is not an HTTP response",
            Self::BadAnswer(BadAnswer::HeadTooLarge) => {
                "the headers of the project's response are larger, or more, than is allowed (--max-head)"
            }
            Self::BadAnswer(BadAnswer::ClosedEarly) => {
                "the project's process closed the connection before its response was complete"
            }
            Self::BadAnswer(BadAnswer::Switch) => {
                "the project's process switched to another protocol than the request asked for"
            }
            Self::BadAnswer(BadAnswer::NoConnection) => "the project's process takes no connections",
            Self::Restarting => "the project's process ended, and another one is not there yet",
            Self::Stopped => {
                "the project's processes ended again and again: it is stopped until it is changed"
            }
            Self::Unreadable => "a file of the project cannot be read; the router's log says why",
            Self::Overloaded => "too many requests of the project are in flight",
            Self::BodyTooLarge => "the request body is larger than is allowed",
            Self::Unauthorized(why) => why.detail(),
        }
    }

    /// The answer. `entry` is the project, when it is known.
    pub(super) fn answer(
        self,
        entry: Option<&ProjectEntry>,
        headers: &HeaderMap,
        audience: Audience,
    ) -> Response<Body> {
        let failed = entry.and_then(|entry| entry.failed.as_ref()).filter(|_| self == Self::NoGoodVersion);
        let browser = accepts_html(headers);
        let is_shown = browser && audience == Audience::Developer;
        if let (true, Some(entry), Some(failed)) = (is_shown, entry, failed) {
            return self.respond(
                "text/html; charset=utf-8",
                dev_page::render(entry.project.as_str(), failed).into(),
            );
        }
        let document = Document {
            project: entry.map(|entry| entry.project.as_str()),
            version: failed.and_then(|failed| failed.version.as_ref()).map(ToString::to_string),
            error: failed.filter(|_| !browser).and_then(|failed| audience.sees(&failed.error)),
            ..self.document()
        };
        let text = serde_json::to_string(&document).expect("a problem is plain data");
        // A project's words are in it, and may end up in a terminal.
        self.respond("application/problem+json", visible::json(&text).into_owned().into())
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
        if matches!(self, Self::Overloaded | Self::NotReady | Self::Restarting) {
            headers.insert(RETRY_AFTER, RETRY_SOON);
        }
        if let Self::Unauthorized(_) = self {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
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
