//! The projects that claim one route, by precedence.

use std::cmp::Reverse;

use jiff::Timestamp;
use rpds::RedBlackTreeSetSync;

use super::Claim;
use switchyard_contract::project::ProjectName;

/// The precedence of a claim: assigned claims first, then earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    assigned: Reverse<bool>,
    pub(super) since: Timestamp,
}

/// A project that claims the route.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Claimant {
    pub(super) rank: Rank,
    pub(super) project: ProjectName,
}

/// The claimants of a route. A clone shares everything with the original.
#[derive(Debug, Clone)]
pub(super) struct Claimants(RedBlackTreeSetSync<Claimant>);

/// The first claimant.
#[derive(Debug, Clone, Copy)]
pub(super) struct TopClaim<'a> {
    pub(super) rank: Rank,
    pub(super) first: &'a ProjectName,
    /// Another project with the same rank: neither gets the requests.
    pub(super) rival: Option<&'a ProjectName>,
}

impl Rank {
    pub(super) fn is_assigned(self) -> bool {
        self.assigned.0
    }
}

impl Claimant {
    pub(super) fn new(project: &ProjectName, claim: &Claim) -> Self {
        let rank = Rank { assigned: Reverse(claim.assigned), since: claim.since };
        Self { rank, project: project.clone() }
    }
}

impl Default for Claimants {
    fn default() -> Self {
        Self(RedBlackTreeSetSync::new_sync())
    }
}

impl Claimants {
    pub(super) fn insert(&mut self, claimant: Claimant) {
        self.0.insert_mut(claimant);
    }

    pub(super) fn remove(&mut self, claimant: &Claimant) {
        self.0.remove_mut(claimant);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn projects(&self) -> impl Iterator<Item = &ProjectName> {
        self.0.iter().map(|claimant| &claimant.project)
    }

    pub(super) fn top(&self) -> Option<TopClaim<'_>> {
        let first = self.0.first()?;
        // A route nearly always has one claimant: no need to walk the tree.
        let second = if self.0.size() > 1 { self.0.iter().nth(1) } else { None };
        let rival = second.filter(|second| second.rank == first.rank).map(|second| &second.project);
        Some(TopClaim { rank: first.rank, first: &first.project, rival })
    }
}
