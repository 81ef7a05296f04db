//! What happens next to one project: a pure function from a state and an event to a state and
//! effects. No files, no processes, no time.
//!
//! `Absent -> Building -> Live -> Building{last good} -> Live | Failed{last good}`. At most one
//! attempt is under way; a change during it sets `again`.

use switchyard_bridge::event::{Diagnostic, Trigger};

use crate::version::Version;

/// One project.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Machine {
    /// What gets new requests. Also the last good version: only what became live is live.
    pub(crate) live: Option<Version>,
    /// The newest attempt, when it failed.
    pub(crate) failed: Option<Failed>,
    pub(crate) work: Work,
}

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failed {
    /// `None` when the files could not be read as a project.
    pub(crate) version: Option<Version>,
    pub(crate) error: Diagnostic,
}

/// What is under way.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Work {
    #[default]
    Idle,
    /// The files are read.
    Reading { again: Option<Trigger> },
    /// A version is loaded and started beside the live one.
    Building { version: Version, again: Option<Trigger> },
    /// The last good version of an earlier run is started, before anything is read.
    Restoring { version: Version, again: Option<Trigger> },
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
}

/// What was found in the project's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    Gone,
    Invalid(Diagnostic),
    Version(Version),
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
}

impl Machine {
    /// Whether nothing is known and nothing is under way.
    pub(crate) fn is_absent(&self) -> bool {
        self.live.is_none() && self.failed.is_none() && self.work == Work::Idle
    }

    pub(crate) fn on(&mut self, event: Event) -> Vec<Effect> {
        match (event, std::mem::take(&mut self.work)) {
            (Event::Changed(trigger), work) => self.changed(trigger, work),
            (Event::Known(version), Work::Idle) => {
                self.work = Work::Restoring { version: version.clone(), again: Some(Trigger::Scan) };
                vec![Effect::Build(version)]
            }
            (Event::Read { found, retry }, Work::Reading { again }) => self.read(found, retry, again),
            (Event::Built(outcome), Work::Building { version, again }) => self.built(outcome, version, again),
            (Event::Built(outcome), Work::Restoring { version, again }) => {
                self.restored(outcome, version, again)
            }
            (_, work) => {
                self.work = work;
                Vec::new()
            }
        }
    }

    fn changed(&mut self, trigger: Trigger, work: Work) -> Vec<Effect> {
        let (work, effects) = match work {
            Work::Idle => (Work::Reading { again: None }, vec![Effect::Read(trigger)]),
            Work::Reading { again } => (Work::Reading { again: again.or(Some(trigger)) }, vec![]),
            Work::Building { version, again } => {
                (Work::Building { version, again: again.or(Some(trigger)) }, vec![Effect::Hurry])
            }
            Work::Restoring { version, again } => {
                (Work::Restoring { version, again: again.or(Some(trigger)) }, vec![Effect::Hurry])
            }
        };
        self.work = work;
        effects
    }

    fn read(&mut self, found: Found, retry: bool, again: Option<Trigger>) -> Vec<Effect> {
        let end = match found {
            Found::Gone => {
                self.failed = None;
                Effect::Remove { previous: self.live.take() }
            }
            Found::Invalid(error) => {
                let failed = Failed { version: None, error };
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
            Found::Version(version) if self.has_failed(&version) && !retry => Effect::Unchanged,
            Found::Version(version) => {
                self.work = Work::Building { version: version.clone(), again };
                return vec![Effect::Build(version)];
            }
        };
        self.end(end, again)
    }

    fn built(&mut self, outcome: Outcome, version: Version, again: Option<Trigger>) -> Vec<Effect> {
        let end = match outcome {
            Outcome::Good => {
                self.failed = None;
                let previous = self.live.replace(version.clone());
                Effect::Publish { version, previous }
            }
            Outcome::Bad(error) => self.fail(Failed { version: Some(version), error }),
            Outcome::Superseded => Effect::Superseded,
        };
        self.end(end, again)
    }

    fn restored(&mut self, outcome: Outcome, version: Version, again: Option<Trigger>) -> Vec<Effect> {
        let end = match outcome {
            Outcome::Good => {
                self.live = Some(version.clone());
                Effect::Publish { version, previous: None }
            }
            // What is on the volume now is built next, and tells for itself.
            Outcome::Bad(_) | Outcome::Superseded => Effect::Superseded,
        };
        self.end(end, again)
    }

    fn fail(&mut self, failed: Failed) -> Effect {
        self.failed = Some(failed.clone());
        Effect::Fail(failed)
    }

    fn has_failed(&self, version: &Version) -> bool {
        self.failed.as_ref().is_some_and(|failed| failed.version.as_ref() == Some(version))
    }

    /// Ends the attempt with `effect`, and begins the next if one is wanted.
    fn end(&mut self, effect: Effect, again: Option<Trigger>) -> Vec<Effect> {
        self.work = Work::Idle;
        let mut effects = vec![effect];
        if let Some(trigger) = again {
            self.work = Work::Reading { again: None };
            effects.push(Effect::Read(trigger));
        }
        effects
    }
}

#[cfg(test)]
mod tests {
    use switchyard_bridge::digest::Digest;
    use switchyard_bridge::project::ProjectName;

