//! The handle to the control of runs: requests of the API and of webhooks.

use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;
use switchyard_tasks::schedule::Schedule;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use super::command::{Command, Resumption, TaskLook};
use super::launch::Launch;
use super::{ResumeOptions, RetryOptions, Runs, StartRun, Started};
use crate::ledger::{Ledger, LedgerError, StoredRun};
use crate::routers::TaskVersion;
use crate::tasks::Declared;
use switchyard_contract::run::{
    Occurrence, OccurrenceOutcome, Run, RunDetail, RunError, RunFilter, RunId, RunLine, RunLog, RunPage,
    RunState, RunTrigger, RunVersion, RunVersionChoice,
};
use switchyard_contract::task::{Consistency, TaskId, TaskTrigger};
use switchyard_contract::task_overview::{
    DeclaredSpec, RouterVersion, TaskDetail, TaskExplanation, TaskOverview,
};
use switchyard_edge::problem::Problem;

/// Lines of a log that are read at once.
const LINES: usize = 500;

/// Due times and records in the detail of a task.
const NEXT_TIMES: usize = 5;
const RECORDS: u32 = 10;

/// Runs of a run that are listed with it.
const CHILDREN: u32 = RunFilter::MAX_LIMIT;

/// A reader of a run's log, with its position.
pub struct LogFollower {
    ledger: Ledger,
    run: RunId,
    next: u64,
    /// `None`: the run has ended.
    more: Option<watch::Receiver<u64>>,
}

impl LogFollower {
    /// Returns the next lines as soon as there are some. `None`: the run has ended, and all were
    /// read.
    pub async fn next(&mut self) -> Option<Vec<RunLine>> {
        loop {
            let is_ended = match &mut self.more {
                Some(more) => {
                    more.mark_unchanged();
                    more.has_changed().is_err()
                }
                None => true,
            };
            let lines = self.ledger.log(self.run, self.next, LINES).await.unwrap_or_default();
            if !lines.is_empty() {
                self.next = after(self.next, &lines);
                return Some(lines);
            }
            if is_ended {
                return None;
            }
            if let Some(more) = &mut self.more
                && more.changed().await.is_err()
            {
                self.more = None;
            }
        }
    }

    /// The index of the line after those that were read.
    pub fn position(&self) -> u64 {
        self.next
    }
}

impl Runs {
    /// All tasks and pipelines, by id.
    pub async fn tasks(&self) -> Vec<TaskOverview> {
        let mut overviews = Vec::new();
        for tasks in self.0.catalog.all().values() {
            let names = tasks.set.tasks.iter().map(|task| &task.name);
            for name in names.chain(tasks.set.pipelines.iter().map(|pipeline| &pipeline.name)) {
                let id = TaskId::new(&tasks.project, name);
                if let Some(declared) = self.0.catalog.find(&id) {
                    overviews.push(self.overview(&id, &declared).await);
                }
            }
        }
        overviews
    }

    /// A task or pipeline with all that is known of it.
    ///
    /// # Errors
    /// It is unknown, or the history cannot be read.
    pub async fn task(&self, id: &TaskId) -> Result<TaskDetail, Problem> {
        let declared = self.declared(id)?;
        let overview = self.overview(id, &declared).await;
        let occurrences = self.0.ledger.occurrences(id, RECORDS).await.map_err(|error| history(&error))?;
        let (spec, spec_hash) = match &declared {
            Declared::Task(_, task) => (DeclaredSpec::Task(Box::new(task.clone())), task.hash()),
            Declared::Pipeline(_, pipeline) => {
                (DeclaredSpec::Pipeline(Box::new(pipeline.clone())), pipeline.hash())
            }
        };
        Ok(TaskDetail {
            next_times: next_times(&overview.triggers),
            versions: self.versions(id, &declared, &spec_hash),
            overview,
            spec,
            spec_hash,
            occurrences,
            limits: declared.tasks().limits,
        })
    }

