//! Parameters that queries about tasks and about runs share.

use switchyard_contract::project::ProjectName;
use switchyard_edge::api::query::QueryPairs;
use switchyard_edge::problem::Problem;

/// The form of a time, as in messages.
pub(super) const TIME: &str = "a time with its zone, as in 2026-03-01T08:00:00Z";

/// Reads the parameter `project`.
///
/// # Errors
/// 400 for text that is no project's name.
pub(super) fn project(pairs: &QueryPairs) -> Result<Option<ProjectName>, Problem> {
    let parse = |name: &str| {
        ProjectName::parse(name)
            .map_err(|error| Problem::bad_request(error.to_string()).with("field", "project"))
    };
    pairs.get("project").map(parse).transpose()
}
