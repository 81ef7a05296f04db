//! Which posted events were seen before: routers post again what they are not sure of.

use std::collections::{HashSet, VecDeque};

/// A router tries for ten minutes to deliver an event: this is sixteen a second for so long.
const KEPT: usize = 10_000;

/// The newest ids; the oldest goes out when there is no more room.
#[derive(Debug, Default)]
pub(super) struct Seen {
    ids: HashSet<String>,
    order: VecDeque<String>,
}

impl Seen {
    /// Notes an id. Returns whether it is new.
    pub(super) fn note(&mut self, id: &str) -> bool {
        if !self.ids.insert(id.to_owned()) {
            return false;
        }
        self.order.push_back(id.to_owned());
        if self.order.len() > KEPT
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
    fn an_id_is_new_once_and_the_oldest_is_forgotten_when_there_are_too_many() {
        let mut seen = Seen::default();
        assert!(seen.note("first"));
        assert!(!seen.note("first"));
        for id in 0..KEPT {
            assert!(seen.note(&id.to_string()));
        }
        assert_eq!((seen.ids.len(), seen.order.len()), (KEPT, KEPT));
        assert!(seen.note("first"), "it went out");
        assert!(!seen.note("5"));
    }
}
