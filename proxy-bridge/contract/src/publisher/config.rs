//! The settings of the publisher, with the reasons for their defaults.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use reqwest::Url;

use crate::secret::Secret;

/// A second or two is usual for an ingress that is busy; after ten it will not answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests at once: a few slow projects at the ingress do not delay the others.
const IN_FLIGHT: usize = 8;

/// The destination of events, and the limits of their delivery.
#[derive(Debug)]
pub struct PublisherConfig {
    /// The URL that events are posted to.
    pub url: Url,
    /// The secret that signs them.
    pub secret: Secret,
    /// Time from connecting to the answer's headers, per attempt.
    pub request_timeout: Duration,
    /// Requests at once, each for another project. At least 1.
    pub in_flight: usize,
    /// The limits on repeated attempts.
    pub retry: RetryPolicy,
    /// The limits on waiting events.
    pub limits: QueueLimits,
}

impl PublisherConfig {
    /// The defaults, for everything that has one.
    pub fn new(url: Url, secret: Secret) -> Self {
        Self {
            url,
            secret,
            request_timeout: REQUEST_TIMEOUT,
            in_flight: IN_FLIGHT,
            retry: RetryPolicy::default(),
            limits: QueueLimits::default(),
        }
    }
}

/// The limits on repeated attempts to deliver one event.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// Pause after the first failure. It doubles with each failure; jitter takes off up to a half.
    pub first: Duration,
    /// The longest pause, also when the ingress asks for more in `Retry-After`.
    pub cap: Duration,
    /// Attempts per event, the first one included.
    pub attempts: u32,
    /// Time after the first attempt within which an event may be sent again.
    pub total: Duration,
    /// `false`: pauses are exact, for tests.
    pub jitter: bool,
}

impl Default for RetryPolicy {
    /// An ingress that restarts is back within seconds. One that was down for ten minutes should read
    /// `GET /projects` rather than ten minutes of events one by one.
    fn default() -> Self {
        Self {
            first: Duration::from_millis(200),
            cap: Duration::from_secs(30),
            attempts: 30,
            total: Duration::from_secs(600),
            jitter: true,
        }
    }
}

impl RetryPolicy {
    /// Returns the pauses after the failures of one event: one fewer than attempts.
    pub(super) fn pauses(&self) -> ExponentialBackoff {
        let retries = usize::try_from(self.attempts.saturating_sub(1)).unwrap_or(usize::MAX);
        let pauses = ExponentialBuilder::new().with_factor(2.0).with_max_times(retries);
        let pauses = if self.jitter {
            // The jitter is added: from a half, it leads to the whole.
            pauses.with_min_delay(self.first / 2).with_max_delay(self.cap / 2).with_jitter()
        } else {
            pauses.with_min_delay(self.first).with_max_delay(self.cap)
        };
        pauses.build()
    }

    /// Returns the time to wait before the next attempt, or `None` to give up. `elapsed` is the time
    /// since the first attempt, `requested` the value of the last `Retry-After`.
    pub(super) fn next(
        &self,
        pauses: &mut ExponentialBackoff,
        elapsed: Duration,
        requested: Option<Duration>,
    ) -> Option<Duration> {
        let pause = pauses.next()?.max(requested.unwrap_or_default().min(self.cap));
        (elapsed + pause <= self.total).then_some(pause)
    }
}

/// The limits on events that wait while the ingress does not answer.
#[derive(Debug, Clone, Copy)]
pub struct QueueLimits {
    /// Events of one project that wait behind the one being sent. At least 1.
    pub per_project: usize,
    /// Events of all projects, those being sent included. At least 1.
    pub total: usize,
}

impl Default for QueueLimits {
    /// An event takes about a kilobyte, with a code frame two, and with the largest diagnostic
    /// fifteen: 8 MB as a rule, and 60 MB at the most.
    fn default() -> Self {
        Self { per_project: 64, total: 4096 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: RetryPolicy = RetryPolicy {
        first: Duration::from_millis(100),
        cap: Duration::from_secs(1),
        attempts: 10,
        total: Duration::from_secs(60),
        jitter: false,
    };

    fn ms(ms: u64) -> Option<Duration> {
        Some(Duration::from_millis(ms))
    }

    /// The pause after the first failure.
    fn first(retry: RetryPolicy, elapsed: Duration, requested: Option<Duration>) -> Option<Duration> {
        retry.next(&mut retry.pauses(), elapsed, requested)
    }

    #[test]
    fn pauses_double_up_to_the_cap() {
        let pauses: Vec<_> = RETRY.pauses().map(|pause| pause.as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1000, 1000, 1000, 1000, 1000]);
    }

    #[test]
    fn jitter_takes_off_up_to_a_half() {
        let retry = RetryPolicy { jitter: true, ..RETRY };
        for _ in 0..1000 {
            let pauses = retry.pauses().map(|pause| pause.as_secs_f64());
            for (pause, whole) in pauses.zip([0.1, 0.2, 0.4, 0.8, 1.0, 1.0]) {
                assert!(pause >= whole * 0.499 && pause <= whole * 1.001, "{pause} of {whole}");
            }
        }
    }

    #[test]
    fn the_requested_pause_counts_up_to_the_cap() {
        assert_eq!(first(RETRY, Duration::ZERO, ms(700)), ms(700));
        assert_eq!(first(RETRY, Duration::ZERO, ms(7000)), ms(1000));
        assert_eq!(first(RETRY, Duration::ZERO, ms(10)), ms(100));
    }

    #[test]
    fn an_event_is_given_up_after_a_number_of_attempts_or_a_time() {
        assert_eq!(first(RetryPolicy { attempts: 1, ..RETRY }, Duration::ZERO, None), None);
        assert_eq!(RETRY.pauses().count(), 9);
        assert_eq!(first(RETRY, Duration::from_millis(59_900), None), ms(100));
        assert_eq!(first(RETRY, Duration::from_millis(59_901), None), None);
    }
}
