//! A queue of projects that wait for work of the watch, each for its turn: no project gets more
//! than a tenth of the watch's time.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// Pause of a project, in multiples of the time that its work took.
const REST: u32 = 9;

/// Longest work that needs no pause: the pass over a project of a hundred folders.
const SHORT: Duration = Duration::from_millis(5);

/// The queue. A project waits in it at most once.
#[derive(Debug, Default)]
pub(super) struct FairQueue {
    due: BTreeSet<(Instant, String)>,
    /// The waiting projects, and the time at which each is due.
    waiting: HashMap<String, Instant>,
    /// End of the pause of each project that took long.
    rests: HashMap<String, Instant>,
}

impl FairQueue {
    /// Adds a project, due as soon as its pause is over. Does nothing if it waits already.
    pub(super) fn request(&mut self, name: &str, now: Instant) {
        if !self.waiting.contains_key(name) {
            let due = self.rests.get(name).map_or(now, |rest| now.max(*rest));
            self.waiting.insert(name.to_owned(), due);
            self.due.insert((due, name.to_owned()));
        }
    }

    /// Time at which the next project is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Removes and returns the project that has waited longest, if it is due.
    pub(super) fn next(&mut self, now: Instant) -> Option<String> {
        self.due().filter(|due| *due <= now)?;
        let (_, name) = self.due.pop_first()?;
        self.waiting.remove(&name);
        Some(name)
    }

    /// Notes that the work for a project took this time, which sets its pause.
    pub(super) fn finished(&mut self, name: &str, took: Duration, now: Instant) {
        self.rests.retain(|_, rest| *rest > now);
        if took > SHORT {
            self.rests.insert(name.to_owned(), now + took * REST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_that_takes_long_rests_and_the_others_do_not_wait_for_it() {
        let mut queue = FairQueue::default();
        let now = Instant::now();
        let at = |ms| now + Duration::from_millis(ms);
        queue.request("large", now);
        queue.request("large", now);
        assert_eq!(queue.next(now).as_deref(), Some("large"));
        assert_eq!(queue.next(now), None, "requested twice, it gets one turn");
        queue.finished("large", Duration::from_millis(100), at(100));
        queue.request("large", at(100));
        queue.request("small", at(101));
        assert_eq!(queue.next(at(101)).as_deref(), Some("small"));
        queue.finished("small", Duration::from_millis(1), at(102));
        assert_eq!((queue.next(at(102)), queue.due()), (None, Some(at(1000))));
        queue.request("small", at(102));
        assert_eq!(queue.next(at(102)).as_deref(), Some("small"));
        assert_eq!(queue.next(at(1000)).as_deref(), Some("large"));
        assert_eq!(queue.due(), None);
    }
}
