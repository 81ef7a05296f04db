//! The queues of events as values, without a clock or a network: they decide which event is sent
//! next.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use backon::ExponentialBackoff;
use tokio::time::Instant;

use super::config::{QueueLimits, RetryPolicy};
use crate::event::Event;

/// The events that are not settled yet.
///
/// A project is in one of three states: in `ready`, in `resting`, or sending (in neither).
#[derive(Debug)]
pub(super) struct Outbox {
    limits: QueueLimits,
    retry: RetryPolicy,
    queues: HashMap<String, ProjectQueue>,
    ready: VecDeque<String>,
    resting: BTreeSet<(Instant, String)>,
    held: usize,
}

#[derive(Debug, Default)]
struct ProjectQueue {
    /// Sent at least once and not settled.
    head: Option<SentEvent>,
    /// Events that were not sent yet, the oldest first.
    waiting: VecDeque<Event>,
}

#[derive(Debug)]
struct SentEvent {
    event: Arc<Event>,
    tries: u32,
    since: Instant,
    /// The pauses that are left.
    pauses: ExponentialBackoff,
}

/// One try at one event, to be settled.
#[derive(Debug)]
pub(super) struct DeliveryAttempt {
    pub(super) event: Arc<Event>,
    /// 1 for the first.
    pub(super) number: u32,
}

/// The result of an attempt.
#[derive(Debug)]
pub(super) enum DeliveryResult {
    Delivered,
    /// Trying again would not help.
    Refused,
    /// Another attempt may succeed, after the pause that the ingress requested.
    Failed {
        retry_after: Option<Duration>,
    },
}

/// The consequence of an attempt for its event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Settlement {
    Delivered,
    GivenUp,
    WillRetry(Duration),
}

impl Outbox {
    pub(super) fn new(limits: QueueLimits, retry: RetryPolicy) -> Self {
        Self {
            limits,
            retry,
            queues: HashMap::new(),
            ready: VecDeque::new(),
            resting: BTreeSet::new(),
            held: 0,
        }
    }

    /// Everything that was pushed and is neither dropped nor settled.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Drops all events. Returns their number.
    pub(super) fn clear(&mut self) -> usize {
        let held = self.held;
        *self = Self::new(self.limits, self.retry);
        held
    }

    /// Queues an event. Returns the event that was dropped for it, if any: see
    /// `Publisher::publish`.
    pub(super) fn push(&mut self, event: Event) -> Option<Event> {
        let project = event.data.project.clone();
        let waiting = self.queues.get(&project).map_or(0, |queue| queue.waiting.len());
        let dropped = if waiting >= self.limits.per_project.max(1) {
            self.drop_oldest(&project)
        } else if self.held >= self.limits.total.max(1) {
            match self.longest() {
                Some(longest) => self.drop_oldest(&longest),
                None => return Some(event),
            }
        } else {
            None
        };
        if !self.queues.contains_key(&project) {
            self.ready.push_back(project.clone());
        }
        self.queues.entry(project).or_default().waiting.push_back(event);
        self.held += 1;
        dropped
    }

    /// A look at every queue, only when all queues together are full.
    fn longest(&self) -> Option<String> {
        let (name, queue) = self.queues.iter().max_by_key(|(_, queue)| queue.waiting.len())?;
        (!queue.waiting.is_empty()).then(|| name.clone())
    }

    fn drop_oldest(&mut self, project: &str) -> Option<Event> {
        let dropped = self.queues.get_mut(project)?.waiting.pop_front()?;
        self.held -= 1;
        Some(dropped)
    }

    /// The next try that may start now. It must be settled.
    pub(super) fn take(&mut self, now: Instant) -> Option<DeliveryAttempt> {
        while self.resting.first().is_some_and(|(due, _)| *due <= now) {
            self.ready.extend(self.resting.pop_first().map(|(_, project)| project));
        }
        while let Some(project) = self.ready.pop_front() {
            let Some(queue) = self.queues.get_mut(&project) else {
                continue;
            };
            let head = queue.head.take().or_else(|| {
                let event = Arc::new(queue.waiting.pop_front()?);
                Some(SentEvent { event, tries: 0, since: now, pauses: self.retry.pauses() })
            });
            // All that waited in it may have been dropped.
            let Some(mut head) = head else {
                self.queues.remove(&project);
                continue;
            };
            head.tries += 1;
            let attempt = DeliveryAttempt { event: head.event.clone(), number: head.tries };
            queue.head = Some(head);
            return Some(attempt);
        }
        None
    }

    /// Returns the time at which `take` may have another event, if only time must pass for it.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.resting.first().map(|(due, _)| *due)
    }

    /// Records the outcome of the attempt that `take` returned for this project. `jitter` is a
    /// number from 0 to 1.
    pub(super) fn settle(&mut self, project: &str, result: DeliveryResult, now: Instant) -> Settlement {
        let Some(queue) = self.queues.get_mut(project) else {
            return Settlement::GivenUp;
        };
        let pause = match (&result, &mut queue.head) {
            (DeliveryResult::Failed { retry_after }, Some(head)) => {
                self.retry.next(&mut head.pauses, now.duration_since(head.since), *retry_after)
            }
            _ => None,
        };
        if let Some(pause) = pause {
            self.resting.insert((now + pause, project.to_owned()));
            return Settlement::WillRetry(pause);
        }
        self.held -= usize::from(queue.head.take().is_some());
        if queue.waiting.is_empty() {
            self.queues.remove(project);
        } else {
            self.ready.push_back(project.to_owned());
        }
        match result {
            DeliveryResult::Delivered => Settlement::Delivered,
            DeliveryResult::Refused | DeliveryResult::Failed { .. } => Settlement::GivenUp,
        }
    }
}

#[cfg(test)]
mod tests;
