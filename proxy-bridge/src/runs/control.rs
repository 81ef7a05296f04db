//! The task that owns all runs that have not ended. One `select!`; nothing in it waits for a router.

use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, pending};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::active::{Active, ActiveRuns, Phase, StartReply};
use super::command::{Command, Done, Resumption, TaskLook};
use super::daemons::Daemons;
use super::follow::FollowMessage;
use super::launch::{Launch, RunRules};
use super::timetable::Timetable;
use super::writer::Writer;
use super::{Shared, StartRun, Started, params};
use crate::ledger::{Accepted, LedgerError, StoredRun};
use crate::schedule::{Decision, on_due};
use crate::tasks::Declared;
use switchyard_contract::admin::CancelRequest;
use switchyard_contract::project::ProjectName;
use switchyard_contract::run::{Run, RunError, RunId, RunState, RunTrigger};
use switchyard_contract::task::{Consistency, Overlap, RunLimits, TaskId};
use switchyard_edge::problem::Problem;

/// Messages of followers that wait. A follower of one more waits, and with it the router's stream.
const MESSAGES: usize = 1024;

/// The time that a handler has between its signal and the end of its cell.
const CANCEL_GRACE: Duration = Duration::from_secs(5);

/// The interval between two prunings of the history.
const PRUNE: Duration = Duration::from_secs(60);

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
        self.catalog_changed();
        loop {
            self.dispatch();
            self.shared.metrics.set_states(self.active.states());
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
            }
        }
    }

    /// A future that ends when something is due.
    fn timer(&self) -> impl Future<Output = ()> + use<> {
        let now = Instant::now();
        let queued = self.active.iter().filter_map(|active| match active.phase {
            Phase::Queued { not_before: Some(time) } if time > now => Some(time - now),
            _ => None,
        });
        let daemons = self.daemons.next(now);
        let due = self.timetable.next_wake(Timestamp::now());
        let pause = queued.chain(daemons).chain(due).min();
        async move {
            match pause {
                Some(pause) => sleep(pause).await,
                None => pending().await,
            }
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Start { start, resumes, reply } => self.start(*start, resumes, Some(reply)),
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
            Command::Look { task, reply } => {
                let (under_way, waiting) = self.active.of_task(&task);
                let count = |ids: &[RunId]| u32::try_from(ids.len()).unwrap_or(u32::MAX);
                let next = self.timetable.next(&task);
                let look = TaskLook { under_way: count(&under_way), waiting: count(&waiting), next };
                let _ = reply.send(look);
            }
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Accepted(id, result) => self.accepted(id, result),
            Done::Claimed(task, due, id, result) => self.claimed(&task, due, id, result),
            Done::Dispatched(id, result) => self.dispatched(id, result),
            Done::Ended(id) => self.ended(id),
            Done::PipelineLoaded(id, steps) => self.pipeline_loaded(id, steps),
            Done::RegistryRead(id, step, result) => self.registry_read(id, &step, result),
            Done::RouterFound(id, name, router) => self.router_found(id, &name, router),
            Done::Known(router, Ok(known)) => {
                let runs = known.runs.into_iter().map(|known| (known.run, known.attempt, known.ended));
                self.compare(router, runs.collect());
            }
            // It is asked again when it is ready again.
            Done::Known(router, Err(error)) => {
                tracing::warn!(router = router.name(), "the runs of a router are not known: {error}");
            }
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

    /// Ends the runs that wait for a project that is gone, or has no tasks any more.
    fn end_runs_without_project(&mut self) {
        let catalog = self.shared.catalog.all();
        let is_lost = |active: &&Active| {
            matches!(active.phase, Phase::Queued { .. }) && !catalog.contains_key(&active.run().task.project)
        };
        let lost: Vec<_> = self.active.iter().filter(is_lost).map(|active| active.run().id).collect();
        for id in lost {
            let error = RunError::new("unknown-task", "the project is gone, or has no tasks any more");
            self.end(id, RunState::Failed, None, Some(error));
        }
    }

    /// The limits of a project's runs.
    pub(super) fn limits(&self, project: &ProjectName) -> RunLimits {
        self.shared.catalog.all().get(project).map(|tasks| tasks.limits).unwrap_or_default()
    }

    /// Accepts a run that was asked for, or refuses it.
    pub(super) fn start(&mut self, start: StartRun, resumes: Option<Resumption>, reply: Option<StartReply>) {
        match self.plan(start, resumes) {
            Ok((stored, launch, cancel)) => {
                cancel.into_iter().for_each(|id| self.replace(id, stored.run.id));
                self.accept(stored, launch, reply);
            }
            Err(problem) => {
                if let Some(reply) = reply {
                    let _ = reply.send(Err(problem));
                }
            }
        }
    }

    /// The run that is asked for, and those that it replaces.
    pub(super) fn plan(
        &mut self,
        start: StartRun,
        resumes: Option<Resumption>,
    ) -> Result<(StoredRun, Launch, Vec<RunId>), Problem> {
        let declared = self.shared.catalog.find(&start.task).ok_or_else(|| unknown_task(&start.task))?;
        let rules = rules(&declared, &start.task);
        let overlap = overlap(&declared, start.trigger);
        let given = params::complete(&rules.params, start.params).map_err(invalid_params)?;
        if self.active.waiting(&start.task.project) >= rules.limits.queue as usize {
            return Err(queue_full(&start.task.project, rules.limits.queue));
        }
        let (under_way, waiting) = self.active.of_task(&start.task);
        let overlap = if start.force { Overlap::Allow } else { overlap };
        let (cancel, alone) = match on_due(overlap, &under_way, waiting.first().copied()) {
            Decision::Start => (Vec::new(), false),
            Decision::Queue => (Vec::new(), true),
            Decision::Skip { in_the_way } => return Err(in_the_way_of(&start.task, in_the_way)),
            Decision::Replace { cancel } => (cancel, true),
        };
        let mut launch = match &declared {
            Declared::Task(_, task) => Launch::of_task(task, start.input, start.version),
            Declared::Pipeline(tasks, pipeline) => {
                Launch::of_pipeline(pipeline, tasks.set.registry.clone(), start.input, start.version)
            }
        };
        launch.alone |= alone;
        launch.resumes = resumes.as_ref().map(|resumption| resumption.run);
        launch.from_step = resumes.and_then(|resumption| resumption.from_step);
        let consistency = start.consistency.unwrap_or(rules.consistency);
        let run = Run {
            by: start.by,
            key: start.key,
            parent: start.parent,
            params: given,
            ..queued(start.task, start.trigger, &launch, consistency)
        };
        let stored = StoredRun { run, input: launch.to_value(), boot: None };
        Ok((stored, launch, cancel))
    }

    /// Has the acceptance of a run recorded.
    pub(super) fn accept(&mut self, stored: StoredRun, launch: Launch, reply: Option<StartReply>) {
        let id = stored.run.id;
        self.insert(stored.clone(), launch, Phase::Accepting(reply));
        let ledger = self.shared.ledger.clone();
        self.work.spawn(async move { Done::Accepted(id, ledger.accept(stored).await) });
    }

    pub(super) fn insert(&mut self, stored: StoredRun, launch: Launch, phase: Phase) {
        self.shared.progress.begin(stored.run.id);
        let (cancelled, pipeline, lacking) = (None, None, BTreeSet::new());
        let (is_taken_over, waiters) = (false, Vec::new());
        self.active.insert(Active {
            stored,
            launch,
            phase,
            is_taken_over,
            cancelled,
            waiters,
            pipeline,
            lacking,
        });
    }

    fn accepted(&mut self, id: RunId, result: Result<Accepted, LedgerError>) {
        let Some(active) = self.active.get_mut(id) else { return };
        let Phase::Accepting(reply) = &mut active.phase else { return };
        let reply = reply.take();
        let answer = match result {
            Ok(Accepted::New) => {
                active.phase = Phase::Queued { not_before: None };
                Ok(Started { run: active.run().clone(), is_new: true })
            }
            Ok(Accepted::Known(known)) => {
                let launch = active.launch.clone();
                self.forget(id);
                if known.run.state.is_end() {
                    self.step_ended(&known.run, &launch);
                }
                Ok(Started { run: known.run, is_new: false })
            }
            Err(error) => {
                // A run that waits for it as its step must not wait for ever.
                let (mut run, launch) = (active.run().clone(), active.launch.clone());
                run.state = RunState::Failed;
                run.error = Some(RunError::new("history", format!("the step cannot be recorded: {error}")));
                self.forget(id);
                self.step_ended(&run, &launch);
                Err(no_history(&error))
            }
        };
        if let Some(reply) = reply {
            let _ = reply.send(answer);
        }
        self.apply_cancellation(id);
    }

    /// Drops a run that was not accepted.
    fn forget(&mut self, id: RunId) {
        self.active.remove(id);
        self.shared.progress.end(id);
    }

    /// Cancels a run because of a later one.
    pub(super) fn replace(&mut self, id: RunId, by: RunId) {
        let error = RunError::new("replaced", format!("a later run of the task took its place: {by}"));
        // It may have ended meanwhile.
        let _ = self.cancel(id, error);
    }

    /// Has a run end. Returns it as it is now.
    pub(super) fn cancel(&mut self, id: RunId, error: RunError) -> Result<Run, Problem> {
        let Some(active) = self.active.get_mut(id).filter(|active| !matches!(active.phase, Phase::Ending))
        else {
            return Err(not_under_way(id));
        };
        active.cancelled.get_or_insert(error);
        let run = active.run().clone();
        self.apply_cancellation(id);
        Ok(run)
    }

    /// Carries out the cancellation of a run, as far as its phase allows it now.
    pub(super) fn apply_cancellation(&mut self, id: RunId) {
        let Some(active) = self.active.get(id) else { return };
        let Some(error) = active.cancelled.clone() else { return };
        match &active.phase {
            Phase::Queued { .. } => self.end(id, RunState::Cancelled, None, Some(error)),
            Phase::Orchestrating => {
                let steps = self.active.steps_of(id);
                let is_done = steps.is_empty();
                for step in steps {
                    let _ = self.cancel(step, error.clone());
                }
                if is_done {
                    self.end(id, RunState::Cancelled, None, Some(error));
                }
            }
            Phase::Following { router, .. } => {
                let (router, reason) = (router.clone(), error.reason);
                let grace_ms = u64::try_from(CANCEL_GRACE.as_millis()).unwrap_or(u64::MAX);
                self.work.spawn(async move {
                    // A router that does not answer is noticed by the run's follower.
                    if let Err(error) = router.cancel_run(id, &CancelRequest { reason, grace_ms }).await {
                        tracing::debug!(run = %id, "a run is not cancelled: {error}");
                    }
                    Done::Nothing
                });
            }
            // Applied when the answer is there.
            Phase::Accepting(_) | Phase::Dispatching(_) | Phase::Ending => {}
        }
    }
}

/// The rules of a task or a pipeline for its runs.
fn rules(declared: &Declared, id: &TaskId) -> RunRules {
    debug_assert_eq!(declared.tasks().project, id.project);
    let limits = declared.tasks().limits;
    match declared {
        Declared::Task(_, task) => {
            RunRules { params: task.params.clone(), consistency: task.version, limits }
        }
        Declared::Pipeline(_, pipeline) => {
            RunRules { params: pipeline.params.clone(), consistency: pipeline.version, limits }
        }
    }
}

/// The rule for runs at the same time. Messages of others are never refused for it: where runs are
/// not allowed side by side, they wait.
fn overlap(declared: &Declared, trigger: RunTrigger) -> Overlap {
    let overlap = match declared {
        Declared::Task(_, task) => task.overlap,
        Declared::Pipeline(_, pipeline) => pipeline.overlap,
    };
    match (trigger, overlap) {
        (RunTrigger::Webhook | RunTrigger::Chain | RunTrigger::File | RunTrigger::Step, _) => Overlap::Allow,
        (_, overlap) => overlap,
    }
}

pub(super) fn unknown_task(task: &TaskId) -> Problem {
    let detail = format!("no live version declares the task {task}: GET /tasks lists all");
    Problem::new(StatusCode::NOT_FOUND, "unknown-task", detail)
}

fn invalid_params(problems: Vec<String>) -> Problem {
    let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-params", problems.join("; "));
    problem.with("problems", problems.into_iter().map(Value::from).collect::<Vec<_>>())
}

fn queue_full(project: &ProjectName, most: u32) -> Problem {
    let detail = format!(
        "{most} runs of {project} wait already, which is the limit (run_queue in the policy): try again when some \
         have ended"
    );
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "queue-full", detail).retry_after(5)
}

