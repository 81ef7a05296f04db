//! How many cells there are, by project: kept up to date with each change of one, so that no change counts all projects. Pure.

use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub(super) struct Population {
    /// Projects that have or are about to have cells.
    projects: BTreeMap<String, Cells>,
    total: Cells,
}

/// The cells of one project, or of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cells {
    /// Those of the live version.
    pub(super) running: usize,
    /// The same, or those that are about to take their place where these are more.
    pub(super) all: usize,
}

impl Population {
    /// The project has so many now.
    pub(super) fn set(&mut self, project: &str, cells: Cells) {
        let before = match self.projects.get_mut(project) {
            Some(known) if cells != Cells::default() => std::mem::replace(known, cells),
            Some(_) => self.projects.remove(project).unwrap_or_default(),
            None if cells == Cells::default() => return,
            None => {
                self.projects.insert(project.to_owned(), cells);
                Cells::default()
            }
        };
        self.total.running = self.total.running + cells.running - before.running;
        self.total.all = self.total.all + cells.all - before.all;
    }

    pub(super) fn total(&self) -> Cells {
        self.total
    }

    /// The projects whose live version has cells.
    pub(super) fn running(&self) -> impl Iterator<Item = &str> {
        self.projects.iter().filter(|(_, cells)| cells.running > 0).map(|(name, _)| name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_follows_every_change() {
        let mut population = Population::default();
        let mut set = |project: &str, running, all| {
            population.set(project, Cells { running, all });
            let running: Vec<_> = population.running().map(str::to_owned).collect();
            (population.total().running, population.total().all, running.join(" "))
        };
        assert_eq!(set("a", 0, 1), (0, 1, String::new()));
        assert_eq!(set("b", 4, 4), (4, 5, "b".into()));
        assert_eq!(set("a", 1, 1), (5, 5, "a b".into()));
        assert_eq!(set("b", 4, 6), (5, 7, "a b".into()));
        assert_eq!(set("c", 0, 0), (5, 7, "a b".into()));
        assert_eq!(set("b", 0, 0), (1, 1, "a".into()));
        assert_eq!(set("a", 0, 0), (0, 0, String::new()));
        assert!(population.projects.is_empty());
    }
}
