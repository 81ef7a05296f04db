//! What happens next to one project: a pure function from a state and an event to a state and
//! effects. No files, no processes, no time.
//!
//! `Absent -> Building -> Live -> Building{last good} -> Live | Failed{last good}`. At most one
//! attempt is under way; a change during it sets `again`.
//!
//! A deploy can hold the project: then nothing is read, built or published but what the deploy asks
//! for, and what fails is the deploy's affair alone.

mod deploy;

use switchyard_contract::event::{Diagnostic, Trigger};

pub(crate) use self::deploy::{Hold, Prepared};
use crate::version::Version;

/// One project.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Machine {
    /// What gets new requests. Also the last good version: only what became live is live.
    pub(crate) live: Option<Version>,
    /// The newest attempt, when it failed.
    pub(crate) failed: Option<Failed>,
    pub(crate) work: Work,
    /// While a deploy has it to itself.
    pub(crate) hold: Option<Hold>,
}

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failed {
    /// `None` when the files could not be read as a project.
    pub(crate) version: Option<Version>,
    pub(crate) error: Diagnostic,
}

impl Failed {
    /// The error goes to the board, into events and to clients: whoever made it, it is bounded
    /// here.
    fn new(version: Option<Version>, error: Diagnostic) -> Self {
        Self { version, error: error.bounded() }
    }
}

/// What is under way.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Work {
    #[default]
    Idle,
    /// The files are read.
    Reading(Course),
    /// A version is loaded and started beside the live one.
    Building(Version, Course),
    /// The last good version of an earlier run is started, before anything is read.
    Restoring(Version, Course),
}

/// What is to become of an attempt, and what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Course {
    pub(crate) fate: Fate,
    again: Option<Trigger>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Fate {
    /// Its end is told, and published if it is good.
    #[default]
    Tell,
    /// Its end is kept for the deploy that asked for it.
    Keep,
    /// The deploy that asked for it has let go.
    Drop,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// The project may have changed.
    Changed(Trigger),
    /// At start: an earlier run left this last good version.
    Known(Version),
    /// The files were read. `retry`: what failed before is worth another attempt.
    Read { found: Found, retry: bool },
    /// The build came to an end.
    Built(Outcome),
    /// A deploy wants the project to itself.
    Hold,
    /// The deploy that holds it wants what is on the volume built, and not published.
    Build,
    /// The deploy that holds it wants what was built published; the hold ends.
    Publish,
    /// The hold ends with nothing.
    Release,
}

/// What was found in the project's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    Gone,
    Invalid(Diagnostic),
    Version(Version),
    /// The live version, which would be given something else now, or has other packages.
    Outdated(Version),
    /// The projects root is missing, or may still be filled: nothing is known of the project.
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Good,
    Bad(Diagnostic),
    /// It was taking long and something newer is waiting.
    Superseded,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Read the files.
    Read(Trigger),
    /// Start this version in a cell.
    Build(Version),
    /// Let the build under way know that something newer waits.
    Hurry,
    /// Make the version that was built live; drain `previous`.
    Publish { version: Version, previous: Option<Version> },
    /// The live version stays, and is no longer stale.
    Settle,
    /// Tell that the newest attempt failed.
    Fail(Failed),
    /// The attempt ends with nothing to tell.
    Unchanged,
    /// The attempt ends because a newer one follows.
    Superseded,
    /// The project's folder is gone: take it out and drain `previous`.
    Remove { previous: Option<Version> },
    /// The hold has begun: no attempt is under way, and none begins by itself.
    Held,
    /// Tell the deploy what its build came to.
    Prepared(Result<Prepared, Failed>),
    /// End what was built and is not wanted.
    Drop,
}

impl Machine {
    /// Whether nothing is known and nothing is under way.
    pub(crate) fn is_absent(&self) -> bool {
        self.live.is_none() && self.failed.is_none() && self.work == Work::Idle && self.hold.is_none()
    }

    /// Whether what changes now is looked at later: an attempt is under way, or a deploy has it.
    pub(crate) fn is_busy(&self) -> bool {
        self.work != Work::Idle || self.hold.is_some()
    }

    /// Whether the deploy that holds it can publish.
    pub(crate) fn is_prepared(&self) -> bool {
        self.rests() && self.hold.as_ref().is_some_and(|hold| hold.prepared.is_some())
    }

    /// Whether nothing happens until the deploy that holds it asks.
    pub(crate) fn rests(&self) -> bool {
        self.hold.is_some() && self.work == Work::Idle
    }

    pub(crate) fn on(&mut self, event: Event) -> Vec<Effect> {
        match (event, std::mem::take(&mut self.work)) {
            (Event::Changed(trigger), work) => self.changed(trigger, work),
            (Event::Known(version), Work::Idle) => {
                let course = Course { again: Some(Trigger::Scan), ..Course::default() };
                self.work = Work::Restoring(version.clone(), course);
                vec![Effect::Build(version)]
            }
            (Event::Read { found, retry }, Work::Reading(course)) => self.read(found, retry, course),
            (Event::Built(outcome), Work::Building(version, course)) => self.built(outcome, version, course),
            (Event::Built(outcome), Work::Restoring(version, course)) => {
                self.restored(outcome, version, course)
            }
            (Event::Hold, work) => self.hold(work),
            (Event::Build, work) => self.build(work),
            (Event::Publish, Work::Idle) => self.publish(),
            (Event::Release, work) => self.release(work),
            (_, work) => {
                self.work = work;
                Vec::new()
            }
        }
    }

