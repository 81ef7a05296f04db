//! Differences between two comparisons that no file event has reported.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::compare::Difference;

/// Time after which a change that no event has reported counts as unreported. An event takes about
/// ten milliseconds to arrive.
const EVENT_DELAY: Duration = Duration::from_secs(1);

/// Number of projects with events above which those are forgotten that no comparison needs any
/// more.
const MAX_PROJECTS: usize = 10_000;

/// The differences that wait for their events, and the times of recent events.
#[derive(Debug)]
pub(super) struct UnreportedChanges {
    /// Time of the newest event of each project.
    last_events: HashMap<String, Instant>,
    /// Age from which an event is of no use to a comparison.
    max_age: Duration,
    /// Differences with events that may still be on their way, and the time until which they may
    /// be.
    pending: Vec<(Difference, Instant)>,
}

impl UnreportedChanges {
    /// `compare`: the interval between two comparisons.
    pub(super) fn new(compare: Duration) -> Self {
        let max_age = 2 * compare.max(EVENT_DELAY);
        Self { last_events: HashMap::new(), max_age, pending: Vec::new() }
    }

    /// Notes that a file event of the project `name` was received.
    pub(super) fn note_event(&mut self, name: &str, at: Instant) {
        if self.last_events.len() >= MAX_PROJECTS {
            self.last_events.retain(|_, last| last.elapsed() < self.max_age);
        }
        self.last_events.insert(name.to_owned(), at);
    }

    /// Adds a difference. Its event may arrive within [`EVENT_DELAY`].
    pub(super) fn add(&mut self, difference: Difference, now: Instant) {
        self.pending.push((difference, now + EVENT_DELAY));
    }

    /// Removes and returns the differences with events that should have arrived and have not.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<Difference> {
        let last_events = &self.last_events;
        let was_reported = |difference: &Difference| {
            let event = last_events.get(&difference.name).zip(difference.since);
            event.is_some_and(|(event, since)| *event >= since)
        };
        let due = self.pending.extract_if(.., |(_, until)| *until <= now);
        due.map(|(difference, _)| difference).filter(|difference| !was_reported(difference)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_unreported_when_no_event_came_since_the_comparison_before() {
        let mut changes = UnreportedChanges::new(Duration::ZERO);
        let now = Instant::now();
        let before = now.checked_sub(Duration::from_secs(1)).unwrap();
        for name in ["reported", "silent"] {
            let difference = Difference { name: name.to_owned(), since: Some(now), packages: false };
            changes.add(difference, now);
        }
        changes.note_event("silent", before);
        changes.note_event("reported", now);
        assert!(changes.take_due(now).is_empty(), "events may still arrive");
        let due = changes.take_due(now + EVENT_DELAY);
        assert_eq!(due.iter().map(|due| due.name.as_str()).collect::<Vec<_>>(), ["silent"]);
        assert!(changes.take_due(now + EVENT_DELAY).is_empty());
    }
}
