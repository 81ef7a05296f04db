//! The most that one project may have.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use switchyard_contract::task::RunLimits;
use switchyard_edge::routes::Pattern;
use switchyard_protocol::{Limits, NetTarget};

use super::allow_list::AllowList;
use super::host::HostPattern;
use super::variable::VariablePattern;
use super::{ReadLimits, RequestLimits};

/// The most that one project may have, whatever it requests.
#[derive(Clone)]
pub(super) struct Allowance {
    /// Paths that it may read: absolute, without `..` and symbolic links.
    pub(super) read: Vec<PathBuf>,
    /// Paths that it may write, in the same form.
    pub(super) write: Vec<PathBuf>,
    /// Public hosts.
    pub(super) net: AllowList<HostPattern>,
    /// Private networks.
    pub(super) private_net: Vec<NetTarget>,
    /// Kinds of system information beyond [`switchyard_protocol::TRIVIAL_SYS`].
    pub(super) sys: Vec<String>,
    /// The variables that a project may set for itself.
    pub(super) own_env: AllowList<VariablePattern>,
    /// The routes that it may claim: those assigned to it, or with `All` also those assigned to no project.
    pub(super) routes: AllowList<Pattern>,
    pub(super) limits: Limits,
    pub(super) requests: RequestLimits,
    pub(super) reads: ReadLimits,
    pub(super) cells: usize,
    pub(super) runs: RunLimits,
    /// The variables that it gets, unless it requests fewer. May contain secrets.
    pub(super) env: BTreeMap<String, String>,
    /// The lines of the policy that have set one of these, by key: `limits.memory`.
    pub(super) lines: BTreeMap<String, u32>,
}

impl Allowance {
    /// Returns what is safe for any project.
    pub(super) fn new(requests: RequestLimits, reads: ReadLimits) -> Self {
        Self {
            read: Vec::new(),
            write: Vec::new(),
            net: AllowList::All,
            private_net: Vec::new(),
            sys: Vec::new(),
            own_env: AllowList::All,
            routes: AllowList::All,
            limits: Limits {
                memory: 256 << 20,
                event_loop_ms: 5_000,
                workers: 16,
                files: 4096,
                disk: 1 << 30,
                // Counting as many files takes a tenth of a second, removing them a second or two.
                disk_files: 100_000,
            },
            requests,
            reads,
            cells: 4,
            runs: RunLimits::default(),
            env: BTreeMap::new(),
            lines: BTreeMap::new(),
        }
    }
}

impl fmt::Debug for Allowance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Allowance").field("env", &self.env.keys()).finish_non_exhaustive()
    }
}
