//! The requests of projects: the last ones, minutes of the last hour, and the load of all projects.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use axum::response::sse::Event;
use futures_util::{StreamExt as _, stream};
use http::StatusCode;
use switchyard_contract::admin::{
    ProjectLoad, ProjectLoads, ProjectUse, RequestInfo, RequestSamples, Requests,
};
use switchyard_edge::api::answer::json;
use switchyard_edge::api::path::Path;
use switchyard_edge::api::query::{Query, RequestsQuery};
use switchyard_edge::api::sse::{answer, event};
use switchyard_edge::problem::Problem;
use tokio::time::{Instant, sleep_until};

use super::logs::gap;
use super::{Admin, AdminState, unknown_project};
use crate::live::{ProjectEntry, ProjectStatus};
use crate::requests::{RequestBatch, RequestReader, now_us};

/// The minimum interval between two batches of requests: a project that answers without pause does
/// not make the listener send without pause.
const BATCH_INTERVAL: Duration = Duration::from_millis(100);

/// The last requests of a project
///
/// With `follow`, server-sent events: `request` with a request that has ended, the oldest first, and
/// `gap` with the number of `lost` requests where the client was too slow.
#[utoipa::path(get, path = "/projects/{name}/requests", tag = "projects",
    params(("name" = String, Path, description = "The project"), RequestsQuery),
    responses(
        (status = 200, description = "The requests, the newest first", body = Requests),
        (status = 404, description = "unknown-project"),
    ),
)]
pub(super) async fn requests(
    State(admin): AdminState,
    Path(name): Path<String>,
    Query(query): Query<RequestsQuery>,
) -> Result<Response, Problem> {
    let entry = entry(&admin, &name)?;
    if !query.follow {
        let requests = entry.ended.newest_first(&name).into_iter();
        let requests = requests.filter(|request| query.takes(request)).take(query.limit).collect();
        return Ok(json(StatusCode::OK, &Requests { requests }));
    }
    let mut follower = Follower { reader: entry.ended.follow(), project: name, query, due: Instant::now() };
    let first = follower.first();
    let later = stream::unfold(follower, Follower::next).flat_map(stream::iter);
    Ok(answer(stream::iter(first).chain(later).map(Ok::<_, Infallible>)))
}

/// Samples of the requests of the last hour
#[utoipa::path(get, path = "/projects/{name}/metrics", tag = "projects",
    params(("name" = String, Path, description = "The project")),
    responses(
        (status = 200, description = "The minutes that had requests", body = RequestSamples),
        (status = 404, description = "unknown-project"),
    ),
)]
pub(super) async fn samples(State(admin): AdminState, Path(name): Path<String>) -> Result<Response, Problem> {
    let minutes = entry(&admin, &name)?.ended.samples(now_us());
    Ok(json(StatusCode::OK, &RequestSamples { minutes }))
}

/// The load of all projects in the last minute, and what they use now
#[utoipa::path(get, path = "/metrics/projects", tag = "projects", responses(
    (status = 200, description = "The projects that had requests, or have processes", body = ProjectLoads),
))]
pub(super) async fn loads(State(admin): AdminState) -> Result<Response, Problem> {
    let loads = admin.blocking(|admin| {
        let (table, usage, now) = (admin.live.load(), admin.cells.usage(), now_us());
        let load = |project: &Arc<ProjectStatus>| {
            let name = project.status.name.as_str();
            let usage = usage.get(name).copied().unwrap_or_default();
            let used = used(project, usage.processes, usage.memory);
            let load = table.get(name).and_then(|entry| entry.ended.load(name, now));
            let idle = || ProjectLoad::new(name.to_owned(), [0; 2], Vec::new());
            let load = load.or_else(|| (used.processes > 0).then(idle))?;
            Some(ProjectLoad { used, ..load })
        };
        ProjectLoads { projects: admin.board.all().iter().filter_map(load).collect() }
    });
    Ok(json(StatusCode::OK, &loads.await?))
}

fn used(project: &ProjectStatus, processes: u64, memory: u64) -> ProjectUse {
    let limits = project.grant.as_ref().map(|grant| grant.shown.limits).unwrap_or_default();
    ProjectUse {
        in_flight: project.all_in_flight(),
        max_in_flight: limits.max_in_flight,
        processes,
        memory,
        max_memory: limits.memory.saturating_mul(processes),
    }
}

fn entry(admin: &Admin, name: &str) -> Result<Arc<ProjectEntry>, Problem> {
    admin.live.load().get(name).cloned().ok_or_else(|| unknown_project(name))
}

/// A client that follows.
struct Follower {
    reader: RequestReader,
    project: String,
    query: RequestsQuery,
    /// The next batch is not sent before.
    due: Instant,
}

impl Follower {
    /// The past requests.
    fn first(&mut self) -> Vec<Event> {
        let batch = self.take();
        let past = batch.requests.len().saturating_sub(self.query.limit);
        batch.requests[past..].iter().map(|request| event("request", request)).collect()
    }

    async fn next(mut self) -> Option<(Vec<Event>, Self)> {
        if !self.reader.more().await {
            return None;
        }
        sleep_until(self.due).await;
        let batch = self.take();
        let requests = batch.requests.iter().map(|request| event("request", request));
        let events = gap(batch.lost).into_iter().chain(requests).collect();
        self.due = Instant::now() + BATCH_INTERVAL;
        Some((events, self))
    }

    fn take(&mut self) -> RequestBatch {
        let mut batch = self.reader.next_batch(&self.project);
        batch.requests.retain(|request: &RequestInfo| self.query.takes(request));
        batch
    }
}
