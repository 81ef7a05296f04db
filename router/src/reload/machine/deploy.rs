//! A project that a deploy holds: built at the deploy's request, then published or let go.

use switchyard_contract::event::Trigger;

use super::{Attempt, AttemptFailure, Disposition, Effect, Machine, Payload, Work};
use crate::build::FolderState;
use crate::project::diagnostic;
use crate::reload::attempt::Look;
use crate::version::Version;

/// The hold of a deploy on the project.
#[derive(Debug)]
pub(crate) struct Hold<P: Payload> {
    /// The changes since, to be looked at when the hold ends.
    pub(super) changed: Option<Look>,
    /// The result of the newest build, unless it failed, with its attempt.
    pub(super) staged: Option<(StagedResult<P::Built>, P::Attempt)>,
}

/// A result that a deploy can publish.
#[derive(Debug)]
pub(crate) enum StagedResult<B> {
    Version(Version, B),
    /// The files on the volume are those of the live version.
    Unchanged,
    /// The project has no folder.
    Gone,
}

/// The kind of a staged result, for its report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StagedKind {
    Version(Version),
    Unchanged,
    Gone,
}

impl<B> StagedResult<B> {
    fn kind(&self) -> StagedKind {
        match self {
            Self::Version(version, _) => StagedKind::Version(version.clone()),
            Self::Unchanged => StagedKind::Unchanged,
            Self::Gone => StagedKind::Gone,
        }
    }
}

impl<P: Payload> Hold<P> {
    /// Drops the staged result. Returns its version, whose cells have to end.
    fn discard(&mut self) -> Option<Effect<P>> {
        match self.staged.take()?.0 {
            StagedResult::Version(_, built) => Some(Effect::Discard(Some(built))),
            StagedResult::Unchanged | StagedResult::Gone => None,
        }
    }
}

impl<P: Payload> Machine<P> {
    pub(crate) fn is_held(&self) -> bool {
        self.hold.is_some()
    }

    /// Returns true if nothing happens until the deploy that holds the project requests it.
    pub(crate) fn is_quiescent(&self) -> bool {
        self.hold.is_some() && self.is_idle()
    }

    /// Returns true if the deploy that holds the project can publish.
    pub(crate) fn is_staged(&self) -> bool {
        self.is_idle() && self.hold.as_ref().is_some_and(|hold| hold.staged.is_some())
    }

    /// The version that the deploy has built and not yet published.
    pub(crate) fn staged(&self) -> Option<&P::Built> {
        match &self.hold.as_ref()?.staged.as_ref()?.0 {
            StagedResult::Version(_, built) => Some(built),
            StagedResult::Unchanged | StagedResult::Gone => None,
        }
    }

    pub(crate) fn staged_mut(&mut self) -> Option<&mut P::Built> {
        match &mut self.hold.as_mut()?.staged.as_mut()?.0 {
            StagedResult::Version(_, built) => Some(built),
            StagedResult::Unchanged | StagedResult::Gone => None,
        }
    }

    /// The attempt of the staged result.
    pub(crate) fn staged_attempt(&self) -> Option<&P::Attempt> {
        self.hold.as_ref()?.staged.as_ref().map(|(_, attempt)| attempt)
    }

    pub(super) fn hold(&mut self, work: Work<P>) -> Vec<Effect<P>> {
        self.work = work;
        if self.hold.is_some() {
            return Vec::new();
        }
        self.hold = Some(Box::new(Hold { changed: None, staged: None }));
        match self.work {
            Work::Idle => vec![Effect::Held],
            Work::Reading(_) => vec![],
            Work::Building(..) | Work::Restoring(..) => vec![Effect::Hurry],
        }
    }

    /// Begins a build for the deploy. The result of an earlier one is discarded.
    pub(super) fn build(&mut self, work: Work<P>) -> Vec<Effect<P>> {
        self.work = work;
        let Some(hold) = &mut self.hold else { return Vec::new() };
        if !matches!(self.work, Work::Idle) {
            return self.follow(Trigger::Request.into());
        }
        let discard = hold.discard();
        discard.into_iter().chain([self.read_for_stage(Trigger::Request.into())]).collect()
    }

