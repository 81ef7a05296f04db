//! Commits of git sources that were deployed.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::openapi_parts::SourceInPath;
use super::{Api, Shared};
use crate::tokens::Caller;
use switchyard_contract::deploy::{Action, DeployOutcome, DeployRecord, DeployedProject};
use switchyard_contract::source::{DeployedCommit, DeployedCommits, SyncOutcome, SyncedProject};
use switchyard_edge::api::answer::json;
use switchyard_edge::api::path::Path;
use switchyard_edge::problem::Problem;

/// The least digits of a commit that find it among those that were deployed.
const MIN_DIGITS: usize = 7;

/// The commits of a source that were deployed, the newest first
#[utoipa::path(get, path = "/sources/{source}/commits", tag = "sources",
    params(SourceInPath),
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
        SourceInPath,
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
    fn deployed_commits(&self, source: &str) -> Vec<DeployedCommit> {
        let records = self.deploys.records().into_iter();
        records.filter_map(|record| deployed(record, source)).collect()
    }
}

fn deployed(record: DeployRecord, source: &str) -> Option<DeployedCommit> {
    let commit = record.commit.filter(|commit| commit.source == source)?;
    let outcome = match record.outcome {
        Some(DeployOutcome::Live | DeployOutcome::Removed) => SyncOutcome::Live,
        Some(DeployOutcome::Unreachable) => SyncOutcome::Unreachable,
        _ => SyncOutcome::Failed,
    };
    let one = |project: DeployedProject| SyncedProject {
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
