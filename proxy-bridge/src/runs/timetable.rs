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

/// The pause before due times are tried again that could not be recorded.
const RECORD_AGAIN: SignedDuration = SignedDuration::from_secs(5);

/// The reasons why nothing was started for a due time that was missed.
const AWAY: &str = "nobody was there to start it: the bridge was away";
const NOT_RECORDED: &str = "the history could not be written then, so nothing was started";

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
    /// The first due time that could not be recorded, until it is tried again.
    unrecorded: Option<Unrecorded>,
}

/// A due time that could not be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unrecorded {
    pub(super) due: Timestamp,
    pub(super) why: String,
}

/// A due time that has come.
pub(super) struct Due {
    pub(super) task: TaskId,
    pub(super) at: Timestamp,
    pub(super) overlap: Overlap,
    /// The reason why it was missed, and nothing is started for it.
    pub(super) missed: Option<&'static str>,
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
    /// Returns the due times that have passed meanwhile, and the state to be kept if there are none.
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
            unrecorded: None,
        };
        let due = match kept {
            Some(_) => entry.caught_up(task, now, AWAY),
            None => Vec::new(),
        };
        let state = due.is_empty().then(|| entry.state(task, entry.settled));
        self.remove(task);
        self.entries.insert(task.clone(), entry);
        self.arm(task);
        (due, state)
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

    /// The due times that have come by now.
    pub(super) fn due(&mut self, now: Timestamp) -> Vec<Due> {
        let change = self.clock.observe(now, Instant::now());
        if matches!(change, ClockChange::Back(_)) {
            self.start_from(now);
        }
        let jumped = matches!(change, ClockChange::Forward(_));
        let mut tasks = Vec::new();
        while self.order.first().is_some_and(|(at, _)| *at <= now) {
            tasks.extend(self.order.pop_first().map(|(_, task)| task));
        }
        let mut due = Vec::new();
        for task in tasks {
            let Some(entry) = self.entries.get_mut(&task) else { continue };
            due.extend(entry.come(&task, now, jumped));
            self.arm(&task);
        }
        due
    }

    /// Notes that a due time has its record. Returns the state to be kept: times before one that could
    /// not be recorded are settled, later ones are not.
    pub(super) fn recorded(&self, task: &TaskId, due: Timestamp) -> Option<ScheduleState> {
        let entry = self.entries.get(task)?;
        Some(entry.state(task, entry.settled.min(due)))
    }

    /// Has a due time that could not be recorded come again, after a pause. The task's rule for missed
    /// times applies once it is late. Returns the state to be kept, if it is the first one.
    pub(super) fn not_recorded(
        &mut self,
        task: &TaskId,
        due: Timestamp,
        why: String,
        now: Timestamp,
    ) -> Option<ScheduleState> {
        let entry = self.entries.get_mut(task)?;
        let is_first = entry.unrecorded.is_none();
        if entry.unrecorded.as_ref().is_none_or(|first| due < first.due) {
            entry.unrecorded = Some(Unrecorded { due, why });
            entry.next = Some(due);
        }
        let before = due.saturating_sub(SignedDuration::from_millis(1)).unwrap_or(due);
        entry.settled = entry.settled.min(before);
        let state = entry.state(task, entry.settled);
        self.order.retain(|(_, other)| other != task);
        self.order.insert((now.saturating_add(RECORD_AGAIN).unwrap_or(now), task.clone()));
        is_first.then_some(state)
    }

    /// The first due time of a task that could not be recorded.
    pub(super) fn unrecorded(&self, task: &TaskId) -> Option<Unrecorded> {
        self.entries.get(task)?.unrecorded.clone()
    }

    /// The number of tasks with due times that could not be recorded.
    pub(super) fn tasks_unrecorded(&self) -> usize {
        self.entries.values().filter(|entry| entry.unrecorded.is_some()).count()
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
    fn state(&self, task: &TaskId, settled: Timestamp) -> ScheduleState {
        ScheduleState { task: task.clone(), spec: self.hash.clone(), settled }
    }

    /// The times that have come since the last ones.
    fn come(&mut self, task: &TaskId, now: Timestamp, jumped: bool) -> Vec<Due> {
        let why = self.unrecorded.take().map_or(AWAY, |_| NOT_RECORDED);
        let is_late = self.next.is_some_and(|next| now.duration_since(next) > MISSED_AFTER);
        if is_late || jumped {
            return self.caught_up(task, now, why);
        }
        let times = self.schedule.between(self.settled, now, MOST_AT_ONCE);
        self.settled = times.last().copied().unwrap_or(self.settled).max(self.settled);
        times.into_iter().map(|at| self.occurrence(task, at, None)).collect()
    }

    /// The times that were missed, by the task's rule for them.
    fn caught_up(&mut self, task: &TaskId, now: Timestamp, why: &'static str) -> Vec<Due> {
        let caught_up = catch_up(&self.schedule, self.trigger.catch_up, self.settled, now);
        self.settled = self.settled.max(now);
        let missed = caught_up.missed.into_iter().map(|at| self.occurrence(task, at, Some(why)));
        let run = caught_up.run.into_iter().map(|at| {
            // Each of them is wanted, also if they take longer than their period.
            let overlap = if self.trigger.catch_up == CatchUp::All { Overlap::Allow } else { self.overlap };
            Due { overlap, ..self.occurrence(task, at, None) }
        });
        missed.chain(run).collect()
    }

    fn occurrence(&self, task: &TaskId, at: Timestamp, missed: Option<&'static str>) -> Due {
        Due { task: task.clone(), at, overlap: self.overlap, missed }
    }
}

