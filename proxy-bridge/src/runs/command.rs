//! The commands to the control, and the results of its tasks.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::oneshot;

use super::StartRun;
use super::active::StartReply;
use super::launch::Launch;
use super::pipeline_state::{Loaded, NotLoaded, Registry};
use super::reads::NotRead;
use super::start_call::DispatchError;
use super::timetable::Unrecorded;
use crate::ledger::{Accepted, LedgerError};
use crate::routers::{CallError, Router};
use switchyard_contract::admin::{KnownRuns, RunAccepted};
use switchyard_contract::run::{Occurrence, Run, RunError, RunId};
use switchyard_contract::task::TaskId;
use switchyard_edge::problem::Problem;

/// A command to the control.
#[derive(Debug)]
pub(super) enum Command {
    /// Accept a run.
    Start { start: Box<StartRun>, earlier: Option<Box<Earlier>>, reply: StartReply },
    /// Accept the run that a file starts.
    StartFile { start: Box<FileStart>, reply: StartReply },
    /// Answer with the run once it has ended. `None`: it is not among those under way.
    Wait { id: RunId, reply: oneshot::Sender<Option<oneshot::Receiver<Run>>> },
    /// End a run.
    Cancel { id: RunId, error: RunError, reply: oneshot::Sender<Result<Run, Problem>> },
    /// The numbers of the task's runs under way and waiting, and its next due time.
    Look { task: TaskId, reply: oneshot::Sender<TaskLook> },
    /// The reason why a queued run waits. `None`: it does not.
    WaitReason { id: RunId, reply: oneshot::Sender<Option<String>> },
}

/// The run that a file starts.
#[derive(Debug, Clone)]
pub(super) struct FileStart {
    /// Its id, which the router has made.
    pub(super) run: RunId,
    pub(super) task: TaskId,
    /// The router that has the file, by name.
    pub(super) router: String,
    pub(super) input: Value,
}

/// The earlier run of a run by hand that repeats it, or goes on with it.
#[derive(Debug, Clone)]
pub(super) struct Earlier {
    /// The record of how it was started.
    pub(super) launch: Launch,
    /// Its finished steps are kept. `None`: all is done again.
    pub(super) resumption: Option<Resumption>,
}

/// A run that goes on where another one stopped.
#[derive(Debug, Clone)]
pub(super) struct Resumption {
    pub(super) run: RunId,
    /// The first step that is run again.
    pub(super) from_step: Option<String>,
}

/// The control's knowledge of a task.
#[derive(Debug, Clone, Default)]
pub(super) struct TaskLook {
    pub(super) under_way: u32,
    pub(super) waiting: u32,
    pub(super) next: Option<Timestamp>,
    /// The first due time that could not be recorded.
    pub(super) unrecorded: Option<Unrecorded>,
}

/// The result of a task of the control.
pub(super) enum Done {
    /// The acceptance of a run is recorded.
    Accepted(RunId, Result<Accepted, LedgerError>),
    /// A due time is recorded, or cannot be.
    Claimed(Box<Claimed>),
    /// The version of a run was made again at the router, or could not be.
    Made(RunId, Result<(), RunError>),
    /// A router has answered.
    Dispatched(RunId, Result<RunAccepted, DispatchError>),
    /// The end of a run is recorded, and its router has forgotten it.
    Ended(RunId),
    /// The steps that a pipeline has finished before are known.
    PipelineLoaded(RunId, Result<Loaded, NotLoaded>),
    /// A run has read a registry, or could not.
    RegistryRead(RunId, Result<Registry, NotRead>),
    /// The router of a run that an earlier process started. `None`: it is not one of the routers.
    RouterFound(RunId, String, Option<Arc<Router>>),
    /// The runs that a router knows.
    Known(Arc<Router>, Result<KnownRuns, CallError>),
    /// The same, some time later.
    StillKnown(Arc<Router>, KnownRuns),
    /// Nothing follows.
    Nothing,
}

/// The result of the record of a due time.
pub(super) struct Claimed {
    pub(super) occurrence: Occurrence,
    /// The run that it starts.
    pub(super) run: Option<RunId>,
    /// The runs that this one replaces.
    pub(super) cancel: Vec<RunId>,
    /// False: it was recorded before.
    pub(super) result: Result<bool, LedgerError>,
}
