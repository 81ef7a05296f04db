//! The due times of all schedules: which one is next, and which have come.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use switchyard_tasks::schedule::Schedule;

use crate::ledger::ScheduleState;
use crate::schedule::{ClockChange, ClockWatch, catch_up, jitter};
use switchyard_contract::task::{CatchUp, CronTrigger, Overlap, TaskId};

/// The longest sleep while a schedule waits: a change of the clock is noticed by then.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// A due time that is reached later than this was missed, and the task's rule for missed times
/// applies.
const MISSED_AFTER: SignedDuration = SignedDuration::from_secs(60);

/// Due times within [`MISSED_AFTER`] that are acted on at once: one for each second.
const MOST_AT_ONCE: usize = 61;

/// All schedules.
pub(super) struct Timetable {
    entries: BTreeMap<TaskId, Entry>,
    /// The next time of each entry, with the pause that its jitter adds.
    order: BTreeSet<(Timestamp, TaskId)>,
    /// The schedules of an earlier process, until the tasks are known again.
    stored: BTreeMap<TaskId, ScheduleState>,
    clock: ClockWatch,
}

struct Entry {
    schedule: Schedule,
    trigger: CronTrigger,
    overlap: Overlap,
    /// The hash of the trigger.
    hash: String,
    /// Due times up to this one have their records.
    settled: Timestamp,
    next: Option<Timestamp>,
}

/// A due time that has come.
pub(super) struct Due {
    pub(super) task: TaskId,
    pub(super) at: Timestamp,
    pub(super) overlap: Overlap,
    /// `true`: it was missed, and nothing is started for it.
    pub(super) is_missed: bool,
}

impl Timetable {
    pub(super) fn new(stored: Vec<ScheduleState>, now: Timestamp) -> Self {
        Self {
            entries: BTreeMap::new(),
            order: BTreeSet::new(),
            stored: stored.into_iter().map(|state| (state.task.clone(), state)).collect(),
            clock: ClockWatch::new(now, Instant::now()),
        }
    }

    /// The next due time of a task.
    pub(super) fn next(&self, task: &TaskId) -> Option<Timestamp> {
        self.entries.get(task)?.next
    }

    /// The time until the next due time, or until the clock is looked at again. `None`: nothing is
    /// scheduled.
    pub(super) fn next_wake(&self, now: Timestamp) -> Option<Duration> {
        let (at, _) = self.order.first()?;
        Some(Duration::try_from(at.duration_since(now)).unwrap_or_default().min(LONGEST_SLEEP))
    }

    /// Puts the schedule of a task in place of the one before. A changed schedule starts from now.
    /// Returns the due times that have passed meanwhile, and the state to be kept.
    pub(super) fn put(
        &mut self,
        task: &TaskId,
        trigger: &CronTrigger,
        overlap: Overlap,
        now: Timestamp,
    ) -> (Vec<Due>, Option<ScheduleState>) {
        let hash = hash(trigger);
        let stored = self.stored.remove(task);
        if let Some(entry) = self.entries.get_mut(task).filter(|entry| entry.hash == hash) {
            entry.overlap = overlap;
            return (Vec::new(), None);
        }
        let Ok(schedule) = Schedule::parse(trigger) else {
            // The build of a version refuses such a schedule.
            tracing::warn!(task = %task, "an invalid schedule of {task} is not followed");
            self.remove(task);
            return (Vec::new(), None);
        };
        let is_new = !self.entries.contains_key(task);
        let kept = stored.filter(|stored| is_new && stored.spec == hash).map(|stored| stored.settled);
        let mut entry = Entry {
            schedule,
            trigger: trigger.clone(),
            overlap,
            hash,
            settled: kept.unwrap_or(now),
            next: None,
        };
        let due = match kept {
            Some(_) => entry.caught_up(task, now),
            None => Vec::new(),
        };
        let state = entry.state(task);
        self.remove(task);
        self.entries.insert(task.clone(), entry);
        self.arm(task);
        (due, Some(state))
    }

