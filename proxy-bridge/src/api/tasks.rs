//! Tasks: what the live versions declare, runs that somebody starts, and explanations.

use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use utoipa::IntoParams;

use super::bodies::{START, check_start, wait};
use super::deploy::idempotency_key;
use super::openapi_parts::{StartRefused, TaskInPath};
use super::run_queries::{TIME, project};
use super::{Api, Shared, check_read};
use crate::runs::{StartRun, Started};
use crate::tokens::Caller;
use crate::versions;
use switchyard_contract::deploy::Action;
use switchyard_contract::digest::Digest;
use switchyard_contract::overview::VersionInfo;
use switchyard_contract::project::ProjectName;
use switchyard_contract::run::{Run, RunTrigger, StartedRun};
use switchyard_contract::task::TaskId;
use switchyard_contract::task_overview::{StartTask, TaskDetail, TaskExplanation, TaskOverviews};
use switchyard_edge::api::answer::json;
use switchyard_edge::api::path::TaskPath;
use switchyard_edge::api::query::{FromQuery, Query, QueryPairs};
use switchyard_edge::api::stopped;
use switchyard_edge::problem::Problem;

/// The fewest digits that may name a digest, and a commit.
const DIGEST_LEN: usize = 12;
const COMMIT_LEN: usize = 7;

/// The parameters of the list.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct TasksQuery {
    /// The project. Default: all.
    #[param(required = false, value_type = String)]
    project: Option<ProjectName>,
}

impl FromQuery for TasksQuery {
    const KEYS: &'static [&'static str] = &["project"];

    fn from_query(pairs: &QueryPairs) -> Result<Self, Problem> {
        Ok(Self { project: project(pairs)? })
    }
}

/// The parameters of a start.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct StartQuery {
    /// Seconds for which the answer waits for the end of the run: at most 600. Default: it does not.
    #[param(required = false, value_type = u32)]
    wait: Option<Duration>,
    /// If set, the run is started also while another one of the task is under way.
    #[param(required = false, default = false)]
    force: bool,
}

impl FromQuery for StartQuery {
    const KEYS: &'static [&'static str] = &["wait", "force"];

    fn from_query(pairs: &QueryPairs) -> Result<Self, Problem> {
        Ok(Self { wait: wait(pairs)?, force: pairs.switch("force")?.unwrap_or(false) })
    }
}

/// The parameters of an explanation.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ExplainTaskQuery {
    /// The due time. Default: the last one.
    #[param(required = false, value_type = String)]
    at: Option<Timestamp>,
}

impl FromQuery for ExplainTaskQuery {
    const KEYS: &'static [&'static str] = &["at"];

    fn from_query(pairs: &QueryPairs) -> Result<Self, Problem> {
        Ok(Self { at: pairs.value("at", TIME)? })
    }
}

/// All tasks and pipelines that the caller may read
#[utoipa::path(get, path = "/tasks", tag = "tasks", params(TasksQuery), responses(
    (status = 200, description = "The tasks and pipelines, by id", body = TaskOverviews),
))]
pub(super) async fn tasks(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Query(TasksQuery { project }): Query<TasksQuery>,
) -> Result<Response, Problem> {
    if let Some(project) = &project {
        check_read(&caller, project)?;
    }
    let mut tasks = api.runs.tasks().await;
    tasks.retain(|overview| {
        let owner = &overview.task.project;
        project.as_ref().is_none_or(|project| project == owner) && caller.may(Action::Read, owner.as_str())
    });
    Ok(json(StatusCode::OK, &TaskOverviews { tasks }))
}

/// One task or pipeline
///
/// A `/` in the task's name is sent as `%2F`.
#[utoipa::path(get, path = "/tasks/{task}", tag = "tasks",
    params(TaskInPath),
    responses(
        (status = 200, description = "The specification, due times and versions", body = TaskDetail),
        (status = 404, description = "unknown-task"),
    ),
)]
pub(super) async fn task(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    TaskPath(task): TaskPath,
) -> Result<Response, Problem> {
    check_read(&caller, &task.project)?;
    Ok(json(StatusCode::OK, &api.runs.task(&task).await?))
}

