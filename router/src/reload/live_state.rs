//! The data of a live version: its plan, its running cells, and how they crashed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use switchyard_contract::commit::CommitInfo;

use super::restarts::{DownReason, Restarts};
use crate::build::{Built, Plan, ServedBy};
use crate::cells::Cell;
use crate::live::{CellSet, CellState, Counters, LiveSite, LiveTasks, LiveVersion, RunningCell};
use crate::policy::{Grant, Policy};

/// A live version.
#[derive(Debug)]
pub(super) struct LiveState {
    pub(super) plan: Plan,
    /// The commit that the version's files came from, if a deploy said so.
    pub(super) commit: Option<Arc<CommitInfo>>,
    pub(super) running: Vec<Arc<RunningCell>>,
    pub(super) restarts: Restarts,
    pub(super) tasks: LiveTasks,
}

impl From<Built> for LiveState {
    fn from(Built { plan, cells }: Built) -> Self {
        let running = cells.into_iter().map(|cell| Arc::new(RunningCell::new(cell))).collect();
        let tasks = LiveTasks::new(plan.tasks.clone());
        Self { plan, commit: None, running, restarts: Restarts::default(), tasks }
    }
}

impl LiveState {
    /// The version as requests see it.
    pub(super) fn to_version(&self) -> LiveVersion {
        let (launch, site) = (self.plan.launch.clone(), self.plan.site.clone());
        LiveVersion::new(launch, self.cell_state(), site, self.commit.clone(), self.tasks.clone())
    }

    pub(super) fn cell_state(&self) -> CellState {
        match self.restarts.rest {
            _ if self.plan.served_by != ServedBy::Cells => CellState::NotNeeded,
            _ if !self.running.is_empty() => CellState::Running(Arc::new(CellSet::new(self.running.clone()))),
            DownReason::Idle => CellState::Idle,
            DownReason::Restarting => CellState::Restarting,
            DownReason::Stopped => CellState::Stopped,
        }
    }

    /// Returns true if its cells crashed too often, so that none is started.
    pub(super) fn is_stopped(&self) -> bool {
        self.running.is_empty() && self.restarts.rest == DownReason::Stopped
    }

    /// The number of cells that it misses.
    pub(super) fn missing_cells(&self) -> usize {
        self.plan.cells().saturating_sub(self.running.len())
    }

    pub(super) fn add_cells(&mut self, cells: &[Arc<Cell>]) {
        self.running.extend(cells.iter().map(|cell| Arc::new(RunningCell::new(cell.clone()))));
    }

    /// Returns true if `policy` gives it something other than `grant`, with which cells were
    /// started.
    pub(super) fn outgrows(&self, grant: &Grant, policy: &Policy) -> bool {
        !policy.grant(&self.plan.version().project, &self.plan.requested).is_equivalent(grant)
    }

    /// Returns true if its cells have been idle for longer than the project's `idle` setting.
    pub(super) fn is_unused(&self) -> bool {
        let is_over = |(idle, since): (Duration, Instant)| since.elapsed() >= idle;
        self.plan.lifecycle.idle.zip(self.idle_since()).is_some_and(is_over)
    }

    /// The instant of its last request. `None` while a request is in flight, and if it has no
    /// cells.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let is_idle = self.running.iter().all(|running| running.in_flight.count() == 0);
        self.running.iter().map(|running| running.last_used()).max().filter(|_| is_idle)
    }

    /// The counters of its requests: one for each cell, and one for its files.
    pub(super) fn counters(&self) -> Counters {
        counters(&self.running, self.plan.site.as_ref())
    }
}

/// The cells and the files that answered a version's requests and get no more.
#[derive(Debug, Default)]
pub(super) struct DrainingVersion {
    pub(super) commit: Option<Arc<CommitInfo>>,
    pub(super) running: Vec<Arc<RunningCell>>,
    pub(super) site: Option<Arc<LiveSite>>,
}

impl DrainingVersion {
    pub(super) fn of(live: &LiveState) -> Self {
        Self { commit: live.commit.clone(), running: live.running.clone(), site: live.plan.site.clone() }
    }

    pub(super) fn counters(&self) -> Counters {
        counters(&self.running, self.site.as_ref())
    }

    /// Lets no more requests enter.
    pub(super) fn close(&self) {
        self.counters().iter().for_each(|counter| counter.close());
    }
}

fn counters(running: &[Arc<RunningCell>], site: Option<&Arc<LiveSite>>) -> Counters {
    let cells = running.iter().map(|running| &running.in_flight);
    cells.chain(site.map(|site| &site.in_flight)).cloned().collect()
}
