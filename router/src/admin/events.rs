//! `GET /events`: the router's events as server-sent events, from `Last-Event-ID` on.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use axum::response::sse;
use futures_util::{StreamExt as _, stream};
use http::HeaderMap;
use switchyard_contract::event::Event;
use switchyard_edge::api::sse::{answer, event_with_id};
use tokio::sync::broadcast::Receiver;

use super::AdminState;

/// Events of all projects, as they happen
///
/// Server-sent events. The first thing is a comment with the router's id.
#[utoipa::path(get, path = "/events", tag = "events",
    params(("last-event-id" = Option<u64>, Header, description = "Replays the events after it")),
    responses(
        (status = 200, description = "The data", body = Event, content_type = "text/event-stream"),
    ),
)]
pub(super) async fn events(State(admin): AdminState, headers: HeaderMap) -> Response {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let (replay, later) = admin.events.follow(last);
    let router = sse::Event::default().comment(format!("router {}", admin.events.router()));
    // Each is written in its turn: a thousand of them are some megabytes.
    let begin = std::iter::once(router).chain(replay.into_iter().map(|event| encode(&event)));
    answer(stream::iter(begin).chain(stream::unfold(later, next)).map(Ok::<_, Infallible>))
}

/// The next event. The stream ends for a client that fell behind: it comes back with its last id,
/// and misses nothing.
async fn next(mut later: Receiver<Arc<Event>>) -> Option<(sse::Event, Receiver<Arc<Event>>)> {
    let event = later.recv().await.ok()?;
    Some((encode(&event), later))
}

fn encode(event: &Event) -> sse::Event {
    event_with_id(event.data.sequence, event.kind.as_str(), event)
}
