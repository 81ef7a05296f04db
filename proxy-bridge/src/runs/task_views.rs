//! Tasks and pipelines as callers see them: what is declared, what runs, what is due and what became of
//! due times.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use switchyard_tasks::schedule::Schedule;

use super::Runs;
use super::command::TaskLook;
use super::handle::history;
use crate::routers::{Router, TaskVersion};
use crate::tasks::Declared;
use switchyard_contract::run::{Occurrence, OccurrenceOutcome, Run, RunFilter, RunVersion};
use switchyard_contract::task::{TaskId, TaskTrigger};
use switchyard_contract::task_overview::{
    DeclaredSpec, RouterVersion, TaskDetail, TaskExplanation, TaskOverview,
};
use switchyard_edge::problem::Problem;

/// Due times and records in the detail of a task.
const NEXT_TIMES: usize = 5;
const RECORDS: u32 = 10;

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
    /// The task is unknown, or the history cannot be read.
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
        // A clock that was set back comes to times that have their records.
        let recorded = occurrences.first().map(|newest| newest.due_at);
        let after = recorded.unwrap_or_default().max(Timestamp::now());
        let next_times = if overview.enabled { next_times(&overview.triggers, after) } else { Vec::new() };
        Ok(TaskDetail {
            next_times,
            versions: self.versions(id, &declared, &spec_hash),
            overview,
            spec,
            spec_hash,
            occurrences,
            limits: declared.tasks().limits,
        })
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
        let TaskLook { next, unrecorded, .. } = self.look(task).await;
        // The last one that has come.
        let due_at = due_at.or(unrecorded.as_ref().map(|unrecorded| unrecorded.due));
        let found = match due_at {
            Some(due_at) => ledger.occurrence(task, due_at).await,
            None => ledger.occurrences(task, 1).await.map(|all| all.into_iter().next()),
        };
        let found = found.map_err(|error| history(&error))?;
        let unrecorded = unrecorded.filter(|first| due_at.is_some_and(|due_at| due_at >= first.due));
        let reason = match (&found, due_at) {
            (Some(occurrence), _) => self.explained(occurrence).await?,
            (None, Some(due_at)) if due_at <= Timestamp::now() && unrecorded.is_some() => {
                let why = unrecorded.map(|unrecorded| unrecorded.why).unwrap_or_default();
                format!("it cannot be recorded yet, so nothing was started; it is tried again: {why}")
            }
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

    /// The record of a due time in words that are true now.
    async fn explained(&self, occurrence: &Occurrence) -> Result<String, Problem> {
        let due = occurrence.due_at;
        let Some(id) = occurrence.run.filter(|_| occurrence.outcome == OccurrenceOutcome::Ran) else {
            let reason = occurrence.reason.as_deref().unwrap_or("no reason is recorded");
            return Ok(format!("{due} was {}: {reason}", occurrence.outcome.as_str()));
        };
        let run = self.0.ledger.run(id).await.map_err(|error| history(&error))?;
        Ok(match run.map(|run| run.run.state) {
            Some(state) if state.is_end() => {
                format!("a run was started for {due}, and ended as {}", state.as_str())
            }
            Some(state) => format!("a run was accepted for {due}, and is {}", state.as_str()),
            None => format!("a run was accepted for {due}; it is not in the history any more"),
        })
    }

    fn no_record(&self, declared: &Declared, due_at: Timestamp) -> String {
        let triggers = declared.triggers();
        let schedules = triggers.iter().filter_map(|trigger| match trigger {
            TaskTrigger::Cron(cron) => Schedule::parse(cron).ok(),
            _ => None,
        });
        let before = due_at.checked_sub(SignedDuration::from_millis(1)).unwrap_or(due_at);
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
        let TaskLook { under_way, waiting, next, .. } = self.look(id).await;
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
            triggers: declared.triggers().to_vec(),
            enabled,
            version: declared.tasks().version.clone(),
            commit: declared.tasks().commit.clone(),
            next,
            under_way,
            waiting,
            last_run: last.runs.into_iter().next().map(Run::listed),
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
        let of_router = |router: &Arc<Router>| RouterVersion {
            router: router.name().to_owned(),
            version: router
                .task_versions()
                .into_iter()
                .find(|live| live.project == id.project.as_str())
                .and_then(version),
        };
        self.0.routers.list().iter().map(of_router).collect()
    }
}

/// The next due times of all schedules after a time.
fn next_times(triggers: &[TaskTrigger], after: Timestamp) -> Vec<Timestamp> {
    let mut times = Vec::new();
    for trigger in triggers {
        let TaskTrigger::Cron(cron) = trigger else { continue };
        let Ok(schedule) = Schedule::parse(cron) else { continue };
        let mut after = after;
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
