//! `GET /projects/{project}/logs`: the output of a project at all routers, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use axum::response::sse::Event;
use futures_util::future::join_all;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, stream};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Api, Shared, check_read};
use crate::routers::{CallError, Presence, Router};
use crate::tokens::Caller;
use switchyard_contract::bounds::{KEPT_LINES, KEPT_REQUESTS};
use switchyard_contract::overview::RouterLogLine;
use switchyard_contract::project::ProjectName;
use switchyard_edge::api::path::ProjectPath;
use switchyard_edge::api::query::{LogQuery, Query};
use switchyard_edge::api::{sse, stopped};
use switchyard_edge::problem::Problem;
use switchyard_edge::sse::SseEvent;

/// The pause before a router that was lost is asked again: a part of its restart.
const AGAIN: Duration = Duration::from_millis(500);

/// The last lines that a project printed at each router, and new ones
///
/// Server-sent events, each with its router: `line` with a line, `gap` with the number of `lost`
/// lines, and `error` for a router whose lines cannot be read. A router that is followed is asked
/// again until it is back: `resumed` says that it is.
#[utoipa::path(get, path = "/projects/{project}/logs", tag = "projects",
    params(("project" = String, Path, description = "The project"), LogQuery),
    responses(
        (status = 200, description = "Each line", body = RouterLogLine, content_type = "text/event-stream"),
        (status = 404, description = "unknown-project"),
    ),
)]
pub(super) async fn logs(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    ProjectPath(project): ProjectPath,
    Query(LogQuery { lines, follow }): Query<LogQuery>,
) -> Result<Response, Problem> {
    check_read(&caller, &project)?;
    let query = [("lines", lines.to_string()), ("follow", u8::from(follow).to_string())];
    follow_all(&api, &project, "logs", &query).await
}

/// # Errors
/// No router has the project.
pub(super) fn check_known(api: &Api, project: &ProjectName) -> Result<(), Problem> {
    let is_known = api.routers.all().iter().any(|router| router.status(project.as_str()).is_some());
    if is_known { Ok(()) } else { Err(api.unknown_project(project)) }
}

