//! The commands of the data flow and the admin listener to the control flow.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use switchyard_contract::admin::{Hold, Report, Setting};
use switchyard_contract::commit::CommitInfo;
use switchyard_contract::digest::Digest;
use switchyard_contract::project::ProjectName;
use switchyard_tasks::declared::Declared;
use tokio::sync::{mpsc, oneshot};

use crate::cells::LaunchSpec;
use crate::checkout::{ReceiveError, ReceivedFiles};
use crate::policy::Policy;
use crate::version::Version;

/// Commands that wait for the control flow, which takes them within microseconds. The sender of one
/// more waits: it is a request, whose own time limit bounds that.
const QUEUE: usize = 1024;

/// The id that a deploy has given itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DeployId(Arc<str>);

impl DeployId {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for DeployId {
    fn from(id: &str) -> Self {
        Self(id.into())
    }
}

impl fmt::Display for DeployId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A command to the control flow.
#[derive(Debug)]
pub(crate) enum Command {
    /// Read a project now and report the outcome. `project`: the name in the request, valid or not.
    Reload { project: String, answer: oneshot::Sender<Report> },
    /// Read every project now.
    ReloadAll { answer: oneshot::Sender<Vec<Report>> },
    /// Apply another policy of the operator.
    Policy(Arc<Policy>),
    /// Tell the variable of this name that the policy gives a project. May be a secret.
    Variable { project: ProjectName, name: String, answer: oneshot::Sender<Option<String>> },
    /// Tell the settings of a project. `project`: the name in the request, valid or not.
    Settings { project: String, answer: oneshot::Sender<Option<Vec<Setting>>> },
    /// Start a live version without cells: a request waits for it.
    Wake(Version),
    /// Read a project from this folder from now on, or from the volume again, and at once. The answer
    /// has the report's channel.
    Override { project: ProjectName, folder: Option<PathBuf>, answer: DeployReply<oneshot::Receiver<Report>> },
    /// Leave these projects to a deploy. The answer comes when nothing is under way in them any
    /// more.
    Hold { hold: Hold, answer: DeployReply<()> },
    /// Build the projects that a deploy holds, and publish nothing.
    Build { deploy: DeployId, answer: DeployReply<Vec<Report>> },
    /// Publish everything that a deploy had built, at once.
    Publish { deploy: DeployId, answer: DeployReply<Vec<Report>> },
    /// Let go of the projects that a deploy holds.
    Release { deploy: DeployId, answer: DeployReply<()> },
    /// Find the files and the tasks of a version, for a run. `digest`: `None` for the live version.
    FindVersion {
        project: ProjectName,
        digest: Option<Digest>,
        answer: oneshot::Sender<Result<Box<RunnableVersion>, NotRunnable>>,
    },
    /// Make the checkout of a version from files that were received.
    KeepVersion {
        version: Version,
        received: ReceivedFiles,
        answer: oneshot::Sender<Result<(), ReceiveError>>,
    },
}

/// A version whose tasks can be run. Its checkout is pinned as long as the launch specification.
#[derive(Debug, Clone)]
pub(crate) struct RunnableVersion {
    pub(crate) launch: Arc<LaunchSpec>,
    pub(crate) tasks: Arc<Declared>,
    /// The commit that it came from, if it is known.
    pub(crate) commit: Option<Arc<CommitInfo>>,
}

/// The reason why nothing of a version can be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotRunnable {
    #[error("unknown project")]
    UnknownProject,
    #[error("the project has no live version: it has never been built without an error")]
    NoLiveVersion,
    #[error("the files of this version are not kept any more: deploy them again, or run the live version")]
    UnknownVersion,
}

/// The channel for the reply to a deploy's call.
pub(crate) type DeployReply<T> = oneshot::Sender<Result<T, DeployRefusal>>;

/// The reason why a deploy's call is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DeployRefusal {
    #[error("the project {project} is held by the deploy {by}")]
    Held { project: ProjectName, by: DeployId },
    #[error("the deploy {0} holds other projects than these")]
    OtherProjects(DeployId),
    #[error("too many deploys are under way: {0}, which is the limit")]
    Busy(usize),
    #[error("unknown deploy \"{0}\": it has ended, or its lease has expired")]
    Unknown(DeployId),
    #[error("the project {0} is not built")]
    NotBuilt(ProjectName),
    #[error(
        "the project {project} is read from {} instead of the volume (an override), so a deploy of it would not \
         become live: under switchyard dev, edit the files there, or end it; otherwise end the override first \
         (switchyard source dev NAME --disable)",
        folder.display()
    )]
    Overridden { project: ProjectName, folder: PathBuf },
}

pub(crate) type Commands = mpsc::Sender<Command>;

pub(crate) fn commands() -> (Commands, mpsc::Receiver<Command>) {
    mpsc::channel(QUEUE)
}
