//! The task that owns all projects: feeds events to their machines and carries out the effects. One
//! `select!` over one set of sources; nothing in it waits.

mod attempts;
mod deploys;
mod drain;
mod effects;
mod failures;
mod lifecycle;
mod look;
mod overrides;
mod policy;
mod pruning;
mod public_effect;
mod publish;
mod routes;
mod runnable;

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use switchyard_contract::project::ProjectName;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use self::public_effect::Batch;
use super::ControlSettings;
use super::conflicts::ClaimIndex;
use super::deploys::Deploys;
use super::known_failures::KnownFailures;
use super::machine::{BuildOutcome, Event, Work};
use super::projects::Projects;
use super::prune::Pruner;
use super::record::Record;
use super::retries::RetryPace;
use super::scan::{Purpose, StartInventory, StartScan};
use super::tasks::{ProjectTask, RouterTask, TaskEnd, TaskResult, Tasks};
use crate::build::{BuildError, Builder, FolderState, Readers, SlowProjects};
use crate::cells::Cells;
use crate::checkout::Store;
use crate::live::{Command, Crons, Events, LiveTable, LogBuffer, StatusBoard};
use crate::metrics::Metrics;
use crate::packages::Packages;
use crate::policy::Policy;
use crate::project::diagnostic;
use crate::watch::WatchEvent;

/// Slow projects that may wait to be taken off the scan at start. Their senders wait while it is
/// full.
const SLOW_PROJECTS: usize = 16;

/// Interval between two searches for cells that have been idle for too long: the shortest idle time
/// that can be configured.
const IDLE_LOOKS: Duration = Duration::from_secs(1);

/// Interval between two searches of the state folder for leftovers. They are kept for days, so an
/// hour is exact enough.
const SWEEPS: Duration = Duration::from_secs(60 * 60);

/// Results of tasks that the scan at start takes before it publishes. What has come by then goes
/// live in one swap; other events wait for less than a millisecond.
const MAX_BATCH: usize = 256;

/// The parts of the router that the control flow uses.
pub(crate) struct Parts {
    pub(crate) store: Arc<Store>,
    pub(crate) packages: Arc<Packages>,
    pub(crate) cells: Arc<Cells>,
    pub(crate) live: Arc<LiveTable>,
    pub(crate) board: Arc<StatusBoard>,
    pub(crate) events: Arc<Events>,
    pub(crate) logs: Arc<LogBuffer>,
    pub(crate) crons: Arc<Crons>,
    pub(crate) metrics: Metrics,
    pub(crate) policy: Arc<Policy>,
}

/// The control flow.
pub(crate) struct Control {
    settings: ControlSettings,
    parts: Parts,
    builder: Builder,
    pruner: Pruner,
    record: Record,
    projects: Projects,
    deploys: Deploys,
    /// Folders whose names are not valid project names.
    misnamed: BTreeSet<String>,
    claims: ClaimIndex,
    scan: StartScan,
    /// The failures of the last run whose projects were not read yet.
    known_failures: KnownFailures,
    retry_pace: RetryPace,
    /// Projects that the scan at start stops waiting for: they take long to read, or their package
    /// registry takes long to answer.
    slow: mpsc::Receiver<ProjectName>,
    tasks: Tasks,
    /// The publishes that wait for the end of a batch of results; `None` outside of one.
    batch: Option<Batch>,
}

