//! The in-flight requests of a version: counted while they run, awaited when the version is drained.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// The time within which the end of a process is known after its connections broke. Its last output is read first.
pub(crate) const NOTICED_WITHIN: Duration = Duration::from_secs(2);

/// The time for which no request is sent to a cell after one of its connections broke: a process accepts connections until
/// it has ended. The end is usually known within a few milliseconds.
const DOUBT: Duration = Duration::from_millis(100);

/// The in-flight requests of one version.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    count: AtomicUsize,
    closed: AtomicBool,
    idle: Notify,
    /// The times at which requests lost their connections to the cell, kept for [`NOTICED_WITHIN`].
    broken: Mutex<Vec<Instant>>,
    in_doubt: AtomicBool,
}

/// One request in flight. Dropped when the last byte of its answer is sent, or its tunnel is closed.
#[derive(Debug)]
pub(crate) struct RequestGuard(Arc<InFlight>);

impl InFlight {
    pub(crate) fn count(&self) -> usize {
        self.count.load(SeqCst)
    }

    /// Counts one request in, unless the version accepts no more.
    ///
    /// The count goes up before `closed` is read and `closed` is set before the count is read
    /// (both sequentially consistent), so no request slips in behind [`InFlight::close`].
    pub(crate) fn enter(self: &Arc<Self>) -> Option<RequestGuard> {
        self.count.fetch_add(1, SeqCst);
        let guard = RequestGuard(self.clone());
        (!self.closed.load(SeqCst)).then_some(guard)
    }

    /// Refuses new requests from now on.
    pub(crate) fn close(&self) {
        self.closed.store(true, SeqCst);
    }

    /// Waits until no request is in flight, at most for `grace`. Returns the number of requests that are left.
    pub(crate) async fn drained(&self, grace: Duration) -> usize {
        let idle = async {
            loop {
                let notified = self.idle.notified();
                if self.count() == 0 {
                    return;
                }
                notified.await;
            }
        };
        let _ = tokio::time::timeout(grace, idle).await;
        self.count()
    }

    /// Returns the number of requests that were in the cell when it crashed, as far as is known
    /// now: those whose connections broke, and those whose connections are about to break.
    pub(crate) fn count_at_crash(&self, now: Instant) -> usize {
        let broken = self.broken_since(now);
        self.count() + broken.len()
    }

    /// Returns true if a connection to the cell broke a moment ago, so the cell may be about to end.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.in_doubt.load(SeqCst)
    }

    /// Returns for how much longer the cell is in doubt. `None`: it is not.
    pub(crate) fn doubt(&self, now: Instant) -> Option<Duration> {
        let broken = self.broken_since(now);
        let left = broken.last().and_then(|last| (*last + DOUBT).checked_duration_since(now));
        let left = left.filter(|left| !left.is_zero());
        self.in_doubt.store(left.is_some(), SeqCst);
        left
    }

    fn broken_since(&self, now: Instant) -> MutexGuard<'_, Vec<Instant>> {
        let mut broken = self.broken.lock().expect("no holder of this lock panics");
        broken.retain(|at| now.duration_since(*at) < NOTICED_WITHIN);
        broken
    }
}

impl RequestGuard {
    /// Ends the request, whose connection to the cell broke: the cell may have crashed.
    pub(crate) fn mark_broken(self) {
        let in_flight = self.0.clone();
        let now = Instant::now();
        let mut broken = in_flight.broken_since(now);
        broken.push(now);
        in_flight.in_doubt.store(true, SeqCst);
        // Under the lock, so that no reader sees the request twice or not at all.
        drop(self);
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, SeqCst) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_drain_waits_for_the_last_guard() {
        let in_flight = Arc::new(InFlight::default());
        let (first, second) = (in_flight.enter().unwrap(), in_flight.enter().unwrap());
        in_flight.close();
        let drain = tokio::spawn({
            let in_flight = in_flight.clone();
            async move { in_flight.drained(Duration::from_secs(60)).await }
        });
        drop(first);
        tokio::task::yield_now().await;
        assert!(!drain.is_finished());
        drop(second);
        assert_eq!(drain.await.unwrap(), 0);
    }

    #[tokio::test]
    async fn nothing_enters_a_closed_version() {
        let in_flight = Arc::new(InFlight::default());
        in_flight.close();
        assert!(in_flight.enter().is_none());
        assert_eq!(in_flight.drained(Duration::ZERO).await, 0);
    }

    #[test]
    fn a_connection_that_broke_just_before_a_crash_counts_as_in_flight() {
        let in_flight = Arc::new(InFlight::default());
        let (_stays, breaks) = (in_flight.enter().unwrap(), in_flight.enter().unwrap());
        drop(in_flight.enter());
        breaks.mark_broken();
        let now = Instant::now();
        assert_eq!((in_flight.count(), in_flight.count_at_crash(now)), (1, 2));
        assert_eq!(in_flight.count_at_crash(now + NOTICED_WITHIN), 1);
    }

    #[test]
    fn a_cell_is_in_doubt_for_a_moment_after_a_connection_broke() {
        let in_flight = Arc::new(InFlight::default());
        let guard = in_flight.enter().unwrap();
        assert!(!in_flight.is_in_doubt());
        guard.mark_broken();
        let now = Instant::now();
        assert!(in_flight.is_in_doubt());
        assert!(in_flight.doubt(now).is_some_and(|left| left <= DOUBT));
        assert_eq!((in_flight.doubt(now + DOUBT), in_flight.is_in_doubt()), (None, false));
    }

    #[tokio::test]
    async fn a_drain_gives_up_after_its_grace() {
        let in_flight = Arc::new(InFlight::default());
        let _guard = in_flight.enter();
        assert_eq!(in_flight.drained(Duration::ZERO).await, 1);
    }
}
