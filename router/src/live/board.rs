//! The status of every project: written by the control flow, read by the admin listener.

mod revisions;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use switchyard_contract::admin::{
    Draining, Grants, ProjectState, Sandbox, SandboxLayer, Status, VersionName,
};
use switchyard_contract::event::Diagnostic;

use self::revisions::Revisions;
use crate::drain::InFlight;
use crate::gaps::Gaps;
use crate::policy::Grant;
use crate::slots::Slots;
use crate::version::Version;

/// The state of every project, written by the control flow, read at `GET /projects`.
#[derive(Debug, Default)]
pub(crate) struct StatusBoard {
    projects: Mutex<Revisions<Arc<ProjectStatus>>>,
    ready: AtomicBool,
    stopping: AtomicBool,
    sandbox: OnceLock<(Vec<SandboxLayer>, Gaps)>,
}

/// The status of a project, and the counters of its requests, which are read on demand.
#[derive(Debug)]
pub(crate) struct ProjectStatus {
    /// Without the counts and the grant.
    pub(crate) status: Status,
    pub(crate) grant: Option<Arc<Grant>>,
    pub(crate) in_flight: Counters,
    pub(crate) slots: Option<Arc<Slots>>,
    pub(crate) draining: Vec<(Version, Counters)>,
}

/// The statuses that have changed since a revision, or all of them.
#[derive(Debug)]
pub(crate) struct BoardChanges {
    /// The revision that these changes lead to.
    pub(crate) revision: u64,
    /// The revision that they follow. `None`: all statuses are listed.
    pub(crate) since: Option<u64>,
    pub(crate) projects: Vec<Arc<ProjectStatus>>,
    pub(crate) removed: Vec<String>,
}

/// The reason why the router should get no requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotReady {
    #[error("the router is stopping")]
    Stopping,
    #[error("the scan at start is not done")]
    Starting,
}

/// The counters of the requests in a version, one for each of its cells.
pub(crate) type Counters = Vec<Arc<InFlight>>;

impl From<&Version> for VersionName {
    fn from(version: &Version) -> Self {
        Self { digest: version.digest.to_string(), version: version.to_string(), commit: None }
    }
}

impl StatusBoard {
    pub(crate) fn put(&self, shown: ProjectStatus) {
        let name = shown.status.name.clone();
        self.lock().put(&name, Arc::new(shown), |one, other| one.is_same(other));
    }

    pub(crate) fn remove(&self, name: &str) {
        self.lock().remove(name);
    }

    /// The changes after the revision `since`. All projects, if that revision is unknown or `None`.
    pub(crate) fn changed(&self, since: Option<u64>) -> BoardChanges {
        let projects = self.lock();
        let revision = projects.last();
        match since.and_then(|since| projects.since(since)) {
            Some(changes) => {
                let projects = changes.values.into_iter().cloned().collect();
                BoardChanges { revision, since, projects, removed: changes.removed }
            }
            None => {
                let projects = projects.all().cloned().collect();
                BoardChanges { revision, since: None, projects, removed: Vec::new() }
            }
        }
    }

    /// The statuses of all projects, by name.
    pub(crate) fn all(&self) -> Vec<Arc<ProjectStatus>> {
        self.lock().all().cloned().collect()
    }

    pub(crate) fn one(&self, name: &str) -> Option<Status> {
        let shown = self.lock().get(name).cloned();
        shown.map(|shown| shown.counted())
    }

    /// # Errors
    /// The router should get no requests, for the reason that is returned.
    pub(crate) fn ready(&self) -> Result<(), NotReady> {
        if self.stopping.load(Ordering::Acquire) {
            Err(NotReady::Stopping)
        } else if self.ready.load(Ordering::Acquire) {
            Ok(())
        } else {
            Err(NotReady::Starting)
        }
    }

    pub(crate) fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// The parts of the sandbox that are weaker on this machine.
    pub(crate) fn gaps(&self) -> Vec<String> {
        self.sandbox.get().map(|(_, gaps)| gaps.all()).unwrap_or_default()
    }

    /// The layers of the sandbox.
    pub(crate) fn sandbox(&self) -> Sandbox {
        let (layers, gaps) = self.sandbox.get().cloned().unwrap_or_default();
        Sandbox { layers, missing: gaps.all() }
    }

    pub(crate) fn set_sandbox(&self, layers: Vec<SandboxLayer>, gaps: Gaps) {
        let _ = self.sandbox.set((layers, gaps));
    }

    pub(crate) fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Revisions<Arc<ProjectStatus>>> {
        self.projects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProjectStatus {
    /// The status of a folder whose name is not a valid project name.
    pub(crate) fn invalid(name: &str, error: Diagnostic) -> Self {
        let status = Status {
            name: name.to_owned(),
            state: ProjectState::Invalid,
            error: Some(error),
            ..Status::default()
        };
        Self { status, grant: None, in_flight: Vec::new(), slots: None, draining: Vec::new() }
    }

    /// Returns true if both are the same except for the counts.
    fn is_same(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.draining.iter(), other.draining.iter());
        let is_same_grant = self.shown_grant() == other.shown_grant();
        self.status == other.status
            && is_same_grant
            && ours.map(|(version, _)| version).eq(theirs.map(|(version, _)| version))
    }

    /// The requests in the cells of all versions.
    pub(crate) fn all_in_flight(&self) -> usize {
        let draining = self.draining.iter().map(|(_, counters)| count(counters));
        count(&self.in_flight) + draining.sum::<usize>()
    }

    /// The requests that wait for a slot.
    pub(crate) fn waiting(&self) -> usize {
        self.slots.as_ref().map_or(0, |slots| slots.waiting())
    }

    fn shown_grant(&self) -> Option<&Grants> {
        self.grant.as_ref().map(|grant| &grant.shown)
    }

    /// The status with the counts of this moment.
    pub(crate) fn counted(&self) -> Status {
        let draining = self
            .draining
            .iter()
            .map(|(version, left)| Draining { version: version.to_string(), in_flight: count(left) });
        let (in_flight, waiting) = (count(&self.in_flight), self.waiting());
        let grants = self.shown_grant().cloned().map(Box::new);
        let (draining, last_good) = (draining.collect(), self.status.live.clone());
        Status { in_flight, waiting, draining, grants, last_good, ..self.status.clone() }
    }
}

fn count(counters: &Counters) -> usize {
    counters.iter().map(|counter| counter.count()).sum()
}