    fn read_for_stage(&mut self, look: Look) -> Effect<P> {
        let trigger = look.trigger;
        self.work = Work::Reading(Box::new(Attempt::staged(look)));
        Effect::Read(trigger)
    }

    /// Stages the result of the deploy's build, unless the deploy has requested another build
    /// meanwhile.
    pub(super) fn stage(
        &mut self,
        staged: StagedResult<P::Built>,
        attempt: P::Attempt,
        next: Option<Look>,
    ) -> Vec<Effect<P>> {
        if next.is_some() {
            let built = match staged {
                StagedResult::Version(_, built) => Some(built),
                StagedResult::Unchanged | StagedResult::Gone => None,
            };
            return self.read_again(next, built);
        }
        let kind = staged.kind();
        if let Some(hold) = &mut self.hold {
            hold.staged = Some((staged, attempt));
        }
        vec![Effect::Staged(kind)]
    }

    pub(super) fn fail_stage(
        &mut self,
        failed: AttemptFailure,
        attempt: P::Attempt,
        next: Option<Look>,
    ) -> Vec<Effect<P>> {
        if next.is_some() {
            return self.read_again(next, None);
        }
        if let Some(hold) = &mut self.hold {
            hold.staged = None;
        }
        vec![Effect::StageFailed(failed, attempt)]
    }

    pub(super) fn read_again(&mut self, next: Option<Look>, built: Option<P::Built>) -> Vec<Effect<P>> {
        let look = next.unwrap_or_else(|| Trigger::Request.into());
        vec![Effect::Discard(built), self.read_for_stage(look)]
    }

    /// Publishes the staged result. Does nothing while there is none.
    pub(super) fn publish(&mut self, work: Work<P>) -> Vec<Effect<P>> {
        self.work = work;
        if !self.is_staged() {
            return Vec::new();
        }
        let hold = self.hold.take().map(|hold| *hold);
        let Some(Hold { changed, staged: Some((staged, attempt)) }) = hold else { return Vec::new() };
        let effect = match staged {
            StagedResult::Version(version, built) => self.go_live(version, built, attempt),
            StagedResult::Unchanged => match self.failed.take() {
                Some(_) => Effect::ClearStale(attempt),
                None => Effect::Unchanged(attempt),
            },
            StagedResult::Gone => {
                self.failed = None;
                Effect::Remove { previous: self.live.take(), attempt }
            }
        };
        self.end(effect, changed)
    }

    pub(super) fn release(&mut self, mut work: Work<P>) -> Vec<Effect<P>> {
        let Some(mut hold) = self.hold.take() else {
            self.work = work;
            return Vec::new();
        };
        let discard = hold.discard();
        let look = hold.changed.unwrap_or_else(|| Trigger::Scan.into());
        match &mut work {
            Work::Idle => {
                let read = self.start_reading(look);
                return discard.into_iter().chain([read]).collect();
            }
            Work::Reading(attempt) | Work::Building(_, _, attempt) | Work::Restoring(_, attempt) => {
                if attempt.disposition == Disposition::Stage {
                    attempt.disposition = Disposition::Discard;
                    attempt.next = None;
                }
            }
        }
        self.work = work;
        self.follow(look)
    }

    pub(super) fn read_for_deploy(
        &mut self,
        state: FolderState<P::Candidate>,
        attempt: Attempt<P::Attempt>,
    ) -> Vec<Effect<P>> {
        let Attempt { data, next, disposition } = attempt;
        match state {
            FolderState::Gone => self.stage(StagedResult::Gone, data, next),
            FolderState::Live(_) => self.stage(StagedResult::Unchanged, data, next),
            FolderState::Invalid(error) => self.fail_stage(AttemptFailure::new(None, error), data, next),
            FolderState::Unknown => {
                let error =
                    diagnostic("the projects root (--projects) is missing: mount it, and deploy again");
                self.fail_stage(AttemptFailure::new(None, error), data, next)
            }
            // A deploy always requests another attempt, so its reading never ends here.
            FolderState::FailedBefore(version) => {
                let error = diagnostic("the same version failed before: change it, and deploy again");
                self.fail_stage(AttemptFailure::new(Some(version), error), data, next)
            }
            FolderState::Candidate(version, candidate) => {
                self.start(version, candidate, Attempt { data, next, disposition })
            }
        }
    }
}
