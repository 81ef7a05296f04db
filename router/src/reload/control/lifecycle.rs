//! Cells of live versions: started for requests, and started again after crashes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use switchyard_contract::event::{Death, DeathReason, EventType, Trigger};
use switchyard_contract::project::ProjectName;

use super::Control;
use crate::build::BuildError;
use crate::cells::{Cell, Exit};
use crate::live::EventDetails;
use crate::reload::restarts::{DownReason, Restarts};
use crate::reload::tasks::{ProjectTask, StartedCells};
use crate::version::Version;

/// Pause before the next attempt to make a process after the machine had none to give. Nothing else
/// of the project waits for it.
const NO_PROCESS_PAUSE: Duration = Duration::from_secs(1);

impl Control {
    /// Starts a live version that is idle.
    pub(super) fn wake(&mut self, version: &Version) {
        self.start(version, DownReason::Idle);
    }

    /// Starts the cells that a live version misses because some have crashed.
    pub(super) fn restart(&mut self, version: &Version) {
        self.start(version, DownReason::Restarting);
    }

    /// Starts the missing cells of `version` if it is live, and misses them for the reason `rest`.
    fn start(&mut self, version: &Version, rest: DownReason) {
        let name = &version.project;
        if !self.projects.contains(name.as_str()) {
            return;
        }
        let project = self.projects.of(name);
        let missing = project.missing_cells(version);
        let is_starting = project.is_starting;
        let wanted = project.live_as(version).filter(|live| missing > 0 && live.restarts.rest == rest);
        let Some(live) = wanted.filter(|_| !is_starting) else { return };
        live.plan.renew(&self.parts.policy);
        let plan = live.plan.clone();
        project.is_starting = true;
        let (builder, version) = (self.builder.clone(), version.clone());
        self.tasks.spawn(name, async move {
            let started = builder.restart(&plan, missing, &Default::default()).await;
            let result = started.map(|cells| StartedCells { cells, grant: plan.launch.grant.clone() });
            ProjectTask::Started { version, result }
        });
    }

    /// Starts a stopped version anew, if the attempt that has ended was requested or follows a
    /// change of the policy: it may do better now.
    pub(super) fn revive(&mut self, name: &ProjectName, trigger: Trigger) {
        if !matches!(trigger, Trigger::Request | Trigger::Policy) {
            return;
        }
        let project = self.projects.of(name);
        let version = project.machine.live_version().cloned();
        let stopped = project.live_mut().filter(|live| live.restarts.rest == DownReason::Stopped);
        if let (Some(version), Some(live)) = (version, stopped) {
            live.restarts = Restarts::fresh();
            self.parts.live.put(project.entry());
            self.restart(&version);
        }
    }

    /// Takes cells that were started for a live version.
    pub(super) fn started(
        &mut self,
        name: &ProjectName,
        version: &Version,
        result: Result<StartedCells, BuildError>,
    ) {
        let project = self.projects.of(name);
        project.is_starting = false;
        let missing = project.missing_cells(version);
        match (result, project.live_as(version).filter(|_| missing > 0)) {
            (Ok(started), Some(live)) if live.outgrows(&started.grant, &self.parts.policy) => {
                let rest = live.restarts.rest;
                self.retire(name, started.cells);
                self.start(version, rest);
            }
            (Ok(started), Some(live)) => {
                let crashed_meanwhile = missing > started.cells.len();
                live.restarts.started(crashed_meanwhile);
                live.add_cells(&started.cells);
                self.parts.live.put(project.entry());
                self.serve_with(name, version, started.cells, crashed_meanwhile);
            }
            (Ok(started), None) => self.retire(name, started.cells),
            (Err(BuildError::Failed(error)), Some(_)) => {
                self.report_crash(name, Duration::ZERO, |restart_ms| Death {
                    reason: DeathReason::Load,
                    message: error.message,
                    code: None,
                    signal: None,
                    in_flight: 0,
                    restart_ms,
                });
            }
            (Err(BuildError::NoProcess(error)), Some(live)) => {
                let message = error.message;
                tracing::error!(project.name = name.as_str(), project.version = %version, "not started yet: {message}");
                live.restarts.rest = DownReason::Restarting;
                self.parts.live.put(project.entry());
                self.restart_after(NO_PROCESS_PAUSE, version.clone());
            }
            (Err(_), _) => {}
        }
        // Cells of a newer version may have crashed meanwhile.
        let live = self.projects.of(name).machine.live_version().cloned();
        if let Some(live) = live.filter(|live| live != version) {
            self.restart(&live);
        }
        self.show(name);
    }

