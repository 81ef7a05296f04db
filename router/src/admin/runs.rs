//! `/_runs`: runs of tasks, started, followed and acknowledged by a bridge.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::response::sse::Event;
use futures_util::{StreamExt as _, stream};
use http::StatusCode;
use serde::de::DeserializeOwned;
use switchyard_contract::admin::{CancelRequest, KnownRuns, RunAccepted, RunEvent, RunRequest, StepReply};
use switchyard_contract::bounds;
use switchyard_edge::api::answer::{json, no_content};
use switchyard_edge::api::body::BodyLimits;
use switchyard_edge::api::path::Path;
use switchyard_edge::api::query::{FromQuery, Query, QueryPairs};
use switchyard_edge::api::sse::{answer, event_with_id};
use switchyard_edge::problem::Problem;
use utoipa::IntoParams;

use super::{AdminState, parse_run};
use crate::live::NotRunnable;
use crate::runs::{NoWork, NotAdmitted, NumberedEvent, RunFollower, RunRefusal};

/// The example in the refusal of a run with another content type.
pub(super) const RUN: &str = concat!(
    r#"{"run": "01960000-0000-7000-8000-000000000000", "attempt": 1, "project": "blog", "#,
    r#""work": {"kind": "task", "task": "digest"}, "trigger": "manual"}"#
);

/// The example in the refusal of a cancel with another content type.
pub(super) const CANCEL: &str = r#"{"reason": "cancelled", "grace_ms": 5000}"#;

/// The example in the refusal of an answer to a step with another content type.
pub(super) const STEP: &str = r#"{"attempt": 1, "number": 0, "result": null}"#;

/// The limits on a run's request.
const REQUEST: BodyLimits = BodyLimits { bytes: bounds::RUN_REQUEST, time: Duration::from_secs(30) };

/// The limits on an answer to a step: it has one result.
const REPLY: BodyLimits = BodyLimits { bytes: bounds::JOB_LINE, time: Duration::from_secs(30) };

/// The limits on a cancel.
const SHORT: BodyLimits = BodyLimits { bytes: 4096, time: Duration::from_secs(10) };

/// Seconds after which a bridge tries again while the router has no room.
const BUSY_PAUSE: u32 = 1;

/// The parameters of a run's events.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct EventQuery {
    /// Leaves out the events up to this number.
    #[param(required = false, default = 0)]
    after: u64,
}

impl FromQuery for EventQuery {
    const KEYS: &'static [&'static str] = &["after"];

    fn from_query(pairs: &QueryPairs) -> Result<Self, Problem> {
        Ok(Self { after: pairs.value("after", "the number of an event")?.unwrap_or_default() })
    }
}

/// The parameters of an acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct AcknowledgeQuery {
    /// The attempt whose end is acknowledged.
    attempt: u32,
}

impl FromQuery for AcknowledgeQuery {
    const KEYS: &'static [&'static str] = &["attempt"];

    fn from_query(pairs: &QueryPairs) -> Result<Self, Problem> {
        let attempt = pairs.value("attempt", "the number of an attempt")?;
        let missing =
            || Problem::bad_request("attempt is missing: the one that ended").with("field", "attempt");
        Ok(Self { attempt: attempt.ok_or_else(missing)? })
    }
}

/// Starts a run
///
/// The same run and attempt again is the same run.
#[utoipa::path(post, path = "/_runs", tag = "runs", request_body = RunRequest, responses(
    (status = 202, description = "The run begins", body = RunAccepted),
    (status = 404, description = "unknown-project, unknown-version or unknown-task"),
    (status = 409, description = "attempt: another attempt is known"),
    (status = 422, description = "invalid-params"),
    (status = 503, description = "busy: a limit of runs is reached; stopping"),
))]
pub(super) async fn start_run(State(admin): AdminState, body: Body) -> Result<Response, Problem> {
    let request: RunRequest = read(body, REQUEST, RUN).await?;
    if request.attempt == 0 {
        return Err(Problem::bad_request("invalid attempt 0: the first one is 1").with("field", "attempt"));
    }
    if request.depth > bounds::MAX_STEP_DEPTH {
        let detail = format!("steps of steps are at most {} deep", bounds::MAX_STEP_DEPTH);
        return Err(Problem::bad_request(detail).with("field", "depth"));
    }
    admin.bridge.note().await;
    let accepted = admin.runs.start(request).await?;
    Ok(json(StatusCode::ACCEPTED, &accepted))
}

