//! The concurrency slots of a project: a number of requests at the same time, a bounded queue, and a refusal beyond it.

use std::sync::Arc;
use std::sync::atomic::{
    AtomicU64, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

/// The slots of one project, shared by its versions.
#[derive(Debug)]
pub(crate) struct Slots {
    /// Fair: a free slot goes to the request that has waited longest, on any thread.
    free: Semaphore,
    size: AtomicUsize,
    /// Slots that were removed while requests held them.
    owed: AtomicUsize,
    waiting: AtomicUsize,
    /// Requests that found the queue full, or waited too long.
    rejected: AtomicU64,
}

/// One slot. Dropping it passes it on to the next request.
#[derive(Debug)]
pub(crate) struct Slot(Arc<Slots>);

impl Slots {
    pub(crate) fn new(size: usize) -> Self {
        let size = within_bounds(size);
        Self {
            free: Semaphore::new(size),
            size: AtomicUsize::new(size),
            owed: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            rejected: AtomicU64::new(0),
        }
    }

    /// Returns a slot if one is free and no request waits.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Slot> {
        self.free.try_acquire().ok()?.forget();
        Some(Slot(self.clone()))
    }

    /// Waits for a slot. `None`: `max_queued` requests wait already, or the wait took longer than `limit`.
    pub(crate) async fn wait(self: &Arc<Self>, max_queued: usize, limit: Duration) -> Option<Slot> {
        let slot = self.queue(max_queued, limit).await;
        if slot.is_none() {
            self.rejected.fetch_add(1, Relaxed);
        }
        slot
    }

    async fn queue(self: &Arc<Self>, max_queued: usize, limit: Duration) -> Option<Slot> {
        let _waiting = self.queue_up(max_queued)?;
        timeout(limit, self.free.acquire()).await.ok()?.ok()?.forget();
        Some(Slot(self.clone()))
    }

    /// Returns the number of waiting requests.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(SeqCst)
    }

    /// Returns the number of requests that [`Slots::wait`] has refused.
    pub(crate) fn rejected(&self) -> u64 {
        self.rejected.load(Relaxed)
    }

    fn queue_up(&self, max_queued: usize) -> Option<WaitingCount<'_>> {
        let one_more = |waiting| (waiting < max_queued).then_some(waiting + 1);
        self.waiting.fetch_update(SeqCst, SeqCst, one_more).ok()?;
        Some(WaitingCount(&self.waiting))
    }

    /// Changes the number of slots. Requests that hold slots beyond it finish. There must be one caller at a time.
    pub(crate) fn resize(&self, size: usize) {
        let size = within_bounds(size);
        let before = self.size.swap(size, SeqCst);
        if size < before {
            let less = before - size;
            self.owed.fetch_add(less - self.free.forget_permits(less), SeqCst);
        } else {
            let more = size - before;
            let left = |owed: usize| Some(owed.saturating_sub(more));
            let owed = self.owed.fetch_update(SeqCst, SeqCst, left).unwrap_or_default();
            self.free.add_permits(more.saturating_sub(owed));
        }
    }
}

/// Returns the size, at least one: a project without a slot could never answer.
fn within_bounds(size: usize) -> usize {
    size.clamp(1, Semaphore::MAX_PERMITS)
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Self(slots) = self;
        let is_owed = slots.owed.load(SeqCst) > 0
            && slots.owed.fetch_update(SeqCst, SeqCst, |owed| owed.checked_sub(1)).is_ok();
        if !is_owed {
            slots.free.add_permits(1);
        }
    }
}

struct WaitingCount<'a>(&'a AtomicUsize);

impl Drop for WaitingCount<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use futures_util::poll;

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn slots_go_to_waiting_requests_in_order_of_arrival() {
        let slots = Arc::new(Slots::new(1));
        let held = slots.enter().unwrap();
        let (mut first, mut second) = (Box::pin(slots.wait(2, LONG)), Box::pin(slots.wait(2, LONG)));
        assert!(poll!(&mut first).is_pending() && poll!(&mut second).is_pending());
        assert_eq!(slots.waiting(), 2);
        assert!(slots.wait(2, LONG).await.is_none(), "a third one does not even wait");
        drop(held);
        assert!(slots.enter().is_none(), "a new request does not get ahead of waiting ones");
        assert!(poll!(&mut second).is_pending());
        let Poll::Ready(Some(_held)) = poll!(&mut first) else { panic!("it is the first one's turn") };
        drop(second);
        assert_eq!(slots.waiting(), 0, "a request that left is not counted");
    }

    #[tokio::test]
    async fn a_request_that_leaves_while_it_is_handed_a_slot_frees_the_slot() {
        let slots = Arc::new(Slots::new(1));
        let held = slots.enter().unwrap();
        let mut waiting = Box::pin(slots.wait(1, LONG));
        assert!(poll!(&mut waiting).is_pending());
        drop(held);
        drop(waiting);
        assert!(slots.enter().is_some());
    }

    #[tokio::test]
    async fn patience_ends() {
        let slots = Arc::new(Slots::new(1));
        let _held = slots.enter().unwrap();
        assert!(slots.wait(1, Duration::ZERO).await.is_none());
    }

    #[tokio::test]
    async fn fewer_slots_are_reached_as_requests_end_and_more_are_available_at_once() {
        let slots = Arc::new(Slots::new(3));
        let mut held: Vec<_> = std::iter::from_fn(|| slots.enter()).collect();
        assert_eq!(held.len(), 3);
        slots.resize(1);
        held.truncate(1);
        assert!(slots.enter().is_none(), "one is in, and one may be");
        slots.resize(2);
        held.extend(slots.enter());
        assert_eq!((held.len(), slots.enter().is_some()), (2, false));
        held.clear();
        assert_eq!(std::iter::from_fn(|| slots.enter()).collect::<Vec<_>>().len(), 2);
    }
}
