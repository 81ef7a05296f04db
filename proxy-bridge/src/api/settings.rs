//! `GET /projects/{project}/settings`: the settings of a project at all routers, each with its origin.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::requests::ask_about;
use super::{Shared, check_read};
use crate::tokens::Caller;
use switchyard_contract::admin::ProjectSettings;
use switchyard_contract::overview::{RouterSettings, SettingsOverview};
use switchyard_edge::api::answer::json;
use switchyard_edge::api::path::ProjectPath;
use switchyard_edge::problem::Problem;

/// The settings of a project at each router, each with its origin
#[utoipa::path(get, path = "/projects/{project}/settings", tag = "projects",
    params(("project" = String, Path, description = "The project")),
    responses(
        (status = 200, description = "The settings at each router that has the project", body = SettingsOverview),
        (status = 404, description = "unknown-project"),
    ),
)]
pub(super) async fn settings(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    ProjectPath(project): ProjectPath,
) -> Result<Response, Problem> {
    check_read(&caller, &project)?;
    let (answers, errors) = ask_about::<ProjectSettings>(&api, &project, "settings", &[]).await?;
    let at_router = |(router, answer): (String, ProjectSettings)| {
        let ProjectSettings { settings } = answer;
        RouterSettings { router, settings }
    };
    let routers = answers.into_iter().map(at_router).collect();
    Ok(json(StatusCode::OK, &SettingsOverview { project, routers, errors }))
}
