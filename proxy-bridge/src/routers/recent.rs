//! The ids of recently posted events. Routers post an event again when they are not sure that it
//! arrived.

use std::collections::{HashSet, VecDeque};

/// A router tries for ten minutes to deliver an event: this is sixteen a second for that time.
const MAX_REMEMBERED: usize = 10_000;

/// The newest ids; the oldest goes out when there is no more room.
#[derive(Debug, Default)]
pub(super) struct RecentEvents {
    ids: HashSet<String>,
    order: VecDeque<String>,
}

impl RecentEvents {
    /// Records an id. Returns true if it is new.
    pub(super) fn note(&mut self, id: &str) -> bool {
        if !self.ids.insert(id.to_owned()) {
            return false;
        }
        self.order.push_back(id.to_owned());
        if self.order.len() > MAX_REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_new_once_and_the_oldest_one_is_forgotten_at_the_limit() {
        let mut seen = RecentEvents::default();
        assert!(seen.note("first"));
        assert!(!seen.note("first"));
        for id in 0..MAX_REMEMBERED {
            assert!(seen.note(&id.to_string()));
        }
        assert_eq!((seen.ids.len(), seen.order.len()), (MAX_REMEMBERED, MAX_REMEMBERED));
        assert!(seen.note("first"), "it went out");
        assert!(!seen.note("5"));
    }
}