    /// Starts a run. It is recorded when the answer is there.
    ///
    /// # Errors
    /// The run is refused: unknown task, invalid parameters, another run in the way, too many that
    /// wait, or no room for its record.
    pub async fn start(&self, start: StartRun) -> Result<Started, Problem> {
        self.start_with(start, None).await
    }

    async fn start_with(&self, start: StartRun, resumes: Option<Resumption>) -> Result<Started, Problem> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Start { start: Box::new(start), resumes, reply }).await?;
        answer.await.map_err(|_| stopping())?
    }

    /// Returns the run when it has ended, or as it is after `limit`.
    ///
    /// # Errors
    /// The run is unknown, or the history cannot be read.
    pub async fn wait(&self, id: RunId, limit: Duration) -> Result<Run, Problem> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Wait { id, reply }).await?;
        if let Some(ended) = answer.await.map_err(|_| stopping())?
            && let Ok(Ok(run)) = timeout(limit, ended).await
        {
            return Ok(run);
        }
        Ok(self.stored(id).await?.run)
    }

    /// A run with its steps and the runs that it has started.
    ///
    /// # Errors
    /// The run is unknown, or the history cannot be read.
    pub async fn run(&self, id: RunId) -> Result<RunDetail, Problem> {
        let run = self.stored(id).await?.run;
        let steps = self.0.ledger.steps(id).await.map_err(|error| history(&error))?;
        let filter = RunFilter { parent: Some(id), limit: CHILDREN, ..RunFilter::default() };
        let children = self.0.ledger.runs(filter).await.map_err(|error| history(&error))?;
        let mut children: Vec<_> = children.runs.into_iter().map(|run| run.id).collect();
        children.reverse();
        Ok(RunDetail { run, steps, children })
    }

    /// A page of runs.
    ///
    /// # Errors
    /// The cursor is invalid, or the history cannot be read.
    pub async fn runs(&self, filter: RunFilter) -> Result<RunPage, Problem> {
        self.0.ledger.runs(filter).await.map_err(|error| history(&error))
    }

    /// The lines of a run's log from the one with this index on, also those that are yet to come.
    ///
    /// # Errors
    /// The run is unknown, or the history cannot be read.
    pub async fn logs(&self, id: RunId, from: u64) -> Result<LogFollower, Problem> {
        // Before the look at the run: lines that come in between are noticed.
        let more = self.0.progress.follow(id);
        self.stored(id).await?;
        Ok(LogFollower { ledger: self.0.ledger.clone(), run: id, next: from, more })
    }

    /// A page of a run's log as it is now: at most `most` lines from the one with this index on.
    ///
    /// # Errors
    /// The run is unknown, or the history cannot be read.
    pub async fn log(&self, id: RunId, from: u64, most: usize) -> Result<RunLog, Problem> {
        // Before the lines: none comes after the end.
        let has_ended = self.stored(id).await?.run.state.is_end();
        let lines = self.0.ledger.log(id, from, most).await.map_err(|error| history(&error))?;
        let (next, is_end) = (after(from, &lines), has_ended && lines.len() < most);
        Ok(RunLog { lines, next, is_end })
    }

    /// Ends a run. It is not waited for.
    ///
    /// # Errors
    /// The run has ended, or is unknown.
    pub async fn cancel(&self, id: RunId, by: Option<String>) -> Result<Run, Problem> {
        self.stored(id).await?;
        let by = by.map(|by| format!(" by {by}")).unwrap_or_default();
        let error = RunError::new("cancelled", format!("it was cancelled{by}"));
        let (reply, answer) = oneshot::channel();
        self.send(Command::Cancel { id, error, reply }).await?;
        answer.await.map_err(|_| stopping())?
    }

    /// Runs the task of a run again, with the same parameters and input.
    ///
    /// # Errors
    /// As for [`Runs::start`]; the run is unknown, or has not ended.
    pub async fn retry(&self, id: RunId, options: RetryOptions) -> Result<Started, Problem> {
        let stored = self.ended(id).await?;
        let launch = Launch::read(&stored.input).unwrap_or_default();
        check_input(&stored, &launch)?;
        let used = stored.run.version.as_ref().map(|version| version.digest);
        let version = match options.version {
            Some(RunVersionChoice::Same) => used,
            Some(RunVersionChoice::Latest) => None,
            Some(RunVersionChoice::Digest(digest)) => Some(digest),
            None if stored.run.consistency == Consistency::Step => None,
            None => used,
        };
        self.start_with(again(&stored, &launch, options.by, version), None).await
    }

    /// Goes on with a run that did not succeed: the steps that it has finished are not run again.
    ///
    /// # Errors
    /// As for [`Runs::start`]; the run is unknown, has not ended, or succeeded; the step is unknown;
    /// the newest version does not have steps that were finished.
    pub async fn resume(&self, id: RunId, options: ResumeOptions) -> Result<Started, Problem> {
        let stored = self.ended(id).await?;
        if stored.run.state == RunState::Succeeded && options.from_step.is_none() {
            let detail =
                format!("the run {id} succeeded: name a step to go on from (from_step), or retry it");
            return Err(Problem::new(StatusCode::CONFLICT, "succeeded", detail));
        }
        let steps = self.0.ledger.steps(id).await.map_err(|error| history(&error))?;
        if let Some(from) = &options.from_step
            && !steps.iter().any(|step| step.name == *from)
        {
            let names: Vec<_> = steps.iter().map(|step| step.name.as_str()).collect();
            let detail = format!("the run {id} has no step {from:?}: it has {}", names.join(", "));
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "unknown-step", detail));
        }
        let launch = Launch::read(&stored.input).unwrap_or_default();
        check_input(&stored, &launch)?;
        let is_latest = options.latest || stored.run.consistency == Consistency::Step;
        if is_latest && stored.run.is_pipeline {
            let from = options.from_step.as_deref();
            let kept = steps.iter().take_while(|step| from.is_none_or(|from| step.name != from));
            let kept = kept.filter(|step| step.state == RunState::Succeeded).map(|step| &*step.name);
            self.check_steps(&stored, kept.chain(from))?;
        }
        let used = stored.run.version.as_ref().map(|version| version.digest);
        let start = again(&stored, &launch, options.by, used.filter(|_| !is_latest));
        let resumption = Resumption { run: id, from_step: options.from_step };
        self.start_with(start, Some(resumption)).await
    }

    /// # Errors
    /// The pipeline does not have these steps any more.
    fn check_steps<'s>(
        &self,
        stored: &StoredRun,
        needed: impl Iterator<Item = &'s str>,
    ) -> Result<(), Problem> {
        let Declared::Pipeline(_, spec) = self.declared(&stored.run.task)? else { return Ok(()) };
        let gone: Vec<_> = needed.filter(|name| !spec.steps.iter().any(|step| step.name == *name)).collect();
        if gone.is_empty() {
            return Ok(());
        }
        let detail = format!(
            "the newest version of {} does not have these steps, which are finished or to be gone on from: {}; resume with the version of the run \
             (latest = false), or start the pipeline anew",
            stored.run.task,
            gone.join(", ")
        );
        Err(Problem::new(StatusCode::CONFLICT, "steps-without-match", detail))
    }

    /// Removes a run that has ended, with its steps and its log.
    ///
    /// # Errors
    /// The run is unknown, or has not ended.
    pub async fn delete(&self, id: RunId) -> Result<(), Problem> {
        self.ended(id).await?;
        self.0.ledger.delete(id).await.map(drop).map_err(|error| history(&error))
    }

    /// Returns the reason why a task ran or did not run at a due time: the last one, unless another
    /// is named.
    ///
    /// # Errors
    /// The task is unknown, or the history cannot be read.
    pub async fn explain(
        &self,
        task: &TaskId,
        due_at: Option<Timestamp>,
    ) -> Result<TaskExplanation, Problem> {
        let declared = self.declared(task)?;
        let ledger = &self.0.ledger;
        let found = match due_at {
            Some(due_at) => ledger.occurrence(task, due_at).await,
            None => ledger.occurrences(task, 1).await.map(|all| all.into_iter().next()),
        };
        let found = found.map_err(|error| history(&error))?;
        let next = self.look(task).await.next;
        let reason = match (&found, due_at) {
            (Some(occurrence), _) => explained(occurrence),
            (None, Some(due_at)) => self.no_record(&declared, due_at),
            (None, None) => "no due time of it has passed".to_owned(),
        };
        Ok(TaskExplanation {
            task: task.clone(),
            due_at: found.as_ref().map(|occurrence| occurrence.due_at).or(due_at),
            outcome: found.as_ref().map(|occurrence| occurrence.outcome),
            reason,
            run: found.and_then(|occurrence| occurrence.run),
            next,
        })
    }

    fn no_record(&self, declared: &Declared, due_at: Timestamp) -> String {
        let triggers = triggers(declared);
        let schedules = triggers.iter().filter_map(|trigger| match trigger {
            TaskTrigger::Cron(cron) => Schedule::parse(cron).ok(),
            _ => None,
        });
        let before = due_at.checked_sub(jiff::SignedDuration::from_millis(1)).unwrap_or(due_at);
        let is_due = |schedule: &Schedule| schedule.next_after(before) == Some(due_at);
        let schedules: Vec<_> = schedules.collect();
        if schedules.is_empty() {
            return "no schedule starts it".to_owned();
        }
        if !schedules.iter().any(is_due) {
            return format!("{due_at} is no due time of its schedule");
        }
        if due_at > Timestamp::now() {
            return "the time is yet to come".to_owned();
        }
        "there is no record: the schedule was not known then, its record was pruned, or more times were missed than \
         are kept"
            .to_owned()
    }

    async fn overview(&self, id: &TaskId, declared: &Declared) -> TaskOverview {
        let TaskLook { under_way, waiting, next } = self.look(id).await;
        let filter = RunFilter { task: Some(id.clone()), limit: 1, ..RunFilter::default() };
        let last = self.0.ledger.runs(filter).await.unwrap_or_default();
        let (description, declared_in, enabled, is_pipeline) = match declared {
            Declared::Task(_, task) => {
                (task.description.clone(), task.declared_in.clone(), task.enabled, false)
            }
            Declared::Pipeline(_, task) => {
                (task.description.clone(), task.declared_in.clone(), task.enabled, true)
            }
        };
        TaskOverview {
            task: id.clone(),
            is_pipeline,
            description,
            declared_in,
            triggers: triggers(declared).to_vec(),
            enabled,
            version: declared.tasks().version.clone(),
            commit: declared.tasks().commit.clone(),
            next,
            under_way,
            waiting,
            last_run: last.runs.first().map(Into::into),
        }
    }

    /// The versions that the routers have live.
    fn versions(&self, id: &TaskId, declared: &Declared, spec: &str) -> Vec<RouterVersion> {
        let tasks = declared.tasks();
        let version = |live: TaskVersion| {
            let is_known = live.digest == tasks.digest.to_string() && live.hash == tasks.hash;
            is_known.then(|| RunVersion {
                name: tasks.version.clone(),
                digest: tasks.digest,
                spec: spec.to_owned(),
                commit: tasks.commit.clone(),
            })
        };
        let of_router = |router: &std::sync::Arc<crate::routers::Router>| RouterVersion {
            router: router.name().to_owned(),
            version: router
                .task_versions()
                .into_iter()
                .find(|live| live.project == id.project.as_str())
                .and_then(version),
        };
        self.0.routers.list().iter().map(of_router).collect()
    }

    async fn look(&self, task: &TaskId) -> TaskLook {
        let (reply, answer) = oneshot::channel();
        if self.send(Command::Look { task: task.clone(), reply }).await.is_err() {
            return TaskLook::default();
        }
        answer.await.unwrap_or_default()
    }

    fn declared(&self, id: &TaskId) -> Result<Declared, Problem> {
        self.0.catalog.find(id).ok_or_else(|| super::control::unknown_task(id))
    }

    async fn stored(&self, id: RunId) -> Result<StoredRun, Problem> {
        let found = self.0.ledger.run(id).await.map_err(|error| history(&error))?;
        found.ok_or_else(|| {
            let detail = format!("unknown run {id}: GET /runs lists those in the history");
            Problem::new(StatusCode::NOT_FOUND, "unknown-run", detail)
        })
    }

    async fn ended(&self, id: RunId) -> Result<StoredRun, Problem> {
        let stored = self.stored(id).await?;
        if stored.run.state.is_end() {
            return Ok(stored);
        }
        let detail = format!("the run {id} is {}: wait for its end, or cancel it", stored.run.state.as_str());
        Err(Problem::new(StatusCode::CONFLICT, "under-way", detail))
    }

    pub(super) async fn send(&self, command: Command) -> Result<(), Problem> {
        self.0.commands.send(command).await.map_err(|_| stopping())
    }
}

