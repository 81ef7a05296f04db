//! What the control flow tells of each project to whoever asks: the admin listener.

mod revisions;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use switchyard_contract::admin::{Draining, ProjectState, Status, VersionName};
use switchyard_contract::event::Diagnostic;

use self::revisions::Revisions;
use crate::drain::InFlight;
use crate::gaps::Gaps;
use crate::slots::Slots;
use crate::version::Version;

/// The state of every project, written by the control flow, read at `GET /projects`.
#[derive(Debug, Default)]
pub(crate) struct Board {
    projects: Mutex<Revisions<Arc<Shown>>>,
    ready: AtomicBool,
    stopping: AtomicBool,
    gaps: OnceLock<Gaps>,
}

/// One project, and where its requests are counted: those counts are taken when somebody asks.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) status: Status,
    pub(crate) in_flight: Counters,
    pub(crate) slots: Option<Arc<Slots>>,
    pub(crate) draining: Vec<(Version, Counters)>,
}

/// What has changed since a revision, or all there is.
#[derive(Debug)]
pub(crate) struct Changed {
    /// The revision that it leads to.
    pub(crate) revision: u64,
    /// The one that it leads on from; `None` when it is all there is.
    pub(crate) since: Option<u64>,
    pub(crate) projects: Vec<Status>,
    pub(crate) removed: Vec<String>,
}

/// Of the requests in a version: one for each of its cells.
pub(crate) type Counters = Vec<Arc<InFlight>>;

impl From<&Version> for VersionName {
    fn from(version: &Version) -> Self {
        Self { digest: version.digest.to_string(), version: version.to_string() }
    }
}

impl Board {
    pub(crate) fn put(&self, shown: Shown) {
        let name = shown.status.name.clone();
        self.lock().put(&name, Arc::new(shown), |one, other| one.is_same(other));
    }

    pub(crate) fn remove(&self, name: &str) {
        self.lock().remove(name);
    }

    /// What has changed after the revision `since`; all projects where that is not known, or none
    /// is named.
    pub(crate) fn changed(&self, since: Option<u64>) -> Changed {
        let (revision, since, projects, removed) = self.shown_since(since);
        // The control flow does not wait for so many to be counted.
        let projects = projects.iter().map(|shown| shown.counted()).collect();
        Changed { revision, since, projects, removed }
    }

    fn shown_since(&self, since: Option<u64>) -> (u64, Option<u64>, Vec<Arc<Shown>>, Vec<String>) {
        let projects = self.lock();
        let revision = projects.last();
        match since.and_then(|since| projects.since(since)) {
            Some(changes) => {
                (revision, since, changes.values.into_iter().cloned().collect(), changes.removed)
            }
            None => (revision, None, projects.all().cloned().collect(), Vec::new()),
        }
    }

    pub(crate) fn one(&self, name: &str) -> Option<Status> {
        let shown = self.lock().get(name).cloned();
        shown.map(|shown| shown.counted())
    }

    /// Whether requests may come, or why they should not.
    pub(crate) fn ready(&self) -> Result<(), &'static str> {
        if self.stopping.load(Ordering::Acquire) {
            Err("the router is stopping")
        } else if self.ready.load(Ordering::Acquire) {
            Ok(())
        } else {
            Err("the scan at start is not done")
        }
    }

    pub(crate) fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// The parts of the sandbox that are weaker on this machine.
    pub(crate) fn gaps(&self) -> Vec<String> {
        self.gaps.get().map(Gaps::all).unwrap_or_default()
    }

    pub(crate) fn set_gaps(&self, gaps: Gaps) {
        let _ = self.gaps.set(gaps);
    }

    pub(crate) fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Revisions<Arc<Shown>>> {
        self.projects.lock().expect("no holder of this lock panics")
    }
}

impl Shown {
    /// A folder that can be no project.
    pub(crate) fn invalid(name: &str, error: Diagnostic) -> Self {
        let status = Status {
            name: name.to_owned(),
            state: ProjectState::Invalid,
            error: Some(error),
            ..Status::default()
        };
        Self { status, in_flight: Vec::new(), slots: None, draining: Vec::new() }
    }

    /// Whether it shows the same, but for the counts.
    fn is_same(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.draining.iter(), other.draining.iter());
        self.status == other.status && ours.map(|(version, _)| version).eq(theirs.map(|(version, _)| version))
    }

    /// With the in-flight counts of this moment.
    fn counted(&self) -> Status {
        let count = |counters: &Counters| counters.iter().map(|counter| counter.count()).sum();
        let draining = self
            .draining
            .iter()
            .map(|(version, left)| Draining { version: version.to_string(), in_flight: count(left) });
        let in_flight = count(&self.in_flight);
        let waiting = self.slots.as_ref().map_or(0, |slots| slots.waiting());
        Status { in_flight, waiting, draining: draining.collect(), ..self.status.clone() }
    }
}
