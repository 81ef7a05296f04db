//! The step of a sync that changes the volume: a commit set becomes one deploy, or one for each
//! project.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout_at};

use super::store::Applied;
use super::{Context, OVERRIDDEN};
use crate::deploys::{DeployNotes, DeployRequest, Submission, Ticket};
use crate::git::{Mirror, ObjectId};
use crate::sources::commit::{AppliedProject, DAMAGED, ReadCommit};
use crate::sources::machine::{CommitSet, DeployOutcome};
use crate::sources::settings::{SourceSettings, Together};
use crate::volume::{Change, SharedName, SharedTree, Staging, VolumeError};
use switchyard_contract::commit::CommitInfo;
use switchyard_contract::deploy::{self, Action, DeployRecord};
use switchyard_contract::project::ProjectName;
use switchyard_contract::source::{SyncOutcome, SyncedProject};
use switchyard_edge::problem::Problem;

/// Projects that are read from the mirror at once.
const READS: usize = 4;

/// The time between two attempts of a deploy that others are in the way of.
const PAUSE: Duration = Duration::from_millis(250);

/// Attempts that are made again because somebody has changed the files on the volume meanwhile.
const MAX_EDITED: u32 = 2;

/// The commit that is deployed, and all that the deploy needs.
#[derive(Clone)]
pub(super) struct Order {
    pub(super) settings: Arc<SourceSettings>,
    pub(super) read: Arc<ReadCommit>,
    pub(super) ref_name: Option<String>,
    pub(super) applied: Applied,
    /// Build only: nothing is published.
    pub(super) prove: bool,
}

/// The result of a commit set.
#[derive(Debug)]
pub(super) struct Deployed {
    pub(super) outcome: DeployOutcome,
    pub(super) projects: Vec<SyncedProject>,
    /// The last deploy.
    pub(super) deploy: Option<String>,
    /// The problem document of the deploy that failed.
    pub(super) problem: Option<serde_json::Value>,
    pub(super) timings: BTreeMap<String, f64>,
    /// The mirror is damaged: it has to be built anew before the next attempt.
    pub(super) is_damaged: bool,
    /// The changes that are live, to be recorded.
    pub(super) live: Live,
}

/// The part of a commit set that is live.
#[derive(Debug, Default)]
pub(super) struct Live {
    pub(super) projects: BTreeMap<ProjectName, AppliedProject>,
    pub(super) removed: Vec<ProjectName>,
    /// `None`: the shared entries stay as they were.
    pub(super) shared: Option<BTreeMap<String, ObjectId>>,
}

/// The set of one deploy.
struct Unit {
    projects: Vec<ProjectName>,
    removal: Vec<ProjectName>,
    shares: bool,
}

/// A deploy that ended: its record, or the problem that kept it from beginning.
type Ended = Result<DeployRecord, Problem>;

/// Deploys a commit set.
pub(super) async fn deploy(context: &Arc<Context>, order: &Order, set: CommitSet) -> Deployed {
    let mut all = Deployed {
        outcome: DeployOutcome::Live,
        projects: Vec::new(),
        deploy: None,
        problem: None,
        timings: BTreeMap::new(),
        is_damaged: false,
        live: Live::default(),
    };
    for unit in units(order, set) {
        let (ended, trees) = deploy_in_turn(context, order, &unit).await;
        let outcome = all.add(order, &unit, ended, &trees);
        if outcome != DeployOutcome::Live {
            all.outcome = outcome;
        }
    }
    all
}

/// The deploys of a set. Shared entries go with all projects, or before them.
fn units(order: &Order, set: CommitSet) -> Vec<Unit> {
    let shares = shared_changes(order).next().is_some();
    if order.settings.together == Together::Commit {
        if set.is_empty() && !shares {
            return Vec::new();
        }
        return vec![Unit { projects: set.projects, removal: set.removal, shares }];
    }
    let (with_shared, alone): (Vec<_>, Vec<_>) =
        set.projects.into_iter().partition(|project| shares && includes(order, project));
    let mut units = Vec::new();
    if shares {
        units.push(Unit { projects: with_shared, removal: Vec::new(), shares });
    }
    units.extend(alone.into_iter().map(|project| Unit {
        projects: vec![project],
        removal: Vec::new(),
        shares: false,
    }));
    units.extend(set.removal.into_iter().map(|project| Unit {
        projects: Vec::new(),
        removal: vec![project],
        shares: false,
    }));
    units
}