/// The index of the line after those that were read from `from` on.
fn after(from: u64, lines: &[RunLine]) -> u64 {
    from + lines.iter().map(RunLine::count).sum::<u64>()
}

/// The request for another run like `stored`.
fn again(
    stored: &StoredRun,
    launch: &Launch,
    by: Option<String>,
    version: Option<switchyard_contract::digest::Digest>,
) -> StartRun {
    StartRun {
        task: stored.run.task.clone(),
        trigger: RunTrigger::Manual,
        by,
        key: None,
        params: stored.run.params.clone(),
        input: launch.input.clone(),
        version,
        consistency: Some(stored.run.consistency),
        parent: Some(stored.run.id),
        force: false,
    }
}

/// # Errors
/// The run had an input that is not kept.
fn check_input(stored: &StoredRun, launch: &Launch) -> Result<(), Problem> {
    if !launch.input_dropped {
        return Ok(());
    }
    let detail = format!(
        "the input of the run {} is not kept, so it cannot be run again: start {} with its input, or set \
         \"keepInputs\": true in the task for later runs",
        stored.run.id, stored.run.task
    );
    Err(Problem::new(StatusCode::CONFLICT, "input-not-kept", detail))
}

fn triggers(declared: &Declared) -> &[TaskTrigger] {
    match declared {
        Declared::Task(_, task) => &task.triggers,
        Declared::Pipeline(_, pipeline) => &pipeline.triggers,
    }
}

