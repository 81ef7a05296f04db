//! Tasks and pipelines: their names, and their resolved specifications, which are part of a version.

mod name;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

pub use self::name::{InvalidTaskId, InvalidTaskName, TaskId, TaskName};
use crate::commit::CommitInfo;
use crate::digest::Digest;
use crate::project::ProjectName;

/// The tasks and pipelines of one version of a project: `GET /projects/{name}/tasks` of a router.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProjectTasks {
    /// The project's name.
    pub project: ProjectName,
    /// The version, as in `blog@3f9a1c2b7d4e`.
    pub version: String,
    /// The version's whole digest.
    pub digest: Digest,
    /// The commit that the version came from, if it is known.
    #[serde(default)]
    pub commit: Option<CommitInfo>,
    /// The hash of the specifications: [`TaskSet::hash`].
    pub hash: String,
    /// The tasks and pipelines.
    #[serde(flatten)]
    pub set: TaskSet,
    /// The operator's limits for the project's runs.
    pub limits: RunLimits,
}

/// The tasks and pipelines that a version declares, sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskSet {
    /// The tasks: at most [`MAX_TASKS`](crate::bounds::MAX_TASKS).
    pub tasks: Vec<TaskSpec>,
    /// The pipelines: at most [`MAX_TASKS`](crate::bounds::MAX_TASKS).
    #[serde(default)]
    pub pipelines: Vec<PipelineSpec>,
    /// The module that names the modules of pipelines' steps, relative to the project.
    #[serde(default)]
    pub registry: Option<String>,
}

/// The resolved specification of a task: all defaults and overrides are applied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskSpec {
    /// The name, unique in the project.
    pub name: TaskName,
    /// The author's text about it.
    #[serde(default)]
    pub description: Option<String>,
    /// The file that declares it, relative to the project: `deno.json`, `tasks/digest/task.yaml`.
    pub declared_in: String,
    /// The code that a run executes.
    pub code: TaskCode,
    /// The triggers besides a person: at most one of each kind but chains.
    #[serde(default)]
    pub triggers: Vec<TaskTrigger>,
    /// Milliseconds that a run may take. `null`: the policy's `run_time`. Daemons have no limit.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
    /// The rule for triggers while a run of the task is under way.
    #[serde(default)]
    pub overlap: Overlap,
    /// Further attempts after a failure.
    #[serde(default)]
    pub retry: Retry,
    /// The parameters that it takes, in the author's order.
    #[serde(default)]
    pub params: Vec<ParamSpec>,
    /// The code that later steps, retries and resumed runs use.
    #[serde(default)]
    pub version: Consistency,
    /// The part of its project's permissions that a run has. `null`: all of them.
    #[serde(default)]
    pub permissions: Option<TaskPermissions>,
    /// `false`: no trigger starts it. It can be run by hand.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// `true`: the input of its runs is kept in the history, for retries by hand.
    #[serde(default)]
    pub keep_inputs: bool,
}

/// The code of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum TaskCode {
    /// A module whose default export, or else whose export `main`, is called.
    Module {
        /// The path relative to the project, with `/` as separator.
        path: String,
    },
    /// A handler that the project's entry registers with `Deno.cron`; runs in a cell that serves.
    Cron {
        /// The name that the code gives it.
        name: String,
    },
    /// The handler `scheduled` beside `fetch` in the project's entry.
    Scheduled,
}

/// A trigger of a task or a pipeline besides a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum TaskTrigger {
    /// Points in time.
    Cron(CronTrigger),
    /// A request to the webhook listener.
    Webhook(WebhookTrigger),
    /// Runs as long as the project has it; restarted on new code.
    Daemon {
        /// When it is started again after it has ended.
        restart: Restart,
    },
    /// The end of a run of another task of the project.
    Chain {
        /// The other task.
        after: TaskName,
        /// The outcome that starts it.
        on: ChainOutcome,
    },
    /// A file that appears in `DATA_DIR`.
    File {
        /// A path below `DATA_DIR` with one `*` in its last part: `pending/*.json`.
        pattern: String,
    },
}

/// A schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CronTrigger {
    /// Cron expressions with five fields, or six with seconds first: at least one, at most 10.
    pub schedules: Vec<String>,
    /// An IANA time zone: `UTC`, `Europe/Berlin`.
    pub zone: String,
    /// `true`: weekdays are numbered from 1 for Sunday to 7, as `Deno.cron` does. `false`: from 0,
    /// or 7, for Sunday to 6.
    #[serde(default)]
    pub sunday_is_one: bool,
    /// The rule for times that were missed.
    #[serde(default)]
    pub catch_up: CatchUp,
    /// Milliseconds by which a run may be put off at random, the same for each due time.
    #[serde(default)]
    pub jitter_ms: u64,
}

