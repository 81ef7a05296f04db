//! `GET /projects/{name}/logs`: the output of a project's cells, as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use axum::response::sse::Event;
use futures_util::{StreamExt as _, stream};
use serde::Serialize;
use switchyard_contract::admin::LogLine;
use switchyard_edge::api::path::Path;
use switchyard_edge::api::query::{LogQuery, Query};
use switchyard_edge::api::sse::{answer, event};
use switchyard_edge::problem::Problem;
use tokio::time::{Instant, sleep_until};

use super::{AdminState, unknown_project};
use crate::live::{LogBatch, LogReader};

/// The minimum interval between two batches of lines: a project that prints without pause does not
/// make the listener send without pause.
const BATCH_INTERVAL: Duration = Duration::from_millis(50);

/// The data of an event `gap`.
#[derive(Serialize)]
struct Gap {
    /// The number of lines or requests that were dropped before they could be sent to the client.
    lost: u64,
}

/// The last lines that a project printed, and new ones
///
/// Server-sent events: `line` with a line, and `gap` with the number of `lost` lines where the
/// client was too slow.
#[utoipa::path(get, path = "/projects/{name}/logs", tag = "projects",
    params(("name" = String, Path, description = "The project"), LogQuery),
    responses(
        (status = 200, description = "Each line", body = LogLine, content_type = "text/event-stream"),
        (status = 404, description = "unknown-project"),
    ),
)]
pub(super) async fn logs(
    State(admin): AdminState,
    Path(name): Path<String>,
    Query(LogQuery { lines, follow }): Query<LogQuery>,
) -> Result<Response, Problem> {
    let live = admin.live.load().get(&name).and_then(|entry| Some(entry.live.as_ref()?.version.tenant()));
    if let Some(tenant) = live {
        admin.blocking(move |admin| admin.logs.restore(&tenant)).await?;
    }
    let mut reader = admin.logs.read(&name, lines).ok_or_else(|| unknown_project(&name))?;
    let first = stream::iter(encode(&reader.next_batch()));
    let later = stream::unfold((reader, Instant::now()), next).take(if follow { usize::MAX } else { 0 });
    Ok(answer(first.chain(later.flat_map(stream::iter)).map(Ok::<_, Infallible>)))
}

/// The next batch, not before `due`.
async fn next((mut reader, due): (LogReader, Instant)) -> Option<(Vec<Event>, (LogReader, Instant))> {
    if !reader.more().await {
        return None;
    }
    sleep_until(due).await;
    Some((encode(&reader.next_batch()), (reader, Instant::now() + BATCH_INTERVAL)))
}

/// Returns the event about what a client has missed, if that is anything.
pub(super) fn gap(lost: u64) -> Option<Event> {
    (lost > 0).then(|| event("gap", &Gap { lost }))
}

fn encode(batch: &LogBatch) -> Vec<Event> {
    gap(batch.lost).into_iter().chain(batch.lines.iter().map(|line| event("line", line))).collect()
}
