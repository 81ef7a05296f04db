//! The control of runs: due times and requests become runs, routers execute them, and the ledger
//! keeps what became of them.
//!
//! One task owns all runs that have not ended. It decides; everything slow (the ledger, the routers)
//! is done by tasks of its own, whose results come back as messages.

mod accept;
mod active;
mod cancel;
mod chains;
mod command;
mod control;
mod daemon_runs;
mod daemons;
mod dispatch;
mod ended;
mod files;
mod follow;
mod handle;
mod incarnations;
mod launch;
mod load;
mod log;
mod log_reader;
mod metrics;
mod occurrences;
mod params;
mod pipeline;
mod pipeline_graph;
mod pipeline_state;
mod progress;
mod reads;
mod recover;
mod registry;
mod retry;
mod room;
mod start_call;
mod steps;
mod task_views;
mod timetable;
mod versions;
mod waiting;
mod webhooks;
mod writer;

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use self::command::Command;
use self::control::Control;
pub(crate) use self::handle::unknown_run;
pub use self::log_reader::LogFollower;
use self::metrics::RunMetrics;
use self::progress::Progress;
pub use self::versions::{NoMaker, NotMade, VersionMaker};
use crate::ledger::{Ledger, LedgerError};
use crate::routers::Routers;
use crate::tasks::Catalog;
use crate::traces::Traces;
use switchyard_contract::digest::Digest;
use switchyard_contract::run::{Run, RunId, RunTrigger, RunVersionChoice};
use switchyard_contract::task::{Consistency, TaskId};

/// Commands that wait for the control, which takes them within microseconds. The sender of one more
/// waits: it is a request, whose own time limit bounds that.
const COMMANDS: usize = 1024;

/// The runs of all tasks and pipelines. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Runs(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    commands: mpsc::Sender<Command>,
    ledger: Ledger,
    catalog: Catalog,
    routers: Routers,
    progress: Progress,
    metrics: Arc<RunMetrics>,
    maker: Arc<dyn VersionMaker>,
    traces: Traces,
}

/// A run that is asked for.
#[derive(Debug, Clone)]
pub struct StartRun {
    /// The task or pipeline.
    pub task: TaskId,
    /// The trigger.
    pub trigger: RunTrigger,
    /// The name of the token or person that starts it.
    pub by: Option<String>,
    /// Another request for the same task with the same key is the same run.
    pub key: Option<String>,
    /// The parameters, to be checked.
    pub params: Value,
    /// The input.
    pub input: Value,
    /// The version. `None`: the live one.
    pub version: Option<Digest>,
    /// The rule for later code. `None`: the task's own.
    pub consistency: Option<Consistency>,
    /// The run that this one follows from.
    pub parent: Option<RunId>,
    /// `true`: also while another run of the task is in the way.
    pub force: bool,
}

/// A run that was accepted.
#[derive(Debug, Clone)]
pub struct Started {
    /// The run.
    pub run: Run,
    /// `false`: an earlier request with the same key started it.
    pub is_new: bool,
}

/// The way to run a run's task again.
#[derive(Debug, Clone, Default)]
pub struct RetryOptions {
    /// The name of the token or person that asks for it.
    pub by: Option<String>,
    /// The code. `None`: by the task's own rule.
    pub version: Option<RunVersionChoice>,
}

/// The way to go on with a run that did not succeed.
#[derive(Debug, Clone, Default)]
pub struct ResumeOptions {
    /// The name of the token or person that asks for it.
    pub by: Option<String>,
    /// The first step that is run again. `None`: the first one that did not succeed.
    pub from_step: Option<String>,
    /// `true`: with the version that is live now.
    pub latest: bool,
}

impl Runs {
    /// Takes over the runs that an earlier process left, and begins to start runs. The caller owns
    /// the task, which ends when it is aborted: runs under way go on at their routers. While the disk
    /// of the ledger is full, requests are refused.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn start_control(
        routers: Routers,
        ledger: Ledger,
        catalog: Catalog,
        maker: Arc<dyn VersionMaker>,
        traces: Traces,
    ) -> Result<(Self, JoinHandle<()>), LedgerError> {
        let (commands, received) = mpsc::channel(COMMANDS);
        let metrics = Arc::new(RunMetrics::new(ledger.clone()));
        let progress = Progress::default();
        let shared = Shared { commands, ledger, catalog, routers, progress, metrics, maker, traces };
        let runs = Self(Arc::new(shared));
        let task = match Control::new(&runs.0, Timestamp::now()).await {
            Err(LedgerError::Full) => tokio::spawn(waiting::run(runs.0.clone(), received)),
            control => tokio::spawn(control?.run(received)),
        };
        Ok((runs, task))
    }
}

#[cfg(test)]
mod tests;
