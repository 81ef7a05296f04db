//! Turns: how much is read or copied for one connection before the other tasks of the thread have theirs.

use std::pin::pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::task::yield_now;

use crate::bounds;

/// A turn that was used up this long ago is over in any case: the task has been away. An idle connection, which is
/// looked at once before it is used again, is not passed over.
const STALE: Duration = Duration::from_millis(5);

/// The use that one connection makes of its turn.
#[derive(Debug, Default)]
pub(super) struct Turn {
    frames: usize,
    bytes: usize,
    used_up: Option<Instant>,
}

impl Turn {
    /// Ready while the turn lasts. Pending once it is used up: the next one begins when the other tasks have had theirs
    /// and the runtime has looked for input.
    pub(super) fn poll_begin(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.used_up.take() {
            Some(at) if at.elapsed() < STALE => {
                // Its first poll has the task woken behind the others.
                let is_over = pin!(yield_now()).as_mut().poll(cx);
                debug_assert!(is_over.is_pending());
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }

    /// Counts one frame, or one read.
    pub(super) fn count(&mut self, bytes: usize) {
        self.frames += 1;
        self.bytes += bytes;
        if self.frames >= bounds::TURN_FRAMES || self.bytes >= bounds::TURN_BYTES {
            *self = Self { used_up: Some(Instant::now()), ..Self::default() };
        }
    }

    /// Whether there is something left of it.
    pub(super) fn lasts(&self) -> bool {
        self.used_up.is_none()
    }

    /// Nothing is there: the task waits, and others have their turns meanwhile.
    pub(super) fn end(&mut self) {
        *self = Self::default();
    }
}
