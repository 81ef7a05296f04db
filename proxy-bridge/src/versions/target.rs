//! The version that a rollback goes to: by its digest, by its commit, or the one before.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::StatusCode;

use super::{SHORT_LEN, checkouts, deploys, unknown_project, was_deployed};
use crate::routers::Router;
use switchyard_contract::admin::{self, CheckoutInfo, ProjectState};
use switchyard_contract::commit::CommitInfo;
use switchyard_contract::deploy::{Action, DeployRecord, DeployedProject};
use switchyard_contract::digest::Digest;
use switchyard_contract::incarnation::{EndedIncarnation, Incarnation};
use switchyard_contract::project::ProjectName;
use switchyard_edge::problem::Problem;

/// The fewest digits that may name a commit: as many as git shows.
const COMMIT_LEN: usize = 7;

/// The version that a caller names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The first digits, or all.
    digits: String,
    /// `true`: they are of a digest, since they were the end of a version's name.
    is_version: bool,
}

/// The version that a rollback goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RollbackTarget {
    /// The digest, or its first digits.
    pub digits: String,
    /// The incarnation that the version is of.
    pub incarnation: Incarnation,
    /// The commit that the version's files came from, as far as a deploy recorded one.
    pub commit: Option<CommitInfo>,
}

impl Wanted {
    /// Parses a version's name, a digest, a commit, or the first digits of either.
    ///
    /// # Errors
    /// 400 when `text` is none of them.
    pub fn parse(project: &ProjectName, text: &str) -> Result<Self, Problem> {
        let (is_version, digits) = match text.rsplit_once('@') {
            Some((_, digits)) => (true, digits),
            None => (false, text),
        };
        let fewest = if is_version { SHORT_LEN } else { COMMIT_LEN };
        let is_hex = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
        if (fewest..=64).contains(&digits.len()) && digits.bytes().all(is_hex) {
            return Ok(Self { digits: digits.to_owned(), is_version });
        }
        let detail = format!(
            "invalid to={text:?}: expected at least {SHORT_LEN} digits of a version's digest, as in \
             switchyard versions {project}, or at least {COMMIT_LEN} digits of a commit, of 0-9 and a-f"
        );
        Err(Problem::new(StatusCode::BAD_REQUEST, "bad-request", detail).with("field", "to"))
    }

    /// Returns true if they may be the digits of a digest.
    fn may_be_digest(&self) -> bool {
        self.digits.len() >= SHORT_LEN
    }
}

impl RollbackTarget {
    fn new(
        project: &ProjectName,
        digits: String,
        incarnation: Incarnation,
        records: &[DeployRecord],
    ) -> Self {
        let commit = commit_of(project, incarnation, &digits, records);
        Self { digits, incarnation, commit }
    }

    /// The version, with its commit, for texts.
    pub(super) fn described(&self, project: &ProjectName) -> String {
        let digits = self.digits.get(..SHORT_LEN).unwrap_or(&self.digits);
        match &self.commit {
            Some(commit) => {
                format!("{project}@{digits}, made from commit {} of source {}", commit.commit, commit.source)
            }
            None => format!("{project}@{}", self.digits),
        }
    }
}

/// Returns the version of `project` that `wanted` names in the current incarnation: the one with
/// such a digest or else the newest that was deployed from such a commit. `records` have the newest
/// first.
///
/// # Errors
/// 400 when several commits begin with the digits, 404 when nothing is known that does.
pub async fn wanted_target(
    project: &ProjectName,
    wanted: &Wanted,
    incarnation: Incarnation,
    records: &[DeployRecord],
    routers: &[Arc<Router>],
) -> Result<RollbackTarget, Problem> {
    let digits = &wanted.digits;
    let target = |digits: String| RollbackTarget::new(project, digits, incarnation, records);
    let has_digest = |deployed: &DeployedProject| {
        deployed.digest.is_some_and(|digest| digest.to_string().starts_with(digits.as_str()))
    };
    let is_recorded = || deploys(project, incarnation, records).any(|(_, deployed)| has_digest(deployed));
    if wanted.is_version || (wanted.may_be_digest() && is_recorded()) {
        return Ok(target(digits.clone()));
    }
    let lists = checkouts(project, incarnation, routers).await;
    let is_kept = lists.iter().flat_map(|(_, kept)| kept).any(|kept| digits.starts_with(&kept.short));
    if wanted.may_be_digest() && is_kept {
        return Ok(target(digits.clone()));
    }
    if let Some(found) = by_commit(project, incarnation, digits, records)? {
        return Ok(found);
    }
    // A router that does not answer may keep a version that only it knows.
    if wanted.may_be_digest() && lists.len() < routers.len() {
        return Ok(target(digits.clone()));
    }
    Err(nothing_found(project, wanted))
}

