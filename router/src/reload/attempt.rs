//! An attempt to bring a project up to date: the reason for it, its times, and the callers that
//! wait for its report.

use std::sync::Arc;
use std::time::{Duration, Instant};

use switchyard_contract::admin::{ReloadOutcome, Report};
use switchyard_contract::digest::Digest;
use switchyard_contract::event::{ChangedFiles, Diagnostic, Timings, Trigger};
use switchyard_contract::project::ProjectName;
use tokio::sync::{Notify, oneshot};

use crate::version::Version;

/// The channel to a caller that waits for the report of an attempt.
pub(super) type Caller = oneshot::Sender<Report>;

/// A reason to read a project. Looks that come during an attempt merge into one for the next
/// attempt.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) trigger: Trigger,
    times: Option<ChangeTimes>,
    callers: Vec<Caller>,
}

#[derive(Debug, Clone, Copy)]
struct ChangeTimes {
    /// The instant of the first file event.
    first: Instant,
    /// The instant at which the project had become quiet.
    quiet: Instant,
}

impl Look {
    /// A look at a change whose first sign was at `since`.
    pub(super) fn new(trigger: Trigger, since: Instant) -> Self {
        Self { times: Some(ChangeTimes { first: since, quiet: Instant::now() }), ..Self::from(trigger) }
    }

    /// A look whose report `caller` waits for, if there is one.
    pub(super) fn for_caller(caller: Option<Caller>) -> Self {
        Self { callers: caller.into_iter().collect(), ..Self::new(Trigger::Request, Instant::now()) }
    }

    /// Adds a later look: the first trigger and the first times count, and all callers get the
    /// report. A request counts as the trigger in any case, since it wants another attempt at what
    /// has failed.
    pub(super) fn merge(&mut self, later: Self) {
        if later.trigger == Trigger::Request {
            self.trigger = Trigger::Request;
        }
        self.times = self.times.or(later.times);
        self.callers.extend(later.callers);
    }
}

/// A look at a change that may have happened just now.
impl From<Trigger> for Look {
    fn from(trigger: Trigger) -> Self {
        Self { trigger, times: None, callers: Vec::new() }
    }
}

/// The data of an attempt.
#[derive(Debug)]
pub(super) struct AttemptData {
    pub(super) trigger: Trigger,
    since: Instant,
    debounce: Option<Duration>,
    pub(super) snapshot: Option<Duration>,
    pub(super) build: Option<Duration>,
    pub(super) publish: Option<Duration>,
    /// The digest of the project's own files, if its version has included files too.
    pub(super) own: Option<Digest>,
    /// The files that the reading found changed.
    pub(super) changed: Option<ChangedFiles>,
    /// Notified when something newer waits for the end of the build.
    pub(super) newer: Arc<Notify>,
    callers: Vec<Caller>,
}

impl From<Look> for AttemptData {
    fn from(Look { trigger, times, callers }: Look) -> Self {
        let now = Instant::now();
        let ChangeTimes { first, quiet } = times.unwrap_or(ChangeTimes { first: now, quiet: now });
        Self {
            trigger,
            since: first,
            debounce: (trigger == Trigger::Watch).then(|| quiet.duration_since(first)),
            snapshot: None,
            build: None,
            publish: None,
            own: None,
            changed: None,
            newer: Arc::default(),
            callers,
        }
    }
}

impl AttemptData {
    /// The durations that are known by now.
    pub(super) fn timings(&self) -> Timings {
        Timings {
            debounce: self.debounce.map(millis),
            snapshot: self.snapshot.map(millis),
            build: self.build.map(millis),
            publish: self.publish.map(millis),
            total: Some(millis(self.since.elapsed())),
        }
    }

    pub(super) fn report(
        &self,
        project: &ProjectName,
        outcome: ReloadOutcome,
        version: Option<&Version>,
        error: Option<Diagnostic>,
    ) -> Report {
        Report {
            project: project.to_string(),
            outcome,
            digest: version.map(|version| version.digest.to_string()),
            version: version.map(ToString::to_string),
            own_digest: self.own.filter(|_| version.is_some()).map(|own| own.to_string()),
            error,
            timings_ms: self.timings(),
        }
    }

    /// Returns true if a caller waits for the report.
    pub(super) fn is_awaited(&self) -> bool {
        !self.callers.is_empty()
    }

    /// Sends the report to the callers that wait for it.
    pub(super) fn answer(self, report: &Report) {
        for caller in self.callers {
            // A caller may be gone.
            let _ = caller.send(report.clone());
        }
    }

    /// Has the callers wait for the attempt that follows this one, which they have requested too.
    pub(super) fn hand_over(self, next: &mut Look) {
        if self.is_awaited() {
            next.trigger = Trigger::Request;
        }
        next.callers.extend(self.callers);
    }
}

/// Milliseconds to three decimals: more digits would be noise.
pub(super) fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_joins_another_look_makes_it_a_request_and_else_the_first_trigger_counts() {
        let mut look = Look::from(Trigger::Watch);
        look.merge(Trigger::Poll.into());
        assert_eq!(look.trigger, Trigger::Watch);
        look.merge(Trigger::Request.into());
        look.merge(Trigger::Poll.into());
        assert_eq!(look.trigger, Trigger::Request);
    }

    #[test]
    fn the_callers_of_a_superseded_attempt_have_requested_the_next_one() {
        let attempt = |caller| AttemptData::from(Look { callers: caller, ..Look::from(Trigger::Watch) });
        let mut next = Look::from(Trigger::Watch);
        attempt(Vec::new()).hand_over(&mut next);
        assert_eq!(next.trigger, Trigger::Watch);
        attempt(vec![oneshot::channel().0]).hand_over(&mut next);
        assert_eq!(next.trigger, Trigger::Request);
    }
}