/// The next due times of all schedules.
fn next_times(triggers: &[TaskTrigger]) -> Vec<Timestamp> {
    let mut times = Vec::new();
    for trigger in triggers {
        let TaskTrigger::Cron(cron) = trigger else { continue };
        let Ok(schedule) = Schedule::parse(cron) else { continue };
        let mut after = Timestamp::now();
        for _ in 0..NEXT_TIMES {
            let Some(next) = schedule.next_after(after) else { break };
            times.push(next);
            after = next;
        }
    }
    times.sort_unstable();
    times.truncate(NEXT_TIMES);
    times
}

fn explained(occurrence: &Occurrence) -> String {
    let due = occurrence.due_at;
    match occurrence.outcome {
        OccurrenceOutcome::Ran => format!("it ran for {due}"),
        outcome => {
            let reason = occurrence.reason.as_deref().unwrap_or("no reason is recorded");
            format!("{due} was {}: {reason}", outcome.as_str())
        }
    }
}

fn history(error: &LedgerError) -> Problem {
    match error {
        LedgerError::Cursor(_) => Problem::bad_request(error.to_string()),
        error => {
            let detail = format!("the history of runs cannot be read: {error}");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "history", detail).retry_after(10)
        }
    }
}

pub(super) fn stopping() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the bridge is stopping: try again in a moment")
        .retry_after(2)
}
