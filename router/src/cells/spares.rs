//! The spares: warmed cells that wait for a version. Those for runs have a low priority from their
//! start, and are kept only while there are runs. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Priority;

/// Time after the start of a run for which there are spares for runs.
const KEPT_AFTER_A_RUN: Duration = Duration::from_secs(60);

/// The spares of both priorities. `C`: a cell.
#[derive(Debug)]
pub(super) struct Spares<C> {
    /// The number to keep of each.
    most: usize,
    normal: VecDeque<C>,
    low: VecDeque<C>,
    last_run: Option<Instant>,
}

impl<C> Spares<C> {
    pub(super) fn new(most: usize) -> Self {
        Self { most, normal: VecDeque::new(), low: VecDeque::new(), last_run: None }
    }

    /// Takes a spare for work of this priority. The first run in a while gets one of those that
    /// serve; later ones leave them alone.
    pub(super) fn take(&mut self, priority: Priority, now: Instant) -> Option<C> {
        match priority {
            Priority::Normal => self.normal.pop_front(),
            Priority::Low => {
                let is_first = self.expiry().is_none_or(|expiry| expiry <= now);
                self.last_run = Some(now);
                let own = self.low.pop_front();
                if own.is_none() && is_first { self.normal.pop_front() } else { own }
            }
        }
    }

    pub(super) fn put(&mut self, priority: Priority, spare: C) {
        match priority {
            Priority::Normal => self.normal.push_back(spare),
            Priority::Low => self.low.push_back(spare),
        }
    }

    /// Drops spares that have ended, and those that are not needed any more.
    pub(super) fn prune(&mut self, now: Instant, has_ended: impl Fn(&C) -> bool) {
        if self.expiry().is_some_and(|expiry| expiry <= now) {
            self.last_run = None;
            self.low.clear();
        }
        self.normal.retain(|spare| !has_ended(spare));
        self.low.retain(|spare| !has_ended(spare));
    }

    /// The priority of the next spare to make. `None`: there are enough.
    pub(super) fn missing(&self) -> Option<Priority> {
        if self.normal.len() < self.most {
            return Some(Priority::Normal);
        }
        (self.last_run.is_some() && self.low.len() < self.most).then_some(Priority::Low)
    }

    /// The time at which those for runs are not needed any more. `None`: there are none.
    pub(super) fn expiry(&self) -> Option<Instant> {
        self.last_run.map(|last| last + KEPT_AFTER_A_RUN)
    }

    pub(super) fn len(&self) -> usize {
        self.normal.len() + self.low.len()
    }

    /// Takes all of them.
    pub(super) fn take_all(&mut self) -> Vec<C> {
        self.normal.drain(..).chain(self.low.drain(..)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spares that are full: 1 and 2 are for serving.
    fn full() -> Spares<u32> {
        let mut spares = Spares::new(2);
        for spare in [1, 2] {
            assert_eq!(spares.missing(), Some(Priority::Normal));
            spares.put(Priority::Normal, spare);
        }
        assert_eq!(spares.missing(), None, "there are no runs");
        spares
    }

    #[test]
    fn the_first_run_takes_a_spare_that_serves_and_later_ones_their_own() {
        let (mut spares, now) = (full(), Instant::now());
        assert_eq!(spares.take(Priority::Low, now), Some(1));
        assert_eq!(spares.missing(), Some(Priority::Normal));
        spares.put(Priority::Normal, 3);
        assert_eq!(spares.missing(), Some(Priority::Low));
        assert_eq!(spares.take(Priority::Low, now), None, "the others are for versions");
        for spare in [10, 11] {
            assert_eq!(spares.missing(), Some(Priority::Low));
            spares.put(Priority::Low, spare);
        }
        assert_eq!((spares.missing(), spares.len()), (None, 4));
        assert_eq!(spares.take(Priority::Low, now), Some(10));
        assert_eq!(spares.take(Priority::Normal, now), Some(2));
        assert_eq!(spares.take_all(), [3, 11]);
    }

    #[test]
    fn spares_for_runs_go_when_there_are_no_runs_any_more() {
        let (mut spares, now) = (full(), Instant::now());
        assert_eq!(spares.expiry(), None);
        spares.take(Priority::Low, now);
        spares.put(Priority::Low, 10);
        let expiry = spares.expiry().unwrap();
        spares.prune(expiry - Duration::from_millis(1), |_| false);
        assert_eq!(spares.len(), 2);
        spares.prune(expiry, |_| false);
        assert_eq!((spares.len(), spares.expiry()), (1, None));
        assert_eq!(spares.take(Priority::Low, expiry), Some(2), "it is the first one again");
    }

    #[test]
    fn spares_that_have_ended_are_replaced() {
        let mut spares = full();
        spares.prune(Instant::now(), |spare| *spare == 1);
        assert_eq!((spares.len(), spares.missing()), (1, Some(Priority::Normal)));
    }

    #[test]
    fn without_spares_none_is_made_for_runs_either() {
        let mut spares = Spares::<u32>::new(0);
        assert_eq!(spares.take(Priority::Low, Instant::now()), None);
        assert_eq!(spares.missing(), None);
    }
}
