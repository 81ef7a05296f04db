//! Notices of new log lines, for those who follow a run's log.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use switchyard_contract::run::RunId;
use tokio::sync::watch;

/// The runs that have not ended, with a counter of their lines each.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress(Arc<Mutex<HashMap<RunId, watch::Sender<u64>>>>);

impl Progress {
    /// Begins to count for a run.
    pub(super) fn begin(&self, run: RunId) {
        self.lock().entry(run).or_insert_with(|| watch::Sender::new(0));
    }

    /// Notifies the followers of a run.
    pub(super) fn more(&self, run: RunId) {
        if let Some(counter) = self.lock().get(&run) {
            counter.send_modify(|count| *count += 1);
        }
    }

    /// Ends the count: followers reach their end.
    pub(super) fn end(&self, run: RunId) {
        self.lock().remove(&run);
    }

    /// A receiver that is notified of new lines, and closed with the run. `None`: the run has ended.
    pub(super) fn follow(&self, run: RunId) -> Option<watch::Receiver<u64>> {
        self.lock().get(&run).map(watch::Sender::subscribe)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RunId, watch::Sender<u64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
