//! Ends a cell whose event loop is blocked: by an endless loop, a regular expression, `Atomics.wait`, or promises that
//! never let go. A thread of its own looks at when the turn under way began; it sleeps while there is none.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// The stack of a thread that only waits.
const STACK: usize = 64 * 1024;

/// Looks in one limit's time: a loop is found blocked at most this part of the limit too late.
const LOOKS: u32 = 8;

/// Where a watched future tells when its turns begin and end.
pub(crate) struct Watch {
    turns: Arc<Turns>,
    watcher: Thread,
}

struct Turns {
    epoch: Instant,
    /// In microseconds since `epoch`, and 0 between turns.
    began: AtomicU64,
    asleep: AtomicBool,
}

impl Watch {
    /// `exceeded` is called when one turn has taken longer than `limit`.
    pub(crate) fn start(limit: Duration, exceeded: impl Fn() + Send + 'static) -> std::io::Result<Self> {
        let turns = Arc::new(Turns {
            epoch: Instant::now(),
            began: AtomicU64::new(0),
            asleep: AtomicBool::new(false),
        });
        let watched = Arc::clone(&turns);
        let builder = thread::Builder::new().name("watchdog".into()).stack_size(STACK);
        let watcher = builder.spawn(move || watched.watch(limit, exceeded))?;
        Ok(Self { turns, watcher: watcher.thread().clone() })
    }

    /// `future`, with each of its turns watched.
    pub(crate) async fn over<F: Future>(&self, future: F) -> F::Output {
        let mut future = std::pin::pin!(future);
        std::future::poll_fn(|context| self.turn(future.as_mut(), context)).await
    }

    fn turn<F: Future>(&self, future: Pin<&mut F>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.turns.began.store(self.turns.now(), Ordering::SeqCst);
        if self.turns.asleep.load(Ordering::SeqCst) && self.turns.asleep.swap(false, Ordering::SeqCst) {
            self.watcher.unpark();
        }
        let polled = future.poll(context);
        self.turns.began.store(0, Ordering::SeqCst);
        polled
    }
}

impl Turns {
    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX).max(1)
    }

    fn watch(&self, limit: Duration, exceeded: impl Fn()) {
        let mut last = 0;
        loop {
            let began = self.began.load(Ordering::SeqCst);
            if began == 0 && last == 0 {
                // No turn since the last look: sleeps until the next one begins.
                self.asleep.store(true, Ordering::SeqCst);
                while self.began.load(Ordering::SeqCst) == 0 && self.asleep.load(Ordering::SeqCst) {
                    thread::park();
                }
                self.asleep.store(false, Ordering::SeqCst);
                last = self.began.load(Ordering::SeqCst);
            } else {
                last = began;
            }
            if began != 0 && self.now().saturating_sub(began) >= limit.as_micros() as u64 {
                exceeded();
            }
            thread::sleep(limit / LOOKS);
        }
    }
}
