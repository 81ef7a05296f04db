//! What the control flow holds of one project, and how it shows on the board and in the table.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use switchyard_contract::admin::{
    CellCrash, ProjectState, Reload, ReloadOutcome, Report, Status, VersionName,
};
use switchyard_contract::bounds::{KEPT_DEATHS, KEPT_RELOADS};
use switchyard_contract::digest::Digest;
use switchyard_contract::event::{Death, Diagnostic, RouteConflict, Trigger};
use switchyard_contract::incarnation::Incarnation;
use switchyard_contract::project::ProjectName;
use switchyard_contract::route::Route;
use switchyard_detect::entry::Entry as Entrypoint;
use switchyard_protocol::PlatformApi;
use tokio::sync::{Notify, oneshot};

use super::attempt::Attempt;
use super::claims::{Claimed, Refused};
use super::machine::{Event, Found, Machine, Work};
use super::population::Cells;
use super::readers::Reading;
use super::restarts::{Rest, Restarts};
use super::retries::Retries;
use super::work::{Plan, Read};
use crate::cells::Cell;
use crate::checkout::HashCache;
use crate::live::{
    Counters, Debuggers, Entry, Failure, LiveSite, LiveVersion, Process, Running, Serving, Shown,
};
use crate::metrics::Requests;
use crate::policy::{Asked, Grant, Policy, ReadLimits, RequestLimits};
use crate::project::{Function, Installed, diagnostic};
use crate::slots::Slots;
use crate::version::Version;

#[derive(Debug)]
pub(super) struct Project {
    pub(super) name: ProjectName,
    pub(super) machine: Machine,
    pub(super) attempt: Attempt,
    /// The change that `again` stands for: its first sign, and when it was told.
    pub(super) next: Option<(Instant, Instant)>,
    /// Away while the project is read.
    pub(super) cache: HashCache,
    /// The newest reading, which may be stuck.
    pub(super) reading: Reading,
    /// The limits of the newest reading, when it gave no project; and whether it took too long.
    unread: Option<(ReadLimits, bool)>,
    pub(super) on_disk: Option<Version>,
    /// The incarnation that was read last, or is remembered; `None` when neither is known.
    pub(super) incarnation: Option<Incarnation>,
    /// The digest of its own files, when the version on disk has included ones too.
    pub(super) own: Option<Digest>,
    /// As they were when the newest attempt failed.
    pub(super) packages: Installed,
    /// What is to be built, or is being built.
    pub(super) plan: Option<Result<Plan, Diagnostic>>,
    /// The entry that was logged last.
    logged_entry: Option<Entrypoint>,
    /// What was built and is about to be published.
    pub(super) built: Vec<Arc<Cell>>,
    /// How to start the live version again.
    pub(super) live_plan: Option<Plan>,
    /// What the folder of functions said of the version that an earlier router has recorded.
    pub(super) recorded_function: Option<Function>,
    /// What the newest version asked for and was given, when it failed.
    pub(super) failed_with: Option<(Arc<Asked>, Arc<Grant>)>,
    pub(super) running: Vec<Arc<Running>>,
    pub(super) waking: bool,
    /// How the live version's cells died, and what follows.
    pub(super) restarts: Restarts,
    /// When what failed is tried again.
    pub(super) retries: Retries,
    pub(super) failure: Option<Failure>,
    pub(super) draining: Vec<(Version, Counters)>,
    /// Tells the build under way that something newer waits.
    pub(super) newer: Arc<Notify>,
    /// Who asked for the attempt under way, and for the one after it.
    pub(super) waiting: Vec<oneshot::Sender<Report>>,
    pub(super) waiting_next: Vec<oneshot::Sender<Report>>,
    /// The deploy that holds it.
    pub(super) deploy: Option<String>,
    /// The number of the last event that told of it.
    pub(super) sequence: u64,
    /// The routes of the live version.
    pub(super) claimed: Claimed,
    /// The claim for which the newest version failed.
    pub(super) refused: Option<Refused>,
    /// The projects that are in the way of its refused claims.
    pub(super) rivals: BTreeSet<ProjectName>,
    /// Claims of it and of others that meet, as they are shown.
    pub(super) conflicts: Vec<RouteConflict>,
    reloads: VecDeque<Reload>,
    deaths: VecDeque<CellCrash>,
    requests: Arc<Requests>,
    slots: Arc<Slots>,
    debuggers: Arc<Debuggers>,
}

