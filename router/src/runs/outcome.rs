//! The end of a run from what its cell said and how the cell ended. Pure.

use std::time::Duration;

use serde_json::Value;
use switchyard_contract::bounds::{self, cut};
use switchyard_contract::event::DeathReason;
use switchyard_contract::run::{RunError, RunState};

use super::StepRefused;
use crate::cells::{Exit, StartError};

/// Bytes of the word in an error that a cell reports.
const REASON: usize = 64;

/// The reason with which a stopping router ends its runs, which are lost then.
pub(super) const ROUTER: &str = "router";

/// The result of the handler, as the cell reports it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum HandlerResult {
    Returned(Value),
    Threw(RunError),
}

/// The reason why the router ended a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stopped {
    /// It took longer than this.
    Timeout(Duration),
    /// For this reason: `cancelled`, `replaced`, `new-code`, `router`.
    Cancelled(String),
    Steps(StepRefused),
}

/// The state of an attempt at its end, its result, and its error.
pub(super) type Outcome = (RunState, Option<Value>, Option<RunError>);

/// The outcome of an attempt whose cell has ended. What the handler said before the router ended it
/// holds; `stopped` is the reason if it said nothing by then.
pub(super) fn of_exit(
    said: Option<HandlerResult>,
    stopped: Option<Stopped>,
    exit: &Exit,
    max_result: u64,
) -> Outcome {
    match (stopped, said) {
        (Some(stopped), _) => of_stop(stopped),
        (None, Some(HandlerResult::Returned(result))) => of_result(result, max_result),
        (None, Some(HandlerResult::Threw(error))) => failed(bounded(error)),
        (None, None) => failed(of_death(exit)),
    }
}

/// The outcome of an attempt that the router has ended.
pub(super) fn of_stop(stopped: Stopped) -> Outcome {
    match stopped {
        Stopped::Timeout(limit) => {
            let message = format!(
                "it took longer than {limit:?}: do less at once, or raise the task's timeout or limits.run_time"
            );
            (RunState::TimedOut, None, Some(RunError::new("timeout", message)))
        }
        // Nobody's wish: the run may be tried again.
        Stopped::Cancelled(reason) if reason == ROUTER => {
            (RunState::Lost, None, Some(RunError::new(ROUTER, "its router stopped")))
        }
        Stopped::Cancelled(reason) => {
            let message = match reason.as_str() {
                "replaced" => "a later run replaced it",
                "new-code" => "its project has new code",
                _ => "it was cancelled",
            };
            (RunState::Cancelled, None, Some(RunError::new(&cut(reason, REASON), message)))
        }
        Stopped::Steps(refused) => failed(RunError::new("steps", refused.to_string())),
    }
}

/// The outcome of an attempt whose cell could not be started.
pub(super) fn of_start(error: StartError) -> Outcome {
    failed(match error {
        StartError::Failed(diagnostic) | StartError::Missing(diagnostic) => {
            let diagnostic = diagnostic.bounded();
            let message = diagnostic.message.clone();
            RunError { reason: "build".into(), message, diagnostic: Some(diagnostic) }
        }
        StartError::NoProcess(error) => RunError::new(
            ROUTER,
            cut(format!("the router could not make a process: {error:#}"), bounds::QUOTED),
        ),
        StartError::TimedOut(limit) => {
            let limit = limit.as_millis();
            let message = format!(
                "its module was not loaded within {limit} ms (--build-timeout): its top level never \
                 ends"
            );
            RunError::new("build", message)
        }
    })
}

/// The outcome of a handler of `Deno.cron`, which ran in a cell that serves.
pub(super) fn of_cron(ended: Result<bool, RunError>) -> Outcome {
    match ended {
        Ok(true) => (RunState::Succeeded, Some(Value::Null), None),
        Ok(false) => failed(RunError::new("threw", "the handler threw: the log has its error")),
        Err(error) => failed(bounded(error)),
    }
}

fn of_result(result: Value, most: u64) -> Outcome {
    // The cell has checked it, but may be under the control of its project.
    let bytes = serde_json::to_vec(&result).map_or(0, |json| json.len() as u64);
    if bytes > most {
        let message = format!(
            "the result has {bytes} bytes as JSON, and {most} are allowed: write it to a file in DATA_DIR \
             and return its name, or raise limits.run_result"
        );
        return failed(RunError::new("result", message));
    }
    (RunState::Succeeded, Some(result), None)
}

