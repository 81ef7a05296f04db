//! The next step of one project: a pure function from a state and an event to a state and effects.
//! No files, no processes, no clock.
//!
//! `Absent -> Building -> Live -> Building{last good} -> Live | Failed{last good}`. At most one
//! attempt is under way; a change during it is remembered for one more. The states own their data:
//! the machine moves it from one to the next and never looks into it (see [`Payload`]).
//!
//! A deploy can hold the project. Then nothing is read, built or published except at the deploy's
//! request, and its failures are reported to the deploy alone.

mod deploy;
mod states;

use std::fmt;

use switchyard_contract::event::Trigger;

pub(crate) use self::deploy::{Hold, StagedKind, StagedResult};
pub(crate) use self::states::{
    Attempt, AttemptFailure, BuildOutcome, Disposition, Effect, Event, FailedAttempt, PublishedVersion, Work,
};
use super::attempt::Look;
use crate::build::FolderState;
use crate::version::Version;

/// The types of the data that the states of a project own.
pub(crate) trait Payload {
    /// An attempt: its times, and the callers that wait for its end.
    type Attempt: From<Look> + fmt::Debug;
    /// A version that is to be built.
    type Candidate: fmt::Debug;
    /// A version that was built and is not live yet.
    type Built: fmt::Debug;
    /// The live version.
    type Live: From<Self::Built> + fmt::Debug;
    /// The candidate that failed; none if the project's files are invalid.
    type Failure: From<Option<Self::Candidate>> + fmt::Debug;

    /// Has the callers of a superseded attempt wait for the next one.
    fn hand_over(attempt: Self::Attempt, next: &mut Look);
}

/// One project.
#[derive(Debug)]
pub(crate) struct Machine<P: Payload> {
    live: Option<PublishedVersion<P::Live>>,
    failed: Option<Box<FailedAttempt<P::Failure>>>,
    work: Work<P>,
    /// Boxed, as few projects are held.
    hold: Option<Box<Hold<P>>>,
}

impl<P: Payload> Default for Machine<P> {
    fn default() -> Self {
        Self { live: None, failed: None, work: Work::Idle, hold: None }
    }
}

impl<P: Payload> Machine<P> {
    pub(crate) fn live(&self) -> Option<&PublishedVersion<P::Live>> {
        self.live.as_ref()
    }

    pub(crate) fn live_mut(&mut self) -> Option<&mut PublishedVersion<P::Live>> {
        self.live.as_mut()
    }

    pub(crate) fn live_version(&self) -> Option<&Version> {
        self.live.as_ref().map(|live| &live.version)
    }

    pub(crate) fn failed(&self) -> Option<&FailedAttempt<P::Failure>> {
        self.failed.as_deref()
    }

    pub(crate) fn work(&self) -> &Work<P> {
        &self.work
    }

    pub(crate) fn attempt_mut(&mut self) -> Option<&mut P::Attempt> {
        match &mut self.work {
            Work::Idle => None,
            Work::Reading(attempt) | Work::Building(_, _, attempt) | Work::Restoring(_, attempt) => {
                Some(&mut attempt.data)
            }
        }
    }

    /// The version that is being built.
    pub(crate) fn candidate(&self) -> Option<&P::Candidate> {
        match &self.work {
            Work::Building(_, candidate, _) => Some(candidate),
            _ => None,
        }
    }

    pub(crate) fn candidate_mut(&mut self) -> Option<&mut P::Candidate> {
        match &mut self.work {
            Work::Building(_, candidate, _) => Some(candidate),
            _ => None,
        }
    }

