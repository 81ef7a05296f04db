//! The tasks of the control flow: slow work, whose results come back as values.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use switchyard_contract::commit::CommitInfo;
use switchyard_contract::incarnation::Incarnation;
use switchyard_contract::project::ProjectName;
use tokio::task::{Id, JoinError, JoinSet};

use super::attempt::Caller;
use super::scan::{Listing, Purpose};
use crate::build::{BuildError, Built, Plan, ReadResult};
use crate::cells::{Cell, Exit};
use crate::policy::Grant;
use crate::version::Version;

/// The result of a task.
pub(super) enum TaskResult {
    Project(ProjectName, Box<ProjectTask>),
    Router(RouterTask),
}

/// A version whose cells have ended.
pub(super) struct DrainedVersion {
    pub(super) version: Version,
    pub(super) commit: Option<Arc<CommitInfo>>,
    /// Requests that were not finished in time.
    pub(super) cut_off: usize,
    /// `true`: the version is not live any more.
    pub(super) retired: bool,
}

/// The result of a task that works on one project.
pub(super) enum ProjectTask {
    Read(Box<ReadResult>),
    Built {
        result: Result<Built, BuildError>,
        took: Duration,
    },
    Restored {
        restored: RestoreOutcome,
        took: Duration,
    },
    Started {
        version: Version,
        result: Result<StartedCells, BuildError>,
    },
    Drained(DrainedVersion),
    Crashed {
        cell: u64,
        exit: Exit,
    },
    /// The pause after the crash of a cell of this version is over.
    RestartDue(Version),
    /// The pause after the failure with this number is over.
    RetryDue {
        pause: Duration,
        number: u64,
    },
    /// Cells that were not needed have ended.
    Retired,
}

/// The outcome of starting the last good version of an earlier run.
pub(super) enum RestoreOutcome {
    NoCheckout,
    /// The cells are over their budget: the version is started by its first request.
    Idle(Plan),
    Running(Built),
    Failed(Plan, BuildError),
}

impl RestoreOutcome {
    pub(super) fn plan(&self) -> Option<&Plan> {
        match self {
            Self::NoCheckout => None,
            Self::Idle(plan) | Self::Running(Built { plan, .. }) | Self::Failed(plan, _) => Some(plan),
        }
    }
}

/// Cells that were started for a live version.
pub(super) struct StartedCells {
    pub(super) cells: Vec<Arc<Cell>>,
    /// The grant that they were started with.
    pub(super) grant: Arc<Grant>,
}

/// A change of the folder that a project is read from.
pub(super) struct OverrideChange {
    pub(super) project: ProjectName,
    pub(super) before: Option<PathBuf>,
    /// `None`: the volume.
    pub(super) folder: Option<PathBuf>,
}

/// The result of a task that is not about one known project.
pub(super) enum RouterTask {
    /// The folders on the volume.
    Listed(Listing, Purpose),
    /// The result of the check for a folder of this name, and the caller that requests its reload.
    Probed {
        name: String,
        is_there: bool,
        caller: Option<Caller>,
    },
    /// The change of an override is on disk.
    OverrideSaved(OverrideChange, Caller),
    /// The tenants in the state folder whose projects are gone or were removed before.
    Leftovers(BTreeMap<ProjectName, BTreeSet<Incarnation>>),
    Done,
}

/// The end of a task.
pub(super) enum TaskEnd {
    Finished(TaskResult),
    /// The task panicked. `project`: the project that waits for its result.
    Panicked {
        project: Option<ProjectName>,
        error: JoinError,
    },
}

/// The running tasks.
#[derive(Default)]
pub(super) struct Tasks {
    running: JoinSet<TaskResult>,
    /// Cells that end: each has a time of its own for it, also while the router stops.
    endings: JoinSet<TaskResult>,
    /// The projects that the running tasks work on.
    owners: HashMap<Id, ProjectName>,
}

impl Tasks {
    /// Runs `task` for a project.
    pub(super) fn spawn(
        &mut self,
        project: &ProjectName,
        task: impl Future<Output = ProjectTask> + Send + 'static,
    ) {
        let name = project.clone();
        let handle = self.running.spawn(async move { TaskResult::Project(name, Box::new(task.await)) });
        self.owners.insert(handle.id(), project.clone());
    }

    /// Runs `task`, which no project waits for.
    pub(super) fn spawn_for_router(&mut self, task: impl Future<Output = RouterTask> + Send + 'static) {
        self.running.spawn(async move { TaskResult::Router(task.await) });
    }

    /// Runs a task that ends cells. A stopping router waits for it.
    pub(super) fn spawn_ending(
        &mut self,
        project: &ProjectName,
        task: impl Future<Output = ProjectTask> + Send + 'static,
    ) {
        let name = project.clone();
        self.endings.spawn(async move { TaskResult::Project(name, Box::new(task.await)) });
    }

    /// Waits for the next end of a task, forever if there is none. Dropping the future loses
    /// nothing.
    pub(super) async fn next(&mut self) -> TaskEnd {
        tokio::select! {
            Some(ended) = self.running.join_next_with_id() => Self::end(&mut self.owners, ended),
            Some(ended) = self.endings.join_next_with_id() => Self::end(&mut self.owners, ended),
            else => std::future::pending().await,
        }
    }

    /// The end of a task that has ended already.
    pub(super) fn try_next(&mut self) -> Option<TaskEnd> {
        let ended = self.running.try_join_next_with_id()?;
        Some(Self::end(&mut self.owners, ended))
    }

    /// Aborts all tasks except those that end cells.
    pub(super) async fn abort(&mut self) {
        self.running.shutdown().await;
    }

    /// Waits for the tasks that end cells.
    pub(super) async fn finish_endings(&mut self) {
        while self.endings.join_next().await.is_some() {}
    }

    fn end(owners: &mut HashMap<Id, ProjectName>, ended: Result<(Id, TaskResult), JoinError>) -> TaskEnd {
        match ended {
            Ok((id, result)) => {
                owners.remove(&id);
                TaskEnd::Finished(result)
            }
            Err(error) => TaskEnd::Panicked { project: owners.remove(&error.id()), error },
        }
    }
}
