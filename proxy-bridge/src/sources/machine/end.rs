//! The ends of a sync: live, held, blocked or failed; who is answered, and when the next one is.

use std::time::Duration;

use super::pace::{MAX_BACKOFF, backoff, spread};
use super::sync::{Sync, Work};
use super::{
    CommitSet, DeployOutcome, Effect, FailedCommit, Fault, Machine, Moment, Outcome, ProblemKind,
    ReadyCommit, RemovalQuestion, SourceEvent, SourceProblem, Timer, Trouble, answer, chain,
};

/// A server that does not answer is reported after so many failures, or after `QUIET`.
const QUIET_FAILURES: u32 = 3;
const QUIET: jiff::SignedDuration = jiff::SignedDuration::from_mins(5);

/// After the sync of a named commit: a push meanwhile may be of another one.
const SOON: Duration = Duration::from_secs(1);

impl From<&SourceProblem> for Fault {
    fn from(problem: &SourceProblem) -> Self {
        Self { kind: problem.kind, detail: problem.detail.clone() }
    }
}

impl<C: Clone + Eq> Machine<C> {
    /// Nothing of what is applied has failed.
    pub(super) fn settle(&mut self) {
        self.failed = None;
        self.attempts = 0;
        let applied = &self.saved.applied;
        self.asks = self.asks.take().filter(|asks| applied.as_ref() == Some(&asks.commit));
    }

    /// The server was reached.
    pub(super) fn recover(&mut self) -> Vec<Effect<C>> {
        let is_emitted = self.trouble.take().is_some_and(|trouble| trouble.is_emitted);
        is_emitted.then_some(Effect::Emit(SourceEvent::Recovered)).into_iter().collect()
    }

    pub(super) fn not_fetched(&mut self, fault: Fault, sync: Sync<C>, at: Moment) -> Vec<Effect<C>> {
        if fault.kind == ProblemKind::Damaged && !sync.is_repaired {
            return self.repair(sync);
        }
        let of_commit = matches!(fault.kind, ProblemKind::BranchGone | ProblemKind::Invalid);
        let commit = sync.goal.commit.clone();
        // A commit that somebody named wrongly is no trouble of the source.
        let mut effects =
            if of_commit && commit.is_some() { Vec::new() } else { self.note_trouble(&fault, at) };
        effects.extend(self.end(sync, Outcome::Failed { commit, fault }, at));
        effects
    }

    fn repair(&mut self, mut sync: Sync<C>) -> Vec<Effect<C>> {
        sync.is_repaired = true;
        let commit = sync.goal.commit.clone();
        self.work = Work::Fetching(sync);
        vec![Effect::Repair, Effect::Fetch { commit }]
    }

    fn note_trouble(&mut self, fault: &Fault, at: Moment) -> Vec<Effect<C>> {
        let Fault { kind, detail } = fault.clone();
        let last = self.trouble.take().filter(|last| last.problem.kind == kind);
        let since = last.as_ref().map_or(at.now, |last| last.problem.since);
        let failures = last.as_ref().map_or(0, |last| last.failures).saturating_add(1);
        let was_emitted = last.is_some_and(|last| last.is_emitted);
        let is_worth_it = kind != ProblemKind::Unreachable
            || failures >= QUIET_FAILURES
            || at.now.duration_since(since) >= QUIET;
        let problem = SourceProblem { kind, since, detail };
        self.trouble = Some(Trouble { problem, failures, is_emitted: was_emitted || is_worth_it });
        let emits = is_worth_it && !was_emitted;
        emits.then(|| Effect::Emit(SourceEvent::Trouble(fault.clone()))).into_iter().collect()
    }

    pub(super) fn not_read(
        &mut self,
        fault: Fault,
        commit: C,
        mut sync: Sync<C>,
        at: Moment,
    ) -> Vec<Effect<C>> {
        if fault.kind == ProblemKind::Damaged && !sync.is_repaired {
            self.reread |= std::mem::take(&mut sync.rereads);
            // Not asked for again by the fetch, the commit may count as known.
            sync.goal.retry = true;
            return self.repair(sync);
        }
        if sync.goal.restore {
            return self.not_restored(commit, fault, sync, at);
        }
        let is_retried = fault.kind.may_pass();
        self.fail(commit, fault, is_retried, sync, at)
    }

    pub(super) fn deployed(
        &mut self,
        outcome: DeployOutcome,
        commit: C,
        set: &CommitSet,
        sync: Sync<C>,
        at: Moment,
    ) -> Vec<Effect<C>> {
        let (kind, detail, is_retried) = match outcome {
            DeployOutcome::Live if sync.goal.restore => return self.restored(commit, sync, at),
            DeployOutcome::Live => return self.go_live(commit, set, sync, at),
            DeployOutcome::Failed(detail) => (ProblemKind::Failed, detail, false),
            DeployOutcome::Superseded(detail)
            | DeployOutcome::Unreachable(detail)
            | DeployOutcome::Refused(detail) => (ProblemKind::Failed, detail, true),
            DeployOutcome::Overridden(detail) => (ProblemKind::Overridden, detail, true),
        };
        let fault = Fault { kind, detail };
        if sync.goal.restore {
            return self.not_restored(commit, fault, sync, at);
        }
        self.fail(commit, fault, is_retried, sync, at)
    }

