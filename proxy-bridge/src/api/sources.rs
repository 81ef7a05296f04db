//! Git sources: their states, syncs, and the decisions of operators.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use futures_util::future::join_all;
use http::StatusCode;
use serde_json::json as value;
use utoipa::IntoParams;

use super::{Api, Shared};
use crate::git::ObjectId;
use crate::sources::control::{Sources, unknown};
use crate::sources::machine::SyncOptions;
use crate::tokens::Caller;
use switchyard_contract::deploy::{Action, DeployOutcome, DeployRecord};
use switchyard_contract::project::ProjectName;
use switchyard_contract::source::{
    DeployedCommit, DeployedCommits, Explanation, SourceStatus, SourceStatuses, SyncOutcome, SyncReport,
    SyncReports, SyncedProject,
};
use switchyard_edge::api::answer::{json, stored_problem};
use switchyard_edge::api::path::Path;
use switchyard_edge::api::query::{FromQuery, Query, QueryPairs, invalid};
use switchyard_edge::problem::Problem;

/// The least digits of a commit that find it among those that were deployed.
const MIN_DIGITS: usize = 7;

/// The longest reason of a freeze, in characters.
const MAX_REASON: usize = 500;

/// The parameters of a sync.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct SyncQuery {
    /// If not set, the answer is 202 at once.
    #[param(required = false, default = true)]
    wait: bool,
    /// The commit to deploy in place of the ref's: all its hex digits.
    #[param(required = false, value_type = String)]
    commit: Option<ObjectId>,
    /// If set, the commit may remove any number of projects.
    #[param(required = false, default = false)]
    allow_empty: bool,
    /// If set, projects that have not changed are deployed too.
    #[param(required = false, default = false)]
    force: bool,
}

impl FromQuery for SyncQuery {
    const KEYS: &'static [&'static str] = &["wait", "commit", "allow_empty", "force"];

    fn from_query(pairs: &QueryPairs) -> Result<Self, Problem> {
        Ok(Self {
            wait: pairs.switch("wait")?.unwrap_or(true),
            commit: commit(pairs)?,
            allow_empty: pairs.switch("allow_empty")?.unwrap_or(false),
            force: pairs.switch("force")?.unwrap_or(false),
        })
    }
}

impl SyncQuery {
    fn options(&self) -> SyncOptions<ObjectId> {
        SyncOptions { commit: self.commit.clone(), allow_empty: self.allow_empty, force: self.force }
    }
}

/// The parameters of a publish.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PublishQuery {
    /// The commit: all its hex digits. Default: the one that is ready.
    #[param(required = false, value_type = String)]
    commit: Option<ObjectId>,
}

impl FromQuery for PublishQuery {
    const KEYS: &'static [&'static str] = &["commit"];

    fn from_query(pairs: &QueryPairs) -> Result<Self, Problem> {
        Ok(Self { commit: commit(pairs)? })
    }
}

/// The parameters of a freeze.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct FreezeQuery {
    /// The reason, at most 500 characters.
    #[param(required = false)]
    reason: String,
}

impl FromQuery for FreezeQuery {
    const KEYS: &'static [&'static str] = &["reason"];

    fn from_query(pairs: &QueryPairs) -> Result<Self, Problem> {
        let reason = pairs.get("reason").map(str::trim).filter(|reason| !reason.is_empty());
        let reason = reason.unwrap_or("an operator has frozen it");
        if reason.chars().count() > MAX_REASON || reason.chars().any(char::is_control) {
            return Err(invalid("reason", reason, "at most 500 characters, without line breaks"));
        }
        Ok(Self { reason: reason.to_owned() })
    }
}

/// The parameters of an explanation.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ExplainQuery {
    /// The project. Default: all.
    #[param(required = false, value_type = String)]
    project: Option<ProjectName>,
    /// The commit: all its hex digits. Default: the newest one that the server has shown.
    #[param(required = false, value_type = String)]
    commit: Option<ObjectId>,
}

impl FromQuery for ExplainQuery {
    const KEYS: &'static [&'static str] = &["project", "commit"];

    fn from_query(pairs: &QueryPairs) -> Result<Self, Problem> {
        let project = pairs
            .get("project")
            .map(|name| ProjectName::parse(name).map_err(|error| Problem::bad_request(error.to_string())));
        Ok(Self { project: project.transpose()?, commit: commit(pairs)? })
    }
}

fn commit(pairs: &QueryPairs) -> Result<Option<ObjectId>, Problem> {
    pairs.value("commit", "all 40 or 64 hex digits of a commit")
}

