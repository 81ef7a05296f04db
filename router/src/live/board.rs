//! What the control flow tells of each project to whoever asks: the admin listener.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use serde::Serialize;
use switchyard_bridge::event::{Diagnostic, Timings, Trigger};

use super::command::Outcome;
use crate::drain::InFlight;
use crate::version::Version;

/// The state of every project, written by the control flow, read at `GET /projects`.
#[derive(Debug, Default)]
pub(crate) struct Board {
    projects: Mutex<BTreeMap<String, Status>>,
    ready: AtomicBool,
}

/// One project, as in the JSON of `GET /projects/{name}`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Status {
    pub(crate) name: String,
    pub(crate) state: StateName,
    pub(crate) on_disk: Option<Digests>,
    pub(crate) live: Option<Digests>,
    pub(crate) last_good: Option<Digests>,
    pub(crate) error: Option<Diagnostic>,
    /// The process of the live version, while it runs.
    pub(crate) pid: Option<u32>,
    pub(crate) in_flight: usize,
    pub(crate) draining: Vec<Drained>,
    /// The newest first.
    pub(crate) reloads: Vec<Reload>,
    #[serde(skip)]
    pub(crate) live_in_flight: Option<Arc<InFlight>>,
    #[serde(skip)]
    pub(crate) draining_in_flight: Vec<(Version, Arc<InFlight>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StateName {
    Building,
    Live,
    /// The newest version failed; `live` tells whether an older one serves.
    Failed,
    /// The folder is no valid project.
    Invalid,
    /// Live, but stopped until its next request.
    Idle,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Digests {
    pub(crate) digest: String,
    pub(crate) version: String,
}

impl From<&Version> for Digests {
    fn from(version: &Version) -> Self {
        Self { digest: version.digest.to_string(), version: version.to_string() }
    }
}

/// A version that finishes its requests.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Drained {
    pub(crate) version: String,
    pub(crate) in_flight: usize,
}

/// One reload that came to an end.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Reload {
    pub(crate) at: jiff::Timestamp,
    pub(crate) trigger: Trigger,
    pub(crate) outcome: Outcome,
    pub(crate) version: Option<String>,
    pub(crate) timings_ms: Timings,
}

impl Board {
    pub(crate) fn put(&self, status: Status) {
        self.lock().insert(status.name.clone(), status);
    }

    pub(crate) fn remove(&self, name: &str) {
        self.lock().remove(name);
    }

    /// All projects, by name.
    pub(crate) fn all(&self) -> Vec<Status> {
        self.lock().values().map(Status::counted).collect()
    }

    pub(crate) fn one(&self, name: &str) -> Option<Status> {
        self.lock().get(name).map(Status::counted)
    }

    /// Whether the scan at start is done.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    pub(crate) fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Status>> {
        self.projects.lock().expect("no holder of this lock panics")
    }
}

impl Status {
    /// A folder that can be no project.
    pub(crate) fn invalid(name: &str, error: Diagnostic) -> Self {
        Self {
            name: name.to_owned(),
            state: StateName::Invalid,
            on_disk: None,
            live: None,
            last_good: None,
            error: Some(error),
            pid: None,
            in_flight: 0,
            draining: Vec::new(),
            reloads: Vec::new(),
            live_in_flight: None,
            draining_in_flight: Vec::new(),
        }
    }

    /// With the in-flight counts of this moment.
    fn counted(&self) -> Self {
        let draining = self.draining_in_flight.iter().map(|(version, in_flight)| Drained {
            version: version.to_string(),
            in_flight: in_flight.count(),
        });
        let draining = draining.collect();
        let in_flight = self.live_in_flight.as_ref().map_or(0, |in_flight| in_flight.count());
        Self { in_flight, draining, ..self.clone() }
    }
}
