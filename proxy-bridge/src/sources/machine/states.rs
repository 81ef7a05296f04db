//! The states of a source, and the events and effects of its machine.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use switchyard_contract::project::ProjectName;

/// The settings of a source that its machine needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineSettings {
    /// The source's name, for messages.
    pub name: String,
    /// The time between two polls.
    pub poll: Duration,
    /// A new commit is deployed at once (false), or proven and held until it is published (true).
    pub hold: bool,
    pub removed: RemovedProjects,
}

/// The treatment of projects whose folder left the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RemovedProjects {
    /// They stay until their removal is approved.
    #[default]
    Ask,
    /// They are removed, unless that would be more than half of the source's projects.
    Remove,
    /// They are removed, however many they are.
    RemoveAll,
    /// They stay.
    Keep,
}

/// The part of a source's state that outlives the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedState<C> {
    /// The commit that the routers have acknowledged as live.
    pub applied: Option<C>,
    /// The commit that the server last showed for the ref.
    pub seen: Option<C>,
    /// The commit that somebody chose in place of the ref's. It stays until the ref moves.
    pub chosen: Option<C>,
    /// The reason of the freeze, if an operator has frozen the source.
    pub frozen: Option<String>,
}

impl<C> Default for SavedState<C> {
    fn default() -> Self {
        Self { applied: None, seen: None, chosen: None, frozen: None }
    }
}

/// A waiting request. The caller makes the ids; each is answered exactly once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// The options of a requested sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncOptions<C> {
    /// The commit to deploy in place of the ref's.
    pub commit: Option<C>,
    /// Permits the removal of any number of projects, once.
    pub allow_empty: bool,
    /// Deploys all projects of the commit, also those that have not changed.
    pub force: bool,
}

impl<C> Default for SyncOptions<C> {
    fn default() -> Self {
        Self { commit: None, allow_empty: false, force: false }
    }
}

/// The kind of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// The server does not answer.
    Unreachable,
    /// The server refuses the credential.
    Unauthorized,
    /// The server's host key is unknown, or another one than before.
    HostKey,
    /// The server has no such ref.
    BranchGone,
    /// The mirror is damaged.
    Damaged,
    /// The repository is over its budget.
    TooLarge,
    DiskFull,
    /// The commit's tree cannot be deployed as it is.
    Invalid,
    /// The deploy has failed.
    Failed,
    /// A router reads a project of the commit from a local folder.
    Overridden,
    /// The commit removes so many projects that somebody must approve it.
    Blocked,
}

impl ProblemKind {
    /// Returns true if the same commit may well succeed later.
    pub(super) fn may_pass(self) -> bool {
        matches!(
            self,
            Self::Unreachable
                | Self::Unauthorized
                | Self::HostKey
                | Self::Damaged
                | Self::DiskFull
                | Self::Overridden
        )
    }
}

/// The reason why a step has failed. The detail is for users and holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub kind: ProblemKind,
    pub detail: String,
}

/// A fault that has not passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceProblem {
    pub kind: ProblemKind,
    pub since: Timestamp,
    pub detail: String,
}

/// The newest commit that was tried, if it has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedCommit<C> {
    pub commit: C,
    pub problem: SourceProblem,
    /// Tried again by back-off: the cause is not the code's.
    pub is_retried: bool,
}

/// The projects of a commit, compared with what is applied.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Whether the tree was read whole. Without it nothing is removed.
    pub is_whole: bool,
    /// Projects that are new with this commit.
    pub added: Vec<ProjectName>,
    /// Projects whose tree, or an included one, differs.
    pub changed: Vec<ProjectName>,
    /// Applied projects that the tree no longer has.
    pub removed: Vec<ProjectName>,
    pub unchanged: Vec<ProjectName>,
}

/// The part of a commit that a deploy carries out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommitSet {
    pub projects: Vec<ProjectName>,
    pub removal: Vec<ProjectName>,
}

impl CommitSet {
    /// Returns true if no project changes.
    pub fn is_empty(&self) -> bool {
        self.projects.is_empty() && self.removal.is_empty()
    }
}