/// All sources of which the caller may read all projects
#[utoipa::path(get, path = "/sources", tag = "sources", responses(
    (status = 200, description = "The sources", body = SourceStatuses),
))]
pub(super) async fn sources(State(api): Shared, Extension(caller): Extension<Caller>) -> Response {
    let all = api.sources.iter().flat_map(|sources| {
        let may = |status: &SourceStatus| check(sources, &caller, Action::Read, &status.source).is_ok();
        sources.statuses().into_iter().filter(move |status| may(status)).collect::<Vec<_>>()
    });
    json(StatusCode::OK, &SourceStatuses { sources: all.collect() })
}

/// One source
#[utoipa::path(get, path = "/sources/{source}", tag = "sources",
    params(("source" = String, Path, description = "The source")),
    responses(
        (status = 200, description = "The source's state", body = SourceStatus),
        (status = 404, description = "unknown-source"),
    ),
)]
pub(super) async fn source(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let sources = api.checked(&caller, Action::Read, &name)?;
    let status = sources.status(&name).ok_or_else(|| unknown(&name))?;
    Ok(json(StatusCode::OK, &status))
}

/// Syncs one source: asks the server, and deploys what is new
#[utoipa::path(post, path = "/sources/{source}/sync", tag = "sources",
    params(("source" = String, Path, description = "The source"), SyncQuery),
    responses(
        (status = 200, description = "The commit is live, or waits to be published", body = SyncReport),
        (status = 202, description = "The sync goes on"),
        (status = 404, description = "unknown-source"),
        (status = 409, description = "frozen, blocked, overridden, deploy-under-way or superseded"),
        (status = 422, description = "The commit cannot be deployed"),
        (status = 502, description = "The repository cannot be reached"),
        (status = 503, description = "busy"),
    ),
)]
pub(super) async fn sync(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    Query(query): Query<SyncQuery>,
) -> Result<Response, Problem> {
    let sources = api.checked(&caller, Action::Sync, &name)?;
    if query.allow_empty {
        api.checked(&caller, Action::Publish, &name)?;
    }
    if !query.wait {
        sources.request(&name, query.options())?;
        return Ok(json(StatusCode::ACCEPTED, &value!({ "source": name })));
    }
    Ok(respond(&sources.sync(&name, query.options()).await?))
}

/// Syncs all sources that the caller may sync
///
/// The answer has the worst status of all syncs.
#[utoipa::path(post, path = "/repo/sync", tag = "sources",
    params(SyncQuery),
    responses(
        (status = 200, description = "All commits are live, or wait to be published", body = SyncReports),
        (status = 202, description = "The syncs go on"),
        (status = 409, description = "A source is frozen or blocked"),
        (status = 422, description = "A commit cannot be deployed"),
        (status = 502, description = "A repository cannot be reached"),
    ),
)]
pub(super) async fn sync_all(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Query(query): Query<SyncQuery>,
) -> Result<Response, Problem> {
    if query.commit.is_some() {
        let detail = "a commit is one source's: send it to /sources/NAME/sync";
        return Err(Problem::bad_request(detail));
    }
    let sources = api.sources()?;
    let mut names = sources.names();
    names.retain(|name| check(sources, &caller, Action::Sync, name).is_ok());
    if query.allow_empty {
        names.iter().try_for_each(|name| check(sources, &caller, Action::Publish, name))?;
    }
    if names.is_empty() {
        let detail = "the token allows to sync no source: add sync to its actions in the token file";
        return Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", detail));
    }
    if !query.wait {
        names.iter().try_for_each(|name| sources.request(name, query.options()))?;
        return Ok(json(StatusCode::ACCEPTED, &value!({ "sources": names })));
    }
    let synced = names.iter().map(|name| sources.sync(name, query.options()));
    let reports: Vec<_> = join_all(synced).await.into_iter().collect::<Result<_, _>>()?;
    let worst = reports.iter().map(status).max().unwrap_or(StatusCode::OK);
    let reports = SyncReports { sources: reports };
    if worst == StatusCode::OK {
        return Ok(json(worst, &reports));
    }
    let failed: Vec<_> = reports.sources.iter().filter(|report| status(report) != StatusCode::OK).collect();
    let names: Vec<_> = failed.iter().map(|report| report.source.as_str()).collect();
    let detail = format!("not synced: {}; \"sources\" has the result of each", names.join(", "));
    let sources = serde_json::to_value(&reports.sources).unwrap_or_default();
    let problem = Problem::new(worst, "not-synced", detail).with("sources", sources);
    Ok(stored_problem(worst, &problem.document()))
}

