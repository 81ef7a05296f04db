//! One project: its state machine, and what outlives the states.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use switchyard_contract::admin::{ReloadOutcome, Report};
use switchyard_contract::event::{Diagnostic, RouteConflict};
use switchyard_contract::incarnation::Incarnation;
use switchyard_contract::project::ProjectName;
use switchyard_detect::entry::Entry as Entrypoint;
use switchyard_tasks::declared::Declared;

use super::attempt::{AttemptData, Look};
use super::claims::{ClaimSet, RefusedClaim};
use super::history::History;
use super::live_state::LiveState;
use super::machine::{Machine, Payload, Work};
use super::record::RecordedCommit;
use super::retries::Retries;
use crate::build::{Built, Candidate, FolderState, Plan, ReadResult, Reading};
use crate::cells::CellCount;
use crate::checkout::HashCache;
use crate::live::{Counters, Debuggers, DeployId, FailedVersion, ProjectEntry};
use crate::metrics::ResponseCounters;
use crate::policy::{Grant, PermissionRequest, Policy, ReadLimits, RequestLimits};
use crate::project::{InstalledPackages, SupabaseFunction};
use crate::requests::EndedRequests;
use crate::slots::Slots;
use crate::version::Version;

/// The data of the states of a project.
#[derive(Debug)]
pub(super) struct ProjectData;

impl Payload for ProjectData {
    type Attempt = AttemptData;
    type Candidate = Candidate;
    type Built = Built;
    type Live = LiveState;
    type Failure = FailedRights;

    fn hand_over(attempt: AttemptData, next: &mut Look) {
        attempt.hand_over(next);
    }
}

/// The request and the grant of the version that failed. `None`: no cell of it was started, because
/// its files or claims are invalid.
#[derive(Debug)]
pub(super) struct FailedRights(Option<RequestedGrant>);

#[derive(Debug)]
struct RequestedGrant {
    requested: Arc<PermissionRequest>,
    grant: Arc<Grant>,
}

impl From<Option<Candidate>> for FailedRights {
    fn from(candidate: Option<Candidate>) -> Self {
        let plan = candidate.and_then(Result::ok);
        Self(plan.map(|plan| RequestedGrant { requested: plan.requested, grant: plan.launch.grant.clone() }))
    }
}

impl FailedRights {
    /// Returns true if the version was started. It may succeed next time, although no file has
    /// changed.
    pub(super) fn was_started(&self) -> bool {
        self.0.is_some()
    }
}

#[derive(Debug)]
pub(super) struct Project {
    pub(super) name: ProjectName,
    pub(super) machine: Machine<ProjectData>,
    pub(super) files: VolumeFiles,
    /// `true`: cells of the live version are being started.
    pub(super) is_starting: bool,
    /// The schedule of further attempts after a failure.
    pub(super) retries: Retries,
    /// `true`: the newest version has the failure of an earlier run, and was not tried since.
    pub(super) is_known_failure: bool,
    /// The versions that are ending, each with the counters of its requests.
    pub(super) draining: Vec<(Version, Counters)>,
    /// The deploy that holds it.
    pub(super) deploy: Option<DeployId>,
    /// The folder that it is read from instead of the volume.
    pub(super) overridden: Option<PathBuf>,
    /// The number of the last event about it.
    pub(super) sequence: u64,
    pub(super) claims: Claims,
    pub(super) history: History,
    pub(super) shared: SharedState,
}

/// The state of a project's files on the volume, as last read.
#[derive(Debug, Default)]
pub(super) struct VolumeFiles {
    /// Taken while the project is being read.
    pub(super) cache: HashCache,
    /// The newest reading, which may be stuck.
    pub(super) reading: Reading,
    /// The newest reading, if it found no valid project.
    unread: Option<FailedReading>,
    pub(super) on_disk: Option<Version>,
    /// The incarnation that was read last, or recorded by an earlier run.
    pub(super) incarnation: Option<Incarnation>,
    /// The packages at the newest reading.
    pub(super) packages: InstalledPackages,
    /// The functions folder's configuration of the version that an earlier run has recorded.
    pub(super) recorded_function: Option<SupabaseFunction>,
    /// The commit of that version.
    pub(super) recorded_commit: Option<RecordedCommit>,
    /// The entry that was logged last.
    logged_entry: Option<Box<Entrypoint>>,
    /// The tasks that were logged last; `None` before.
    logged_tasks: Option<Arc<Declared>>,
}

#[derive(Debug, Clone, Copy)]
struct FailedReading {
    limits: ReadLimits,
    is_late: bool,
}

/// The claims of routes.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// The routes of the live version.
    pub(super) claimed: ClaimSet,
    /// The claim for which the newest version failed.
    pub(super) refused: Option<Box<RefusedClaim>>,
    /// The projects that hold the routes of its refused claims.
    pub(super) rivals: BTreeSet<ProjectName>,
    /// The conflicts that it is a part of, as the admin listener shows them.
    pub(super) conflicts: Vec<RouteConflict>,
}

