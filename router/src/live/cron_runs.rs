//! Runs of the handlers of `Deno.cron`: each in one cell of the live version, which is started if the
//! project is idle.

use std::sync::Arc;
use std::time::Duration;

use switchyard_contract::project::ProjectName;
use switchyard_contract::run::RunError;
use tokio::time::{Instant, timeout_at};

use super::command::{Command, Commands};
use super::table::{CellState, LiveTable, RunningCell};
use crate::cells::CronRefusal;
use crate::drain::RequestGuard;

/// Time for a project to have a cell that can be entered. Longer than most builds take.
const START_WITHIN: Duration = Duration::from_secs(60);

/// The maker of runs.
#[derive(Debug, Clone)]
pub(crate) struct CronRuns {
    live: Arc<LiveTable>,
    commands: Commands,
}

impl CronRuns {
    pub(crate) fn new(live: Arc<LiveTable>, commands: Commands) -> Self {
        Self { live, commands }
    }

    /// Calls the handler of the cron `name` of a project's live version, in one of its cells, and
    /// waits for its end: `true` if it ended well, `false` if it has thrown. Lines that it prints
    /// carry `run` as their request.
    ///
    /// It counts as a request of the version, so a newer version lets it finish, within the grace.
    /// Dropping the future does not stop the handler.
    ///
    /// # Errors
    /// No cell can be entered in time, none has registered the cron, all of their handlers still
    /// work for earlier runs, or the process ends.
    pub(crate) async fn start(&self, project: &ProjectName, name: &str, run: &str) -> Result<bool, RunError> {
        let by = Instant::now() + START_WITHIN;
        let mut changed = self.live.subscribe();
        let mut wake_sent = false;
        loop {
            changed.mark_unchanged();
            match self.enter(project, name, run).await? {
                Entered::In(work) => return work.finish().await,
                Entered::Idle(command) if !wake_sent => {
                    wake_sent = true;
                    // The control flow is gone only when the router stops.
                    let _ = self.commands.send(command).await;
                }
                Entered::Idle(_) => {}
                Entered::Soon => wake_sent = false,
            }
            match timeout_at(by, changed.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(RunError::new("router", "the router is stopping")),
                Err(_) => {
                    let why = format!("{project} had no process that could run it within {START_WITHIN:?}");
                    return Err(RunError::new("router", why));
                }
            }
        }
    }

    async fn enter(&self, project: &ProjectName, name: &str, run: &str) -> Result<Entered, RunError> {
        let unknown = |what: String| RunError::new("unknown-task", what);
        let entry = self.live.load().get(project.as_str()).cloned();
        let entry = entry.ok_or_else(|| unknown(format!("there is no project {project}")))?;
        let live = entry
            .live
            .as_ref()
            .ok_or_else(|| RunError::new("build", format!("{project} has no version that could be built")))?;
        let cells = match &live.process {
            CellState::Running(cells) => cells,
            CellState::Idle => return Ok(Entered::Idle(Command::Wake(live.version.clone()))),
            CellState::Restarting => return Ok(Entered::Soon),
            CellState::Stopped => {
                let why = format!("{} is stopped: its process ended again and again", live.version);
                return Err(RunError::new("crash-loop", why));
            }
            CellState::NotNeeded => return Err(unknown(format!("{project} has no code that runs"))),
        };
        let mut refusal = CronRefusal::Ended;
        for running in cells.by_load() {
            let Some(guard) = running.in_flight.enter() else { continue };
            running.touch(Instant::now().into_std());
            match running.cell.run_cron(name, run).await {
                Ok(end) => return Ok(Entered::In(CronWork { end, running: running.clone(), _guard: guard })),
                // A handler that works is a better reason than the end of another process.
                Err(why) if refusal == CronRefusal::Ended => refusal = why,
                Err(_) => {}
            }
        }
        match refusal {
            CronRefusal::Unknown => Err(unknown(format!("{} registers no cron {name:?}", live.version))),
            CronRefusal::Busy => Err(RunError::new("overlap", refusal.to_string())),
            // The table has another version, or other cells, in a moment.
            CronRefusal::Ended => Ok(Entered::Soon),
        }
    }
}

/// The outcome of an attempt to enter a cell.
enum Entered {
    In(CronWork),
    /// The version has no process until this command.
    Idle(Command),
    /// A process comes without a command.
    Soon,
}

/// A handler that works.
struct CronWork {
    end: tokio::sync::oneshot::Receiver<bool>,
    running: Arc<RunningCell>,
    /// Counts as a request in the cell.
    _guard: RequestGuard,
}

impl CronWork {
    async fn finish(self) -> Result<bool, RunError> {
        let ended = self.end.await;
        self.running.touch(Instant::now().into_std());
        match ended {
            Ok(success) => Ok(success),
            Err(_) => {
                let exit = self.running.cell.exited().await;
                let message = format!("its process ended: {exit}");
                Err(RunError::new(reason(&exit), message))
            }
        }
    }
}

/// The end of a process as one word of [`RunError::reason`].
fn reason(exit: &crate::cells::Exit) -> &'static str {
    use switchyard_contract::event::DeathReason;
    match exit.death(0, None).reason {
        DeathReason::Exit => "exit",
        DeathReason::Signal => "signal",
        DeathReason::Abort => "abort",
        DeathReason::Memory => "memory",
        DeathReason::EventLoop => "event-loop",
        DeathReason::Disk => "disk",
        _ => "lost",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::commands;

    #[tokio::test]
    async fn a_cron_of_a_project_that_is_not_there_is_an_unknown_task() {
        let (commands, _queue) = commands();
        let runs = CronRuns::new(Arc::new(LiveTable::new()), commands);
        let ended = runs.start(&ProjectName::parse("blog").unwrap(), "a", "r1").await;
        assert_eq!(ended.unwrap_err().reason, "unknown-task");
    }
}
