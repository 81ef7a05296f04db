//! The rest of what starts a run: kept in the ledger beside its record, so that another process can
//! start it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::tasks::Declared;
use switchyard_contract::admin::RunWork;
use switchyard_contract::digest::Digest;
use switchyard_contract::incarnation::Incarnation;
use switchyard_contract::run::{RunId, RunState};
use switchyard_contract::task::{PipelineSpec, Retry, TaskSpec};

/// Everything that starts a run, besides what its record has.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Launch {
    /// The work. `None`: a pipeline, whose steps are runs.
    pub(super) work: Option<RunWork>,
    /// The pipeline as it was when the run began.
    #[serde(default)]
    pub(super) pipeline: Option<PipelineSpec>,
    /// The registry of the project, if it has one.
    #[serde(default)]
    pub(super) registry: Option<String>,
    /// `ctx.input`.
    #[serde(default)]
    pub(super) input: Value,
    /// `ctx.config` of a step.
    #[serde(default)]
    pub(super) config: Value,
    /// The pipeline as a step sees it: the pipeline's input, and the results so far.
    #[serde(default)]
    pub(super) context: Value,
    /// The version to use. `None`: the live one.
    #[serde(default)]
    pub(super) version: Option<Digest>,
    /// The run whose finished steps are not run again.
    #[serde(default)]
    pub(super) resumes: Option<RunId>,
    /// The first step of it that is run again nevertheless.
    #[serde(default)]
    pub(super) from_step: Option<String>,
    /// Further attempts.
    #[serde(default)]
    pub(super) retry: Retry,
    /// Milliseconds that an attempt may take, if the run says so itself.
    #[serde(default)]
    pub(super) time_ms: Option<u64>,
    /// The number of the step of its parent that it is.
    #[serde(default)]
    pub(super) step_number: Option<u64>,
    /// The incarnation of the project that it belongs to. `None`: no router had reported it.
    #[serde(default)]
    pub(super) incarnation: Option<Incarnation>,
    /// The hash of the request, if it came with an idempotency key.
    #[serde(default)]
    pub(super) request: Option<String>,
    /// The number of runs above it, if it is a step.
    #[serde(default)]
    pub(super) depth: u32,
    /// The one router that can run it, by name: its input is a file there. `None`: any.
    #[serde(default)]
    pub(super) router: Option<String>,
    /// `true`: the task is a daemon.
    #[serde(default)]
    pub(super) is_daemon: bool,
    /// `true`: it had an input, which is not kept.
    #[serde(default)]
    pub(super) input_dropped: bool,
    /// `true`: the input is kept in the history once the run has ended.
    #[serde(default)]
    pub(super) keeps_input: bool,
    /// `true`: it waits until no other run of its task is under way.
    #[serde(default)]
    pub(super) alone: bool,
}

impl Launch {
    /// Drops what a run that has ended does not need. One that did not succeed may be retried or
    /// resumed.
    pub(super) fn ended(mut self, state: RunState) -> Self {
        if state == RunState::Succeeded && !self.keeps_input && !self.input.is_null() {
            self.input = Value::Null;
            self.input_dropped = true;
        }
        self.context = Value::Null;
        self
    }

    /// Reads what the ledger has kept. A launch that cannot be read runs nothing.
    pub(super) fn read(stored: &Value) -> Option<Self> {
        serde_json::from_value(stored.clone()).ok()
    }

    pub(super) fn to_value(&self) -> Value {
        serde_json::to_value(self).expect("a launch is plain data")
    }

    /// Returns true if it belongs to another project than the one of this incarnation. A record without
    /// one is older than the first removal of a project that this bridge knows of.
    pub(super) fn is_of_other(&self, incarnation: Incarnation) -> bool {
        self.incarnation.unwrap_or_default() != incarnation
    }

    /// Returns true if the router of this name can run it.
    pub(super) fn may_run_at(&self, router: &str) -> bool {
        self.router.as_deref().is_none_or(|only| only == router)
    }

    /// Returns the launch of another run of the same task, as this one was started.
    pub(super) fn again(&self, input: Value, version: Option<Digest>) -> Self {
        Self {
            input,
            version,
            resumes: None,
            from_step: None,
            step_number: None,
            incarnation: None,
            request: None,
            depth: 0,
            alone: self.is_daemon,
            ..self.clone()
        }
    }

    /// Returns the launch of a task or a pipeline, as it is declared.
    pub(super) fn of(declared: &Declared, input: Value, version: Option<Digest>) -> Self {
        match declared {
            Declared::Task(_, task) => Self::of_task(task, input, version),
            Declared::Pipeline(tasks, pipeline) => {
                Self::of_pipeline(pipeline, tasks.set.registry.clone(), input, version)
            }
        }
    }

    /// Returns the launch of a task.
    pub(super) fn of_task(task: &TaskSpec, input: Value, version: Option<Digest>) -> Self {
        Self {
            work: Some(RunWork::Task { task: task.name.clone() }),
            input,
            version,
            retry: if task.is_daemon() { Retry::default() } else { task.retry },
            is_daemon: task.is_daemon(),
            alone: task.is_daemon(),
            keeps_input: task.keep_inputs,
            ..Self::default()
        }
    }

    fn of_pipeline(
        pipeline: &PipelineSpec,
        registry: Option<String>,
        input: Value,
        version: Option<Digest>,
    ) -> Self {
        // A pipeline is resumed with the same input, which any of its steps may use.
        let keeps_input = true;
        Self { pipeline: Some(pipeline.clone()), registry, input, version, keeps_input, ..Self::default() }
    }
}
