//! All projects by name, and their share of the budget of cells.

use std::collections::BTreeMap;
use std::collections::btree_map::Keys;
use std::sync::Arc;

use switchyard_contract::project::ProjectName;

use super::project::Project;
use crate::cells::Cells;
use crate::live::LogBuffer;
use crate::root::Overrides;

/// The projects that are known, or about to be.
#[derive(Debug)]
pub(super) struct Projects {
    /// Boxed, as a map has room for twice as many values as it holds.
    all: BTreeMap<ProjectName, Box<Project>>,
    logs: Arc<LogBuffer>,
    cells: Arc<Cells>,
    overrides: Overrides,
}

impl Projects {
    pub(super) fn new(logs: Arc<LogBuffer>, cells: Arc<Cells>, overrides: Overrides) -> Self {
        Self { all: BTreeMap::new(), logs, cells, overrides }
    }

    /// The project of this name: a new one if nothing was known of it.
    pub(super) fn of(&mut self, name: &ProjectName) -> &mut Project {
        self.all.entry(name.clone()).or_insert_with(|| {
            self.logs.open(name);
            let overridden = self.overrides.folder(name.as_str());
            Box::new(Project { overridden, ..Project::new(name.clone()) })
        })
    }

    pub(super) fn get(&self, name: &str) -> Option<&Project> {
        self.all.get(name).map(Box::as_ref)
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.all.contains_key(name)
    }

    /// Forgets a project of which nothing is left.
    pub(super) fn remove(&mut self, name: &ProjectName) {
        self.all.remove(name);
        self.logs.close(name);
        self.cells.forget(name);
    }

    pub(super) fn names(&self) -> Keys<'_, ProjectName, Box<Project>> {
        self.all.keys()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Project> {
        self.all.values().map(Box::as_ref)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Project> {
        self.all.values_mut().map(Box::as_mut)
    }

    /// Counts the cells of a project again, for the budget.
    pub(super) fn count_cells(&self, name: &ProjectName) {
        let count = self.all.get(name).map(|project| project.cell_count()).unwrap_or_default();
        self.cells.budget().set(name, count);
    }
}
