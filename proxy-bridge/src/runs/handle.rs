//! The handle to the control of runs: requests of the API and of webhooks.

use std::time::Duration;

use http::StatusCode;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::command::{Command, Earlier, TaskLook};
use super::{Runs, StartRun, Started};
use crate::ledger::{LedgerError, StoredRun};
use crate::tasks::Declared;
use switchyard_contract::run::{Run, RunDetail, RunError, RunFilter, RunId, RunPage, RunState};
use switchyard_contract::task::TaskId;
use switchyard_edge::problem::Problem;

/// Runs of a run that are listed with it.
const CHILDREN: u32 = RunFilter::MAX_LIMIT;

impl Runs {
    /// Starts a run. It is recorded when the answer is there.
    ///
    /// # Errors
    /// The run is refused: unknown task, invalid parameters, another run in the way, too many that
    /// wait, or no room for its record.
    pub async fn start(&self, start: StartRun) -> Result<Started, Problem> {
        self.start_with(start, None).await
    }

    pub(super) async fn start_with(
        &self,
        start: StartRun,
        earlier: Option<Earlier>,
    ) -> Result<Started, Problem> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Start { start: Box::new(start), earlier: earlier.map(Box::new), reply }).await?;
        answer.await.map_err(|_| stopping())?
    }

    /// Returns the run when it has ended, or as it is after `limit`.
    ///
    /// # Errors
    /// The run is unknown, or the history cannot be read.
    pub async fn wait(&self, id: RunId, limit: Duration) -> Result<Run, Problem> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Wait { id, reply }).await?;
        if let Some(ended) = answer.await.map_err(|_| stopping())?
            && let Ok(Ok(run)) = timeout(limit, ended).await
        {
            return Ok(run);
        }
        Ok(self.stored(id).await?.run)
    }

    /// A run with its steps and the runs that it has started.
    ///
    /// # Errors
    /// The run is unknown, or the history cannot be read.
    pub async fn run(&self, id: RunId) -> Result<RunDetail, Problem> {
        let run = self.stored(id).await?.run;
        let steps = self.0.ledger.steps(id).await.map_err(|error| history(&error))?;
        let filter = RunFilter { parent: Some(id), limit: CHILDREN, ..RunFilter::default() };
        let children = self.0.ledger.runs(filter).await.map_err(|error| history(&error))?;
        let mut children: Vec<_> = children.runs.into_iter().map(|run| run.id).collect();
        children.reverse();
        let waits_for = if run.state == RunState::Queued { self.reason_to_wait(id).await } else { None };
        Ok(RunDetail { run, steps, children, waits_for })
    }

    /// A page of runs.
    ///
    /// # Errors
    /// The cursor is invalid, or the history cannot be read.
    pub async fn runs(&self, filter: RunFilter) -> Result<RunPage, Problem> {
        self.0.ledger.runs(filter).await.map_err(|error| history(&error))
    }

    /// Ends a run. It is not waited for.
    ///
    /// # Errors
    /// The run has ended, or is unknown.
    pub async fn cancel(&self, id: RunId, by: Option<String>) -> Result<Run, Problem> {
        self.stored(id).await?;
        let by = by.map(|by| format!(" by {by}")).unwrap_or_default();
        let error = RunError::new("cancelled", format!("it was cancelled{by}"));
        let (reply, answer) = oneshot::channel();
        self.send(Command::Cancel { id, error, reply }).await?;
        answer.await.map_err(|_| stopping())?
    }

    /// Removes a run that has ended, with its steps and its log.
    ///
    /// # Errors
    /// The run is unknown, or has not ended.
    pub async fn delete(&self, id: RunId) -> Result<(), Problem> {
        self.ended(id).await?;
        self.0.ledger.delete(id).await.map(drop).map_err(|error| history(&error))
    }

    pub(super) async fn look(&self, task: &TaskId) -> TaskLook {
        let (reply, answer) = oneshot::channel();
        if self.send(Command::Look { task: task.clone(), reply }).await.is_err() {
            return TaskLook::default();
        }
        answer.await.unwrap_or_default()
    }

    async fn reason_to_wait(&self, id: RunId) -> Option<String> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::WaitReason { id, reply }).await.ok()?;
        answer.await.ok().flatten()
    }

    pub(super) fn declared(&self, id: &TaskId) -> Result<Declared, Problem> {
        self.0.catalog.find(id).ok_or_else(|| super::accept::unknown_task(id, &self.0.catalog))
    }

    pub(super) async fn stored(&self, id: RunId) -> Result<StoredRun, Problem> {
        let found = self.0.ledger.run(id).await.map_err(|error| history(&error))?;
        found.ok_or_else(|| unknown_run(id))
    }

    pub(super) async fn ended(&self, id: RunId) -> Result<StoredRun, Problem> {
        let stored = self.stored(id).await?;
        if stored.run.state.is_end() {
            return Ok(stored);
        }
        let detail = format!("the run {id} is {}: wait for its end, or cancel it", stored.run.state.as_str());
        Err(Problem::new(StatusCode::CONFLICT, "under-way", detail))
    }

    pub(super) async fn send(&self, command: Command) -> Result<(), Problem> {
        self.0.commands.send(command).await.map_err(|_| stopping())
    }
}

/// The problem of a run that is not in the history.
pub(crate) fn unknown_run(id: RunId) -> Problem {
    let detail = format!("unknown run {id}: GET /runs lists those in the history that the token may read");
    Problem::new(StatusCode::NOT_FOUND, "unknown-run", detail)
}

pub(super) fn history(error: &LedgerError) -> Problem {
    match error {
        LedgerError::Cursor(_) => Problem::bad_request(error.to_string()),
        error => {
            let detail = format!("the history of runs cannot be read: {error}");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "history", detail).retry_after(10)
        }
    }
}

pub(super) fn stopping() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the bridge is stopping: try again in a moment")
        .retry_after(2)
}
