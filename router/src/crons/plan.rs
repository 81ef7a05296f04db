//! Due times of crons. Pure: the time is passed in.

use jiff::{SignedDuration, Timestamp};
use switchyard_tasks::schedule::Schedule;

use crate::live::{LiveCron, cron_trigger};

/// A step of the clock back to which more is due again. Smaller ones, as of a clock that is being
/// set, repeat nothing.
const LARGE_STEP: SignedDuration = SignedDuration::from_hours(1);

/// The crons of live versions, with their schedules, and the time up to which they are settled.
#[derive(Debug)]
pub(super) struct CronPlan {
    crons: Vec<(LiveCron, Schedule)>,
    settled: Timestamp,
}

impl CronPlan {
    /// Leaves out crons whose schedules are not valid here: the log has said so.
    pub(super) fn new(crons: Vec<LiveCron>, now: Timestamp) -> Self {
        let parse = |live: LiveCron| {
            let schedule = Schedule::parse(&cron_trigger(&live.cron)).ok()?;
            Some((live, schedule))
        };
        Self { crons: crons.into_iter().filter_map(parse).collect(), settled: now }
    }

    /// The earliest due time that is not settled.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.crons.iter().filter_map(|(_, schedule)| schedule.next_after(self.settled)).min()
    }

    /// Takes the crons that have become due, each once however often it was due.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Vec<LiveCron> {
        if now < self.settled {
            if self.settled.duration_since(now) > LARGE_STEP {
                self.settled = now;
            }
            return Vec::new();
        }
        let is_due = |schedule: &Schedule| schedule.next_after(self.settled).is_some_and(|due| due <= now);
        let due = self.crons.iter().filter(|(_, schedule)| is_due(schedule));
        let due = due.map(|(live, _)| live.clone()).collect();
        self.settled = now;
        due
    }
}

#[cfg(test)]
mod tests {
    use switchyard_contract::digest::Digest;
    use switchyard_contract::project::ProjectName;
    use switchyard_protocol::CronRegistration;

    use super::*;
    use crate::version::{Tenant, Version};

    fn cron(name: &str, schedule: &str) -> LiveCron {
        let tenant = Tenant::first(&ProjectName::parse("blog").unwrap());
        let version = Version::new(&tenant, Digest::of_files([("a", [0; 32])]));
        let (name, schedule) = (name.to_owned(), schedule.to_owned());
        LiveCron { version, cron: CronRegistration { name, schedule, backoff_ms: None } }
    }

    fn at(time: &str) -> Timestamp {
        format!("2026-11-29T{time}Z").parse().unwrap()
    }

    fn names(due: Vec<LiveCron>) -> Vec<String> {
        due.into_iter().map(|live| live.cron.name).collect()
    }

    #[test]
    fn a_cron_is_due_once_at_each_of_its_times() {
        let crons = vec![cron("hour", "0 * * * *"), cron("minute", "* * * * *"), cron("bad", "x")];
        let mut plan = CronPlan::new(crons, at("11:59:30"));
        assert_eq!(plan.next(), Some(at("12:00:00")));
        assert!(plan.take_due(at("11:59:59")).is_empty());
        assert_eq!(names(plan.take_due(at("12:00:00"))), ["hour", "minute"]);
        assert!(plan.take_due(at("12:00:30")).is_empty());
        assert_eq!(names(plan.take_due(at("12:03:00"))), ["minute"], "three times were missed");
    }

    #[test]
    fn a_clock_that_is_set_back_a_little_repeats_nothing() {
        let mut plan = CronPlan::new(vec![cron("a", "*/10 * * * *")], at("11:59:00"));
        assert_eq!(names(plan.take_due(at("12:00:01"))), ["a"]);
        assert!(plan.take_due(at("11:59:00")).is_empty());
        assert!(plan.take_due(at("12:00:30")).is_empty());
        assert!(plan.take_due(at("09:55:00")).is_empty());
        assert_eq!(names(plan.take_due(at("10:00:00"))), ["a"], "two hours are another day's work");
    }
}
