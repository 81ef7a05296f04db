//! Git sources: their states, syncs, and the decisions of operators.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use futures_util::future::join_all;
use http::StatusCode;
use serde_json::json as value;

use super::openapi_parts::SourceInPath;
use super::source_queries::{ExplainQuery, FreezeQuery, PublishQuery, SyncQuery};
use super::{Api, Shared};
use crate::sources::control::{Sources, unknown};
use crate::tokens::Caller;
use switchyard_contract::deploy::Action;
use switchyard_contract::project::ProjectName;
use switchyard_contract::source::{
    Explanation, SourceStatus, SourceStatuses, SyncOutcome, SyncReport, SyncReports,
};
use switchyard_edge::api::answer::{json, stored_problem};
use switchyard_edge::api::path::Path;
use switchyard_edge::api::query::Query;
use switchyard_edge::problem::Problem;

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
    params(SourceInPath),
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
    params(SourceInPath, SyncQuery),
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
    params(SourceInPath, PublishQuery),
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
    params(SourceInPath),
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
    params(SourceInPath, FreezeQuery),
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
    params(SourceInPath),
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
    params(SourceInPath, ExplainQuery),
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
}

/// # Errors
/// 403 if the caller may not do `action` with each project of the source, 404 for an unknown source, and
/// for one whose projects are none of the caller's.
fn check(sources: &Sources, caller: &Caller, action: Action, name: &str) -> Result<(), Problem> {
    let mut projects = sources.projects_of(name);
    if projects.is_empty() {
        // Before the first sync of a source whose projects are found by patterns: its own name counts.
        projects.extend(ProjectName::parse(name).ok());
    }
    // The message of 403 would name a project that is not the caller's.
    if let Some(known) = projects.iter().find(|project| caller.knows(project.as_str())) {
        if !projects.iter().all(|project| caller.knows(project.as_str())) {
            let detail = format!("the source {name} has projects besides {known} that the token is not for");
            return Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", detail));
        }
        projects.iter().try_for_each(|project| caller.check(action, project))?;
    } else if !projects.is_empty() {
        return Err(unknown(name));
    }
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