fn nothing_found(project: &ProjectName, wanted: &Wanted) -> Problem {
    let digits = &wanted.digits;
    let looked_for = match wanted.may_be_digest() {
        true => format!("a digest or a commit that begins with {digits}"),
        false => format!(
            "a commit that begins with {digits} (a digest is looked for with {SHORT_LEN} digits or more)"
        ),
    };
    let detail = format!(
        "no known version of {project} has {looked_for}: switchyard versions {project} lists those that are \
         known"
    );
    Problem::new(StatusCode::NOT_FOUND, "unknown-version", detail)
}

/// Returns the newest version that was deployed from a commit that begins with `digits`.
///
/// # Errors
/// 400 when several commits do.
fn by_commit(
    project: &ProjectName,
    incarnation: Incarnation,
    digits: &str,
    records: &[DeployRecord],
) -> Result<Option<RollbackTarget>, Problem> {
    let mut found = BTreeMap::new();
    for (record, deployed) in deploys(project, incarnation, records) {
        let commit = record.commit.as_ref().filter(|commit| commit.commit.starts_with(digits));
        if let (Some(commit), Some(digest)) = (commit, deployed.digest) {
            found.entry(commit.commit.as_str()).or_insert((commit, digest));
        }
    }
    if found.len() > 1 {
        let commits: Vec<_> = found.into_keys().collect();
        let detail = format!(
            "to={digits} is ambiguous, {project} was deployed from {}: send more digits",
            commits.join(" and ")
        );
        let problem = Problem::new(StatusCode::BAD_REQUEST, "ambiguous-commit", detail);
        return Err(problem.with("field", "to").with("commits", commits));
    }
    Ok(found.into_values().next().map(|(commit, digest)| RollbackTarget {
        digits: digest.to_string(),
        incarnation,
        commit: Some(commit.clone()),
    }))
}

/// Returns the commit that the newest deploy of a version with one names.
fn commit_of(
    project: &ProjectName,
    incarnation: Incarnation,
    digits: &str,
    records: &[DeployRecord],
) -> Option<CommitInfo> {
    origins(project, incarnation, digits, records).next().map(|(commit, _)| commit.clone())
}

/// Returns the commits that a version was deployed from, the newest first, each with the digest of the
/// files that were deployed. `digits`: the first ones of the version's digest.
pub fn origins<'r>(
    project: &'r ProjectName,
    incarnation: Incarnation,
    digits: &'r str,
    records: &'r [DeployRecord],
) -> impl Iterator<Item = (&'r CommitInfo, Digest)> {
    deploys(project, incarnation, records).filter_map(move |(record, deployed)| {
        let version = deployed.digest.filter(|digest| digest.to_string().starts_with(digits))?;
        Some((record.commit.as_ref()?, deployed.own_digest.unwrap_or(version)))
    })
}

/// The places where versions of a removed project are found.
#[derive(Clone, Copy)]
pub struct Found<'f> {
    /// The deploys, the newest first.
    pub records: &'f [DeployRecord],
    /// The routers, which keep checkouts.
    pub routers: &'f [Arc<Router>],
    /// Returns true for the names of sources, from whose commits versions are made again.
    pub is_source: &'f (dyn Fn(&str) -> bool + Sync),
}

/// Returns the version of a removed project that a rollback goes to: `wanted`, of the newest of the
/// `ended` incarnations that has it, or else the one that was live at the last removal. `ended` are
/// those that can be brought back, the newest first.
///
/// # Errors
/// 400 when several commits begin with the digits, 404 when no router keeps a version, and none can be
/// made again.
pub async fn removed_target(
    project: &ProjectName,
    wanted: Option<&Wanted>,
    ended: &[&EndedIncarnation],
    found: Found<'_>,
) -> Result<RollbackTarget, Problem> {
    let Found { records, routers, is_source } = found;
    for ended in ended {
        let incarnation = ended.incarnation;
        let lists = checkouts(project, incarnation, routers).await;
        let kept = || lists.iter().flat_map(|(_, kept)| kept);
        let is_made = |digits: &str| {
            let mut origins = origins(project, incarnation, digits, records);
            origins.any(|(commit, _)| is_source(&commit.source))
        };
        let keeps = |digits: &str| kept().any(|kept| digits.starts_with(&kept.short)) || is_made(digits);
        let target = |digits: String| RollbackTarget::new(project, digits, incarnation, records);
        match wanted {
            Some(wanted) if wanted.may_be_digest() && keeps(&wanted.digits) => {
                return Ok(target(wanted.digits.clone()));
            }
            Some(Wanted { is_version: true, .. }) => {}
            Some(wanted) => {
                let found = by_commit(project, incarnation, &wanted.digits, records)?;
                if let Some(found) = found.filter(|found| keeps(&found.digits)) {
                    return Ok(found);
                }
            }
            None => {
                let live = ended.version.as_deref().map(short);
                let is_it = |kept: &&CheckoutInfo| live.as_deref().is_none_or(|live| live == kept.short);
                if let Some(kept) = kept().find(is_it) {
                    return Ok(target(kept.short.clone()));
                }
                if let Some(live) = live.filter(|live| is_made(live)) {
                    return Ok(target(live));
                }
                break;
            }
        }
    }
    let version = match wanted {
        Some(wanted) if wanted.is_version => format!("the version {}", wanted.digits),
        Some(wanted) => format!("a version of digest or commit {}", wanted.digits),
        None => "a version".to_owned(),
    };
    let detail =
        format!("{project} is removed, and no router that answers keeps {version} of it: deploy it again");
    Err(Problem::new(StatusCode::NOT_FOUND, "unknown-version", detail))
}

