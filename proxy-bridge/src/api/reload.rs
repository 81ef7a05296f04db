//! `POST /projects/{name}/reload`: every router reads the project again.

use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use futures_util::future::join_all;
use http::StatusCode;

use super::Shared;
use crate::routers::CallError;
use crate::tokens::Caller;
use switchyard_contract::admin::{ReloadOutcome, Report};
use switchyard_contract::deploy::Action;
use switchyard_contract::versions::{ProjectReload, RouterReload};
use switchyard_edge::api::answer::json;
use switchyard_edge::api::path::ProjectPath;
use switchyard_edge::problem::Problem;

/// Time for a router to read and build a project.
const RELOAD_WITHIN: Duration = Duration::from_secs(60);

/// Has every router read a project again, and answers when each of them has
#[utoipa::path(post, path = "/projects/{project}/reload", tag = "projects",
    params(("project" = String, Path, description = "The project")),
    responses(
        (status = 200, description = "The outcome at each router", body = ProjectReload),
        (status = 404, description = "unknown-project"),
    ),
)]
pub(super) async fn reload(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    ProjectPath(project): ProjectPath,
) -> Result<Response, Problem> {
    caller.check(Action::Deploy, &project)?;
    let routers = api.routers.all();
    let reloads = routers.iter().map(|router| async {
        let (report, error) = match router.reload(project.as_str(), RELOAD_WITHIN).await {
            Ok(report) => (Some(report), None),
            Err(CallError::Answered { status: StatusCode::NOT_FOUND, .. }) => {
                (Some(Report::of(project.as_str(), ReloadOutcome::Unknown)), None)
            }
            Err(error) => (None, Some(error.to_string())),
        };
        RouterReload { router: router.name().to_owned(), report, error }
    });
    let routers = join_all(reloads).await;
    let is_unknown = |router: &RouterReload| {
        router.report.as_ref().is_some_and(|report| report.outcome == ReloadOutcome::Unknown)
    };
    if !routers.is_empty() && routers.iter().all(is_unknown) {
        return Err(api.unknown_project(&project));
    }
    Ok(json(StatusCode::OK, &ProjectReload { project, routers }))
}
