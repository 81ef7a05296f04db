//! The destination of a request, or the reason why it has none.

use std::sync::Arc;

use http::Request;
use switchyard_edge::routes;
use switchyard_edge::target::Host;

use super::problem::RequestProblem;
use crate::live::ProjectEntry;

/// The destination of a request.
pub(super) struct Destination {
    pub(super) entry: Arc<ProjectEntry>,
    pub(super) host: Host,
    /// The length of the path's prefix that leads to the project, in bytes.
    pub(super) prefix: usize,
}

/// A request that is not passed on to a project.
pub(super) struct Rejection {
    pub(super) problem: RequestProblem,
    /// The project, if it is known.
    pub(super) entry: Option<Arc<ProjectEntry>>,
}

impl From<RequestProblem> for Rejection {
    fn from(problem: RequestProblem) -> Self {
        Self { problem, entry: None }
    }
}

impl Destination {
    /// Takes the prefix that leads to the project off the request's path, as far as the project wants
    /// that. Returns what was taken off. The request's target is in origin form then.
    pub(super) fn strip_prefix<B>(&self, request: &mut Request<B>) -> Result<String, RequestProblem> {
        let bad_path = RequestProblem::BadRequest("invalid path");
        let prefix = request.uri().path().get(..self.prefix).ok_or(bad_path)?;
        let prefix = prefix[..self.entry.prefix.stripped_len(prefix)].to_owned();
        if !prefix.is_empty() || request.uri().authority().is_some() {
            *request.uri_mut() = routes::behind(request.uri(), &prefix).ok_or(bad_path)?;
        }
        Ok(prefix)
    }
}
