//! Pipelines: tasks whose runs have several steps. `/tasks` has them too.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};

use super::openapi_parts::{PipelineInPath, StartRefused};
use super::tasks::StartQuery;
use super::{Api, Shared, check_read};
use crate::tokens::Caller;
use switchyard_contract::deploy::Action;
use switchyard_contract::run::StartedRun;
use switchyard_contract::task::TaskId;
use switchyard_contract::task_overview::{StartTask, TaskDetail};
use switchyard_edge::api::answer::json;
use switchyard_edge::api::path::TaskPath;
use switchyard_edge::api::query::Query;
use switchyard_edge::problem::Problem;

/// One pipeline
#[utoipa::path(get, path = "/pipelines/{pipeline}", tag = "tasks",
    params(PipelineInPath),
    responses(
        (status = 200, description = "The specification, due times and versions", body = TaskDetail),
        (status = 404, description = "unknown-pipeline"),
    ),
)]
pub(super) async fn pipeline(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    TaskPath(id): TaskPath,
) -> Result<Response, Problem> {
    check_read(&caller, &id.project)?;
    Ok(json(StatusCode::OK, &api.pipeline(&id).await?))
}

/// Starts a run of a pipeline
#[utoipa::path(post, path = "/pipelines/{pipeline}/run", tag = "tasks", request_body = Option<StartTask>,
    params(
        PipelineInPath,
        ("idempotency-key" = Option<String>, Header, description = "Repeats are answered alike"),
        StartQuery,
    ),
    responses(
        (status = 200, description = "The run has ended, in whatever way", body = StartedRun),
        (status = 202, description = "The run is recorded, and goes on", body = StartedRun),
        (status = 404, description = "unknown-pipeline or unknown-version"),
        (status = 409, description = "overlap: another run is under way"),
        (status = 422, description = "invalid-params; idempotency-key-reused"),
        StartRefused,
    ),
)]
pub(super) async fn run_pipeline(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    TaskPath(id): TaskPath,
    Query(query): Query<StartQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    caller.check(Action::Run, &id.project)?;
    api.pipeline(&id).await?;
    api.start_run(&caller, id, &query, &headers, body).await
}

impl Api {
    /// # Errors
    /// 404 for a task, and for an unknown one.
    async fn pipeline(&self, id: &TaskId) -> Result<TaskDetail, Problem> {
        let found = self.runs.task(id).await;
        let unknown = |detail: String| Problem::new(StatusCode::NOT_FOUND, "unknown-pipeline", detail);
        match found {
            Ok(detail) if !detail.overview.is_pipeline => {
                Err(unknown(format!("{id} is a task, not a pipeline: use `switchyard task run {id}`")))
            }
            Err(problem) if problem.slug() == "unknown-task" => {
                Err(unknown(format!("there is no pipeline {id}: `switchyard task list` shows all")))
            }
            found => found,
        }
    }
}
