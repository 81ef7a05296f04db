//! The load of a router with the runs of a project, and the rule for more.

use switchyard_contract::bounds::MAX_STEP_DEPTH;

/// The runs of a project at a router.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Load {
    /// All of them.
    pub(super) all: usize,
    /// Those that wait for their steps.
    pub(super) waiting: usize,
    /// Those with each number of runs above them.
    by_depth: [usize; MAX_STEP_DEPTH as usize + 1],
}

impl Load {
    /// Counts a run.
    pub(super) fn add(&mut self, depth: u32, waits: bool) {
        self.all += 1;
        self.waiting += usize::from(waits);
        if let Some(count) = self.by_depth.get_mut(depth as usize) {
            *count += 1;
        }
    }

    /// The number of runs of this depth that may start besides. Routers have the same rule.
    pub(super) fn room(&self, most: usize, depth: u32) -> usize {
        if depth == 0 {
            return most.saturating_sub(self.all);
        }
        // There are at most this many of each depth, which bounds the number of processes.
        let as_deep = self.by_depth.get(depth as usize).copied().unwrap_or(most);
        most.saturating_sub(self.all - self.waiting).min(most.saturating_sub(as_deep))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(runs: &[(u32, bool)]) -> Load {
        let mut load = Load::default();
        runs.iter().for_each(|(depth, waits)| load.add(*depth, *waits));
        load
    }

    #[test]
    fn runs_that_wait_for_their_steps_leave_their_slots_to_steps_alone() {
        let waiting = [(0, true), (0, true)];
        assert_eq!((load(&waiting).room(2, 0), load(&waiting).room(2, 1)), (0, 2));
        let with_step = load(&[(0, true), (0, true), (1, false)]);
        assert_eq!((with_step.room(2, 0), with_step.room(2, 1)), (0, 1));
        let computing = load(&[(0, false), (0, true), (1, false)]);
        assert_eq!((computing.room(2, 1), computing.room(2, 2)), (0, 0));
    }

    #[test]
    fn there_are_at_most_as_many_runs_of_each_depth_as_the_limit() {
        let mut runs = Vec::new();
        for depth in 0..=MAX_STEP_DEPTH {
            assert_eq!(load(&runs).room(2, depth), 2, "{depth}");
            runs.extend([(depth, true), (depth, true)]);
            assert_eq!(load(&runs).room(2, depth), 0, "{depth}");
        }
    }
}
