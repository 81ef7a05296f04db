//! Requests of cells for a count of their folders.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use tokio::sync::Notify;

/// One cell's request, shared by its owner, which hears it, and the monitor, which counts.
#[derive(Debug)]
pub(super) struct Recount {
    is_wanted: AtomicBool,
    /// The monitor's, for all cells.
    wake: Arc<Notify>,
}

impl Recount {
    pub(super) fn new(wake: Arc<Notify>) -> Self {
        Self { is_wanted: AtomicBool::new(false), wake }
    }

    /// Returns false when there is a request already that no count has begun for.
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

    /// A count begins. Returns whether there was a request for it.
    pub(super) fn begin(&self) -> bool {
        self.is_wanted.swap(false, SeqCst)
    }
}
