//! Runs: one execution of a task or pipeline, as the history has it.

mod id;
mod query;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

pub use self::id::{InvalidRunId, RunId};
pub use self::query::{
    InvalidVersionChoice, ResumeRun, RetryRun, RunDetail, RunFilter, RunLog, RunPage, RunVersionChoice,
    StartedRun,
};
use crate::commit::CommitInfo;
use crate::digest::Digest;
use crate::event::Diagnostic;
use crate::task::{Consistency, TaskId};

/// A run, in `GET /runs` and `GET /runs/{id}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Run {
    /// The id, which sorts by the time of its acceptance.
    pub id: RunId,
    /// The task or pipeline.
    pub task: TaskId,
    /// `true`: it is a pipeline.
    #[serde(default)]
    pub is_pipeline: bool,
    /// The state.
    pub state: RunState,
    /// The trigger.
    pub trigger: RunTrigger,
    /// The name of the token, or of the person, that started it. `null` for triggers.
    #[serde(default)]
    pub by: Option<String>,
    /// The idempotency key of the request that started it.
    #[serde(default)]
    pub key: Option<String>,
    /// The due time, for a schedule.
    #[serde(default)]
    pub scheduled_at: Option<Timestamp>,
    /// When it was accepted.
    pub queued_at: Timestamp,
    /// When the code of its last attempt began. `null`: not yet.
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    /// When it ended. `null`: not yet.
    #[serde(default)]
    pub ended_at: Option<Timestamp>,
    /// The version that it runs, or ran. `null`: no router has begun it.
    #[serde(default)]
    pub version: Option<RunVersion>,
    /// The rule for the code of later steps, retries and resumed runs.
    #[serde(default)]
    pub consistency: Consistency,
    /// The number of the last attempt, from 1.
    pub attempt: u32,
    /// Attempts that it has in all.
    pub attempts: u32,
    /// When the next attempt begins, while it waits for it.
    #[serde(default)]
    pub next_attempt_at: Option<Timestamp>,
    /// The run that this one is a step of, or that it retries by hand, or whose end started it.
    #[serde(default)]
    pub parent: Option<RunId>,
    /// The name of the step of `parent` that this run is.
    #[serde(default)]
    pub step: Option<String>,
    /// The parameters.
    #[serde(default)]
    pub params: Value,
    /// The result. `null` until it succeeded.
    #[serde(default)]
    pub result: Option<Value>,
    /// The reason of its end, unless it succeeded.
    #[serde(default)]
    pub error: Option<RunError>,
    /// The id of the router that runs it, or ran it last.
    #[serde(default)]
    pub router: Option<String>,
    /// Lines in its log.
    #[serde(default)]
    pub log_lines: u64,
}

impl Run {
    /// The run as callers see it. With its key they could find it again in another's name.
    pub fn shown(self) -> Self {
        Self { key: None, ..self }
    }

    /// The run as lists show it: a thousand results and parameters could be a gigabyte.
    pub fn listed(self) -> Self {
        Self { params: Value::Null, result: None, ..self.shown() }
    }
}

/// The version that a run uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunVersion {
    /// The version's name, as in `blog@3f9a1c2b7d4e`.
    pub name: String,
    /// The whole digest.
    pub digest: Digest,
    /// The hash of the task's specification.
    pub spec: String,
    /// The commit that it came from, if it is known.
    #[serde(default)]
    pub commit: Option<CommitInfo>,
}

/// The state of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// Waits for its turn, or for its next attempt.
    Queued,
    /// A router was asked to run it.
    Starting,
    /// The code runs.
    Running,
    /// Ended well.
    Succeeded,
    /// Its code threw, ended early, or was ended for a limit.
    Failed,
    /// Took longer than it may.
    TimedOut,
    /// Somebody, or a later run, ended it.
    Cancelled,
    /// Its router is gone, or does not know it any more.
    Lost,
    /// A state of a newer bridge.
    #[serde(other)]
    Unrecognized,
}

impl RunState {
    /// All states that this version has.
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::Starting,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::TimedOut,
        Self::Cancelled,
        Self::Lost,
    ];

    /// Returns true if the run has ended.
    pub fn is_end(self) -> bool {
        !matches!(self, Self::Queued | Self::Starting | Self::Running | Self::Unrecognized)
    }

    /// The name as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed-out",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
            Self::Unrecognized => "unrecognized",
        }
    }

    /// The state of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// The trigger of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RunTrigger {
    /// A due time.
    Cron,
    /// A request to the webhook listener.
    Webhook,
    /// A person, or a program with a token.
    Manual,
    /// The task is a daemon.
    Daemon,
    /// The end of another run.
    Chain,
    /// A file in `DATA_DIR`.
    File,
    /// A step of another run.
    Step,
    /// A kind of a newer bridge.
    #[serde(other)]
    Unrecognized,
}

