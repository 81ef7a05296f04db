//! The outgoing events: numbered, kept for replay, handed to subscribers and to the ingress.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use switchyard_contract::bounds::KEPT_EVENTS;
use switchyard_contract::commit::CommitInfo;
use switchyard_contract::event::{
    ChangedFiles, Death, Diagnostic, Event, EventData, EventType, RouteConflict, Timings, Trigger,
};
use switchyard_contract::project::ProjectName;
use switchyard_contract::publisher::Publisher;
use tokio::sync::{broadcast, watch};

use crate::version::Version;

/// Events that wait for a subscriber. One that falls further behind reads the missed events from
/// the log, or is cut off.
const BACKLOG: usize = 256;

/// All events of this router.
#[derive(Debug)]
pub(crate) struct Events {
    router: String,
    log: Mutex<EventLog>,
    sender: broadcast::Sender<Arc<Event>>,
    /// Changed with statuses whose change no event reports.
    statuses: watch::Sender<()>,
    publisher: Option<Publisher>,
}

#[derive(Debug, Default)]
struct EventLog {
    last: u64,
    kept: VecDeque<Arc<Event>>,
}

/// The details of an event.
#[derive(Debug, Default)]
pub(crate) struct EventDetails {
    pub(crate) version: Option<Version>,
    /// The commit of `version`.
    pub(crate) commit: Option<Arc<CommitInfo>>,
    pub(crate) previous: Option<Version>,
    pub(crate) trigger: Option<Trigger>,
    pub(crate) changed: Option<ChangedFiles>,
    pub(crate) error: Option<Diagnostic>,
    pub(crate) timings_ms: Timings,
    pub(crate) death: Option<Death>,
    pub(crate) conflict: Option<RouteConflict>,
    pub(crate) folder: Option<String>,
}

impl Events {
    /// `publisher` posts the events to the ingress, if there is one.
    pub(crate) fn new(publisher: Option<Publisher>) -> Self {
        let router = uuid::Uuid::new_v4().to_string();
        let (sender, statuses) = (broadcast::Sender::new(BACKLOG), watch::Sender::new(()));
        Self { router, log: Mutex::default(), sender, statuses, publisher }
    }

    /// Has followers look at the statuses of projects again: some have changed without an event.
    pub(crate) fn statuses_changed(&self) {
        self.statuses.send_replace(());
    }

    /// A receiver that is notified of [such changes](Self::statuses_changed) from now on.
    pub(crate) fn follow_statuses(&self) -> watch::Receiver<()> {
        self.statuses.subscribe()
    }

    /// Numbers an event and hands it to all subscribers. Never waits. Returns the number.
    pub(crate) fn emit(&self, kind: EventType, project: &ProjectName, details: EventDetails) -> u64 {
        let mut log = self.log();
        log.last += 1;
        let event = Event {
            kind,
            timestamp: Timestamp::now(),
            data: EventData {
                router: self.router.clone(),
                sequence: log.last,
                project: project.to_string(),
                digest: details.version.as_ref().map(|version| version.digest),
                version: details.version.as_ref().map(ToString::to_string),
                incarnation: details.version.as_ref().map(|version| version.incarnation).unwrap_or_default(),
                commit: details.commit.as_deref().cloned(),
                previous: details.previous.as_ref().map(ToString::to_string),
                trigger: details.trigger,
                changed: details.changed,
                error: details.error,
                timings_ms: details.timings_ms,
                death: details.death,
                conflict: details.conflict,
                folder: details.folder,
            },
        };
        if let Some(publisher) = &self.publisher {
            publisher.publish(event.clone());
        }
        let event = Arc::new(event);
        if log.kept.len() == KEPT_EVENTS {
            log.kept.pop_front();
        }
        log.kept.push_back(event.clone());
        // A missing subscriber is not an error. Sent under the lock, so that a replay and later events
        // meet.
        let _ = self.sender.send(event);
        log.last
    }

    /// The kept events after number `last`, and a receiver of every later one. All kept events, if
    /// `last` comes from another run of a router.
    pub(crate) fn follow(&self, last: Option<u64>) -> (Vec<Arc<Event>>, broadcast::Receiver<Arc<Event>>) {
        let log = self.log();
        let after = match last {
            None => log.last,
            Some(last) if last > log.last => 0,
            Some(last) => last,
        };
        let replay = log.kept.iter().filter(|event| event.data.sequence > after).cloned().collect();
        (replay, self.sender.subscribe())
    }

    fn log(&self) -> MutexGuard<'_, EventLog> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The id of this run of the router.
    pub(crate) fn router(&self) -> &str {
        &self.router
    }

    pub(crate) fn publisher(&self) -> Option<&Publisher> {
        self.publisher.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn emit(events: &Events, n: usize) {
        for _ in 0..n {
            events.emit(EventType::ReloadLive, &ProjectName::parse("a").unwrap(), EventDetails::default());
        }
    }

    fn sequences(events: &[Arc<Event>]) -> Vec<u64> {
        events.iter().map(|event| event.data.sequence).collect()
    }

    #[test]
    fn a_replay_begins_after_the_last_event_that_was_seen() {
        let events = Events::new(None);
        emit(&events, 3);
        assert_eq!(sequences(&events.follow(Some(1)).0), [2, 3]);
        assert!(events.follow(None).0.is_empty());
        assert_eq!(sequences(&events.follow(Some(99)).0), [1, 2, 3], "another router's numbers");
    }

    #[test]
    fn what_follows_a_replay_is_neither_lost_nor_sent_twice() {
        let events = Events::new(None);
        emit(&events, 2);
        let (replay, mut later) = events.follow(Some(0));
        emit(&events, 1);
        assert_eq!(sequences(&replay), [1, 2]);
        assert_eq!(later.try_recv().unwrap().data.sequence, 3);
        assert!(later.try_recv().is_err());
    }

    #[test]
    fn the_log_is_bounded() {
        let events = Events::new(None);
        emit(&events, KEPT_EVENTS + 7);
        assert_eq!(sequences(&events.follow(Some(0)).0).first(), Some(&8));
    }
}
