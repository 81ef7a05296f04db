//! Readers of runs' logs, of runs under way too.

use tokio::sync::watch;

use super::Runs;
use super::handle::history;
use crate::ledger::Ledger;
use switchyard_contract::run::{RunId, RunLine, RunLog};
use switchyard_edge::problem::Problem;

/// Lines of a log that are read at once.
const LINES: usize = 500;

/// A reader of a run's log, with its position.
pub struct LogFollower {
    ledger: Ledger,
    run: RunId,
    next: u64,
    /// `None`: the run has ended.
    more: Option<watch::Receiver<u64>>,
}

impl LogFollower {
    /// Returns the next lines as soon as there are some. `None`: the run has ended, and all were
    /// read.
    pub async fn next(&mut self) -> Option<Vec<RunLine>> {
        loop {
            let is_ended = match &mut self.more {
                Some(more) => {
                    more.mark_unchanged();
                    more.has_changed().is_err()
                }
                None => true,
            };
            let lines = self.ledger.log(self.run, self.next, LINES).await.unwrap_or_default();
            if !lines.is_empty() {
                self.next = after(self.next, &lines);
                return Some(lines);
            }
            if is_ended {
                return None;
            }
            if let Some(more) = &mut self.more
                && more.changed().await.is_err()
            {
                self.more = None;
            }
        }
    }

    /// The index of the line after those that were read.
    pub fn position(&self) -> u64 {
        self.next
    }
}

impl Runs {
    /// The lines of a run's log from the one with this index on, also those that are yet to come.
    ///
    /// # Errors
    /// The run is unknown, or the history cannot be read.
    pub async fn logs(&self, id: RunId, from: u64) -> Result<LogFollower, Problem> {
        // Before the look at the run: lines that come in between are noticed.
        let more = self.0.progress.follow(id);
        self.stored(id).await?;
        Ok(LogFollower { ledger: self.0.ledger.clone(), run: id, next: from, more })
    }

    /// A page of a run's log as it is now: at most `most` lines from the one with this index on.
    ///
    /// # Errors
    /// The run is unknown, or the history cannot be read.
    pub async fn log(&self, id: RunId, from: u64, most: usize) -> Result<RunLog, Problem> {
        // Before the lines: none comes after the end.
        let has_ended = self.stored(id).await?.run.state.is_end();
        let lines = self.0.ledger.log(id, from, most).await.map_err(|error| history(&error))?;
        let (next, is_end) = (after(from, &lines), has_ended && lines.len() < most);
        Ok(RunLog { lines, next, is_end })
    }
}

/// The index of the line after those that were read from `from` on.
fn after(from: u64, lines: &[RunLine]) -> u64 {
    from + lines.iter().map(RunLine::count).sum::<u64>()
}
