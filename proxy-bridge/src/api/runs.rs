//! Runs: the history, single runs, and what is done with them.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::bodies::{RESUME, RETRY};
use super::openapi_parts::{RunInPath, StartRefused};
use super::run_queries::{MAX_TEXT, RunsQuery, WaitQuery};
use super::{Api, Shared, check_read};
use crate::runs::{ResumeOptions, RetryOptions, unknown_run};
use crate::tokens::Caller;
use switchyard_contract::deploy::Action;
use switchyard_contract::run::{
    ResumeRun, RetryRun, Run, RunDetail, RunId, RunPage, RunVersionChoice, StartedRun,
};
use switchyard_edge::api::answer::{json, no_content};
use switchyard_edge::api::path::RunPath;
use switchyard_edge::api::query::Query;
use switchyard_edge::problem::Problem;

/// Runs that the caller may read, the newest first
#[utoipa::path(get, path = "/runs", tag = "runs", params(RunsQuery), responses(
    (status = 200, description = "A page of runs", body = RunPage),
))]
pub(super) async fn runs(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Query(query): Query<RunsQuery>,
) -> Result<Response, Problem> {
    let named = query.project.iter().chain(query.task.iter().map(|task| &task.project));
    named.into_iter().try_for_each(|project| check_read(&caller, project))?;
    let mut page = api.runs.runs(query.filter()).await?;
    page.runs.retain(|run| caller.may(Action::Read, run.task.project.as_str()));
    page.runs = page.runs.into_iter().map(Run::listed).collect();
    Ok(json(StatusCode::OK, &page))
}

/// One run, with its steps
#[utoipa::path(get, path = "/runs/{run}", tag = "runs",
    params(RunInPath, WaitQuery),
    responses(
        (status = 200, description = "The run", body = RunDetail),
        (status = 404, description = "unknown-run"),
    ),
)]
pub(super) async fn run(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    RunPath(id): RunPath,
    Query(query): Query<WaitQuery>,
) -> Result<Response, Problem> {
    let mut detail = api.checked_run(&caller, Action::Read, id).await?;
    if query.wait.is_some() && !detail.run.state.is_end() {
        api.awaited(detail.run, query.wait).await?;
        detail = api.runs.run(id).await?;
    }
    detail.run = detail.run.shown();
    Ok(json(StatusCode::OK, &detail))
}

/// Cancels a run
///
/// Its `ctx.signal` is aborted at once, and its process is ended a few seconds later.
#[utoipa::path(post, path = "/runs/{run}/cancel", tag = "runs",
    params(RunInPath, WaitQuery),
    responses(
        (status = 200, description = "The run has ended", body = Run),
        (status = 202, description = "The run is asked to end", body = Run),
        (status = 404, description = "unknown-run"),
        (status = 409, description = "ended"),
    ),
)]
pub(super) async fn cancel(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    RunPath(id): RunPath,
    Query(query): Query<WaitQuery>,
) -> Result<Response, Problem> {
    api.checked_run(&caller, Action::Cancel, id).await?;
    let run = api.runs.cancel(id, caller.name().map(str::to_owned)).await?;
    let run = api.awaited(run, query.wait).await?;
    let status = if run.state.is_end() { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok(json(status, &run.shown()))
}

/// Runs a run's task again, with the same parameters and input
#[utoipa::path(post, path = "/runs/{run}/retry", tag = "runs", request_body = Option<RetryRun>,
    params(RunInPath, WaitQuery),
    responses(
        (status = 200, description = "The new run has ended, in whatever way", body = StartedRun),
        (status = 202, description = "The new run is recorded, and goes on", body = StartedRun),
        (status = 404, description = "unknown-run, unknown-task or unknown-version"),
        (status = 409, description = "under-way: it has not ended; overlap: another run is under way; input-not-kept, router-gone"),
        StartRefused,
    ),
)]
pub(super) async fn retry(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    RunPath(id): RunPath,
    Query(query): Query<WaitQuery>,
    body: Body,
) -> Result<Response, Problem> {
    let detail = api.checked_run(&caller, Action::Run, id).await?;
    let RetryRun { version } = RETRY.read(body).await?;
    let version = match version.as_deref() {
        None => None,
        Some("same") => Some(RunVersionChoice::Same),
        Some("latest") => Some(RunVersionChoice::Latest),
        Some(text) => {
            let digest = api.version_digest(&detail.run.task.project, text).await?;
            Some(RunVersionChoice::Digest(digest))
        }
    };
    let options = RetryOptions { by: caller.name().map(str::to_owned), version };
    api.answer_start(api.runs.retry(id, options).await?, query.wait).await
}

/// Goes on with a run that did not succeed
///
/// Steps that are finished are not run again.
#[utoipa::path(post, path = "/runs/{run}/resume", tag = "runs", request_body = Option<ResumeRun>,
    params(RunInPath, WaitQuery),
    responses(
        (status = 200, description = "The new run has ended, in whatever way", body = StartedRun),
        (status = 202, description = "The new run is recorded, and goes on", body = StartedRun),
        (status = 404, description = "unknown-run or unknown-task"),
        (status = 422, description = "unknown-step"),
        (status = 409, description = "under-way, succeeded, steps-without-match, input-not-kept, router-gone, project-removed; overlap: another run is under way"),
        StartRefused,
    ),
)]
pub(super) async fn resume(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    RunPath(id): RunPath,
    Query(query): Query<WaitQuery>,
    body: Body,
) -> Result<Response, Problem> {
    api.checked_run(&caller, Action::Run, id).await?;
    let ResumeRun { from_step, latest } = RESUME.read(body).await?;
    if let Some(step) = from_step.as_deref().filter(|step| step.is_empty() || step.len() > MAX_TEXT) {
        let detail =
            format!("from_step has {} bytes: expected the name of a step, 1 to {MAX_TEXT}", step.len());
        return Err(Problem::bad_request(detail).with("field", "from_step"));
    }
    let options = ResumeOptions { by: caller.name().map(str::to_owned), from_step, latest };
    api.answer_start(api.runs.resume(id, options).await?, query.wait).await
}

/// Deletes a run that has ended, with its steps and its log
#[utoipa::path(delete, path = "/runs/{run}", tag = "runs",
    params(RunInPath),
    responses(
        (status = 204, description = "The run is deleted"),
        (status = 404, description = "unknown-run"),
        (status = 409, description = "under-way: cancel it first"),
    ),
)]
pub(super) async fn delete(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    RunPath(id): RunPath,
) -> Result<Response, Problem> {
    api.checked_run(&caller, Action::Delete, id).await?;
    api.runs.delete(id).await?;
    Ok(no_content())
}

impl Api {
    /// Returns a run, if the caller may do `action` with its project.
    ///
    /// # Errors
    /// 403 if it may not, 404 for an unknown run, and for one whose project the caller does not know.
    pub(super) async fn checked_run(
        &self,
        caller: &Caller,
        action: Action,
        id: RunId,
    ) -> Result<RunDetail, Problem> {
        let detail = self.runs.run(id).await?;
        let project = &detail.run.task.project;
        if !caller.knows(project.as_str()) {
            return Err(unknown_run(id));
        }
        caller.check(action, project)?;
        Ok(detail)
    }
}
