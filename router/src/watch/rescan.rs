//! The pause between two rescans of all projects: a project that causes lost events again and again
//! must not keep the router busy with reading all others.

use std::time::{Duration, Instant};

/// Minimum pause between two rescans...
const PAUSE: Duration = Duration::from_secs(1);

/// ... and what each project adds to it. Reading an unchanged project takes a millisecond or two.
const PAUSE_EACH: Duration = Duration::from_millis(10);

/// The time of the next rescan, and of the last one.
#[derive(Debug, Default)]
pub(super) struct RescanTimer {
    due: Option<Instant>,
    last: Option<Instant>,
}

impl RescanTimer {
    /// Schedules a rescan of this number of `projects`. Returns `false` if one was scheduled
    /// already.
    pub(super) fn request(&mut self, projects: usize, now: Instant) -> bool {
        if self.due.is_some() {
            return false;
        }
        let pause = PAUSE + PAUSE_EACH * u32::try_from(projects).unwrap_or(u32::MAX);
        self.due = Some(self.last.map_or(now, |last| now.max(last + pause)));
        true
    }

    /// Time of the next rescan, if one is scheduled.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Returns `true` if a rescan is due, which then counts as done.
    pub(super) fn take_due(&mut self, now: Instant) -> bool {
        let is_due = self.due.is_some_and(|due| due <= now);
        if is_due {
            self.due = None;
            self.last = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_that_are_lost_again_and_again_do_not_cause_a_rescan_each_time() {
        let mut timer = RescanTimer::default();
        let now = Instant::now();
        assert!(timer.request(100, now));
        assert!(!timer.request(100, now), "one is scheduled already");
        assert!(timer.take_due(now), "the first one is due at once");
        assert!(timer.request(100, now) && !timer.take_due(now + PAUSE));
        assert_eq!(timer.due(), Some(now + PAUSE + 100 * PAUSE_EACH));
        assert!(timer.take_due(now + 2 * PAUSE));
    }
}