impl Project {
    pub(super) fn new(name: ProjectName) -> Self {
        Self {
            name,
            machine: Machine::default(),
            attempt: Attempt::begin(Trigger::Scan, Instant::now(), Instant::now()),
            next: None,
            cache: HashCache::default(),
            reading: Reading::default(),
            unread: None,
            on_disk: None,
            incarnation: None,
            packages: Installed::default(),
            own: None,
            plan: None,
            logged_entry: None,
            built: Vec::new(),
            live_plan: None,
            recorded_function: None,
            failed_with: None,
            running: Vec::new(),
            waking: false,
            restarts: Restarts::default(),
            retries: Retries::default(),
            failure: None,
            draining: Vec::new(),
            newer: Arc::default(),
            waiting: Vec::new(),
            waiting_next: Vec::new(),
            deploy: None,
            sequence: 0,
            claimed: Claimed::default(),
            refused: None,
            rivals: BTreeSet::new(),
            conflicts: Vec::new(),
            reloads: VecDeque::new(),
            deaths: VecDeque::new(),
            requests: Arc::default(),
            slots: Arc::new(Slots::new(RequestLimits::default().in_flight)),
            debuggers: Arc::default(),
        }
    }

    /// Takes what reading it gave. `retry`: what failed before is worth another attempt.
    pub(super) fn was_read(&mut self, read: Read, retry: bool) -> Event {
        self.cache = read.cache;
        self.reading = read.reading;
        self.unread = matches!(read.found, Found::Invalid(_)).then_some((read.limits, read.is_late));
        if self.machine.hold.is_none() && read.found != Found::Unknown {
            self.packages = read.installed;
        }
        let live = self.machine.live.clone().map(Found::Version);
        if let Some(plan) = self.live_plan.as_mut().filter(|_| live.as_ref() == Some(&read.found)) {
            plan.installed.get_or_insert(read.installed);
        }
        self.attempt.snapshot = Some(read.took);
        self.plan = read.plan;
        self.own = read.own;
        if let Found::Version(version) | Found::Outdated(version) = &read.found {
            self.on_disk = Some(version.clone());
            self.incarnation = Some(version.incarnation);
        }
        Event::Read { found: read.found, retry }
    }

    /// Has `answer` told what comes of the next attempt, or of this one if it has not begun.
    pub(super) fn wait(&mut self, answer: oneshot::Sender<Report>) {
        let waiting = if self.machine.is_busy() { &mut self.waiting_next } else { &mut self.waiting };
        waiting.push(answer);
    }

    /// The cells that it has, or is about to have.
    pub(super) fn cells(&self) -> Cells {
        let (running, built) = (self.running.len(), self.built.len());
        let coming = match self.machine.work {
            Work::Building(..) | Work::Restoring(..) => self.newest().map_or(1, Plan::cells),
            _ => 0,
        };
        Cells { running, all: running.max(built).max(coming) }
    }

    /// Whether nothing is left of it.
    pub(super) fn is_over(&self) -> bool {
        self.machine.is_absent() && self.draining.is_empty() && !self.waking
    }

    /// The incarnation of the live version, or else the one that was read last.
    fn shown_incarnation(&self) -> Incarnation {
        let live = self.machine.live.as_ref().map(|version| version.incarnation);
        live.or(self.incarnation).unwrap_or_default()
    }

    /// Forgets what happened to the project before it was removed.
    pub(super) fn forget_history(&mut self) {
        self.reloads.clear();
        self.deaths.clear();
    }

    /// The versions whose checkouts are needed.
    pub(super) fn used(&self) -> Vec<Version> {
        let draining = self.draining.iter().map(|(version, _)| version.clone());
        let building = self.plan.iter().flatten().map(|plan| plan.order.version.clone());
        self.machine.live.iter().cloned().chain(draining).chain(building).collect()
    }

    fn routes(&self) -> &[Route] {
        self.live_plan.as_ref().map(|plan| plan.routes.routes.as_slice()).unwrap_or_default()
    }

    /// Its claims that do not count: of the live version, and of the newest one if that failed for one.
    pub(super) fn refused_claims(&self) -> impl Iterator<Item = &Refused> {
        self.refused.iter().chain(self.claimed.refused())
    }

    /// The plan of the live version, or without one of the newest.
    fn shown_plan(&self) -> Option<&Plan> {
        self.live_plan.as_ref().or_else(|| self.newest())
    }

    /// The entry of the newest version, when it was not logged yet.
    pub(super) fn new_entry(&mut self) -> Option<&Entrypoint> {
        let entry = self.newest().map(|plan| plan.order.entry.clone());
        let entry = entry.filter(|entry| self.logged_entry.as_ref() != Some(entry))?;
        Some(self.logged_entry.insert(entry))
    }

    fn grant(&self) -> Option<&Grant> {
        let known = self.shown_plan().map(|plan| &plan.order.grant);
        known.or_else(|| self.failed_with.as_ref().map(|(_, grant)| grant)).map(Arc::as_ref)
    }