    /// Forgets the schedules of tasks that are not among `known`. Returns their tasks.
    pub(super) fn keep(&mut self, known: &BTreeSet<TaskId>) -> Vec<TaskId> {
        let gone: Vec<_> = self.entries.keys().filter(|task| !known.contains(*task)).cloned().collect();
        gone.iter().for_each(|task| self.remove(task));
        gone
    }

    fn remove(&mut self, task: &TaskId) {
        self.entries.remove(task);
        self.order.retain(|(_, other)| other != task);
    }

    /// The due times that have come by now, and the states to be kept.
    pub(super) fn due(&mut self, now: Timestamp) -> (Vec<Due>, Vec<ScheduleState>) {
        let change = self.clock.observe(now, Instant::now());
        if matches!(change, ClockChange::Back(_)) {
            self.start_from(now);
        }
        let jumped = matches!(change, ClockChange::Forward(_));
        let mut tasks = Vec::new();
        while self.order.first().is_some_and(|(at, _)| *at <= now) {
            tasks.extend(self.order.pop_first().map(|(_, task)| task));
        }
        let (mut due, mut states) = (Vec::new(), Vec::new());
        for task in tasks {
            let Some(entry) = self.entries.get_mut(&task) else { continue };
            due.extend(entry.come(&task, now, jumped));
            states.push(entry.state(&task));
            self.arm(&task);
        }
        (due, states)
    }

    /// Goes on from `now`, to which the clock was put back. Due times that had passed before have
    /// their records, so nothing runs twice.
    fn start_from(&mut self, now: Timestamp) {
        let tasks: Vec<_> = self.entries.keys().cloned().collect();
        self.order.clear();
        for task in tasks {
            if let Some(entry) = self.entries.get_mut(&task) {
                entry.settled = entry.settled.min(now);
            }
            self.arm(&task);
        }
    }

    /// Sets the next time of a task.
    fn arm(&mut self, task: &TaskId) {
        let Some(entry) = self.entries.get_mut(task) else { return };
        entry.next = entry.schedule.next_after(entry.settled);
        if let Some(next) = entry.next {
            let pause = jitter(task, next, Duration::from_millis(entry.trigger.jitter_ms));
            let pause = SignedDuration::try_from(pause).unwrap_or_default();
            self.order.insert((next.saturating_add(pause).unwrap_or(next), task.clone()));
        }
    }
}

impl Entry {
    fn state(&self, task: &TaskId) -> ScheduleState {
        ScheduleState { task: task.clone(), spec: self.hash.clone(), settled: self.settled }
    }

    /// The times that have come since the last ones.
    fn come(&mut self, task: &TaskId, now: Timestamp, jumped: bool) -> Vec<Due> {
        let is_late = self.next.is_some_and(|next| now.duration_since(next) > MISSED_AFTER);
        if is_late || jumped {
            return self.caught_up(task, now);
        }
        let times = self.schedule.between(self.settled, now, MOST_AT_ONCE);
        self.settled = times.last().copied().unwrap_or(self.settled).max(self.settled);
        times.into_iter().map(|at| self.occurrence(task, at, false)).collect()
    }

    /// The times that were missed, by the task's rule for them.
    fn caught_up(&mut self, task: &TaskId, now: Timestamp) -> Vec<Due> {
        let caught_up = catch_up(&self.schedule, self.trigger.catch_up, self.settled, now);
        self.settled = self.settled.max(now);
        let missed = caught_up.missed.into_iter().map(|at| self.occurrence(task, at, true));
        let run = caught_up.run.into_iter().map(|at| {
            // Each of them is wanted, also if they take longer than their period.
            let overlap = if self.trigger.catch_up == CatchUp::All { Overlap::Allow } else { self.overlap };
            Due { overlap, ..self.occurrence(task, at, false) }
        });
        missed.chain(run).collect()
    }

    fn occurrence(&self, task: &TaskId, at: Timestamp, is_missed: bool) -> Due {
        Due { task: task.clone(), at, overlap: self.overlap, is_missed }
    }
}

/// The hash of a trigger: a changed schedule is another one.
fn hash(trigger: &CronTrigger) -> String {
    serde_json::to_string(&(&trigger.schedules, &trigger.zone, trigger.sunday_is_one))
        .expect("it is plain data")
}
