//! Runs: the history, single runs, and what is done with them.

use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use jiff::Timestamp;
use serde_json::Value;
use utoipa::IntoParams;

use super::bodies::{RESUME, RETRY, wait};
use super::run_queries::{TIME, project};
use super::{Api, Shared, check_read};
use crate::runs::{ResumeOptions, RetryOptions};
use crate::tokens::Caller;
use switchyard_contract::deploy::Action;
use switchyard_contract::project::ProjectName;
use switchyard_contract::run::{
    ResumeRun, RetryRun, Run, RunDetail, RunFilter, RunId, RunPage, RunState, RunVersionChoice, StartedRun,
};
use switchyard_contract::suggest::did_you_mean;
use switchyard_contract::task::TaskId;
use switchyard_edge::api::answer::{json, no_content};
use switchyard_edge::api::path::RunPath;
use switchyard_edge::api::query::{FromQuery, Query, QueryPairs, invalid};
use switchyard_edge::problem::Problem;

/// The longest cursor and name of a step, in bytes.
const MAX_TEXT: usize = 512;

/// The parameters of the history.
#[derive(Debug, PartialEq, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct RunsQuery {
    /// Runs of this task or pipeline, as in `blog:digest`.
    #[param(required = false, value_type = String)]
    task: Option<TaskId>,
    /// Runs of this project's tasks and pipelines.
    #[param(required = false, value_type = String)]
    project: Option<ProjectName>,
    /// Runs in one of these states, separated by commas.
    #[param(required = false, value_type = String)]
    state: Vec<RunState>,
    /// Runs that were accepted then or later.
    #[param(required = false, value_type = String)]
    since: Option<Timestamp>,
    /// Runs that were accepted before then.
    #[param(required = false, value_type = String)]
    until: Option<Timestamp>,
    /// Runs of versions from this commit: at least its first 7 digits.
    #[param(required = false)]
    commit: Option<String>,
    /// Steps of this run, retries of it, and runs that its end started.
    #[param(required = false, value_type = String)]
    parent: Option<RunId>,
    /// The most runs of a page: 1 to 1,000.
    #[param(required = false, default = 50)]
    limit: u32,
    /// The `next` of the page before.
    #[param(required = false)]
    cursor: Option<String>,
}

impl FromQuery for RunsQuery {
    const KEYS: &'static [&'static str] =
        &["task", "project", "state", "since", "until", "commit", "parent", "limit", "cursor"];

    fn from_query(pairs: &QueryPairs) -> Result<Self, Problem> {
        let limit = match pairs.get("limit") {
            None => RunFilter::DEFAULT_LIMIT,
            Some(text) => {
                let limit = text.parse().ok().filter(|limit| (1..=RunFilter::MAX_LIMIT).contains(limit));
                limit.ok_or_else(|| invalid("limit", text, "1 to 1000"))?
            }
        };
        let cursor = pairs.get("cursor");
        if let Some(cursor) = cursor.filter(|cursor| cursor.len() > MAX_TEXT) {
            let shown: String = cursor.chars().take(20).collect();
            return Err(invalid("cursor", &format!("{shown}…"), "the \"next\" of the page before"));
        }
        Ok(Self {
            task: pairs.value("task", "PROJECT:TASK, as in blog:digest")?,
            project: project(pairs)?,
            state: states(pairs)?,
            since: pairs.value("since", TIME)?,
            until: pairs.value("until", TIME)?,
            commit: commit(pairs)?,
            parent: pairs.value("parent", "the id of a run")?,
            limit,
            cursor: cursor.map(str::to_owned),
        })
    }
}

impl RunsQuery {
    fn filter(self) -> RunFilter {
        RunFilter {
            task: self.task,
            project: self.project,
            states: self.state,
            since: self.since,
            until: self.until,
            commit: self.commit,
            parent: self.parent,
            limit: self.limit,
            cursor: self.cursor,
        }
    }
}

fn states(pairs: &QueryPairs) -> Result<Vec<RunState>, Problem> {
    let names = RunState::ALL.map(RunState::as_str);
    let parse = |name: &str| {
        RunState::parse(name).ok_or_else(|| {
            let expected = format!("{}, separated by commas{}", names.join(", "), did_you_mean(name, &names));
            invalid("state", name, &expected)
        })
    };
    let given = pairs.get("state").unwrap_or_default().split(',').map(str::trim);
    given.filter(|name| !name.is_empty()).map(parse).collect()
}

fn commit(pairs: &QueryPairs) -> Result<Option<String>, Problem> {
    let Some(text) = pairs.get("commit") else { return Ok(None) };
    let is_commit = (7..=64).contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    if is_commit {
        Ok(Some(text.to_ascii_lowercase()))
    } else {
        Err(invalid("commit", text, "at least 7 hex digits of a commit"))
    }
}

/// The parameter of requests that can wait for the end of a run.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct WaitQuery {
    /// Seconds for which the answer waits for the end of the run: at most 600. Default: it does not.
    #[param(required = false, value_type = u32)]
    wait: Option<Duration>,
}

impl FromQuery for WaitQuery {
    const KEYS: &'static [&'static str] = &["wait"];

    fn from_query(pairs: &QueryPairs) -> Result<Self, Problem> {
        Ok(Self { wait: wait(pairs)? })
    }
}

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
    page.runs = page.runs.into_iter().map(listed).collect();
    Ok(json(StatusCode::OK, &page))
}

/// One run, with its steps
#[utoipa::path(get, path = "/runs/{run}", tag = "runs",
    params(("run" = String, Path, description = "The run"), WaitQuery),
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
    detail.run = shown(detail.run);
    Ok(json(StatusCode::OK, &detail))
}

