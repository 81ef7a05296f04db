//! The next step of one source: a pure function from a state and an event to a state and effects.
//! No git, no files, no clock.
//!
//! `Idle -> Fetching -> Reading -> Deploying -> Idle`, or `-> Ready` where commits are held until
//! they are published. One sync is under way at most, and one is remembered: a wish that comes
//! meanwhile needs a fetch of its own, since the one under way may be older than the push that it
//! is about. Commits are never queued: the next fetch says which one is the newest.
//!
//! `applied` moves only by a deploy that is live, and a commit is read against what is applied, so
//! what a failed commit in between has changed is part of the next one.

mod end;
mod pace;
mod removal;
mod restore;
mod states;
mod sync;
mod view;

use jiff::Timestamp;

use self::pace::HINT_DELAYS;
use self::removal::{Consent, Removal};
pub use self::states::{
    Changes, CommitSet, DeployOutcome, Effect, Event, FailedCommit, Fault, MachineSettings, Outcome,
    ProblemKind, ReadyCommit, RemovalQuestion, RemovedProjects, RequestId, SavedState, SourceEvent,
    SourceProblem, SyncOptions, Timer, WorkKind,
};
use self::sync::{Goal, Next, Sync, Work};

/// The requests that wait for one sync. More are answered with [`Outcome::Busy`].
pub const MAX_WAITING: usize = 1024;

/// One source. `C` identifies a commit.
#[derive(Debug)]
pub struct Machine<C> {
    settings: MachineSettings,
    saved: SavedState<C>,
    failed: Option<FailedCommit<C>>,
    /// The failures of `failed` in a row.
    attempts: u32,
    trouble: Option<Trouble>,
    asks: Option<RemovalQuestion<C>>,
    ready: Option<ReadyCommit<C>>,
    hint: Option<Hint<C>>,
    closed_until: Option<Timestamp>,
    /// What is applied may differ from what the settings say, even if the commit is the same.
    reread: bool,
    work: Work<C>,
}

/// A fault of fetching that has not passed.
#[derive(Debug)]
struct Trouble {
    problem: SourceProblem,
    failures: u32,
    is_emitted: bool,
}

/// A webhook whose commit the server has not shown yet.
#[derive(Debug)]
struct Hint<C> {
    after: C,
    tries: usize,
}

/// The circumstances of an event.
#[derive(Debug, Clone, Copy)]
struct Moment {
    now: Timestamp,
    jitter: f64,
}

impl<C: Clone + Eq> Machine<C> {
    /// Makes the machine of a source. Its first event is `Event::Due(Timer::Poll)`; the first sync
    /// reads the applied commit again, since the settings may have changed.
    pub fn new(settings: MachineSettings, saved: SavedState<C>) -> Self {
        Self {
            settings,
            saved,
            failed: None,
            attempts: 0,
            trouble: None,
            asks: None,
            ready: None,
            hint: None,
            closed_until: None,
            reread: true,
            work: Work::Idle,
        }
    }

    /// Takes an event and returns what is to be done. `jitter` is a random number in 0..1.
    pub fn on(&mut self, event: Event<C>, now: Timestamp, jitter: f64) -> Vec<Effect<C>> {
        let at = Moment { now, jitter };
        match event {
            Event::Due(timer) => self.due(timer),
            Event::Hinted { after } => self.hinted(after),
            Event::Requested { id, options } => self.requested(id, options),
            Event::Approved { id } => self.approved(id),
            Event::Published { id, commit } => self.published(id, commit),
            Event::Frozen(reason) => {
                self.saved.frozen = Some(reason.clone());
                vec![Effect::Emit(SourceEvent::Frozen(reason))]
            }
            Event::Unfrozen => match self.saved.frozen.take() {
                Some(_) => after(Effect::Emit(SourceEvent::Unfrozen), self.want(Goal::default())),
                None => Vec::new(),
            },
            Event::WindowClosed { until } => {
                self.closed_until = Some(until);
                Vec::new()
            }
            Event::WindowOpened => match self.closed_until.take() {
                Some(_) => self.want(Goal::default()),
                None => Vec::new(),
            },
            Event::Configured(settings) => {
                self.settings = settings;
                self.reread = true;
                self.ready = None;
                self.want(Goal { retry: true, ..Goal::default() })
            }
            Event::Contested => {
                self.reread = true;
                self.want(Goal { retry: true, ..Goal::default() })
            }
            Event::Drifted => self.want(Goal { restore: true, ..Goal::default() }),
            Event::Fetched(_) | Event::Read(_) | Event::Deployed(_) => self.work_ended(event, at),
        }
    }

