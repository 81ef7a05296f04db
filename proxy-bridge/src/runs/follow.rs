//! The task that follows one attempt of a run at its router: its lines go to the log, everything else
//! to the control.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use http::StatusCode;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::progress::Progress;
use crate::ledger::Ledger;
use crate::routers::{CallError, Router};
use jiff::Timestamp;
use switchyard_contract::admin::{RunEnd, RunEvent, StepRequest};
use switchyard_contract::run::{RunId, RunLine};

/// The pause before a stream that broke off is read on.
const RECONNECT: Duration = Duration::from_millis(250);

/// The time without an answer after which the runs of a router are lost. A router that restarts is
/// back sooner, and says itself that it does not know them.
pub(super) const LOST_AFTER: Duration = Duration::from_secs(15);

/// An event of a run that the control decides about.
pub(super) enum FollowEvent {
    /// The code runs.
    Started(Timestamp),
    /// A step waits for an answer.
    Step(StepRequest),
    /// The attempt has ended.
    Ended(RunEnd),
    /// The router does not know it.
    Unknown,
    /// The router is gone: the reason.
    Lost(String),
}

/// A message of a task that follows a run.
pub(super) struct FollowMessage {
    pub(super) run: RunId,
    pub(super) attempt: u32,
    pub(super) event: FollowEvent,
}

/// One attempt of a run at a router.
pub(super) struct Follower {
    pub(super) run: RunId,
    pub(super) attempt: u32,
    pub(super) router: Arc<Router>,
    pub(super) ledger: Ledger,
    pub(super) progress: Progress,
    pub(super) messages: mpsc::Sender<FollowMessage>,
    /// The number after that of the last line of this attempt that is in the log.
    pub(super) next_line: u64,
    /// Bytes of the run's log.
    pub(super) max_log: u64,
}

impl Follower {
    /// Follows the run to its end.
    pub(super) async fn run(mut self) {
        let (mut after, mut silent_since) = (0, None);
        loop {
            let error = match self.read(&mut after, &mut silent_since).await {
                Ok(()) => return,
                Err(error) => error,
            };
            if matches!(&error, CallError::Answered { status, .. } if *status == StatusCode::NOT_FOUND) {
                return self.send(FollowEvent::Unknown).await;
            }
            let since = *silent_since.get_or_insert_with(Instant::now);
            if since.elapsed() > LOST_AFTER {
                let name = self.router.name();
                let why =
                    format!("the router {name} has not answered for {} s: {error}", LOST_AFTER.as_secs());
                return self.send(FollowEvent::Lost(why)).await;
            }
            sleep(RECONNECT).await;
        }
    }

    /// Reads events until the run's end, or until the stream breaks off.
    async fn read(&mut self, after: &mut u64, silent_since: &mut Option<Instant>) -> Result<(), CallError> {
        let mut events = self.router.run_events(self.run, *after).await?;
        while let Some(event) = events.next().await {
            let (number, event) = event?;
            *silent_since = None;
            match event {
                RunEvent::Started { at } => self.send(FollowEvent::Started(at)).await,
                RunEvent::Lines { lines } => self.log(lines).await,
                RunEvent::Step(step) => self.send(FollowEvent::Step(step)).await,
                RunEvent::Ended(end) => {
                    self.send(FollowEvent::Ended(end)).await;
                    return Ok(());
                }
            }
            *after = number;
        }
        Err(CallError::Unreachable("the stream of events ended".to_owned()))
    }

    async fn log(&mut self, mut lines: Vec<RunLine>) {
        // After a restart of the bridge all lines are sent again.
        lines.retain(|line| line.n >= self.next_line);
        let Some(last) = lines.last() else { return };
        self.next_line = last.n + 1;
        lines.iter_mut().for_each(|line| line.attempt = self.attempt);
        if let Err(error) = self.ledger.append_log(self.run, lines, self.max_log).await {
            tracing::warn!(run = %self.run, "lines of a run are not kept: {error}");
        }
        self.progress.more(self.run);
    }

    async fn send(&self, event: FollowEvent) {
        let message = FollowMessage { run: self.run, attempt: self.attempt, event };
        // Fails only when the control has ended.
        let _ = self.messages.send(message).await;
    }
}