    fn changed(&mut self, trigger: Trigger, work: Work) -> Vec<Effect> {
        if let Some(hold) = &mut self.hold {
            hold.changed = hold.changed.or(Some(trigger));
            self.work = work;
            return Vec::new();
        }
        if work == Work::Idle {
            self.work = Work::Reading(Course::default());
            return vec![Effect::Read(trigger)];
        }
        self.work = work;
        self.follow(trigger)
    }

    /// Has another attempt follow the one under way, and that one hurried.
    fn follow(&mut self, trigger: Trigger) -> Vec<Effect> {
        let (course, effects) = match &mut self.work {
            Work::Idle => return Vec::new(),
            Work::Reading(course) => (course, vec![]),
            Work::Building(_, course) | Work::Restoring(_, course) => (course, vec![Effect::Hurry]),
        };
        course.again = course.again.or(Some(trigger));
        effects
    }

    fn read(&mut self, found: Found, retry: bool, course: Course) -> Vec<Effect> {
        match course.fate {
            Fate::Tell => {}
            Fate::Keep => return self.read_for_deploy(found, course),
            Fate::Drop => return self.end(Effect::Drop, course),
        }
        let end = match found {
            Found::Gone => {
                self.failed = None;
                Effect::Remove { previous: self.live.take() }
            }
            Found::Unknown => Effect::Unchanged,
            Found::Invalid(error) => {
                let failed = Failed::new(None, error);
                if self.failed.as_ref() == Some(&failed) && !retry {
                    Effect::Unchanged
                } else {
                    self.fail(failed)
                }
            }
            Found::Version(version) if self.live.as_ref() == Some(&version) => match self.failed.take() {
                Some(_) => Effect::Settle,
                None => Effect::Unchanged,
            },
            Found::Version(version) | Found::Outdated(version) if self.has_failed(&version) && !retry => {
                Effect::Unchanged
            }
            Found::Version(version) | Found::Outdated(version) => return self.start(version, course),
        };
        self.end(end, course)
    }

    /// Has `version` built, hurried if something was waiting for its end before it began.
    fn start(&mut self, version: Version, course: Course) -> Vec<Effect> {
        let held = self.hold.is_some() && course.fate == Fate::Tell;
        self.work = Work::Building(version.clone(), course);
        let hurry = (held || course.again.is_some()).then_some(Effect::Hurry);
        [Effect::Build(version)].into_iter().chain(hurry).collect()
    }

    fn built(&mut self, outcome: Outcome, version: Version, course: Course) -> Vec<Effect> {
        let end = match (course.fate, outcome) {
            (Fate::Drop, _) => Effect::Drop,
            (Fate::Keep, Outcome::Good) => return self.keep(Ok(Prepared::Version(version)), course),
            (Fate::Keep, Outcome::Bad(error)) => {
                return self.keep(Err(Failed::new(Some(version), error)), course);
            }
            // Only another build of the deploy supersedes this one.
            (Fate::Keep, Outcome::Superseded) => return self.read_again(course.again),
            (Fate::Tell, Outcome::Good) => self.go_live(version),
            (Fate::Tell, Outcome::Bad(error)) => self.fail(Failed::new(Some(version), error)),
            (Fate::Tell, Outcome::Superseded) => Effect::Superseded,
        };
        self.end(end, course)
    }

    fn restored(&mut self, outcome: Outcome, version: Version, course: Course) -> Vec<Effect> {
        let end = match outcome {
            Outcome::Good => self.go_live(version),
            // What is on the volume now is built next, and tells for itself.
            Outcome::Bad(_) | Outcome::Superseded => Effect::Superseded,
        };
        self.end(end, course)
    }

    fn go_live(&mut self, version: Version) -> Effect {
        self.failed = None;
        let previous = self.live.replace(version.clone());
        Effect::Publish { version, previous }
    }

    fn fail(&mut self, failed: Failed) -> Effect {
        self.failed = Some(failed.clone());
        Effect::Fail(failed)
    }

    fn has_failed(&self, version: &Version) -> bool {
        self.failed.as_ref().is_some_and(|failed| failed.version.as_ref() == Some(version))
    }

    /// Ends the attempt with `effect`; then a hold begins that waited for that, or the next attempt
    /// if one is wanted.
    fn end(&mut self, effect: Effect, course: Course) -> Vec<Effect> {
        self.work = Work::Idle;
        // What was superseded is still to be read.
        let scan = (effect == Effect::Superseded).then_some(Trigger::Scan);
        let again = course.again.or(scan);
        let mut effects = vec![effect];
        if let Some(hold) = &mut self.hold {
            hold.changed = hold.changed.or(again);
            effects.push(Effect::Held);
        } else if let Some(trigger) = again {
            self.work = Work::Reading(Course::default());
            effects.push(Effect::Read(trigger));
        }
        effects
    }
}

#[cfg(test)]
mod tests;
