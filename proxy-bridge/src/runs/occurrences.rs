//! Due times that have come: each is recorded once, with the run that it starts or the reason for which
//! it starts none.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::accept::scheduled;
use super::active::Phase;
use super::command::{Claimed, Done};
use super::control::Control;
use super::timetable::Due;
use crate::ledger::{ScheduleState, StoredRun};
use crate::schedule::Decision;
use crate::tasks::Declared;
use switchyard_contract::run::{Occurrence, OccurrenceOutcome, RunId};
use switchyard_contract::task::{CronTrigger, Overlap, PipelineSpec, TaskId, TaskSpec, TaskTrigger};

fn cron(triggers: &[TaskTrigger]) -> Option<&CronTrigger> {
    triggers.iter().find_map(|trigger| match trigger {
        TaskTrigger::Cron(cron) => Some(cron),
        _ => None,
    })
}

impl Control {
    /// Follows the schedules of the tasks that are known now.
    pub(super) fn update_timetable(&mut self) {
        let now = Timestamp::now();
        let catalog = self.shared.catalog.all();
        let (mut known, mut changes) = (BTreeSet::new(), Vec::new());
        for tasks in catalog.values() {
            let of_task = |task: &TaskSpec| {
                (task.name.clone(), cron(&task.triggers).cloned(), task.overlap, task.enabled)
            };
            let of_pipeline = |task: &PipelineSpec| {
                (task.name.clone(), cron(&task.triggers).cloned(), task.overlap, task.enabled)
            };
            let all = tasks.set.tasks.iter().map(of_task).chain(tasks.set.pipelines.iter().map(of_pipeline));
            for (name, trigger, overlap, enabled) in all {
                let Some(trigger) = trigger.filter(|_| enabled) else { continue };
                let task = TaskId::new(&tasks.project, &name);
                changes.push((task.clone(), trigger, overlap));
                known.insert(task);
            }
        }
        for task in self.timetable.keep(&known) {
            self.drop_schedule(task);
        }
        for (task, trigger, overlap) in changes {
            let (due, state) = self.timetable.put(&task, &trigger, overlap, now);
            due.into_iter().for_each(|due| self.occurrence_due(due));
            if let Some(state) = state {
                self.keep_schedule(state);
            }
        }
    }

    /// Starts what is due.
    pub(super) fn occurrences_due(&mut self) {
        let due = self.timetable.due(Timestamp::now());
        due.into_iter().for_each(|due| self.occurrence_due(due));
    }

    /// Records one due time, with the run that it starts.
    fn occurrence_due(&mut self, due: Due) {
        let Due { task, at, overlap, missed } = due;
        let Some(declared) = self.shared.catalog.find(&task) else { return };
        let record = |outcome, run, reason: Option<&str>| Occurrence {
            task: task.clone(),
            due_at: at,
            outcome,
            run,
            reason: reason.map(str::to_owned),
        };
        if missed.is_some() {
            return self.claim(record(OccurrenceOutcome::Missed, None, missed), None, Vec::new());
        }
        let (cancel, alone) = match self.on_due(overlap, &task) {
            Decision::Skip { in_the_way } => {
                let waited = self.active.waiting(&task).any(|id| id == in_the_way);
                let was = if waited { "waited for its turn" } else { "was under way" };
                let rule = if overlap == Overlap::Queue { "queue" } else { "skip" };
                let reason = format!("a run of the task {was} then, and overlap is \"{rule}\"");
                let record = record(OccurrenceOutcome::Skipped, Some(in_the_way), Some(&reason));
                return self.claim(record, None, Vec::new());
            }
            Decision::Start => (Vec::new(), false),
            Decision::Queue => (Vec::new(), true),
            Decision::Replace { cancel } => (cancel, true),
        };
        if self.is_queue_full(&task, &declared) {
            let reason = "too many runs of the project waited then (run_queue in the policy)";
            return self.claim(record(OccurrenceOutcome::Skipped, None, Some(reason)), None, Vec::new());
        }
        let (mut stored, mut launch) = scheduled(&declared, &task, at, alone);
        self.assign(&mut stored, &mut launch);
        let id = stored.run.id;
        self.insert(stored.clone(), launch, Phase::Accepting(None));
        self.claim(record(OccurrenceOutcome::Ran, Some(id), None), Some(stored), cancel);
    }

    fn is_queue_full(&self, task: &TaskId, declared: &Declared) -> bool {
        self.waiting_of(&task.project) >= declared.tasks().limits.queue as usize
    }

    /// Has a due time recorded. `cancel`: the runs that its run replaces.
    fn claim(&mut self, occurrence: Occurrence, run: Option<StoredRun>, cancel: Vec<RunId>) {
        let ledger = self.shared.ledger.clone();
        let id = run.as_ref().map(|run| run.run.id);
        self.work.spawn(async move {
            let result = ledger.claim(occurrence.clone(), run).await;
            Done::Claimed(Box::new(Claimed { occurrence, run: id, cancel, result }))
        });
    }

    /// Takes the result of a record.
    pub(super) fn claimed(&mut self, claimed: Claimed) {
        let Claimed { occurrence, run, cancel, result } = claimed;
        let (task, due) = (&occurrence.task, occurrence.due_at);
        let state = match &result {
            Ok(is_new) => {
                if *is_new {
                    self.shared.metrics.occurrence(occurrence.outcome);
                    log_occurrence(&occurrence);
                }
                self.timetable.recorded(task, due)
            }
            Err(error) => {
                let first = self.timetable.not_recorded(task, due, error.to_string(), Timestamp::now());
                if first.is_some() {
                    tracing::error!(
                        task = %task,
                        due = %due,
                        "a due time cannot be recorded, so nothing is started yet: {error}"
                    );
                }
                first
            }
        };
        self.shared.metrics.unrecorded(self.timetable.tasks_unrecorded());
        if let Some(state) = state {
            self.keep_schedule(state);
        }
        let Some(id) = run else { return };
        match result {
            Ok(true) => {
                cancel.into_iter().for_each(|other| self.replace(other, id));
                self.active.set_phase(id, Phase::Queued { not_before: None });
                self.apply_cancellation(id);
            }
            // Recorded before, by this process or by another one; or tried again later.
            Ok(false) | Err(_) => self.forget(id),
        }
    }

    fn keep_schedule(&mut self, state: ScheduleState) {
        let ledger = self.shared.ledger.clone();
        self.work.spawn(async move {
            if let Err(error) = ledger.put_schedule(state).await {
                tracing::warn!("the state of a schedule is not kept: {error}");
            }
            Done::Nothing
        });
    }

    fn drop_schedule(&mut self, task: TaskId) {
        let ledger = self.shared.ledger.clone();
        self.work.spawn(async move {
            if let Err(error) = ledger.drop_schedule(task).await {
                tracing::warn!("the state of a schedule that is gone is kept: {error}");
            }
            Done::Nothing
        });
    }
}

fn log_occurrence(occurrence: &Occurrence) {
    let Occurrence { task, due_at, outcome, run, reason } = occurrence;
    let run = run.map(|run| run.to_string());
    match outcome {
        OccurrenceOutcome::Ran => {
            tracing::debug!(event = "run.due", task = %task, due = %due_at, run, "{task} is due");
        }
        _ => tracing::info!(
            event = format!("run.{}", outcome.as_str()),
            task = %task,
            due = %due_at,
            run,
            "{task} was not started at {due_at}: {}",
            reason.as_deref().unwrap_or("no reason")
        ),
    }
}