impl RunTrigger {
    /// The name as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cron => "cron",
            Self::Webhook => "webhook",
            Self::Manual => "manual",
            Self::Daemon => "daemon",
            Self::Chain => "chain",
            Self::File => "file",
            Self::Step => "step",
            Self::Unrecognized => "unrecognized",
        }
    }

    /// The kind of this name.
    pub fn parse(name: &str) -> Option<Self> {
        let all =
            [Self::Cron, Self::Webhook, Self::Manual, Self::Daemon, Self::Chain, Self::File, Self::Step];
        all.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// The reason of a run's end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunError {
    /// One word for programs: `threw`, `exit`, `signal`, `abort`, `memory`, `event-loop`, `disk`,
    /// `timeout`, `cancelled`, `replaced`, `result`, `invalid-params`, `unknown-task`,
    /// `version-gone`, `build`, `lost`, `crash-loop`, `router`, `steps`.
    pub reason: String,
    /// The message, for people.
    pub message: String,
    /// The location in the author's code, if it is known.
    #[serde(default)]
    pub diagnostic: Option<Diagnostic>,
}

impl RunError {
    /// An error without a location.
    pub fn new(reason: &str, message: impl Into<String>) -> Self {
        Self { reason: reason.to_owned(), message: message.into(), diagnostic: None }
    }
}

/// A line of a run's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunLine {
    /// The number of the line in the run's attempt, from 0. Numbers of lines that were left out are
    /// missing.
    pub n: u64,
    /// When it was printed.
    pub at: Timestamp,
    /// `stdout`, `stderr`, or `switchyard` for lines of the runtime.
    pub stream: String,
    /// The text, without its end of line.
    pub line: String,
    /// `true`: the line was too long and continues in the next one.
    #[serde(default)]
    pub continues: bool,
    /// The attempt that printed it, from 1.
    #[serde(default = "first")]
    pub attempt: u32,
    /// Lines that were left out because the log was too large: this one stands for them. 0 for a
    /// line that was printed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skipped: u64,
}

impl RunLine {
    /// The number of lines that it is, or stands for.
    pub fn count(&self) -> u64 {
        self.skipped.max(1)
    }
}

/// A step of a run that is written with `ctx.step`, or of a pipeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Step {
    /// The name; a second step of one name has `#2` after it.
    pub name: String,
    /// The state.
    pub state: RunState,
    /// The run that executes it. `null` for a function in the run's own code.
    #[serde(default)]
    pub run: Option<RunId>,
    /// The version that it used.
    #[serde(default)]
    pub version: Option<RunVersion>,
    /// The registry that named its module, by the digest of that version.
    #[serde(default)]
    pub registry: Option<String>,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The result.
    #[serde(default)]
    pub result: Option<Value>,
    /// The reason of its end, unless it succeeded.
    #[serde(default)]
    pub error: Option<RunError>,
}

/// One due time of one trigger. It has exactly one record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Occurrence {
    /// The task or pipeline.
    pub task: TaskId,
    /// The due time.
    pub due_at: Timestamp,
    /// The record.
    pub outcome: OccurrenceOutcome,
    /// The run that it started, or that was in its way.
    #[serde(default)]
    pub run: Option<RunId>,
    /// The reason, unless it ran.
    #[serde(default)]
    pub reason: Option<String>,
}

/// The outcome of a due time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OccurrenceOutcome {
    /// Started a run.
    Ran,
    /// Nothing was started, by the task's own rule.
    Skipped,
    /// Nobody was there to start it.
    Missed,
    /// An outcome of a newer bridge.
    #[serde(other)]
    Unrecognized,
}

impl OccurrenceOutcome {
    /// The name as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ran => "ran",
            Self::Skipped => "skipped",
            Self::Missed => "missed",
            Self::Unrecognized => "unrecognized",
        }
    }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

fn first() -> u32 {
    1
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_show_no_results_and_nothing_shows_keys() {
        let run: Run = serde_json::from_value(json!({
            "id": RunId::new_now(), "task": "blog:digest", "state": "succeeded", "trigger": "manual",
            "key": "k", "queued_at": "2026-03-01T08:00:00Z", "attempt": 1, "attempts": 1,
            "params": {"a": 1}, "result": 5,
        }))
        .unwrap();
        let one = run.clone().shown();
        assert_eq!((one.key, one.result), (None, Some(json!(5))));
        let row = run.listed();
        assert_eq!((row.key, row.params, row.result), (None, Value::Null, None));
    }
}