impl Control {
    /// # Errors
    /// The state folder cannot be read, or a thread cannot be started.
    pub(crate) fn new(settings: ControlSettings, parts: Parts) -> Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (sender, slow) = mpsc::channel(SLOW_PROJECTS);
        let record = Record::open(&settings.state)?;
        let pruner = Pruner {
            root: settings.root.clone(),
            store: parts.store.clone(),
            packages: parts.packages.clone(),
            cells: parts.cells.clone(),
            logs: parts.logs.clone(),
            record: record.clone(),
        };
        let builder = Builder {
            root: settings.root.clone(),
            cells: parts.cells.clone(),
            store: parts.store.clone(),
            packages: parts.packages.clone(),
            permits: Arc::new(Semaphore::new(cores)),
            time_limit: settings.build_timeout,
            readers: Readers::new(cores),
            slow: SlowProjects { sender, time_limit: settings.build_timeout },
        };
        let overrides = settings.root.overrides().clone();
        let projects = Projects::new(parts.logs.clone(), parts.cells.clone(), overrides);
        Ok(Self {
            settings,
            parts,
            builder,
            pruner,
            record,
            projects,
            deploys: Deploys::default(),
            misnamed: BTreeSet::new(),
            claims: ClaimIndex::default(),
            scan: StartScan::new(),
            known_failures: KnownFailures::default(),
            retry_pace: RetryPace::default(),
            slow,
            tasks: Tasks::default(),
            batch: None,
        })
    }

    /// Reads which versions were live before, and what is on the volume.
    pub(crate) fn take_inventory(&self) -> impl Future<Output = StartInventory> + Send + use<> {
        let (record, root) = (self.record.read(), self.settings.root.clone());
        let state = self.settings.state.clone();
        root.overrides().dropped().iter().for_each(|project| self.record.remove(project));
        async move {
            let read = spawn_blocking(move || {
                let known = record().unwrap_or_else(|error| {
                    tracing::error!("cannot read which versions were live before: {error:#}");
                    Default::default()
                });
                let failures = KnownFailures::read(&state).unwrap_or_else(|error| {
                    tracing::warn!("the failures of the last run are tried again at once: {error:#}");
                    KnownFailures::default()
                });
                StartInventory::new(known, failures, &root)
            });
            // A panic is logged.
            read.await.unwrap_or_default()
        }
    }

    /// Follows changes and commands until `stop`, which resolves to the time that handlers of SIGTERM
    /// have. Ends every cell then. The scan at start has begun.
    pub(crate) async fn run(
        mut self,
        mut changes: mpsc::Receiver<WatchEvent>,
        mut commands: mpsc::Receiver<Command>,
        stop: impl Future<Output = Duration>,
    ) {
        tokio::pin!(stop);
        let mut idle_looks = interval(IDLE_LOOKS);
        idle_looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first one is due at once.
        let mut sweeps = interval(SWEEPS);
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let within = loop {
            let lease_ends = self.deploys.next_end();
            tokio::select! {
                within = &mut stop => break within,
                () = until(lease_ends) => self.end_leases(),
                _ = idle_looks.tick() => self.stop_unused(),
                _ = sweeps.tick() => self.sweep(),
                Some(change) = changes.recv() => self.change(change),
                Some(command) = commands.recv() => self.command(command),
                project = self.parts.crons.next_changed() => self.crons_changed(&project),
                Some(project) = self.slow.recv() => self.stop_waiting_for(project.as_str()),
                ended = self.tasks.next() => self.tasks_ended(ended),
            }
        };
        self.end(within).await;
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Reload { project, answer } => self.reload(&project, answer),
            Command::ReloadAll { answer } => self.list(Purpose::Reload(answer)),
            Command::Wake(version) => self.wake(&version),
            Command::Policy(policy) => self.follow_policy(policy),
            Command::Variable { project, name, answer } => {
                let _ = answer.send(self.parts.policy.variable(&project, &name).map(str::to_owned));
            }
            Command::Settings { project, answer } => {
                let project = self.projects.get(&project);
                let _ = answer.send(project.map(|project| project.settings(&self.parts.policy)));
            }
            Command::Override { project, folder, answer } => self.set_override(project, folder, answer),
            Command::Hold { hold, answer } => self.hold(&hold, answer),
            Command::Build { deploy, answer } => self.build_deploy(&deploy, answer),
            Command::Publish { deploy, answer } => self.publish_deploy(&deploy, answer),
            Command::Release { deploy, answer } => self.release_deploy(&deploy, answer),
            Command::FindVersion { project, digest, answer } => self.find_version(&project, digest, answer),
            Command::KeepVersion { version, received, answer } => {
                self.keep_version(version, received, answer)
            }
        }
    }

    /// Shows a project whose crons have changed, and keeps them on disk.
    fn crons_changed(&mut self, project: &ProjectName) {
        if self.projects.contains(project.as_str()) && self.update_crons(project) {
            self.put_in_table(project);
        }
        self.show(project);
        self.parts.events.statuses_changed();
        let (crons, project) = (self.parts.crons.clone(), project.clone());
        self.tasks.spawn_for_router(async move {
            // A panic is logged.
            let _ = spawn_blocking(move || crons.keep(&project)).await;
            RouterTask::Done
        });
    }

    /// Takes over the crons that the live version's code has registered. Returns true if they have
    /// changed.
    fn update_crons(&mut self, project: &ProjectName) -> bool {
        let crons = self.parts.crons.clone();
        let Some(live) = self.projects.of(project).live_mut() else { return false };
        let specs = crons.specs(live.plan.version(), &live.plan.launch.entry.path);
        let tasks = live.tasks.with_crons(specs);
        let has_changed = tasks.hash() != live.tasks.hash();
        live.tasks = tasks;
        has_changed
    }

    /// Takes the result of a task. During the scan at start: of all tasks that have ended by now,
    /// which are published together.
    fn tasks_ended(&mut self, ended: TaskEnd) {
        if !self.scan.is_running() {
            return self.task_ended(ended);
        }
        self.batch = Some(Batch::default());
        self.task_ended(ended);
        for _ in 1..MAX_BATCH {
            let Some(ended) = self.tasks.try_next() else { break };
            self.task_ended(ended);
        }
        self.publish_batch();
    }

    fn task_ended(&mut self, ended: TaskEnd) {
        match ended {
            TaskEnd::Finished(TaskResult::Project(name, result)) => self.project_task_ended(&name, *result),
            TaskEnd::Finished(TaskResult::Router(result)) => self.router_task_ended(result),
            TaskEnd::Panicked { project, error } => self.panicked(project.as_ref(), &error),
        }
    }

    fn router_task_ended(&mut self, result: RouterTask) {
        match result {
            RouterTask::Listed(listing, purpose) => self.handle_listing(&listing, purpose),
            RouterTask::Probed { name, is_there, caller } => self.probed(&name, is_there, caller),
            RouterTask::OverrideSaved(change, caller) => self.override_saved(change, caller),
            RouterTask::Leftovers(leftovers) => self.prune_leftovers(leftovers),
            RouterTask::Done => {}
        }
    }

    fn project_task_ended(&mut self, name: &ProjectName, result: ProjectTask) {
        if !self.projects.contains(name.as_str()) {
            tracing::debug!(project.name = %name, "the result of a task is late: {name} is gone");
            return;
        }
        match result {
            ProjectTask::Read(read) => self.was_read(name, read),
            ProjectTask::Built { result, took } => self.was_built(name, result, took),
            ProjectTask::Restored { restored, took } => self.was_restored(name, restored, took),
            ProjectTask::Started { version, result } => self.started(name, &version, result),
            ProjectTask::Drained(drained) => self.drained(name, drained),
            ProjectTask::Crashed { cell, exit } => self.crashed(name, cell, &exit),
            ProjectTask::RestartDue(version) => self.restart(&version),
            ProjectTask::RetryDue { pause, number } => self.retry(name, pause, number),
            ProjectTask::Retired => {}
        }
    }

    /// Ends the attempt that waits for the result of a task that panicked.
    fn panicked(&mut self, name: Option<&ProjectName>, error: &JoinError) {
        tracing::error!(project.name = name.map(ProjectName::as_str), "a task of the router failed: {error}");
        let Some(name) = name.filter(|name| self.projects.contains(name.as_str())) else { return };
        let failure = diagnostic("the router failed while it worked on this project; its log says more");
        let project = self.projects.of(name);
        if let Some(version) = project.machine.live_version().cloned().filter(|_| project.is_starting) {
            self.started(name, &version, Err(BuildError::NoProcess(failure.clone())));
        }
        let event = match self.projects.of(name).machine.work() {
            Work::Reading(_) => Event::Read { state: FolderState::Invalid(failure), retry: true },
            Work::Building(..) | Work::Restoring(..) => Event::Built(BuildOutcome::Bad(failure)),
            Work::Idle => return,
        };
        self.step(name, event);
    }

    /// Ends every cell. Handlers of SIGTERM have `within`; those of versions that were replaced
    /// before have the time that they were given then.
    async fn end(mut self, within: Duration) {
        self.tasks.abort().await;
        let live = self.projects.iter_mut().filter_map(|project| project.live_mut());
        let running = live.flat_map(|live| std::mem::take(&mut live.running));
        let retired = running.map(|running| async move { running.cell.retire(within).await });
        futures_util::future::join_all(retired).await;
        self.tasks.finish_endings().await;
        self.parts.cells.clear().await;
        self.record.finish().await;
        self.keep_failures().await;
    }
}

async fn until(instant: Option<tokio::time::Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
