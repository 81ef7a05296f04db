//! The room that routers have for the runs of a project. A run that waits for its step leaves its slot to
//! steps: otherwise runs that hold all slots would wait for steps that never start.

use std::sync::Arc;

use jiff::Timestamp;

use super::active::{Active, Phase};
use super::control::Control;
use super::load::Load;
use crate::routers::Router;
use switchyard_contract::project::ProjectName;
use switchyard_contract::run::RunId;

/// A router that has a run's project.
pub(super) struct Opening {
    pub(super) router: Arc<Router>,
    /// Runs of the project at once.
    most: usize,
    /// Runs of the project that it has.
    load: Load,
    /// Runs of all projects that it has.
    all: usize,
}

impl Opening {
    /// Runs that it takes besides those that it has: steps, or others.
    pub(super) fn room_for(&self, steps: bool) -> usize {
        match steps {
            true => self.most.saturating_sub(self.load.all - self.load.waiting),
            false => self.load.room(self.most, 0),
        }
    }
}

/// The router with the fewest runs of those that can take this one. One that does not have its version
/// is chosen only if none has it: the version is made again there.
pub(super) fn choose(active: &Active, openings: &[Opening]) -> Option<Arc<Router>> {
    let there = || openings.iter().filter(|opening| active.can_run_at(&opening.router));
    let may_have = |opening: &Opening| !active.lacking.contains(opening.router.name());
    let is_gone = !there().any(may_have);
    let has_room = |opening: &Opening| opening.load.room(opening.most, active.launch.depth) > 0;
    let can_take = there().filter(|opening| has_room(opening) && (is_gone || may_have(opening)));
    can_take.min_by_key(|opening| opening.all).map(|opening| opening.router.clone())
}

impl Control {
    /// The routers that have a project, with their room for its runs.
    pub(super) fn openings(&self, project: &ProjectName) -> Vec<Opening> {
        let most = self.limits(project).runs as usize;
        let list = self.shared.routers.list();
        let has_it = |router: &&Arc<Router>| {
            router.is_ready() && router.has(project) && !router.is_behind(project.as_str())
        };
        let opening = |router: &Arc<Router>| Opening {
            router: router.clone(),
            most,
            load: self.active.load(router, project),
            all: self.active.at_router(router),
        };
        list.iter().filter(has_it).map(opening).collect()
    }

    /// The reason why a queued run does not start yet, as a part of a sentence.
    pub(super) fn reason_to_wait(&self, id: RunId) -> Option<String> {
        let active = self.active.get(id)?;
        let Phase::Queued { .. } = active.phase() else { return None };
        let run = active.run();
        let project = &run.task.project;
        if let Some(at) = run.next_attempt_at.filter(|at| *at > Timestamp::now()) {
            return Some(format!("the next attempt begins at {at}"));
        }
        if let Some(other) =
            self.active.under_way(&run.task).find(|other| active.launch.alone && *other != id)
        {
            return Some(format!("{other} is under way, and the task has one run at a time (overlap)"));
        }
        let openings = self.openings(project);
        if !openings.iter().any(|opening| active.can_run_at(&opening.router)) {
            return Some(format!("no router that is ready has {project}"));
        }
        if active.launch.work.is_some() && choose(active, &openings).is_none() {
            let under_way: usize = openings.iter().map(|opening| opening.load.all).sum();
            return Some(format!("{under_way} runs of {project} are under way (limits.runs)"));
        }
        active.refusal.clone()
    }
}
