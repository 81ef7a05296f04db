//! The requests of cells for a count of their folders.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use tokio::sync::Notify;

/// The request of one cell, shared by the cell's owner, which receives it, and the monitor, which
/// counts.
#[derive(Debug)]
pub(super) struct Recount {
    is_wanted: AtomicBool,
    /// Wakes the monitor, which all cells share.
    wake: Arc<Notify>,
}

impl Recount {
    pub(super) fn new(wake: Arc<Notify>) -> Self {
        Self { is_wanted: AtomicBool::new(false), wake }
    }

    /// Requests a count. Returns false if there is a request already for which no count has begun.
    pub(super) fn ask(&self) -> bool {
        let is_new = !self.is_wanted.swap(true, SeqCst);
        if is_new {
            self.wake.notify_one();
        }
        is_new
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.is_wanted.load(SeqCst)
    }

    /// Notes that a count begins. Returns true if it was requested.
    pub(super) fn begin(&self) -> bool {
        self.is_wanted.swap(false, SeqCst)
    }
}
