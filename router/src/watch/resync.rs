//! The projects whose folders are to be gone through, each at its turn: no project has more than a tenth of the watch's time.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// The pause of a project, in times that going through it took.
const REST: u32 = 9;

/// The longest pass that needs no pause: that of a project of a hundred folders.
const SHORT: Duration = Duration::from_millis(5);

#[derive(Debug, Default)]
pub(super) struct Resync {
    due: BTreeSet<(Instant, String)>,
    asked: HashMap<String, Instant>,
    /// Until when those rest that have taken long.
    rests: HashMap<String, Instant>,
}

impl Resync {
    /// Has a project gone through as soon as it may.
    pub(super) fn ask(&mut self, name: &str, now: Instant) {
        if !self.asked.contains_key(name) {
            let due = self.rests.get(name).map_or(now, |rest| now.max(*rest));
            self.asked.insert(name.to_owned(), due);
            self.due.insert((due, name.to_owned()));
        }
    }

    /// When the next one is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Takes out the one that has waited longest, if it is due.
    pub(super) fn next(&mut self, now: Instant) -> Option<String> {
        self.due().filter(|due| *due <= now)?;
        let (_, name) = self.due.pop_first()?;
        self.asked.remove(&name);
        Some(name)
    }

    /// Notes that going through a project has taken so long.
    pub(super) fn took(&mut self, name: &str, took: Duration, now: Instant) {
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
        let mut resync = Resync::default();
        let now = Instant::now();
        let at = |ms| now + Duration::from_millis(ms);
        resync.ask("large", now);
        resync.ask("large", now);
        assert_eq!(resync.next(now).as_deref(), Some("large"));
        assert_eq!(resync.next(now), None, "asked for twice, it is gone through once");
        resync.took("large", Duration::from_millis(100), at(100));
        resync.ask("large", at(100));
        resync.ask("small", at(101));
        assert_eq!(resync.next(at(101)).as_deref(), Some("small"));
        resync.took("small", Duration::from_millis(1), at(102));
        assert_eq!((resync.next(at(102)), resync.due()), (None, Some(at(1000))));
        resync.ask("small", at(102));
        assert_eq!(resync.next(at(102)).as_deref(), Some("small"));
        assert_eq!(resync.next(at(1000)).as_deref(), Some("large"));
        assert_eq!(resync.due(), None);
    }
}
