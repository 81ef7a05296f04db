//! The last requests of one project, in bounded memory.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use switchyard_contract::bounds::{KEPT_REQUESTS, KEPT_REQUESTS_OF_ALL};

use super::record::RequestRecord;

/// Requests that each project may keep, however many projects have some: a screen of them.
const LEAST: usize = 20;

/// Projects that have had requests: they share the memory.
static RINGS: AtomicUsize = AtomicUsize::new(0);

/// The last requests.
#[derive(Debug)]
pub(super) struct Ring {
    records: VecDeque<RequestRecord>,
    /// The number of the next record.
    next: u64,
}

impl Ring {
    pub(super) fn new() -> Self {
        RINGS.fetch_add(1, Relaxed);
        Self { records: VecDeque::new(), next: 0 }
    }

    /// Adds a record. The oldest ones make room for it.
    pub(super) fn push(&mut self, record: RequestRecord) {
        let most = most(RINGS.load(Relaxed));
        while self.records.len() >= most {
            self.records.pop_front();
        }
        if self.records.capacity() > 4 * most {
            // There are more projects now.
            self.records.shrink_to(most);
        }
        self.records.push_back(record);
        self.next += 1;
    }

    /// The number of the next record.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// The number of the oldest record that is kept.
    pub(super) fn first(&self) -> u64 {
        self.next - self.records.len() as u64
    }

    pub(super) fn newest_first(&self) -> impl Iterator<Item = &RequestRecord> {
        self.records.iter().rev()
    }

    /// The records from the number `from` on, the oldest first.
    pub(super) fn since(&self, from: u64) -> impl Iterator<Item = &RequestRecord> {
        let seen = from.saturating_sub(self.first());
        self.records.iter().skip(usize::try_from(seen).unwrap_or(usize::MAX))
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        RINGS.fetch_sub(1, Relaxed);
    }
}

/// Requests that one of `rings` projects keeps.
fn most(rings: usize) -> usize {
    (KEPT_REQUESTS_OF_ALL / rings.max(1)).clamp(LEAST, KEPT_REQUESTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_projects_keep_fewer_requests_each() {
        assert_eq!([0, 1, 400, 1_000, 100_000].map(most), [500, 500, 500, 200, 20]);
    }
}
