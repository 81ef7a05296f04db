//! The control flow: a change becomes a snapshot, a build, a publish and a drain, or a failure that
//! leaves the last good version alone. Sees no requests.

mod attempt;
mod claims;
mod conflicts;
mod control;
mod deploys;
mod history;
mod known_failures;
mod labels;
mod live_state;
mod machine;
mod project;
mod projects;
mod prune;
mod record;
mod restarts;
mod retries;
mod scan;
mod status;
mod tasks;

use std::path::PathBuf;
use std::time::Duration;

pub(crate) use control::{Control, Parts};

use crate::root::Root;

/// The settings of the control flow.
#[derive(Debug, Clone)]
pub(crate) struct ControlSettings {
    /// The volume.
    pub(crate) root: Root,
    /// The router's state folder.
    pub(crate) state: PathBuf,
    /// The time that requests in a replaced version have to finish.
    pub(crate) grace: Duration,
    pub(crate) build_timeout: Duration,
    /// The number of old checkouts that are kept of a project.
    pub(crate) keep: usize,
}