/// A webhook of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WebhookTrigger {
    /// The path below `/hooks/`, without a slash at either end: `github/push`.
    pub path: String,
    /// The proof that a request is genuine. `null`: none is needed.
    #[serde(default)]
    pub signature: Option<WebhookSignature>,
    /// `true`: anybody who reaches the listener may start it.
    #[serde(default)]
    pub open: bool,
    /// `true`: the answer is the run's result. `false`: 202 once the run is recorded.
    #[serde(default)]
    pub sync: bool,
    /// `true`: GET requests are accepted too. Only where `open` is true.
    #[serde(default)]
    pub get: bool,
}

/// The proof that a webhook is genuine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WebhookSignature {
    /// The sender's kind: `github`, `gitlab`, `gitea`, `bitbucket`, `azure`, `standard`.
    pub kind: String,
    /// The variable that holds the secret. The operator's policy grants it to the project.
    pub secret: String,
}

/// The rule for triggers while a run of the task is under way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Overlap {
    /// Nothing: the time is recorded as skipped.
    #[default]
    Skip,
    /// One more run waits for the end of the one under way.
    Queue,
    /// The run under way is cancelled.
    Replace,
    /// Runs go on side by side.
    Allow,
}

impl Overlap {
    /// The rule of a task that names none: one at a time for schedules and daemons. Requests, ends of
    /// other runs and people each get a run of their own.
    pub fn default_for<'t>(triggers: impl IntoIterator<Item = &'t TaskTrigger>) -> Self {
        let is_timed =
            |trigger: &TaskTrigger| matches!(trigger, TaskTrigger::Cron(_) | TaskTrigger::Daemon { .. });
        if triggers.into_iter().any(is_timed) { Self::Skip } else { Self::Allow }
    }
}

/// The rule for times that were missed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CatchUp {
    /// Nothing: they are recorded as missed.
    None,
    /// One run for the last time that was missed, at most 24 hours ago.
    #[default]
    One,
    /// One run for each, oldest first: the last 100.
    All,
}

/// When a daemon is started again after it has ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// Whatever its end was.
    #[default]
    Always,
    /// After a failure.
    OnFailure,
    /// Only by new code, or by hand.
    Never,
}

/// The outcome of a run that starts another one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ChainOutcome {
    /// A success.
    #[default]
    Success,
    /// A failure, a time out or a loss; after the last attempt.
    Failure,
    /// Any end but a cancellation.
    Always,
}

/// The code that later steps, retries and resumed runs use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Consistency {
    /// The version that was live when the run began.
    #[default]
    Run,
    /// The version that is live when each step begins.
    Step,
    /// The version that whoever started the run has named.
    Commit,
}

/// Further attempts after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Retry {
    /// Attempts in all, the first one included: 1 to 20.
    pub attempts: u32,
    /// Milliseconds before the second attempt; doubled for each further one, up to an hour.
    pub backoff_ms: u64,
}

impl Default for Retry {
    /// One attempt.
    fn default() -> Self {
        Self { attempts: 1, backoff_ms: 10_000 }
    }
}

/// A parameter of a task or pipeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ParamSpec {
    /// The name.
    pub name: String,
    /// The type of its values.
    #[serde(rename = "type")]
    pub kind: ParamKind,
    /// The author's text about it.
    #[serde(default)]
    pub description: Option<String>,
    /// `true`: a run without it is refused.
    #[serde(default)]
    pub required: bool,
    /// The value of a run that names none.
    #[serde(default)]
    pub default: Option<Value>,
    /// The values that it may have. Empty: any of its type.
    #[serde(default)]
    pub options: Vec<Value>,
}

/// The type of a parameter's values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ParamKind {
    /// Text.
    #[default]
    String,
    /// A number.
    Number,
    /// A number without a fraction.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// Any JSON.
    Json,
}

/// The part of its project's permissions that a run has. `null` leaves a kind as it is; nothing is
/// ever added.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskPermissions {
    /// The variables that it sees.
    #[serde(default)]
    pub env: Option<Vec<String>>,
    /// The hosts that it reaches, in the form of Deno's `--allow-net`.
    #[serde(default)]
    pub net: Option<Vec<String>>,
    /// The paths that it reads besides its version and its folders.
    #[serde(default)]
    pub read: Option<Vec<String>>,
    /// The paths that it writes besides its folders.
    #[serde(default)]
    pub write: Option<Vec<String>>,
    /// The kinds of system information that it requests.
    #[serde(default)]
    pub sys: Option<Vec<String>>,
}

