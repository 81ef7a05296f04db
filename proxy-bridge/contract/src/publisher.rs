//! The delivery of events to the ingress: signed, in order for each project, repeated on failure,
//! bounded in memory.
//!
//! One task owns the queues and starts a task for each request under way, at most
//! [`PublisherConfig::in_flight`] of them. Projects are independent. An event is sent only after
//! the one before it of the same project was delivered or given up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::event::Event;
use crate::secret::Secret;
use outbox::Outbox;

pub use config::{PublisherConfig, QueueLimits, RetryPolicy};
pub use reqwest::Url;

mod config;
mod delivery;
mod outbox;
mod task;

/// The end that events are given to. Cheap to clone; all clones feed the same queues.
#[derive(Debug, Clone)]
pub struct Publisher {
    shared: Arc<Shared>,
    sender: Arc<delivery::EventSender>,
    /// Closed when the task has ended.
    ended: watch::Receiver<()>,
}

/// The events so far by their results, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Answered with a 2xx.
    pub delivered: u64,
    /// Tries after the first of an event.
    pub retried: u64,
    /// Refused for good, or tried too often or too long.
    pub given_up: u64,
    /// Never sent: a queue was full, or the time for shutting down was over.
    pub dropped: u64,
    /// Accepted and not settled yet. A number of now; the others only grow.
    pub queued: u64,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Wakes the task after a change of `state`.
    changed: Notify,
    delivered: AtomicU64,
    retried: AtomicU64,
    given_up: AtomicU64,
    dropped: AtomicU64,
}

#[derive(Debug)]
struct State {
    outbox: Outbox,
    /// The time at which the task ends and drops the remaining events. Set by `shutdown`.
    ends: Option<Instant>,
}

impl Publisher {
    /// Starts the task that delivers, on the current tokio runtime. The caller owns it: end it with
    /// [`Publisher::shutdown`] and join it.
    ///
    /// Fails when the HTTP client cannot be made.
    pub fn start(config: PublisherConfig) -> anyhow::Result<(Self, JoinHandle<()>)> {
        let PublisherConfig { url, secret, request_timeout, in_flight, retry, limits } = config;
        let sender = delivery::EventSender::new(url, secret, request_timeout)
            .context("make the HTTP client that posts events")?;
        let sender = Arc::new(sender);
        let shared = Arc::new(Shared {
            state: Mutex::new(State { outbox: Outbox::new(limits, retry), ends: None }),
            changed: Notify::new(),
            delivered: AtomicU64::new(0),
            retried: AtomicU64::new(0),
            given_up: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        });
        let (running, ended) = watch::channel(());
        let task = task::run(shared.clone(), sender.clone(), in_flight.max(1), running);
        Ok((Self { shared, sender, ended }, tokio::spawn(task)))
    }

    /// Queues an event. Never waits and never fails.
    ///
    /// When a queue is full, an event that has been sent at least once stays, since the ingress may
    /// have seen it. Among the others,
    /// - at the limit of one project, the oldest of that project is dropped,
    /// - at the limit for all, the oldest of the project with the most waiting events is dropped;
    ///   if every
    ///   queued event has been sent already, the new one is.
    ///
    /// Each drop is counted. The newest state of a project thus always gets through, and the
    /// router's
    /// `GET /events` still has the dropped events. After `shutdown` every event is dropped.
    pub fn publish(&self, event: Event) {
        let mut state = self.shared.state();
        let dropped = if state.ends.is_some() { Some(event) } else { state.outbox.push(event) };
        drop(state);
        if let Some(event) = dropped {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                project.name = event.data.project,
                event.sequence = event.data.sequence,
                "event {} of {} dropped before it was sent",
                event.data.sequence,
                event.data.project,
            );
        }
        self.shared.changed.notify_one();
    }

    /// Signs with `secret` from the next try on.
    pub fn set_secret(&self, secret: Secret) {
        self.sender.set_secret(secret);
    }

    /// Returns the counts of events so far.
    pub fn counters(&self) -> Counters {
        let shared = &self.shared;
        Counters {
            queued: shared.state().outbox.held() as u64,
            delivered: shared.delivered.load(Ordering::Relaxed),
            retried: shared.retried.load(Ordering::Relaxed),
            given_up: shared.given_up.load(Ordering::Relaxed),
            dropped: shared.dropped.load(Ordering::Relaxed),
        }
    }

    /// Accepts no more events, delivers those that are queued, and returns when none is left or
    /// `within` is over, whichever comes first. Events that are left then are dropped. If called
    /// again, the earlier end counts.
    pub async fn shutdown(&self, within: Duration) -> Counters {
        let ends = Instant::now() + within;
        {
            let mut state = self.shared.state();
            state.ends = Some(state.ends.map_or(ends, |earlier| earlier.min(ends)));
        }
        self.shared.changed.notify_one();
        // Nothing is ever sent on this channel: an error is the end of the task.
        let mut ended = self.ended.clone();
        while ended.changed().await.is_ok() {}
        self.counters()
    }
}

impl Shared {
    /// The lock is held for a few map operations, never over an await. The outbox is whole between
    /// any two of its calls, so a panic elsewhere under the lock leaves it usable.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
