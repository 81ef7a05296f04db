//! `PUT` and `DELETE /projects/{name}/override`: a project is read from a local folder instead of the
//! volume.

use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use switchyard_contract::admin::{ProjectOverride, ReloadOutcome, Report};
use switchyard_contract::project::ProjectName;
use switchyard_edge::api::answer::json;
use switchyard_edge::api::body::BodyLimits;
use switchyard_edge::api::path::ProjectPath;
use switchyard_edge::problem::Problem;

use super::{Admin, AdminState, OVERRIDE, unknown_project};
use crate::live::Command;
use crate::root::OverrideRefusal;

/// The limits on a body. A path has at most 4 KiB, escaped six times as much.
const LIMITS: BodyLimits = BodyLimits { bytes: 32 * 1024, time: Duration::from_secs(10) };

/// Has a project read from a local folder instead of the volume, and reads it at once
#[utoipa::path(put, path = "/projects/{name}/override", tag = "overrides", request_body = ProjectOverride,
    params(("name" = String, Path, description = "The project, which need not be on the volume")),
    responses(
        (status = 200, description = "The outcome of the reload", body = Report),
        (status = 403, description = "override-not-allowed: the folder is not below one of --allow-override"),
        (status = 409, description = "held: a deploy of the project is under way"),
        (status = 422, description = "no-folder: the path is not absolute, or leads to no folder"),
    ),
)]
pub(super) async fn set(
    State(admin): AdminState,
    ProjectPath(project): ProjectPath,
    body: Body,
) -> Result<Response, Problem> {
    let wanted = read(body).await?;
    let folder = admin.blocking(move |admin| admin.overrides.resolve(Path::new(&wanted.path))).await??;
    admin.change_override(project, Some(folder)).await
}

/// Has a project read from the volume again, and reads it at once
#[utoipa::path(delete, path = "/projects/{name}/override", tag = "overrides",
    params(("name" = String, Path, description = "The project")),
    responses(
        (status = 200, description = "The outcome of the reload", body = Report),
        (status = 404, description = "unknown-project"),
        (status = 409, description = "held: a deploy of the project is under way"),
    ),
)]
pub(super) async fn end(
    State(admin): AdminState,
    ProjectPath(project): ProjectPath,
) -> Result<Response, Problem> {
    admin.change_override(project, None).await
}

impl Admin {
    async fn change_override(
        &self,
        project: ProjectName,
        folder: Option<PathBuf>,
    ) -> Result<Response, Problem> {
        let name = project.to_string();
        // Ended, an override of a project that is not on the volume removes it. The watch may do so first.
        let removes = folder.is_none() && self.board.one(&name).is_some();
        let report = self.command(|answer| Command::Override { project, folder, answer }).await??;
        let report = report.await.map_err(|_| {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the router is stopping")
        })?;
        match report.outcome {
            ReloadOutcome::Unknown if removes => {
                Ok(json(StatusCode::OK, &Report::of(&name, ReloadOutcome::Removed)))
            }
            ReloadOutcome::Unknown => Err(unknown_project(&name)),
            _ => Ok(json(StatusCode::OK, &report)),
        }
    }
}

impl From<OverrideRefusal> for Problem {
    fn from(refusal: OverrideRefusal) -> Self {
        let (status, slug) = match &refusal {
            OverrideRefusal::Off(_) | OverrideRefusal::Outside(..) | OverrideRefusal::State(_) => {
                (StatusCode::FORBIDDEN, "override-not-allowed")
            }
            OverrideRefusal::Relative(_) | OverrideRefusal::NoFolder(..) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "no-folder")
            }
        };
        Self::new(status, slug, refusal.to_string()).with("field", "path")
    }
}

async fn read(body: Body) -> Result<ProjectOverride, Problem> {
    let body = LIMITS.read(body).await?;
    serde_json::from_slice(&body).map_err(|error| {
        Problem::bad_request(format!("the body does not describe an override: {error}; send {OVERRIDE}"))
    })
}
