//! The call that starts a run at a router, and the reasons for which the router does not run it.

use std::time::{Duration, Instant};

use http::StatusCode;
use tokio::time::sleep;

use super::follow::LOST_AFTER;
use super::versions::UNKNOWN_VERSION;
use crate::routers::{CallError, Router};
use switchyard_contract::admin::{RunAccepted, RunRequest};
use switchyard_contract::run::RunError;

/// The pause before a router is asked again that did not answer.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// The reason why a router does not run a run.
#[derive(Debug)]
pub(super) enum DispatchError {
    /// The router has as many runs as it takes.
    Busy(String),
    /// The run was not started, and another router may start it.
    NotStarted(String),
    /// The run may have been started, and is not known to go on.
    Lost(String),
    /// The router does not have the version that the run names.
    NoVersion(RunError),
    /// The run cannot be started: it fails.
    Refused(RunError),
}

/// Asks a router to start a run, again while it does not answer: the same call twice is one run.
/// `boot` is the router's process; another one would not know that the run was started before.
pub(super) async fn start(
    router: &Router,
    request: &RunRequest,
    boot: Option<String>,
) -> Result<RunAccepted, DispatchError> {
    let began = Instant::now();
    let mut may_have_started = false;
    loop {
        let error = match router.start_run(request).await {
            Ok(accepted)
                if may_have_started && boot.as_ref().is_some_and(|boot| *boot != accepted.router) =>
            {
                return Err(DispatchError::Lost(format!("the router {} was restarted", router.name())));
            }
            Ok(accepted) => return Ok(accepted),
            Err(error) => error,
        };
        match error {
            CallError::Answered { status, problem } => {
                let error = answered(request, status, &problem);
                let may_go_elsewhere = matches!(error, DispatchError::Busy(_) | DispatchError::NotStarted(_));
                if may_go_elsewhere && may_have_started && !is_process(router, boot.as_deref()).await {
                    return Err(DispatchError::Lost(format!("the router {} was restarted", router.name())));
                }
                return Err(error);
            }
            CallError::NotConnected(why) if !may_have_started => return Err(DispatchError::NotStarted(why)),
            CallError::NotConnected(_)
            | CallError::Unreachable(_)
            | CallError::TimedOut
            | CallError::NotUnderstood(_) => {
                may_have_started = true;
                if began.elapsed() > LOST_AFTER {
                    return Err(DispatchError::Lost(format!(
                        "the router {} does not answer: {error}",
                        router.name()
                    )));
                }
            }
        }
        sleep(ASK_AGAIN).await;
    }
}

/// Returns true if the router is still the process with this id.
async fn is_process(router: &Router, boot: Option<&str>) -> bool {
    router.known_runs().await.is_ok_and(|known| Some(known.router.as_str()) == boot)
}

/// The meaning of a router's refusal.
pub(super) fn answered(
    request: &RunRequest,
    status: StatusCode,
    problem: &serde_json::Value,
) -> DispatchError {
    let detail = problem["detail"].as_str().unwrap_or("no reason").to_owned();
    let kind = problem["type"].as_str().unwrap_or_default();
    let kind = kind.rsplit(':').next().unwrap_or_default();
    match (status, kind) {
        (StatusCode::SERVICE_UNAVAILABLE, "busy") | (StatusCode::TOO_MANY_REQUESTS, _) => {
            DispatchError::Busy(detail)
        }
        (StatusCode::NOT_FOUND, UNKNOWN_VERSION) if request.version.is_some() => {
            DispatchError::NoVersion(RunError::new("version-gone", detail))
        }
        (StatusCode::NOT_FOUND, "unknown-task") => {
            DispatchError::Refused(RunError::new("unknown-task", detail))
        }
        (_, "invalid-params") => DispatchError::Refused(RunError::new("params", detail)),
        (status, _) if status.is_client_error() && status != StatusCode::NOT_FOUND => {
            DispatchError::Refused(RunError::new("router", detail))
        }
        // The project is not there yet, the router stops, or it failed: another one may do.
        _ => DispatchError::NotStarted(detail),
    }
}
