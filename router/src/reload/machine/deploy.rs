//! A project that a deploy has to itself: held, built when the deploy says so, published or let go.

use switchyard_contract::event::Trigger;

use super::{Course, Effect, Failed, Fate, Found, Machine, Work};
use crate::project::diagnostic;
use crate::version::Version;

/// A deploy has the project to itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Hold {
    /// The first change since, to be looked at when the hold ends.
    pub(super) changed: Option<Trigger>,
    /// What the newest build came to, unless it failed.
    pub(crate) prepared: Option<Prepared>,
}

/// What a deploy can publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Prepared {
    Version(Version),
    /// What is on the volume is live.
    Unchanged,
    /// There is no folder.
    Gone,
}

impl Machine {
    pub(super) fn hold(&mut self, work: Work) -> Vec<Effect> {
        self.work = work;
        if self.hold.is_some() {
            return Vec::new();
        }
        self.hold = Some(Hold::default());
        match self.work {
            Work::Idle => vec![Effect::Held],
            Work::Reading(_) => vec![],
            Work::Building(..) | Work::Restoring(..) => vec![Effect::Hurry],
        }
    }

    /// Begins a build for the deploy; what an earlier one gave is dropped.
    pub(super) fn build(&mut self, work: Work) -> Vec<Effect> {
        self.work = work;
        let Some(hold) = &mut self.hold else { return Vec::new() };
        if self.work != Work::Idle {
            return self.follow(Trigger::Request);
        }
        let built = matches!(hold.prepared.take(), Some(Prepared::Version(_)));
        self.work = Work::Reading(Course { fate: Fate::Keep, again: None });
        let read = Effect::Read(Trigger::Request);
        if built { vec![Effect::Drop, read] } else { vec![read] }
    }

    /// Ends a build of the deploy, unless that has asked for another meanwhile.
    pub(super) fn keep(&mut self, end: Result<Prepared, Failed>, course: Course) -> Vec<Effect> {
        if course.again.is_some() {
            return self.read_again(course.again);
        }
        self.work = Work::Idle;
        if let Some(hold) = &mut self.hold {
            hold.prepared = end.as_ref().ok().cloned();
        }
        vec![Effect::Prepared(end)]
    }

    pub(super) fn read_again(&mut self, again: Option<Trigger>) -> Vec<Effect> {
        self.work = Work::Reading(Course { fate: Fate::Keep, again: None });
        vec![Effect::Drop, Effect::Read(again.unwrap_or(Trigger::Request))]
    }

    pub(super) fn publish(&mut self) -> Vec<Effect> {
        let Some(Hold { changed, prepared: Some(prepared) }) = self.hold.clone() else { return Vec::new() };
        self.hold = None;
        let effect = match prepared {
            Prepared::Version(version) => self.go_live(version),
            Prepared::Unchanged => match self.failed.take() {
                Some(_) => Effect::Settle,
                None => Effect::Unchanged,
            },
            Prepared::Gone => {
                self.failed = None;
                Effect::Remove { previous: self.live.take() }
            }
        };
        self.end(effect, Course { again: changed, ..Course::default() })
    }

    pub(super) fn release(&mut self, mut work: Work) -> Vec<Effect> {
        let Some(hold) = self.hold.take() else {
            self.work = work;
            return Vec::new();
        };
        let look = hold.changed.unwrap_or(Trigger::Scan);
        match &mut work {
            Work::Idle => {
                let built = matches!(hold.prepared, Some(Prepared::Version(_)));
                self.work = Work::Reading(Course::default());
                let read = Effect::Read(look);
                return if built { vec![Effect::Drop, read] } else { vec![read] };
            }
            Work::Reading(course) | Work::Building(_, course) | Work::Restoring(_, course) => {
                if course.fate == Fate::Keep {
                    *course = Course { fate: Fate::Drop, again: None };
                }
            }
        }
        self.work = work;
        self.follow(look)
    }

    pub(super) fn read_for_deploy(&mut self, found: Found, course: Course) -> Vec<Effect> {
        match found {
            Found::Gone => self.keep(Ok(Prepared::Gone), course),
            Found::Invalid(error) => self.keep(Err(Failed::new(None, error)), course),
            Found::Unknown => {
                let error =
                    diagnostic("the projects root (--projects) is missing: mount it, and deploy again");
                self.keep(Err(Failed::new(None, error)), course)
            }
            Found::Version(version) if self.live.as_ref() == Some(&version) => {
                self.keep(Ok(Prepared::Unchanged), course)
            }
            Found::Version(version) | Found::Outdated(version) => self.start(version, course),
        }
    }
}
