//! The ids of past deliveries, so that none counts twice.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

/// The time for which an id is remembered: as long as GitHub offers to send a delivery again.
const REMEMBERED: Duration = Duration::from_secs(3 * 24 * 3600);

/// The number of ids that are remembered per source. The oldest go first.
const MAX_IDS: usize = 10_000;

/// The time between two looks at sources that get no deliveries any more.
const SWEEP: Duration = Duration::from_secs(3600);

/// The deliveries of all sources. Takes at most some 1 MB per source.
#[derive(Debug, Default)]
pub struct Deliveries {
    sources: HashMap<String, Seen>,
    swept: Option<Instant>,
}

/// The deliveries of one source.
#[derive(Debug, Default)]
struct Seen {
    ids: HashSet<Id>,
    /// In the order in which they came.
    order: VecDeque<(Instant, Id)>,
}

/// The beginning of an id's SHA-256: ids of senders may be long.
type Id = [u8; 16];

impl Deliveries {
    /// Notes a delivery. Returns false if it was noted before.
    pub fn note(&mut self, source: &str, id: &str, now: Instant) -> bool {
        if self.swept.is_none_or(|swept| now.saturating_duration_since(swept) >= SWEEP) {
            self.swept = Some(now);
            self.sweep(now);
        }
        if !self.sources.contains_key(source) {
            self.sources.insert(source.to_owned(), Seen::default());
        }
        let hash: [u8; 32] = Sha256::digest(id).into();
        let mut short = Id::default();
        short.copy_from_slice(&hash[..16]);
        self.sources.get_mut(source).is_some_and(|seen| seen.note(short, now))
    }

    fn sweep(&mut self, now: Instant) {
        self.sources.retain(|_, seen| {
            seen.forget(now);
            !seen.order.is_empty()
        });
    }
}

impl Seen {
    fn note(&mut self, id: Id, now: Instant) -> bool {
        self.forget(now);
        if !self.ids.insert(id) {
            return false;
        }
        self.order.push_back((now, id));
        if self.order.len() > MAX_IDS {
            self.forget_oldest();
        }
        true
    }

    fn forget(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) >= REMEMBERED) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, id)) = self.order.pop_front() {
            self.ids.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_counts_once_per_source() {
        let (mut deliveries, now) = (Deliveries::default(), Instant::now());
        assert!(deliveries.note("shop", "1", now));
        assert!(!deliveries.note("shop", "1", now));
        assert!(deliveries.note("blog", "1", now) && deliveries.note("shop", "2", now));
    }

    #[test]
    fn an_id_is_forgotten_after_three_days() {
        let (mut deliveries, now) = (Deliveries::default(), Instant::now());
        assert!(deliveries.note("shop", "1", now));
        assert!(!deliveries.note("shop", "1", now + REMEMBERED - Duration::from_secs(1)));
        assert!(deliveries.note("shop", "1", now + REMEMBERED));
    }

    #[test]
    fn the_oldest_ids_go_when_a_source_has_too_many_and_others_keep_theirs() {
        let (mut deliveries, now) = (Deliveries::default(), Instant::now());
        assert!(deliveries.note("blog", "0", now));
        for id in 0..=MAX_IDS {
            assert!(deliveries.note("shop", &id.to_string(), now));
        }
        assert_eq!(deliveries.sources["shop"].ids.len(), MAX_IDS);
        assert!(!deliveries.note("shop", "1", now) && deliveries.note("shop", "0", now));
        assert!(!deliveries.note("blog", "0", now));
    }

    #[test]
    fn a_source_without_deliveries_takes_no_room() {
        let (mut deliveries, now) = (Deliveries::default(), Instant::now());
        assert!(deliveries.note("gone", "1", now));
        assert!(deliveries.note("shop", "1", now + REMEMBERED));
        assert_eq!(deliveries.sources.len(), 1);
    }
}
