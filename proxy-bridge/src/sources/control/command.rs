//! The commands that a source's task takes.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::git::ObjectId;
use crate::sources::machine::SyncOptions;
use crate::sources::settings::SourceSettings;
use switchyard_contract::project::ProjectName;
use switchyard_contract::source::SyncReport;
use switchyard_edge::problem::Problem;

/// The answer to those who wait for a sync.
pub(super) type Answer = Result<SyncReport, Problem>;

/// The way to one who waits for a sync.
pub(super) type Reply = oneshot::Sender<Answer>;

/// A command to a source.
pub(super) enum Command {
    Sync {
        options: SyncOptions<ObjectId>,
        reply: Option<Reply>,
    },
    Publish {
        commit: Option<ObjectId>,
        reply: Reply,
    },
    Approve {
        reply: Reply,
    },
    /// `None` ends a freeze.
    Freeze {
        reason: Option<String>,
        reply: oneshot::Sender<Result<(), Problem>>,
    },
    /// A webhook: the ref should show the commit now.
    Hint {
        after: Option<ObjectId>,
    },
    Configure(Arc<SourceSettings>),
    /// The files of these projects on the volume are not those of the commit.
    Restore {
        projects: Vec<ProjectName>,
    },
    /// The cause of a failure that is not the commit's may be over.
    Retry,
    /// Another source has let go of a project that this one wants, or has taken one over from it.
    Compare,
    /// The end of a preview: its projects, their data and its state go.
    End {
        done: oneshot::Sender<()>,
    },
}