/// Cancels a run
///
/// Its `ctx.signal` is aborted at once, and its process is ended a few seconds later.
#[utoipa::path(post, path = "/runs/{run}/cancel", tag = "runs",
    params(("run" = String, Path, description = "The run"), WaitQuery),
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
    Ok(json(status, &shown(run)))
}

/// Runs a run's task again, with the same parameters and input
#[utoipa::path(post, path = "/runs/{run}/retry", tag = "runs", request_body = Option<RetryRun>,
    params(("run" = String, Path, description = "The run"), WaitQuery),
    responses(
        (status = 200, description = "The new run has ended, in whatever way", body = StartedRun),
        (status = 202, description = "The new run is recorded, and goes on", body = StartedRun),
        (status = 404, description = "unknown-run, unknown-task or unknown-version"),
        (status = 409, description = "under-way: it has not ended; overlap: another run is under way; input-not-kept"),
        (status = 429, description = "queue-full"),
        (status = 503, description = "history: the run cannot be recorded; or no-router"),
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
    params(("run" = String, Path, description = "The run"), WaitQuery),
    responses(
        (status = 200, description = "The new run has ended, in whatever way", body = StartedRun),
        (status = 202, description = "The new run is recorded, and goes on", body = StartedRun),
        (status = 404, description = "unknown-run or unknown-task"),
        (status = 422, description = "unknown-step"),
        (status = 409, description = "under-way, succeeded, steps-without-match, input-not-kept; overlap: another run is under way"),
        (status = 429, description = "queue-full"),
        (status = 503, description = "history: the run cannot be recorded; or no-router"),
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
    params(("run" = String, Path, description = "The run")),
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
    /// 403 if it may not, 404 for an unknown run.
    pub(super) async fn checked_run(
        &self,
        caller: &Caller,
        action: Action,
        id: RunId,
    ) -> Result<RunDetail, Problem> {
        let detail = self.runs.run(id).await?;
        caller.check(action, &detail.run.task.project)?;
        Ok(detail)
    }
}

/// The run as callers see it. Who has its key could find it again in another's name.
pub(super) fn shown(run: Run) -> Run {
    Run { key: None, ..run }
}

/// The run as lists show it: a thousand results and parameters could be a gigabyte.
fn listed(run: Run) -> Run {
    Run { params: Value::Null, result: None, ..shown(run) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn filter(query: &str) -> Result<RunFilter, Problem> {
        let pairs = QueryPairs::parse(Some(query));
        pairs.check(RunsQuery::KEYS)?;
        RunsQuery::from_query(&pairs).map(RunsQuery::filter)
    }

    #[test]
    fn a_query_without_conditions_asks_for_the_newest_runs() {
        assert_eq!(filter(""), Ok(RunFilter::default()));
    }

    #[test]
    fn each_condition_is_read() {
        let id = RunId::new_now();
        let query = format!(
            "task=blog:reports%2Fdigest&project=blog&state=failed,timed-out&since=2026-03-01T08:00:00Z\
             &until=2026-03-02T08:00:00%2B01:00&commit=ABCDEF0&parent={id}&limit=1000&cursor=x"
        );
        let filter = filter(&query).unwrap();
        assert_eq!(filter.task.unwrap().to_string(), "blog:reports/digest");
        assert_eq!(filter.project.unwrap().as_str(), "blog");
        assert_eq!(filter.states, [RunState::Failed, RunState::TimedOut]);
        assert_eq!(filter.until.unwrap().to_string(), "2026-03-02T07:00:00Z");
        assert_eq!((filter.commit.as_deref(), filter.parent), (Some("abcdef0"), Some(id)));
        assert_eq!((filter.limit, filter.cursor.as_deref()), (1000, Some("x")));
    }

    #[test]
    fn a_wrong_condition_is_named_with_what_is_right() {
        for (query, field, says) in [
            ("task=blog", "task", "PROJECT:TASK"),
            ("project=b%2Fc", "project", "invalid"),
            ("state=faild", "state", "did you mean \"failed\"?"),
            ("state=failed,done", "state", "\"done\""),
            ("since=yesterday", "since", "2026-03-01T08:00:00Z"),
            ("commit=main", "commit", "7 hex digits"),
            ("parent=1", "parent", "the id of a run"),
            ("limit=0", "limit", "1 to 1000"),
            ("limit=1001", "limit", "1 to 1000"),
            ("stat=failed", "stat", "did you mean \"state\"?"),
        ] {
            let problem = filter(query).unwrap_err();
            let of = problem.member("field");
            assert_eq!(of, Some(field), "{query}");
            assert!(problem.detail().contains(says), "{query}: {}", problem.detail());
        }
        assert!(filter(&format!("cursor={}", "x".repeat(MAX_TEXT + 1))).is_err());
    }

    #[test]
    fn lists_show_no_results_and_nothing_shows_keys() {
        let run: Run = serde_json::from_value(json!({
            "id": RunId::new_now(), "task": "blog:digest", "state": "succeeded", "trigger": "manual",
            "key": "k", "queued_at": "2026-03-01T08:00:00Z", "attempt": 1, "attempts": 1,
            "params": {"a": 1}, "result": 5,
        }))
        .unwrap();
        let one = shown(run.clone());
        assert_eq!((one.key, one.result), (None, Some(json!(5))));
        let row = listed(run);
        assert_eq!((row.key, row.params, row.result), (None, Value::Null, None));
    }
}
