//! Going on after the bridge was lost: a restart is over in seconds.

use std::time::Duration;

use http::StatusCode;
use tokio::time::{Instant, sleep};

use super::Console;
use super::bridge::{Bridge, CallError};
use super::failure::{Failure, NO_ANSWER};

/// Longest time for a bridge to come back, unless it counts as gone sooner. Its drain and its start
/// take less.
const WITHIN: Duration = Duration::from_secs(60);

/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(500);

/// The attempts of a command that follows something.
#[derive(Debug)]
pub(super) struct Attempts {
    within: Duration,
    /// `None`: the bridge answers.
    lost: Option<Instant>,
    was_there: bool,
}

impl Attempts {
    pub(super) fn new(bridge: &Bridge) -> Self {
        Self { within: WITHIN.min(bridge.silence()), lost: None, was_there: false }
    }

    /// Returns true for an answer that a bridge gives which is back, and does not know its routers'
    /// projects yet.
    pub(super) fn is_starting(&self, status: StatusCode) -> bool {
        self.lost.is_some() && (status == StatusCode::NOT_FOUND || status.is_server_error())
    }

    /// Notes that the bridge answers. Returns a sentence if it did not before.
    pub(super) fn found(&mut self) -> Option<&'static str> {
        self.was_there = true;
        self.lost.take().map(|_| "the bridge is back")
    }

    /// Notes that there was no answer, and pauses before the next attempt. Returns the sentence about it
    /// when it is the first one.
    ///
    /// # Errors
    /// The attempt was the last one, or the bridge never answered.
    pub(super) async fn lost(&mut self, why: &str) -> Result<Option<String>, Failure> {
        let is_first = self.lost.is_none();
        let since = *self.lost.get_or_insert_with(Instant::now);
        if !self.was_there || since.elapsed() >= self.within {
            return Err(Failure::new(NO_ANSWER, why));
        }
        sleep(PAUSE.min(self.within / 4)).await;
        Ok(is_first.then(|| format!("{why}; trying again for {} s", self.within.as_secs())))
    }

    /// The same for an error, with what is said on standard error.
    ///
    /// # Errors
    /// The attempt was the last one, or the bridge never answered, or its answer is not understood.
    pub(super) async fn after(&mut self, error: CallError, console: &mut Console<'_>) -> Result<(), Failure> {
        if matches!(error, CallError::Strange(_)) {
            return Err(error.into());
        }
        let note = self.lost(&error.to_string()).await?;
        Ok(console.complain(&note.unwrap_or_default())?)
    }
}