    fn go_live(&mut self, commit: C, set: &CommitSet, sync: Sync<C>, at: Moment) -> Vec<Effect<C>> {
        let previous = self.saved.applied.replace(commit.clone());
        let is_named = sync.goal.commit.is_some() && self.saved.seen.as_ref() != Some(&commit);
        self.saved.chosen = (is_named && !self.settings.hold).then(|| commit.clone());
        self.ready = None;
        self.settle();
        let synced = SourceEvent::Synced { commit: commit.clone(), previous: previous.clone() };
        let outcome =
            if set.is_empty() { Outcome::Unchanged { commit } } else { Outcome::Live { commit, previous } };
        chain(vec![Effect::Emit(synced), Effect::Prune], self.end(sync, outcome, at))
    }

    pub(super) fn hold(&mut self, ready: ReadyCommit<C>, sync: Sync<C>, at: Moment) -> Vec<Effect<C>> {
        let commit = ready.commit.clone();
        if sync.goal.commit.is_some() {
            // Else the next poll puts the ref's commit in its place.
            self.saved.chosen = (self.saved.seen.as_ref() != Some(&commit)).then(|| commit.clone());
        }
        let is_news = self.ready.as_ref() != Some(&ready);
        self.ready = Some(ready);
        self.failed = None;
        self.attempts = 0;
        let emitted = is_news.then(|| Effect::Emit(SourceEvent::Ready { commit: commit.clone() }));
        chain(emitted.into_iter().collect(), self.end(sync, Outcome::Ready { commit }, at))
    }

    /// Asks for consent, unless the same was asked already.
    pub(super) fn ask(&mut self, question: RemovalQuestion<C>) -> Vec<Effect<C>> {
        let is_news = self.asks.as_ref().is_none_or(|asks| asks.projects != question.projects);
        self.asks = Some(question.clone());
        is_news.then_some(Effect::Emit(SourceEvent::Asks(question))).into_iter().collect()
    }

    pub(super) fn block(
        &mut self,
        question: RemovalQuestion<C>,
        sync: Sync<C>,
        at: Moment,
    ) -> Vec<Effect<C>> {
        let effects = self.ask(question.clone());
        let fault = Fault { kind: ProblemKind::Blocked, detail: question.message.clone() };
        self.note_failed(question.commit.clone(), fault, false, at);
        chain(effects, self.end(sync, Outcome::Blocked(question), at))
    }

    fn fail(&mut self, commit: C, fault: Fault, may_pass: bool, sync: Sync<C>, at: Moment) -> Vec<Effect<C>> {
        // A commit that somebody named is theirs to try again.
        let is_retried = may_pass && sync.goal.commit.is_none();
        let mut effects = Vec::new();
        if self.note_failed(commit.clone(), fault.clone(), is_retried, at) {
            effects.push(Effect::Emit(SourceEvent::Failed { commit: commit.clone(), fault: fault.clone() }));
        }
        if is_retried {
            let delay = match fault.kind {
                // Somebody works in the folder: it may take days, and its end is reported.
                ProblemKind::Overridden => spread(self.settings.poll, at.jitter),
                _ => backoff(self.attempts, at.jitter),
            };
            effects.push(Effect::Arm(Timer::Retry, delay));
        }
        chain(effects, self.end(sync, Outcome::Failed { commit: Some(commit), fault }, at))
    }

    /// Returns true if the failure is another one than before.
    fn note_failed(&mut self, commit: C, fault: Fault, is_retried: bool, at: Moment) -> bool {
        let last = self.failed.take().filter(|last| last.commit == commit);
        self.attempts = if last.is_some() { self.attempts.saturating_add(1) } else { 1 };
        let last = last.map(|last| last.problem).filter(|last| last.kind == fault.kind);
        let is_news = last.as_ref().is_none_or(|last| last.detail != fault.detail);
        let since = last.map_or(at.now, |last| last.since);
        let problem = SourceProblem { kind: fault.kind, since, detail: fault.detail };
        self.failed = Some(FailedCommit { commit, problem, is_retried });
        is_news
    }

    /// Answers who waits for the sync, and begins the next one, if there is one.
    pub(super) fn end(&mut self, sync: Sync<C>, outcome: Outcome<C>, at: Moment) -> Vec<Effect<C>> {
        let is_done =
            matches!(outcome, Outcome::Live { .. } | Outcome::Unchanged { .. } | Outcome::Ready { .. });
        self.reread |= sync.rereads && !is_done;
        let poll = self.next_poll(sync.goal.commit.is_some(), at);
        let mut effects = answer(sync.requests, outcome);
        effects.push(Effect::Arm(Timer::Poll, poll));
        let Some(next) = sync.next else { return effects };
        match self.frozen() {
            Some(reason) if !next.requests.is_empty() => {
                effects.extend(answer(next.requests, Outcome::Frozen(reason)));
            }
            _ if next.expects.is_some() && next.expects == self.saved.seen => {}
            _ => effects.extend(self.begin(next)),
        }
        effects
    }

    fn next_poll(&self, is_named: bool, at: Moment) -> Duration {
        let poll = self.settings.poll;
        let Some(trouble) = &self.trouble else {
            return spread(if is_named { poll.min(SOON) } else { poll }, at.jitter);
        };
        match trouble.problem.kind {
            ProblemKind::Unreachable | ProblemKind::Damaged | ProblemKind::DiskFull => {
                backoff(trouble.failures, at.jitter)
            }
            // Each attempt moves as many bytes as the budget has.
            ProblemKind::TooLarge => spread(poll.max(MAX_BACKOFF), at.jitter),
            _ => spread(poll, at.jitter),
        }
    }
}