/// Explains why a task did or did not run at a due time
#[utoipa::path(get, path = "/tasks/{task}/explain", tag = "tasks",
    params(TaskInPath, ExplainTaskQuery),
    responses(
        (status = 200, description = "The reason", body = TaskExplanation),
        (status = 404, description = "unknown-task"),
    ),
)]
pub(super) async fn explain_task(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    TaskPath(task): TaskPath,
    Query(ExplainTaskQuery { at }): Query<ExplainTaskQuery>,
) -> Result<Response, Problem> {
    check_read(&caller, &task.project)?;
    Ok(json(StatusCode::OK, &api.runs.explain(&task, at).await?))
}

/// Starts a run
#[utoipa::path(post, path = "/tasks/{task}/run", tag = "tasks", request_body = Option<StartTask>,
    params(
        TaskInPath,
        ("idempotency-key" = Option<String>, Header, description = "Repeats are answered alike"),
        StartQuery,
    ),
    responses(
        (status = 200, description = "The run has ended, in whatever way", body = StartedRun),
        (status = 202, description = "The run is recorded, and goes on", body = StartedRun),
        (status = 404, description = "unknown-task or unknown-version"),
        (status = 409, description = "overlap: another run is under way"),
        (status = 422, description = "invalid-params; idempotency-key-reused"),
        StartRefused,
    ),
)]
pub(super) async fn run_task(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    TaskPath(task): TaskPath,
    Query(query): Query<StartQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    caller.check(Action::Run, &task.project)?;
    api.start_run(&caller, task, &query, &headers, body).await
}

