//! The operator's policy: limits, permissions and routes of projects, and the grant that a project gets for its request.

mod allow_list;
mod allowance;
mod error;
mod file;
mod host;
mod limits;
mod narrow;
mod paths;
mod reads;
mod request;
mod resolve;
mod routes;
mod secret;
mod settings;
mod shared_grants;
mod sys;
mod variable;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use switchyard_contract::admin::Grants;
use switchyard_contract::project::ProjectName;
use switchyard_contract::task::RunLimits;
use switchyard_edge::routes::Assignments;
use switchyard_protocol::{Limits, Permissions};

use self::allowance::Allowance;
pub(crate) use self::error::{InvalidField, PolicyError};
pub(crate) use self::reads::{ReadLimit, ReadLimits};
pub(crate) use self::request::PermissionRequest;
pub(crate) use self::routes::ClaimVerdict;
use self::shared_grants::SharedGrants;

/// The operator's policy for all projects, with exceptions for single ones.
#[derive(Debug)]
pub(crate) struct Policy {
    /// `None`: there is no file.
    file: Option<PathBuf>,
    defaults: Allowance,
    projects: BTreeMap<ProjectName, Allowance>,
    /// The hosts and path prefixes that the policy assigns to projects.
    assignments: Arc<Assignments>,
    shared_grants: SharedGrants,
    /// `true`: a project's own file `.env` has variables too.
    reads_env_files: bool,
}

/// The permissions, limits and variables of one version.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) permissions: Permissions,
    /// The limits of each cell.
    pub(crate) limits: Limits,
    /// The limits of requests to the version.
    pub(crate) requests: RequestLimits,
    /// The limits of its tasks' runs.
    pub(crate) runs: RunLimits,
    /// The number of cells of the version.
    pub(crate) cells: usize,
    /// The version's variables. May contain secrets: never shown.
    pub(crate) env: BTreeMap<String, String>,
    /// The grant as `GET /projects/{name}` shows it.
    pub(crate) shown: Grants,
}

/// The limits of requests to one project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestLimits {
    /// The time until the answer begins, from the end of the request.
    pub(crate) time: Duration,
    /// Bytes of a request body.
    pub(crate) body: u64,
    /// Requests in the project at the same time.
    pub(crate) max_in_flight: usize,
    /// Requests that wait for one of those to end.
    pub(crate) max_queued: usize,
    /// The time that a request waits in the queue before it gets 503.
    pub(crate) queue_timeout: Duration,
}

impl Policy {
    /// Returns the policy without a file: safe permissions, and these limits.
    pub(crate) fn new(requests: RequestLimits, reads: ReadLimits) -> Self {
        let defaults = Allowance::new(requests, reads);
        let (projects, assignments, shared_grants) = Default::default();
        Self { file: None, defaults, projects, assignments, shared_grants, reads_env_files: false }
    }

    /// Has projects get the variables in their own files `.env`, for development.
    pub(crate) fn with_env_files(self, reads_env_files: bool) -> Self {
        Self { reads_env_files, ..self }
    }

    /// Returns true if projects get the variables in their own files `.env`.
    pub(crate) fn reads_env_files(&self) -> bool {
        self.reads_env_files
    }

    /// Reads `file`. Keys that it leaves out are as in [`Policy::new`]. `state` is the router's own folder, which no
    /// project may access.
    ///
    /// # Errors
    /// Every fault of the file, each with its line, column and key. Never contains a secret.
    pub(crate) fn read(
        file: &Path,
        requests: RequestLimits,
        reads: ReadLimits,
        state: &Path,
    ) -> Result<Self, Vec<PolicyError>> {
        file::read(file, Self::new(requests, reads), state)
    }

    /// The largest limits of reading that any project has.
    pub(crate) fn most_read(&self) -> ReadLimits {
        let all = self.projects.values().map(|allowance| allowance.reads);
        all.fold(self.defaults.reads, ReadLimits::max)
    }

    /// The limits of reading a project. A project cannot change them.
    pub(crate) fn reads(&self, project: &ProjectName) -> ReadLimits {
        self.projects.get(project).unwrap_or(&self.defaults).reads
    }

    /// Returns the grant of `project` for its request.
    pub(crate) fn grant(&self, project: &ProjectName, request: &PermissionRequest) -> Grant {
        resolve::grant(self.allowance(project), request)
    }

    /// The same, for a version that keeps it. Versions with equal grants share one.
    pub(crate) fn shared_grant(&self, project: &ProjectName, request: &PermissionRequest) -> Arc<Grant> {
        self.shared_grants.share(self.grant(project, request))
    }

    /// The variable that the policy gives `project`, whatever it requests. May be a secret.
    pub(crate) fn variable(&self, project: &ProjectName, name: &str) -> Option<&str> {
        self.allowance(project).env.get(name).map(String::as_str)
    }

    fn allowance(&self, project: &ProjectName) -> &Allowance {
        self.projects.get(project).unwrap_or(&self.defaults)
    }
}

impl Grant {
    /// Returns true if cells of `other` can serve with this grant: only limits of requests and runs
    /// differ.
    pub(crate) fn is_equivalent(&self, other: &Self) -> bool {
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
            max_in_flight: 100,
            max_queued: 100,
            queue_timeout: Duration::from_secs(10),
        }
    }
}

impl Default for Grant {
    fn default() -> Self {
        resolve::grant(
            &Allowance::new(RequestLimits::default(), ReadLimits::default()),
            &PermissionRequest::default(),
        )
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant")
            .field("permissions", &self.permissions)
            .field("limits", &self.limits)
            .field("requests", &self.requests)
            .field("runs", &self.runs)
            .field("cells", &self.cells)
            .field("runs", &self.runs)
            .field("env", &self.env.keys())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