/// All runs that the router knows
#[utoipa::path(get, path = "/_runs", tag = "runs", responses(
    (status = 200, description = "Runs under way, and ended ones until acknowledged", body = KnownRuns),
))]
pub(super) async fn known_runs(State(admin): AdminState) -> Response {
    admin.bridge.note().await;
    json(StatusCode::OK, &admin.runs.list())
}

/// The events of a run
///
/// Server-sent events: each has its number in the run as its id. The stream ends with the run.
#[utoipa::path(get, path = "/_runs/{id}/events", tag = "runs",
    params(("id" = String, Path, description = "The run"), EventQuery),
    responses(
        (status = 200, description = "Each event", body = RunEvent, content_type = "text/event-stream"),
        (status = 404, description = "unknown-run"),
    ),
)]
pub(super) async fn run_events(
    State(admin): AdminState,
    Path(run): Path<String>,
    Query(EventQuery { after }): Query<EventQuery>,
) -> Result<Response, Problem> {
    let follower = admin.runs.follow(parse_run(&run)?, after).await?;
    let events = stream::unfold(follower, next).flat_map(stream::iter);
    Ok(answer(events.map(Ok::<_, Infallible>)))
}

/// Cancels a run
///
/// The signal of its handler is aborted at once. Its cell is killed after the grace.
#[utoipa::path(post, path = "/_runs/{id}/cancel", tag = "runs", request_body = CancelRequest,
    params(("id" = String, Path, description = "The run")),
    responses(
        (status = 204, description = "It ends, or has ended"),
        (status = 404, description = "unknown-run"),
    ),
)]
pub(super) async fn cancel_run(
    State(admin): AdminState,
    Path(run): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    let run = parse_run(&run)?;
    admin.runs.cancel(run, read(body, SHORT, CANCEL).await?)?;
    Ok(no_content())
}

/// Answers a step of a run
///
/// The same answer again changes nothing.
#[utoipa::path(post, path = "/_runs/{id}/steps", tag = "runs", request_body = StepReply,
    params(("id" = String, Path, description = "The run")),
    responses(
        (status = 204, description = "The step goes on"),
        (status = 404, description = "unknown-run or unknown-step"),
        (status = 409, description = "attempt: another attempt is under way"),
    ),
)]
pub(super) async fn answer_step(
    State(admin): AdminState,
    Path(run): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    let run = parse_run(&run)?;
    admin.runs.reply(run, read(body, REPLY, STEP).await?)?;
    Ok(no_content())
}

/// Acknowledges the end of an attempt of a run
#[utoipa::path(delete, path = "/_runs/{id}", tag = "runs",
    params(("id" = String, Path, description = "The run"), AcknowledgeQuery),
    responses(
        (status = 204, description = "The router forgets it"),
        (status = 404, description = "unknown-run"),
        (status = 409, description = "under-way; attempt: the router has another attempt"),
    ),
)]
pub(super) async fn acknowledge_run(
    State(admin): AdminState,
    Path(run): Path<String>,
    Query(AcknowledgeQuery { attempt }): Query<AcknowledgeQuery>,
) -> Result<Response, Problem> {
    admin.runs.acknowledge(parse_run(&run)?, attempt).await?;
    Ok(no_content())
}

async fn next(mut follower: RunFollower) -> Option<(Vec<Event>, RunFollower)> {
    let events = follower.next().await?;
    Some((events.iter().map(encode).collect(), follower))
}

fn encode(NumberedEvent { number, event }: &NumberedEvent) -> Event {
    let kind = match event {
        RunEvent::Started { .. } => "started",
        RunEvent::Lines { .. } => "lines",
        RunEvent::Step(_) => "step",
        RunEvent::Ended(_) => "ended",
    };
    event_with_id(*number, kind, event)
}

