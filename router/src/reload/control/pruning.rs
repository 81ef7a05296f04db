//! The state folder, cleaned up behind projects.

use std::collections::{BTreeMap, BTreeSet};

use switchyard_contract::incarnation::Incarnation;
use switchyard_contract::project::ProjectName;

use super::Control;
use crate::reload::project::Project;
use crate::reload::prune::PruneScope;
use crate::reload::tasks::RouterTask;

impl Control {
    /// Notes that the folder of a project is gone. Its versions are kept for a while; everything
    /// else that was kept for it is removed.
    pub(super) fn forget(&mut self, project: &ProjectName) {
        self.record.set_gone(project);
        self.prune(project);
    }

    /// Removes everything of `project` that nothing needs any more.
    pub(super) fn prune(&mut self, project: &ProjectName) {
        let scope = self.scope(project, BTreeSet::new());
        self.prune_scopes(vec![scope]);
    }

    /// Searches the state folder for leftovers of projects that are gone.
    pub(super) fn sweep(&mut self) {
        let leftovers = self.pruner.clone().leftovers();
        self.tasks.spawn_for_router(async move { RouterTask::Leftovers(leftovers.await) });
    }

    pub(super) fn prune_leftovers(&mut self, leftovers: BTreeMap<ProjectName, BTreeSet<Incarnation>>) {
        let scopes = leftovers.into_iter().map(|(project, found)| self.scope(&project, found)).collect();
        self.prune_scopes(scopes);
    }

    fn prune_scopes(&mut self, scopes: Vec<PruneScope>) {
        let pruned = self.pruner.clone().run(scopes);
        self.tasks.spawn_for_router(async move {
            pruned.await;
            RouterTask::Done
        });
    }

    fn scope(&self, project: &ProjectName, found: BTreeSet<Incarnation>) -> PruneScope {
        let known = self.projects.get(project.as_str());
        PruneScope {
            project: project.clone(),
            keep: self.settings.keep,
            used: known.map(Project::used).unwrap_or_default(),
            is_gone: known.is_none_or(|project| project.machine.is_absent()),
            found,
        }
    }
}
