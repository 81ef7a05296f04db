//! The errors that the bridge itself answers to forwarded requests: RFC 9457, each with a stable `type`.

use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use serde_json::json;

use super::body::Body;

/// Why a request was not answered by a router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Problem {
    BadRequest(&'static str),
    /// None takes requests, or none that takes them has published what was deployed.
    NoRouters,
    /// A router ended the connection instead of answering.
    RouterFailed,
    Timeout,
}

/// In seconds: a router that is started again is back within one.
const RETRY_SOON: HeaderValue = HeaderValue::from_static("1");

impl Problem {
    fn status(self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::NoRouters => StatusCode::SERVICE_UNAVAILABLE,
            Self::RouterFailed => StatusCode::BAD_GATEWAY,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// Slug, title, detail.
    fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::BadRequest(what) => ("bad-request", "Bad request", what),
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
        answer
    }
}
