//! The errors that the router itself answers to requests for projects.

use http::header::{ACCEPT, CACHE_CONTROL, CONNECTION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use switchyard_contract::event::Diagnostic;
use switchyard_edge::problem::Problem;
use switchyard_edge::refusal::Refusal;
use switchyard_edge::upstream::BadAnswer;

use super::body::Body;
use super::dev_page;
use crate::live::{FailedVersion, ProjectEntry};
use crate::token::Unauthorized;

/// The time after which a client is asked to try again, in seconds: about as long as a build takes.
const RETRY_SOON: u32 = 1;

/// The reason why a request gets no response of its project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestProblem {
    /// The request is invalid, by this rule.
    BadRequest(&'static str),
    /// The bytes on the connection cannot be read as a request in exactly one way.
    Refused(Refusal),
    /// Neither host nor path names a project.
    UnknownProject,
    /// No version of the project has ever been live.
    NoGoodVersion,
    /// The project's first build has not ended yet.
    NotReady,
    /// The project did not begin its response in time.
    Timeout,
    /// The cell ended before it responded.
    CellDied,
    /// The cell keeps running, and its response is invalid.
    BadAnswer(BadAnswer),
    /// The live version's process ended, and the next one does not come soon enough.
    Restarting,
    /// The live version's processes ended again and again.
    Stopped,
    /// The project has as many requests in flight, and as many in its queue, as it may have.
    Overloaded,
    /// A file of the live version cannot be read from the router's own copy.
    Unreadable,
    /// The request's body is larger than the project's limit.
    BodyTooLarge,
    /// The client stopped sending the request's body, or nearly so.
    BodyTooSlow,
    /// The project wants a token with each request.
    Unauthorized(Unauthorized),
}

/// The recipient of a problem document, which decides how much of a build error it shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    /// Browsers (by `Accept`) do not get the build error; other clients get its location and the
    /// beginning of its message.
    Public,
    /// With `--dev`: everything, for browsers as a page.
    Developer,
    /// With `--dev`, a page of an origin that is not this machine's: no build error.
    ForeignOrigin,
}

impl Audience {
    /// Returns the part of a build error that is shown.
    fn visible_part(self, error: &Diagnostic) -> Option<Diagnostic> {
        match self {
            Self::Public => Some(error.brief()),
            Self::Developer => Some(error.clone()),
            Self::ForeignOrigin => None,
        }
    }
}

impl RequestProblem {
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
            Self::Timeout => "No response in time",
            Self::CellDied => "The project's process ended",
            Self::BadAnswer(_) => "Invalid response from the project",
            Self::Restarting => "The project is being restarted",
            Self::Stopped => "The project is stopped",
            Self::Overloaded => "Overloaded",
            Self::Unreadable => "Unreadable",
            Self::BodyTooLarge => "Body too large",
            Self::Unauthorized(_) => "Unauthorized",
        }
    }

    /// The sentence for people.
    pub(super) fn detail(self) -> &'static str {
        match self {
            Self::BadRequest(rule) => rule,
            Self::Refused(refusal) => refusal.rule(),
            Self::BodyTooSlow => "the request body did not arrive in time",
            Self::UnknownProject => "neither the host nor the path names a project",
            Self::NoGoodVersion => "no version of the project can be served",
            Self::NotReady => "the project is being built for the first time",
            Self::Timeout => "the project did not begin its response in time",
            Self::CellDied => "the project's process ended before it responded",
            Self::BadAnswer(bad) => describe(bad),
            Self::Restarting => "the project's process ended, and the next one is not ready yet",
            Self::Stopped => {
                "the project's processes ended again and again: it is stopped until its files change"
            }
            Self::Unreadable => "a file of the project cannot be read; the router's log says why",
            Self::Overloaded => "too many requests of the project are in flight",
            Self::BodyTooLarge => "the request body is larger than the limit",
            Self::Unauthorized(unauthorized) => unauthorized.detail(),
        }
    }

    /// Returns the response. `entry` is the project, if it is known; `headers` are those of the
    /// request.
    pub(super) fn answer(
        self,
        entry: Option<&ProjectEntry>,
        headers: &HeaderMap,
        audience: Audience,
    ) -> Response<Body> {
        let failed = entry.and_then(|entry| entry.failed.as_ref()).filter(|_| self == Self::NoGoodVersion);
        let browser = accepts_html(headers);
        if browser
            && audience == Audience::Developer
            && let (Some(entry), Some(failed)) = (entry, failed)
        {
            return self.page(entry, failed);
        }
        let mut problem = Problem::new(self.status(), self.slug(), self.detail()).titled(self.title());
        if let Some(entry) = entry {
            problem = problem.with("project", entry.project.as_str());
        }
        if let Some(version) = failed.and_then(|failed| failed.version.as_ref()) {
            problem = problem.with("version", version.to_string());
        }
        if let Some(error) =
            failed.filter(|_| !browser).and_then(|failed| audience.visible_part(&failed.error))
        {
            let error = serde_json::to_value(error).expect("a diagnostic is plain data");
            problem = problem.with("error", error);
        }
        if matches!(self, Self::Overloaded | Self::NotReady | Self::Restarting) {
            problem = problem.retry_after(RETRY_SOON);
        }
        if matches!(self, Self::BadRequest(_) | Self::Refused(_) | Self::BodyTooSlow) {
            // The next bytes on the connection may be anything.
            problem = problem.with_header(CONNECTION, HeaderValue::from_static("close"));
        }
        problem.to_response().map(Body::Own)
    }

    /// Returns the page that shows developers why the project has no good version.
    fn page(self, entry: &ProjectEntry, failed: &FailedVersion) -> Response<Body> {
        let mut response = Response::new(Body::from(dev_page::render(entry.project.as_str(), failed)));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

fn describe(bad: BadAnswer) -> &'static str {
    match bad {
        BadAnswer::Invalid => "the project's process sent bytes that are not an HTTP response",
        BadAnswer::HeadTooLarge => {
            "the project's response has more headers, or larger ones, than is allowed (--max-head)"
        }
        BadAnswer::ClosedEarly => {
            "the project's process closed the connection before its response was complete"
        }
        BadAnswer::Switch => "the project's process switched to another protocol than the requested one",
        BadAnswer::NoConnection => "the project's process takes no connections",
    }
}

fn accepts_html(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT).iter().any(|value| value.as_bytes().windows(9).any(|part| part == b"text/html"))
}
