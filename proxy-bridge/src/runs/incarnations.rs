//! The projects that runs belong to: a run of a project that was removed never gets to a later one of the
//! same name.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::StatusCode;

use super::Runs;
use super::active::{Active, Phase};
use super::control::Control;
use super::launch::Launch;
use crate::ledger::StoredRun;
use crate::routers::Router;
use switchyard_contract::incarnation::Incarnation;
use switchyard_contract::project::ProjectName;
use switchyard_contract::run::{RunError, RunId, RunState};
use switchyard_edge::problem::Problem;

/// A project as the routers that are ready have it.
#[derive(Debug, Default)]
struct Presence {
    /// The incarnations that they report.
    incarnations: Vec<Incarnation>,
    /// `true`: routers are ready, and none has it.
    is_gone: bool,
    /// `true`: no live version declares tasks.
    is_without_tasks: bool,
}

impl Control {
    /// The incarnation of a project, as far as routers have reported it.
    pub(super) fn incarnation(&self, project: &ProjectName) -> Option<Incarnation> {
        reported(&self.shared.routers.list(), project).into_iter().next()
    }

    fn presence(&self, project: &ProjectName) -> Presence {
        let routers = self.shared.routers.list();
        let is_any_ready = routers.iter().any(|router| router.is_ready());
        Presence {
            incarnations: reported(&routers, project),
            is_gone: is_any_ready && !routers.iter().any(|router| router.has(project)),
            is_without_tasks: !self.shared.catalog.all().contains_key(project),
        }
    }

    /// Ends the runs that would begin something in a project that is gone, or that is another one now. If
    /// it has no tasks any more, those that name their version wait on.
    pub(super) fn end_runs_without_project(&mut self) {
        let mut known: BTreeMap<ProjectName, Presence> = BTreeMap::new();
        let mut lost = Vec::new();
        for active in self.active.iter() {
            let project = &active.run().task.project;
            if !known.contains_key(project) {
                known.insert(project.clone(), self.presence(project));
            }
            let reason = known.get(project).and_then(|presence| reason_to_end(active, presence));
            lost.extend(reason.map(|error| (active.run().id, error)));
        }
        lost.into_iter().for_each(|(id, error)| self.end_without_project(id, error));
    }

    /// The same for one run.
    pub(super) fn end_if_without_project(&mut self, id: RunId) {
        let Some(active) = self.active.get(id) else { return };
        let presence = self.presence(&active.run().task.project);
        if let Some(error) = reason_to_end(active, &presence) {
            self.end_without_project(id, error);
        }
    }

    fn end_without_project(&mut self, id: RunId, error: RunError) {
        for step in self.active.steps_of(id) {
            let _ = self.cancel(step, error.clone());
        }
        self.end(id, RunState::Failed, None, Some(error));
    }
}

/// The incarnations that routers report which are ready, and not behind.
fn reported(routers: &[Arc<Router>], project: &ProjectName) -> Vec<Incarnation> {
    let current = routers.iter().filter(|router| router.is_ready() && !router.is_behind(project.as_str()));
    current.filter_map(|router| router.incarnation(project)).collect()
}

/// The reason why a run that waits, or a pipeline, does not go on.
fn reason_to_end(active: &Active, project: &Presence) -> Option<RunError> {
    let is_queued = matches!(active.phase(), Phase::Queued { .. });
    if !is_queued && !active.is_orchestrating() {
        return None;
    }
    let name = &active.run().task.project;
    let is_other = active.launch.incarnation.is_some()
        && !project.incarnations.is_empty()
        && project.incarnations.iter().all(|incarnation| active.launch.is_of_other(*incarnation));
    if is_other {
        let message = format!("the project {name} was removed: what has its name now is another project");
        return Some(RunError::new("project-removed", message));
    }
    let needs_tasks = is_queued && active.version().is_none();
    (project.is_without_tasks && (project.is_gone || needs_tasks))
        .then(|| RunError::new("unknown-task", "the project is gone, or has no tasks any more"))
}

impl Runs {
    /// # Errors
    /// The run belongs to a project that was removed.
    pub(super) fn check_project(&self, stored: &StoredRun, launch: &Launch) -> Result<(), Problem> {
        let project = &stored.run.task.project;
        let current = reported(&self.0.routers.list(), project);
        if current.is_empty() || current.iter().any(|incarnation| !launch.is_of_other(*incarnation)) {
            return Ok(());
        }
        let detail = format!(
            "the run {} belongs to an earlier project {project}, which was removed: start {} anew",
            stored.run.id, stored.run.task
        );
        Err(Problem::new(StatusCode::CONFLICT, "project-removed", detail))
    }
}
