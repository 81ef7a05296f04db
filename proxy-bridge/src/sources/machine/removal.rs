//! The removal of projects whose folder left the repository: what goes, what stays, what waits for
//! a yes.

use switchyard_contract::project::ProjectName;

use super::{Changes, RemovalQuestion, RemovedProjects};

/// The names that a message lists. The rest is a number.
const MAX_LISTED: usize = 20;

/// The consent to a removal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Consent {
    /// Any projects.
    pub(super) any: bool,
    /// These projects.
    pub(super) projects: Vec<ProjectName>,
}

impl Consent {
    pub(super) fn merge(&mut self, other: Self) {
        self.any |= other.any;
        self.projects.extend(other.projects);
    }

    fn covers(&self, removed: &[ProjectName]) -> bool {
        self.any || removed.iter().all(|project| self.projects.contains(project))
    }
}

/// The decision about a removal.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Removal<C> {
    /// These projects are removed. Often none.
    Granted(Vec<ProjectName>),
    /// The projects stay, the rest of the commit is deployed.
    Asks(RemovalQuestion<C>),
    /// Nothing of the commit is deployed.
    Blocked(RemovalQuestion<C>),
}

/// Decides what becomes of `changes.removed`.
pub(super) fn decide<C>(
    source: &str,
    commit: C,
    changes: &Changes,
    rule: RemovedProjects,
    consent: &Consent,
) -> Removal<C> {
    let removed = &changes.removed;
    if !changes.is_whole || removed.is_empty() || rule == RemovedProjects::Keep {
        return Removal::Granted(Vec::new());
    }
    let all = removed.len() + changes.changed.len() + changes.unchanged.len();
    let is_most = removed.len() * 2 > all;
    let is_ruled = match rule {
        RemovedProjects::Remove => !is_most,
        RemovedProjects::RemoveAll => true,
        RemovedProjects::Ask | RemovedProjects::Keep => false,
    };
    if is_ruled || consent.covers(removed) {
        return Removal::Granted(removed.clone());
    }
    let listed = list(removed);
    let rest = if is_most { "nothing of the commit is deployed" } else { "they stay" };
    let message = format!(
        "the commit has {} of the source's {all} projects no more ({listed}): {rest}. If they are to go: \
         switchyard source approve {source}, or switchyard source sync {source} --allow-empty",
        removed.len()
    );
    let question = RemovalQuestion { commit, projects: removed.clone(), message };
    if is_most { Removal::Blocked(question) } else { Removal::Asks(question) }
}

fn list(projects: &[ProjectName]) -> String {
    let mut listed =
        projects.iter().take(MAX_LISTED).map(|project| project.as_str()).collect::<Vec<_>>().join(", ");
    if projects.len() > MAX_LISTED {
        listed.push_str(&format!(" and {} more", projects.len() - MAX_LISTED));
    }
    listed
}
