//! Ends a cell whose event loop is blocked: by an endless loop, a regular expression, `Atomics.wait`, or promises that
//! never let go.
//!
//! JavaScript runs in whichever task of the runtime a request or a timer comes from, so the runtime's thread as a whole is
//! watched: when it was last seen to make progress since it woke up. A thread that is busy for long is asked to have a task
//! say so. The watching thread sleeps while the other one does. While a debugger is attached nothing is ended: it may have stopped
//! the thread itself.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::sync::Notify;

/// The stack of a thread that only waits.
const STACK: usize = 64 * 1024;

/// Looks in one limit's time: a loop is found blocked at most this part of the limit too late.
const LOOKS: u32 = 8;

/// What the runtime's thread tells of itself.
#[derive(Clone)]
pub(crate) struct Pulse(Arc<State>);

struct State {
    epoch: Instant,
    /// When the thread woke up, or made progress after that: in microseconds since `epoch`, and 0 while it sleeps.
    awake: AtomicU64,
    /// Asks for a sign of progress.
    asked: Notify,
    watcher_sleeps: AtomicBool,
    watcher: OnceLock<Thread>,
    /// Debuggers that there are.
    debuggers: AtomicU32,
    /// When the last one left, in microseconds since `epoch`.
    left: AtomicU64,
}

/// A debugger. While there is one, the thread may stand still.
pub(crate) struct Attached(Arc<State>);

impl Pulse {
    pub(crate) fn new() -> Self {
        Self(Arc::new(State {
            epoch: Instant::now(),
            awake: AtomicU64::new(0),
            asked: Notify::new(),
            watcher_sleeps: AtomicBool::new(false),
            watcher: OnceLock::new(),
            debuggers: AtomicU32::new(0),
            left: AtomicU64::new(0),
        }))
    }

    /// Has the runtime's thread tell.
    pub(crate) fn told_by(&self, runtime: &mut Builder) {
        let (sleeps, wakes) = (Arc::clone(&self.0), Arc::clone(&self.0));
        runtime.on_thread_park(move || sleeps.awake.store(0, Ordering::SeqCst));
        runtime.on_thread_unpark(move || wakes.wake());
    }

    /// From now on `exceeded` is called when nothing else could run for `limit`.
    pub(crate) fn watch(&self, limit: Duration, exceeded: impl Fn() + Send + 'static) -> std::io::Result<()> {
        let state = Arc::clone(&self.0);
        let builder = thread::Builder::new().name("watchdog".into()).stack_size(STACK);
        let watcher = builder.spawn(move || state.watch(limit, exceeded))?;
        _ = self.0.watcher.set(watcher.thread().clone());
        Ok(())
    }

    pub(crate) fn attach(&self) -> Attached {
        self.0.debuggers.fetch_add(1, Ordering::SeqCst);
        Attached(Arc::clone(&self.0))
    }

    /// `future`, beside which the thread answers when it is asked.
    pub(crate) async fn beside<F: Future>(&self, future: F) -> F::Output {
        let answers = async {
            loop {
                self.0.asked.notified().await;
                self.0.progress();
            }
        };
        tokio::select! {
            biased;
            never = answers => never,
            output = future => output,
        }
    }
}

impl State {
    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX).max(1)
    }

    fn progress(&self) {
        self.awake.store(self.now(), Ordering::SeqCst);
    }

    fn wake(&self) {
        self.progress();
        if self.watcher_sleeps.load(Ordering::SeqCst)
            && self.watcher_sleeps.swap(false, Ordering::SeqCst)
            && let Some(watcher) = self.watcher.get()
        {
            watcher.unpark();
        }
    }

    fn watch(&self, limit: Duration, exceeded: impl Fn()) {
        let mut before = 0;
        loop {
            let awake = self.awake.load(Ordering::SeqCst);
            if awake == 0 && before == 0 {
                self.sleep();
            } else if awake != 0 {
                if self.stuck_since(awake).is_some_and(|since| since >= limit) {
                    exceeded();
                }
                self.asked.notify_one();
            }
            before = awake;
            thread::sleep(limit / LOOKS);
        }
    }

    /// For how long the thread, which is awake since then, has been stuck. `None` while it may be.
    fn stuck_since(&self, awake: u64) -> Option<Duration> {
        if self.debuggers.load(Ordering::SeqCst) > 0 {
            return None;
        }
        let since = awake.max(self.left.load(Ordering::SeqCst));
        Some(Duration::from_micros(self.now().saturating_sub(since)))
    }

    /// Until the runtime's thread is awake.
    fn sleep(&self) {
        self.watcher_sleeps.store(true, Ordering::SeqCst);
        while self.awake.load(Ordering::SeqCst) == 0 && self.watcher_sleeps.load(Ordering::SeqCst) {
            thread::park();
        }
        self.watcher_sleeps.store(false, Ordering::SeqCst);
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        // In this order: whoever sees that it has left sees when.
        self.0.left.store(self.0.now(), Ordering::SeqCst);
        self.0.debuggers.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Long enough for a machine that has other things to do.
    const LIMIT: Duration = Duration::from_millis(500);

    fn runtime(pulse: &Pulse) -> tokio::runtime::Runtime {
        let mut builder = Builder::new_current_thread();
        pulse.told_by(builder.enable_all());
        builder.build().unwrap()
    }

    #[test]
    fn a_task_that_never_lets_go_is_found() {
        let pulse = Pulse::new();
        let (sender, exceeded) = mpsc::channel();
        pulse.watch(LIMIT, move || _ = sender.send(())).unwrap();
        let task = async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            // Blocks until it is found.
            tokio::spawn(async move { exceeded.recv_timeout(Duration::from_secs(60)).unwrap() }).await
        };
        runtime(&pulse).block_on(pulse.beside(task)).unwrap();
    }

    #[test]
    fn a_thread_that_a_debugger_has_stopped_is_found_only_once_that_has_left() {
        let pulse = Pulse::new();
        let (sender, exceeded) = mpsc::channel();
        pulse.watch(LIMIT, move || _ = sender.send(())).unwrap();
        let attached = pulse.attach();
        let task = async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            tokio::spawn(async move {
                assert!(exceeded.recv_timeout(2 * LIMIT).is_err());
                drop(attached);
                exceeded.recv_timeout(Duration::from_secs(60)).unwrap();
            })
            .await
        };
        runtime(&pulse).block_on(pulse.beside(task)).unwrap();
    }

    #[test]
    fn a_thread_that_is_always_busy_and_always_lets_go_is_not() {
        let pulse = Pulse::new();
        let (sender, exceeded) = mpsc::channel();
        pulse.watch(LIMIT, move || _ = sender.send(())).unwrap();
        let busy = async {
            let began = Instant::now();
            while began.elapsed() < 2 * LIMIT {
                tokio::task::yield_now().await;
            }
        };
        runtime(&pulse).block_on(pulse.beside(async { tokio::spawn(busy).await.unwrap() }));
        assert!(exceeded.try_recv().is_err());
    }
}
