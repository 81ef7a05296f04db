//! The projects of a fake router, and its answers to followers.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::Response;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use tokio::sync::broadcast;

use super::{Body, Handler};
use switchyard_contract::admin::{Projects, Status, VersionName};
use switchyard_contract::event::{Event, EventData, EventType, Timings};
use switchyard_contract::incarnation::Incarnation;

pub(super) struct FakeState {
    pub(super) id: String,
    pub(super) ready: bool,
    pub(super) sequence: u64,
    pub(super) projects: BTreeMap<String, Status>,
    /// The number of the last change, and of that of each project; the removals.
    pub(super) revision: u64,
    pub(super) changed: BTreeMap<String, u64>,
    pub(super) removed: Vec<(u64, String)>,
    pub(super) log: Vec<Event>,
    /// Pieces of the stream.
    pub(super) events: broadcast::Sender<Bytes>,
    /// The last ids that followers came with.
    pub(super) last_ids: Vec<Option<String>>,
    pub(super) pulls: usize,
    pub(super) script: BTreeMap<String, (u16, String)>,
    pub(super) public: Handler,
}

impl FakeState {
    /// Returns the status of a project for a change.
    pub(super) fn status(&mut self, project: &str) -> &mut Status {
        self.revision += 1;
        self.changed.insert(project.to_owned(), self.revision);
        self.projects
            .entry(project.to_owned())
            .or_insert_with(|| Status { name: project.to_owned(), ..Status::default() })
    }

    pub(super) fn event(&mut self, kind: EventType, project: &str, version: Option<&VersionName>) -> Event {
        self.sequence += 1;
        let sequence = self.sequence;
        if version.is_some() || self.projects.contains_key(project) {
            self.status(project).sequence = sequence;
        }
        Event {
            kind,
            timestamp: jiff::Timestamp::now(),
            data: EventData {
                router: self.id.clone(),
                sequence,
                project: project.to_owned(),
                digest: version.map(|version| version.digest.parse().unwrap()),
                version: version.map(|version| version.version.clone()),
                incarnation: Incarnation::FIRST,
                commit: version.and_then(|version| version.commit.clone()),
                previous: None,
                trigger: None,
                changed: None,
                error: None,
                timings_ms: Timings::default(),
                death: None,
                conflict: None,
                folder: None,
            },
        }
    }

    pub(super) fn emit(&mut self, event: Event) {
        let _ = self.events.send(text(&event));
        self.log.push(event);
    }
}

impl FakeState {
    pub(super) fn answer(&self, query: &str) -> Projects {
        let query: BTreeMap<_, _> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        let since = query.get("since").filter(|_| query.get("router") == Some(&self.id.as_str()));
        let since: Option<u64> = since.map(|since| since.parse().unwrap());
        let is_new = |revision: u64| since.is_none_or(|since| revision > since);
        let projects = self.projects.values().filter(|status| is_new(self.changed[&status.name]));
        let removed = self.removed.iter().filter(|(revision, name)| {
            since.is_some() && is_new(*revision) && !self.projects.contains_key(name)
        });
        Projects {
            installs: false,
            router: self.id.clone(),
            revision: self.revision,
            since,
            projects: projects.cloned().collect(),
            removed: removed.map(|(_, name)| name.clone()).collect(),
        }
    }

    pub(super) fn stream(&self, last: Option<u64>) -> Response<Body> {
        let after = last.map_or(self.sequence, |last| if last > self.sequence { 0 } else { last });
        let missed: Vec<_> = self.log.iter().filter(|event| event.data.sequence > after).map(text).collect();
        let greeting = Bytes::from(format!(": router {}\n\n", self.id));
        let first = stream::iter(std::iter::once(greeting).chain(missed));
        let later = stream::unfold(self.events.subscribe(), |mut events| async {
            let piece = events.recv().await.ok()?;
            Some((piece, events))
        });
        let frames = first.chain(later).map(|piece| Ok(Frame::data(piece)));
        Response::new(StreamBody::new(frames).boxed_unsync())
    }
}

fn text(event: &Event) -> Bytes {
    let (id, data) = (event.data.sequence, serde_json::to_string(event).unwrap());
    Bytes::from(format!("id: {id}\nevent: {}\ndata: {data}\n\n", event.kind.as_str()))
}