async fn read<T: DeserializeOwned>(body: Body, limits: BodyLimits, example: &str) -> Result<T, Problem> {
    let body = limits.read(body).await?;
    serde_json::from_slice(&body).map_err(|error| {
        // The error may quote the body.
        let error = bounds::cut(error.to_string(), bounds::QUOTED);
        Problem::bad_request(format!("the body is not understood: {error}; send {example}"))
    })
}

impl From<RunRefusal> for Problem {
    fn from(refusal: RunRefusal) -> Self {
        let (status, slug) = match &refusal {
            RunRefusal::UnknownProject(_) => (StatusCode::NOT_FOUND, "unknown-project"),
            RunRefusal::OtherProject(_) | RunRefusal::NotRunnable(_, NotRunnable::UnknownProject) => {
                (StatusCode::NOT_FOUND, "unknown-project")
            }
            RunRefusal::NotRunnable(..) => (StatusCode::NOT_FOUND, "unknown-version"),
            RunRefusal::NoWork(NoWork::InvalidParams(_)) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "invalid-params")
            }
            RunRefusal::NoWork(NoWork::InvalidPath(_)) => (StatusCode::BAD_REQUEST, "bad-request"),
            RunRefusal::NoWork(_) => (StatusCode::NOT_FOUND, "unknown-task"),
            RunRefusal::NotAdmitted(NotAdmitted::Attempt { .. }) | RunRefusal::OtherAttempt { .. } => {
                (StatusCode::CONFLICT, "attempt")
            }
            RunRefusal::NotAdmitted(_) | RunRefusal::Flooded => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            RunRefusal::UnknownRun(_) => (StatusCode::NOT_FOUND, "unknown-run"),
            RunRefusal::UnderWay => (StatusCode::CONFLICT, "under-way"),
            RunRefusal::UnknownStep(_) => (StatusCode::NOT_FOUND, "unknown-step"),
            RunRefusal::Disk(_) => (StatusCode::INTERNAL_SERVER_ERROR, "disk"),
            RunRefusal::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        };
        let problem = Self::new(status, slug, refusal.to_string());
        if slug == "busy" { problem.retry_after(BUSY_PAUSE) } else { problem }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_examples_are_understood() {
        let run: RunRequest = read(Body::from(RUN), REQUEST, RUN).await.unwrap();
        assert_eq!((run.attempt, run.trigger.as_str()), (1, "manual"));
        let cancel: CancelRequest = read(Body::from(CANCEL), SHORT, CANCEL).await.unwrap();
        assert_eq!(cancel.grace_ms, 5000);
        let reply: StepReply = read(Body::from(STEP), REPLY, STEP).await.unwrap();
        assert_eq!(reply.number, 0);
        let problem = read::<StepReply>(Body::from("{}"), REPLY, STEP).await.unwrap_err();
        assert!(problem.detail().contains("send {\"attempt\""), "{}", problem.detail());
    }

    #[test]
    fn a_full_router_says_when_to_try_again() {
        let problem = Problem::from(RunRefusal::NotAdmitted(NotAdmitted::Router { most: 4 }));
        assert_eq!(problem.slug(), "busy");
        let answer = problem.to_response();
        assert_eq!(answer.headers()["retry-after"], "1");
        let problem = Problem::from(RunRefusal::NotAdmitted(NotAdmitted::Attempt { known: 2 }));
        assert_eq!(problem.slug(), "attempt");
    }

    #[test]
    fn a_wrong_id_names_its_field() {
        assert_eq!(parse_run("x").unwrap_err().member("field"), Some("id"));
        let pairs = QueryPairs::parse(Some("after=7"));
        assert_eq!(EventQuery::from_query(&pairs).unwrap(), EventQuery { after: 7 });
    }

    #[test]
    fn an_acknowledgement_has_to_name_its_attempt() {
        let read = |query| AcknowledgeQuery::from_query(&QueryPairs::parse(Some(query)));
        assert_eq!(read("attempt=2").unwrap(), AcknowledgeQuery { attempt: 2 });
        for query in ["", "attempt=x"] {
            assert_eq!(read(query).unwrap_err().member("field"), Some("attempt"));
        }
    }
}
