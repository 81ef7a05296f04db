//! One sync: what it is for, who waits for it, and the one that follows it.

use super::removal::Consent;
use super::{CommitSet, RequestId, WorkKind};

/// The aim of a sync.
#[derive(Debug, Clone)]
pub(super) struct Goal<C> {
    /// The commit in place of the ref's.
    pub(super) commit: Option<C>,
    /// Publish also in hold.
    pub(super) publish: bool,
    pub(super) force: bool,
    /// Try a commit that has failed once more.
    pub(super) retry: bool,
    /// Put back what is applied, whatever the ref names, and also in hold.
    pub(super) restore: bool,
    pub(super) consent: Consent,
}

impl<C> Default for Goal<C> {
    fn default() -> Self {
        Self {
            commit: None,
            publish: false,
            force: false,
            retry: false,
            restore: false,
            consent: Consent::default(),
        }
    }
}

/// The sync under way.
#[derive(Debug)]
pub(super) struct Sync<C> {
    pub(super) goal: Goal<C>,
    pub(super) requests: Vec<RequestId>,
    /// The mirror was replaced by this sync.
    pub(super) is_repaired: bool,
    /// The sync reads what is applied again, and owes that if it fails.
    pub(super) rereads: bool,
    /// The one that follows. There is never a third.
    pub(super) next: Option<Next<C>>,
}

/// A remembered sync.
#[derive(Debug)]
pub(super) struct Next<C> {
    pub(super) goal: Goal<C>,
    pub(super) requests: Vec<RequestId>,
    /// Needless once this commit was seen: only a webhook wants it.
    pub(super) expects: Option<C>,
}

impl<C> From<Next<C>> for Sync<C> {
    fn from(next: Next<C>) -> Self {
        Self { goal: next.goal, requests: next.requests, is_repaired: false, rereads: false, next: None }
    }
}

impl<C: Eq> Next<C> {
    /// Merges a later wish. Returns the requests that it supersedes, which want another commit.
    pub(super) fn merge(&mut self, later: Self) -> Vec<RequestId> {
        // What has no request wants the ref's commit at most, and polling goes on anyway.
        if later.requests.is_empty() && !self.requests.is_empty() {
            self.goal.retry |= later.goal.retry;
            return Vec::new();
        }
        let is_same = self.goal.commit == later.goal.commit && self.goal.publish == later.goal.publish;
        if self.requests.is_empty() || is_same {
            let earlier = std::mem::replace(self, later);
            let has_hints_only = self.expects.is_some() && earlier.expects.is_some();
            self.expects = self.expects.take().filter(|_| has_hints_only);
            self.goal.force |= earlier.goal.force;
            self.goal.retry |= earlier.goal.retry;
            self.goal.consent.merge(earlier.goal.consent);
            self.requests.splice(0..0, earlier.requests);
            return Vec::new();
        }
        std::mem::replace(self, later).requests
    }
}

/// The work under way, with its sync.
#[derive(Debug)]
pub(super) enum Work<C> {
    Idle,
    Fetching(Sync<C>),
    Reading(C, Sync<C>),
    Deploying(C, CommitSet, Sync<C>),
}

impl<C> Work<C> {
    pub(super) fn sync_mut(&mut self) -> Option<&mut Sync<C>> {
        match self {
            Self::Idle => None,
            Self::Fetching(sync) | Self::Reading(_, sync) | Self::Deploying(_, _, sync) => Some(sync),
        }
    }
}

impl<C: Clone> Work<C> {
    pub(super) fn kind(&self) -> WorkKind<C> {
        match self {
            Self::Idle => WorkKind::Idle,
            Self::Fetching(_) => WorkKind::Fetching,
            Self::Reading(commit, _) => WorkKind::Reading(commit.clone()),
            Self::Deploying(commit, ..) => WorkKind::Deploying(commit.clone()),
        }
    }
}
