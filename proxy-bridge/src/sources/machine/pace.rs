//! The times between two attempts.

use std::time::Duration;

/// The times between the attempts to see the commit of a webhook: 0.2, 1, 5 and 15 s after it.
pub(super) const HINT_DELAYS: [Duration; 4] =
    [Duration::from_millis(200), Duration::from_millis(800), Duration::from_secs(4), Duration::from_secs(10)];

/// The longest time between two attempts by back-off.
pub(super) const MAX_BACKOFF: Duration = Duration::from_secs(5 * 60);

/// Spreads `time` by ±10 %. `jitter` is in 0..1.
pub(super) fn spread(time: Duration, jitter: f64) -> Duration {
    let jitter = if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 0.5 };
    time.mul_f64(0.9 + 0.2 * jitter)
}

/// The time before the next attempt after `failures` of them: 1 s, doubled up to 5 min.
pub(super) fn backoff(failures: u32, jitter: f64) -> Duration {
    let seconds = 1_u64 << failures.saturating_sub(1).min(9);
    spread(Duration::from_secs(seconds).min(MAX_BACKOFF), jitter)
}
