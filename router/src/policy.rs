//! What the operator allows projects, and what a project gets of what it asks for.

mod allowed;
mod asked;
mod extent;
mod file;
mod limits;
mod net;
mod paths;
mod reads;
mod resolve;
mod routes;
mod secret;
mod variable;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use switchyard_contract::admin::Grants;
use switchyard_contract::project::ProjectName;
use switchyard_edge::routes::Assignments;
use switchyard_protocol::{Limits, Permissions};

use self::allowed::Allowed;
pub(crate) use self::asked::{Asked, Wrong};
pub(crate) use self::reads::{ReadLimit, ReadLimits};
pub(crate) use self::routes::Verdict;

/// What the operator allows: to all projects, and to some of them in other ways.
#[derive(Debug)]
pub(crate) struct Policy {
    defaults: Allowed,
    projects: BTreeMap<ProjectName, Allowed>,
    /// The hosts and path prefixes that it gives to projects.
    assignments: Arc<Assignments>,
}

/// What a version is given.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) permissions: Permissions,
    /// Of the cell.
    pub(crate) limits: Limits,
    /// Of the requests to it.
    pub(crate) requests: RequestLimits,
    /// How many cells a version of it has.
    pub(crate) cells: usize,
    /// Secrets among it: shown nowhere.
    pub(crate) env: BTreeMap<String, String>,
    /// As `GET /projects/{name}` tells it.
    pub(crate) shown: Grants,
}

/// What a project's requests may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestLimits {
    /// Until the answer begins.
    pub(crate) time: Duration,
    /// Bytes of the body.
    pub(crate) body: u64,
    /// In the project at once.
    pub(crate) in_flight: usize,
    /// Waiting for one of those to end.
    pub(crate) queue: usize,
    /// How long they wait.
    pub(crate) patience: Duration,
}

impl Policy {
    /// What holds without a file: nothing beyond what is safe, and these limits.
    pub(crate) fn new(requests: RequestLimits, reads: ReadLimits) -> Self {
        let defaults = Allowed::new(requests, reads);
        Self { defaults, projects: BTreeMap::new(), assignments: Arc::default() }
    }

    /// Reads `file`. What it says nothing of is as in [`Policy::new`]. `state` is the router's own folder, which
    /// nobody is given.
    ///
    /// # Errors
    /// All that is wrong with it, each with its place in the file and its key. Never a secret.
    pub(crate) fn read(
        file: &Path,
        requests: RequestLimits,
        reads: ReadLimits,
        state: &Path,
    ) -> Result<Self, Vec<String>> {
        file::read(file, Self::new(requests, reads), state)
    }

    /// The largest limits of reading that any project has.
    pub(crate) fn most_read(&self) -> ReadLimits {
        let all = self.projects.values().map(|allowed| allowed.reads);
        all.fold(self.defaults.reads, ReadLimits::max)
    }

    /// The limits of reading a project, whatever it asks for.
    pub(crate) fn reads(&self, project: &ProjectName) -> ReadLimits {
        self.projects.get(project).unwrap_or(&self.defaults).reads
    }

    /// What a project gets that asks for this.
    pub(crate) fn grant(&self, project: &ProjectName, asked: &Asked) -> Grant {
        resolve::grant(self.allowed(project), asked)
    }

    fn allowed(&self, project: &ProjectName) -> &Allowed {
        self.projects.get(project).unwrap_or(&self.defaults)
    }
}

impl Grant {
    /// Whether the cells of one do for the other: what differs is what requests may take at most.
    pub(crate) fn is_alike(&self, other: &Self) -> bool {
        let of_cells = |grant: &Self| (grant.limits, grant.cells);
        (&self.permissions, &self.env) == (&other.permissions, &other.env)
            && of_cells(self) == of_cells(other)
    }
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(30),
            body: 10 << 20,
            in_flight: 100,
            queue: 100,
            patience: Duration::from_secs(10),
        }
    }
}

impl Default for Grant {
    fn default() -> Self {
        resolve::grant(&Allowed::new(RequestLimits::default(), ReadLimits::default()), &Asked::default())
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant")
            .field("permissions", &self.permissions)
            .field("limits", &self.limits)
            .field("requests", &self.requests)
            .field("cells", &self.cells)
            .field("env", &self.env.keys())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
