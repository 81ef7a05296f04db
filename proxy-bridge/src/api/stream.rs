//! `GET /stream`: all that a page shows live, as one stream of server-sent events.

mod project;
mod topics;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use axum::response::sse::Event;
use futures_util::{Stream, StreamExt as _, stream};
use serde_json::json;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch::Receiver;
use tokio::time::sleep;

use self::project::{Kind, follow};
pub(super) use self::topics::StreamQuery;
use self::topics::Topics;
use super::deploys::may_read;
use super::loads::visible_to;
use super::projects::{infos, overview};
use super::{Api, Shared, check_read};
use crate::changes::Change;
use crate::tokens::Caller;
use switchyard_contract::deploy::{Action, DeployRecord, Removal};
use switchyard_contract::event::Event as RouterEvent;
use switchyard_contract::overview::{DeployChanges, LoadsOverview, ProjectChanges, RouterInfos};
use switchyard_contract::project::ProjectName;
use switchyard_edge::api::query::Query;
use switchyard_edge::api::{sse, stopped};
use switchyard_edge::problem::Problem;

/// Changes that come within this time are sent together: a page cannot show more.
const TOGETHER: Duration = Duration::from_millis(100);

/// Changes as they happen, and the lines, requests and load of projects
///
/// Server-sent events: `hello` at once, when nothing is missed any more; `projects`, `routers` and
/// `deploys` with those that have changed, whole; `event` with an event of a router; `loads` every five
/// seconds, as in `/metrics/projects`; `requests` with those that have ended at a router, the last ones
/// first; `line`, as in `/projects/{project}/logs`; `gap` with the number of `lost` lines or requests,
/// and `error`, like lines with their `topic`; `reset` when the reader was too slow, and has to read
/// everything again.
#[utoipa::path(get, path = "/stream", tag = "events", params(StreamQuery), responses(
    (status = 200, description = "The changes", body = ProjectChanges, content_type = "text/event-stream"),
))]
pub(super) async fn stream(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Query(StreamQuery { topics }): Query<StreamQuery>,
) -> Result<Response, Problem> {
    let logs = topics.logs.iter().map(|project| (Kind::Logs, project));
    let of_projects: Vec<_> =
        logs.chain(topics.requests.iter().map(|project| (Kind::Requests, project))).collect();
    of_projects.iter().try_for_each(|(_, project)| check_read(&caller, project))?;
    let receiver = api.routers.changes().follow();
    let routers = api.routers.all();
    let mut others = Vec::new();
    for (kind, project) in of_projects {
        let followed = routers.iter().map(|router| follow(kind, router.clone(), project.clone()).boxed());
        others.extend(followed);
    }
    if topics.loads {
        others.push(loads(api.loads.follow(), caller.clone()).boxed());
    }
    let mut stop = api.stopping.clone();
    let visible = api.deploys.records().into_iter().filter(|record| may_read(&caller, record));
    let visible = visible.map(|record| record.deploy.into()).collect();
    let follower = Follower { api, caller, topics, receiver, visible };
    let hello = stream::once(async { sse::event("hello", &json!({})) });
    let events = hello.chain(stream::select(follower.events(), stream::select_all(others)));
    let events = events.take_until(async move { stopped(&mut stop).await });
    Ok(sse::answer(events.map(Ok::<_, Infallible>)))
}

/// The load of the projects that the caller may see: the newest figures, whenever there are new ones
/// and the reader has read those before.
fn loads(feed: Receiver<Option<Arc<LoadsOverview>>>, caller: Caller) -> impl Stream<Item = Event> + Send {
    stream::unfold((feed, caller), |(mut feed, caller)| async move {
        feed.changed().await.ok()?;
        let loads = feed.borrow_and_update().clone()?;
        Some((sse::event("loads", &visible_to(&caller, &loads)), (feed, caller)))
    })
}