fn includes(order: &Order, project: &ProjectName) -> bool {
    order.read.projects().get(project).is_some_and(|ids| !ids.includes.is_empty())
}

/// The shared entries that differ from those on the volume. `None`: the entry goes.
fn shared_changes(order: &Order) -> impl Iterator<Item = (&String, Option<&ObjectId>)> {
    let (wanted, there) = (order.read.shared(), &order.applied.shared);
    let differ = wanted.iter().filter(|(name, ids)| there.get(*name) != Some(&ids.id));
    let gone = there.keys().filter(|name| !wanted.contains_key(*name));
    differ.map(|(name, ids)| (name, Some(&ids.id))).chain(gone.map(|name| (name, None)))
}

/// Deploys one unit, after the other deploys that are in its way.
async fn deploy_in_turn(
    context: &Arc<Context>,
    order: &Order,
    unit: &Unit,
) -> (Ended, BTreeMap<ProjectName, switchyard_contract::digest::Digest>) {
    let until = Instant::now() + context.deploys.timeout();
    let mut edited = 0;
    loop {
        let (ended, digests) = deploy_unit(context, order, unit).await;
        let problem = match &ended {
            Ok(record) if record.outcome == Some(deploy::DeployOutcome::Superseded) => {
                edited += 1;
                None
            }
            Err(problem) if is_in_the_way(problem.slug()) => Some(problem.document()),
            _ => return (ended, digests),
        };
        if edited > MAX_EDITED || Instant::now() >= until {
            return (ended, digests);
        }
        let other = problem.and_then(|problem| context.deploys.job(problem["deploy"].as_str()?));
        if let Some(other) = other {
            // Without its end the next attempt is the last one.
            let _ = timeout_at(until, other.done()).await;
        } else {
            sleep(PAUSE).await;
        }
    }
}

/// Returns true for the problem of a deploy that has to wait for others, which end by themselves.
fn is_in_the_way(slug: &str) -> bool {
    matches!(slug, "deploy-under-way" | "busy")
}

/// Deploys one unit. Returns the digests of the files that were read, too.
async fn deploy_unit(
    context: &Arc<Context>,
    order: &Order,
    unit: &Unit,
) -> (Ended, BTreeMap<ProjectName, switchyard_contract::digest::Digest>) {
    let began = std::time::Instant::now();
    match stage_and_start(context, order, unit).await {
        Ok((record, digests)) => {
            let mut record = record;
            let total = record.timings_ms.get("total").copied().unwrap_or_default();
            let receive = (began.elapsed().as_secs_f64() * 1e3 - total).max(0.0);
            record.timings_ms.entry("receive".to_owned()).or_insert(receive);
            (Ok(record), digests)
        }
        Err(problem) => (Err(problem), BTreeMap::new()),
    }
}

async fn stage_and_start(
    context: &Arc<Context>,
    order: &Order,
    unit: &Unit,
) -> Result<(DeployRecord, BTreeMap<ProjectName, switchyard_contract::digest::Digest>), Problem> {
    let name = order.settings.name.as_str();
    context.check_overrides(name, unit.projects.iter().chain(&unit.removal))?;
    let action = match unit.projects.is_empty() && !unit.shares {
        _ if order.prove => Action::Prove,
        true => Action::Delete,
        false => Action::Deploy,
    };
    let request =
        DeployRequest { action, by: Some(format!("source {name}")), project: None, idempotency_key: None };
    let Submission::New(ticket) = context.deploys.begin(request)? else {
        unreachable!("a request without a key is never a known one")
    };
    let staging = stage(context, &ticket).await?;
    // In a task of its own: the staging folder may only be removed after the threads that write to it
    // have ended.
    let (receiving, order) = (context.clone(), order.clone());
    let wanted = (unit.projects.clone(), unit.removal.clone(), unit.shares);
    let commit = CommitInfo {
        source: name.to_owned(),
        commit: order.read.commit.to_string(),
        ref_name: order.ref_name.clone(),
    };
    let receiving = tokio::spawn(async move {
        let changes = receive(&receiving, &order, wanted, staging.incoming().to_owned()).await;
        changes.map(|changes| (staging, changes))
    });
    let (staging, changes) =
        receiving.await.map_err(|panic| VolumeError::io("read the commit", panic.into()))??;
    let notes = DeployNotes { message: None, keep: false, commit: Some(commit) };
    let job = ticket.start(staging, changes, notes)?;
    let record = job.done().await;
    // Those of the versions: they cover included files, as the routers' reports do.
    let digests = record.projects.iter().filter_map(|one| Some((one.project.clone(), one.digest?)));
    let digests = digests.collect();
    Ok((record, digests))
}