impl Api {
    /// Starts a run of a task or pipeline that the caller may run.
    pub(super) async fn start_run(
        &self,
        caller: &Caller,
        task: TaskId,
        query: &StartQuery,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Response, Problem> {
        let key = idempotency_key(headers)?;
        let start: StartTask = START.read(body).await?;
        check_start(&start)?;
        let StartTask { params, input, version, consistency } = start;
        let version = match version {
            Some(version) => Some(self.version_digest(&task.project, &version).await?),
            None => None,
        };
        let by = caller.name().map(str::to_owned);
        let start = StartRun {
            task,
            trigger: RunTrigger::Manual,
            by,
            key,
            params,
            input,
            version,
            consistency,
            parent: None,
            force: query.force,
        };
        self.answer_start(self.runs.start(start).await?, query.wait).await
    }

    /// Answers with a run that was started, once it has ended or the time is over.
    pub(super) async fn answer_start(
        &self,
        started: Started,
        wait: Option<Duration>,
    ) -> Result<Response, Problem> {
        let Started { run, is_new } = started;
        let run = self.awaited(run, wait).await?;
        let status = if run.state.is_end() { StatusCode::OK } else { StatusCode::ACCEPTED };
        Ok(json(status, &StartedRun { run: run.shown(), is_new }))
    }

    /// Returns the run when it has ended, or as it is after `wait` or when the bridge stops.
    pub(super) async fn awaited(&self, run: Run, wait: Option<Duration>) -> Result<Run, Problem> {
        let Some(wait) = wait.filter(|wait| !wait.is_zero() && !run.state.is_end()) else { return Ok(run) };
        let mut stop = self.stopping.clone();
        tokio::select! {
            run = self.runs.wait(run.id, wait) => run,
            () = stopped(&mut stop) => Ok(self.runs.run(run.id).await?.run),
        }
    }

    /// Returns the digest of a version of the project that is there, by its name, digest or commit.
    ///
    /// # Errors
    /// 400 for text that is none, or that several versions have; 404 for an unknown one.
    pub(super) async fn version_digest(
        &self,
        project: &ProjectName,
        wanted: &str,
    ) -> Result<Digest, Problem> {
        if let Ok(digest) = wanted.parse() {
            return Ok(digest);
        }
        let incarnation = self.deploys.volume().register().of(project)?.current;
        let (records, routers) = (self.deploys.records(), self.routers.all());
        let known = versions::all(project, incarnation, &records, &routers).await;
        chosen(project, wanted, &known)
    }
}

/// Returns the digest of the version that `wanted` names: of several from one commit, the newest one.
fn chosen(project: &ProjectName, wanted: &str, known: &[VersionInfo]) -> Result<Digest, Problem> {
    let (is_version, digits) = match wanted.split_once('@') {
        Some((name, digits)) => (name == project.as_str(), digits),
        None => (false, wanted),
    };
    let fewest = if is_version { DIGEST_LEN } else { COMMIT_LEN };
    let is_hex = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    let is_text = is_version || !wanted.contains('@');
    if !(is_text && (fewest..=64).contains(&digits.len()) && digits.bytes().all(is_hex)) {
        let detail = format!(
            "invalid version {wanted:?}: expected {project}@DIGITS, at least {DIGEST_LEN} digits of a digest, or \
             at least {COMMIT_LEN} digits of a commit, of 0-9 and a-f"
        );
        return Err(Problem::bad_request(detail).with("field", "version"));
    }
    let has_digest = |version: &&VersionInfo| {
        digits.len() >= DIGEST_LEN && version.digest.as_ref().is_some_and(|digest| digest.starts_with(digits))
    };
    let commit = |version: &VersionInfo| {
        let commit = version.commit.as_ref().filter(|_| !is_version)?;
        commit.commit.starts_with(digits).then(|| commit.commit.clone())
    };
    let found = known.iter().find(has_digest).or_else(|| known.iter().find(|one| commit(one).is_some()));
    let digest = found.and_then(|version| version.digest.as_ref()?.parse().ok());
    let digest = digest.ok_or_else(|| {
        let detail = format!(
            "no known version of {project} has a digest or a commit that begins with {digits}: \
             switchyard versions {project} lists those that are known"
        );
        Problem::new(StatusCode::NOT_FOUND, "unknown-version", detail).with("field", "version")
    })?;
    let mut commits: Vec<_> = known.iter().filter_map(commit).collect();
    commits.sort();
    commits.dedup();
    if commits.len() > 1 && !known.iter().any(|version| has_digest(&version)) {
        let detail =
            format!("version {digits} is ambiguous: {} begin so; send more digits", commits.join(" and "));
        return Err(
            Problem::new(StatusCode::BAD_REQUEST, "ambiguous-commit", detail).with("field", "version")
        );
    }
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn known() -> Vec<VersionInfo> {
        let version = |digit: &str, commit: &str| {
            serde_json::from_value(json!({
                "version": format!("blog@{}", digit.repeat(12)), "digest": digit.repeat(64),
                "commit": {"source": "s", "commit": commit, "ref": null}, "live": [], "kept": [],
            }))
            .unwrap()
        };
        vec![
            version("c", &"1".repeat(40)),
            version("b", &format!("2222222{}", "a".repeat(33))),
            version("a", &format!("2222222{}", "b".repeat(33))),
        ]
    }

    #[test]
    fn a_version_is_found_by_its_name_digest_or_commit() {
        let blog = ProjectName::parse("blog").unwrap();
        let find = |wanted: &str| chosen(&blog, wanted, &known()).map(|digest| digest.short());
        for (wanted, digit) in
            [("blog@cccccccccccc", "c"), ("bbbbbbbbbbbbb", "b"), ("1111111", "c"), ("2222222b", "a")]
        {
            assert_eq!(find(wanted), Ok(digit.repeat(12)), "{wanted}");
        }
        for (wanted, slug) in [
            ("blog@ccc", "bad-request"),
            ("shop@cccccccccccc", "bad-request"),
            ("ccc", "bad-request"),
            ("main", "bad-request"),
            ("blog@dddddddddddd", "unknown-version"),
            ("3333333", "unknown-version"),
            ("2222222", "ambiguous-commit"),
        ] {
            assert_eq!(find(wanted).unwrap_err().slug(), slug, "{wanted}");
        }
    }

    #[test]
    fn a_due_time_needs_its_zone() {
        let read = |query: &str| ExplainTaskQuery::from_query(&QueryPairs::parse(Some(query)));
        assert!(read("at=2026-03-01T08:00:00Z").unwrap().at.is_some());
        assert!(read("").unwrap().at.is_none());
        let problem = read("at=2026-03-01T08:00:00").unwrap_err();
        assert!(problem.detail().contains("with its zone"), "{}", problem.detail());
    }
}
