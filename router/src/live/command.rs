//! What others ask of the control flow.

use std::sync::Arc;

use switchyard_contract::admin::{Hold, Report};
use switchyard_contract::project::ProjectName;
use tokio::sync::{mpsc, oneshot};

use crate::policy::Policy;
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
    /// The operator allows something else from now on.
    Policy(Arc<Policy>),
    /// A request came for a live version that is stopped.
    Wake(Version),
    /// Leave these projects to a deploy; answered when nothing is under way in them any more.
    Hold { hold: Hold, answer: Answer<()> },
    /// Build what a deploy holds, and publish nothing.
    Build { deploy: String, answer: Answer<Vec<Report>> },
    /// Publish all that a deploy had built, at once.
    Publish { deploy: String, answer: Answer<Vec<Report>> },
    /// Let go of what a deploy holds.
    Release { deploy: String, answer: Answer<()> },
}

/// Where the answer to a call of a deploy goes.
pub(crate) type Answer<T> = oneshot::Sender<Result<T, Refusal>>;

/// Why a call of a deploy comes to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the project {project} is held by the deploy {by}")]
    Held { project: ProjectName, by: String },
    #[error("the deploy {0} holds other projects than these")]
    OtherProjects(String),
    #[error("as many deploys as there may be are under way: {0}")]
    Busy(usize),
    #[error("there is no deploy {0:?}: it is over, or its lease is")]
    Unknown(String),
    #[error("the project {0} is not built")]
    NotBuilt(ProjectName),
}

pub(crate) type Commands = mpsc::Sender<Command>;

pub(crate) fn commands() -> (Commands, mpsc::Receiver<Command>) {
    mpsc::channel(QUEUE)
}
