//! Turns: how much is read or copied for one connection before the other tasks of the thread have
//! theirs.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};

use tokio::task::yield_now;

use switchyard_contract::bounds;

/// The use that one connection makes of its turn.
#[derive(Debug, Default)]
pub(super) struct Turn {
    frames: usize,
    bytes: usize,
    /// It is used up, and others have theirs.
    rest: Option<Arc<Rest>>,
}

/// The time between two turns. Whoever polls a task's future may do so several times in one go
/// (hyper does): that alone begins no new turn.
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
    /// tasks have had theirs and the runtime has looked for input.
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
        // Its first poll has the task woken behind the others.
        let yielded = pin!(yield_now()).poll(&mut Context::from_waker(&waker));
        debug_assert!(yielded.is_pending());
        self.rest = Some(rest);
        Poll::Pending
    }

    /// Counts one frame, or one read.
    pub(super) fn count(&mut self, bytes: usize) {
        self.frames += 1;
        self.bytes += bytes;
    }

    /// Returns true while some of it is left.
    pub(super) fn lasts(&self) -> bool {
        self.frames < bounds::TURN_FRAMES && self.bytes < bounds::TURN_BYTES
    }

    /// Nothing is there: the task waits, and others have their turns meanwhile.
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
        // A task of its own, whose waker is always the same.
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
                // However often it is asked meanwhile.
                let asked = [turn.poll_begin(cx), turn.poll_begin(cx)];
                assert_eq!(asked[0], asked[1]);
                asked[0]
            })
            .await;
        }
        assert_eq!(polls, 2 * 3, "once in vain for each");
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
