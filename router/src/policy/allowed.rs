//! What one project may have at most.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use switchyard_edge::routes::Pattern;
use switchyard_protocol::{Limits, NetTarget};

use super::extent::Extent;
use super::net::Target;
use super::variable::Names;
use super::{ReadLimits, RequestLimits};

#[derive(Clone)]
pub(super) struct Allowed {
    /// Absolute, without `..` and symbolic links.
    pub(super) read: Vec<PathBuf>,
    pub(super) write: Vec<PathBuf>,
    /// Public addresses.
    pub(super) net: Extent<Target>,
    /// Others.
    pub(super) private_net: Vec<NetTarget>,
    /// Beyond [`super::resolve::SYS`].
    pub(super) sys: Vec<String>,
    /// The variables that a project may set for itself.
    pub(super) own_env: Extent<Names>,
    /// The routes that it may claim: those that are given to it alone, or with `All` also those that are
    /// given to nobody.
    pub(super) routes: Extent<Pattern>,
    pub(super) limits: Limits,
    pub(super) requests: RequestLimits,
    pub(super) reads: ReadLimits,
    pub(super) cells: usize,
    /// What it is given, unless it asks for less. Secrets among it.
    pub(super) env: BTreeMap<String, String>,
}

impl Allowed {
    /// What is safe.
    pub(super) fn new(requests: RequestLimits, reads: ReadLimits) -> Self {
        Self {
            read: Vec::new(),
            write: Vec::new(),
            net: Extent::All,
            private_net: Vec::new(),
            sys: Vec::new(),
            own_env: Extent::All,
            routes: Extent::All,
            limits: Limits {
                memory: 256 << 20,
                event_loop_ms: 5_000,
                workers: 16,
                files: 1024,
                disk: 1 << 30,
                // Counting as many takes a tenth of a second, and removing them a second or two.
                disk_files: 100_000,
            },
            requests,
            reads,
            cells: 4,
            env: BTreeMap::new(),
        }
    }
}

impl fmt::Debug for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Allowed").field("env", &self.env.keys()).finish_non_exhaustive()
    }
}