    /// Whether `policy` gives something else to what is live, was tried or is being built.
    pub(super) fn is_outdated(&self, policy: &Policy) -> bool {
        let plans = self.live_plan.iter().chain(self.newest());
        plans.into_iter().any(|plan| plan.is_outdated(policy)) || self.failed_otherwise(policy)
    }

    /// Whether what failed was given something else than it would be now.
    pub(super) fn failed_otherwise(&self, policy: &Policy) -> bool {
        let otherwise =
            |(asked, grant): &(Arc<Asked>, Arc<Grant>)| !policy.grant(&self.name, asked).is_alike(grant);
        self.failed_with.as_ref().is_some_and(otherwise)
    }

    /// Returns `true` when the newest reading took too long.
    pub(super) fn is_late(&self) -> bool {
        self.unread.is_some_and(|(_, is_late)| is_late)
    }

    /// Returns `true` when the newest reading failed, and another one would have other limits.
    pub(super) fn is_read_otherwise(&self, policy: &Policy) -> bool {
        self.unread.is_some_and(|(limits, _)| limits != policy.reads(&self.name))
    }

    /// Whether its live version would be given something else than `grant`.
    pub(super) fn outgrows(&self, grant: &Grant, policy: &Policy) -> bool {
        let now = self.live_plan.as_ref().map(|plan| policy.grant(&self.name, &plan.asked));
        now.is_some_and(|now| !now.is_alike(grant))
    }

    /// Takes over from `policy` what no cell needs to know. Returns whether there was something.
    pub(super) fn renew(&mut self, policy: &Policy) -> bool {
        let plans = self.live_plan.iter_mut().chain(self.plan.iter_mut().flatten());
        plans.map(|plan| plan.renew(policy)).fold(false, |one, other| one | other)
    }

    /// What is to be built, or is being built.
    pub(super) fn newest(&self) -> Option<&Plan> {
        self.plan.as_ref()?.as_ref().ok()
    }

    /// As requests see it.
    pub(super) fn entry(&self) -> Entry {
        let live = self
            .machine
            .live
            .clone()
            .map(|version| LiveVersion::new(version, self.process(), self.site().cloned()));
        let limits = self.grant().map(|grant| grant.requests).unwrap_or_default();
        self.slots.resize(limits.in_flight);
        Entry {
            project: self.name.clone(),
            live,
            failed: self.failure.clone(),
            claims: self.claimed.allowed().clone(),
            prefix: self.live_plan.as_ref().map(|plan| plan.prefix).unwrap_or_default(),
            verifier: self.live_plan.as_ref().and_then(|plan| plan.verifier.clone()),
            requests: self.requests.clone(),
            limits,
            slots: self.slots.clone(),
            debuggers: self.debuggers.clone(),
            names_connecting_ip: self
                .live_plan
                .as_ref()
                .is_some_and(|plan| matches!(plan.order.api, PlatformApi::Workers(_))),
        }
    }

    /// The live version's files that are served without a process.
    pub(super) fn site(&self) -> Option<&Arc<LiveSite>> {
        self.live_plan.as_ref()?.site.as_ref()
    }

    fn process(&self) -> Process {
        match self.restarts.rest {
            _ if self.live_plan.as_ref().is_some_and(|plan| plan.is_static) => Process::Needless,
            _ if !self.running.is_empty() => Process::Running(Arc::new(Serving::new(self.running.clone()))),
            Rest::Idle => Process::Idle,
            Rest::Restarting => Process::Restarting,
            Rest::Stopped => Process::Stopped,
        }
    }

    /// Whether its cells were not asked anything for as long as it wants them to be kept without.
    pub(super) fn is_unused(&self) -> bool {
        let idle = self.live_plan.as_ref().and_then(|plan| plan.upkeep.idle);
        idle.zip(self.idle_since()).is_some_and(|(idle, since)| since.elapsed() >= idle)
    }