pub(super) async fn stage(context: &Arc<Context>, ticket: &Ticket) -> Result<Staging, Problem> {
    let (deploys, id) = (context.deploys.clone(), ticket.id());
    let staged = spawn_blocking(move || deploys.volume().stage(&id)).await;
    let staged = staged.unwrap_or_else(|panic| Err(VolumeError::io("make the staging folder", panic.into())));
    Ok(staged?)
}

/// Reads the files of a unit into the staging folder.
async fn receive(
    context: &Arc<Context>,
    order: &Order,
    (projects, removal, shares): (Vec<ProjectName>, Vec<ProjectName>, bool),
    into: PathBuf,
) -> Result<Vec<Change>, Problem> {
    let _permit = context.gits.acquire().await;
    let mirror = context.mirrors.open(&order.settings).await.map_err(|error| refused(&error))?;
    let (mirror, into) = (&mirror, &into);
    let has_failed = &AtomicBool::new(false);
    let put = |project: ProjectName| async move {
        if order.keeps(&project) {
            return Some(Ok(Change::Keep(project)));
        }
        if has_failed.load(Ordering::Relaxed) {
            return None;
        }
        let tree = order.read.receive(mirror, &project, into, &context.limits).await;
        has_failed.fetch_or(tree.is_err(), Ordering::Relaxed);
        Some(tree.map(Change::Put).map_err(Problem::from))
    };
    // All that began come to their ends before a failure is looked at: their threads write to `into`.
    let received = stream::iter(projects).map(put).buffered(READS).collect::<Vec<_>>().await;
    let mut changes = received.into_iter().flatten().collect::<Result<Vec<Change>, Problem>>()?;
    let fate = order.settings.data_fate();
    changes.extend(removal.into_iter().map(|project| Change::Remove(project, fate)));
    if shares {
        for (name, id) in shared_changes(order) {
            changes.push(shared(context, order, mirror, into, name, id).await?);
        }
    }
    Ok(changes)
}

async fn shared(
    context: &Arc<Context>,
    order: &Order,
    mirror: &Arc<Mirror>,
    into: &std::path::Path,
    name: &str,
    id: Option<&ObjectId>,
) -> Result<Change, Problem> {
    let shared = SharedName::parse(name).map_err(|error| refused(&error))?;
    if id.is_none() {
        return Ok(Change::RemoveShared(shared));
    }
    let received = order.read.receive_shared(mirror, name, into, &context.limits).await;
    let (path, digest) = received.map_err(Problem::from)?;
    let is_folder = order.read.shared().get(name).is_some_and(|ids| ids.is_folder);
    Ok(Change::PutShared(SharedTree { name: shared, path, is_folder, digest }))
}

fn refused(error: &impl std::fmt::Display) -> Problem {
    Problem::new(http::StatusCode::UNPROCESSABLE_ENTITY, "unreadable-commit", error.to_string())
}

impl Order {
    /// Returns true if only entries that the project includes have changed: its own files stay.
    fn keeps(&self, project: &ProjectName) -> bool {
        let (applied, read) = (self.applied.projects.get(project), self.read.projects().get(project));
        let (Some(applied), Some(read)) = (applied, read) else { return false };
        // Without a key the files on the volume are others.
        !applied.key.is_empty() && applied.key != read.key && applied.tree == read.tree
    }
}

