//! The states of a project, and the events and effects of its machine.

use switchyard_contract::event::{Diagnostic, Trigger};

use super::{Payload, StagedKind};
use crate::build::FolderState;
use crate::reload::attempt::Look;
use crate::version::Version;

/// The version that gets new requests. It is the last good version too: only a good one becomes
/// live.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PublishedVersion<L> {
    pub(crate) version: Version,
    pub(crate) data: L,
}

/// The newest attempt, if it failed.
#[derive(Debug)]
pub(crate) struct FailedAttempt<F> {
    pub(crate) failure: AttemptFailure,
    pub(crate) data: F,
}

/// The failure of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AttemptFailure {
    /// `None`: the files are no valid project.
    pub(crate) version: Option<Version>,
    pub(crate) error: Diagnostic,
}

impl AttemptFailure {
    /// Bounds the length of the error: it goes to the status board, into events and to clients.
    pub(super) fn new(version: Option<Version>, error: Diagnostic) -> Self {
        Self { version, error: error.bounded() }
    }
}

/// The work under way. Its data is boxed, as few projects of thousands are worked on.
#[derive(Debug)]
pub(crate) enum Work<P: Payload> {
    Idle,
    /// The files are being read.
    Reading(Box<Attempt<P::Attempt>>),
    /// A version is being started beside the live one.
    Building(Version, Box<P::Candidate>, Box<Attempt<P::Attempt>>),
    /// The last good version of an earlier run is being started, before anything is read.
    Restoring(Version, Box<Attempt<P::Attempt>>),
}

/// An attempt under way.
#[derive(Debug)]
pub(crate) struct Attempt<A> {
    pub(super) disposition: Disposition,
    /// The next attempt, which follows this one.
    pub(super) next: Option<Look>,
    pub(super) data: A,
}

/// The treatment of an attempt's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disposition {
    /// Publish a good version, report a failure.
    Publish,
    /// Stage the result for the deploy that requested it.
    Stage,
    /// Discard the result: the deploy that requested it has let go.
    Discard,
}

impl<A: From<Look>> Attempt<A> {
    pub(super) fn new(look: Look) -> Self {
        Self { disposition: Disposition::Publish, next: None, data: A::from(look) }
    }

    pub(super) fn staged(look: Look) -> Self {
        Self { disposition: Disposition::Stage, ..Self::new(look) }
    }
}

/// An event in the life of a project.
#[derive(Debug)]
pub(crate) enum Event<P: Payload> {
    /// The project may have changed.
    Changed(Look),
    /// At start: an earlier run has recorded this last good version.
    Recorded(Version),
    /// The files were read. `retry`: a failure is reported even if it is the same as before.
    Read { state: FolderState<P::Candidate>, retry: bool },
    /// The build has ended.
    Built(BuildOutcome<P::Built>),
    /// A deploy requests the project for itself.
    Hold,
    /// The deploy that holds the project requests a build of the volume's files, without a publish.
    Build,
    /// The deploy that holds the project requests the publish of its build; the hold ends.
    Publish,
    /// The hold ends without a publish.
    Release,
}

/// The outcome of a build.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BuildOutcome<B> {
    Good(B),
    Bad(Diagnostic),
    /// The build took long, and something newer is waiting.
    Superseded,
}

/// An action to be carried out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Effect<P: Payload> {
    /// Read the files.
    Read(Trigger),
    /// Start this version in its cells.
    Build(Version),
    /// Notify the build under way that something newer waits.
    Hurry,
    /// Publish the version that has become live, and drain `previous`.
    Publish { version: Version, previous: Option<PublishedVersion<P::Live>>, attempt: P::Attempt },
    /// Report that the live version is no longer stale.
    ClearStale(P::Attempt),
    /// Report the failure of the newest attempt.
    Fail(AttemptFailure, P::Attempt),
    /// End the attempt without an event.
    Unchanged(P::Attempt),
    /// The attempt ends because a newer one follows.
    Superseded,
    /// Take out the project, whose folder is gone, and drain `previous`.
    Remove { previous: Option<PublishedVersion<P::Live>>, attempt: P::Attempt },
    /// The hold has begun: no attempt is under way, and none begins unless the deploy requests it.
    Held,
    /// Report the result of its build to the deploy.
    Staged(StagedKind),
    /// Report the failure of its build to the deploy.
    StageFailed(AttemptFailure, P::Attempt),
    /// End the cells of a version that is not needed, if one was built.
    Discard(Option<P::Built>),
}
