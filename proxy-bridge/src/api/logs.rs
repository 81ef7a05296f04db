//! `GET /projects/{project}/logs`: the output of a project at all routers, as server-sent events.

use std::convert::Infallible;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use axum::response::sse::Event;
use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

use super::{Api, Shared, check_read};
use crate::routers::Presence;
use crate::tokens::Caller;
use crate::versions::unknown_project;
use switchyard_contract::overview::RouterLogLine;
use switchyard_contract::project::ProjectName;
use switchyard_edge::api::path::ProjectPath;
use switchyard_edge::api::query::{LogQuery, Query};
use switchyard_edge::api::{sse, stopped};
use switchyard_edge::problem::Problem;

/// The last lines that a project printed at each router, and new ones
///
/// Server-sent events, each with its router: `line` with a line, `gap` with the number of `lost`
/// lines, and `error` for a router whose lines cannot be read.
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
    if is_known { Ok(()) } else { Err(unknown_project(project)) }
}

/// Answers with the events of all routers about `what` of the project, each with its router.
pub(super) async fn follow_all(
    api: &Api,
    project: &ProjectName,
    what: &str,
    query: &[(&'static str, String)],
) -> Result<Response, Problem> {
    check_known(api, project)?;
    let routers = api.routers.all();
    let opened = routers.iter().map(|router| async {
        let label = router.name().to_owned();
        // A router that hangs does not hold up the events of the others.
        let opened = match router.presence() {
            Presence::Away => Err(router.why_away()),
            _ => {
                let opened = router.follow(&["projects", project.as_str(), what], query).await;
                opened.map_err(|error| error.to_string())
            }
        };
        match opened {
            Ok(events) => {
                let data = |text: &str| serde_json::from_str(text).unwrap_or(Value::Null);
                events.map(move |event| labelled(&event.kind, data(&event.data), &label)).boxed()
            }
            Err(error) => stream::iter([labelled("error", json!({ "error": error }), &label)]).boxed(),
        }
    });
    let events = stream::select_all(join_all(opened).await);
    let mut stop = api.stopping.clone();
    let events = events.take_until(async move { stopped(&mut stop).await });
    Ok(sse::answer(events.map(Ok::<_, Infallible>)))
}

/// The event with the router's name in its data.
fn labelled(kind: &str, mut data: Value, router: &str) -> Event {
    if let Value::Object(members) = &mut data {
        members.insert("router".to_owned(), router.into());
    }
    sse::event(kind, &data)
}