/// The reader of one stream.
struct Follower {
    api: Arc<Api>,
    caller: Caller,
    topics: Topics,
    receiver: broadcast::Receiver<Change>,
    /// The deploys that the caller may read, or has been shown.
    visible: BTreeSet<Arc<str>>,
}

/// The changes that are sent together.
#[derive(Default)]
struct Batch {
    projects: BTreeSet<String>,
    routers: bool,
    deploys: BTreeSet<Arc<str>>,
    events: Vec<Arc<RouterEvent>>,
    missed: bool,
}

impl Batch {
    fn add(&mut self, change: Change) {
        match change {
            Change::Projects(projects) => self.projects.extend(projects.iter().cloned()),
            Change::Routers => self.routers = true,
            Change::Deploy(deploy) => {
                self.deploys.insert(deploy);
            }
            Change::Event(event) => self.events.push(event),
        }
    }
}

impl Follower {
    fn events(self) -> impl Stream<Item = Event> + Send {
        let batches = stream::unfold(self, |mut follower| async move {
            let batch = follower.next().await?;
            let shown = follower.shown(batch);
            Some((shown, follower))
        });
        batches.flat_map(stream::iter)
    }

    /// Waits for a change, and for those that come soon after it.
    async fn next(&mut self) -> Option<Batch> {
        let mut batch = Batch::default();
        match self.receiver.recv().await {
            Ok(change) => batch.add(change),
            Err(RecvError::Lagged(_)) => batch.missed = true,
            Err(RecvError::Closed) => return None,
        }
        sleep(TOGETHER).await;
        // As many as there are now: others may come all the time.
        for _ in 0..self.receiver.len() {
            match self.receiver.try_recv() {
                Ok(change) => batch.add(change),
                Err(_) => batch.missed = true,
            }
        }
        Some(batch)
    }

    /// Returns the events for changes that the caller may see and has asked for.
    fn shown(&mut self, batch: Batch) -> Vec<Event> {
        let Self { api, caller, topics, visible, .. } = self;
        if batch.missed {
            return vec![sse::event("reset", &json!({}))];
        }
        let mut shown = Vec::new();
        let may = |project: &str| caller.may(Action::Read, project);
        if topics.projects && !batch.projects.is_empty() {
            let names = batch.projects.iter().filter(|name| may(name));
            shown.push(sse::event("projects", &api.project_changes(names)));
        }
        if topics.projects && batch.routers {
            let routers = infos(&api.routers.all());
            shown.push(sse::event("routers", &RouterInfos { routers }));
        }
        if topics.deploys && !batch.deploys.is_empty() {
            let mut changes = DeployChanges::default();
            for id in &batch.deploys {
                match api.deploys.job(id).map(|job| job.record()) {
                    Some(record) if may_read(caller, &record) => {
                        visible.insert(id.clone());
                        changes.deploys.push(DeployRecord::without_key(record));
                    }
                    // The caller learns nothing of others.
                    Some(_) | None if visible.remove(id) => changes.gone.push(id.to_string()),
                    Some(_) | None => {}
                }
            }
            if changes != DeployChanges::default() {
                shown.push(sse::event("deploys", &changes));
            }
        }
        if topics.events {
            let events = batch.events.iter().filter(|event| may(&event.data.project));
            shown.extend(events.map(|event| sse::event("event", &**event)));
        }
        shown
    }
}

impl Api {
    fn project_changes<'n>(&self, names: impl Iterator<Item = &'n String>) -> ProjectChanges {
        let routers = self.routers.all();
        let mut changes = ProjectChanges { projects: Vec::new(), gone: Vec::new() };
        for name in names {
            let removed = ProjectName::parse(name).ok().and_then(|name| self.removal(&name));
            let overview = overview(name, removed.as_ref().map(Removal::from), &routers);
            if overview.removed.is_none() && overview.routers.iter().all(|router| router.state.is_none()) {
                changes.gone.push(name.clone());
            } else {
                changes.projects.push(overview);
            }
        }
        changes
    }
}
