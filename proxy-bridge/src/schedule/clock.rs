//! The clock of the machine, watched for jumps.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

/// The largest step back that is no jump. Services that set the clock move it by less at once.
const BACK: SignedDuration = SignedDuration::from_secs(1);

/// The largest step forward that is no jump.
const FORWARD: SignedDuration = SignedDuration::from_secs(60);

/// The change of the clock since it was last looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockChange {
    /// The clock has gone on.
    Steady,
    /// The clock was set back by more than a second. Due times count from the new time again: the ledger's
    /// records keep one from starting a second run.
    Back(Duration),
    /// The clock was set forward by more than a minute, or the machine was asleep. Due times in between
    /// were missed.
    Forward(Duration),
}

/// Compares the clock of the machine with one that is never set.
#[derive(Debug, Clone, Copy)]
pub struct ClockWatch {
    wall: Timestamp,
    mono: Instant,
}

impl ClockWatch {
    /// Begins at `wall`, when the other clock shows `mono`.
    pub fn new(wall: Timestamp, mono: Instant) -> Self {
        Self { wall, mono }
    }

    /// Takes the times of both clocks, and returns the change since the times before. A clock
    /// that is slowly moved to the right time is steady.
    pub fn observe(&mut self, wall: Timestamp, mono: Instant) -> ClockChange {
        let passed = mono.saturating_duration_since(self.mono);
        let shown = wall.duration_since(self.wall);
        *self = Self { wall, mono };
        let moved = shown.saturating_sub(SignedDuration::try_from(passed).unwrap_or(SignedDuration::MAX));
        if moved < -BACK {
            ClockChange::Back(moved.unsigned_abs())
        } else if moved > FORWARD {
            ClockChange::Forward(moved.unsigned_abs())
        } else {
            ClockChange::Steady
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_by_an_hour_is_noticed_once() {
        let (wall, mono) = (Timestamp::UNIX_EPOCH, Instant::now());
        let mut watch = ClockWatch::new(wall, mono);
        let mut observe = |wall_secs: i64, mono_secs| {
            let wall = wall + SignedDuration::from_secs(wall_secs);
            watch.observe(wall, mono + Duration::from_secs(mono_secs))
        };
        assert_eq!(observe(10, 10), ClockChange::Steady);
        assert_eq!(observe(3620, 20), ClockChange::Forward(Duration::from_secs(3600)));
        assert_eq!(observe(3630, 30), ClockChange::Steady);
        assert_eq!(observe(40, 40), ClockChange::Back(Duration::from_secs(3600)));
        assert_eq!(observe(50, 50), ClockChange::Steady);
    }

    #[test]
    fn small_steps_are_no_jumps_even_if_there_are_many() {
        let (wall, mono) = (Timestamp::UNIX_EPOCH, Instant::now());
        let mut watch = ClockWatch::new(wall, mono);
        for n in 1..1000 {
            let slow = wall + SignedDuration::from_millis(i64::from(n) * 9_500);
            assert_eq!(watch.observe(slow, mono + Duration::from_secs(10) * n), ClockChange::Steady);
        }
        let (mut later, mono) = (wall + SignedDuration::from_hours(3), mono + Duration::from_secs(9990));
        watch.observe(later, mono);
        later += SignedDuration::from_secs(60);
        assert_eq!(watch.observe(later, mono), ClockChange::Steady);
        later -= SignedDuration::from_secs(1);
        assert_eq!(watch.observe(later, mono), ClockChange::Steady);
    }

    #[test]
    fn a_long_wait_is_no_jump() {
        let (wall, mono) = (Timestamp::UNIX_EPOCH, Instant::now());
        let mut watch = ClockWatch::new(wall, mono);
        let days = 30 * 24 * 3600;
        let later = wall + SignedDuration::from_secs(days);
        assert_eq!(watch.observe(later, mono + Duration::from_secs(days as u64)), ClockChange::Steady);
    }
}
