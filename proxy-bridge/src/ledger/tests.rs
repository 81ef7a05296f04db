//! The behaviour of the history, through its handle.

mod logs;
mod opening;
mod pages;
mod pruning;
mod records;

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use switchyard_contract::commit::CommitInfo;
use switchyard_contract::run::{Run, RunId, RunState, RunTrigger, RunVersion};
use switchyard_contract::task::{Consistency, TaskId};

use super::{Ledger, LedgerSettings, Retention, StoredRun};

/// The time of most tests.
fn noon() -> Timestamp {
    "2026-11-29T12:00:00Z".parse().unwrap()
}

fn seconds(number: i64) -> SignedDuration {
    SignedDuration::from_secs(number)
}

fn open(dir: &Path) -> Ledger {
    open_with(dir, Retention::default())
}

fn open_with(dir: &Path, retention: Retention) -> Ledger {
    Ledger::open(LedgerSettings { dir: dir.to_owned(), retention }).unwrap().0
}

fn task(name: &str) -> TaskId {
    name.parse().unwrap()
}

fn queued(name: &str, queued_at: Timestamp) -> StoredRun {
    let run = Run {
        id: RunId::new_now(),
        task: task(name),
        is_pipeline: false,
        state: RunState::Queued,
        trigger: RunTrigger::Manual,
        by: None,
        key: None,
        scheduled_at: None,
        queued_at,
        started_at: None,
        ended_at: None,
        version: None,
        consistency: Consistency::default(),
        attempt: 1,
        attempts: 1,
        next_attempt_at: None,
        parent: None,
        step: None,
        params: json!({"name": "x"}),
        result: None,
        error: None,
        router: None,
        log_lines: 0,
    };
    StoredRun { run, input: Value::Null, boot: None }
}

/// A run that ended a second after its acceptance.
fn ended(name: &str, queued_at: Timestamp, state: RunState) -> StoredRun {
    let mut stored = queued(name, queued_at);
    stored.run.state = state;
    stored.run.ended_at = Some(queued_at + seconds(1));
    stored
}

fn version(commit: char) -> RunVersion {
    let commit = commit.to_string().repeat(40);
    RunVersion {
        name: "blog@aaaaaaaaaaaa".to_owned(),
        digest: "a".repeat(64).parse().unwrap(),
        spec: "s".to_owned(),
        commit: Some(CommitInfo { source: "main".to_owned(), commit, ref_name: None }),
    }
}