/// Publishes a commit
#[utoipa::path(post, path = "/sources/{source}/publish", tag = "sources",
    params(("source" = String, Path, description = "The source"), PublishQuery),
    responses(
        (status = 200, description = "The commit is live", body = SyncReport),
        (status = 404, description = "unknown-source"),
        (status = 409, description = "nothing-to-do, frozen, blocked or overridden"),
        (status = 422, description = "The commit cannot be deployed"),
    ),
)]
pub(super) async fn publish(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    Query(query): Query<PublishQuery>,
) -> Result<Response, Problem> {
    let sources = api.checked(&caller, Action::Publish, &name)?;
    Ok(respond(&sources.publish(&name, query.commit).await?))
}

/// Approves the removal of projects that a commit no longer has
#[utoipa::path(post, path = "/sources/{source}/approve", tag = "sources",
    params(("source" = String, Path, description = "The source")),
    responses(
        (status = 200, description = "The projects are removed", body = SyncReport),
        (status = 404, description = "unknown-source"),
        (status = 409, description = "nothing-to-do or frozen"),
    ),
)]
pub(super) async fn approve(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let sources = api.checked(&caller, Action::Publish, &name)?;
    Ok(respond(&sources.approve(&name).await?))
}

/// Freezes a source: nothing of it is deployed
#[utoipa::path(post, path = "/sources/{source}/freeze", tag = "sources",
    params(("source" = String, Path, description = "The source"), FreezeQuery),
    responses(
        (status = 200, description = "The source's state", body = SourceStatus),
        (status = 404, description = "unknown-source"),
        (status = 507, description = "state-not-written: it holds until the bridge is started again"),
    ),
)]
pub(super) async fn freeze(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    Query(query): Query<FreezeQuery>,
) -> Result<Response, Problem> {
    let sources = api.checked(&caller, Action::Publish, &name)?;
    Ok(json(StatusCode::OK, &sources.freeze(&name, Some(query.reason)).await?))
}

/// Ends a freeze
#[utoipa::path(delete, path = "/sources/{source}/freeze", tag = "sources",
    params(("source" = String, Path, description = "The source")),
    responses(
        (status = 200, description = "The source's state", body = SourceStatus),
        (status = 404, description = "unknown-source"),
        (status = 507, description = "state-not-written: it holds until the bridge is started again"),
    ),
)]
pub(super) async fn unfreeze(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let sources = api.checked(&caller, Action::Publish, &name)?;
    Ok(json(StatusCode::OK, &sources.freeze(&name, None).await?))
}

/// Explains why a commit changes projects, or does not
#[utoipa::path(get, path = "/sources/{source}/explain", tag = "sources",
    params(("source" = String, Path, description = "The source"), ExplainQuery),
    responses(
        (status = 200, description = "The reasons", body = Explanation),
        (status = 404, description = "unknown-source or unknown-project"),
        (status = 409, description = "not-fetched"),
        (status = 422, description = "unreadable-commit"),
    ),
)]
pub(super) async fn explain(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    Query(query): Query<ExplainQuery>,
) -> Result<Response, Problem> {
    let sources = api.checked(&caller, Action::Read, &name)?;
    let explained = sources.explain(&name, query.project.as_ref(), query.commit).await?;
    Ok(json(StatusCode::OK, &explained))
}

/// The commits of a source that were deployed, the newest first
#[utoipa::path(get, path = "/sources/{source}/commits", tag = "sources",
    params(("source" = String, Path, description = "The source")),
    responses(
        (status = 200, description = "The commits", body = DeployedCommits),
        (status = 404, description = "unknown-source"),
    ),
)]
pub(super) async fn commits(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    api.checked(&caller, Action::Read, &name)?;
    Ok(json(StatusCode::OK, &DeployedCommits { commits: api.deployed_commits(&name) }))
}

/// The last deploy of a commit
#[utoipa::path(get, path = "/sources/{source}/commits/{commit}", tag = "sources",
    params(
        ("source" = String, Path, description = "The source"),
        ("commit" = String, Path, description = "The commit: at least 7 hex digits"),
    ),
    responses(
        (status = 200, description = "The deploy", body = DeployedCommit),
        (status = 404, description = "unknown-source or unknown-commit"),
        (status = 409, description = "ambiguous-commit"),
    ),
)]
pub(super) async fn deployed_commit(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path((name, digits)): Path<(String, String)>,
) -> Result<Response, Problem> {
    api.checked(&caller, Action::Read, &name)?;
    let is_commit = digits.len() >= MIN_DIGITS && digits.bytes().all(|c| c.is_ascii_hexdigit());
    let digits = digits.to_ascii_lowercase();
    let mut found = api.deployed_commits(&name).into_iter().filter(|one| one.commit.starts_with(&digits));
    let first = found.next().filter(|_| is_commit).ok_or_else(|| {
        let detail = format!(
            "no deploy of source {name} had commit {digits:?} (at least 7 hex digits): see /sources/{name}/commits"
        );
        Problem::new(StatusCode::NOT_FOUND, "unknown-commit", detail)
    })?;
    if let Some(other) = found.find(|other| other.commit != first.commit) {
        let detail = format!("{digits} begins {} and {}: send more digits", first.commit, other.commit);
        return Err(Problem::new(StatusCode::CONFLICT, "ambiguous-commit", detail));
    }
    Ok(json(StatusCode::OK, &first))
}

