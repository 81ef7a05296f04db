//! The policy's decisions about the routes that projects claim.

use std::sync::Arc;

use switchyard_contract::project::ProjectName;
use switchyard_contract::route::Route;
use switchyard_edge::routes::{Assignments, Owner};

use super::Policy;
use super::allow_list::AllowList;

/// The policy's decision about a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ClaimVerdict {
    /// The route is assigned to the project.
    Assigned,
    /// The route is not assigned: the first project that claims it gets it.
    Open,
    /// The route is assigned to the owner, or (`None`) the project may claim only assigned routes.
    Refused(Option<Owner>),
}

impl Policy {
    /// The routes that the policy assigns.
    pub(crate) fn assignments(&self) -> &Arc<Assignments> {
        &self.assignments
    }

    /// Judges a claim of `project`.
    pub(crate) fn judge(&self, project: &ProjectName, route: &Route) -> ClaimVerdict {
        match self.assignments.owner(route) {
            Some(Owner::Project(owner)) if owner == project => ClaimVerdict::Assigned,
            Some(owner) => ClaimVerdict::Refused(Some(owner.clone())),
            None if self.allowance(project).routes == AllowList::All => ClaimVerdict::Open,
            None => ClaimVerdict::Refused(None),
        }
    }
}
