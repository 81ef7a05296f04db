//! The schedule of further attempts with a version that failed, although nothing has changed:
//! something may have been missing that cannot be watched (a file deep in a package or in DATA_DIR,
//! a registry, a database). The pauses grow, so that retries cost little.

use std::time::{Duration, Instant};

use super::machine::AttemptFailure;

/// The first pause. Each further one is twice as long.
const FIRST: Duration = Duration::from_secs(5);

/// The longest pause: a version is served at most ten minutes after the missing thing has arrived.
const LONGEST: Duration = Duration::from_secs(600);

/// The least pause as a multiple of the attempt's time: code that hangs costs a twentieth of a
/// core.
const TIMES_TAKEN: u32 = 20;

/// The least time that an attempt counts as: a process is made and ended.
const LEAST_TAKEN: Duration = Duration::from_millis(20);

/// The attempts of one project that failed in a row.
#[derive(Debug, Default)]
pub(super) struct Retries {
    last: Option<Box<AttemptFailure>>,
    times: u32,
    /// The number of the newest pause, which distinguishes it from earlier ones.
    number: u64,
    /// `true`: the next attempt is a retry.
    wanted: bool,
    /// `true`: the attempt under way is a retry.
    under_way: bool,
}

/// A further attempt after one that failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Retry {
    pub(super) pause: Duration,
    pub(super) number: u64,
    /// `true`: the failed attempt was a retry and failed as the one before, so there is nothing to
    /// report.
    pub(super) is_repeated: bool,
}

impl Retries {
    /// Notes the end of a failed attempt. `again`: another one may succeed although nothing has
    /// changed. Files that are no valid project are not tried again: any change of them is noticed.
    pub(super) fn failed(&mut self, failed: &AttemptFailure, took: Duration, again: bool) -> Option<Retry> {
        let is_same = self.last.as_ref().is_some_and(|last| last.version == failed.version);
        let is_repeated = std::mem::take(&mut self.under_way) && self.last.as_deref() == Some(failed);
        self.times = if is_same { self.times.saturating_add(1) } else { 0 };
        self.last = Some(Box::new(failed.clone()));
        self.number += 1;
        if !again {
            return None;
        }
        let grown = FIRST.saturating_mul(2_u32.saturating_pow(self.times));
        let pause = grown.max(took * TIMES_TAKEN).min(LONGEST);
        Some(Retry { pause, number: self.number, is_repeated })
    }

    /// Makes the next attempt a retry, if `number` is the newest pause. Returns true if it is.
    pub(super) fn due(&mut self, number: u64) -> bool {
        self.wanted = self.number == number;
        self.wanted
    }

    /// Notes that an attempt begins. Returns true if it is a retry.
    pub(super) fn begin(&mut self) -> bool {
        self.under_way = std::mem::take(&mut self.wanted);
        self.under_way
    }
}

/// The pace of all projects' retries together: they take a twentieth of a core, however many
/// projects have failed.
#[derive(Debug, Default)]
pub(super) struct RetryPace {
    /// The time up to which the retries so far use up their share.
    used_until: Option<Instant>,
}

impl RetryPace {
    /// Returns the pause before a retry of an attempt that took `took`: at least `pause`, and longer
    /// if many others have to be tried again.
    pub(super) fn pause(&mut self, pause: Duration, took: Duration, now: Instant) -> Duration {
        let from = self.used_until.map_or(now, |until| until.max(now));
        self.used_until = Some(from + took.max(LEAST_TAKEN) * TIMES_TAKEN);
        pause.max(from - now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::diagnostic;
    use crate::version::{Tenant, Version};

    fn failed(version: u8, error: &str) -> AttemptFailure {
        let project = switchyard_contract::project::ProjectName::parse("a").unwrap();
        let version = Version::new(&Tenant::first(&project), [version; 32].into());
        AttemptFailure { version: Some(version), error: diagnostic(error) }
    }

    #[test]
    fn pauses_grow_for_one_version_and_begin_anew_for_the_next() {
        let mut retries = Retries::default();
        let mut pause =
            |version| retries.failed(&failed(version, "x"), Duration::ZERO, true).unwrap().pause.as_secs();
        assert_eq!([1, 1, 1].map(&mut pause), [5, 10, 20]);
        assert_eq!([2, 2].map(&mut pause), [5, 10]);
        assert_eq!((0..40).map(|_| pause(2)).last(), Some(600));
        let hung = retries.failed(&failed(3, "x"), Duration::from_secs(10), true).unwrap();
        assert_eq!(hung.pause.as_secs(), 200);
        let invalid = AttemptFailure { version: None, ..failed(1, "x") };
        assert_eq!(retries.failed(&invalid, Duration::ZERO, false), None);
    }

    #[test]
    fn many_projects_share_the_time_for_retries_and_a_few_have_their_own_pauses() {
        let (mut pace, now) = (RetryPace::default(), Instant::now());
        let (took, second) = (Duration::from_millis(50), Duration::from_secs(1));
        let mut pause = |now| pace.pause(5 * second, took, now);
        assert_eq!([(); 6].map(|()| pause(now)), [5 * second; 6]);
        assert_eq!([(); 2].map(|()| pause(now)), [6 * second, 7 * second]);
        assert_eq!(pause(now + 60 * second), 5 * second, "the share is renewed");
    }

    #[test]
    fn a_retry_that_fails_as_before_is_nothing_to_report() {
        let mut retries = Retries::default();
        let first = retries.failed(&failed(1, "x"), Duration::ZERO, true).unwrap();
        assert!(!first.is_repeated && !retries.begin());
        let asked_for = retries.failed(&failed(1, "x"), Duration::ZERO, true).unwrap();
        assert!(!asked_for.is_repeated, "it was requested");
        assert!(!retries.due(first.number) && retries.due(asked_for.number) && retries.begin());
        let again = retries.failed(&failed(1, "x"), Duration::ZERO, true).unwrap();
        assert!(again.is_repeated);
        assert!(retries.due(again.number) && retries.begin());
        assert!(!retries.failed(&failed(1, "y"), Duration::ZERO, true).unwrap().is_repeated);
    }
}
