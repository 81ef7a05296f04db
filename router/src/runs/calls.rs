//! Calls about runs that were started: list, follow, cancel, answer, acknowledge.

use std::io;

use switchyard_contract::admin::{CancelRequest, KnownRuns, StepReply};
use switchyard_contract::run::RunId;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::{ActiveRun, Answer, Phase, RunFollower, RunRefusal, Runs, ToRun};

impl Runs {
    /// All runs that the router knows.
    pub(crate) fn list(&self) -> KnownRuns {
        let state = self.state();
        KnownRuns {
            router: self.0.settings.router.clone(),
            max_runs: state.registry.most(),
            runs: state.registry.list(),
        }
    }

    /// Follows the events of a run after number `after`.
    ///
    /// # Errors
    /// The run is unknown, or its end cannot be read.
    pub(crate) async fn follow(&self, run: RunId, after: u64) -> Result<RunFollower, RunRefusal> {
        let known = self.state().registry.get(run).cloned().ok_or(RunRefusal::UnknownRun(run))?;
        let attempt = known.accepted.attempt;
        match known.phase {
            Phase::Active(active) | Phase::Ended { unsaved: Some(active), .. } => {
                Ok(RunFollower::of(active.recording.clone(), after))
            }
            Phase::Ended { unsaved: None, .. } => {
                let ends = self.0.ends.clone();
                let read = spawn_blocking(move || ends.read(run, attempt)).await;
                let events = read.unwrap_or_else(|panic| Err(io::Error::other(panic)));
                Ok(RunFollower::kept(events.map_err(RunRefusal::Disk)?, after))
            }
        }
    }

    /// Cancels a run. One that has ended stays as it is.
    ///
    /// # Errors
    /// The run is unknown, or has too many orders.
    pub(crate) fn cancel(&self, run: RunId, cancel: CancelRequest) -> Result<(), RunRefusal> {
        let state = self.state();
        match &state.registry.get(run).ok_or(RunRefusal::UnknownRun(run))?.phase {
            Phase::Active(active) => order(active, ToRun::Cancel(cancel)),
            Phase::Ended { .. } => Ok(()),
        }
    }

    /// Passes the answer to a step on. The same answer again changes nothing.
    ///
    /// # Errors
    /// The run or the step is unknown, or the run has too many orders.
    pub(crate) fn reply(&self, run: RunId, reply: StepReply) -> Result<(), RunRefusal> {
        let state = self.state();
        let known = state.registry.get(run).ok_or(RunRefusal::UnknownRun(run))?;
        known.check_attempt(reply.attempt)?;
        let Phase::Active(active) = &known.phase else { return Ok(()) };
        let permit = match active.orders.try_reserve() {
            Ok(permit) => permit,
            Err(mpsc::error::TrySendError::Full(())) => return Err(RunRefusal::Flooded),
            // It is just ending.
            Err(mpsc::error::TrySendError::Closed(())) => return Ok(()),
        };
        if active.recording.answer(reply.number)? == Answer::First {
            permit.send(ToRun::Reply(reply));
        }
        Ok(())
    }

    /// Drops an attempt of a run that has ended, and its file.
    ///
    /// # Errors
    /// The run is unknown or under way, or the router has another attempt of it.
    pub(crate) async fn acknowledge(&self, run: RunId, attempt: u32) -> Result<(), RunRefusal> {
        self.state().registry.acknowledge(run, attempt)?;
        self.remove_file(run, attempt).await;
        Ok(())
    }
}

/// Gives a run an order.
///
/// # Errors
/// It has too many already.
pub(super) fn order(active: &ActiveRun, order: ToRun) -> Result<(), RunRefusal> {
    match active.orders.try_send(order) {
        // A run that takes no more orders is just ending.
        Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
        Err(mpsc::error::TrySendError::Full(_)) => Err(RunRefusal::Flooded),
    }
}
