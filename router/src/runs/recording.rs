//! The events of a run as its cell, its owner and its followers share them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use switchyard_contract::admin::{RunEnd, RunEvent, StepRequest};
use switchyard_contract::run::RunLine;
use tokio::sync::watch;

use super::{Answer, EventLog, NumberedEvent, StepRefused, UnknownStep};
use crate::cells::{OutputLine, OutputSink};
use crate::version::Version;

/// The stream of lines of the runtime.
const OWN_STREAM: &str = "switchyard";

/// The events of a run under way.
#[derive(Debug)]
pub(super) struct Recording {
    attempt: u32,
    log: Mutex<EventLog>,
    changed: watch::Sender<()>,
}

/// A follower of a run's events, with its position.
#[derive(Debug)]
pub(crate) struct RunFollower {
    source: FollowerSource,
    after: u64,
}

#[derive(Debug)]
enum FollowerSource {
    Recording(Arc<Recording>, watch::Receiver<()>),
    /// The events of a run that has ended.
    Kept(Vec<NumberedEvent>),
    /// The end was handed out.
    Over,
}

impl Recording {
    pub(super) fn new(attempt: u32, log: EventLog) -> Self {
        Self { attempt, log: Mutex::new(log), changed: watch::Sender::new(()) }
    }

    pub(super) fn start(&self) {
        self.change(|log| log.start(Timestamp::now()));
    }

    pub(super) fn step(&self, step: StepRequest) -> Result<(), StepRefused> {
        self.change(|log| log.step(step))
    }

    pub(super) fn answer(&self, step: u64) -> Result<Answer, UnknownStep> {
        self.change(|log| log.answer(step))
    }

    /// Returns true if a step that is a run of its own waits for its answer.
    pub(super) fn waits_for_run(&self) -> bool {
        self.lock().waits_for_run()
    }

    /// Adds the end, and returns all events. Followers learn of it when it is announced.
    pub(super) fn end(&self, end: RunEnd) -> Vec<NumberedEvent> {
        let mut log = self.lock();
        log.end(end);
        log.all()
    }

    /// Tells followers of the end.
    pub(super) fn announce_end(&self) {
        self.change(EventLog::announce);
    }

    /// A line of the runtime's own.
    pub(super) fn note(&self, text: &str) {
        self.change(|log| log.line(self.line(OWN_STREAM, text, false)));
    }

    #[cfg(test)]
    pub(super) fn all(&self) -> Vec<NumberedEvent> {
        self.lock().all()
    }

    fn line(&self, stream: &str, text: &str, continues: bool) -> RunLine {
        let (at, attempt) = (Timestamp::now(), self.attempt);
        RunLine { n: 0, at, stream: stream.to_owned(), line: text.to_owned(), continues, attempt, skipped: 0 }
    }

    fn change<T>(&self, change: impl FnOnce(&mut EventLog) -> T) -> T {
        let changed = change(&mut self.lock());
        self.changed.send_replace(());
        changed
    }

    fn lock(&self) -> MutexGuard<'_, EventLog> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OutputSink for Recording {
    fn line(&self, _: &Version, line: &OutputLine<'_>) {
        let line = self.line(line.stream, line.text, line.continues);
        self.change(|log| log.line(line));
    }
}

impl RunFollower {
    /// A follower of a run under way, from the event after `after` on.
    pub(super) fn of(recording: Arc<Recording>, after: u64) -> Self {
        let changed = recording.changed.subscribe();
        Self { source: FollowerSource::Recording(recording, changed), after }
    }

    /// A follower of a run that has ended.
    pub(super) fn kept(events: Vec<NumberedEvent>, after: u64) -> Self {
        Self { source: FollowerSource::Kept(events), after }
    }

    /// The next events. `None` after the end. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Option<Vec<NumberedEvent>> {
        let events = match &mut self.source {
            FollowerSource::Over => return None,
            FollowerSource::Kept(events) => {
                let mut events = std::mem::take(events);
                events.retain(|event| event.number > self.after);
                self.source = FollowerSource::Over;
                return Some(events).filter(|events| !events.is_empty());
            }
            FollowerSource::Recording(recording, changed) => loop {
                changed.mark_unchanged();
                let events = recording.lock().after(self.after);
                if !events.is_empty() {
                    break events;
                }
                // The sender lives as long as the recording.
                changed.changed().await.ok()?;
            },
        };
        let last = events.last()?;
        self.after = last.number;
        if matches!(last.event, RunEvent::Ended(_)) {
            self.source = FollowerSource::Over;
        }
        Some(events)
    }
}

#[cfg(test)]
mod tests {
    use switchyard_contract::run::RunState;

    use super::*;

    #[tokio::test]
    async fn a_follower_gets_every_event_once_and_then_the_end() {
        let recording = Arc::new(Recording::new(2, EventLog::new(1 << 20, 1 << 20)));
        let mut follower = RunFollower::of(recording.clone(), 0);
        recording.start();
        assert_eq!(follower.next().await.unwrap().len(), 1);
        let next = tokio::spawn(async move { (follower.next().await, follower) });
        recording.note("stopping");
        let (lines, mut follower) = next.await.unwrap();
        let lines = lines.unwrap();
        assert!(matches!(&lines[0].event, RunEvent::Lines { lines } if lines[0].attempt == 2));
        let (at, state) = (Timestamp::now(), RunState::Cancelled);
        recording.end(RunEnd { at, state, result: None, error: None, lines: 0 });
        recording.announce_end();
        assert!(matches!(follower.next().await.unwrap()[0].event, RunEvent::Ended(_)));
        assert!(follower.next().await.is_none());
        let mut late = RunFollower::kept(recording.all(), 2);
        assert_eq!(late.next().await.unwrap()[0].number, 3);
        assert!(late.next().await.is_none());
    }
}
