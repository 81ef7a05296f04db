//! The versions of a project, and the one that a rollback goes to.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use tokio::time::timeout;

use super::routers::{CallError, Presence, Router};
use super::tree::Tree;
use super::upload;
use super::upload_limits::UploadLimits;
use switchyard_contract::admin::{self, CheckoutInfo, ProjectState};
use switchyard_contract::deploy::{DeployOutcome, DeployRecord, DeployedProject};
use switchyard_contract::incarnation::{EndedIncarnation, Incarnation};
use switchyard_contract::overview::VersionInfo;
use switchyard_contract::project::ProjectName;
use switchyard_edge::problem::Problem;

/// Time for a router to list its checkouts, a few dozen names of folders.
const LIST_WITHIN: Duration = Duration::from_secs(2);

/// The fewest digits that may name a digest: as many as a version shows.
const SHORT_LEN: usize = 12;

/// All versions of `project` in one incarnation, the newest first. `records` have the newest first.
pub async fn all(
    project: &ProjectName,
    incarnation: Incarnation,
    records: &[DeployRecord],
    routers: &[Arc<Router>],
) -> Vec<VersionInfo> {
    let empty = |name: &str| empty(name, incarnation);
    let mut versions = BTreeMap::new();
    for (record, deployed) in deploys(project, incarnation, records) {
        let Some(name) = &deployed.version else { continue };
        let version = versions.entry(name.clone()).or_insert_with(|| empty(name));
        if version.deploy.is_none() {
            version.digest = deployed.digest.map(|digest| digest.to_string());
            version.by.clone_from(&record.by);
            version.at = Some(record.at);
            // Of a project that a deploy has kept, they are not known.
            let is_counted = deployed.files > 0;
            version.files = is_counted.then_some(deployed.files);
            version.bytes = is_counted.then_some(deployed.bytes);
            version.deploy = Some(record.deploy.clone());
            version.message.clone_from(&record.message);
        }
    }
    for (router, kept) in checkouts(project, incarnation, routers).await {
        for checkout in kept {
            let version =
                versions.entry(checkout.version.clone()).or_insert_with(|| empty(&checkout.version));
            version.at = version.at.or(Some(checkout.at));
            version.kept.push(router.name().to_owned());
        }
    }
    for router in routers {
        let status = router.status(project.as_str()).filter(|status| status.incarnation == incarnation);
        if let Some(live) = status.and_then(|status| status.live) {
            let version = versions.entry(live.version.clone()).or_insert_with(|| empty(&live.version));
            version.digest = Some(live.digest);
            version.live.push(router.name().to_owned());
        }
    }
    let mut versions: Vec<_> = versions.into_values().collect();
    versions.sort_by(|a, b| (b.at, &b.version).cmp(&(a.at, &a.version)));
    versions
}

fn empty(name: &str, incarnation: Incarnation) -> VersionInfo {
    VersionInfo { version: name.to_owned(), incarnation, ..VersionInfo::default() }
}

/// Returns `true` when a version of `project` was made live in this incarnation.
pub fn was_deployed(project: &ProjectName, incarnation: Incarnation, records: &[DeployRecord]) -> bool {
    deploys(project, incarnation, records).next().is_some()
}

/// The deploys that made a version of `project` live in one incarnation.
fn deploys<'r>(
    project: &'r ProjectName,
    incarnation: Incarnation,
    records: &'r [DeployRecord],
) -> impl Iterator<Item = (&'r DeployRecord, &'r DeployedProject)> {
    let live = records.iter().filter(|record| record.outcome == Some(DeployOutcome::Live));
    live.flat_map(move |record| {
        record
            .projects
            .iter()
            .filter(move |deployed| deployed.project == *project && deployed.incarnation == incarnation)
            .map(move |one| (record, one))
    })
}

async fn checkouts(
    project: &ProjectName,
    incarnation: Incarnation,
    routers: &[Arc<Router>],
) -> Vec<(Arc<Router>, Vec<CheckoutInfo>)> {
    let there = routers.iter().filter(|router| router.presence() != Presence::Away);
    let lists = there.map(|router| async move {
        let listed = timeout(LIST_WITHIN, router.checkouts(project.as_str(), incarnation)).await;
        let kept = listed.ok()?.ok()?.checkouts;
        Some((router.clone(), kept))
    });
    join_all(lists).await.into_iter().flatten().collect()
}

/// The version that a rollback goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RollbackTarget {
    /// The digest, or its first digits.
    pub digits: String,
    /// The incarnation that the version is of.
    pub incarnation: Incarnation,
}

impl RollbackTarget {
    /// # Errors
    /// 400 when `wanted` is no digest.
    pub fn check(project: &ProjectName, wanted: &str) -> Result<String, Problem> {
        let digits = wanted.rsplit('@').next().unwrap_or(wanted);
        let valid = (SHORT_LEN..=64).contains(&digits.len())
            && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        if valid {
            return Ok(digits.to_owned());
        }
        let detail = format!(
            "invalid to={wanted:?}: expected {SHORT_LEN} to 64 of 0-9 and a-f, \
             as in GET /projects/{project}/versions"
        );
        Err(Problem::new(StatusCode::BAD_REQUEST, "bad-request", detail).with("field", "to"))
    }
}

