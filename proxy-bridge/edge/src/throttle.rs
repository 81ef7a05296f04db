//! Log lines about frequent events: one line per interval, with the number of events.

use std::time::{Duration, Instant};

/// Minimum interval between two log lines: frequent enough to show that it continues, and too rare
/// to fill a disk.
const INTERVAL: Duration = Duration::from_secs(1);

/// Counts events that are too frequent to be logged one by one.
#[derive(Debug, Default)]
pub struct LogThrottle {
    /// Events since the last line.
    count: usize,
    logged: Option<Instant>,
}

impl LogThrottle {
    /// Counts an event. If a line is due, returns the number of events since the last one.
    pub fn hit(&mut self) -> Option<usize> {
        self.count += 1;
        if self.logged.is_some_and(|at| at.elapsed() < INTERVAL) {
            return None;
        }
        self.logged = Some(Instant::now());
        Some(std::mem::take(&mut self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_event_is_logged_at_once_and_the_next_ones_are_counted() {
        let mut throttle = LogThrottle::default();
        assert_eq!([throttle.hit(), throttle.hit(), throttle.hit()], [Some(1), None, None]);
        throttle.logged = Instant::now().checked_sub(INTERVAL);
        assert_eq!(throttle.hit(), Some(3));
    }
}
