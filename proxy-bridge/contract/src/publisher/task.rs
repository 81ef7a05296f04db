//! The task that takes events out of the outbox and owns the requests under way.

use std::collections::HashMap;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::Shared;
use super::delivery::EventSender;
use super::outbox::{DeliveryResult, Settlement};
use crate::event::Event;

/// Runs until `shutdown` was called and no event is left, or its time is over. `_running` is
/// dropped at the end, also by a panic.
pub(super) async fn run(
    shared: Arc<Shared>,
    sender: Arc<EventSender>,
    in_flight: usize,
    _running: watch::Sender<()>,
) {
    let mut task = Task { shared, sender, tries: JoinSet::new(), events: HashMap::new() };
    loop {
        while task.tries.len() < in_flight && task.start_one() {}
        let (next_due, ends) = {
            let state = task.shared.state();
            if state.ends.is_some() && state.outbox.held() == 0 {
                return;
            }
            (state.outbox.next_due(), state.ends)
        };
        // While all requests are in use, an event that is due waits for one of them.
        let next_due = next_due.filter(|_| task.tries.len() < in_flight);
        tokio::select! {
            Some(ended) = task.tries.join_next_with_id() => task.settle(ended),
            () = task.shared.changed.notified() => {}
            () = until(next_due) => {}
            () = until(ends) => break,
        }
    }
    task.give_up_the_rest();
}

struct Task {
    shared: Arc<Shared>,
    sender: Arc<EventSender>,
    tries: JoinSet<DeliveryResult>,
    /// The event of each attempt, kept here for attempts that panic.
    events: HashMap<Id, Arc<Event>>,
}

impl Task {
    fn start_one(&mut self) -> bool {
        let Some(attempt) = self.shared.state().outbox.take(Instant::now()) else {
            return false;
        };
        if attempt.number > 1 {
            self.shared.retried.fetch_add(1, Ordering::Relaxed);
        }
        let (sender, event) = (self.sender.clone(), attempt.event.clone());
        let handle = self.tries.spawn(async move { sender.try_once(&event).await });
        self.events.insert(handle.id(), attempt.event);
        true
    }

    fn settle(&mut self, ended: Result<(Id, DeliveryResult), JoinError>) {
        let (id, result) = ended.unwrap_or_else(|error| {
            tracing::error!(%error, "an attempt to post an event panicked");
            (error.id(), DeliveryResult::Failed { retry_after: None })
        });
        let Some(event) = self.events.remove(&id) else {
            return;
        };
        let data = &event.data;
        let settled = self.shared.state().outbox.settle(&data.project, result, Instant::now());
        match settled {
            Settlement::Delivered => {
                self.shared.delivered.fetch_add(1, Ordering::Relaxed);
            }
            Settlement::WillRetry(pause) => tracing::debug!(
                project.name = data.project,
                event.sequence = data.sequence,
                pause_ms = pause.as_secs_f64() * 1e3,
                "event not delivered, will be tried again",
            ),
            Settlement::GivenUp => {
                self.shared.given_up.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(
                    project.name = data.project,
                    event.sequence = data.sequence,
                    "event {} of {} given up",
                    data.sequence,
                    data.project,
                );
            }
        }
    }

    /// Dropping the set ends the requests under way.
    fn give_up_the_rest(self) {
        let left = self.shared.state().outbox.clear();
        self.shared.dropped.fetch_add(left as u64, Ordering::Relaxed);
        tracing::warn!(event.count = left, "{left} events dropped at the end of the shutdown timeout");
    }
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => pending().await,
    }
}