impl Deployed {
    /// Adds the end of one unit, and returns its outcome.
    fn add(
        &mut self,
        order: &Order,
        unit: &Unit,
        ended: Ended,
        digests: &BTreeMap<ProjectName, switchyard_contract::digest::Digest>,
    ) -> DeployOutcome {
        self.is_damaged |= ended.as_ref().is_err_and(|problem| problem.slug() == DAMAGED);
        let (outcome, problem) = match ended {
            Ok(record) => {
                self.deploy = Some(record.deploy.clone());
                for (phase, ms) in &record.timings_ms {
                    *self.timings.entry(phase.clone()).or_default() += ms;
                }
                (outcome(&record), record.problem)
            }
            Err(problem) if problem.slug() == OVERRIDDEN => {
                (DeployOutcome::Overridden(problem.detail().to_owned()), Some(problem.document()))
            }
            Err(problem) => (DeployOutcome::Refused(problem.detail().to_owned()), Some(problem.document())),
        };
        if outcome == DeployOutcome::Live && !order.prove {
            self.live.add(order, unit, digests);
        }
        let shown = match &outcome {
            DeployOutcome::Live if order.prove => SyncOutcome::Ready,
            DeployOutcome::Live => SyncOutcome::Live,
            DeployOutcome::Unreachable(_) => SyncOutcome::Unreachable,
            _ => SyncOutcome::Failed,
        };
        let one = |project: &ProjectName| SyncedProject {
            project: project.clone(),
            path: order.read.projects().get(project).map(|ids| ids.path.clone()),
            digest: digests.get(project).copied(),
            outcome: shown,
        };
        self.projects.extend(unit.projects.iter().chain(&unit.removal).map(one));
        if problem.is_some() {
            self.problem = problem;
        }
        outcome
    }
}

impl Live {
    fn add(
        &mut self,
        order: &Order,
        unit: &Unit,
        digests: &BTreeMap<ProjectName, switchyard_contract::digest::Digest>,
    ) {
        for project in &unit.projects {
            let Some(ids) = order.read.projects().get(project) else { continue };
            let before = || order.applied.projects.get(project).and_then(|applied| applied.digest);
            let digest = digests.get(project).copied().or_else(before);
            let (path, key, tree) = (ids.path.clone(), ids.key.clone(), ids.tree.clone());
            self.projects.insert(project.clone(), AppliedProject { path, key, tree, digest });
        }
        self.removed.extend(unit.removal.iter().cloned());
        if unit.shares {
            let ids = order.read.shared().iter().map(|(name, ids)| (name.clone(), ids.id.clone()));
            self.shared = Some(ids.collect());
        }
    }
}

/// The outcome of a deploy for the machine of its source.
fn outcome(record: &DeployRecord) -> DeployOutcome {
    let detail = || {
        let detail = record.problem.as_ref().and_then(|problem| problem.get("detail")?.as_str());
        detail.unwrap_or("the deploy has no reason").to_owned()
    };
    match record.outcome {
        Some(deploy::DeployOutcome::Live | deploy::DeployOutcome::Removed | deploy::DeployOutcome::Ready) => {
            DeployOutcome::Live
        }
        Some(deploy::DeployOutcome::Failed) => DeployOutcome::Failed(detail()),
        Some(deploy::DeployOutcome::Superseded) => DeployOutcome::Superseded(detail()),
        Some(deploy::DeployOutcome::Unreachable) => DeployOutcome::Unreachable(detail()),
        _ if record.problem.as_ref().is_some_and(is_override) => DeployOutcome::Overridden(detail()),
        _ => DeployOutcome::Refused(detail()),
    }
}

/// Returns true for the problem document of a deploy that an override is in the way of.
fn is_override(problem: &serde_json::Value) -> bool {
    problem["type"].as_str().is_some_and(|kind| kind.rsplit(':').next() == Some(OVERRIDDEN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deploy_waits_for_others_and_not_for_what_stays() {
        assert!(is_in_the_way("deploy-under-way") && is_in_the_way("busy"));
        assert!(!is_in_the_way("overridden") && !is_in_the_way("disk-full"));
    }
}
