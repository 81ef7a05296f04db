//! Runs that an earlier process of the bridge left: queued ones are started, and those at routers are
//! followed to their end.

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::Arc;

use tokio::time::timeout;

use super::active::Phase;
use super::command::Done;
use super::control::Control;
use super::follow::LOST_AFTER;
use super::launch::Launch;
use crate::ledger::{LedgerError, StoredRun};
use crate::routers::{Router, Routers};
use switchyard_contract::admin::{CancelRequest, KnownRuns};
use switchyard_contract::run::{RunError, RunId, RunLine, RunState};

/// Lines of a log that are read at once.
const LINES: usize = 1_000;

impl Control {
    /// Takes over the runs that have not ended, the oldest first.
    ///
    /// # Errors
    /// The log of a run cannot be read.
    pub(super) async fn take_over(&mut self, open: Vec<StoredRun>) -> Result<(), LedgerError> {
        for stored in open {
            let id = stored.run.id;
            let Some(mut launch) = Launch::read(&stored.input) else {
                self.insert(stored, Launch::default(), Phase::Queued { not_before: None });
                let error = RunError::new("history", "the record of the run cannot be read");
                self.end(id, RunState::Failed, None, Some(error));
                continue;
            };
            launch.incarnation.get_or_insert_default();
            let at_router = stored.run.router.clone().filter(|_| stored.run.state != RunState::Queued);
            let Some(name) = at_router else {
                self.insert(stored, launch, Phase::Queued { not_before: None });
                continue;
            };
            let next_line = self.next_line(id, stored.run.attempt).await?;
            self.next_lines.insert(id, next_line);
            // Not to be started: a router may have it.
            self.insert(stored, launch, Phase::Accepting(None));
            if let Some(active) = self.active.get_mut(id) {
                active.is_taken_over = true;
            }
            let routers = self.shared.routers.clone();
            self.work.spawn(async move {
                let router = find_router(&routers, &name).await;
                Done::RouterFound(id, name, router)
            });
        }
        Ok(())
    }

    /// Follows a run that a router has, or was asked to start.
    pub(super) fn router_found(&mut self, id: RunId, name: &str, router: Option<Arc<Router>>) {
        let next_line = self.next_lines.remove(&id).unwrap_or_default();
        match router {
            Some(router) => self.follow(id, router, next_line),
            None => {
                let why = format!("its router {name} is not one of the routers any more");
                self.attempt_ended(id, RunState::Lost, None, Some(RunError::new("lost", why)));
            }
        }
        self.apply_cancellation(id);
    }

    /// The number after that of the last line of an attempt that is in the log.
    async fn next_line(&self, id: RunId, attempt: u32) -> Result<u64, LedgerError> {
        let (mut from, mut next_line) = (0, 0);
        loop {
            let lines = self.shared.ledger.log(id, from, LINES).await?;
            if lines.is_empty() {
                return Ok(next_line);
            }
            from += lines.iter().map(RunLine::count).sum::<u64>();
            let of_attempt = lines.iter().filter(|line| line.attempt == attempt).map(|line| line.n + 1);
            next_line = of_attempt.max().unwrap_or(next_line).max(next_line);
        }
    }

    /// Ends runs at routers that are not under way by the ledger: those that were taken for lost.
    pub(super) fn routers_changed(&mut self) {
        let list = self.shared.routers.list();
        let ready: Vec<_> = list.iter().filter(|router| router.is_ready()).collect();
        self.end_runs_without_project();
        let processes: BTreeSet<_> = ready.iter().filter_map(|router| router.process_id()).collect();
        self.compared.retain(|process| processes.contains(process));
        for router in ready {
            let Some(process) = router.process_id() else { continue };
            if self.compared.insert(process) {
                let router = router.clone();
                self.work.spawn(async move {
                    let known = router.known_runs().await;
                    Done::Known(router, known)
                });
            }
        }
    }

    /// Compares the runs that a router knows with those under way.
    pub(super) fn compare(&mut self, router: Arc<Router>, known: Vec<(RunId, u32, bool)>) {
        for (id, attempt, ended) in known {
            let is_ours = self
                .active
                .get(id)
                .is_some_and(|active| active.run().attempt == attempt && active.is_at(&router));
            if is_ours || self.reads.has(id) {
                continue;
            }
            tracing::info!(run = %id, router = router.name(), "a run at a router is not under way any more: it is ended");
            self.release(&router, id, attempt, ended);
        }
    }

    /// Has a router end a run, unless it has ended, and forget it.
    fn release(&mut self, router: &Arc<Router>, id: RunId, attempt: u32, ended: bool) {
        let router = router.clone();
        self.work.spawn(async move {
            let cancel = CancelRequest { reason: "lost".to_owned(), grace_ms: 0 };
            if !ended {
                let _ = router.cancel_run(id, &cancel).await;
            }
            let _ = router.forget_run(id, attempt).await;
            Done::Nothing
        });
    }

    /// Asks the routers for the runs that they keep.
    pub(super) fn look_for_ended(&mut self) {
        for router in self.shared.routers.list().iter().filter(|router| router.is_ready()).cloned() {
            self.work.spawn(async move {
                // A router that does not answer is asked again next time.
                router.known_runs().await.map_or(Done::Nothing, |known| Done::StillKnown(router, known))
            });
        }
    }

    /// Has a router forget the ended runs that are not under way: their end is recorded, and a bridge
    /// that was killed has not said so.
    pub(super) fn forget_ended(&mut self, router: &Arc<Router>, known: &KnownRuns) {
        for known in known.runs.iter().filter(|known| known.ended) {
            if self.active.get(known.run).is_none() && !self.reads.has(known.run) {
                self.release(router, known.run, known.attempt, known.ended);
            }
        }
    }
}

/// Waits until the process of the router of this name is known: whether it is the one that was asked
/// decides what it means that it does not know a run. Returns the router also if it does not answer.
async fn find_router(routers: &Routers, name: &str) -> Option<Arc<Router>> {
    let find = || routers.list().iter().find(|router| router.name() == name).cloned();
    let mut changed = routers.changed();
    let known = async {
        loop {
            if let Some(router) = find().filter(|router| router.process_id().is_some()) {
                return router;
            }
            if changed.changed().await.is_err() {
                return pending().await;
            }
        }
    };
    timeout(LOST_AFTER, known).await.ok().or_else(find)
}
