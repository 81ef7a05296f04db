//! Messages between the router and a cell: one JSON object a line over the socket pair that a cell
//! inherits as its standard input. Private to the two, and free to change with them.

pub mod assets;
pub mod coding;
pub mod frame;
mod identity;
mod install;
mod job;
mod mark;
mod net_target;
mod platform;
mod runtime;
mod sandbox;
mod start;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use switchyard_contract::event::Diagnostic;
use switchyard_contract::run::RunError;

pub use identity::{FileRights, Identity, ProbeResult};
pub use install::{InstallOutcome, InstallRequest, LinkTarget, PackageLink, fetched};
pub use job::{Call, CronRegistration, Handler, Job, JobStep, JobStepReply, RunContext};
pub use mark::Mark;
pub use net_target::{InvalidNetTarget, NetTarget};
pub use platform::PlatformApi;
pub use runtime::{DENO_VERSION, V8_VERSION};
pub use sandbox::SandboxSupport;
pub use start::{
    DeniedPermissions, Limits, MODULE_CACHE_UNFINISHED, ModuleCache, Permissions, Start, TRIVIAL_SYS,
};

/// The argument with which a cell has a low priority from its start.
pub const LOW_PRIORITY: &str = "--low-priority";

/// The nice value of a cell of low priority: of a processor that is wanted by others too, they get
/// three times as much.
pub const LOW_NICE: i32 = 5;

/// A message from the router to a cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// Runs the handler that was registered with `Deno.cron`: answered by
    /// [`FromCell::CronEnded`].
    RunCron {
        /// The name of the cron.
        name: String,
        /// The run, which marks the lines that the handler prints.
        run: String,
    },
    /// Aborts the signal of the job's handler. The cell is killed if it does not end in time.
    Cancel {
        /// The reason, as the signal has it.
        reason: String,
    },
    /// The answer to [`FromCell::Step`].
    StepReply(JobStepReply),
}

/// A message from a cell to the router.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum FromCell {
    /// V8 and the start-up snapshot are loaded; a `Start` will be handled at once.
    Ready,
    /// A server answers HTTP/1.1 on the socket that `Start` named. Sent again when a server of
    /// another kind takes over.
    Serving {
        /// The kind of the server, which decides the form of a request's target.
        by: ServerKind,
        /// The same server also takes requests as [frames](frame), on [`Start::transport`].
        #[serde(default)]
        framed: bool,
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
    /// The modules of [`Job::Link`] are linked. The cell exits after it.
    Linked,
    /// The handler of a job is about to be called.
    Running,
    /// The handler of a job has returned. The cell exits after it.
    Returned {
        /// The result.
        result: Value,
    },
    /// The handler of a job has thrown, or its result is invalid. The cell exits after it.
    Threw(RunError),
    /// A step of a job waits for its answer.
    Step(JobStep),
    /// The crons that the entry has registered, whenever their number changes.
    Crons {
        /// At most 100.
        crons: Vec<CronRegistration>,
    },
    /// The handler of a cron has ended. Both output streams have the [last line](Mark::last_line) of
    /// the run already.
    CronEnded {
        /// The name of the cron.
        name: String,
        /// The run that it was called for.
        run: String,
        /// `false`: it has thrown, or was removed before it could be called.
        success: bool,
    },
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
pub(crate) fn fuzz() -> proptest::test_runner::Config {
    use proptest::test_runner::{Config, RngSeed};
    Config { cases: 64, rng_seed: RngSeed::Fixed(11), failure_persistence: None, ..Config::default() }
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
        let serving = FromCell::Serving { by: ServerKind::Node, framed: true };
        let exceeded = FromCell::Exceeded(Limit::EventLoop);
        for message in [FromCell::Ready, serving, FromCell::OutOfSpace, exceeded] {
            let text = serde_json::to_string(&message).unwrap();
            assert_eq!(serde_json::from_str::<FromCell>(&text).unwrap(), message);
        }
    }
}