    fn work_ended(&mut self, event: Event<C>, at: Moment) -> Vec<Effect<C>> {
        match (event, std::mem::replace(&mut self.work, Work::Idle)) {
            (Event::Fetched(Ok(commit)), Work::Fetching(sync)) => self.fetched(commit, sync, at),
            (Event::Fetched(Err(fault)), Work::Fetching(sync)) => self.not_fetched(fault, sync, at),
            (Event::Read(Ok(changes)), Work::Reading(commit, sync)) => self.read(&changes, commit, sync, at),
            (Event::Read(Err(fault)), Work::Reading(commit, sync)) => self.not_read(fault, commit, sync, at),
            (Event::Deployed(outcome), Work::Deploying(commit, set, sync)) => {
                self.deployed(outcome, commit, &set, sync, at)
            }
            (_, work) => {
                debug_assert!(false, "an event that does not fit the state of the source");
                tracing::debug!("an event that does not fit the state of the source is ignored");
                self.work = work;
                Vec::new()
            }
        }
    }

    fn due(&mut self, timer: Timer) -> Vec<Effect<C>> {
        match timer {
            // The end of the sync under way arms the timer again.
            Timer::Poll if self.is_busy() => Vec::new(),
            Timer::Poll => self.want(Goal::default()),
            Timer::Hint => {
                let expects = self.hint.as_ref().map(|hint| hint.after.clone());
                match expects {
                    Some(_) => self.wish(Next { goal: Goal::default(), requests: Vec::new(), expects }),
                    None => Vec::new(),
                }
            }
            Timer::Retry if self.failed.as_ref().is_some_and(|failed| failed.is_retried) => {
                self.want(Goal { retry: true, ..Goal::default() })
            }
            Timer::Retry => Vec::new(),
        }
    }

    fn hinted(&mut self, after: Option<C>) -> Vec<Effect<C>> {
        if let Some(after) = &after {
            self.hint = Some(Hint { after: after.clone(), tries: 0 });
        }
        self.wish(Next { goal: Goal::default(), requests: Vec::new(), expects: after })
    }

    fn requested(&mut self, id: RequestId, options: SyncOptions<C>) -> Vec<Effect<C>> {
        let consent = Consent { any: options.allow_empty, projects: Vec::new() };
        let goal = Goal { commit: options.commit, force: options.force, consent, ..Goal::default() };
        self.wish(Next { goal, requests: vec![id], expects: None })
    }

    fn approved(&mut self, id: RequestId) -> Vec<Effect<C>> {
        let Some(asks) = &self.asks else {
            return vec![Effect::Answer(vec![id], Outcome::NothingToDo)];
        };
        let consent = Consent { any: false, projects: asks.projects.clone() };
        self.wish(Next { goal: Goal { consent, ..Goal::default() }, requests: vec![id], expects: None })
    }

    fn published(&mut self, id: RequestId, commit: Option<C>) -> Vec<Effect<C>> {
        // The commit that is ready now: a newer one may be when the sync begins.
        let Some(commit) = commit.or(self.ready.as_ref().map(|ready| ready.commit.clone())) else {
            return vec![Effect::Answer(vec![id], Outcome::NothingToDo)];
        };
        let goal = Goal { commit: Some(commit), publish: true, ..Goal::default() };
        self.wish(Next { goal, requests: vec![id], expects: None })
    }

    /// Has a sync begin, or follow, that nobody waits for.
    fn want(&mut self, goal: Goal<C>) -> Vec<Effect<C>> {
        self.wish(Next { goal, requests: Vec::new(), expects: None })
    }

    /// Has a sync begin, or follow the one under way.
    fn wish(&mut self, wish: Next<C>) -> Vec<Effect<C>> {
        if let (Some(reason), false) = (self.frozen(), wish.requests.is_empty()) {
            return vec![Effect::Answer(wish.requests, Outcome::Frozen(reason))];
        }
        let Some(sync) = self.work.sync_mut() else {
            return self.begin(wish);
        };
        match &mut sync.next {
            Some(next) if next.requests.len() >= MAX_WAITING && !wish.requests.is_empty() => {
                vec![Effect::Answer(wish.requests, Outcome::Busy)]
            }
            Some(next) => answer(next.merge(wish), Outcome::Superseded),
            None => {
                sync.next = Some(wish);
                Vec::new()
            }
        }
    }

    fn begin(&mut self, mut next: Next<C>) -> Vec<Effect<C>> {
        if next.goal.restore {
            // What is applied now: it may have moved since the wish.
            let Some(applied) = self.applied().cloned() else { return Vec::new() };
            next.goal.commit = Some(applied);
        }
        let commit = next.goal.commit.clone();
        let is_ready = |ready: &&ReadyCommit<C>| commit.as_ref() == Some(&ready.commit);
        if let Some(ready) = self.ready.as_ref().filter(|_| next.goal.publish).filter(is_ready).cloned() {
            return self.deploy(ready.commit, ready.set, next.into());
        }
        self.work = Work::Fetching(next.into());
        vec![Effect::Fetch { commit }]
    }

