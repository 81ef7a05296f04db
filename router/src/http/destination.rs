//! The destination of a request, or the reason why it has none.

use std::sync::Arc;

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
