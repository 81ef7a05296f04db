//! The changes at the bridge, for those who show them as they happen: of projects, routers and
//! deploys, and the events of routers.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::broadcast;

use switchyard_contract::event::Event;

/// Changes that a slow follower may be late with. Beyond it, it reads everything again.
const MAX_PENDING: usize = 1024;

/// The events that are kept for those who come later: as many as a router keeps.
const KEPT_EVENTS: usize = 1000;

/// One change. The new state is read where it is kept.
#[derive(Debug, Clone)]
pub enum Change {
    /// The state of these projects at any router.
    Projects(Arc<BTreeSet<String>>),
    /// The routers, or their readiness.
    Routers,
    /// The deploy with this id.
    Deploy(Arc<str>),
    /// A router has sent an event.
    Event(Arc<Event>),
}

/// The feed of changes. Cheap to clone; all clones are the same feed.
#[derive(Debug, Clone)]
pub struct Changes {
    sender: broadcast::Sender<Change>,
    events: Arc<Mutex<VecDeque<Arc<Event>>>>,
}

impl Default for Changes {
    fn default() -> Self {
        Self { sender: broadcast::Sender::new(MAX_PENDING), events: Arc::default() }
    }
}

impl Changes {
    /// Returns all changes from now on.
    pub fn follow(&self) -> broadcast::Receiver<Change> {
        self.sender.subscribe()
    }

    /// Returns the last events of all routers, the newest first.
    pub fn events(&self) -> Vec<Arc<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).iter().rev().cloned().collect()
    }

    /// Reports a change. Nobody has to be there.
    pub fn send(&self, change: Change) {
        let _ = self.sender.send(change);
    }

    /// Reports that the state of these projects has changed.
    pub fn projects(&self, projects: BTreeSet<String>) {
        if !projects.is_empty() {
            self.send(Change::Projects(Arc::new(projects)));
        }
    }

    /// Reports an event, which may come twice: it is posted, and streamed.
    pub fn event(&self, event: &Event) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let id = |event: &Event| (event.data.router.clone(), event.data.sequence);
        if events.iter().rev().any(|known| id(known) == id(event)) {
            return;
        }
        let event = Arc::new(event.clone());
        // A router posts again what it could not post at its time.
        let later = events.iter().rev().take_while(|known| known.timestamp > event.timestamp).count();
        let at = events.len() - later;
        events.insert(at, event.clone());
        if events.len() > KEPT_EVENTS {
            events.pop_front();
        }
        drop(events);
        self.send(Change::Event(event));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(sequence: usize) -> Event {
        serde_json::from_value(json!({
            "type": "reload.live", "timestamp": "2026-03-01T12:00:00Z",
            "data": {"router": "r1", "sequence": sequence, "project": "a", "digest": null, "version": null,
                "previous": null, "trigger": null, "error": null},
        }))
        .unwrap()
    }

    #[test]
    fn an_event_that_comes_twice_is_reported_once_and_the_oldest_is_forgotten() {
        let changes = Changes::default();
        let mut following = changes.follow();
        changes.event(&event(1));
        changes.event(&event(1));
        assert!(matches!(following.try_recv(), Ok(Change::Event(event)) if event.data.sequence == 1));
        assert!(following.try_recv().is_err());
        (2..KEPT_EVENTS + 2).for_each(|sequence| changes.event(&event(sequence)));
        let kept = changes.events();
        assert_eq!(kept.len(), KEPT_EVENTS);
        assert_eq!((kept[0].data.sequence, kept[KEPT_EVENTS - 1].data.sequence), (1001, 2));
    }
}
