//! Runs between bridge and router: `/_runs` of the admin listener.
//!
//! A run is started by `POST /_runs` and followed by `GET /_runs/{id}/events`. Its router keeps
//! everything of it, also over a restart of the router once it has ended, until the bridge has
//! acknowledged its end (`DELETE /_runs/{id}?attempt=N`).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::digest::Digest;
use crate::incarnation::Incarnation;
use crate::project::ProjectName;
use crate::run::{RunError, RunId, RunLine, RunState, RunVersion};
use crate::task::TaskName;

/// `POST /_runs`: start a run. The same id and attempt again is the same run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunRequest {
    /// The run.
    pub run: RunId,
    /// The attempt, from 1.
    pub attempt: u32,
    /// The project.
    pub project: ProjectName,
    /// The incarnation of the project that the run belongs to. `null`: any.
    #[serde(default)]
    pub incarnation: Option<Incarnation>,
    /// The version. `null`: the live one.
    #[serde(default)]
    pub version: Option<Digest>,
    /// The work.
    pub work: RunWork,
    /// The parameters: an object.
    #[serde(default)]
    pub params: Value,
    /// The input: the body of a webhook, the result of the run before, the file's content.
    #[serde(default)]
    pub input: Value,
    /// `ctx.config` of a task that is a step of a pipeline.
    #[serde(default)]
    pub config: Value,
    /// The run that this one is a step of, or follows from.
    #[serde(default)]
    pub parent: Option<RunId>,
    /// The number of runs above it, if it is a step: at most
    /// [`MAX_STEP_DEPTH`](crate::bounds::MAX_STEP_DEPTH). 0: it is no step.
    #[serde(default)]
    pub depth: u32,
    /// The pipeline that it is a step of: its input, and the results so far by step, as
    /// `{input, results}`. `null`: of none.
    #[serde(default)]
    pub pipeline: Value,
    /// The trigger: `cron`, `webhook`, …
    pub trigger: String,
    /// The due time, for a schedule.
    #[serde(default)]
    pub scheduled_at: Option<Timestamp>,
    /// Milliseconds that it may take. `null`: the task's own limit, or the policy's.
    #[serde(default)]
    pub time_ms: Option<u64>,
    /// Results of steps that an earlier attempt has finished.
    #[serde(default)]
    pub journal: Vec<JournalEntry>,
    /// The span that the attempt is a part of, as in W3C's `traceparent`. `null`: nothing is traced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// The work of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum RunWork {
    /// A task of the version. Also `Deno.cron` and `scheduled`, by their tasks' names.
    Task {
        /// The task's name.
        task: TaskName,
    },
    /// A module that a registry names: a step of a pipeline.
    Module {
        /// The path relative to the project.
        path: String,
        /// The name in the registry.
        name: String,
        /// `ctx.config`.
        #[serde(default)]
        config: Value,
    },
    /// Evaluates the project's registry. The result is its object of names and paths, relative to
    /// the project.
    Registry,
}

/// The result of a step that is finished.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JournalEntry {
    /// The step's name; a second step of one name has `#2` after it.
    pub step: String,
    /// Its result.
    pub result: Value,
}

/// The answer to `POST /_runs`, 202.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunAccepted {
    /// The run.
    pub run: RunId,
    /// The attempt.
    pub attempt: u32,
    /// The version that it uses.
    pub version: RunVersion,
    /// The router's id: another one after each start.
    pub router: String,
}

/// A run that a router knows, in `GET /_runs`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct KnownRun {
    /// The run.
    pub run: RunId,
    /// The attempt.
    pub attempt: u32,
    /// The project.
    pub project: ProjectName,
    /// The version.
    pub version: RunVersion,
    /// `true`: it has ended, and its end waits to be acknowledged.
    pub ended: bool,
}

/// `GET /_runs`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct KnownRuns {
    /// The router's id.
    pub router: String,
    /// Runs at once that the router takes (`--max-runs`).
    pub max_runs: u32,
    /// The runs, by id.
    pub runs: Vec<KnownRun>,
}

/// An event of a run, on the stream `GET /_runs/{id}/events?after=N`. The id of the server-sent event
/// is its number in the run, from 1; `after` leaves out those up to N.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum RunEvent {
    /// The code runs.
    Started {
        /// When it began.
        at: Timestamp,
    },
    /// Lines that it printed.
    Lines {
        /// At most 100.
        lines: Vec<RunLine>,
    },
    /// A step waits for its journal entry, or for a run of its own: answered by
    /// `POST /_runs/{id}/steps`.
    Step(StepRequest),
    /// The end. The last event.
    Ended(RunEnd),
}

/// A step of a run that is written with `ctx.step`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StepRequest {
    /// The number of the step in this attempt, from 0.
    pub number: u64,
    /// The step's name; a second step of one name has `#2` after it.
    pub name: String,
    /// The question.
    pub ask: StepAsk,
}

/// The question of a step to the bridge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum StepAsk {
    /// A function in the run's own code is about to begin.
    Begin,
    /// The function has ended well: keep its result.
    Keep {
        /// The result.
        result: Value,
    },
    /// The function has failed.
    Failed {
        /// The error.
        error: RunError,
    },
    /// Run this task of the project, and answer with its result.
    Task {
        /// The task's name.
        task: TaskName,
        /// Its input.
        #[serde(default)]
        input: Value,
    },
}

/// `POST /_runs/{id}/steps`: the answer to a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StepReply {
    /// The attempt.
    pub attempt: u32,
    /// The number of the step.
    pub number: u64,
    /// The result, for a task; `null` otherwise.
    #[serde(default)]
    pub result: Value,
    /// The reason why it failed.
    #[serde(default)]
    pub error: Option<RunError>,
}

/// The end of an attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunEnd {
    /// When it ended.
    pub at: Timestamp,
    /// `succeeded`, `failed`, `timed-out` or `cancelled`.
    pub state: RunState,
    /// The result.
    #[serde(default)]
    pub result: Option<Value>,
    /// The reason, unless it succeeded.
    #[serde(default)]
    pub error: Option<RunError>,
    /// Lines that it printed, including those that were left out.
    #[serde(default)]
    pub lines: u64,
}

/// `POST /_runs/{id}/cancel`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CancelRequest {
    /// The reason: `cancelled` or `replaced`, or `new-code` for a daemon.
    pub reason: String,
    /// Milliseconds after which the cell is killed. Its `ctx.signal` is aborted at once.
    pub grace_ms: u64,
}

/// `POST /_hooks/verify`: does a webhook carry the project's secret?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HookCheck {
    /// The project.
    pub project: ProjectName,
    /// The variable of the project's grant that holds the secret.
    pub secret: String,
    /// The sender's kind, as in [`WebhookSignature`](crate::task::WebhookSignature).
    pub kind: String,
    /// The headers that may have a proof, in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, as base64.
    pub body: String,
}
