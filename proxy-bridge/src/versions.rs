//! The versions of a project, and their files.

mod target;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use tokio::time::timeout;

pub use self::target::{
    Found, RollbackTarget, Wanted, origins, removed_target, rollback_target, wanted_target,
};
use super::routers::{CallError, Presence, Router};
use super::tree::Tree;
use super::upload;
use super::upload_limits::UploadLimits;
use switchyard_contract::admin::{CheckoutInfo, Reload};
use switchyard_contract::deploy::{Action, DeployOutcome, DeployRecord, DeployedProject};
use switchyard_contract::incarnation::Incarnation;
use switchyard_contract::overview::{LeftVersion, VersionInfo};
use switchyard_contract::project::ProjectName;
use switchyard_edge::problem::Problem;

/// Time for a router to list its checkouts, a few dozen names of folders.
const LIST_WITHIN: Duration = Duration::from_secs(2);

/// The fewest digits that may name a digest: as many as a version shows.
const SHORT_LEN: usize = 12;

/// The slugs of the problems of versions that no router has, or none that answers.
const GONE: &str = "unknown-version";
const AWAY: &str = "routers-unreachable";

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
        if version.deploy.is_some() {
            continue;
        }
        version.digest = deployed.digest.map(|digest| digest.to_string());
        // They are not known for a project that a deploy has kept.
        let is_counted = deployed.files > 0;
        version.files = is_counted.then_some(deployed.files);
        version.bytes = is_counted.then_some(deployed.bytes);
        version.commit.clone_from(&record.commit);
        // A version keeps what its own deploy said of it.
        if record.action != Action::Rollback {
            version.by.clone_from(&record.by);
            version.at = Some(record.at);
            version.deploy = Some(record.deploy.clone());
            version.message.clone_from(&record.message);
        }
    }
    for (name, record) in target::left(project, incarnation, records) {
        if let Some(version) = versions.get_mut(&name) {
            version.rolled_back =
                Some(LeftVersion { at: record.at, by: record.by.clone(), message: record.message.clone() });
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
        let Some(status) = status else { continue };
        for Reload { version, changed, .. } in status.reloads {
            if let Some(version) = version.and_then(|version| versions.get_mut(&version)) {
                version.changed = version.changed.take().or(changed);
            }
        }
        if let Some(live) = status.live {
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
    project: &ProjectName,
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
    let RollbackTarget { digits, incarnation, .. } = target;
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
            "no router keeps {}: switchyard versions {project} lists those that are kept",
            target.described(project)
        );
        return Err(Problem::new(StatusCode::NOT_FOUND, GONE, detail));
    }
    let detail = format!("no router that answers keeps {}: {}", target.described(project), away.join("; "));
    Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, AWAY, detail))
}

/// Returns true if [`fetch`] has failed because no router that answers has the files.
pub fn is_gone(problem: &Problem) -> bool {
    [GONE, AWAY].contains(&problem.slug())
}

/// Returns the problem of a project that does not exist.
pub fn unknown_project(project: &ProjectName) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "unknown-project", format!("there is no project {project}"))
        .with("project", project.as_str())
}
