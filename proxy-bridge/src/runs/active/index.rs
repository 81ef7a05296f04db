//! Indices of runs that have not ended: the control asks them on each event, however many runs wait.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::{Active, Phase};
use switchyard_contract::project::ProjectName;
use switchyard_contract::run::RunId;
use switchyard_contract::task::TaskId;

/// Sets and counts without empty entries.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Index {
    /// Runs that are no steps of others and do not wait, by task.
    pub(super) under_way: BTreeMap<TaskId, BTreeSet<RunId>>,
    /// Runs that are no steps of others and wait, by task.
    pub(super) waiting: BTreeMap<TaskId, BTreeSet<RunId>>,
    /// The number of all runs that wait, by project.
    pub(super) waiting_of_project: BTreeMap<ProjectName, usize>,
    /// Steps, by the run that they belong to.
    pub(super) steps: BTreeMap<RunId, BTreeSet<RunId>>,
    /// Runs that take up a router's room, by its name and by project.
    pub(super) at_router: BTreeMap<String, BTreeMap<ProjectName, BTreeSet<RunId>>>,
    /// Runs whose turn it is as soon as a router has room, by project: the steps of others apart.
    pub(super) ready: BTreeMap<(ProjectName, bool), BTreeSet<RunId>>,
    /// Pipelines whose turn it is: they take up no room.
    pub(super) ready_pipelines: BTreeSet<RunId>,
    /// Runs that pause, with the end of their pauses.
    pub(super) later: BTreeSet<(Instant, RunId)>,
}

#[derive(Clone, Copy, PartialEq)]
enum Change {
    Add,
    Remove,
}

impl Index {
    pub(super) fn add(&mut self, active: &Active) {
        self.change(active, Change::Add);
    }

    /// Removes a run, which must be as it was when it was added.
    pub(super) fn remove(&mut self, active: &Active) {
        self.change(active, Change::Remove);
    }

    fn change(&mut self, active: &Active, change: Change) {
        let run = active.run();
        let (id, project, is_waiting) = (run.id, &run.task.project, active.is_waiting());
        match (&run.step, run.parent) {
            (None, _) if is_waiting => change_in(&mut self.waiting, &run.task, id, change),
            (None, _) => change_in(&mut self.under_way, &run.task, id, change),
            (Some(_), Some(parent)) => change_in(&mut self.steps, &parent, id, change),
            (Some(_), None) => {}
        }
        if is_waiting {
            count(&mut self.waiting_of_project, project, change);
        }
        if let Some(router) = active.slot() {
            let runs = self.at_router.entry(router.name().to_owned()).or_default();
            change_in(runs, project, id, change);
            if runs.is_empty() {
                self.at_router.remove(router.name());
            }
        }
        match active.phase() {
            Phase::Queued { not_before: Some(time) } => change_set(&mut self.later, (*time, id), change),
            Phase::Queued { not_before: None } if active.launch.work.is_none() => {
                change_set(&mut self.ready_pipelines, id, change);
            }
            Phase::Queued { not_before: None } => {
                change_in(&mut self.ready, &(project.clone(), active.is_step()), id, change);
            }
            _ => {}
        }
    }
}

fn change_set<T: Ord>(set: &mut BTreeSet<T>, value: T, change: Change) {
    match change {
        Change::Add => _ = set.insert(value),
        Change::Remove => _ = set.remove(&value),
    }
}

fn change_in<K: Ord + Clone>(sets: &mut BTreeMap<K, BTreeSet<RunId>>, key: &K, id: RunId, change: Change) {
    let set = sets.entry(key.clone()).or_default();
    change_set(set, id, change);
    if set.is_empty() {
        sets.remove(key);
    }
}

fn count<K: Ord + Clone>(counts: &mut BTreeMap<K, usize>, key: &K, change: Change) {
    let count = counts.entry(key.clone()).or_default();
    *count = match change {
        Change::Add => *count + 1,
        Change::Remove => count.saturating_sub(1),
    };
    if *count == 0 {
        counts.remove(key);
    }
}
