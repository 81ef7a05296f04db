//! `GET /stream`: all that a page shows live, as one stream of server-sent events.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use axum::response::sse::Event;
use futures_util::{Stream, StreamExt as _, stream};
use serde_json::{Value, json};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::sleep;
use utoipa::IntoParams;

use super::logs::labelled;
use super::projects::{infos, overview};
use super::{Api, Shared, check_read};
use crate::changes::Change;
use crate::routers::{Presence, Router};
use crate::tokens::Caller;
use switchyard_contract::bounds::KEPT_LINES;
use switchyard_contract::deploy::{Action, DeployRecord, Removal};
use switchyard_contract::event::Event as RouterEvent;
use switchyard_contract::overview::{DeployChanges, ProjectChanges, RouterInfos};
use switchyard_contract::project::ProjectName;
use switchyard_edge::api::query::{FromQuery, Query, QueryPairs, invalid};
use switchyard_edge::api::{sse, stopped};
use switchyard_edge::problem::Problem;

/// Changes that come within this time are sent together: a page cannot show more.
const TOGETHER: Duration = Duration::from_millis(100);

/// The pause before the lines of a router are asked for again: about as long as its restart.
const AGAIN: Duration = Duration::from_secs(1);

/// Each project's log is a stream at every router.
const MAX_LOGS: usize = 8;

const EXPECTED: &str = "projects, deploys, events or logs:PROJECT, with commas between, and at most 8 logs";

/// The parameters of the stream.
#[derive(Debug, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct StreamQuery {
    /// What is sent: `projects`, `deploys`, `events` and `logs:PROJECT`, with commas between.
    #[param(value_type = String)]
    topics: Topics,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Topics {
    projects: bool,
    deploys: bool,
    events: bool,
    logs: Vec<ProjectName>,
}

impl FromQuery for StreamQuery {
    const KEYS: &'static [&'static str] = &["topics"];

    fn from_query(pairs: &QueryPairs) -> Result<Self, Problem> {
        let text = pairs.get("topics").unwrap_or_default();
        let topics = Topics::parse(text).ok_or_else(|| invalid("topics", text, EXPECTED))?;
        Ok(Self { topics })
    }
}

impl Topics {
    fn parse(text: &str) -> Option<Self> {
        let mut topics = Self::default();
        for topic in text.split(',') {
            match topic {
                "projects" => topics.projects = true,
                "deploys" => topics.deploys = true,
                "events" => topics.events = true,
                other => topics.logs.push(ProjectName::parse(other.strip_prefix("logs:")?).ok()?),
            }
        }
        (topics.logs.len() <= MAX_LOGS).then_some(topics)
    }
}

/// Changes as they happen, and the lines of projects
///
/// Server-sent events: `hello` at once, when nothing is missed any more; `projects`, `routers` and
/// `deploys` with those that have changed, whole; `event` with an event of a router; `line`, `gap` and
/// `error` as in `/projects/{project}/logs`, and with the `project`; `reset` when the reader was too
/// slow, and has to read everything again.
#[utoipa::path(get, path = "/stream", tag = "events", params(StreamQuery), responses(
    (status = 200, description = "The changes", body = ProjectChanges, content_type = "text/event-stream"),
))]
pub(super) async fn stream(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Query(StreamQuery { topics }): Query<StreamQuery>,
) -> Result<Response, Problem> {
    topics.logs.iter().try_for_each(|project| check_read(&caller, project))?;
    let receiver = api.routers.changes().follow();
    let lines = topics.logs.iter().flat_map(|project| {
        let routers = api.routers.all().into_iter();
        routers.map(|router| lines(router, project.clone()).boxed()).collect::<Vec<_>>()
    });
    let lines = stream::select_all(lines.collect::<Vec<_>>());
    let mut stop = api.stopping.clone();
    let follower = Follower { api, caller, topics, receiver };
    let hello = stream::once(async { sse::event("hello", &json!({})) });
    let events = hello.chain(stream::select(follower.events(), lines));
    let events = events.take_until(async move { stopped(&mut stop).await });
    Ok(sse::answer(events.map(Ok::<_, Infallible>)))
}

/// The reader of one stream.
struct Follower {
    api: Arc<Api>,
    caller: Caller,
    topics: Topics,
    receiver: Receiver<Change>,
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
            Some((follower.shown(batch), follower))
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
    fn shown(&self, batch: Batch) -> Vec<Event> {
        let Self { api, caller, topics, .. } = self;
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
            let mut changes = DeployChanges { deploys: Vec::new(), gone: Vec::new() };
            for id in &batch.deploys {
                match api.deploys.job(id).map(|job| job.record()) {
                    Some(record) if record.names().all(|name| may(name.as_str())) => {
                        changes.deploys.push(DeployRecord::without_key(record));
                    }
                    // It was shown while its projects were not known.
                    Some(_) | None => changes.gone.push(id.to_string()),
                }
            }
            shown.push(sse::event("deploys", &changes));
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

/// The lines that a project prints at a router. When the router was away, what it has kept of them
/// comes again.
fn lines(router: Arc<Router>, project: ProjectName) -> impl Stream<Item = Event> + Send {
    let opened = stream::unfold((router, project, 0), |(router, project, kept)| async move {
        let label = router.name().to_owned();
        if kept > 0 {
            sleep(AGAIN).await;
        }
        let opened = match router.presence() {
            Presence::Away => None,
            _ => router.logs(project.as_str(), kept, true).await.ok(),
        };
        let of = project.to_string();
        let events = match opened {
            Some(events) => events
                .map(move |event| {
                    let mut data = serde_json::from_str(&event.data).unwrap_or(Value::Null);
                    if let Value::Object(members) = &mut data {
                        members.insert("project".to_owned(), of.clone().into());
                    }
                    labelled(&event.kind, data, &label)
                })
                .boxed(),
            None => stream::empty().boxed(),
        };
        Some((events, (router, project, KEPT_LINES)))
    });
    opened.flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<StreamQuery, Problem> {
        StreamQuery::from_query(&QueryPairs::parse(Some(text)))
    }

    #[test]
    fn topics_are_a_list_in_which_each_log_names_its_project() {
        let blog = ProjectName::parse("blog").unwrap();
        let topics = Topics { projects: true, events: true, logs: vec![blog], ..Topics::default() };
        assert_eq!(parse("topics=projects,logs:blog,events").unwrap(), StreamQuery { topics });
        for wrong in ["", "topics=", "topics=all", "topics=logs:", "topics=logs:No%20Name"] {
            assert_eq!(parse(wrong).unwrap_err().member("field"), Some("topics"), "{wrong}");
        }
        let many = |count: usize| format!("topics={}", vec!["logs:a"; count].join(","));
        assert!(parse(&many(MAX_LOGS)).is_ok() && parse(&many(MAX_LOGS + 1)).is_err());
    }
}
