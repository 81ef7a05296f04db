//! Amounts of disk space, and a counter of what may still be used.

use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

/// Bytes on the disk and names in folders. Negative amounts occur: more may be used than is
/// allowed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) bytes: i64,
    pub(super) names: i64,
}

/// A counter that never takes more than is allowed.
#[derive(Default)]
pub(super) struct Counter {
    /// Everything that was taken, minus everything that was given back.
    pub(super) used: AtomicI64,
    /// The upper bound of `used`. Removals raise it until the next count replaces it.
    pub(super) allowed: AtomicI64,
}

impl Counter {
    /// Takes `count`. Returns `false` if less is left.
    pub(super) fn take(&self, count: i64) -> bool {
        self.take_leaving(count, 0)
    }

    /// Takes `count`. Returns `false` if that would leave less than `rest`.
    pub(super) fn take_leaving(&self, count: i64, rest: i64) -> bool {
        let allowed = self.allowed.load(SeqCst).saturating_sub(rest);
        let fits = |used: i64| used.checked_add(count).filter(|used| *used <= allowed);
        count == 0 || self.used.fetch_update(SeqCst, SeqCst, fits).is_ok()
    }

    /// Allows `count` more.
    pub(super) fn allow(&self, count: i64) {
        let more = |allowed: i64| Some(allowed.saturating_add(count));
        _ = self.allowed.fetch_update(SeqCst, SeqCst, more);
    }

    /// Returns the amount that may still be taken.
    pub(super) fn left(&self) -> i64 {
        self.allowed.load(SeqCst).saturating_sub(self.used.load(SeqCst))
    }
}