/// Answers with the events of all routers about `what` of the project, each with its router.
pub(super) async fn follow_all(
    api: &Api,
    project: &ProjectName,
    what: &'static str,
    query: &[(&'static str, String)],
) -> Result<Response, Problem> {
    check_known(api, project)?;
    let followed = api.routers.all().into_iter().map(|router| Followed {
        router,
        project: project.clone(),
        what,
        query: query.to_vec(),
        newest: None,
        passed_on: None,
    });
    // A router that hangs does not hold up the events of the others.
    let opened = followed.map(|mut followed| async move {
        let opened = followed.open().await;
        (followed, opened)
    });
    let opened = join_all(opened).await;
    // The routers may have removed it just now.
    let is_unknown = |opened: &Result<_, NotOpen>| opened.as_ref().is_err_and(|not| not.is_unknown);
    if opened.iter().all(|(_, opened)| is_unknown(opened)) {
        return Err(api.unknown_project(project));
    }
    let events = stream::select_all(opened.into_iter().map(|(followed, opened)| followed.events(opened)));
    let mut stop = api.stopping.clone();
    let events = events.take_until(async move { stopped(&mut stop).await });
    Ok(sse::answer(events.map(Ok::<_, Infallible>)))
}

/// The events of one router about a project.
struct Followed {
    router: Arc<Router>,
    project: ProjectName,
    what: &'static str,
    query: Vec<(&'static str, String)>,
    /// The time of the newest line, or of the end of the newest request.
    newest: Option<Timestamp>,
    /// The same when the router's stream was opened again: what is older was passed on.
    passed_on: Option<Timestamp>,
}

/// The reason why a router's stream cannot be opened.
struct NotOpen {
    /// `true`: the router does not have the project.
    is_unknown: bool,
    why: String,
}

/// The router's stream.
enum Link {
    Open(BoxStream<'static, SseEvent>),
    /// The router is asked again. `false`: nobody was notified that it is away.
    Lost(bool),
}

impl Followed {
    /// Opens the router's stream. One that was open before begins with all that the router has kept.
    async fn open(&mut self) -> Result<BoxStream<'static, SseEvent>, NotOpen> {
        if self.router.presence() == Presence::Away {
            return Err(NotOpen { is_unknown: false, why: self.router.why_away() });
        }
        let is_again = self.newest.is_some();
        let kept = |(name, value): &(&'static str, String)| match *name {
            "lines" if is_again => ("lines", KEPT_LINES.to_string()),
            "limit" if is_again => ("limit", KEPT_REQUESTS.to_string()),
            name => (name, value.clone()),
        };
        let query: Vec<_> = self.query.iter().map(kept).collect();
        let path = ["projects", self.project.as_str(), self.what];
        let opened = self.router.follow(&path, &query).await.map_err(|error| {
            let is_unknown = matches!(error, CallError::Answered { status: StatusCode::NOT_FOUND, .. });
            NotOpen { is_unknown, why: error.to_string() }
        });
        self.passed_on = self.newest;
        Ok(opened?.boxed())
    }

    /// Returns the events to pass on. `opened` is the router's stream, or why there is none.
    fn events(self, opened: Result<BoxStream<'static, SseEvent>, NotOpen>) -> BoxStream<'static, Event> {
        if !self.query.contains(&("follow", "1".to_owned())) {
            return match opened {
                Ok(events) => events.map(move |event| self.labelled(&event.kind, read(&event))).boxed(),
                Err(NotOpen { why, .. }) => stream::iter([self.lost(&why)]).boxed(),
            };
        }
        let (first, link) = match opened {
            Ok(events) => (None, Link::Open(events)),
            Err(NotOpen { why, .. }) => (Some(self.lost(&why)), Link::Lost(true)),
        };
        let later = stream::unfold((self, link), |(mut followed, mut link)| async move {
            let event = followed.next(&mut link).await?;
            Some((event, (followed, link)))
        });
        stream::iter(first).chain(later).boxed()
    }

    /// Resolves with the next event. `None`: the router has the project no more.
    async fn next(&mut self, link: &mut Link) -> Option<Event> {
        loop {
            let was_reported = match link {
                Link::Open(events) => {
                    let Some(event) = events.next().await else {
                        *link = Link::Lost(false);
                        continue;
                    };
                    let data = read(&event);
                    if event.kind == "error" {
                        *link = Link::Lost(true);
                    } else if !self.is_new(&data) {
                        continue;
                    }
                    return Some(self.labelled(&event.kind, data));
                }
                Link::Lost(was_reported) => *was_reported,
            };
            sleep(AGAIN).await;
            match self.open().await {
                Ok(events) => {
                    *link = Link::Open(events);
                    if was_reported {
                        return Some(self.labelled("resumed", json!({})));
                    }
                }
                Err(NotOpen { is_unknown: true, .. }) if self.router.is_ready() => return None,
                Err(NotOpen { why, .. }) if !was_reported => {
                    *link = Link::Lost(true);
                    return Some(self.lost(&why));
                }
                Err(_) => {}
            }
        }
    }

    /// Returns false for a line or a request that was passed on before.
    fn is_new(&mut self, data: &Value) -> bool {
        let began = data["timestamp"].as_str().and_then(|at| at.parse::<Timestamp>().ok());
        let took = SignedDuration::from_secs_f64(data["total_ms"].as_f64().unwrap_or_default() / 1000.0);
        let Some(at) = began.and_then(|began| began.checked_add(took).ok()) else { return true };
        self.newest = self.newest.max(Some(at));
        self.passed_on.is_none_or(|passed_on| at > passed_on)
    }

    fn lost(&self, why: &str) -> Event {
        self.labelled("error", json!({ "error": why }))
    }

    /// The event with the router's name in its data.
    fn labelled(&self, kind: &str, mut data: Value) -> Event {
        if let Value::Object(members) = &mut data {
            members.insert("router".to_owned(), self.router.name().into());
        }
        sse::event(kind, &data)
    }
}

fn read(event: &SseEvent) -> Value {
    serde_json::from_str(&event.data).unwrap_or(Value::Null)
}
