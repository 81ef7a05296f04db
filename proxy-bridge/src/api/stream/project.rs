//! The lines and the requests of one project in a stream, from each router.
//!
//! Nothing is queued here. A reader who is slow makes the router's stream wait, whose own memory of
//! lines and requests is bounded: what it drops meanwhile, it reports by an event `gap`.

use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::Event;
use futures_util::{Stream, StreamExt as _, stream};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::routers::{Presence, Router};
use switchyard_contract::bounds::{KEPT_LINES, KEPT_REQUESTS};
use switchyard_contract::overview::{RequestChanges, RouterRequest};
use switchyard_contract::project::ProjectName;
use switchyard_edge::api::sse;
use switchyard_edge::sse::SseEvent;

/// The pause before a router is asked again: about as long as its restart.
const AGAIN: Duration = Duration::from_secs(1);

/// A topic of one project.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// Its lines.
    Logs,
    /// Its requests that have ended.
    Requests,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Logs => "logs",
            Self::Requests => "requests",
        }
    }

    /// The number of events that are shown together if they have come. Requests are small, and come in
    /// large numbers.
    const fn together(self) -> usize {
        match self {
            Self::Logs => 1,
            Self::Requests => KEPT_REQUESTS,
        }
    }

    /// The query for the events of a router, the first time or again. Requests that end between an
    /// answer of the API and the router's first event would be missed: the last ones come always.
    fn query(self, is_first: bool) -> [(&'static str, String); 2] {
        let (limit, past) = match self {
            Self::Logs => ("lines", if is_first { 0 } else { KEPT_LINES }),
            Self::Requests => ("limit", KEPT_REQUESTS),
        };
        [(limit, past.to_string()), ("follow", "1".to_owned())]
    }
}

/// The events of a project at a router. When the router was away, what it has kept comes again.
pub(super) fn follow(
    kind: Kind,
    router: Arc<Router>,
    project: ProjectName,
) -> impl Stream<Item = Event> + Send {
    let opened = stream::unfold((router, project, true), move |(router, project, is_first)| async move {
        if !is_first {
            sleep(AGAIN).await;
        }
        let path = ["projects", project.as_str(), kind.name()];
        let opened = match router.presence() {
            Presence::Away => None,
            _ => router.follow(&path, &kind.query(is_first)).await.ok(),
        };
        let of = Of { topic: format!("{}:{project}", kind.name()), router: router.name().to_owned() };
        let events = match opened {
            Some(events) => events
                .ready_chunks(kind.together())
                .flat_map(move |events| stream::iter(of.shown(events)))
                .boxed(),
            None => stream::empty().boxed(),
        };
        Some((events, (router, project, false)))
    });
    opened.flatten()
}

/// The topic and the router of events.
struct Of {
    topic: String,
    router: String,
}

impl Of {
    /// Returns the events for a reader, with the requests of a row as one.
    fn shown(&self, events: Vec<SseEvent>) -> Vec<Event> {
        let mut shown = Vec::new();
        let mut requests = Vec::new();
        for event in events {
            if event.kind == "request" {
                let request = serde_json::from_str(&event.data).ok();
                requests.extend(
                    request.map(|request| RouterRequest { router: Some(self.router.clone()), request }),
                );
            } else {
                shown.extend(self.together(&mut requests));
                shown.push(self.labelled(&event));
            }
        }
        shown.extend(self.together(&mut requests));
        shown
    }

    fn together(&self, requests: &mut Vec<RouterRequest>) -> Option<Event> {
        let requests = std::mem::take(requests);
        let changes = RequestChanges { topic: self.topic.clone(), requests };
        (!changes.requests.is_empty()).then(|| sse::event("requests", &changes))
    }

    fn labelled(&self, event: &SseEvent) -> Event {
        let mut data = serde_json::from_str(&event.data).unwrap_or_else(|_| json!({}));
        if let Value::Object(members) = &mut data {
            members.insert("topic".to_owned(), self.topic.clone().into());
            members.insert("router".to_owned(), self.router.clone().into());
        }
        sse::event(&event.kind, &data)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::body::to_bytes;

    use super::*;

    #[tokio::test]
    async fn requests_in_a_row_are_one_event_and_a_gap_keeps_its_position() {
        let event =
            |kind: &str, data: Value| SseEvent { kind: kind.into(), data: data.to_string(), id: None };
        let request = |id: &str| {
            let data = json!({
                "timestamp": "2026-03-01T12:00:00Z", "id": id, "project": "a", "version": null,
                "method": "GET", "path": "/", "status": 200, "bytes": 0, "total_ms": 1.0, "head_ms": 1.0,
                "queued_ms": 0.0,
                "client": "127.0.0.1",
            });
            event("request", data)
        };
        let of = Of { topic: "requests:a".into(), router: "r1".into() };
        let gap = event("gap", json!({ "lost": 7 }));
        let shown = of.shown(vec![request("1"), request("2"), gap, request("3")]);
        let answer = sse::answer(stream::iter(shown).map(Ok::<_, Infallible>));
        let text = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        let text = std::str::from_utf8(&text).unwrap();
        let mut events = text
            .split("\n\n")
            .filter_map(|event| event.split_once("\ndata: "))
            .map(|(kind, data)| (kind, serde_json::from_str::<Value>(data).unwrap()));
        let ids = |(kind, data): (&str, Value)| {
            assert_eq!((kind, &data["topic"]), ("event: requests", &json!("requests:a")));
            let requests = data["requests"].as_array().unwrap();
            requests
                .iter()
                .map(|request| format!("{}{}", request["router"], request["id"]))
                .collect::<Vec<_>>()
        };
        assert_eq!(ids(events.next().unwrap()), ["\"r1\"\"1\"", "\"r1\"\"2\""]);
        let lost = json!({ "lost": 7, "topic": "requests:a", "router": "r1" });
        assert_eq!(events.next(), Some(("event: gap", lost)));
        assert_eq!(ids(events.next().unwrap()), ["\"r1\"\"3\""]);
    }
}