/// The resolved specification of a pipeline: tasks in an order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PipelineSpec {
    /// The name. Tasks and pipelines of a project have different names.
    pub name: TaskName,
    /// The author's text about it.
    #[serde(default)]
    pub description: Option<String>,
    /// The file that declares it, relative to the project.
    pub declared_in: String,
    /// The steps in the order in which they were declared: at most
    /// [`MAX_STEPS`](crate::bounds::MAX_STEPS).
    pub steps: Vec<StepSpec>,
    /// The triggers besides a person.
    #[serde(default)]
    pub triggers: Vec<TaskTrigger>,
    /// The rule for triggers while a run of the pipeline is under way.
    #[serde(default)]
    pub overlap: Overlap,
    /// The parameters that it takes.
    #[serde(default)]
    pub params: Vec<ParamSpec>,
    /// The code that later steps and resumed runs use.
    #[serde(default)]
    pub version: Consistency,
    /// `false`: no trigger starts it.
    #[serde(default = "yes")]
    pub enabled: bool,
}

/// A step of a pipeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StepSpec {
    /// The name, unique in the pipeline.
    pub name: String,
    /// The name of its module in the registry, or else of a task of the project.
    pub task: String,
    /// The steps that end before it begins. `null`: the one before it in the list.
    #[serde(default)]
    pub needs: Option<Vec<String>>,
    /// The author's configuration of the step, as `ctx.config`.
    #[serde(default)]
    pub config: Value,
    /// Milliseconds that an attempt may take. `null`: the task's own limit, or the policy's.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
    /// Further attempts after a failure.
    #[serde(default)]
    pub retry: Retry,
}

/// The operator's limits for the runs of one project, from the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunLimits {
    /// Runs at once on one router.
    pub runs: u32,
    /// Runs that wait: a further one is refused.
    pub queue: u32,
    /// Milliseconds that a run may take at most.
    pub time_ms: u64,
    /// Bytes of a result, as JSON.
    pub result: u64,
    /// Bytes of the log of one run. The beginning and the end are kept.
    pub log: u64,
    /// `true`: webhooks that prove nothing are open where their format cannot say so (task.yaml).
    #[serde(default)]
    pub open_webhooks: bool,
}

impl Default for RunLimits {
    /// 4 runs at once, 100 waiting, 10 minutes, 1 MiB of result and of log each.
    fn default() -> Self {
        Self { runs: 4, queue: 100, time_ms: 600_000, result: 1 << 20, log: 1 << 20, open_webhooks: false }
    }
}

impl TaskSet {
    /// Returns true if nothing is declared.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.pipelines.is_empty()
    }

    /// The hash of the specifications: 16 hex digits. Sets are equal where their hashes are.
    pub fn hash(&self) -> String {
        short_hash(self)
    }

    /// The names of all tasks and pipelines.
    pub fn names(&self) -> Vec<&str> {
        let tasks = self.tasks.iter().map(|task| task.name.as_str());
        tasks.chain(self.pipelines.iter().map(|pipeline| pipeline.name.as_str())).collect()
    }

    /// The task of this name.
    pub fn task(&self, name: &TaskName) -> Option<&TaskSpec> {
        self.tasks.iter().find(|task| task.name == *name)
    }

    /// The pipeline of this name.
    pub fn pipeline(&self, name: &TaskName) -> Option<&PipelineSpec> {
        self.pipelines.iter().find(|pipeline| pipeline.name == *name)
    }
}

impl TaskSpec {
    /// The hash of the specification: 16 hex digits.
    pub fn hash(&self) -> String {
        short_hash(self)
    }

    /// Returns true if it is a daemon.
    pub fn is_daemon(&self) -> bool {
        self.triggers.iter().any(|trigger| matches!(trigger, TaskTrigger::Daemon { .. }))
    }
}

impl PipelineSpec {
    /// The hash of the specification: 16 hex digits.
    pub fn hash(&self) -> String {
        short_hash(self)
    }
}

impl TaskTrigger {
    /// The name of its kind, as in JSON.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Cron(_) => "cron",
            Self::Webhook(_) => "webhook",
            Self::Daemon { .. } => "daemon",
            Self::Chain { .. } => "chain",
            Self::File { .. } => "file",
        }
    }
}

/// Maps are sorted, so the JSON of equal values is equal.
fn short_hash(value: &impl Serialize) -> String {
    use sha2::{Digest as _, Sha256};
    let json = serde_json::to_value(value).map(sorted).expect("a specification is plain data");
    let hash = Sha256::digest(json.to_string());
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Sorts the keys of all objects, whatever order serde_json keeps.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let map: BTreeMap<_, _> = map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            Value::Object(map.into_iter().collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(sorted).collect()),
        other => other,
    }
}

fn yes() -> bool {
    true
}
