//! The task that owns all projects: takes what happened, asks the machine, has its effects carried
//! out. One `select!` over one set of sources; nothing in it waits.

mod deploys;
mod effects;
mod lifecycle;
mod policy;
mod publish;
mod routes;
mod scan;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use jiff::Timestamp;
use switchyard_contract::admin::Report;
use switchyard_contract::event::Trigger;
use switchyard_contract::incarnation::Incarnation;
use switchyard_contract::project::ProjectName;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use self::scan::{Listing, Purpose, Start};
use super::Settings;
use super::deploys::Deploys;
use super::machine::{Event, Found, Outcome as Built, Work};
use super::population::Population;
use super::project::Project;
use super::prune::{Pruner, Scope};
use super::readers::Readers;
use super::record::Record;
use super::work::{BuildError, Builder, Plan, Read, Unawaited};
use crate::cells::{Cell, Cells, Exit};
use crate::checkout::Store;
use crate::live::{Board, Command, Events, Lines, Live};
use crate::metrics::Metrics;
use crate::packages::Packages;
use crate::policy::{Grant, Policy};
use crate::project::diagnostic;
use crate::version::Version;
use crate::watch::WatchEvent;

/// More of what is slow than this waits to be told.
const UNAWAITED: usize = 16;

/// How often cells are looked at that are to end when nobody asks them anything: the shortest time that can be set for it.
const IDLE_LOOKS: Duration = Duration::from_secs(1);

/// How often the state folder is searched for what nothing needs any more: what is kept for days is
/// due to the hour.
const SWEEPS: Duration = Duration::from_secs(60 * 60);

/// What the control flow is made of.
pub(crate) struct Parts {
    pub(crate) store: Arc<Store>,
    pub(crate) packages: Arc<Packages>,
    pub(crate) cells: Arc<Cells>,
    pub(crate) live: Arc<Live>,
    pub(crate) board: Arc<Board>,
    pub(crate) events: Arc<Events>,
    pub(crate) lines: Arc<Lines>,
    pub(crate) metrics: Metrics,
    pub(crate) policy: Arc<Policy>,
}

/// The control flow.
pub(crate) struct Control {
    settings: Settings,
    parts: Parts,
    builder: Builder,
    pruner: Pruner,
    record: Record,
    projects: BTreeMap<String, Project>,
    population: Population,
    deploys: Deploys,
    /// Folders whose names are no project names.
    misnamed: BTreeSet<String>,
    /// The projects with refused claims, by the one that is in the way.
    refusals: BTreeMap<ProjectName, BTreeSet<ProjectName>>,
    /// The moment of the last claim; during the scan at start, of all that it is the first to see.
    claimed_last: Timestamp,
    /// What the scan at start still waits for; `None` when it is done.
    scanning: Option<BTreeSet<String>>,
    /// Projects that it does not wait for any longer: they take long to read, or their registry, which may be of their own
    /// choice, takes long to answer.
    unawaited: mpsc::Receiver<ProjectName>,
    began: Instant,
    readers: Readers,
    tasks: JoinSet<Done>,
    /// Cells that end: each has a time of its own for it, also when the router stops.
    endings: JoinSet<Done>,
    /// Whose task it is, should it panic.
    owners: HashMap<Id, String>,
}

/// A task that ended.
struct Done {
    project: String,
    what: What,
}

enum What {
    Read(Read),
    /// The folders on the volume.
    Listed(Listing, Purpose),
    /// Whether there is a folder of that name, and who wants it reloaded.
    Probed {
        is_there: bool,
        answer: Option<oneshot::Sender<Report>>,
    },
    Built {
        result: Result<Vec<Arc<Cell>>, BuildError>,
        took: Duration,
    },
    /// The last good version of an earlier run, with a cell unless it is left stopped. `plan` is
    /// `None` when there is no checkout of it.
    Restored {
        plan: Option<Plan>,
        result: Option<Result<Vec<Arc<Cell>>, BuildError>>,
        took: Duration,
    },
    Woken {
        version: Version,
        /// With what the cells were given.
        result: Result<(Vec<Arc<Cell>>, Arc<Grant>), BuildError>,
    },
    Drained {
        version: Version,
        cut_off: usize,
        retired: bool,
    },
    Died {
        cell: u64,
        exit: Exit,
    },
    /// The pause after the death of a cell of this version is over.
    RestartDue(Version),
    /// The tenants in the state folder whose projects are gone or were removed before.
    Leftovers(BTreeMap<ProjectName, BTreeSet<Incarnation>>),
    /// The pause after the failure with this number is over.
    RetryDue {
        pause: Duration,
        number: u64,
    },
    Nothing,
}

