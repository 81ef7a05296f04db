//! What others ask of the control flow.

use switchyard_bridge::admin::Report;
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

pub(crate) type Commands = mpsc::Sender<Command>;

pub(crate) fn commands() -> (Commands, mpsc::Receiver<Command>) {
    mpsc::channel(QUEUE)
}
