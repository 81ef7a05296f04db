//! The number of deliveries per minute and webhook.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// A token bucket per webhook: a number of deliveries at once, and as many a minute.
#[derive(Debug)]
pub struct Rate {
    per_minute: u32,
    /// The time at which a webhook's bucket will be full again. One without an entry has a full
    /// one.
    full_at: HashMap<String, Instant>,
}

/// A webhook has got too many deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {most} deliveries in a minute: send the next one in {} s", self.seconds())]
pub struct TooMany {
    /// The deliveries that it may get in a minute.
    pub most: u32,
    /// The time until one more is allowed.
    pub wait: Duration,
}

impl TooMany {
    /// The time until one more is allowed, in whole seconds.
    pub fn seconds(&self) -> u32 {
        u32::try_from(self.wait.as_millis().div_ceil(1000)).unwrap_or(u32::MAX)
    }
}

impl Rate {
    /// Allows `per_minute` deliveries to each webhook, at least one.
    pub fn new(per_minute: u32) -> Self {
        Self { per_minute: per_minute.max(1), full_at: HashMap::new() }
    }

    /// Counts a delivery to the webhook of this name.
    ///
    /// # Errors
    /// There were too many; this one is not counted.
    pub fn take(&mut self, name: &str, now: Instant) -> Result<(), TooMany> {
        if !self.full_at.contains_key(name) {
            self.full_at.retain(|_, full_at| *full_at > now);
            self.full_at.insert(name.to_owned(), now);
        }
        let Some(full_at) = self.full_at.get_mut(name) else { return Ok(()) };
        let refill = Duration::from_secs(60) / self.per_minute;
        let next = (*full_at).max(now) + refill;
        let missing = next.saturating_duration_since(now);
        match missing.checked_sub(refill * self.per_minute) {
            Some(wait) if !wait.is_zero() => Err(TooMany { most: self.per_minute, wait }),
            _ => {
                *full_at = next;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BURST: u32 = 600;
    const REFILL: Duration = Duration::from_millis(100);

    #[test]
    fn six_hundred_deliveries_pass_at_once_and_then_ten_a_second() {
        let (mut rate, now) = (Rate::new(BURST), Instant::now());
        for _ in 0..BURST {
            assert_eq!(rate.take("shop", now), Ok(()));
        }
        assert_eq!(rate.take("shop", now), Err(TooMany { most: BURST, wait: REFILL }));
        assert_eq!(TooMany { most: BURST, wait: REFILL }.seconds(), 1);
        let soon = now + Duration::from_millis(40);
        let refused = rate.take("shop", soon).unwrap_err();
        assert_eq!(refused.wait, Duration::from_millis(60));
        assert!(refused.to_string().ends_with("in 1 s"), "{refused}");
        assert_eq!(rate.take("shop", now + REFILL), Ok(()));
        assert!(rate.take("shop", now + REFILL).is_err());
    }

    #[test]
    fn a_source_that_was_silent_for_a_minute_may_send_six_hundred_again() {
        let (mut rate, mut now) = (Rate::new(BURST), Instant::now());
        for _ in 0..3 {
            let passed = (0..1000).filter(|_| rate.take("shop", now).is_ok()).count();
            assert_eq!(passed, 600);
            now += Duration::from_secs(60);
        }
    }

    #[test]
    fn one_source_does_not_hold_up_another_and_silent_ones_take_no_room() {
        let (mut rate, now) = (Rate::new(BURST), Instant::now());
        while rate.take("shop", now).is_ok() {}
        assert_eq!(rate.take("blog", now), Ok(()));
        assert_eq!(rate.take("wiki", now + Duration::from_secs(3600)), Ok(()));
        assert_eq!(rate.full_at.len(), 1);
    }
}
