//! The choice between file events and polling: projects are polled if `--poll` says so, or from the
//! moment on at which file events turn out to be incomplete.

use std::time::Duration;

use super::compare::{Comparison, SweepPace};
use super::{Measurement, MeasurementSink};

/// Interval between comparisons where file events are missing and `--poll` is not given.
const DEFAULT_PERIOD: Duration = Duration::from_secs(2);

/// Pause after each project, in multiples of the time that its comparison took: comparisons take a
/// fiftieth of one core beside events...
const REST: u32 = 49;

/// ... and a fifth where there are none, as changes wait for the comparison then.
const REST_WITHOUT_EVENTS: u32 = 4;

/// The state of polling. Sets the pace of the comparison.
pub(super) struct Polling {
    /// Interval of polling; `None` while file events are enough.
    period: Option<Duration>,
    /// Interval of comparisons beside file events. Zero turns them off.
    compare: Duration,
    comparison: Comparison,
    observer: MeasurementSink,
}

impl Polling {
    /// `period`: the interval of `--poll`, if given. `compare`: the interval of comparisons beside
    /// events.
    pub(super) fn new(
        period: Option<Duration>,
        compare: Duration,
        comparison: Comparison,
        observer: MeasurementSink,
    ) -> Self {
        Self { period, compare, comparison, observer }
    }

    /// Returns `true` if projects are polled.
    pub(super) fn is_active(&self) -> bool {
        self.period.is_some()
    }

    /// Logs that projects are polled because of `--poll`, if they are.
    pub(super) fn announce(&self) {
        if let Some(poll) = self.period {
            (self.observer)(Measurement::PollingStarted);
            tracing::info!(poll_ms = millis(poll), "projects are polled every {poll:?} (--poll)");
        }
    }

    /// Polls from now on, unless projects are polled already. `reason` is logged.
    pub(super) fn activate(&mut self, reason: &str) {
        if self.is_active() {
            return;
        }
        let poll = DEFAULT_PERIOD;
        self.period = Some(poll);
        (self.observer)(Measurement::PollingStarted);
        tracing::warn!(poll_ms = millis(poll), "{reason}: projects are polled every {poll:?}");
        self.set_pace();
    }

    /// Has projects compared at the pace that polling, or the comparison beside events, needs.
    pub(super) fn set_pace(&self) {
        let pace = match self.period {
            Some(period) => SweepPace { period, rest: REST_WITHOUT_EVENTS, has_events: false },
            None if self.compare.is_zero() => return,
            None => SweepPace { period: self.compare, rest: REST, has_events: true },
        };
        self.comparison.set_pace(pace);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