impl Control {
    /// # Errors
    /// The state folder cannot be read.
    pub(crate) fn new(settings: Settings, parts: Parts) -> Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (slow, unawaited) = mpsc::channel(UNAWAITED);
        let readers = Readers::new(cores);
        let record = Record::open(&settings.state)?;
        let pruner = Pruner {
            root: settings.root.clone(),
            store: parts.store.clone(),
            packages: parts.packages.clone(),
            cells: parts.cells.clone(),
            record: record.clone(),
        };
        let builder = Builder {
            root: settings.root.clone(),
            cells: parts.cells.clone(),
            store: parts.store.clone(),
            packages: parts.packages.clone(),
            permits: Arc::new(Semaphore::new(cores)),
            patience: settings.build_timeout,
            readers: readers.clone(),
            unawaited: Unawaited { projects: slow, patience: settings.build_timeout },
        };
        Ok(Self {
            pruner,
            record,
            settings,
            parts,
            builder,
            projects: BTreeMap::new(),
            population: Population::default(),
            deploys: Deploys::default(),
            misnamed: BTreeSet::new(),
            refusals: BTreeMap::new(),
            claimed_last: Timestamp::MIN,
            scanning: None,
            unawaited,
            began: Instant::now(),
            readers,
            tasks: JoinSet::new(),
            endings: JoinSet::new(),
            owners: HashMap::new(),
        })
    }

    /// Takes what there is at `start`, then follows changes and commands until `stop`, which says how
    /// long handlers of SIGTERM may take; ends every cell then.
    pub(crate) async fn run(
        mut self,
        start: Start,
        mut changes: mpsc::Receiver<WatchEvent>,
        mut commands: mpsc::Receiver<Command>,
        stop: impl Future<Output = Duration>,
    ) {
        self.scan(start);
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
                Some(project) = self.unawaited.recv() => self.scanned(Some(project.as_str())),
                Some(ended) = self.tasks.join_next_with_id() => match ended {
                    Ok((id, done)) => {
                        self.owners.remove(&id);
                        self.done(done);
                    }
                    Err(error) => self.panicked(&error),
                },
                Some(ended) = self.endings.join_next() => match ended {
                    Ok(done) => self.done(done),
                    Err(error) => tracing::error!("a task of the router failed: {error}"),
                },
            }
        };
        self.end(within).await;
    }

    /// Has `future` run, and its result taken by [`Control::done`].
    fn spawn(&mut self, project: &str, future: impl Future<Output = What> + Send + 'static) {
        let name = project.to_owned();
        let task = self.tasks.spawn(async move { Done { project: name, what: future.await } });
        self.owners.insert(task.id(), project.to_owned());
    }

    /// The same for what ends cells, which a router that stops waits for.
    fn spawn_ending(&mut self, project: &str, future: impl Future<Output = What> + Send + 'static) {
        let project = project.to_owned();
        self.endings.spawn(async move { Done { project, what: future.await } });
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Reload { project, answer } => self.reload(&project, answer),
            Command::ReloadAll { answer } => self.list(Purpose::Reload(answer)),
            Command::Wake(version) => self.wake(&version),
            Command::Policy(policy) => self.follow_policy(policy),
            Command::Hold { hold, answer } => self.hold(&hold, answer),
            Command::Build { deploy, answer } => self.build_deploy(&deploy, answer),
            Command::Publish { deploy, answer } => self.publish_deploy(&deploy, answer),
            Command::Release { deploy, answer } => self.release_deploy(&deploy, answer),
        }
    }

    /// Has a project read for somebody who waits for what comes of it.
    fn reload(&mut self, name: &str, answer: oneshot::Sender<Report>) {
        let Some(project) = self.projects.get_mut(name) else { return self.probe(name, Some(answer)) };
        project.wait(answer);
        self.look(name, Trigger::Request, Instant::now());
    }

    /// The project of this name, which is new if nothing was known of it.
    fn project(&mut self, name: &ProjectName) -> &mut Project {
        self.projects.entry(name.to_string()).or_insert_with(|| {
            self.parts.lines.open(name);
            Project::new(name.clone())
        })
    }

    fn done(&mut self, done: Done) {
        let Done { project: name, what } = done;
        let what = match what {
            What::Listed(listing, purpose) => return self.listed(&listing, purpose),
            What::Probed { is_there, answer } => return self.probed(&name, is_there, answer),
            What::Leftovers(leftovers) => return self.prune_leftovers(leftovers),
            what => what,
        };
        let Some(project) = self.projects.get_mut(&name) else { return };
        let now = Instant::now();
        match what {
            What::Nothing | What::Listed(..) | What::Probed { .. } | What::Leftovers(_) => {}
            What::Read(mut read) => {
                if let Some(Ok(plan)) = &mut read.plan {
                    plan.renew(&self.parts.policy);
                }
                let retry =
                    read.plan.is_some() || read.is_late || project.attempt.trigger == Trigger::Request;
                let event = project.was_read(read, retry);
                log_entry(project);
                // The policy has changed meanwhile.
                let again = project.is_read_otherwise(&self.parts.policy);
                self.check_claims(&name);
                self.step(&name, event, now);
                if again {
                    self.look(&name, Trigger::Policy, now);
                }
            }
            What::Built { result, took } => {
                project.attempt.build = Some(took);
                self.parts.metrics.build_seconds.0.observe(took.as_secs_f64());
                let outdated = project.newest().is_some_and(|plan| plan.is_outdated(&self.parts.policy));
                match result {
                    // The change of the policy waits to be looked at.
                    Ok(cells) if outdated => {
                        self.retire(&name, cells);
                        self.built(&name, Err(BuildError::Superseded));
                    }
                    // Another project may have claimed the same while this one was built.
                    Ok(cells) => match self.check_claims(&name) {
                        Some(refused) => {
                            self.retire(&name, cells);
                            self.built(&name, Err(BuildError::Failed(refused)));
                        }
                        None => self.built(&name, Ok(cells)),
                    },
                    result => self.built(&name, result),
                }
            }
            What::Restored { plan: Some(plan), result, .. } if plan.is_outdated(&self.parts.policy) => {
                if let Some(Ok(cells)) = result {
                    self.retire(&name, cells);
                }
                self.build(&name, plan.order.version);
            }
            What::Restored { plan, result, took } => {
                project.attempt.build = Some(took);
                let found = plan.is_some();
                project.plan = plan.map(Ok);
                match result {
                    Some(result) => self.built(&name, result),
                    None if found => self.step(&name, Event::Built(Built::Good), now),
                    None => self.step(&name, Event::Built(Built::Superseded), now),
                }
            }
            What::Woken { version, result } => self.woken(&name, &version, result),
            What::Drained { version, cut_off, retired } => self.drained(&name, &version, cut_off, retired),
            What::Died { cell, exit } => self.died(&name, cell, &exit),
            What::RestartDue(version) => self.restart(&version),
            What::RetryDue { pause, number } => self.retry(&name, pause, number),
        }
    }

    fn built(&mut self, name: &str, result: Result<Vec<Arc<Cell>>, BuildError>) {
        let Some(project) = self.projects.get_mut(name) else { return };
        let outcome = match result {
            Ok(cells) => {
                project.built = cells;
                Built::Good
            }
            Err(BuildError::Failed(error) | BuildError::NoProcess(error)) => Built::Bad(error),
            Err(BuildError::Superseded) => Built::Superseded,
        };
        self.step(name, Event::Built(outcome), Instant::now());
    }

    fn panicked(&mut self, error: &JoinError) {
        let name = self.owners.remove(&error.id()).unwrap_or_default();
        tracing::error!(project.name = name, "a task of the router failed: {error}");
        let told = diagnostic("the router failed while it worked on this project; its log says more");
        let waking = self.projects.get(&name).filter(|project| project.waking);
        if let Some(version) = waking.and_then(|project| project.machine.live.clone()) {
            self.woken(&name, &version, Err(BuildError::NoProcess(told.clone())));
        }
        let event = match self.projects.get(&name).map(|project| &project.machine.work) {
            Some(Work::Reading(_)) => Event::Read { found: Found::Invalid(told), retry: true },
            Some(Work::Building(..) | Work::Restoring(..)) => Event::Built(Built::Bad(told)),
            Some(Work::Idle) | None => return,
        };
        self.step(&name, event, Instant::now());
    }

    /// Ends every cell. Handlers of SIGTERM have `within`; those of versions that were replaced before
    /// have what they were given then.
    async fn end(mut self, within: Duration) {
        self.tasks.shutdown().await;
        let running = self.projects.values_mut().flat_map(|project| std::mem::take(&mut project.running));
        let retired = running.map(|running| async move { running.cell.retire(within).await });
        futures_util::future::join_all(retired).await;
        while self.endings.join_next().await.is_some() {}
        self.parts.cells.clear().await;
        self.record.finish().await;
    }

    /// Counts the cells of a project anew.
    fn count_cells(&mut self, name: &str) {
        let cells = self.projects.get(name).map(Project::cells).unwrap_or_default();
        self.population.set(name, cells);
    }

    /// Notes that the folder of a project is gone. Its versions stay for a while; what else was
    /// kept for it is removed.
    fn forget(&mut self, project: &ProjectName) {
        self.record.set_gone(project);
        self.prune(project);
    }

    /// Removes what nothing needs any more of `project`.
    fn prune(&mut self, project: &ProjectName) {
        let scope = self.scope(project, BTreeSet::new());
        let pruned = self.pruner.clone().run(vec![scope]);
        self.spawn(project.as_str(), async move {
            pruned.await;
            What::Nothing
        });
    }

    /// Searches the state folder for what nothing needs any more of projects that are gone.
    fn sweep(&mut self) {
        let leftovers = self.pruner.clone().leftovers();
        self.spawn("", async move { What::Leftovers(leftovers.await) });
    }

    fn prune_leftovers(&mut self, leftovers: BTreeMap<ProjectName, BTreeSet<Incarnation>>) {
        let scopes = leftovers.into_iter().map(|(project, found)| self.scope(&project, found)).collect();
        let pruned = self.pruner.clone().run(scopes);
        self.spawn("", async move {
            pruned.await;
            What::Nothing
        });
    }

    fn scope(&self, project: &ProjectName, found: BTreeSet<Incarnation>) -> Scope {
        let known = self.projects.get(project.as_str());
        Scope {
            project: project.clone(),
            keep: self.settings.keep,
            used: known.map(Project::used).unwrap_or_default(),
            is_gone: known.is_none_or(|project| project.machine.is_absent()),
            found,
        }
    }
}

/// Logs which entry the newest version has, once for each change of it.
fn log_entry(project: &mut Project) {
    let name = project.name.clone();
    let is_static = project.newest().is_some_and(|plan| plan.is_static);
    let Some(entry) = project.new_entry() else { return };
    let (path, reason) = (&entry.path, &entry.reason);
    match is_static {
        true => tracing::info!(
            project.name = %name,
            "{name} is a static site, served from the folder of {path} without a process; chosen by {reason}"
        ),
        false => tracing::info!(project.name = %name, "the entry of {name} is {path}, chosen by {reason}"),
    }
    for warning in &entry.warnings {
        tracing::warn!(project.name = %name, "{name}: {warning}");
    }
}

async fn until(instant: Option<tokio::time::Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