fn in_the_way_of(task: &TaskId, run: RunId) -> Problem {
    let detail = format!(
        "a run of {task} is under way, and the task allows one at a time: wait for {run}, cancel it, or force \
         another one (?force=1, --force)"
    );
    Problem::new(StatusCode::CONFLICT, "overlap", detail).with("run", run.to_string())
}

pub(super) fn no_history(error: &LedgerError) -> Problem {
    let detail = format!("the run cannot be recorded, so it is not accepted: {error}");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "history", detail).retry_after(10)
}

fn not_under_way(id: RunId) -> Problem {
    Problem::new(StatusCode::CONFLICT, "ended", format!("the run {id} has ended"))
}

/// The run that a due time starts.
pub(super) fn scheduled(
    declared: &Declared,
    task: &TaskId,
    due: Timestamp,
    alone: bool,
) -> (StoredRun, Launch) {
    let (mut launch, consistency) = match declared {
        Declared::Task(_, spec) => (Launch::of_task(spec, Value::Null, None), spec.version),
        Declared::Pipeline(tasks, spec) => {
            (Launch::of_pipeline(spec, tasks.set.registry.clone(), Value::Null, None), spec.version)
        }
    };
    launch.alone |= alone;
    let rules = rules(declared, task);
    // Required parameters without defaults fail the run, not the schedule.
    let params = params::complete(&rules.params, Value::Null).unwrap_or_default();
    let run = Run {
        scheduled_at: Some(due),
        params,
        ..queued(task.clone(), RunTrigger::Cron, &launch, consistency)
    };
    (StoredRun { run, input: launch.to_value(), boot: None }, launch)
}

/// A run that is to be accepted.
pub(super) fn queued(task: TaskId, trigger: RunTrigger, launch: &Launch, consistency: Consistency) -> Run {
    Run {
        id: RunId::new_now(),
        task,
        is_pipeline: launch.pipeline.is_some(),
        state: RunState::Queued,
        trigger,
        by: None,
        key: None,
        scheduled_at: None,
        queued_at: Timestamp::now(),
        started_at: None,
        ended_at: None,
        version: None,
        consistency,
        attempt: 1,
        attempts: launch.retry.attempts.max(1),
        next_attempt_at: None,
        parent: None,
        step: None,
        params: Value::Object(serde_json::Map::new()),
        result: None,
        error: None,
        router: None,
        log_lines: 0,
    }
}