/// The hash of a trigger: a changed schedule is another one.
fn hash(trigger: &CronTrigger) -> String {
    serde_json::to_string(&(&trigger.schedules, &trigger.zone, trigger.sunday_is_one))
        .expect("it is plain data")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A timetable with one task, which is due each minute, and the minutes from its start on.
    fn each_minute(catch_up: &str) -> (Timetable, TaskId, impl Fn(i64) -> Timestamp) {
        let start: Timestamp = "2026-03-01T08:00:00Z".parse().unwrap();
        let minute = move |n: i64| start + SignedDuration::from_mins(n);
        let mut timetable = Timetable::new(Vec::new(), start);
        let trigger: CronTrigger = serde_json::from_value(
            json!({ "schedules": ["* * * * *"], "zone": "UTC", "catch_up": catch_up }),
        )
        .unwrap();
        let task: TaskId = "shop:import".parse().unwrap();
        timetable.put(&task, &trigger, Overlap::Allow, start);
        (timetable, task, minute)
    }

    fn times(due: &[Due], is_missed: bool) -> Vec<Timestamp> {
        due.iter().filter(|due| due.missed.is_some() == is_missed).map(|due| due.at).collect()
    }

    #[test]
    fn a_due_time_that_could_not_be_recorded_comes_again_soon() {
        let (mut timetable, task, minute) = each_minute("one");
        assert_eq!(times(&timetable.due(minute(1)), false), [minute(1)]);
        let kept = timetable.not_recorded(&task, minute(1), "full".to_owned(), minute(1)).unwrap();
        assert!(kept.settled < minute(1));
        assert_eq!(timetable.unrecorded(&task).unwrap().due, minute(1));
        assert!(timetable.due(minute(1)).is_empty(), "after a pause");
        let later = minute(1) + RECORD_AGAIN;
        assert_eq!(times(&timetable.due(later), false), [minute(1)]);
        assert_eq!(timetable.recorded(&task, minute(1)).unwrap().settled, minute(1));
        assert_eq!((timetable.tasks_unrecorded(), timetable.next(&task)), (0, Some(minute(2))));
    }

    #[test]
    fn due_times_that_could_not_be_recorded_for_long_are_caught_up_by_the_rule() {
        let (mut timetable, task, minute) = each_minute("one");
        timetable.due(minute(1));
        timetable.not_recorded(&task, minute(1), "full".to_owned(), minute(4));
        let due = timetable.due(minute(5));
        assert_eq!(times(&due, true), (1..=4).map(&minute).collect::<Vec<_>>());
        assert_eq!(times(&due, false), [minute(5)]);
        assert!(due[0].missed.is_some_and(|why| why.contains("history")));
    }

    #[test]
    fn the_state_that_is_kept_does_not_pass_a_due_time_without_a_record() {
        let (mut timetable, task, minute) = each_minute("one");
        timetable.due(minute(1));
        timetable.not_recorded(&task, minute(1), "full".to_owned(), minute(1));
        // A later one got its record before.
        assert!(timetable.recorded(&task, minute(2)).unwrap().settled < minute(1));
    }
}
