//! Putting back what is applied, where the volume has drifted from it. The ref's newest commit has no
//! part in it: it may have failed, or wait to be published.

use super::sync::{Sync, Work};
use super::{Changes, CommitSet, Effect, Fault, Machine, Moment, Outcome, SourceEvent, chain};

impl<C: Clone + Eq> Machine<C> {
    pub(super) fn fetched_to_restore(&mut self, commit: C, sync: Sync<C>, at: Moment) -> Vec<Effect<C>> {
        if let Some(reason) = self.frozen() {
            return self.end(sync, Outcome::Frozen(reason), at);
        }
        self.work = Work::Reading(commit.clone(), sync);
        vec![Effect::Read { commit, prove: false }]
    }

    pub(super) fn read_to_restore(
        &mut self,
        changes: &Changes,
        commit: C,
        sync: Sync<C>,
        at: Moment,
    ) -> Vec<Effect<C>> {
        if let Some(reason) = self.frozen() {
            return self.end(sync, Outcome::Frozen(reason), at);
        }
        let set = CommitSet { projects: changes.changed.clone(), removal: Vec::new() };
        if set.is_empty() {
            return self.end(sync, Outcome::Unchanged { commit }, at);
        }
        self.deploy(commit, set, sync)
    }

    pub(super) fn restored(&mut self, commit: C, sync: Sync<C>, at: Moment) -> Vec<Effect<C>> {
        let previous = Some(commit.clone());
        let synced = SourceEvent::Synced { commit: commit.clone(), previous: previous.clone() };
        chain(vec![Effect::Emit(synced)], self.end(sync, Outcome::Live { commit, previous }, at))
    }

    /// The drift stays, and is put back later. Nothing is said about the ref's newest commit.
    pub(super) fn not_restored(
        &mut self,
        commit: C,
        fault: Fault,
        sync: Sync<C>,
        at: Moment,
    ) -> Vec<Effect<C>> {
        let failed = SourceEvent::Failed { commit: commit.clone(), fault: fault.clone() };
        let outcome = Outcome::Failed { commit: Some(commit), fault };
        chain(vec![Effect::Emit(failed)], self.end(sync, outcome, at))
    }
}
