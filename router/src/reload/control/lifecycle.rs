//! Cells between their publish and their end: woken, evicted, drained, died.

use std::sync::Arc;
use std::time::{Duration, Instant};

use switchyard_bridge::event::EventType;

use super::{Control, What};
use crate::cells::{Cell, Exit};
use crate::live::{Failure, Happened, Running};
use crate::policy::Grant;
use crate::reload::machine::Work;
use crate::reload::project::Project;
use crate::reload::work::{self, BuildError};
use crate::version::Version;

/// A cell that ended by itself is started again at once if it had lived this long; else the next
/// request has it started, so that one that dies at once does not keep the machine busy.
const RESTART_AFTER: Duration = Duration::from_secs(1);

impl Control {
    /// How many versions have a cell.
    pub(super) fn running_count(&self) -> usize {
        self.projects.values().filter(|project| project.running.is_some()).count()
    }

    /// How many versions have a cell or are about to have one.
    pub(super) fn cell_count(&self) -> usize {
        let building = |work: &Work| matches!(work, Work::Building(..) | Work::Restoring(..));
        let has_cell = |project: &&Project| {
            project.running.is_some() || project.built.is_some() || building(&project.machine.work)
        };
        self.projects.values().filter(has_cell).count()
    }

    /// Starts a live version that is stopped.
    pub(super) fn wake(&mut self, version: &Version) {
        let name = version.project.as_str();
        let Some(project) = self.projects.get_mut(name) else { return };
        let wanted = project.machine.live.as_ref() == Some(version) && project.running.is_none();
        let Some(plan) = project.live_plan.as_mut().filter(|_| wanted && !project.waking) else { return };
        project.waking = true;
        plan.renew(&self.parts.policy);
        let plan = plan.clone();
        let builder = self.builder.clone();
        let version = version.clone();
        self.spawn(version.project.clone().as_str(), async move {
            let result = builder.build(&plan.order, &Default::default()).await;
            What::Woken { version, grant: plan.order.grant, result }
        });
    }

    pub(super) fn woken(
        &mut self,
        name: &str,
        version: &Version,
        grant: &Grant,
        result: Result<Arc<Cell>, BuildError>,
    ) {
        let Some(project) = self.projects.get_mut(name) else { return };
        project.waking = false;
        let wanted = project.machine.live.as_ref() == Some(version) && project.running.is_none();
        match result {
            Ok(cell) if wanted && project.outgrows(grant, &self.parts.policy) => {
                self.retire(name, cell);
                self.wake(version);
            }
            Ok(cell) if wanted => {
                let running = Arc::new(Running::new(cell));
                project.started = Instant::now();
                project.wake_failure = None;
                project.running = Some(running.clone());
                self.parts.live.put(project.entry());
                self.watch_over(name, running.cell.clone());
                self.evict(name);
            }
            Ok(cell) => self.retire(name, cell),
            Err(BuildError::Failed(error)) if wanted => {
                tracing::error!(project.name = name, project.version = %version, "it cannot be started again: {}", error.message);
                project.wake_failure = Some(Failure::new(&project.name, Some(version.clone()), error));
                self.parts.live.put(project.entry());
            }
            Err(_) => {}
        }
        self.show(name);
    }

    /// Has the end of a cell told.
    pub(super) fn watch_over(&mut self, name: &str, cell: Arc<Cell>) {
        let id = cell.id();
        // The cell ends with its last handle, which this task must not be.
        let exited = cell.exited();
        drop(cell);
        self.spawn(name, async move { What::Died { cell: id, exit: exited.await } });
    }

    /// Stops the least recently used idle cells while there are more than `--max-cells`; `but` was
    /// just wanted.
    pub(super) fn evict(&mut self, but: &str) {
        let mut excess = self.running_count().saturating_sub(self.settings.max_cells);
        if excess == 0 {
            return;
        }
        let idle = self.projects.iter().filter_map(|(name, project)| {
            let running = project.running.as_ref()?;
            (name != but && running.in_flight.count() == 0).then(|| (running.last_used(), name.clone()))
        });
        let mut idle: Vec<_> = idle.collect();
        idle.sort();
        for (_, name) in idle {
            if excess == 0 {
                break;
            }
            let Some(project) = self.projects.get_mut(&name) else { continue };
            let (Some(running), Some(version)) = (project.running.take(), project.machine.live.clone())
            else {
                continue;
            };
            self.parts.live.put(project.entry());
            self.parts.metrics.cells_evicted.inc();
            self.drain(&name, version, running, false);
            self.show(&name);
            excess -= 1;
        }
    }

    /// Lets the requests in `running` finish and ends its cell. `retired`: the version is not live
    /// any more.
    pub(super) fn drain(&mut self, name: &str, version: Version, running: Arc<Running>, retired: bool) {
        let grace = self.settings.grace;
        if let Some(project) = self.projects.get_mut(name) {
            project.draining.push((version.clone(), running.in_flight.clone()));
        }
        self.spawn(name, async move {
            let cut_off = work::drain(running, grace).await;
            What::Drained { version, cut_off, retired }
        });
    }

    pub(super) fn drained(&mut self, name: &str, version: &Version, cut_off: usize, retired: bool) {
        let Some(project) = self.projects.get_mut(name) else { return };
        if let Some(index) = project.draining.iter().position(|(draining, _)| draining == version) {
            project.draining.remove(index);
        }
        if retired {
            match cut_off {
                0 => tracing::info!(project.name = name, project.version = %version, "{version} is retired"),
                _ => tracing::warn!(
                    project.name = name,
                    project.version = %version,
                    cut_off,
                    "{version} is retired; its grace was over before {cut_off} of its requests were"
                ),
            }
            let happened = Happened { version: Some(version.clone()), ..Happened::default() };
            project.sequence = self.parts.events.tell(EventType::VersionRetired, &project.name, happened);
            let keep = if project.machine.is_absent() { 0 } else { self.settings.keep };
            let project = project.name.clone();
            self.prune(&project, keep);
        }
        self.show(name);
    }

    pub(super) fn died(&mut self, name: &str, cell: u64, exit: &Exit) {
        let Some(project) = self.projects.get_mut(name) else { return };
        if project.running.as_ref().is_none_or(|running| running.cell.id() != cell) {
            return;
        }
        project.running = None;
        self.parts.live.put(project.entry());
        self.parts.metrics.cells_died.inc();
        let lived = project.started.elapsed();
        let version = project.machine.live.clone();
        tracing::error!(
            project.name = name,
            project.version = version.as_ref().map(tracing::field::display),
            exit = %exit,
            "the cell of {name} ended by itself: {exit}"
        );
        if let Some(version) = version.filter(|_| lived >= RESTART_AFTER) {
            self.wake(&version);
        }
        self.show(name);
    }
}
