//! Runs that have not ended, as the control has them in memory.

mod index;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use self::index::Index;
use super::Started;
use super::launch::Launch;
use super::load::Load;
use super::pipeline_state::PipelineState;
use crate::ledger::StoredRun;
use crate::routers::Router;
use crate::traces::RunTrace;
use switchyard_contract::digest::Digest;
use switchyard_contract::project::ProjectName;
use switchyard_contract::run::{Run, RunError, RunId};
use switchyard_contract::task::{Consistency, TaskId};
use switchyard_edge::problem::Problem;

/// The answer to a request for a run.
pub(super) type StartReply = oneshot::Sender<Result<Started, Problem>>;

/// A run that has not ended.
pub(super) struct Active {
    pub(super) stored: StoredRun,
    pub(super) launch: Launch,
    /// Changed by [`ActiveRuns::set_phase`] alone, which keeps the index.
    phase: Phase,
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
    /// The reason why a router has not started it, since it was asked last.
    pub(super) refusal: Option<String>,
    /// The names of routers at which its version was made again for this attempt.
    pub(super) made_at: BTreeSet<String>,
    /// The trace, once it has begun in this process.
    pub(super) trace: Option<RunTrace>,
}

/// The phase of a run.
pub(super) enum Phase {
    /// The acceptance is being recorded, before anybody is answered.
    Accepting(Option<StartReply>),
    /// Waits for its turn, or for its next attempt.
    Queued { not_before: Option<Instant> },
    /// The version is made again at a router, which does not know the run.
    Making { router: Arc<Router>, task: AbortHandle },
    /// A router was asked to start it.
    Dispatching(Arc<Router>),
    /// A router has it.
    Following { router: Arc<Router>, task: AbortHandle },
    /// The steps are runs of their own, and under way.
    Orchestrating,
    /// The end is being recorded.
    Ending,
}

impl Active {
    pub(super) fn new(stored: StoredRun, launch: Launch, phase: Phase) -> Self {
        Self {
            stored,
            launch,
            phase,
            is_taken_over: false,
            cancelled: None,
            waiters: Vec::new(),
            pipeline: None,
            lacking: BTreeSet::new(),
            refusal: None,
            made_at: BTreeSet::new(),
            trace: None,
        }
    }

    pub(super) fn run(&self) -> &Run {
        &self.stored.run
    }

    pub(super) fn run_mut(&mut self) -> &mut Run {
        &mut self.stored.run
    }

    pub(super) fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Takes the channel of the request that waits for its acceptance.
    pub(super) fn take_reply(&mut self) -> Option<StartReply> {
        match &mut self.phase {
            Phase::Accepting(reply) => reply.take(),
            _ => None,
        }
    }

    /// The version that an attempt uses. `None`: the live one. Further attempts keep to the version of
    /// the first, unless each step takes the newest.
    pub(super) fn version(&self) -> Option<Digest> {
        let run = self.run();
        let used = run.version.as_ref().filter(|_| run.consistency != Consistency::Step);
        self.launch.version.or(used.map(|version| version.digest))
    }

    /// Returns true if the router has what the next attempt needs. A version that it names is kept, or
    /// made again, also where the live one declares no tasks.
    pub(super) fn can_run_at(&self, router: &Router) -> bool {
        let project = &self.run().task.project;
        let has_it = || {
            if self.version().is_some() { router.has(project) } else { router.has_tasks(project.as_str()) }
        };
        let own = self.launch.incarnation;
        router.is_ready()
            && own.is_none_or(|own| router.incarnation(project) == Some(own))
            && self.launch.may_run_at(router.name())
            && !router.is_behind(project.as_str())
            && has_it()
    }

    /// The router that has it, or was asked to start it.
    pub(super) fn router(&self) -> Option<&Arc<Router>> {
        match &self.phase {
            Phase::Dispatching(router) | Phase::Following { router, .. } => Some(router),
            _ => None,
        }
    }

    /// The router among whose runs it is counted.
    fn slot(&self) -> Option<&Arc<Router>> {
        match &self.phase {
            Phase::Making { router, .. } => Some(router),
            _ => self.router(),
        }
    }

    /// Returns true if this router has it, was asked to start it, or had it when an earlier process of
    /// the bridge ended. Once its end is recorded, the router is asked to forget it.
    pub(super) fn is_at(&self, router: &Router) -> bool {
        match &self.phase {
            Phase::Dispatching(own) | Phase::Following { router: own, .. } => own.name() == router.name(),
            Phase::Ending => self.run().router.as_deref() == Some(router.name()),
            Phase::Accepting(_) => self.is_taken_over && self.run().router.as_deref() == Some(router.name()),
            Phase::Queued { .. } | Phase::Making { .. } | Phase::Orchestrating => false,
        }
    }

    /// Returns true if it is a pipeline that goes on.
    pub(super) fn is_orchestrating(&self) -> bool {
        matches!(self.phase, Phase::Orchestrating)
    }

    /// Returns true if it is a step of another run.
    pub(super) fn is_step(&self) -> bool {
        self.launch.depth > 0
    }

    fn is_waiting(&self) -> bool {
        matches!(self.phase, Phase::Accepting(_) | Phase::Queued { .. })
    }
}