/// A commit in hold: proven, and not published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadyCommit<C> {
    pub commit: C,
    pub set: CommitSet,
}

/// A removal that waits to be approved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovalQuestion<C> {
    pub commit: C,
    pub projects: Vec<ProjectName>,
    /// Names the projects, and the command that approves.
    pub message: String,
}

/// The work under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkKind<C> {
    Idle,
    Fetching,
    Reading(C),
    Deploying(C),
    /// Nothing is under way, and a proven commit waits to be published.
    Ready(C),
}

/// A timer of the source. Arming it again replaces the earlier time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Timer {
    Poll,
    /// The server did not show the commit of a webhook yet.
    Hint,
    /// The back-off of a commit that has failed by no fault of its own.
    Retry,
}

/// The outcome of a deploy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeployOutcome {
    Live,
    /// The projects do not build.
    Failed(String),
    /// Somebody else changed a project of the set meanwhile.
    Superseded(String),
    /// Too few routers have answered.
    Unreachable(String),
    /// The deploy was not accepted: a lock, a full disk.
    Refused(String),
    /// A router reads a project of the set from a local folder, until somebody ends that.
    Overridden(String),
}

/// An event in the life of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<C> {
    /// A timer has expired. The caller begins with `Timer::Poll`.
    Due(Timer),
    /// A webhook: the ref should show `after` now.
    Hinted {
        after: Option<C>,
    },
    Requested {
        id: RequestId,
        options: SyncOptions<C>,
    },
    /// The removal that is asked for is approved, with exactly these projects.
    Approved {
        id: RequestId,
    },
    /// Publishes the ready commit, or the named one.
    Published {
        id: RequestId,
        commit: Option<C>,
    },
    Fetched(Result<C, Fault>),
    Read(Result<Changes, Fault>),
    Deployed(DeployOutcome),
    /// An operator freezes the source, with a reason.
    Frozen(String),
    Unfrozen,
    /// Deploys are denied by a window until then.
    WindowClosed {
        until: Timestamp,
    },
    WindowOpened,
    /// The volume is no longer what is applied: it is to be put back.
    Drifted,
    /// Another source has let go of a project that this one wants, or has taken one over from it.
    Contested,
    /// The settings, or something else that a read depends on, have changed.
    Configured(MachineSettings),
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<C> {
    Live {
        commit: C,
        previous: Option<C>,
    },
    /// The commit changes nothing.
    Unchanged {
        commit: C,
    },
    /// Proven, and waiting to be published.
    Ready {
        commit: C,
    },
    Failed {
        commit: Option<C>,
        fault: Fault,
    },
    /// The removal must be approved.
    Blocked(RemovalQuestion<C>),
    /// The source is frozen; the text says why or until when.
    Frozen(String),
    /// A later request wants something else.
    Superseded,
    /// There is nothing to publish or to approve.
    NothingToDo,
    /// Too many requests wait already.
    Busy,
}

/// An event for users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceEvent<C> {
    Synced {
        commit: C,
        previous: Option<C>,
    },
    Ready {
        commit: C,
    },
    Failed {
        commit: C,
        fault: Fault,
    },
    /// The source cannot be fetched.
    Trouble(Fault),
    /// The source can be fetched again.
    Recovered,
    Asks(RemovalQuestion<C>),
    Frozen(String),
    Unfrozen,
}

/// An action to be carried out, in the order of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect<C> {
    /// Fetch the ref, or the named commit. Answered by `Event::Fetched`.
    Fetch {
        commit: Option<C>,
    },
    /// Compare the commit's tree with what is applied; `prove`: and have the routers build what
    /// differs. Answered by `Event::Read`.
    Read {
        commit: C,
        prove: bool,
    },
    /// Deploy the set. An empty one records the commit only. Answered by `Event::Deployed`.
    Deploy {
        commit: C,
        set: CommitSet,
    },
    Emit(SourceEvent<C>),
    Answer(Vec<RequestId>, Outcome<C>),
    /// Replace the mirror by a new one. A fetch follows.
    Repair,
    /// Remove what no version needs.
    Prune,
    Arm(Timer, Duration),
}
