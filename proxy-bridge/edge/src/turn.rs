//! Turns: the amount that is read or copied for one connection before the other tasks of the thread
//! run.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};

use tokio::task::yield_now;

use switchyard_contract::bounds;

/// One connection's use of its current turn.
#[derive(Debug, Default)]
pub(super) struct Turn {
    frames: usize,
    bytes: usize,
    /// Set while the turn is used up and other tasks run.
    rest: Option<Arc<Rest>>,
}

/// The time between two turns. A task may be polled several times in one go (hyper does so), which
/// alone begins no new turn.
#[derive(Debug)]
struct Rest {
    task: Waker,
    is_over: AtomicBool,
}

impl Wake for Rest {
    fn wake(self: Arc<Self>) {
        self.is_over.store(true, Relaxed);
        self.task.wake_by_ref();
    }
}

impl Turn {
    /// Ready while the turn lasts. Pending once it is used up: the next one begins when the other
    /// tasks have run and the runtime has looked for input.
    pub(super) fn poll_begin(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.rest {
            Some(rest) if !rest.is_over.load(Relaxed) && rest.task.will_wake(cx.waker()) => {
                return Poll::Pending;
            }
            Some(_) => *self = Self::default(),
            None => {}
        }
        if self.lasts() {
            return Poll::Ready(());
        }
        let rest = Arc::new(Rest { task: cx.waker().clone(), is_over: AtomicBool::new(false) });
        let waker = Waker::from(rest.clone());
        // The first poll schedules the task behind the others.
        let yielded = pin!(yield_now()).poll(&mut Context::from_waker(&waker));
        debug_assert!(yielded.is_pending());
        self.rest = Some(rest);
        Poll::Pending
    }

    /// Counts one frame, or one read, of `bytes`.
    pub(super) fn count(&mut self, bytes: usize) {
        self.frames += 1;
        self.bytes += bytes;
    }

    /// Returns true while some of the turn is left.
    pub(super) fn lasts(&self) -> bool {
        self.frames < bounds::TURN_FRAMES && self.bytes < bounds::TURN_BYTES
    }

    /// Ends the turn, because there is no input: other tasks run meanwhile.
    pub(super) fn end(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn a_turn_that_is_used_up_is_followed_by_another_one_when_the_task_is_woken() {
        // A spawned task always has the same waker.
        tokio::spawn(take_turns()).await.unwrap();
    }

    async fn take_turns() {
        let (mut turn, mut polls) = (Turn::default(), 0);
        for _ in 0..3 {
            for _ in 0..bounds::TURN_FRAMES {
                assert!(poll_fn(|cx| Poll::Ready(turn.poll_begin(cx))).await.is_ready());
                turn.count(1);
            }
            poll_fn(|cx| {
                polls += 1;
                // The second poll comes before other tasks have run.
                let polled = [turn.poll_begin(cx), turn.poll_begin(cx)];
                assert_eq!(polled[0], polled[1]);
                polled[0]
            })
            .await;
        }
        assert_eq!(polls, 2 * 3, "each turn begins with one poll in vain");
    }

    #[tokio::test]
    async fn another_task_has_a_turn_of_its_own() {
        let mut turn = Turn::default();
        turn.count(bounds::TURN_BYTES);
        assert!(poll_fn(|cx| Poll::Ready(turn.poll_begin(cx))).await.is_pending());
        let other = tokio::spawn(async move { poll_fn(|cx| Poll::Ready(turn.poll_begin(cx))).await });
        assert!(other.await.unwrap().is_ready());
    }
}