/// The versions of a project that deploys made live, as rollbacks have left them: the way back.
#[derive(Debug, Default)]
struct History<'r> {
    /// The oldest first. The last one was made live last.
    kept: Vec<String>,
    /// Versions that were rolled back from, and were not deployed again; with the rollback.
    left: BTreeMap<String, &'r DeployRecord>,
}

/// Returns the versions that were rolled back from, each with the rollback. `records` have the newest
/// first.
pub(super) fn left<'r>(
    project: &ProjectName,
    incarnation: Incarnation,
    records: &'r [DeployRecord],
) -> BTreeMap<String, &'r DeployRecord> {
    History::of(project, incarnation, records).left
}

impl<'r> History<'r> {
    /// `records` have the newest first.
    fn of(project: &ProjectName, incarnation: Incarnation, records: &'r [DeployRecord]) -> Self {
        let mut history = Self::default();
        let all: Vec<_> = deploys(project, incarnation, records).collect();
        for (record, deployed) in all.into_iter().rev() {
            let Some(version) = &deployed.version else { continue };
            let is_forward = record.action != Action::Rollback || history.left.contains_key(version);
            if is_forward {
                history.forward(version);
            } else {
                // One that was saved on the volume has no record of its own.
                history.left.extend(deployed.previous.clone().map(|previous| (previous, record)));
                history.back(version, record);
            }
        }
        history
    }

    fn forward(&mut self, version: &str) {
        self.left.remove(version);
        if self.kept.last().is_none_or(|last| last != version) {
            self.kept.push(version.to_owned());
        }
    }

    fn back(&mut self, version: &str, record: &'r DeployRecord) {
        let at = self.kept.iter().rposition(|kept| kept == version);
        let left = self.kept.drain(at.map_or(0, |at| at + 1)..);
        self.left.extend(left.map(|left| (left, record)));
        if at.is_none() {
            // A version from before all records.
            self.kept.push(version.to_owned());
        }
        self.left.remove(version);
    }
}

/// Returns the version that a rollback goes to when none is named: the one that is served although
/// a newer one failed, or else the one that was served before. Versions that were rolled back from are
/// left out: a second rollback goes further back, and never to the version that the first one left.
///
/// # Errors
/// 404 when none is known.
pub fn rollback_target(
    project: &ProjectName,
    incarnation: Incarnation,
    records: &[DeployRecord],
    routers: &[Arc<Router>],
) -> Result<RollbackTarget, Problem> {
    let statuses = routers.iter().filter_map(|router| router.status(project.as_str()));
    // A router that is away may have reported a removed project last.
    let statuses: Vec<_> = statuses.filter(|status| status.incarnation == incarnation).collect();
    if statuses.is_empty() && !was_deployed(project, incarnation, records) {
        return Err(unknown_project(project));
    }
    let target = |version: &str| RollbackTarget::new(project, short(version), incarnation, records);
    let failed =
        |status: &&admin::Status| matches!(status.state, ProjectState::Failed | ProjectState::Invalid);
    if let Some(good) = statuses.iter().find(failed).and_then(|status| status.live.as_ref()) {
        return Ok(target(&good.version));
    }
    let live: Vec<_> =
        statuses.iter().filter_map(|status| Some(status.live.as_ref()?.version.clone())).collect();
    let history = History::of(project, incarnation, records);
    let before = |version: &String| !live.contains(version) && !history.left.contains_key(version);
    let by_records = || history.kept.iter().rev().find(|version| before(version)).cloned();
    // Saves on the volume have no record.
    let by_routers = || {
        let reloads = statuses.iter().flat_map(|status| status.reloads.iter());
        let reloads = reloads.filter(|reload| {
            reload.outcome == admin::ReloadOutcome::Live && reload.version.as_ref().is_some_and(before)
        });
        reloads.max_by_key(|reload| reload.at).and_then(|reload| reload.version.clone())
    };
    let is_recorded = history.kept.last().is_some_and(|last| live.contains(last));
    let found = if is_recorded { by_records().or_else(by_routers) } else { by_routers().or_else(by_records) };
    found.map(|version| target(&version)).ok_or_else(|| {
        let detail = format!(
            "no version of {project} before the live one is known that was not rolled back from: name the one to \
             go to (switchyard versions {project} lists them)"
        );
        Problem::new(StatusCode::NOT_FOUND, "unknown-version", detail)
    })
}

fn short(version: &str) -> String {
    version.rsplit('@').next().unwrap_or(version).to_owned()
}

#[cfg(test)]
mod tests;
