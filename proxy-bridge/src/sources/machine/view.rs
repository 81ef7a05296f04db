//! The state of a source, as others may see it.

use super::sync::Work;
use super::{FailedCommit, Machine, ReadyCommit, RemovalQuestion, SavedState, SourceProblem, WorkKind};

impl<C: Clone + Eq> Machine<C> {
    /// The state to be kept over a restart.
    pub fn saved(&self) -> &SavedState<C> {
        &self.saved
    }

    /// The commit that the routers have acknowledged as live.
    pub fn applied(&self) -> Option<&C> {
        self.saved.applied.as_ref()
    }

    /// The newest commit that was tried, if it has failed.
    pub fn failed(&self) -> Option<&FailedCommit<C>> {
        self.failed.as_ref()
    }

    /// The commit in hold.
    pub fn ready(&self) -> Option<&ReadyCommit<C>> {
        self.ready.as_ref()
    }

    /// The removal that waits to be approved.
    pub fn asks(&self) -> Option<&RemovalQuestion<C>> {
        self.asks.as_ref()
    }

    /// The problem to show: that of fetching, else that of the newest commit.
    pub fn problem(&self) -> Option<&SourceProblem> {
        let of_fetch = self.trouble.as_ref().map(|trouble| &trouble.problem);
        of_fetch.or(self.failed.as_ref().map(|failed| &failed.problem))
    }

    /// The reason why nothing is deployed, if the source is frozen or a window denies it.
    pub fn frozen(&self) -> Option<String> {
        let by_window = || self.closed_until.map(|until| format!("deploys are denied until {until}"));
        self.saved.frozen.clone().or_else(by_window)
    }

    /// The work under way.
    pub fn work(&self) -> WorkKind<C> {
        match (&self.work, &self.ready) {
            (Work::Idle, Some(ready)) => WorkKind::Ready(ready.commit.clone()),
            (work, _) => work.kind(),
        }
    }

    /// Returns true if a fetch, a read or a deploy is under way.
    pub fn is_busy(&self) -> bool {
        !matches!(self.work, Work::Idle)
    }

    /// Returns true if the sync under way puts back what is applied, whatever the newest commit is.
    pub fn is_restoring(&self) -> bool {
        match &self.work {
            Work::Idle => false,
            Work::Fetching(sync) | Work::Reading(_, sync) | Work::Deploying(_, _, sync) => sync.goal.restore,
        }
    }

    /// Returns true if the sync under way deploys projects that have not changed, too.
    pub fn is_forced(&self) -> bool {
        match &self.work {
            Work::Idle => false,
            Work::Fetching(sync) | Work::Reading(_, sync) | Work::Deploying(_, _, sync) => sync.goal.force,
        }
    }
}
