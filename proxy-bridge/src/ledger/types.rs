//! Values that go into the history and come out of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use switchyard_contract::run::{Run, RunState};
use switchyard_contract::task::TaskId;

/// The folder of the history, and its retention.
#[derive(Debug, Clone)]
pub struct LedgerSettings {
    /// Its folder, which is made if it is missing. Only one process may have it open.
    pub dir: PathBuf,
    /// The part of it that is kept.
    pub retention: Retention,
}

/// The part of the history that is kept. Runs that are under way are always kept. The oldest runs go
/// first; a run that failed, took too long or was lost counts as half as old as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// The age of a run since its end, and of a due time.
    pub age: Duration,
    /// Runs of a task, and due times of a task.
    pub per_task: u64,
    /// Bytes of the database and the logs.
    pub bytes: u64,
}

impl Default for Retention {
    /// 30 days, 10,000 runs of a task, 1 GiB.
    fn default() -> Self {
        Self { age: Duration::from_hours(30 * 24), per_task: 10_000, bytes: 1 << 30 }
    }
}

/// A run, and what only the bridge needs of it.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRun {
    /// The run.
    pub run: Run,
    /// Its input. `null`: none, or it is not kept.
    pub input: Value,
    /// The id of the router's process that has it.
    pub boot: Option<String>,
}

/// The outcome of an acceptance.
#[derive(Debug, Clone, PartialEq)]
pub enum Accepted {
    /// The run is in the history now.
    New,
    /// This run of the task has the same idempotency key, or the same id. Nothing was changed.
    Known(Box<StoredRun>),
}

/// The time up to which the due times of a task's schedule are settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleState {
    /// The task or pipeline.
    pub task: TaskId,
    /// The hash of the schedule. Another one starts from now.
    pub spec: String,
    /// The time up to which each due time has its record. Kept to the microsecond.
    pub settled: Timestamp,
}

/// The result of the opening.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LedgerReport {
    /// The folder with the history that was damaged. A new one was begun.
    pub moved_aside: Option<PathBuf>,
}

impl LedgerReport {
    /// Returns the line about it for `/readyz`, if an operator has to know something.
    pub fn notice(&self) -> Option<String> {
        let moved = self.moved_aside.as_ref()?.display();
        Some(format!(
            "history: it was damaged, and is in {moved} now; a new one was begun, and schedules go on from now"
        ))
    }
}

/// The result of a pruning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PruneReport {
    /// Runs that are gone, with their steps and logs.
    pub runs: u64,
    /// Records of due times that are gone.
    pub occurrences: u64,
    /// Bytes of the database and the logs that are left.
    pub bytes: u64,
}

/// Numbers about the history.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LedgerStats {
    /// Bytes of the database's file.
    pub database_bytes: u64,
    /// Bytes of the logs.
    pub log_bytes: u64,
    /// Runs in each state that has any.
    pub runs: BTreeMap<RunState, u64>,
}
