//! The watchdog: it ends a cell whose event loop is blocked by an endless loop, a regular
//! expression, `Atomics.wait`, or promises that never yield.
//!
//! JavaScript runs in whichever task of the runtime a request or a timer comes from, so the
//! runtime's thread as a whole is watched, by the time of its last progress since it woke up. A
//! thread that is busy for long is requested to give a sign of progress, which a task does. The
//! watching thread sleeps while the other one does. While a debugger is attached nothing is ended,
//! as it may have stopped the thread.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::sync::Notify;

/// The stack of the watching thread, in bytes: it only waits.
const STACK: usize = 64 * 1024;

/// Checks within one limit: a blocked loop is found at most this part of the limit too late.
const CHECKS: u32 = 8;

/// The signs of progress of the runtime's thread.
#[derive(Clone)]
pub(crate) struct Pulse(Arc<PulseState>);

struct PulseState {
    epoch: Instant,
    /// The time at which the thread woke up, or made progress after that: microseconds since
    /// `epoch`, and 0 while it sleeps.
    awake: AtomicU64,
    /// Requests a sign of progress.
    requested: Notify,
    watcher_sleeps: AtomicBool,
    watcher: OnceLock<Thread>,
    /// The number of attached debuggers.
    debuggers: AtomicU32,
    /// The time at which the last debugger left, in microseconds since `epoch`.
    left: AtomicU64,
}

/// An attached debugger. Until this is dropped, the thread may stand still.
pub(crate) struct DebuggerGuard(Arc<PulseState>);

impl Pulse {
    /// Returns signs of progress that nothing watches yet.
    pub(crate) fn new() -> Self {
        Self(Arc::new(PulseState {
            epoch: Instant::now(),
            awake: AtomicU64::new(0),
            requested: Notify::new(),
            watcher_sleeps: AtomicBool::new(false),
            watcher: OnceLock::new(),
            debuggers: AtomicU32::new(0),
            left: AtomicU64::new(0),
        }))
    }

    /// Observes the thread of a runtime that is being built.
    pub(crate) fn observe(&self, runtime: &mut Builder) {
        let (sleeps, wakes) = (Arc::clone(&self.0), Arc::clone(&self.0));
        runtime.on_thread_park(move || sleeps.awake.store(0, Ordering::SeqCst));
        runtime.on_thread_unpark(move || wakes.wake());
    }

    /// Starts the watching thread, which calls `exceeded` if the event loop is blocked for `limit`.
    pub(crate) fn watch(&self, limit: Duration, exceeded: impl Fn() + Send + 'static) -> std::io::Result<()> {
        let state = Arc::clone(&self.0);
        let builder = thread::Builder::new().name("watchdog".into()).stack_size(STACK);
        let watcher = builder.spawn(move || state.watch(limit, exceeded))?;
        _ = self.0.watcher.set(watcher.thread().clone());
        Ok(())
    }

    /// Suspends the watchdog for a debugger.
    pub(crate) fn attach(&self) -> DebuggerGuard {
        self.0.debuggers.fetch_add(1, Ordering::SeqCst);
        DebuggerGuard(Arc::clone(&self.0))
    }

    /// Runs `future`, and gives signs of progress beside it when they are requested.
    pub(crate) async fn run<F: Future>(&self, future: F) -> F::Output {
        // The first turn counts as well, also if the thread has not slept before it.
        self.0.wake();
        let answers = async {
            loop {
                self.0.requested.notified().await;
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

impl PulseState {
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
                if self.stuck_for(awake).is_some_and(|time| time >= limit) {
                    exceeded();
                }
                self.requested.notify_one();
            }
            before = awake;
            thread::sleep(limit / CHECKS);
        }
    }

    /// Returns the time for which the thread, awake since `awake`, has made no progress. `None`
    /// while a debugger is attached.
    fn stuck_for(&self, awake: u64) -> Option<Duration> {
        if self.debuggers.load(Ordering::SeqCst) > 0 {
            return None;
        }
        let since = awake.max(self.left.load(Ordering::SeqCst));
        Some(Duration::from_micros(self.now().saturating_sub(since)))
    }

    /// Sleeps until the runtime's thread is awake.
    fn sleep(&self) {
        self.watcher_sleeps.store(true, Ordering::SeqCst);
        while self.awake.load(Ordering::SeqCst) == 0 && self.watcher_sleeps.load(Ordering::SeqCst) {
            thread::park();
        }
        self.watcher_sleeps.store(false, Ordering::SeqCst);
    }
}

impl Drop for DebuggerGuard {
    fn drop(&mut self) {
        // The time comes first, so that a reader of the lower count also reads the time.
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
        pulse.observe(builder.enable_all());
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
        runtime(&pulse).block_on(pulse.run(task)).unwrap();
    }

    #[test]
    fn a_task_that_never_lets_go_of_its_first_turn_is_found() {
        let pulse = Pulse::new();
        let (sender, exceeded) = mpsc::channel();
        pulse.watch(LIMIT, move || _ = sender.send(())).unwrap();
        let task = async { exceeded.recv_timeout(Duration::from_secs(60)).unwrap() };
        runtime(&pulse).block_on(pulse.run(task));
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
        runtime(&pulse).block_on(pulse.run(task)).unwrap();
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
        runtime(&pulse).block_on(pulse.run(async { tokio::spawn(busy).await.unwrap() }));
        assert!(exceeded.try_recv().is_err());
    }
}