impl Claims {
    /// The refused claims of the live version, and of the newest one if that failed for a claim.
    pub(super) fn all_refused(&self) -> impl Iterator<Item = &RefusedClaim> {
        self.refused.as_deref().into_iter().chain(self.claimed.refused())
    }
}

/// The state that requests share, whichever version they are for.
#[derive(Debug)]
pub(super) struct SharedState {
    requests: Arc<ResponseCounters>,
    pub(super) ended: Arc<EndedRequests>,
    pub(super) slots: Arc<Slots>,
    debuggers: Arc<Debuggers>,
}

impl Default for SharedState {
    fn default() -> Self {
        let slots = Arc::new(Slots::new(RequestLimits::default().max_in_flight));
        Self { requests: Arc::default(), ended: Arc::default(), slots, debuggers: Arc::default() }
    }
}

impl Project {
    pub(super) fn new(name: ProjectName) -> Self {
        Self {
            name,
            machine: Machine::default(),
            files: VolumeFiles::default(),
            is_starting: false,
            retries: Retries::default(),
            is_known_failure: false,
            draining: Vec::new(),
            deploy: None,
            overridden: None,
            sequence: 0,
            claims: Claims::default(),
            history: History::default(),
            shared: SharedState::default(),
        }
    }

    /// Takes over the results of a reading.
    pub(super) fn update_files(&mut self, read: &mut ReadResult) {
        let files = &mut self.files;
        files.cache = std::mem::take(&mut read.cache);
        files.reading = read.reading.clone();
        let failed = FailedReading { limits: read.limits, is_late: read.is_late };
        files.unread = matches!(read.state, FolderState::Invalid(_)).then_some(failed);
        if !self.machine.is_held() && !matches!(read.state, FolderState::Unknown) {
            files.packages = read.installed;
        }
        match &read.state {
            FolderState::Live(version)
            | FolderState::FailedBefore(version)
            | FolderState::Candidate(version, _) => {
                files.on_disk = Some(version.clone());
                files.incarnation = Some(version.incarnation);
            }
            FolderState::Gone | FolderState::Invalid(_) | FolderState::Unknown => {}
        }
        if matches!(read.state, FolderState::Live(_))
            && let Some(live) = self.live_mut()
        {
            live.plan.installed.get_or_insert(read.installed);
        }
        if let Some(attempt) = self.machine.attempt_mut() {
            attempt.snapshot = Some(read.took);
            attempt.own = read.own;
            attempt.changed = read.changed.take();
        }
    }

    pub(super) fn live(&self) -> Option<&LiveState> {
        self.machine.live().map(|live| &live.data)
    }

    pub(super) fn live_mut(&mut self) -> Option<&mut LiveState> {
        self.machine.live_mut().map(|live| &mut live.data)
    }

    /// The live version's state, if `version` is the live one.
    pub(super) fn live_as(&mut self, version: &Version) -> Option<&mut LiveState> {
        self.machine.live_mut().filter(|live| live.version == *version).map(|live| &mut live.data)
    }

    /// The number of cells that the live version misses; 0 if `version` is not the live one.
    pub(super) fn missing_cells(&self, version: &Version) -> usize {
        let live = self.machine.live().filter(|live| live.version == *version);
        live.map_or(0, |live| live.data.missing_cells())
    }

    /// The cells that it has, or is about to have.
    pub(super) fn cell_count(&self) -> CellCount {
        let running = self.live().map_or(0, |live| live.running.len());
        let coming = match self.machine.work() {
            Work::Building(..) => self.newest().map_or(1, Plan::cells),
            Work::Restoring(..) => 1,
            Work::Idle | Work::Reading(_) => self.machine.staged().map_or(0, |built| built.cells.len()),
        };
        CellCount { running, expected: running.max(coming) }
    }

    /// Returns true if nothing is left of the project.
    pub(super) fn is_over(&self) -> bool {
        self.machine.is_absent() && self.draining.is_empty() && !self.is_starting
    }

    /// The versions whose checkouts are needed.
    pub(super) fn used(&self) -> Vec<Version> {
        let draining = self.draining.iter().map(|(version, _)| version.clone());
        let building = self.newest().map(|plan| plan.version().clone());
        self.machine.live_version().cloned().into_iter().chain(draining).chain(building).collect()
    }

    /// The plan of the version that is being built, or is built and not yet published.
    pub(super) fn newest(&self) -> Option<&Plan> {
        match self.machine.candidate() {
            Some(candidate) => candidate.as_ref().ok(),
            None => self.machine.staged().map(|built| &built.plan),
        }
    }

