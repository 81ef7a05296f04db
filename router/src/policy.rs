//! What the operator allows projects, and what a project gets of what it asks for.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use switchyard_bridge::admin::Grants;
use switchyard_protocol::{Limits, Permissions};

/// What a version is given. Another grant is another version: two are equal when a cell could not tell them apart.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) permissions: Permissions,
    /// Of the cell.
    pub(crate) limits: Limits,
    /// Of the requests to it.
    pub(crate) requests: RequestLimits,
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
        let limits = Limits { memory: 256 << 20, event_loop: 5_000, workers: 16, files: 1024, disk: 1 << 30 };
        Self {
            permissions: Permissions::default(),
            limits,
            requests: RequestLimits::default(),
            env: BTreeMap::new(),
            shown: Grants::default(),
        }
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant")
            .field("permissions", &self.permissions)
            .field("limits", &self.limits)
            .field("requests", &self.requests)
            .field("env", &self.env.keys())
            .finish_non_exhaustive()
    }
}
