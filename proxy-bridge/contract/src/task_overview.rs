//! Tasks and pipelines as the bridge lists and starts them: `/tasks` and `/pipelines`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::commit::CommitInfo;
use crate::run::{Occurrence, OccurrenceOutcome, Run, RunId, RunVersion};
use crate::task::{Consistency, PipelineSpec, RunLimits, TaskId, TaskSpec, TaskTrigger};

/// The tasks and pipelines of all projects, by id: `GET /tasks`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskOverviews {
    /// The tasks and pipelines that the caller may read.
    pub tasks: Vec<TaskOverview>,
}

/// A task or pipeline in `GET /tasks`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskOverview {
    /// The task or pipeline.
    pub task: TaskId,
    /// `true`: it is a pipeline.
    #[serde(default)]
    pub is_pipeline: bool,
    /// The author's text about it.
    #[serde(default)]
    pub description: Option<String>,
    /// The file that declares it, relative to the project.
    pub declared_in: String,
    /// The triggers besides a person.
    #[serde(default)]
    pub triggers: Vec<TaskTrigger>,
    /// `false`: no trigger starts it.
    pub enabled: bool,
    /// The live version that declares it, as in `blog@3f9a1c2b7d4e`.
    pub version: String,
    /// The commit that the version came from, if it is known.
    #[serde(default)]
    pub commit: Option<CommitInfo>,
    /// Its next due time. `null`: no schedule starts it.
    #[serde(default)]
    pub next: Option<Timestamp>,
    /// Its runs that a router has.
    #[serde(default)]
    pub under_way: u32,
    /// Its runs that wait for their turn.
    #[serde(default)]
    pub waiting: u32,
    /// The run that was accepted last, as in lists.
    #[serde(default)]
    pub last_run: Option<Run>,
}

/// A task or pipeline with all that is known of it: `GET /tasks/{task}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskDetail {
    /// The same as in the list.
    #[serde(flatten)]
    pub overview: TaskOverview,
    /// The specification in force.
    pub spec: DeclaredSpec,
    /// The hash of the specification.
    pub spec_hash: String,
    /// Its next due times, at most five.
    #[serde(default)]
    pub next_times: Vec<Timestamp>,
    /// The version that each router has live.
    #[serde(default)]
    pub versions: Vec<RouterVersion>,
    /// The last due times and their records, the newest first: at most ten.
    #[serde(default)]
    pub occurrences: Vec<Occurrence>,
    /// The operator's limits for the project's runs.
    pub limits: RunLimits,
}

/// The specification of a task or pipeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum DeclaredSpec {
    /// A task.
    Task(Box<TaskSpec>),
    /// A pipeline.
    Pipeline(Box<PipelineSpec>),
}

/// The version of a task's project that a router has live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RouterVersion {
    /// The router's address.
    pub router: String,
    /// The version. `null`: the router has no live version that declares the task.
    #[serde(default)]
    pub version: Option<RunVersion>,
}

/// `POST /tasks/{task}/run` and `POST /pipelines/{pipeline}/run`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StartTask {
    /// The parameters: an object. `null`: none.
    #[serde(default)]
    pub params: Value,
    /// The input: any JSON.
    #[serde(default)]
    pub input: Value,
    /// The version: its name, its digest or at least the digest's first 12 digits, or the commit that
    /// it was deployed from or at least the commit's first 7 digits. `null`: the one that is live when
    /// the run begins.
    #[serde(default)]
    pub version: Option<String>,
    /// The rule for the code of later steps, retries and resumed runs. `null`: the task's own one.
    #[serde(default)]
    pub consistency: Option<Consistency>,
}

/// An answer to the question why a task did or did not run: `GET /tasks/{task}/explain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskExplanation {
    /// The task or pipeline.
    pub task: TaskId,
    /// The due time that is explained. `null`: none was asked for, and it has not had one.
    #[serde(default)]
    pub due_at: Option<Timestamp>,
    /// The record of the due time. `null`: there is none.
    #[serde(default)]
    pub outcome: Option<OccurrenceOutcome>,
    /// The reason, for people.
    pub reason: String,
    /// The run that it started, or that was in its way.
    #[serde(default)]
    pub run: Option<RunId>,
    /// The next due time. `null`: no schedule starts the task.
    #[serde(default)]
    pub next: Option<Timestamp>,
}
