//! The control flow: a change becomes a snapshot, a build, a publish and a drain, or a failure that
//! leaves the last good version alone. Knows no requests.

mod attempt;
mod claims;
mod control;
mod deploys;
mod machine;
mod population;
mod project;
mod prune;
mod readers;
mod record;
mod restarts;
mod retries;
mod work;

use std::path::PathBuf;
use std::time::Duration;

pub(crate) use control::{Control, Parts};

use crate::root::Root;

/// What the control flow is told at start.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The volume.
    pub(crate) root: Root,
    pub(crate) state: PathBuf,
    pub(crate) grace: Duration,
    pub(crate) build_timeout: Duration,
    pub(crate) keep: usize,
    pub(crate) max_cells: usize,
}