impl Api {
    /// # Errors
    /// 404 without `--sources`.
    fn sources(&self) -> Result<&Sources, Problem> {
        self.sources.as_ref().ok_or_else(|| {
            let detail = "there are no git sources: start the bridge with --sources FILE";
            Problem::new(StatusCode::NOT_FOUND, "no-sources", detail)
        })
    }

    /// Returns the sources, if the caller may do `action` with the source `name`.
    ///
    /// # Errors
    /// 403 if it may not, 404 for an unknown source.
    pub(super) fn checked(&self, caller: &Caller, action: Action, name: &str) -> Result<&Sources, Problem> {
        let sources = self.sources()?;
        check(sources, caller, action, name)?;
        Ok(sources)
    }

    fn deployed_commits(&self, source: &str) -> Vec<DeployedCommit> {
        let records = self.deploys.records().into_iter();
        records.filter_map(|record| deployed(record, source)).collect()
    }
}

/// # Errors
/// 403 if the caller may not do `action` with each project of the source, 404 for an unknown source.
fn check(sources: &Sources, caller: &Caller, action: Action, name: &str) -> Result<(), Problem> {
    let mut projects = sources.projects_of(name);
    if projects.is_empty() {
        // Before the first sync of a source whose projects are found by patterns: its own name counts.
        projects.extend(ProjectName::parse(name).ok());
    }
    projects.iter().try_for_each(|project| caller.check(action, project))?;
    if sources.status(name).is_some() { Ok(()) } else { Err(unknown(name)) }
}

/// Answers with the result of a sync.
fn respond(report: &SyncReport) -> Response {
    let status = status(report);
    if status == StatusCode::OK {
        return json(status, report);
    }
    let mut problem = report.problem.clone().unwrap_or_default();
    if let Some(members) = problem.as_object_mut() {
        members.insert("status".to_owned(), status.as_u16().into());
        members.insert("sync".to_owned(), serde_json::to_value(report).unwrap_or_default());
    }
    stored_problem(status, &problem)
}

fn status(report: &SyncReport) -> StatusCode {
    match report.outcome {
        SyncOutcome::Live | SyncOutcome::Unchanged | SyncOutcome::Ready => StatusCode::OK,
        SyncOutcome::Blocked | SyncOutcome::Frozen => StatusCode::CONFLICT,
        SyncOutcome::Failed => failed(report),
        SyncOutcome::Unreachable | SyncOutcome::Unrecognized => StatusCode::BAD_GATEWAY,
    }
}

/// The status of a sync that failed: another one than 422 where not the commit is the cause.
fn failed(report: &SyncReport) -> StatusCode {
    let kind = report.problem.as_ref().and_then(|problem| problem["type"].as_str());
    match kind.and_then(|kind| kind.rsplit(':').next()) {
        Some("overridden" | "deploy-under-way" | "superseded") => StatusCode::CONFLICT,
        Some("busy") => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

fn deployed(record: DeployRecord, source: &str) -> Option<DeployedCommit> {
    let commit = record.commit.filter(|commit| commit.source == source)?;
    let outcome = match record.outcome {
        Some(DeployOutcome::Live | DeployOutcome::Removed) => SyncOutcome::Live,
        Some(DeployOutcome::Unreachable) => SyncOutcome::Unreachable,
        _ => SyncOutcome::Failed,
    };
    let one = |project: switchyard_contract::deploy::DeployedProject| SyncedProject {
        project: project.project,
        path: None,
        digest: project.digest,
        outcome,
    };
    Some(DeployedCommit {
        commit: commit.commit,
        deploy: record.deploy,
        at: record.at,
        outcome: record.outcome,
        projects: record.projects.into_iter().map(one).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_that_failed_for_another_cause_than_the_commit_has_that_causes_status() {
        for (kind, expected) in [
            ("deploy-under-way", 409),
            ("superseded", 409),
            ("overridden", 409),
            ("busy", 503),
            ("build-failed", 422),
        ] {
            let report: SyncReport = serde_json::from_value(value!({
                "source": "shop", "commit": null, "ref": null, "previous": null, "outcome": "failed",
                "deploy": null, "problem": {"type": format!("urn:switchyard:problem:{kind}")},
            }))
            .unwrap();
            assert_eq!(status(&report).as_u16(), expected, "{kind}");
        }
    }
}
