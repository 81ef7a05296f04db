//! What others ask of the control flow.

use serde::Serialize;
use switchyard_bridge::event::{Diagnostic, Timings};
use tokio::sync::{mpsc, oneshot};

use crate::version::Version;

/// Commands wait here for the control flow, which takes them within microseconds. When it is full
/// the sender waits: the senders are requests, whose own time limit bounds that.
const QUEUE: usize = 1024;

#[derive(Debug)]
pub(crate) enum Command {
    /// Look at a project now, and say what came of it.
    Reload { project: String, answer: oneshot::Sender<Report> },
    /// Look at every project now.
    ReloadAll { answer: oneshot::Sender<Vec<Report>> },
    /// A request came for a live version that is stopped.
    Wake(Version),
}

/// What came of a look at a project.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    pub(crate) project: String,
    pub(crate) outcome: Outcome,
    pub(crate) digest: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) error: Option<Diagnostic>,
    pub(crate) timings_ms: Timings,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    Live,
    Failed,
    /// What is on disk is what was known already.
    Unchanged,
    Removed,
    /// There is no such project.
    Unknown,
}

impl Report {
    /// A report without a version.
    pub(crate) fn of(project: &str, outcome: Outcome) -> Self {
        Self {
            project: project.to_owned(),
            outcome,
            digest: None,
            version: None,
            error: None,
            timings_ms: Timings::default(),
        }
    }
}

pub(crate) type Commands = mpsc::Sender<Command>;

pub(crate) fn commands() -> (Commands, mpsc::Receiver<Command>) {
    mpsc::channel(QUEUE)
}