    fn fetched(&mut self, shown: C, mut sync: Sync<C>, at: Moment) -> Vec<Effect<C>> {
        if sync.goal.restore {
            return self.fetched_to_restore(shown, sync, at);
        }
        let mut effects = self.recover();
        let mut commit = shown;
        if sync.goal.commit.is_none() {
            effects.extend(self.see(&commit, !sync.requests.is_empty()));
            commit = self.saved.chosen.clone().unwrap_or(commit);
        }
        if let Some(reason) = self.frozen() {
            return chain(effects, self.end(sync, Outcome::Frozen(reason), at));
        }
        let is_failed = self.failed.as_ref().is_some_and(|failed| failed.commit == commit);
        if let Some(failed) = self.failed.as_ref().filter(|_| is_failed)
            && sync.requests.is_empty()
            && !sync.goal.retry
        {
            let outcome = Outcome::Failed { commit: Some(commit), fault: Fault::from(&failed.problem) };
            return chain(effects, self.end(sync, outcome, at));
        }
        let is_answer = self.asks.is_some() && sync.goal.consent != Consent::default();
        if !(sync.goal.force || self.reread || is_failed || is_answer) {
            if self.applied() == Some(&commit) {
                self.settle();
                self.ready = None;
                return chain(effects, self.end(sync, Outcome::Unchanged { commit }, at));
            }
            if let Some(ready) = self.ready.clone().filter(|ready| ready.commit == commit) {
                return chain(
                    effects,
                    match sync.goal.publish {
                        true => self.deploy(ready.commit, ready.set, sync),
                        false => self.end(sync, Outcome::Ready { commit }, at),
                    },
                );
            }
        }
        sync.rereads = std::mem::take(&mut self.reread);
        let prove = self.settings.hold && !sync.goal.publish;
        self.work = Work::Reading(commit.clone(), sync);
        chain(effects, vec![Effect::Read { commit, prove }])
    }

    /// Notes the commit that the server shows for the ref.
    fn see(&mut self, commit: &C, is_requested: bool) -> Vec<Effect<C>> {
        let has_moved = self.saved.seen.as_ref() != Some(commit);
        if has_moved || is_requested {
            self.saved.chosen = None;
        }
        self.saved.seen = Some(commit.clone());
        let Some(hint) = self.hint.as_mut().filter(|hint| hint.after != *commit) else {
            self.hint = None;
            return Vec::new();
        };
        let delay = HINT_DELAYS.get(hint.tries).copied();
        hint.tries += 1;
        if delay.is_none() {
            self.hint = None;
        }
        delay.map(|delay| Effect::Arm(Timer::Hint, delay)).into_iter().collect()
    }

    fn read(&mut self, changes: &Changes, commit: C, sync: Sync<C>, at: Moment) -> Vec<Effect<C>> {
        if sync.goal.restore {
            return self.read_to_restore(changes, commit, sync, at);
        }
        if let Some(reason) = self.frozen() {
            return self.end(sync, Outcome::Frozen(reason), at);
        }
        let MachineSettings { name, removed, .. } = &self.settings;
        let (removal, effects) =
            match removal::decide(name, commit.clone(), changes, *removed, &sync.goal.consent) {
                Removal::Granted(removal) => {
                    self.asks = None;
                    (removal, Vec::new())
                }
                Removal::Asks(question) => (Vec::new(), self.ask(question)),
                Removal::Blocked(question) => return self.block(question, sync, at),
            };
        let unchanged = changes.unchanged.iter().filter(|_| sync.goal.force);
        let projects = changes.added.iter().chain(&changes.changed).chain(unchanged).cloned().collect();
        let set = CommitSet { projects, removal };
        if set.is_empty() && self.applied() == Some(&commit) {
            self.settle();
            return chain(effects, self.end(sync, Outcome::Unchanged { commit }, at));
        }
        if self.settings.hold && !sync.goal.publish && !set.is_empty() {
            return chain(effects, self.hold(ReadyCommit { commit, set }, sync, at));
        }
        chain(effects, self.deploy(commit, set, sync))
    }

    fn deploy(&mut self, commit: C, set: CommitSet, sync: Sync<C>) -> Vec<Effect<C>> {
        self.work = Work::Deploying(commit.clone(), set.clone(), sync);
        vec![Effect::Deploy { commit, set }]
    }
}

fn answer<C>(requests: Vec<RequestId>, outcome: Outcome<C>) -> Vec<Effect<C>> {
    if requests.is_empty() { Vec::new() } else { vec![Effect::Answer(requests, outcome)] }
}

fn after<C>(first: Effect<C>, rest: Vec<Effect<C>>) -> Vec<Effect<C>> {
    chain(vec![first], rest)
}

fn chain<C>(mut first: Vec<Effect<C>>, rest: Vec<Effect<C>>) -> Vec<Effect<C>> {
    first.extend(rest);
    first
}

#[cfg(test)]
mod tests;
