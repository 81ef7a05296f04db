//! `POST /_reload` and `POST /_reload/{name}`: projects are read at once, and the answer has the
//! outcome.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use switchyard_contract::admin::{ReloadOutcome, Report, Reports};
use switchyard_edge::api::answer::json;
use switchyard_edge::api::path::Path;
use switchyard_edge::problem::Problem;

use super::{AdminState, unknown_project};
use crate::live::Command;

/// Reads one project, and answers when its new version is live or has failed
#[utoipa::path(post, path = "/_reload/{name}", tag = "reloads",
    params(("name" = String, Path, description = "The project")),
    responses(
        (status = 200, description = "The outcome", body = Report),
        (status = 404, description = "unknown-project"),
    ),
)]
pub(super) async fn reload(State(admin): AdminState, Path(name): Path<String>) -> Result<Response, Problem> {
    let report = admin.command(|answer| Command::Reload { project: name.clone(), answer }).await?;
    match report.outcome {
        ReloadOutcome::Unknown => Err(unknown_project(&name)),
        _ => Ok(json(StatusCode::OK, &report)),
    }
}

/// Reads all projects
#[utoipa::path(post, path = "/_reload", tag = "reloads", responses(
    (status = 200, description = "The outcome of each project", body = Reports),
))]
pub(super) async fn reload_all(State(admin): AdminState) -> Result<Response, Problem> {
    let projects = admin.command(|answer| Command::ReloadAll { answer }).await?;
    Ok(json(StatusCode::OK, &Reports { projects }))
}
