//! The end of attempts and runs: further attempts, the record of the end, and what follows from it.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::sync::oneshot;

use super::active::Phase;
use super::command::Done;
use super::control::Control;
use super::log::log_ended;
use super::writer::Record;
use crate::ledger::StoredRun;
use switchyard_contract::run::{RunError, RunId, RunState};

/// The longest pause before another attempt.
const MAX_BACKOFF: Duration = Duration::from_secs(3600);

impl Control {
    /// Has the state of a run recorded.
    pub(super) fn save(&mut self, stored: StoredRun) {
        self.writer.send(Record::State(Box::new(stored), None));
    }

    /// Has the state of a run recorded. Returns whether it was, once it is known.
    pub(super) fn save_noted(&mut self, stored: StoredRun) -> oneshot::Receiver<bool> {
        let (noted, receiver) = oneshot::channel();
        self.writer.send(Record::State(Box::new(stored), Some(noted)));
        receiver
    }

    /// Takes the end of an attempt: another one follows, or it is the end of the run.
    pub(super) fn attempt_ended(
        &mut self,
        id: RunId,
        state: RunState,
        result: Option<Value>,
        error: Option<RunError>,
    ) {
        let Some(active) = self.active.get_mut(id) else { return };
        if let Some(cancelled) = active.cancelled.clone().filter(|_| state != RunState::Succeeded) {
            return self.end(id, RunState::Cancelled, None, Some(cancelled));
        }
        let may_retry = matches!(state, RunState::Failed | RunState::TimedOut | RunState::Lost);
        let run = active.run();
        if !may_retry || run.attempt >= run.attempts {
            return self.end(id, state, result, error);
        }
        let pause = backoff(active.launch.retry.backoff_ms, run.attempt);
        let at =
            SignedDuration::try_from(pause).ok().and_then(|pause| Timestamp::now().checked_add(pause).ok());
        tracing::info!(
            event = "run.retried",
            run = %id,
            task = %run.task,
            attempt = run.attempt,
            "attempt {} of {} of a run of {} ended ({}): the next one follows in {pause:?}",
            run.attempt,
            run.attempts,
            run.task,
            state.as_str(),
        );
        let router = active.router().cloned();
        let run = active.run_mut();
        let ended = run.attempt;
        run.attempt += 1;
        run.next_attempt_at = at;
        run.error = error;
        self.queue_again(id, Some(pause));
        self.end_if_without_project(id);
        if let Some(router) = router {
            self.work.spawn(async move {
                // A later attempt replaces it there too.
                let _ = router.forget_run(id, ended).await;
                Done::Nothing
            });
        }
    }

    /// Ends a run: what follows from it is begun, and the end is recorded.
    pub(super) fn end(&mut self, id: RunId, state: RunState, result: Option<Value>, error: Option<RunError>) {
        let Some(active) = self.active.get_mut(id).filter(|active| !matches!(active.phase(), Phase::Ending))
        else {
            return;
        };
        let router = active.router().cloned();
        if let Phase::Following { task, .. } | Phase::Making { task, .. } = active.phase() {
            task.abort();
        }
        let run = active.run_mut();
        run.state = state;
        run.ended_at = Some(Timestamp::now());
        run.next_attempt_at = None;
        run.result = result;
        run.error = error.filter(|_| state != RunState::Succeeded);
        let launch = active.launch.clone();
        active.stored.input = launch.clone().ended(state).to_value();
        let stored = active.stored.clone();
        self.active.set_phase(id, Phase::Ending);
        // Before the record: a process that ends in between begins them again, under the same keys.
        self.start_chained(&stored.run, &launch);
        self.step_ended(&stored.run, &launch);
        self.writer.send(Record::End(Box::new(stored), router));
    }

    /// The end of a run is recorded: those who wait for it are answered.
    pub(super) fn ended(&mut self, id: RunId) {
        self.shared.progress.end(id);
        let Some(active) = self.active.remove(id) else { return };
        let run = active.run().clone();
        self.shared.metrics.ended(&run);
        self.shared.traces.run_ended(&run, active.trace);
        log_ended(&run);
        for waiter in active.waiters {
            let _ = waiter.send(run.clone());
        }
        if active.launch.is_daemon {
            self.daemon_ended(&run, Instant::now());
        }
    }
}

/// The pause before the attempt after this one: doubled with each, and never longer than an hour.
fn backoff(first_ms: u64, attempt: u32) -> Duration {
    let factor = 2_u64.saturating_pow(attempt.saturating_sub(1).min(32));
    Duration::from_millis(first_ms.saturating_mul(factor)).min(MAX_BACKOFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_an_hour() {
        let pauses: Vec<_> = (1..=4).map(|attempt| backoff(10_000, attempt).as_secs()).collect();
        assert_eq!(pauses, [10, 20, 40, 80]);
        assert_eq!(backoff(10_000, 20), MAX_BACKOFF);
        assert_eq!(backoff(u64::MAX, u32::MAX), MAX_BACKOFF);
        assert_eq!(backoff(0, 5), Duration::ZERO);
    }
}
