//! `GET /events`: the outgoing events as server-sent events, from `Last-Event-ID` on.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::HeaderMap;
use switchyard_contract::event::Event;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::timeout;

use super::answer::{Answer, server_sent, streamed};
use crate::live::Events;

/// A comment is sent after so long without an event, so that a listener that is gone is noticed
/// and nothing between takes the connection for dead.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(15);

/// That comment.
pub(super) const BEAT: &[u8] = b":\n\n";

pub(super) fn follow(events: &Events, headers: &HeaderMap) -> Answer {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let (replay, later) = events.follow(last);
    let first = Bytes::from(format!(": router {}\n\n", events.router()));
    // Each is written when its turn comes: a thousand of them are some megabytes.
    let begin = std::iter::once(first).chain(replay.into_iter().map(|event| bytes_of(&event)));
    let chunks = stream::iter(begin).chain(stream::unfold(later, next));
    streamed("text/event-stream", chunks.map(Ok))
}

async fn next(mut later: Receiver<Arc<Event>>) -> Option<(Bytes, Receiver<Arc<Event>>)> {
    match timeout(HEARTBEAT, later.recv()).await {
        Ok(Ok(event)) => Some((bytes_of(&event), later)),
        Err(_) => Some((Bytes::from_static(BEAT), later)),
        // A listener that fell behind is cut off: it comes again with its last id, and is told all.
        Ok(Err(RecvError::Lagged(_) | RecvError::Closed)) => None,
    }
}

fn bytes_of(event: &Event) -> Bytes {
    Bytes::from(format!("id: {}\n{}", event.data.sequence, server_sent(event.kind.as_str(), event)))
}