/// Returns the version of a removed project that a rollback goes to: `wanted`, of the newest of the
/// `ended` incarnations that has it, or else the one that was live at the last removal. `ended` are
/// those that can be brought back, the newest first.
///
/// # Errors
/// 404 when no router keeps one.
pub async fn removed_target(
    project: &ProjectName,
    wanted: Option<String>,
    ended: &[&EndedIncarnation],
    routers: &[Arc<Router>],
) -> Result<RollbackTarget, Problem> {
    for ended in ended {
        let digits = wanted.clone().or_else(|| ended.version.as_deref().map(short));
        let kept = checkouts(project, ended.incarnation, routers).await;
        let mut kept = kept.iter().flat_map(|(_, kept)| kept);
        let is_it = |checkout: &&CheckoutInfo| {
            digits.as_ref().is_none_or(|digits| digits.starts_with(&checkout.short))
        };
        if let Some(checkout) = kept.find(is_it) {
            let digits = digits.unwrap_or_else(|| checkout.short.clone());
            return Ok(RollbackTarget { digits, incarnation: ended.incarnation });
        }
        if wanted.is_none() {
            break;
        }
    }
    let detail = format!(
        "{project} is removed, and no router that answers keeps {} of it: deploy it again",
        wanted.map_or("a version".to_owned(), |digits| format!("the version {digits}"))
    );
    Err(Problem::new(StatusCode::NOT_FOUND, "unknown-version", detail))
}

/// Returns the first digits of the version that a rollback without a digest goes to: the one that
/// is served although a newer one failed, or else the one that was served before.
///
/// # Errors
/// 404 when none is known.
pub fn rollback_target(
    project: &ProjectName,
    incarnation: Incarnation,
    records: &[DeployRecord],
    routers: &[Arc<Router>],
) -> Result<String, Problem> {
    let statuses = routers.iter().filter_map(|router| router.status(project.as_str()));
    // A router that is away may have reported a removed project last.
    let statuses: Vec<_> = statuses.filter(|status| status.incarnation == incarnation).collect();
    if statuses.is_empty() && !was_deployed(project, incarnation, records) {
        return Err(unknown_project(project));
    }
    let failed =
        |status: &&admin::Status| matches!(status.state, ProjectState::Failed | ProjectState::Invalid);
    if let Some(good) = statuses.iter().find(failed).and_then(|status| status.live.as_ref()) {
        return Ok(short(&good.version));
    }
    let live: Vec<_> =
        statuses.iter().filter_map(|status| Some(status.live.as_ref()?.version.clone())).collect();
    let by_routers = statuses.iter().flat_map(|status| status.reloads.iter()).filter(|reload| {
        reload.outcome == admin::ReloadOutcome::Live
            && reload.version.as_ref().is_some_and(|version| !live.contains(version))
    });
    let by_routers = by_routers.max_by_key(|reload| reload.at).and_then(|reload| reload.version.clone());
    let by_records = || {
        let versions =
            deploys(project, incarnation, records).filter_map(|(_, deployed)| deployed.version.clone());
        versions.into_iter().find(|version| !live.contains(version))
    };
    by_routers.or_else(by_records).map(|version| short(&version)).ok_or_else(|| {
        let detail = format!("no version of {project} before the live one is known: name one with to=");
        Problem::new(StatusCode::NOT_FOUND, "unknown-version", detail)
    })
}

fn short(version: &str) -> String {
    version.rsplit('@').next().unwrap_or(version).to_owned()
}

/// Fetches the files of a version into `into`, from the first router that has them.
///
/// # Errors
/// 404 when no router has them; otherwise the failure on the way.
pub async fn fetch(
    project: &ProjectName,
    target: &RollbackTarget,
    routers: &[Arc<Router>],
    into: &Path,
    limits: &UploadLimits,
) -> Result<Tree, Problem> {
    let RollbackTarget { digits, incarnation } = target;
    let mut away = Vec::new();
    for router in routers {
        if router.presence() == Presence::Away {
            away.push(format!("{}: {}", router.name(), router.why_away()));
            continue;
        }
        let short = &digits[..SHORT_LEN.min(digits.len())];
        let found = router.checkout(project.as_str(), *incarnation, short).await;
        let (digest, tar) = match found {
            Ok((digest, files, tar)) if digest.to_string().starts_with(digits.as_str()) => (files, tar),
            Ok(_) | Err(CallError::Answered { status: StatusCode::NOT_FOUND, .. }) => continue,
            Err(error) => {
                away.push(format!("{}: {error}", router.name()));
                continue;
            }
        };
        let mut received = upload::receive_tar(tar, project, into, limits).await?;
        return match received.trees.pop() {
            Some(tree) if tree.digest == digest => Ok(tree),
            _ => {
                let detail = format!(
                    "{} sent files of {project} that are not those of {digest}: try again",
                    router.name()
                );
                Err(Problem::new(StatusCode::BAD_GATEWAY, "bad-checkout", detail))
            }
        };
    }
    if away.is_empty() {
        let detail = format!(
            "no router keeps {project}@{digits}: GET /projects/{project}/versions lists those that are kept"
        );
        return Err(Problem::new(StatusCode::NOT_FOUND, "unknown-version", detail));
    }
    let detail = format!("no router that answers keeps {project}@{digits}: {}", away.join("; "));
    Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, "routers-unreachable", detail))
}

/// Returns the problem of a project that does not exist.
pub fn unknown_project(project: &ProjectName) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "unknown-project", format!("there is no project {project}"))
        .with("project", project.as_str())
}
