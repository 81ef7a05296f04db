//! The answers to requests that get no response of their project: problem documents, and pages for
//! developers.

use http::header::{ACCEPT, CACHE_CONTROL, CONNECTION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Request, Response};
use switchyard_contract::event::Diagnostic;
use switchyard_edge::problem::Problem;

use super::body::Body;
use super::dev::PageOf;
use super::dev_page;
use super::problem::RequestProblem;
use crate::live::{FailedVersion, ProjectEntry, Table};

/// The time after which a client is requested to try again, in seconds: about as long as a build takes.
const RETRY_SOON: u32 = 1;

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
    fn sees(self, error: &Diagnostic) -> Option<Diagnostic> {
        match self {
            Self::Public => Some(error.brief()),
            Self::Developer => Some(error.clone()),
            Self::ForeignOrigin => None,
        }
    }
}

impl RequestProblem {
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
        if let Some(error) = failed.filter(|_| !browser).and_then(|failed| audience.sees(&failed.error)) {
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
        self.own_page(entry.project.as_str(), dev_page::render(entry.project.as_str(), failed))
    }

    /// Returns the page that shows developers which projects there are, to a browser.
    pub(super) fn list_page<B>(self, table: &Table, request: &Request<B>) -> Option<Response<Body>> {
        if !accepts_html(request.headers()) {
            return None;
        }
        let wanted = request.uri().path().split('/').nth(1).unwrap_or_default();
        Some(self.own_page(wanted, dev_page::list(wanted, table)))
    }

    fn own_page(self, project: &str, page: String) -> Response<Body> {
        let mut response = Response::new(Body::from(page));
        *response.status_mut() = self.status();
        response.extensions_mut().insert(PageOf(project.to_owned()));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

fn accepts_html(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT).iter().any(|value| value.as_bytes().windows(9).any(|part| part == b"text/html"))
}
