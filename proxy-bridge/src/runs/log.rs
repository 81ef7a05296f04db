//! The log lines about starts and ends of runs.

use switchyard_contract::run::{Run, RunState};

/// Logs the event `run.started`.
pub(super) fn log_started(run: &Run) {
    let (task, version) = (&run.task, run.version.as_ref());
    tracing::info!(
        event = "run.started",
        run = %run.id,
        task = %task,
        trigger = run.trigger.as_str(),
        attempt = run.attempt,
        version = version.map(|version| version.name.as_str()),
        commit = version.and_then(|version| version.commit.as_ref()).map(|commit| commit.commit.as_str()),
        "a run of {task} has started"
    );
}

/// Logs the event `run.finished`, or `run.lost`.
pub(super) fn log_ended(run: &Run) {
    let (task, state) = (&run.task, run.state.as_str());
    let event = if run.state == RunState::Lost { "run.lost" } else { "run.finished" };
    let error = run.error.as_ref();
    tracing::info!(
        event,
        run = %run.id,
        task = %task,
        state,
        reason = error.map(|error| error.reason.as_str()),
        error = error.map(|error| error.message.as_str()),
        "a run of {task} has ended: {state}"
    );
}
