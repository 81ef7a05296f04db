//! The errors that the router itself answers to requests for projects.

use http::StatusCode;
use switchyard_edge::refusal::Refusal;
use switchyard_edge::upstream::BadAnswer;

use crate::token::Unauthorized;

/// The reason why a request gets no response of its project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestProblem {
    /// The request is invalid, by this rule.
    BadRequest(&'static str),
    /// The bytes on the connection cannot be read as a request in exactly one way.
    Refused(Refusal),
    /// Neither host nor path names a project.
    UnknownProject,
    /// The project has tasks, and nothing that answers requests.
    NoHandler,
    /// No version of the project has ever been live.
    NoGoodVersion,
    /// The project is live soon: its first build has not ended, or the router has just started.
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

impl RequestProblem {
    /// The status of the answer.
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Refused(refusal) => refusal.status(),
            Self::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::UnknownProject | Self::NoHandler => StatusCode::NOT_FOUND,
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

    /// The name of the problem.
    pub(super) fn slug(self) -> &'static str {
        match self {
            Self::BodyTooSlow => "body-timeout",
            Self::Refused(refusal) => refusal.slug(),
            Self::BadRequest(_) => "bad-request",
            Self::UnknownProject => "unknown-project",
            Self::NoHandler => "no-handler",
            Self::NoGoodVersion => "no-good-version",
            Self::NotReady => "not-ready",
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

    /// The name of the problem, for people.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::BodyTooSlow => "Body too slow",
            Self::Refused(refusal) => refusal.title(),
            Self::BadRequest(_) => "Bad request",
            Self::UnknownProject => "Unknown project",
            Self::NoHandler => "No handler",
            Self::NoGoodVersion => "No good version",
            Self::NotReady => "Not ready",
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
            Self::NoHandler => "the project has tasks, and no handler for requests",
            Self::NoGoodVersion => "no version of the project can be served",
            Self::NotReady => {
                "the project is being built, or its router has just started: try again in a moment"
            }
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
