//! Messages between the router and a cell: one JSON object a line over the socket pair that a cell
//! inherits as its standard input. Private to the two, and free to change with them.

pub mod assets;
mod identity;
mod install;
mod mark;
mod net_target;
mod platform;
mod sandbox;
mod start;

use serde::{Deserialize, Serialize};
use switchyard_contract::event::Diagnostic;

pub use identity::{FileRights, Identity, ProbeResult};
pub use install::{InstallOutcome, InstallRequest, LinkTarget, PackageLink, fetched};
pub use mark::Mark;
pub use net_target::{InvalidNetTarget, NetTarget};
pub use platform::PlatformApi;
pub use sandbox::SandboxSupport;
pub use start::{
    DeniedPermissions, Limits, MODULE_CACHE_UNFINISHED, ModuleCache, Permissions, Start, TRIVIAL_SYS,
};

/// A message from the router to a cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ToCell {
    /// Turns a spare into the process of one version. Sent once.
    Start(Box<Start>),
    /// The disk space that is left in `data` and `tmp`, by a count of the router's. Negative if
    /// they hold more than they may.
    DiskSpace {
        /// Bytes on the disk.
        bytes: i64,
        /// Files, folders and links.
        files: i64,
        /// `true`: the count began after [`FromCell::OutOfSpace`] was received, and answers it.
        is_answer: bool,
    },
    /// No request will come any more: end the project as SIGTERM ends a program, and exit 0.
    Drain {
        /// Milliseconds that the project's handlers, and the work that they begin, may take. Less
        /// than half a second counts as half a second.
        within_ms: u64,
    },
}

/// A message from a cell to the router.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum FromCell {
    /// V8 and the start-up snapshot are loaded; a `Start` will be handled at once.
    Ready,
    /// A server answers HTTP/1.1 on the socket that `Start` named. Sent again when a server of
    /// another kind takes over.
    Serving {
        /// The kind of the server, which decides the form of a request's target.
        by: ServerKind,
    },
    /// The version cannot be served. The cell exits after it.
    Failed(Diagnostic),
    /// The version cannot be served because a package or module is missing that could be fetched.
    /// The cell exits after it.
    Missing(Diagnostic),
    /// The cell has exceeded one of its limits. It exits after it.
    Exceeded(Limit),
    /// The cell has used up the disk space that it knows of. It waits for another count.
    OutOfSpace,
}

/// The kind of a project's server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServerKind {
    /// `Deno.serve`, also for a default export: the target of a request is the URL that its handler
    /// sees.
    Deno,
    /// Node's servers: the target of a request is a path.
    Node,
}

/// A limit that ends a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// All memory of the process.
    Memory,
    /// One turn of the event loop took too long.
    EventLoop,
    /// Disk space: the cell's folders kept growing after they were full.
    Disk,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_displayed_form_parses_back_to_the_same_value() {
        let space = ToCell::DiskSpace { bytes: 1 << 40, files: 0, is_answer: true };
        for message in [ToCell::Drain { within_ms: 30_000 }, space] {
            let text = serde_json::to_string(&message).unwrap();
            assert_eq!(serde_json::from_str::<ToCell>(&text).unwrap(), message);
        }
        let serving = FromCell::Serving { by: ServerKind::Node };
        let exceeded = FromCell::Exceeded(Limit::EventLoop);
        for message in [FromCell::Ready, serving, FromCell::OutOfSpace, exceeded] {
            let text = serde_json::to_string(&message).unwrap();
            assert_eq!(serde_json::from_str::<FromCell>(&text).unwrap(), message);
        }
    }
}
