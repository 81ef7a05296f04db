//! The reads of registries that wait for their turn or are under way, and the steps that wait for them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use tokio::task::AbortHandle;

use crate::routers::Router;
use switchyard_contract::digest::Digest;
use switchyard_contract::project::ProjectName;
use switchyard_contract::run::{RunError, RunId};

/// The reads of registries that wait or are under way.
#[derive(Default)]
pub(super) struct Reads {
    pub(super) waiting: VecDeque<Read>,
    /// By the runs that read. They have no records.
    pub(super) under_way: BTreeMap<RunId, (Read, Arc<Router>, AbortHandle)>,
}

/// A read, and the steps that wait for it.
pub(super) struct Read {
    pub(super) source: Source,
    /// By their pipelines.
    pub(super) steps: Vec<(RunId, String)>,
    /// The times that a router was busy.
    pub(super) refusals: usize,
    pub(super) not_before: Option<Instant>,
}

/// The registry of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) project: ProjectName,
    /// `None`: the live one.
    pub(super) version: Option<Digest>,
    /// The one router that can run the steps, by name. `None`: any.
    pub(super) router: Option<String>,
}

/// The reason why a registry was not read.
pub(super) enum NotRead {
    /// No router could begin.
    Later(String),
    /// The router does not have the version.
    NoVersion(RunError),
    /// The steps that need it fail.
    Failed(RunError),
}

impl Reads {
    /// Adds a step. One read is for all steps that wait for the same registry; that of a version never
    /// changes, so a step also joins a read of it that is under way.
    pub(super) fn add(&mut self, source: Source, step: (RunId, String)) {
        let under_way = self.under_way.values_mut().map(|(read, ..)| read);
        let joined = under_way.filter(|_| source.version.is_some()).chain(&mut self.waiting);
        let mut same = joined.filter(|read| read.source == source);
        match same.next() {
            Some(read) => read.steps.push(step),
            None => {
                drop(same);
                let steps = vec![step];
                self.waiting.push_back(Read { source, steps, refusals: 0, not_before: None });
            }
        }
    }

    /// Returns true if the run reads a registry.
    pub(super) fn has(&self, run: RunId) -> bool {
        self.under_way.contains_key(&run)
    }

    /// The number of steps of a project that wait for a read.
    pub(super) fn waiting_of(&self, project: &ProjectName) -> usize {
        let of_project = self.waiting.iter().filter(|read| read.source.project == *project);
        of_project.map(|read| read.steps.len()).sum()
    }

    /// The end of the next pause.
    pub(super) fn next(&self) -> Option<Instant> {
        self.waiting.iter().filter_map(|read| read.not_before).min()
    }

    /// Drops the steps that do not go on. Returns the reads under way that are for none any more.
    pub(super) fn retain(&mut self, goes_on: impl Fn(RunId) -> bool) -> Vec<(RunId, Arc<Router>)> {
        let under_way = self.under_way.values_mut().map(|(read, ..)| read);
        under_way.chain(&mut self.waiting).for_each(|read| read.steps.retain(|(id, _)| goes_on(*id)));
        self.waiting.retain(|read| !read.steps.is_empty());
        let needless = self.under_way.extract_if(.., |_, (read, ..)| read.steps.is_empty());
        let end = |(reader, (_, router, task)): (RunId, (Read, Arc<Router>, AbortHandle))| {
            task.abort();
            (reader, router)
        };
        needless.map(end).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_that_wait_for_the_same_registry_have_one_read() {
        let mut reads = Reads::default();
        let source = |project: &str, version: Option<u8>| Source {
            project: ProjectName::parse(project).unwrap(),
            version: version.map(|byte| Digest::from([byte; 32])),
            router: None,
        };
        let ids: Vec<_> = (0..3).map(|_| RunId::new_now()).collect();
        for (at, version) in [(0, Some(1)), (1, Some(1)), (1, Some(2)), (2, None), (0, None)] {
            reads.add(source("shop", version), (ids[at], "step".to_owned()));
        }
        assert_eq!(reads.waiting.iter().map(|read| read.steps.len()).collect::<Vec<_>>(), [2, 1, 2]);
        assert_eq!(reads.waiting_of(&ProjectName::parse("shop").unwrap()), 5);
        // The pipelines of the others were cancelled.
        assert!(reads.retain(|id| id == ids[2]).is_empty());
        assert_eq!(reads.waiting.iter().map(|read| read.steps.len()).collect::<Vec<_>>(), [1]);
    }
}
