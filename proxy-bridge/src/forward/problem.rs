//! The errors that the bridge itself answers to forwarded requests.

use http::header::CONNECTION;
use http::{HeaderValue, Response, StatusCode};
use switchyard_edge::problem::Problem;
use switchyard_edge::refusal::Refusal;
use switchyard_edge::upload::UploadError;
use switchyard_edge::upstream::BadAnswer;

use super::body::Body;

/// The pause that clients are asked to make before another attempt, in seconds: a restarted router
/// is back within one.
const RETRY_SOON: u32 = 1;

/// The reason why no router's response is passed back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ForwardProblem {
    /// The request is invalid, by this rule.
    BadRequest(&'static str),
    /// The bytes on the connection cannot be read as a request in exactly one way.
    Refused(Refusal),
    /// The client failed to send the request's body.
    Upload(UploadError),
    /// No router is ready, or none that is ready has published the last deploy.
    NoRouters,
    /// A router closed the connection instead of responding.
    RouterFailed,
    /// A router's response is invalid.
    BadAnswer(BadAnswer),
    /// The router did not begin its response in time.
    Timeout,
}

impl ForwardProblem {
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

    /// Returns the end of the document's type, its title and its detail.
    fn texts(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::BadRequest(rule) => ("bad-request", "Bad request", rule),
            Self::Refused(refusal) => (refusal.slug(), refusal.title(), refusal.rule()),
            Self::Upload(UploadError::TooSlow) => {
                ("body-timeout", "Body too slow", "the request body did not arrive in time")
            }
            Self::Upload(UploadError::TooLarge) => {
                ("body-too-large", "Body too large", "the request body is larger than the limit")
            }
            Self::Upload(UploadError::BrokenOff) => {
                ("bad-request", "Bad request", "the body of the request broke off")
            }
            Self::BadAnswer(bad) => ("bad-answer", "Invalid response from the router", fault(bad)),
            Self::NoRouters => {
                ("no-routers", "No router", "no router can answer this request now: try again")
            }
            Self::RouterFailed => (
                "router-failed",
                "The router failed",
                "the connection to the router ended before it responded; the request may have \
                 taken effect",
            ),
            Self::Timeout => {
                ("timeout", "No response in time", "the router did not begin its response in time")
            }
        }
    }

    /// The sentence for people.
    pub(super) fn detail(self) -> &'static str {
        self.texts().2
    }

    /// Returns the response with the problem document.
    pub(super) fn answer(self) -> Response<Body> {
        let (slug, title, detail) = self.texts();
        let mut problem = Problem::new(self.status(), slug, detail).titled(title);
        if self == Self::NoRouters {
            problem = problem.retry_after(RETRY_SOON);
        }
        if matches!(self, Self::BadRequest(_) | Self::Refused(_) | Self::Upload(_)) {
            // The next bytes on the connection may be anything.
            problem = problem.with_header(CONNECTION, HeaderValue::from_static("close"));
        }
        problem.to_response().map(Body::Own)
    }
}

fn fault(bad: BadAnswer) -> &'static str {
    match bad {
        BadAnswer::Invalid => "the router sent bytes that are not an HTTP response",
        BadAnswer::HeadTooLarge => "the response has more headers, or larger ones, than is allowed",
        BadAnswer::Switch => "the router switched to a protocol that the request did not offer",
        BadAnswer::ClosedEarly | BadAnswer::NoConnection => {
            "the router closed the connection before its response was complete"
        }
    }
}
