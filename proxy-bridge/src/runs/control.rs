//! The task that owns all runs that have not ended. One `select!`; nothing in it waits for a router.

use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, pending};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Shared;
use super::active::ActiveRuns;
use super::command::{Command, Done, TaskLook};
use super::daemons::Daemons;
use super::follow::FollowMessage;
use super::reads::Reads;
use super::timetable::Timetable;
use super::writer::Writer;
use crate::ledger::LedgerError;
use switchyard_contract::project::ProjectName;
use switchyard_contract::run::RunId;
use switchyard_contract::task::RunLimits;

/// Messages of followers that wait. A follower of one more waits, and with it the router's stream.
const MESSAGES: usize = 1024;

/// The interval between two prunings of the history.
const PRUNE: Duration = Duration::from_secs(60);

/// Time between two looks for ended runs that a router still keeps.
const LEFTOVERS: Duration = Duration::from_secs(15);

/// The control of runs.
pub(super) struct Control {
    pub(super) shared: Arc<Shared>,
    pub(super) active: ActiveRuns,
    pub(super) timetable: Timetable,
    pub(super) daemons: Daemons,
    /// The processes of routers whose runs were compared with those under way.
    pub(super) compared: BTreeSet<String>,
    /// The next lines of logs of runs that are taken over.
    pub(super) next_lines: BTreeMap<RunId, u64>,
    pub(super) reads: Reads,
    /// Work whose results come back as messages.
    pub(super) work: JoinSet<Done>,
    /// The tasks that follow runs.
    pub(super) followers: JoinSet<()>,
    pub(super) messages: mpsc::Sender<FollowMessage>,
    received: mpsc::Receiver<FollowMessage>,
    pub(super) writer: Writer,
    written: mpsc::Receiver<RunId>,
}

impl Control {
    /// Reads the runs and schedules that an earlier process left.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub(super) async fn new(shared: &Arc<Shared>, now: Timestamp) -> Result<Self, LedgerError> {
        let (messages, received) = mpsc::channel(MESSAGES);
        let (writer, written) = Writer::start(shared.ledger.clone(), shared.routers.clone());
        let open = shared.ledger.open_runs().await?;
        let schedules = shared.ledger.schedules().await?;
        let mut control = Self {
            shared: shared.clone(),
            active: ActiveRuns::default(),
            timetable: Timetable::new(schedules, now),
            daemons: Daemons::default(),
            compared: BTreeSet::new(),
            next_lines: BTreeMap::new(),
            reads: Reads::default(),
            work: JoinSet::new(),
            followers: JoinSet::new(),
            messages,
            received,
            writer,
            written,
        };
        control.take_over(open).await?;
        Ok(control)
    }

    /// Runs until it is dropped.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut catalog = self.shared.catalog.changed();
        let mut routers = self.shared.routers.changed();
        let mut prune = tokio::time::interval(PRUNE);
        prune.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut leftovers = tokio::time::interval_at(tokio::time::Instant::now() + LEFTOVERS, LEFTOVERS);
        leftovers.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.catalog_changed();
        loop {
            self.dispatch();
            let timer = self.timer();
            tokio::select! {
                Some(command) = commands.recv() => self.command(command),
                Some(done) = self.work.join_next() => self.done(done.unwrap_or(Done::Nothing)),
                Some(message) = self.received.recv() => self.followed(message),
                Some(id) = self.written.recv() => self.done(Done::Ended(id)),
                Some(_) = self.followers.join_next() => {}
                Ok(()) = catalog.changed() => self.catalog_changed(),
                Ok(()) = routers.changed() => self.routers_changed(),
                () = timer => self.tick(),
                _ = prune.tick() => self.prune(),
                _ = leftovers.tick() => self.look_for_ended(),
            }
        }
    }

    /// A future that ends when something is due.
    fn timer(&self) -> impl Future<Output = ()> + use<> {
        let now = Instant::now();
        let queued = self.active.next_ready().into_iter().chain(self.reads.next()).min();
        let queued = queued.map(|time| time.saturating_duration_since(now));
        let daemons = self.daemons.next(now);
        let due = self.timetable.next_wake(Timestamp::now());
        let pause = queued.into_iter().chain(daemons).chain(due).min();
        async move {
            match pause {
                Some(pause) => sleep(pause).await,
                None => pending().await,
            }
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Start { start, earlier, reply } => {
                self.start(*start, earlier.map(|earlier| *earlier), Some(reply));
            }
            Command::StartFile { start, reply } => self.start_file(*start, reply),
            Command::Wait { id, reply } => {
                let waiter = self.active.get_mut(id).map(|active| {
                    let (sender, receiver) = tokio::sync::oneshot::channel();
                    active.waiters.push(sender);
                    receiver
                });
                let _ = reply.send(waiter);
            }
            Command::Cancel { id, error, reply } => _ = reply.send(self.cancel(id, error)),
            Command::WaitReason { id, reply } => _ = reply.send(self.reason_to_wait(id)),
            Command::Look { task, reply } => {
                let number = |count| u32::try_from(count).unwrap_or(u32::MAX);
                let _ = reply.send(TaskLook {
                    under_way: number(self.active.under_way(&task).count()),
                    waiting: number(self.active.waiting(&task).count()),
                    next: self.timetable.next(&task),
                    unrecorded: self.timetable.unrecorded(&task),
                });
            }
        }
    }

    pub(super) fn done(&mut self, done: Done) {
        match done {
            Done::Accepted(id, result) => self.accepted(id, result),
            Done::Claimed(claimed) => self.claimed(*claimed),
            Done::Made(id, result) => self.made(id, result),
            Done::Dispatched(id, result) => self.dispatched(id, result),
            Done::Ended(id) => self.ended(id),
            Done::PipelineLoaded(id, steps) => self.pipeline_loaded(id, steps),
            Done::RegistryRead(reader, result) => self.registry_read(reader, result),
            Done::RouterFound(id, name, router) => self.router_found(id, &name, router),
            Done::Known(router, Ok(known)) => {
                let runs = known.runs.into_iter().map(|known| (known.run, known.attempt, known.ended));
                self.compare(router, runs.collect());
            }
            // The router is asked again once it is ready again.
            Done::Known(router, Err(error)) => {
                tracing::warn!(router = router.name(), "the runs of a router are not known: {error}");
            }
            Done::StillKnown(router, known) => self.forget_ended(&router, &known),
            Done::Nothing => {}
        }
    }

    /// Does what is due.
    fn tick(&mut self) {
        self.occurrences_due();
        self.start_daemons();
    }

    fn prune(&mut self) {
        let ledger = self.shared.ledger.clone();
        self.work.spawn(async move {
            if let Err(error) = ledger.prune(Timestamp::now()).await {
                tracing::warn!("the history of runs cannot be pruned: {error}");
            }
            Done::Nothing
        });
    }

    fn catalog_changed(&mut self) {
        self.end_runs_without_project();
        self.update_timetable();
        self.update_daemons();
    }

    /// The number of runs and steps of a project that wait for their turn.
    pub(super) fn waiting_of(&self, project: &ProjectName) -> usize {
        self.active.waiting_of_project(project) + self.reads.waiting_of(project)
    }

    /// The limits of a project's runs.
    pub(super) fn limits(&self, project: &ProjectName) -> RunLimits {
        if let Some(tasks) = self.shared.catalog.all().get(project) {
            return tasks.limits;
        }
        let routers = self.shared.routers.list();
        routers.iter().find_map(|router| router.run_limits(project)).unwrap_or_default()
    }
}
