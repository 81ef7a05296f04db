//! `GET /events`: the router's events as server-sent events, from `Last-Event-ID` on.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use axum::response::sse;
use futures_util::{StreamExt as _, stream};
use http::HeaderMap;
use switchyard_contract::admin::STATUSES_CHANGED;
use switchyard_contract::event::Event;
use switchyard_edge::api::sse::{answer, event_with_id};
use tokio::sync::{broadcast, watch};

use super::AdminState;

/// Events of all projects, as they happen
///
/// Server-sent events. The first thing is a comment with the router's id. A comment `statuses` comes
/// when `GET /projects` has changed in a way that no event reports.
#[utoipa::path(get, path = "/events", tag = "events",
    params(("last-event-id" = Option<u64>, Header, description = "Replays the events after it")),
    responses(
        (status = 200, description = "The data", body = Event, content_type = "text/event-stream"),
    ),
)]
pub(super) async fn events(State(admin): AdminState, headers: HeaderMap) -> Response {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let (replay, later) = admin.events.follow(last);
    let later = (later, admin.events.follow_statuses());
    let router = sse::Event::default().comment(format!("router {}", admin.events.router()));
    // Each is written in its turn: a thousand of them are some megabytes.
    let begin = std::iter::once(router).chain(replay.into_iter().map(|event| encode(&event)));
    answer(stream::iter(begin).chain(stream::unfold(later, next)).map(Ok::<_, Infallible>))
}

/// The receivers of events, and of changes that no event reports.
type Later = (broadcast::Receiver<Arc<Event>>, watch::Receiver<()>);

/// The next event, or the notice of a change. The stream ends for a client that fell behind: it comes
/// back with its last id, and misses nothing.
async fn next((mut events, mut statuses): Later) -> Option<(sse::Event, Later)> {
    let next = tokio::select! {
        event = events.recv() => encode(&*event.ok()?),
        Ok(()) = statuses.changed() => sse::Event::default().comment(STATUSES_CHANGED),
    };
    Some((next, (events, statuses)))
}

fn encode(event: &Event) -> sse::Event {
    event_with_id(event.data.sequence, event.kind.as_str(), event)
}