    /// Looks after cells that have just begun to serve, and makes room for them.
    fn serve_with(&mut self, name: &ProjectName, version: &Version, cells: Vec<Arc<Cell>>, more: bool) {
        for cell in cells {
            self.await_exit(name, cell);
        }
        if more {
            self.restart(version);
        }
        self.projects.count_cells(name);
        self.evict(name);
        self.prune(name);
    }

    /// Waits for the end of a cell, in a task.
    pub(super) fn await_exit(&mut self, name: &ProjectName, cell: Arc<Cell>) {
        let id = cell.id();
        // The cell ends with its last handle, which this task must not hold.
        let exited = cell.exited();
        drop(cell);
        self.tasks.spawn(name, async move { ProjectTask::Crashed { cell: id, exit: exited.await } });
    }

    /// Takes out a cell of the live version that has ended. The end of any other cell was intended.
    pub(super) fn crashed(&mut self, name: &ProjectName, cell: u64, exit: &Exit) {
        let Some(live) = self.projects.of(name).live_mut() else { return };
        let Some(at) = live.running.iter().position(|running| running.cell.id() == cell) else { return };
        let running = live.running.remove(at);
        let in_flight = running.in_flight.count_at_crash(Instant::now());
        let lived = running.began().elapsed();
        self.report_crash(name, lived, |restart_ms| exit.death(in_flight, restart_ms));
        running.in_flight.close();
        self.show(name);
    }

    /// Reports the crash of a cell of the live version, and has another one follow unless it was
    /// one crash too many.
    fn report_crash(
        &mut self,
        name: &ProjectName,
        lived: Duration,
        death: impl FnOnce(Option<u64>) -> Death,
    ) {
        let project = self.projects.of(name);
        let Some(live) = project.machine.live_mut() else { return };
        let (version, commit) = (live.version.clone(), live.data.commit.clone());
        let pause = live.data.restarts.note_crash(lived, live.data.plan.cells());
        let crashes = live.data.restarts.crashes();
        let restart_ms = pause.and_then(|pause| u64::try_from(pause.as_millis()).ok());
        self.parts.live.put(project.entry());
        let death = death(restart_ms);
        let follows = match restart_ms {
            Some(0) => "another one is started".to_owned(),
            Some(pause) => format!("another one is started in {pause} ms"),
            None => format!("it was crash {crashes} in a row: {name} is stopped"),
        };
        tracing::error!(
            project.name = name.as_str(),
            project.version = %version,
            reason = death.reason.as_str(),
            code = death.code,
            signal = death.signal,
            in_flight = death.in_flight,
            crashes,
            restart_ms,
            "a cell of {version} crashed: {}; {follows}",
            death.message
        );
        self.parts.metrics.cell_died(name, death.reason);
        project.history.add_crash(&version, death.clone());
        let details = EventDetails {
            version: Some(version.clone()),
            commit,
            death: Some(death),
            ..EventDetails::default()
        };
        project.sequence = self.parts.events.emit(EventType::CellDied, name, details);
        if let Some(pause) = pause {
            self.restart_after(pause, version);
        }
    }

    fn restart_after(&mut self, pause: Duration, version: Version) {
        if pause.is_zero() {
            return self.restart(&version);
        }
        let name = version.project.clone();
        self.tasks.spawn(&name, async move {
            tokio::time::sleep(pause).await;
            ProjectTask::RestartDue(version)
        });
    }
}
