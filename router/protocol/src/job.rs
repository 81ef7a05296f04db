//! Work that a cell does instead of serving: runs of tasks, and the checks of a build.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use switchyard_contract::admin::{JournalEntry, StepAsk};
use switchyard_contract::run::RunError;

/// The work of one cell. The cell ends with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Job {
    /// Loads and links modules, and evaluates none: [`FromCell::Linked`](crate::FromCell::Linked),
    /// or `Failed` for the first that is wrong.
    Link {
        /// Paths relative to the checkout, with `/` as separator.
        modules: Vec<String>,
    },
    /// Calls the handler that the entry exports.
    Call(Box<Call>),
    /// Evaluates the entry and returns its default export: an object of names and paths. The result
    /// has each path relative to the checkout.
    Registry {
        /// Bytes that the result may have as JSON.
        max_result: u64,
    },
}

/// A call of a task's handler.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Which export is called.
    pub handler: Handler,
    /// The run, as the handler sees it in `ctx.run`.
    pub run: RunContext,
    /// `ctx.params`: an object.
    pub params: Value,
    /// `ctx.input`.
    pub input: Value,
    /// `ctx.config`.
    pub config: Value,
    /// `ctx.pipeline`: `{input, results}` of the pipeline that the run is a step of. `null`: of none.
    #[serde(default)]
    pub pipeline: Value,
    /// Steps that an earlier attempt has finished.
    pub journal: Vec<JournalEntry>,
    /// Bytes that a result may have as JSON.
    pub max_result: u64,
    /// The span that the handler's spans are children of, as in W3C's `traceparent`.
    #[serde(default)]
    pub traceparent: Option<String>,
}

/// The handler that a call calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Handler {
    /// The default export if it is a function, or else the export `main`. A default export that is
    /// an object of stage functions is called stage by stage.
    Task,
    /// `scheduled(controller, env, ctx)` of the default export.
    Scheduled {
        /// The cron expression that was due.
        cron: String,
        /// The due time, in milliseconds since 1970.
        at_ms: i64,
    },
}

/// A run, as its handler sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunContext {
    /// The run's id.
    pub id: String,
    /// The task's name.
    pub task: String,
    /// The attempt, from 1.
    pub attempt: u32,
    /// The trigger.
    pub trigger: String,
    /// The due time of a schedule, as in RFC 3339.
    pub scheduled_at: Option<String>,
    /// The version's name.
    pub version: String,
    /// The commit that the version came from.
    pub commit: Option<String>,
    /// The run that this one is a step of.
    #[serde(default)]
    pub parent: Option<String>,
}

/// A cron that the entry has registered with `Deno.cron`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CronRegistration {
    /// The name.
    pub name: String,
    /// The schedule with five fields, in UTC; weekdays from 1 for Sunday.
    pub schedule: String,
    /// Milliseconds before each further attempt.
    pub backoff_ms: Option<Vec<u32>>,
}

/// A step that waits for the bridge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobStep {
    /// The number of the request, from 0.
    pub number: u64,
    /// The step's name.
    pub name: String,
    /// What is asked for.
    pub ask: StepAsk,
}

/// The answer to a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobStepReply {
    /// The number of the request.
    pub number: u64,
    /// The result.
    pub result: Value,
    /// The reason why it failed.
    pub error: Option<RunError>,
}