/// The error of a cell that ended before its handler did.
fn of_death(exit: &Exit) -> RunError {
    let death = exit.death(0, None);
    let (reason, hint) = match death.reason {
        DeathReason::Exit => ("exit", ": remove Deno.exit or process.exit, or return before it"),
        DeathReason::Memory => ("memory", ": hold less at once, or raise limits.memory"),
        DeathReason::EventLoop => {
            ("event-loop", ": await between parts of the work, or raise limits.event_loop")
        }
        DeathReason::Disk | DeathReason::Signal | DeathReason::Abort => (death.reason.as_str(), ""),
        DeathReason::Unhealthy | DeathReason::Load | DeathReason::Unknown => (ROUTER, ""),
    };
    let mut message = format!("its process ended before its handler did: {}{hint}", death.message);
    for line in &exit.last_words {
        message.push('\n');
        message.push_str(line);
    }
    RunError::new(reason, cut(message, bounds::DEATH_MESSAGE))
}

fn bounded(error: RunError) -> RunError {
    RunError {
        reason: cut(error.reason, REASON),
        message: cut(error.message, bounds::DIAGNOSTIC_MESSAGE),
        diagnostic: error.diagnostic.map(switchyard_contract::event::Diagnostic::bounded),
    }
}

fn failed(error: RunError) -> Outcome {
    (RunState::Failed, None, Some(error))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use switchyard_contract::event::Diagnostic;
    use switchyard_protocol::Limit;

    use super::*;
    use crate::cells::ExitReason;

    fn exit(reason: ExitReason) -> Exit {
        Exit { reason, last_words: vec!["last words".into()] }
    }

    fn reason((state, result, error): Outcome) -> (RunState, String) {
        assert_eq!(result, None);
        (state, error.unwrap().reason)
    }

    #[test]
    fn each_end_of_a_cell_has_its_reason() {
        for (ended, expected) in [
            (ExitReason::Code(0), "exit"),
            (ExitReason::Code(3), "exit"),
            (ExitReason::Signal(9), "signal"),
            (ExitReason::Abort(6, "panicked".into()), "abort"),
            (ExitReason::Limit(Limit::Memory), "memory"),
            (ExitReason::Limit(Limit::EventLoop), "event-loop"),
            (ExitReason::Limit(Limit::Disk), "disk"),
            (ExitReason::Unknown, "router"),
        ] {
            let outcome = of_exit(None, None, &exit(ended), 100);
            let text = outcome.2.clone().unwrap().message;
            assert!(text.contains("last words"), "{text}");
            assert_eq!(reason(outcome), (RunState::Failed, expected.to_owned()));
        }
    }

    #[test]
    fn what_the_handler_said_holds_unless_the_router_had_ended_it() {
        let said = || Some(HandlerResult::Returned(json!({ "sent": 3 })));
        let exit = exit(ExitReason::Code(0));
        let succeeded = (RunState::Succeeded, Some(json!({ "sent": 3 })), None);
        assert_eq!(of_exit(said(), None, &exit, 100), succeeded);
        let stopped = Some(Stopped::Cancelled(ROUTER.into()));
        assert_eq!(reason(of_exit(said(), stopped, &exit, 100)), (RunState::Lost, ROUTER.into()));
        let stopped = Some(Stopped::Cancelled("replaced".into()));
        assert_eq!(reason(of_exit(said(), stopped, &exit, 100)), (RunState::Cancelled, "replaced".into()));
        let stopped = Some(Stopped::Timeout(Duration::from_secs(1)));
        assert_eq!(reason(of_exit(None, stopped, &exit, 100)), (RunState::TimedOut, "timeout".into()));
        let stopped = Some(Stopped::Steps(StepRefused::TooMany));
        assert_eq!(reason(of_exit(None, stopped, &exit, 100)), (RunState::Failed, "steps".into()));
    }

    #[test]
    fn a_result_beyond_the_limit_fails_the_run() {
        let said = |result: &str| Some(HandlerResult::Returned(json!(result)));
        let ended = exit(ExitReason::Code(0));
        assert_eq!(of_exit(said("12345678"), None, &ended, 10).0, RunState::Succeeded);
        assert_eq!(reason(of_exit(said("123456789"), None, &ended, 10)), (RunState::Failed, "result".into()));
    }

    #[test]
    fn an_error_that_a_cell_reports_is_bounded() {
        let diagnostic = Diagnostic { message: "x".repeat(1 << 20), ..Diagnostic::default() };
        let error = RunError {
            reason: "y".repeat(1 << 20),
            message: "z".repeat(1 << 20),
            diagnostic: Some(diagnostic.clone()),
        };
        let outcome = of_exit(Some(HandlerResult::Threw(error)), None, &exit(ExitReason::Code(1)), 10);
        assert!(serde_json::to_string(&outcome.2).unwrap().len() < bounds::CONTROL_LINE);
        let error = of_start(StartError::Failed(diagnostic)).2.unwrap();
        assert!(error.reason == "build" && error.message.len() <= bounds::DIAGNOSTIC_MESSAGE);
    }
}
