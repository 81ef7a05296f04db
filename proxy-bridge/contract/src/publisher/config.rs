//! The numbers of the publisher, and why they are what they are.

use std::time::Duration;

use reqwest::Url;

use crate::secret::Secret;

/// A second or two is usual for an ingress that is busy; after ten it will not answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// As many projects may wait for a slow answer before others do.
const IN_FLIGHT: usize = 8;

/// Where to and how.
#[derive(Debug)]
pub struct Config {
    pub url: Url,
    pub secret: Secret,
    /// From connecting to the answer's headers, for each try.
    pub request_timeout: Duration,
    /// How many requests may be under way at once, each for another project. At least 1.
    pub in_flight: usize,
    pub retry: Retry,
    pub limits: Limits,
}

impl Config {
    /// The defaults, for everything that has one.
    pub fn new(url: Url, secret: Secret) -> Self {
        Self {
            url,
            secret,
            request_timeout: REQUEST_TIMEOUT,
            in_flight: IN_FLIGHT,
            retry: Retry::default(),
            limits: Limits::default(),
        }
    }
}

/// When to try again, and when to give up.
#[derive(Debug, Clone, Copy)]
pub struct Retry {
    /// The pause after the first failure; it doubles with each. Jitter takes off up to a half.
    pub first: Duration,
    /// No pause is longer, also when the ingress asks for more in `Retry-After`.
    pub cap: Duration,
    /// How often an event is tried in all.
    pub attempts: u32,
    /// How long after its first try an event may be tried again.
    pub total: Duration,
}

impl Default for Retry {
    /// An ingress that restarts is back within seconds; one that was down for ten minutes should ask
    /// `GET /projects` rather than be told of ten minutes one by one.
    fn default() -> Self {
        Self {
            first: Duration::from_millis(200),
            cap: Duration::from_secs(30),
            attempts: 30,
            total: Duration::from_secs(600),
        }
    }
}

impl Retry {
    /// The pause after the given number of failed tries, or None to give up. `elapsed` is the time
    /// since the first try, `asked` what the ingress asked for, `jitter` a number from 0 to 1.
    pub(super) fn pause(
        &self,
        tries: u32,
        elapsed: Duration,
        asked: Option<Duration>,
        jitter: f64,
    ) -> Option<Duration> {
        if tries >= self.attempts {
            return None;
        }
        let doubled = self.first.saturating_mul(2u32.saturating_pow(tries.saturating_sub(1)));
        let pause = doubled.min(self.cap).mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0);
        let pause = pause.max(asked.unwrap_or_default().min(self.cap));
        (elapsed + pause <= self.total).then_some(pause)
    }
}

/// How much is kept while the ingress does not answer.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Events of one project that wait behind the one being sent. At least 1.
    pub per_project: usize,
    /// Events of all projects, those being sent included. At least 1.
    pub total: usize,
}

impl Default for Limits {
    /// An event takes about a kilobyte, with a code frame two, and with the largest diagnostic
    /// fifteen: 8 MB as a rule, and 60 MB at the most.
    fn default() -> Self {
        Self { per_project: 64, total: 4096 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: Retry = Retry {
        first: Duration::from_millis(100),
        cap: Duration::from_secs(1),
        attempts: 10,
        total: Duration::from_secs(60),
    };

    fn ms(ms: u64) -> Option<Duration> {
        Some(Duration::from_millis(ms))
    }

    #[test]
    fn pauses_double_up_to_the_cap() {
        let pauses = [1, 2, 3, 4, 5, 6].map(|tries| RETRY.pause(tries, Duration::ZERO, None, 0.0));
        assert_eq!(pauses, [ms(100), ms(200), ms(400), ms(800), ms(1000), ms(1000)]);
    }

    #[test]
    fn jitter_takes_off_up_to_a_half() {
        assert_eq!(RETRY.pause(1, Duration::ZERO, None, 1.0), ms(50));
        assert_eq!(RETRY.pause(1, Duration::ZERO, None, 0.5), ms(75));
    }

    #[test]
    fn what_the_ingress_asks_for_counts_up_to_the_cap() {
        assert_eq!(RETRY.pause(1, Duration::ZERO, ms(700), 1.0), ms(700));
        assert_eq!(RETRY.pause(1, Duration::ZERO, ms(7000), 1.0), ms(1000));
        assert_eq!(RETRY.pause(1, Duration::ZERO, ms(10), 0.0), ms(100));
    }

    #[test]
    fn an_event_is_given_up_after_so_many_tries_or_so_long() {
        assert_eq!(RETRY.pause(10, Duration::ZERO, None, 0.0), None);
        assert_eq!(RETRY.pause(5, Duration::from_secs(59), None, 0.0), ms(1000));
        assert_eq!(RETRY.pause(5, Duration::from_millis(59_001), None, 0.0), None);
    }
}
