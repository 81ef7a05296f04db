//! The errors that the bridge itself answers to forwarded requests: RFC 9457, each with a stable `type`.

use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use serde_json::json;

use super::body::Body;
use switchyard_edge::refusal::Refusal;
use switchyard_edge::upload::UploadError;
use switchyard_edge::upstream::BadAnswer;

/// Why a request was not answered by a router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Problem {
    BadRequest(&'static str),
    /// The bytes on the connection are not a request that can be read in one way only.
    Refused(Refusal),
    /// The client's body did not come as it should.
    Upload(UploadError),
    /// None takes requests, or none that takes them has published what was deployed.
    NoRouters,
    /// A router ended the connection instead of answering.
    RouterFailed,
    /// What a router sent is no answer.
    BadAnswer(BadAnswer),
    Timeout,
}

/// In seconds: a router that is started again is back within one.
const RETRY_SOON: HeaderValue = HeaderValue::from_static("1");

impl Problem {
    fn status(self) -> StatusCode {
        match self {
            Self::Refused(refusal) => refusal.status(),
            Self::Upload(UploadError::TooSlow) => StatusCode::REQUEST_TIMEOUT,
            Self::Upload(UploadError::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BadRequest(_) | Self::Upload(UploadError::BrokenOff) => StatusCode::BAD_REQUEST,
            Self::NoRouters => StatusCode::SERVICE_UNAVAILABLE,
            Self::RouterFailed | Self::BadAnswer(_) => StatusCode::BAD_GATEWAY,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// Slug, title, detail.
    pub(super) fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::BadRequest(what) => ("bad-request", "Bad request", what),
            Self::Refused(refusal) => (refusal.slug(), refusal.title(), refusal.rule()),
            Self::Upload(UploadError::TooSlow) => {
                ("body-timeout", "Body too slow", "the request body did not come in time")
            }
            Self::Upload(UploadError::TooLarge) => {
                ("body-too-large", "Body too large", "the request body is larger than is allowed")
            }
            Self::Upload(UploadError::BrokenOff) => {
                ("bad-request", "Bad request", "the body of the request broke off")
            }
            Self::BadAnswer(bad) => ("bad-answer", "The router answered wrongly", wrong(bad)),
            Self::NoRouters => {
                ("no-routers", "No router", "no router can answer this request now: try again")
            }
            Self::RouterFailed => (
                "router-failed",
                "The router failed",
                "the connection to the router ended before it answered; what was asked may have been done",
            ),
            Self::Timeout => ("timeout", "No answer in time", "the router did not begin its answer in time"),
        }
    }

    pub(super) fn answer(self) -> Response<Body> {
        let (slug, title, detail) = self.words();
        let document = json!({
            "type": format!("urn:switchyard:problem:{slug}"),
            "title": title,
            "status": self.status().as_u16(),
            "detail": detail,
        });
        let mut answer = Response::new(Body::own(document.to_string()));
        *answer.status_mut() = self.status();
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self == Self::NoRouters {
            headers.insert(RETRY_AFTER, RETRY_SOON);
        }
        if matches!(self, Self::BadRequest(_) | Self::Refused(_) | Self::Upload(_)) {
            // What comes next on the connection may be anything.
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }
}

fn wrong(bad: BadAnswer) -> &'static str {
    match bad {
        BadAnswer::Invalid => "what the router sent is not an HTTP response",
        BadAnswer::HeadTooLarge => "the headers of the response are larger, or more, than is allowed",
        BadAnswer::Switch => "the router switched to another protocol than the request asked for",
        BadAnswer::ClosedEarly | BadAnswer::NoConnection => {
            "the router closed the connection before its response was complete"
        }
    }
}
