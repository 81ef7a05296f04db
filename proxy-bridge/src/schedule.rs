//! Decisions about due times, without effects: what follows missed ones, what a due time does while
//! a run is under way, and what has become of the clock.

mod clock;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};
use switchyard_contract::run::RunId;
use switchyard_contract::task::{CatchUp, Overlap, TaskId};
use switchyard_tasks::schedule::Schedule;

pub use self::clock::{ClockChange, ClockWatch};

/// The most due times that are recorded as missed at once. Older ones get no record.
pub const MAX_MISSED: usize = 1_000;

/// The most runs that [`CatchUp::All`] starts.
pub const MAX_CAUGHT_UP: usize = 100;

/// The age up to which [`CatchUp::One`] starts a run for a due time.
const MAX_AGE: SignedDuration = SignedDuration::from_hours(24);

/// The due times of a schedule that were not settled, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CaughtUp {
    /// Those that start a run.
    pub run: Vec<Timestamp>,
    /// Those that are recorded as missed: the latest [`MAX_MISSED`].
    pub missed: Vec<Timestamp>,
}

/// Decides about the due times after `settled`, up to and including `now`.
pub fn catch_up(schedule: &Schedule, policy: CatchUp, settled: Timestamp, now: Timestamp) -> CaughtUp {
    let mut missed = schedule.between(settled, now, MAX_MISSED + MAX_CAUGHT_UP);
    let most = match policy {
        CatchUp::None => 0,
        CatchUp::One => {
            let is_recent = |due: &&Timestamp| now.duration_since(**due) <= MAX_AGE;
            missed.last().filter(is_recent).map_or(0, |_| 1)
        }
        CatchUp::All => MAX_CAUGHT_UP,
    };
    let run = missed.split_off(missed.len().saturating_sub(most));
    missed.drain(..missed.len().saturating_sub(MAX_MISSED));
    CaughtUp { run, missed }
}

/// The decision about a due time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// A run starts.
    Start,
    /// Nothing starts.
    Skip {
        /// The run because of which nothing starts.
        in_the_way: RunId,
    },
    /// A run starts once those under way have ended.
    Queue,
    /// A run starts once these have been cancelled.
    Replace {
        /// The runs under way, and the one that waits.
        cancel: Vec<RunId>,
    },
}

/// Decides what a due time does while the runs `under_way`, oldest first, have not ended and
/// `waiting` has not begun.
pub fn on_due(overlap: Overlap, under_way: &[RunId], waiting: Option<RunId>) -> Decision {
    let in_the_way = match overlap {
        Overlap::Allow => return Decision::Start,
        Overlap::Replace => {
            let cancel: Vec<_> = under_way.iter().copied().chain(waiting).collect();
            return if cancel.is_empty() { Decision::Start } else { Decision::Replace { cancel } };
        }
        Overlap::Skip => under_way.first().copied().or(waiting),
        Overlap::Queue if waiting.is_none() && !under_way.is_empty() => return Decision::Queue,
        Overlap::Queue => waiting,
    };
    in_the_way.map_or(Decision::Start, |in_the_way| Decision::Skip { in_the_way })
}

/// The time by which the run of a due time is put off: less than `most`, in whole milliseconds.
/// Always the same for one task and due time, so that a restart does not change it.
pub fn jitter(task: &TaskId, due: Timestamp, most: Duration) -> Duration {
    let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
    let hash = Sha256::new().chain_update(task.to_string()).chain_update(due.as_nanosecond().to_be_bytes());
    let hash: [u8; 32] = hash.finalize().into();
    let (number, _) = hash.split_first_chunk().unwrap_or((&[0; 8], &[]));
    Duration::from_millis(u64::from_be_bytes(*number).checked_rem(most).unwrap_or_default())
}

#[cfg(test)]
mod tests;
