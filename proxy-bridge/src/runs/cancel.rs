//! Cancellations: as far as the phase of a run allows it now, or as soon as it does.

use std::time::Duration;

use http::StatusCode;

use super::active::Phase;
use super::command::Done;
use super::control::Control;
use switchyard_contract::admin::CancelRequest;
use switchyard_contract::run::{Run, RunError, RunId, RunState};
use switchyard_edge::problem::Problem;

/// The time that a handler has between its signal and the end of its cell.
const CANCEL_GRACE: Duration = Duration::from_secs(5);

impl Control {
    /// Cancels a run because of a later one.
    pub(super) fn replace(&mut self, id: RunId, by: RunId) {
        let error = RunError::new("replaced", format!("a later run of the task took its place: {by}"));
        // The run may have ended meanwhile.
        let _ = self.cancel(id, error);
    }

    /// Has a run end. Returns it as it is now.
    pub(super) fn cancel(&mut self, id: RunId, error: RunError) -> Result<Run, Problem> {
        let Some(active) = self.active.get_mut(id).filter(|active| !matches!(active.phase(), Phase::Ending))
        else {
            return Err(not_under_way(id));
        };
        active.cancelled.get_or_insert(error);
        let run = active.run().clone();
        self.apply_cancellation(id);
        Ok(run)
    }

    /// Carries out the cancellation of a run, as far as its phase allows it now.
    pub(super) fn apply_cancellation(&mut self, id: RunId) {
        let Some(active) = self.active.get(id) else { return };
        let Some(error) = active.cancelled.clone() else { return };
        match active.phase() {
            // No router has it.
            Phase::Queued { .. } | Phase::Making { .. } => {
                self.end(id, RunState::Cancelled, None, Some(error))
            }
            Phase::Orchestrating => {
                let steps = self.active.steps_of(id);
                let is_done = steps.is_empty();
                for step in steps {
                    let _ = self.cancel(step, error.clone());
                }
                if is_done {
                    self.end(id, RunState::Cancelled, None, Some(error));
                }
            }
            Phase::Following { router, .. } => {
                let (router, reason) = (router.clone(), error.reason);
                let grace_ms = u64::try_from(CANCEL_GRACE.as_millis()).unwrap_or(u64::MAX);
                self.work.spawn(async move {
                    // A router that does not answer is noticed by the run's follower.
                    if let Err(error) = router.cancel_run(id, &CancelRequest { reason, grace_ms }).await {
                        tracing::debug!(run = %id, "a run is not cancelled: {error}");
                    }
                    Done::Nothing
                });
            }
            // Applied when the answer is there.
            Phase::Accepting(_) | Phase::Dispatching(_) | Phase::Ending => {}
        }
    }
}

fn not_under_way(id: RunId) -> Problem {
    Problem::new(StatusCode::CONFLICT, "ended", format!("the run {id} has ended"))
}