    /// The plan of the live version or, without one, of the newest.
    pub(super) fn shown_plan(&self) -> Option<&Plan> {
        self.live().map(|live| &live.plan).or_else(|| self.newest())
    }

    /// Notes that the entry and the tasks of `plan` are logged. Returns true for each of the two that
    /// differs from what was logged last.
    pub(super) fn note_logged(&mut self, plan: &Plan) -> (bool, bool) {
        let (files, entry) = (&mut self.files, &plan.launch.entry);
        let has_new_entry = files.logged_entry.as_deref() != Some(entry);
        let has_new_tasks = match &files.logged_tasks {
            Some(logged) => *logged != plan.tasks,
            None => *plan.tasks != Declared::default(),
        };
        if has_new_entry {
            files.logged_entry = Some(Box::new(entry.clone()));
        }
        files.logged_tasks = Some(plan.tasks.clone());
        (has_new_entry, has_new_tasks)
    }

    pub(super) fn grant(&self) -> Option<&Arc<Grant>> {
        let failed = self.machine.failed().and_then(|failed| failed.data.0.as_ref());
        let known = self.shown_plan().map(|plan| &plan.launch.grant);
        known.or(failed.map(|rights| &rights.grant))
    }

    /// Returns true if `policy` gives something else to the version that is live, failed, or is
    /// being built.
    pub(super) fn is_outdated(&self, policy: &Policy) -> bool {
        let plans = self.live().map(|live| &live.plan).into_iter().chain(self.newest());
        plans.into_iter().any(|plan| plan.is_outdated(policy)) || self.failed_with_other_grant(policy)
    }

    /// Returns true if the version that failed would get another grant now.
    pub(super) fn failed_with_other_grant(&self, policy: &Policy) -> bool {
        let rights = self.machine.failed().and_then(|failed| failed.data.0.as_ref());
        rights.is_some_and(|RequestedGrant { requested, grant }| {
            !policy.grant(&self.name, requested).is_equivalent(grant)
        })
    }

    /// Returns true if the newest reading took too long.
    pub(super) fn is_late(&self) -> bool {
        self.files.unread.is_some_and(|failed| failed.is_late)
    }

    /// Returns true if the newest reading failed, and another one would have other limits.
    pub(super) fn failed_with_other_limits(&self, policy: &Policy) -> bool {
        self.files.unread.is_some_and(|failed| failed.limits != policy.reads(&self.name))
    }

    /// Applies the parts of `policy` that no cell can observe. Returns true if something has
    /// changed.
    pub(super) fn renew(&mut self, policy: &Policy) -> bool {
        let mut is_changed = self.live_mut().is_some_and(|live| live.plan.renew(policy));
        if let Some(Ok(plan)) = self.machine.candidate_mut() {
            is_changed |= plan.renew(policy);
        }
        if let Some(built) = self.machine.staged_mut() {
            is_changed |= built.plan.renew(policy);
        }
        is_changed
    }

    /// The project as requests see it.
    pub(super) fn entry(&self) -> ProjectEntry {
        let live = self.live();
        let limits = self.grant().map(|grant| grant.requests).unwrap_or_default();
        self.shared.slots.resize(limits.max_in_flight);
        ProjectEntry {
            project: self.name.clone(),
            live: live.map(LiveState::to_version),
            failed: self.failure().map(Box::new),
            claims: self.claims.claimed.allowed().clone(),
            prefix: live.map(|live| live.plan.prefix).unwrap_or_default(),
            verifier: live.and_then(|live| live.plan.verifier.clone()),
            requests: self.shared.requests.clone(),
            ended: self.shared.ended.clone(),
            limits,
            slots: self.shared.slots.clone(),
            debuggers: self.shared.debuggers.clone(),
            is_overridden: self.overridden.is_some(),
        }
    }

    fn failure(&self) -> Option<FailedVersion> {
        let failure = &self.machine.failed()?.failure;
        Some(FailedVersion::new(&self.name, failure.version.clone(), failure.error.clone()))
    }

    /// Ends `attempt`: adds it to the history and answers its callers.
    pub(super) fn report(
        &mut self,
        attempt: AttemptData,
        outcome: ReloadOutcome,
        version: Option<&Version>,
    ) -> Report {
        let error = self.machine.failed().map(|failed| failed.failure.error.clone());
        let report = attempt.report(&self.name, outcome, version, error);
        if outcome != ReloadOutcome::Unchanged {
            self.history.add_reload(attempt.trigger, attempt.changed.clone(), &report);
        }
        attempt.answer(&report);
        report
    }

    /// Replaces the version that is being built with the reason why it cannot be served.
    pub(super) fn reject_candidate(&mut self, error: Diagnostic) {
        if let Some(candidate) = self.machine.candidate_mut() {
            *candidate = Err(error);
        }
    }
}
