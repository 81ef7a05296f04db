//! `POST /deploy`, rollbacks and removals: what is asked for becomes a deploy, and the deploy an answer.

use std::path::PathBuf;
use std::sync::Arc;

use http::header::ACCEPT;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::task::spawn_blocking;

use super::answer::{self, Answer, json};
use super::{Answered, Api, query, readable, stream, switch};
use crate::gate::BodyKind;
use crate::project::ProjectName;
use crate::server::deploys::{Begun, Job, Order, Ticket};
use crate::server::problem::Problem;
use crate::server::records::Record;
use crate::server::tokens::{Action, Caller};
use crate::server::upload::{self, Shape, Tree};
use crate::server::versions::{self, unknown_project};
use crate::server::volume::{Change, Staging, VolumeError};

/// A key is chosen by the client; what is longer is no key.
const MAX_KEY: usize = 255;

impl Api {
    /// An upload: of one project, or of several with a folder each.
    pub(super) async fn upload(
        &self,
        parts: &Parts,
        body: &mut Option<Incoming>,
        caller: &Caller,
        project: Option<ProjectName>,
    ) -> Answered {
        let wait = switch(parts.uri.query(), "wait", true)?;
        let keep = switch(parts.uri.query(), "keep", false)?;
        let packages = switch(parts.uri.query(), "packages", true)?;
        if let Some(project) = &project {
            caller.check(Action::Deploy, project)?;
        }
        BodyKind::Upload.check(parts)?;
        let ticket =
            match self.deploys.begin(order(Action::Deploy, caller, project.clone(), &parts.headers)?)? {
                Begun::New(ticket) => ticket,
                Begun::Known(job) => return Ok(self.answer(parts, job, wait).await),
            };
        let Some(body) = body.take() else {
            return Err(Problem::new(StatusCode::BAD_REQUEST, "bad-upload", "the request has no body"));
        };
        let staging = self.stage(&ticket).await?;
        let shape = project.map_or(Shape::Many, Shape::One);
        let (headers, limits) = (parts.headers.clone(), self.limits);
        // In a task of its own: when the client goes away this future is dropped, and the thread that writes
        // has to be waited for before the staging folder is removed.
        let receiving = tokio::spawn(async move {
            let into = staging.incoming().to_owned();
            let received = upload::receive(&headers, body.into_data_stream(), &shape, &into, &limits).await;
            received.map(|received| (staging, received))
        });
        let (staging, received) =
            receiving.await.map_err(|panic| VolumeError::io("receive the upload", panic.into()))??;
        for tree in &received.trees {
            caller.check(Action::Deploy, &tree.project)?;
        }
        let put = |tree| Change::Put(Tree { carries_packages: packages, ..tree });
        let changes = received.trees.into_iter().map(put).collect();
        let job = ticket.start(staging, changes, received.message, keep)?;
        Ok(self.answer(parts, job, wait).await)
    }

    pub(super) async fn rollback(&self, parts: &Parts, caller: &Caller, project: ProjectName) -> Answered {
        let wait = switch(parts.uri.query(), "wait", true)?;
        caller.check(Action::Rollback, &project)?;
        BodyKind::None.check(parts)?;
        let ticket = match self.deploys.begin(order(
            Action::Rollback,
            caller,
            Some(project.clone()),
            &parts.headers,
        )?)? {
            Begun::New(ticket) => ticket,
            Begun::Known(job) => return Ok(self.answer(parts, job, wait).await),
        };
        let wanted = query(parts.uri.query(), "to");
        let routers = self.routers.all();
        let digits =
            versions::rollback_target(&project, wanted.as_deref(), &self.deploys.records(), &routers).await?;
        let staging = self.stage(&ticket).await?;
        let into: PathBuf = staging.incoming().to_owned();
        let tree = versions::fetch(&project, &digits, &routers, &into, &self.limits).await?;
        let job = ticket.start(staging, vec![Change::Put(tree)], None, false)?;
        Ok(self.answer(parts, job, wait).await)
    }

    pub(super) async fn remove(&self, parts: &Parts, caller: &Caller, project: ProjectName) -> Answered {
        let wait = switch(parts.uri.query(), "wait", true)?;
        caller.check(Action::Delete, &project)?;
        BodyKind::None.check(parts)?;
        let ticket = match self.deploys.begin(order(
            Action::Delete,
            caller,
            Some(project.clone()),
            &parts.headers,
        )?)? {
            Begun::New(ticket) => ticket,
            Begun::Known(job) => return Ok(self.answer(parts, job, wait).await),
        };
        if !self.deploys.volume().has(&project) {
            return Err(unknown_project(&project));
        }
        let staging = self.stage(&ticket).await?;
        let job = ticket.start(staging, vec![Change::Remove(project)], None, false)?;
        Ok(self.answer(parts, job, wait).await)
    }

    pub(super) fn all_deploys(&self, caller: &Caller) -> Answer {
        let records = self.deploys.records().into_iter().filter(|record| may_read(caller, record));
        let records: Vec<_> = records.map(Record::without_key).collect();
        json(StatusCode::OK, &serde_json::json!({ "deploys": records }))
    }

    pub(super) fn one_deploy(&self, caller: &Caller, id: &str) -> Answered {
        let record = self.deploys.job(id).map(|job| job.record());
        let Some(record) = record else {
            let detail = format!("there is no deploy {id:?}, or it was so long ago that it is forgotten");
            return Err(Problem::new(StatusCode::NOT_FOUND, "unknown-deploy", detail));
        };
        for project in record.names() {
            readable(caller, project)?;
        }
        Ok(json(StatusCode::OK, &record.without_key()))
    }

    async fn stage(&self, ticket: &Ticket) -> Result<Staging, Problem> {
        let (deploys, id) = (self.deploys.clone(), ticket.id());
        let staged = spawn_blocking(move || deploys.volume().stage(&id)).await;
        let staged =
            staged.unwrap_or_else(|panic| Err(VolumeError::io("make the staging folder", panic.into())));
        Ok(staged?)
    }

    async fn answer(&self, parts: &Parts, job: Arc<Job>, wait: bool) -> Answer {
        if accepts_events(&parts.headers) {
            stream::follow(job)
        } else if wait {
            answer::record(&job.done().await.without_key())
        } else {
            json(StatusCode::ACCEPTED, &job.record().without_key())
        }
    }
}

fn may_read(caller: &Caller, record: &Record) -> bool {
    record.names().all(|project| caller.may(Action::Read, project.as_str()))
}

fn accepts_events(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|kind| kind.trim().starts_with("text/event-stream"))
}

fn order(
    action: Action,
    caller: &Caller,
    project: Option<ProjectName>,
    headers: &HeaderMap,
) -> Result<Order, Problem> {
    let idempotency_key = match headers.get("idempotency-key").map(|key| key.to_str().map(str::trim)) {
        None => None,
        Some(Ok(key)) if (1..=MAX_KEY).contains(&key.len()) => Some(key.to_owned()),
        Some(_) => {
            let detail = format!("idempotency-key must have 1 to {MAX_KEY} visible ASCII characters");
            return Err(
                Problem::new(StatusCode::BAD_REQUEST, "bad-request", detail).with("field", "idempotency-key")
            );
        }
    };
    Ok(Order { action, by: caller.name().map(str::to_owned), project, idempotency_key })
}
