//! The hosts and path prefixes that projects may claim.

use std::sync::Arc;

use switchyard_contract::project::ProjectName;
use switchyard_contract::route::Route;
use switchyard_edge::routes::{Assignments, Owner};

use super::Policy;
use super::extent::Extent;

/// The policy's word on a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The route is given to the project.
    Assigned,
    /// The route is given to nobody: it is the project's that claims it first.
    Open,
    /// The route is somebody else's, or the project may claim no such route (`None`).
    Refused(Option<Owner>),
}

impl Policy {
    /// All that the policy gives.
    pub(crate) fn assignments(&self) -> &Arc<Assignments> {
        &self.assignments
    }

    /// Judges a claim of `project`.
    pub(crate) fn judge(&self, project: &ProjectName, route: &Route) -> Verdict {
        match self.assignments.owner(route) {
            Some(Owner::Project(owner)) if owner == project => Verdict::Assigned,
            Some(owner) => Verdict::Refused(Some(owner.clone())),
            None if self.allowed(project).routes == Extent::All => Verdict::Open,
            None => Verdict::Refused(None),
        }
    }
}