/// All runs that have not ended.
#[derive(Default)]
pub(super) struct ActiveRuns {
    runs: BTreeMap<RunId, Active>,
    index: Index,
}

impl ActiveRuns {
    pub(super) fn insert(&mut self, active: Active) {
        self.index.add(&active);
        self.runs.insert(active.run().id, active);
    }

    pub(super) fn remove(&mut self, id: RunId) -> Option<Active> {
        let active = self.runs.remove(&id)?;
        self.index.remove(&active);
        Some(active)
    }

    pub(super) fn get(&self, id: RunId) -> Option<&Active> {
        self.runs.get(&id)
    }

    /// A run for changes of all but its id, its task, its parent and its phase.
    pub(super) fn get_mut(&mut self, id: RunId) -> Option<&mut Active> {
        self.runs.get_mut(&id)
    }

    pub(super) fn set_phase(&mut self, id: RunId, phase: Phase) {
        let Some(active) = self.runs.get_mut(&id) else { return };
        self.index.remove(active);
        active.phase = phase;
        self.index.add(active);
    }

    /// All runs, the oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Active> {
        self.runs.values()
    }

    /// The runs of a task under way that are no steps of others, the oldest first.
    pub(super) fn under_way(&self, task: &TaskId) -> impl Iterator<Item = RunId> {
        self.index.under_way.get(task).into_iter().flatten().copied()
    }

    /// The runs of a task that wait and are no steps of others, the oldest first.
    pub(super) fn waiting(&self, task: &TaskId) -> impl Iterator<Item = RunId> {
        self.index.waiting.get(task).into_iter().flatten().copied()
    }

    /// The runs of a task that are no steps of others.
    pub(super) fn of_task(&self, task: &TaskId) -> Vec<RunId> {
        self.under_way(task).chain(self.waiting(task)).collect()
    }

    /// Returns true if a run of the task executes this code: the digest and the hash of the
    /// specification, as in `DIGEST/HASH`. One that no router has begun yet will.
    pub(super) fn runs_code(&self, task: &TaskId, code: &str) -> bool {
        self.of_task(task).into_iter().filter_map(|id| self.get(id)).any(|active| {
            let version = active.run().version.as_ref();
            version.is_none_or(|version| format!("{}/{}", version.digest, version.spec) == code)
        })
    }

    /// Returns true if another run of the task is under way.
    pub(super) fn has_other(&self, run: &Run) -> bool {
        self.under_way(&run.task).any(|id| id != run.id)
    }

    /// The number of runs of a project that wait for their turn.
    pub(super) fn waiting_of_project(&self, project: &ProjectName) -> usize {
        self.index.waiting_of_project.get(project).copied().unwrap_or_default()
    }

    /// The run that is this step of `parent`.
    pub(super) fn step(&self, parent: RunId, step: &str) -> Option<&Active> {
        self.all_steps(parent).find(|active| active.run().step.as_deref() == Some(step))
    }

    /// The steps of `parent` that have not ended.
    pub(super) fn steps_of(&self, parent: RunId) -> Vec<RunId> {
        // The end of one is being recorded: its pipeline knows it.
        let steps = self.all_steps(parent).filter(|active| !matches!(active.phase, Phase::Ending));
        steps.map(|active| active.run().id).collect()
    }

    fn all_steps(&self, parent: RunId) -> impl Iterator<Item = &Active> {
        let ids = self.index.steps.get(&parent).into_iter().flatten();
        ids.filter_map(|id| self.runs.get(id))
    }

    /// The number of runs of all projects that a router has, or was asked for.
    pub(super) fn at_router(&self, router: &Router) -> usize {
        let of_project = self.index.at_router.get(router.name());
        of_project.map_or(0, |runs| runs.values().map(BTreeSet::len).sum())
    }

    /// The runs of a project that a router has, or was asked for.
    pub(super) fn load(&self, router: &Router, project: &ProjectName) -> Load {
        let runs = self.index.at_router.get(router.name()).and_then(|runs| runs.get(project));
        let mut load = Load::default();
        for active in runs.into_iter().flatten().filter_map(|id| self.runs.get(id)) {
            let id = active.run().id;
            let waits = self.all_steps(id).any(|step| !matches!(step.phase, Phase::Ending));
            load.add(active.launch.depth, waits);
        }
        load
    }

    /// Readies the runs whose pause is over.
    pub(super) fn ready_until(&mut self, now: Instant) {
        while let Some((_, id)) = self.index.later.first().copied().filter(|(time, _)| *time <= now) {
            self.set_phase(id, Phase::Queued { not_before: None });
        }
    }

    /// The end of the next pause.
    pub(super) fn next_ready(&self) -> Option<Instant> {
        self.index.later.first().map(|(time, _)| *time)
    }

    /// The runs whose turn it is as soon as a router has room, by project: the steps of others (true)
    /// apart.
    pub(super) fn ready(&self) -> impl Iterator<Item = (&ProjectName, bool, impl Iterator<Item = &Active>)> {
        let runs = &self.runs;
        let get = move |id| runs.get(id);
        self.index
            .ready
            .iter()
            .map(move |((project, is_step), ids)| (project, *is_step, ids.iter().filter_map(get)))
    }

    /// The pipelines whose turn it is.
    pub(super) fn ready_pipelines(&self) -> Vec<RunId> {
        self.index.ready_pipelines.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests;