    use super::*;
    use crate::project::diagnostic;

    fn version(n: u8) -> Version {
        Version::new(&ProjectName::parse("a").unwrap(), Digest::of_files([("main.ts", [n; 32])]))
    }

    fn read(n: u8) -> Event {
        Event::Read { found: Found::Version(version(n)), retry: false }
    }

    fn bad() -> Outcome {
        Outcome::Bad(diagnostic("no"))
    }

    const CHANGED: Event = Event::Changed(Trigger::Watch);
    const READ: Effect = Effect::Read(Trigger::Watch);

    /// Plays `events` and returns what the last one leads to.
    fn play(machine: &mut Machine, events: impl IntoIterator<Item = Event>) -> Vec<Effect> {
        events.into_iter().map(|event| machine.on(event)).last().unwrap()
    }

    fn live(n: u8) -> Machine {
        let mut machine = Machine::default();
        play(&mut machine, [CHANGED, read(n), Event::Built(Outcome::Good)]);
        assert_eq!(machine.live, Some(version(n)));
        machine
    }

    #[test]
    fn a_change_is_read_built_and_published() {
        let mut machine = Machine::default();
        assert_eq!(machine.on(CHANGED), [READ]);
        assert_eq!(machine.on(read(1)), [Effect::Build(version(1))]);
        let publish = Effect::Publish { version: version(1), previous: None };
        assert_eq!(machine.on(Event::Built(Outcome::Good)), [publish]);
        assert_eq!(machine.work, Work::Idle);
    }

    #[test]
    fn the_same_digest_ends_it() {
        let mut machine = live(1);
        assert_eq!(play(&mut machine, [CHANGED, read(1)]), [Effect::Unchanged]);
    }

    #[test]
    fn a_failure_keeps_the_last_good_version() {
        let mut machine = live(1);
        let effects = play(&mut machine, [CHANGED, read(2), Event::Built(bad())]);
        assert!(matches!(&effects[..], [Effect::Fail(failed)] if failed.version == Some(version(2))));
        assert_eq!(machine.live, Some(version(1)));
        assert_eq!(play(&mut machine, [CHANGED, read(2)]), [Effect::Unchanged], "not built again");
        assert_eq!(play(&mut machine, [CHANGED, read(1)]), [Effect::Settle], "put back");
    }

    #[test]
    fn a_failure_is_built_again_when_it_is_worth_it() {
        let mut machine = live(1);
        play(&mut machine, [CHANGED, read(2), Event::Built(bad())]);
        let again = Event::Read { found: Found::Version(version(2)), retry: true };
        assert_eq!(play(&mut machine, [CHANGED, again]), [Effect::Build(version(2))]);
    }

    #[test]
    fn changes_during_a_build_are_one_more_attempt() {
        let mut machine = live(1);
        play(&mut machine, [CHANGED, read(2)]);
        assert_eq!(machine.on(CHANGED), [Effect::Hurry]);
        assert_eq!(machine.on(CHANGED), [Effect::Hurry]);
        let effects = machine.on(Event::Built(Outcome::Good));
        assert_eq!(effects, [Effect::Publish { version: version(2), previous: Some(version(1)) }, READ]);
        assert_eq!(play(&mut machine, [read(2)]), [Effect::Unchanged]);
        assert_eq!(machine.work, Work::Idle);
    }

    #[test]
    fn a_superseded_build_makes_room_for_the_newer_one() {
        let mut machine = live(1);
        play(&mut machine, [CHANGED, read(2), CHANGED]);
        assert_eq!(machine.on(Event::Built(Outcome::Superseded)), [Effect::Superseded, READ]);
        assert_eq!(machine.on(read(3)), [Effect::Build(version(3))]);
    }

    #[test]
    fn a_folder_that_is_gone_takes_its_route_with_it() {
        let mut machine = live(1);
        let gone = Event::Read { found: Found::Gone, retry: false };
        assert_eq!(play(&mut machine, [CHANGED, gone]), [Effect::Remove { previous: Some(version(1)) }]);
        assert!(machine.is_absent());
    }

    #[test]
    fn an_invalid_project_is_told_once() {
        let mut machine = live(1);
        let invalid = Event::Read { found: Found::Invalid(diagnostic("link")), retry: false };
        assert!(matches!(&play(&mut machine, [CHANGED, invalid.clone()])[..], [Effect::Fail(_)]));
        assert_eq!(play(&mut machine, [CHANGED, invalid]), [Effect::Unchanged]);
    }

    #[test]
    fn the_last_good_version_of_an_earlier_run_is_served_before_anything_is_read() {
        let mut machine = Machine::default();
        assert_eq!(machine.on(Event::Known(version(1))), [Effect::Build(version(1))]);
        let effects = machine.on(Event::Built(Outcome::Good));
        let publish = Effect::Publish { version: version(1), previous: None };
        assert_eq!(effects, [publish, Effect::Read(Trigger::Scan)]);
        play(&mut machine, [read(2), Event::Built(bad())]);
        assert_eq!(machine.live, Some(version(1)));
    }
}