    /// When its cells were asked something last, if nothing is in them and there are some.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let is_idle = self.running.iter().all(|running| running.in_flight.count() == 0);
        self.running.iter().map(|running| running.last_used()).max().filter(|_| is_idle)
    }

    /// How many cells the live version lacks; none when this is not it.
    pub(super) fn lacks(&self, version: &Version) -> usize {
        let plan = self.live_plan.as_ref().filter(|_| self.machine.live.as_ref() == Some(version));
        plan.map_or(0, |plan| plan.cells().saturating_sub(self.running.len()))
    }

    /// Whether its live version died too often.
    pub(super) fn is_stopped(&self) -> bool {
        self.machine.live.is_some() && self.running.is_empty() && self.restarts.rest == Rest::Stopped
    }

    /// Notes how a cell of its live version ended by itself.
    pub(super) fn died(&mut self, version: &Version, death: Death) {
        self.deaths.truncate(KEPT_DEATHS - 1);
        self.deaths.push_front(CellCrash { at: Timestamp::now(), version: version.to_string(), death });
    }

    /// When the live version's jobs are to run.
    fn crons(&self) -> Vec<String> {
        match self.live_plan.as_ref().map(|plan| &plan.order.api) {
            Some(PlatformApi::Workers(worker)) => worker.crons.clone(),
            _ => Vec::new(),
        }
    }

    /// Why the live version is stopped, for operators.
    fn why_stopped(&self) -> Option<Diagnostic> {
        let last = self.deaths.front().filter(|_| self.is_stopped())?;
        Some(diagnostic(format!(
            "its process ended {} times in a row, at last with: {}; it is not started until its code or its \
             policy changes, or a reload is asked for (POST /_reload/{})",
            self.restarts.deaths(),
            last.death.message,
            self.name,
        )))
    }

    /// The requests in the live version.
    fn counters(&self) -> Counters {
        let cells = self.running.iter().map(|running| &running.in_flight);
        cells.chain(self.site().map(|site| &site.in_flight)).cloned().collect()
    }

    /// As the admin listener shows it.
    pub(super) fn shown(&self) -> Shown {
        let failed = self.machine.failed.as_ref();
        let state = match &self.machine.work {
            Work::Building(..) | Work::Restoring(..) => ProjectState::Building,
            _ if self.is_stopped() => ProjectState::Stopped,
            _ => match failed {
                Some(failed) if failed.version.is_none() => ProjectState::Invalid,
                Some(_) => ProjectState::Failed,
                None if self.machine.live.is_none() => ProjectState::Building,
                None if matches!(self.process(), Process::Idle) => ProjectState::Idle,
                None => ProjectState::Live,
            },
        };
        let live = self.machine.live.as_ref().map(VersionName::from);
        let status = Status {
            name: self.name.to_string(),
            state,
            incarnation: self.shown_incarnation(),
            on_disk: self.on_disk.as_ref().map(VersionName::from),
            last_good: live.clone(),
            live,
            error: failed.map(|failed| failed.error.clone()).or_else(|| self.why_stopped()),
            pid: self.running.first().map(|running| running.cell.pid()),
            pids: self.running.iter().map(|running| running.cell.pid()).collect(),
            in_flight: 0,
            waiting: 0,
            draining: Vec::new(),
            reloads: self.reloads.iter().cloned().collect(),
            routes: self.routes().iter().map(ToString::to_string).collect(),
            claims: self.claimed.allowed().to_vec(),
            conflicts: self.conflicts.clone(),
            held_by: self.deploy.clone(),
            sequence: self.sequence,
            grants: self.grant().map(|grant| grant.shown.clone()),
            crashes: self.deaths.iter().cloned().collect(),
            entry: self.shown_plan().map(|plan| (&plan.order.entry).into()),
            crons: self.crons(),
        };
        Shown {
            status,
            in_flight: self.counters(),
            slots: Some(self.slots.clone()),
            draining: self.draining.clone(),
        }
    }

    /// What to say of the attempt that has just ended.
    pub(super) fn end_of_attempt(
        &self,
        outcome: ReloadOutcome,
        version: Option<&Version>,
        error: Option<Diagnostic>,
    ) -> Report {
        Report {
            project: self.name.to_string(),
            outcome,
            digest: version.map(|version| version.digest.to_string()),
            version: version.map(ToString::to_string),
            own_digest: self.own.filter(|_| version.is_some()).map(|own| own.to_string()),
            error,
            timings_ms: self.attempt.timings(),
        }
    }

    /// Answers those who asked for the attempt that has just ended, and notes it.
    pub(super) fn report(&mut self, outcome: ReloadOutcome, version: Option<&Version>) -> Report {
        let error = self.machine.failed.as_ref().map(|failed| failed.error.clone());
        let report = self.end_of_attempt(outcome, version, error);
        if outcome != ReloadOutcome::Unchanged {
            self.reloads.truncate(KEPT_RELOADS - 1);
            self.reloads.push_front(Reload {
                at: Timestamp::now(),
                trigger: self.attempt.trigger,
                outcome,
                version: report.version.clone(),
                timings_ms: report.timings_ms,
            });
        }
        for waiting in self.waiting.drain(..) {
            // Whoever asked may have gone.
            let _ = waiting.send(report.clone());
        }
        report
    }
}
