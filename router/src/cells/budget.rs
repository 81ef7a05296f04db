//! The budget of cell processes: how many there are, how many there may be, and which ones end to
//! make room for others. Pure; kept up to date with each change, so that no change counts all
//! owners.

use std::collections::BTreeMap;
use std::time::Instant;

use switchyard_contract::project::ProjectName;

/// The cells of all projects, and their limit (`--max-cells`).
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    /// The projects that have cells, or are about to: at the first start, all.
    projects: BTreeMap<ProjectName, CellCount>,
    /// The projects with running cells, and the number of these.
    running: BTreeMap<ProjectName, usize>,
    total: CellCount,
    /// The cells of runs. They make no room: others make it for them.
    runs: usize,
}

/// The cells of one project, or of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CellCount {
    /// The running cells of the live version.
    pub(crate) running: usize,
    /// The running cells or, if these are more, the cells that are about to replace them.
    pub(crate) expected: usize,
}

impl Budget {
    pub(super) fn new(limit: usize) -> Self {
        let (projects, running) = (BTreeMap::new(), BTreeMap::new());
        Self { limit, projects, running, total: CellCount::default(), runs: 0 }
    }

    /// Sets the number of cells that `project` has.
    pub(crate) fn set(&mut self, project: &ProjectName, count: CellCount) {
        let before = match self.projects.get_mut(project) {
            Some(known) if count != CellCount::default() => std::mem::replace(known, count),
            Some(_) => self.projects.remove(project).unwrap_or_default(),
            None if count == CellCount::default() => return,
            None => {
                self.projects.insert(project.clone(), count);
                CellCount::default()
            }
        };
        if count.running == 0 {
            self.running.remove(project);
        } else if count.running != before.running {
            self.running.insert(project.clone(), count.running);
        }
        self.total.running = self.total.running + count.running - before.running;
        self.total.expected = self.total.expected + count.expected - before.expected;
    }

    /// Counts the cell of a run that begins.
    pub(super) fn add_run(&mut self) {
        self.runs += 1;
    }

    /// Leaves out the cell of a run that has ended.
    pub(super) fn remove_run(&mut self) {
        self.runs = self.runs.saturating_sub(1);
    }

    /// Returns true if there are, or will soon be, more cells than the limit allows. What is not
    /// needed at once is then started by its first request.
    pub(crate) fn is_exceeded(&self) -> bool {
        self.total.expected + self.runs > self.limit
    }

    /// Returns true if a cell for each of `projects` would be more than the limit allows.
    pub(crate) fn is_exceeded_by(&self, projects: usize) -> bool {
        projects > self.limit
    }

    /// The projects whose live version has running cells.
    pub(crate) fn running(&self) -> impl Iterator<Item = &ProjectName> {
        self.running.keys()
    }

    /// The projects whose cells have to end for the running cells to be within the limit, least
    /// recently used first. `spared` has just been requested. `idle_since`: the instant since which
    /// a project's cells are idle; `None` while they are in use.
    pub(crate) fn to_evict(
        &self,
        spared: &ProjectName,
        idle_since: impl Fn(&ProjectName) -> Option<Instant>,
    ) -> Vec<ProjectName> {
        let mut excess = (self.total.running + self.runs).saturating_sub(self.limit);
        if excess == 0 {
            return Vec::new();
        }
        let running = self.running.iter().filter(|(name, _)| *name != spared);
        let idle = running.filter_map(|(name, cells)| Some((idle_since(name)?, *cells, name)));
        let mut idle: Vec<_> = idle.collect();
        idle.sort();
        let mut evicted = Vec::new();
        for (_, cells, name) in idle {
            if excess == 0 {
                break;
            }
            evicted.push(name.clone());
            excess = excess.saturating_sub(cells);
        }
        evicted
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn name(name: &str) -> ProjectName {
        ProjectName::parse(name).unwrap()
    }

    #[test]
    fn the_total_follows_every_change() {
        let mut budget = Budget::new(4);
        let mut set = |project: &str, running, expected| {
            budget.set(&name(project), CellCount { running, expected });
            let running: Vec<_> = budget.running().map(ProjectName::as_str).collect();
            (budget.total.running, budget.total.expected, running.join(" "))
        };
        assert_eq!(set("a", 0, 1), (0, 1, String::new()));
        assert_eq!(set("b", 4, 4), (4, 5, "b".into()));
        assert_eq!(set("a", 1, 1), (5, 5, "a b".into()));
        assert_eq!(set("b", 4, 6), (5, 7, "a b".into()));
        assert_eq!(set("c", 0, 0), (5, 7, "a b".into()));
        assert_eq!(set("b", 0, 0), (1, 1, "a".into()));
        assert_eq!(set("a", 0, 0), (0, 0, String::new()));
        assert!(budget.projects.is_empty());
    }

    #[test]
    fn the_cells_that_were_used_least_recently_make_room_and_those_in_use_stay() {
        let (mut budget, now) = (Budget::new(3), Instant::now());
        for (project, cells) in [("busy", 1), ("old", 2), ("older", 1), ("wanted", 2)] {
            budget.set(&name(project), CellCount { running: cells, expected: cells });
        }
        let idle_since = |project: &ProjectName| match project.as_str() {
            "busy" => None,
            "older" => Some(now),
            "old" => Some(now + Duration::from_secs(1)),
            _ => Some(now + Duration::from_secs(2)),
        };
        let evicted = |budget: &Budget| budget.to_evict(&name("wanted"), idle_since);
        assert!(budget.is_exceeded());
        assert!(budget.is_exceeded_by(4) && !budget.is_exceeded_by(3));
        assert_eq!(evicted(&budget), [name("older"), name("old")]);
        budget.set(&name("older"), CellCount::default());
        budget.set(&name("old"), CellCount::default());
        assert!(!budget.is_exceeded() && evicted(&budget).is_empty());
        for project in ["old", "wanted"] {
            budget.set(&name(project), CellCount { running: 1, expected: 1 });
        }
        assert!(!budget.is_exceeded());
        budget.add_run();
        assert!(budget.is_exceeded());
        assert_eq!(evicted(&budget), [name("old")], "a run is never evicted itself");
        budget.remove_run();
        assert!(!budget.is_exceeded() && evicted(&budget).is_empty());
    }
}
