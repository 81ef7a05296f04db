//! Answers of server-sent events, kept alive by comments.

use std::time::Duration;

use axum::BoxError;
use axum::body::Body;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::Stream;
use http::HeaderValue;
use http::header::CACHE_CONTROL;
use serde::Serialize;
use switchyard_contract::visible;

use crate::fair::FairBody;

/// The time without an event after which a comment is sent: it shows that the client is gone, and
/// keeps proxies from taking the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// An event with JSON data, in which characters that a terminal would obey are escaped.
pub fn event(kind: &str, data: &impl Serialize) -> Event {
    with_data(Event::default(), kind, data)
}

/// An event that a client can name when it comes back.
pub fn event_with_id(id: u64, kind: &str, data: &impl Serialize) -> Event {
    with_data(Event::default().id(id.to_string()), kind, data)
}

fn with_data(event: Event, kind: &str, data: &impl Serialize) -> Event {
    let data = serde_json::to_string(data).expect("events are plain data");
    event.event(kind).data(visible::json(&data))
}

/// An answer of `events`, sent in turns with other bodies.
pub fn answer<E: Into<BoxError> + 'static>(
    events: impl Stream<Item = Result<Event, E>> + Send + 'static,
) -> Response {
    let events = Sse::new(Box::pin(events)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    let mut response = events.into_response().map(|body| Body::new(FairBody::new(body)));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
