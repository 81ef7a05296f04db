//! `GET /projects/{name}/settings`: the settings of a project, each with its origin.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use switchyard_contract::admin::ProjectSettings;
use switchyard_edge::api::answer::json;
use switchyard_edge::api::path::Path;
use switchyard_edge::problem::Problem;

use super::{AdminState, unknown_project};
use crate::live::Command;

/// The settings of a project, each with its origin
#[utoipa::path(get, path = "/projects/{name}/settings", tag = "projects",
    params(("name" = String, Path, description = "The project")),
    responses(
        (status = 200, description = "The settings", body = ProjectSettings),
        (status = 404, description = "unknown-project"),
    ),
)]
pub(super) async fn settings(
    State(admin): AdminState,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let settings = admin.command(|answer| Command::Settings { project: name.clone(), answer }).await?;
    let settings = settings.ok_or_else(|| unknown_project(&name))?;
    Ok(json(StatusCode::OK, &ProjectSettings { settings }))
}
