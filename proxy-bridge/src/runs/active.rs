//! Runs that have not ended, as the control has them in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::Started;
use super::launch::Launch;
use super::pipeline_state::PipelineState;
use crate::ledger::StoredRun;
use crate::routers::Router;
use switchyard_contract::project::ProjectName;
use switchyard_contract::run::{Run, RunError, RunId, RunState};
use switchyard_contract::task::TaskId;
use switchyard_edge::problem::Problem;

/// The answer to a request for a run.
pub(super) type StartReply = oneshot::Sender<Result<Started, Problem>>;

/// A run that has not ended.
pub(super) struct Active {
    pub(super) stored: StoredRun,
    pub(super) launch: Launch,
    pub(super) phase: Phase,
    /// `true`: an earlier process of the bridge has asked a router to start it, or was about to.
    pub(super) is_taken_over: bool,
    /// The reason for which it is to end.
    pub(super) cancelled: Option<RunError>,
    /// Those who wait for its end.
    pub(super) waiters: Vec<oneshot::Sender<Run>>,
    /// The state of a pipeline.
    pub(super) pipeline: Option<PipelineState>,
    /// The names of routers that do not have its version.
    pub(super) lacking: BTreeSet<String>,
}

/// The phase of a run.
pub(super) enum Phase {
    /// Its acceptance is being recorded, before anybody is answered.
    Accepting(Option<StartReply>),
    /// It waits for its turn, or for its next attempt.
    Queued { not_before: Option<Instant> },
    /// A router was asked to start it.
    Dispatching(Arc<Router>),
    /// A router has it.
    Following { router: Arc<Router>, task: AbortHandle },
    /// Its steps are runs of their own.
    Orchestrating,
    /// Its end is being recorded.
    Ending,
}

impl Active {
    pub(super) fn run(&self) -> &Run {
        &self.stored.run
    }

    pub(super) fn run_mut(&mut self) -> &mut Run {
        &mut self.stored.run
    }

    /// The router that has it, or was asked to start it.
    pub(super) fn router(&self) -> Option<&Arc<Router>> {
        match &self.phase {
            Phase::Dispatching(router) | Phase::Following { router, .. } => Some(router),
            _ => None,
        }
    }

    /// Returns true if this router has it, was asked to start it, or had it when an earlier process of
    /// the bridge ended. Once its end is recorded, the router is told to forget it.
    pub(super) fn is_at(&self, router: &Router) -> bool {
        match &self.phase {
            Phase::Dispatching(own) | Phase::Following { router: own, .. } => own.name() == router.name(),
            Phase::Ending => self.run().router.as_deref() == Some(router.name()),
            Phase::Accepting(_) => self.is_taken_over && self.run().router.as_deref() == Some(router.name()),
            Phase::Queued { .. } | Phase::Orchestrating => false,
        }
    }

    /// Returns true if its time has come.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        matches!(&self.phase, Phase::Queued { not_before } if not_before.is_none_or(|time| time <= now))
    }

    fn is_waiting(&self) -> bool {
        matches!(self.phase, Phase::Accepting(_) | Phase::Queued { .. })
    }
}

/// All runs that have not ended.
#[derive(Default)]
pub(super) struct ActiveRuns {
    runs: BTreeMap<RunId, Active>,
    by_task: BTreeMap<TaskId, BTreeSet<RunId>>,
}

impl ActiveRuns {
    pub(super) fn insert(&mut self, active: Active) {
        let run = active.run();
        self.by_task.entry(run.task.clone()).or_default().insert(run.id);
        self.runs.insert(run.id, active);
    }

    pub(super) fn remove(&mut self, id: RunId) -> Option<Active> {
        let active = self.runs.remove(&id)?;
        let task = &active.run().task;
        if let Some(of_task) = self.by_task.get_mut(task) {
            of_task.remove(&id);
            if of_task.is_empty() {
                self.by_task.remove(task);
            }
        }
        Some(active)
    }

    pub(super) fn get(&self, id: RunId) -> Option<&Active> {
        self.runs.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: RunId) -> Option<&mut Active> {
        self.runs.get_mut(&id)
    }

    /// All runs, the oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Active> {
        self.runs.values()
    }

    /// The runs of a task that are no steps of others: those under way, and those that wait.
    pub(super) fn of_task(&self, task: &TaskId) -> (Vec<RunId>, Vec<RunId>) {
        let ids = self.by_task.get(task).into_iter().flatten();
        let runs = ids.filter_map(|id| self.runs.get(id)).filter(|active| active.run().step.is_none());
        let (waiting, under_way): (Vec<_>, Vec<_>) = runs.partition(|active| active.is_waiting());
        let ids = |runs: Vec<&Active>| runs.into_iter().map(|active| active.run().id).collect();
        (ids(under_way), ids(waiting))
    }

    /// Returns true if a run of the task executes this code: the digest and the hash of the
    /// specification, as in `DIGEST/HASH`. One that no router has begun yet will.
    pub(super) fn runs_code(&self, task: &TaskId, code: &str) -> bool {
        let (under_way, waiting) = self.of_task(task);
        under_way.iter().chain(&waiting).filter_map(|id| self.get(*id)).any(|active| {
            let version = active.run().version.as_ref();
            version.is_none_or(|version| format!("{}/{}", version.digest, version.spec) == code)
        })
    }

    /// Returns true if another run of the task is under way.
    pub(super) fn has_other(&self, run: &Run) -> bool {
        self.of_task(&run.task).0.into_iter().any(|id| id != run.id)
    }

    /// The runs of a project that wait for their turn.
    pub(super) fn waiting(&self, project: &ProjectName) -> usize {
        let of_project = self.runs.values().filter(|active| active.run().task.project == *project);
        of_project.filter(|active| active.is_waiting()).count()
    }

    /// The run that is this step of `parent`.
    pub(super) fn step(&self, parent: RunId, step: &str) -> Option<&Active> {
        self.runs
            .values()
            .find(|active| active.run().parent == Some(parent) && active.run().step.as_deref() == Some(step))
    }

    /// The steps of `parent` that have not ended.
    pub(super) fn steps_of(&self, parent: RunId) -> Vec<RunId> {
        let is_step = |active: &&Active| {
            let run = active.run();
            // The end of one is being recorded: its pipeline knows it.
            run.parent == Some(parent) && run.step.is_some() && !matches!(active.phase, Phase::Ending)
        };
        let steps = self.runs.values().filter(is_step);
        steps.map(|active| active.run().id).collect()
    }

    /// Returns true if a router has, or was asked for, runs of this project: their number.
    pub(super) fn at_router(&self, router: &Router, project: Option<&ProjectName>) -> usize {
        let at = self.runs.values().filter(|active| {
            active.router().is_some_and(|other| other.name() == router.name())
                && project.is_none_or(|project| active.run().task.project == *project)
        });
        at.count()
    }

    /// The number of runs in each state.
    pub(super) fn states(&self) -> BTreeMap<RunState, usize> {
        let mut states = BTreeMap::new();
        for active in self.runs.values() {
            *states.entry(active.run().state).or_default() += 1;
        }
        states
    }
}
