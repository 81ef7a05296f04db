//! Server-sent events: a deploy's phases, the routers' log lines.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, Stream};
use http::StatusCode;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use serde::Serialize;
use serde_json::json;
use tokio::time::timeout;

use super::answer::{Answer, answer};
use crate::deploys::Job;
use switchyard_contract::deploy::DeployAnswer;
use switchyard_edge::fair::FairBody;
use switchyard_program::visible;

/// A comment is sent after so long without an event, so that nothing between takes the connection for dead.
const HEARTBEAT: Duration = Duration::from_secs(15);

const COMMENT: Bytes = Bytes::from_static(b":\n\n");

/// The phases of `job`, then `done` with what would have been its answer.
pub(super) fn follow(job: Arc<Job>) -> Answer {
    let events = stream::unfold(Some((job, 0)), |state| async move {
        let (job, seen) = state?;
        let Ok((steps, end)) = timeout(HEARTBEAT, job.next(seen)).await else {
            return Some((COMMENT, Some((job, seen))));
        };
        let seen = seen + steps.len();
        let mut text: String = steps.iter().map(|step| event("phase", step)).collect();
        let Some(record) = end else { return Some((text.into(), Some((job, seen)))) };
        let body = record.problem.clone().unwrap_or_else(|| json!(record.clone().without_key()));
        text += &event("done", &DeployAnswer { status: record.status, body });
        Some((text.into(), None))
    });
    events_answer(events)
}

/// `events` as they come, and a sign of life between them.
pub(super) fn relay(events: impl Stream<Item = Bytes> + Send + 'static) -> Answer {
    events_answer(stream::unfold(Box::pin(events), |mut events| async move {
        match timeout(HEARTBEAT, events.next()).await {
            Ok(event) => event.map(|event| (event, events)),
            Err(_) => Some((COMMENT, events)),
        }
    }))
}

fn events_answer(events: impl Stream<Item = Bytes> + Send + 'static) -> Answer {
    let frames = Box::pin(events.map(|chunk| Ok::<_, Infallible>(Frame::data(chunk))));
    let body = FairBody::new(StreamBody::new(frames));
    answer(StatusCode::OK, "text/event-stream", body.boxed_unsync())
}

fn event(kind: &str, data: &impl Serialize) -> String {
    let data = serde_json::to_string(data).expect("an event is plain data");
    format!("event: {kind}\ndata: {}\n\n", visible::json(&data))
}
