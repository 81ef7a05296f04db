//! A deploy under way as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;

use axum::response::Response;
use axum::response::sse::Event;
use futures_util::{StreamExt as _, stream};
use serde_json::json;

use crate::deploys::Job;
use switchyard_contract::deploy::DeployAnswer;
use switchyard_edge::api::sse::{answer, event};

/// Answers with the steps of `job` as events `phase`, and then with an event `done` that has the
/// answer which the request would have had without events.
pub(super) fn follow(job: Arc<Job>) -> Response {
    let batches = stream::unfold(Some((job, 0)), |state| async move {
        let (job, seen) = state?;
        let (steps, end) = job.next(seen).await;
        let seen = seen + steps.len();
        let mut events: Vec<Event> = steps.iter().map(|step| event("phase", step)).collect();
        let Some(record) = end else { return Some((events, Some((job, seen)))) };
        let body = record.problem.clone().unwrap_or_else(|| json!(record.clone().without_key()));
        events.push(event("done", &DeployAnswer { status: record.status, body }));
        Some((events, None))
    });
    answer(batches.flat_map(stream::iter).map(Ok::<_, Infallible>))
}