    /// Returns true if nothing is known of the project and nothing is under way.
    pub(crate) fn is_absent(&self) -> bool {
        self.live.is_none() && self.failed.is_none() && self.is_idle() && self.hold.is_none()
    }

    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.work, Work::Idle)
    }

    /// Returns true if a change now is looked at later: an attempt is under way, or a deploy holds
    /// the project.
    pub(crate) fn is_busy(&self) -> bool {
        !self.is_idle() || self.hold.is_some()
    }

    pub(crate) fn on(&mut self, event: Event<P>) -> Vec<Effect<P>> {
        match (event, std::mem::replace(&mut self.work, Work::Idle)) {
            (Event::Changed(look), work) => self.changed(look, work),
            (Event::Recorded(version), Work::Idle) => {
                let next = Some(Trigger::Scan.into());
                let attempt = Attempt { next, ..Attempt::new(Trigger::Scan.into()) };
                self.work = Work::Restoring(version.clone(), Box::new(attempt));
                vec![Effect::Build(version)]
            }
            (Event::Read { state, retry }, Work::Reading(attempt)) => self.read(state, retry, *attempt),
            (Event::Built(outcome), Work::Building(version, candidate, attempt)) => {
                self.built(outcome, version, *candidate, *attempt)
            }
            (Event::Built(outcome), Work::Restoring(version, attempt)) => {
                self.restored(outcome, version, *attempt)
            }
            (Event::Hold, work) => self.hold(work),
            (Event::Build, work) => self.build(work),
            (Event::Publish, work) => self.publish(work),
            (Event::Release, work) => self.release(work),
            (Event::Recorded(_) | Event::Read { .. } | Event::Built(_), work) => {
                debug_assert!(false, "an event that does not fit the state of the project");
                tracing::debug!("an event that does not fit the state of the project is ignored");
                self.work = work;
                Vec::new()
            }
        }
    }

    fn changed(&mut self, look: Look, work: Work<P>) -> Vec<Effect<P>> {
        if let Some(hold) = &mut self.hold {
            merge(&mut hold.changed, look);
            self.work = work;
            return Vec::new();
        }
        match work {
            Work::Idle => vec![self.start_reading(look)],
            work => {
                self.work = work;
                self.follow(look)
            }
        }
    }

    fn start_reading(&mut self, look: Look) -> Effect<P> {
        let trigger = look.trigger;
        self.work = Work::Reading(Box::new(Attempt::new(look)));
        Effect::Read(trigger)
    }

    /// Has another attempt follow the one under way, and that one hurried.
    fn follow(&mut self, look: Look) -> Vec<Effect<P>> {
        let (attempt, effects) = match &mut self.work {
            Work::Idle => return Vec::new(),
            Work::Reading(attempt) => (attempt, vec![]),
            Work::Building(_, _, attempt) | Work::Restoring(_, attempt) => (attempt, vec![Effect::Hurry]),
        };
        merge(&mut attempt.next, look);
        effects
    }

    fn read(
        &mut self,
        state: FolderState<P::Candidate>,
        retry: bool,
        attempt: Attempt<P::Attempt>,
    ) -> Vec<Effect<P>> {
        match attempt.disposition {
            Disposition::Publish => {}
            Disposition::Stage => return self.read_for_deploy(state, attempt),
            Disposition::Discard => return self.end(Effect::Discard(None), attempt.next),
        }
        let Attempt { data, next, .. } = attempt;
        let end = match state {
            FolderState::Gone => {
                self.failed = None;
                Effect::Remove { previous: self.live.take(), attempt: data }
            }
            FolderState::Unknown | FolderState::FailedBefore(_) => Effect::Unchanged(data),
            FolderState::Invalid(error) => {
                let failed = AttemptFailure::new(None, error);
                if self.failed.as_ref().is_some_and(|last| last.failure == failed) && !retry {
                    Effect::Unchanged(data)
                } else {
                    self.fail(failed, None, data)
                }
            }
            FolderState::Live(_) => match self.failed.take() {
                Some(_) => Effect::ClearStale(data),
                None => Effect::Unchanged(data),
            },
            FolderState::Candidate(version, candidate) => {
                let attempt = Attempt { disposition: Disposition::Publish, next, data };
                return self.start(version, candidate, attempt);
            }
        };
        self.end(end, next)
    }

    /// Has `version` built, hurried if something already waits for its end.
    fn start(
        &mut self,
        version: Version,
        candidate: P::Candidate,
        attempt: Attempt<P::Attempt>,
    ) -> Vec<Effect<P>> {
        let is_hold_waiting = self.hold.is_some() && attempt.disposition == Disposition::Publish;
        let hurry = (is_hold_waiting || attempt.next.is_some()).then_some(Effect::Hurry);
        self.work = Work::Building(version.clone(), Box::new(candidate), Box::new(attempt));
        [Effect::Build(version)].into_iter().chain(hurry).collect()
    }

    fn built(
        &mut self,
        outcome: BuildOutcome<P::Built>,
        version: Version,
        candidate: P::Candidate,
        attempt: Attempt<P::Attempt>,
    ) -> Vec<Effect<P>> {
        let Attempt { disposition, mut next, data } = attempt;
        let end = match (disposition, outcome) {
            (Disposition::Discard, BuildOutcome::Good(built)) => Effect::Discard(Some(built)),
            (Disposition::Discard, _) => Effect::Discard(None),
            (Disposition::Stage, BuildOutcome::Good(built)) => {
                return self.stage(StagedResult::Version(version, built), data, next);
            }
            (Disposition::Stage, BuildOutcome::Bad(error)) => {
                return self.fail_stage(AttemptFailure::new(Some(version), error), data, next);
            }
            // Only another build of the deploy supersedes this one.
            (Disposition::Stage, BuildOutcome::Superseded) => return self.read_again(next, None),
            (Disposition::Publish, BuildOutcome::Good(built)) => self.go_live(version, built, data),
            (Disposition::Publish, BuildOutcome::Bad(error)) => {
                self.fail(AttemptFailure::new(Some(version), error), Some(candidate), data)
            }
            (Disposition::Publish, BuildOutcome::Superseded) => supersede(data, &mut next),
        };
        self.end(end, next)
    }

    fn restored(
        &mut self,
        outcome: BuildOutcome<P::Built>,
        version: Version,
        attempt: Attempt<P::Attempt>,
    ) -> Vec<Effect<P>> {
        let Attempt { mut next, data, .. } = attempt;
        let end = match outcome {
            BuildOutcome::Good(built) => self.go_live(version, built, data),
            // The files on the volume are built next, and have a report of their own.
            BuildOutcome::Bad(_) | BuildOutcome::Superseded => supersede(data, &mut next),
        };
        self.end(end, next)
    }

    fn go_live(&mut self, version: Version, built: P::Built, attempt: P::Attempt) -> Effect<P> {
        self.failed = None;
        let live = PublishedVersion { version: version.clone(), data: built.into() };
        Effect::Publish { version, previous: self.live.replace(live), attempt }
    }

    fn fail(
        &mut self,
        failure: AttemptFailure,
        candidate: Option<P::Candidate>,
        attempt: P::Attempt,
    ) -> Effect<P> {
        let failed = FailedAttempt { failure: failure.clone(), data: candidate.into() };
        self.failed = Some(Box::new(failed));
        Effect::Fail(failure, attempt)
    }

    /// Ends the attempt with `effect`. A hold that has waited for that begins; otherwise the next
    /// attempt does, if there is one.
    fn end(&mut self, effect: Effect<P>, next: Option<Look>) -> Vec<Effect<P>> {
        let mut effects = vec![effect];
        if let Some(hold) = &mut self.hold {
            if let Some(next) = next {
                merge(&mut hold.changed, next);
            }
            effects.push(Effect::Held);
        } else if let Some(look) = next {
            effects.push(self.start_reading(look));
        }
        effects
    }
}

fn merge(looks: &mut Option<Look>, look: Look) {
    match looks {
        Some(first) => first.merge(look),
        None => *looks = Some(look),
    }
}

/// Hands the callers of `attempt` over to the next one: its change is still to be read.
fn supersede<P: Payload>(attempt: P::Attempt, next: &mut Option<Look>) -> Effect<P> {
    P::hand_over(attempt, next.get_or_insert_with(|| Trigger::Scan.into()));
    Effect::Superseded
}

#[cfg(test)]
mod tests;
