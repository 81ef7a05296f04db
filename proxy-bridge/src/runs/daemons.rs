//! Daemons as the control has them in memory, and when each is started again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use switchyard_contract::run::{Run, RunState};
use switchyard_contract::task::{Restart, TaskId};

/// The pauses before a daemon is started again that keeps failing: doubled with each failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Failures in a row after which a daemon is not started again until its code changes.
const MOST_FAILURES: u32 = 8;

/// A daemon that has run this long has not failed at once: its failures are counted anew.
const GOOD_AFTER: Duration = Duration::from_secs(60);

/// All daemons.
#[derive(Default)]
pub(super) struct Daemons(pub(super) BTreeMap<TaskId, Daemon>);

/// A daemon.
#[derive(Default)]
pub(super) struct Daemon {
    /// The version and the specification that it runs, or will run.
    pub(super) code: String,
    pub(super) restart: Restart,
    pub(super) failures: u32,
    pub(super) began: Option<Instant>,
    /// The time of its next start. `None`: it runs, or is stopped.
    pub(super) start_at: Option<Instant>,
}

impl Daemons {
    /// The time until the next start.
    pub(super) fn next(&self, now: Instant) -> Option<Duration> {
        self.0.values().filter_map(|daemon| daemon.start_at).min().map(|at| at.saturating_duration_since(now))
    }
}

impl Daemon {
    /// Takes the end of its run: another one follows after a pause, if its rule says so.
    pub(super) fn restart_after(&mut self, run: &Run, now: Instant) {
        let failed = run.state != RunState::Succeeded;
        let wanted = match self.restart {
            Restart::Always => true,
            Restart::OnFailure => failed,
            Restart::Never => false,
        };
        if !wanted {
            return;
        }
        if self.began.is_some_and(|began| now.duration_since(began) > GOOD_AFTER) {
            self.failures = 0;
        }
        // One that ends well at once is no better: it would run in a loop.
        self.failures += 1;
        if self.failures >= MOST_FAILURES {
            tracing::error!(
                event = "task.stopped",
                task = %run.task,
                "the daemon {} ended {MOST_FAILURES} times within a minute of its start: it is started again by new \
                 code, or by hand (switchyard task run)",
                run.task
            );
            return;
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << (self.failures - 1).min(16)).min(LONGEST_PAUSE);
        self.start_at = Some(now + pause);
    }
}

#[cfg(test)]
mod tests {
    use switchyard_contract::run::RunTrigger;
    use switchyard_contract::task::Consistency;

    use super::*;
    use crate::runs::accept::queued;
    use crate::runs::launch::Launch;

    fn ended(state: RunState) -> Run {
        let task = "work:serve".parse().unwrap();
        Run { state, ..queued(task, RunTrigger::Daemon, &Launch::default(), Consistency::Run) }
    }

    /// The seconds until the next start.
    fn pause(daemon: &mut Daemon, state: RunState, now: Instant) -> Option<u64> {
        daemon.start_at = None;
        daemon.restart_after(&ended(state), now);
        daemon.start_at.map(|at| at.duration_since(now).as_secs())
    }

    #[test]
    fn a_daemon_that_keeps_ending_pauses_longer_each_time_and_is_stopped_then() {
        let now = Instant::now();
        for state in [RunState::Failed, RunState::Lost, RunState::Succeeded] {
            let mut daemon = Daemon { began: Some(now), ..Daemon::default() };
            let pauses: Vec<_> = (0..MOST_FAILURES).map(|_| pause(&mut daemon, state, now)).collect();
            assert_eq!(pauses, [Some(1), Some(2), Some(4), Some(8), Some(16), Some(32), Some(60), None]);
        }
    }

    #[test]
    fn the_failures_of_a_daemon_that_has_run_for_a_while_are_counted_anew() {
        let now = Instant::now();
        let mut daemon = Daemon { began: Some(now), failures: MOST_FAILURES - 1, ..Daemon::default() };
        let later = now + GOOD_AFTER + Duration::from_secs(1);
        assert_eq!(pause(&mut daemon, RunState::Failed, later), Some(1));
    }

    #[test]
    fn a_daemon_starts_again_by_its_own_rule() {
        let now = Instant::now();
        for (restart, state, expected) in [
            (Restart::Never, RunState::Failed, None),
            (Restart::OnFailure, RunState::Succeeded, None),
            (Restart::OnFailure, RunState::Failed, Some(1)),
            (Restart::Always, RunState::Succeeded, Some(1)),
        ] {
            let mut daemon = Daemon { restart, began: Some(now), ..Daemon::default() };
            assert_eq!(pause(&mut daemon, state, now), expected, "{restart:?} {state:?}");
        }
    }
}
