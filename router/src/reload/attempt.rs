//! One attempt's times, and the words and numbers that tell of its end.

use std::time::{Duration, Instant};

use switchyard_contract::event::{Timings, Trigger};

/// An attempt under way: why, since when, and what its phases took so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt {
    pub(super) trigger: Trigger,
    since: Instant,
    debounce: Option<Duration>,
    pub(super) snapshot: Option<Duration>,
    pub(super) build: Option<Duration>,
    pub(super) publish: Option<Duration>,
}

impl Attempt {
    /// `since`: the first sign of the change; `quiet`: when it was told.
    pub(super) fn begin(trigger: Trigger, since: Instant, quiet: Instant) -> Self {
        let debounce = (trigger == Trigger::Watch).then(|| quiet.duration_since(since));
        Self { trigger, since, debounce, snapshot: None, build: None, publish: None }
    }

    /// In milliseconds, with what is known by now.
    pub(super) fn timings(&self) -> Timings {
        Timings {
            debounce: self.debounce.map(millis),
            snapshot: self.snapshot.map(millis),
            build: self.build.map(millis),
            publish: self.publish.map(millis),
            total: Some(millis(self.since.elapsed())),
        }
    }
}

/// To the microsecond: more digits would be noise.
pub(super) fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
