//! `POST /deploy`, rollbacks and removals: what is asked for becomes a deploy, and the deploy an answer.

use std::path::PathBuf;
use std::sync::Arc;

use http::header::ACCEPT;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use jiff::Timestamp;
use tokio::task::spawn_blocking;

use super::answer::{self, Answer, json};
use super::{Answered, Api, query, readable, stream, switch};
use crate::deploys::{DeployRequest, Job, Submission, Ticket};
use crate::problem::Problem;
use crate::tokens::Caller;
use crate::tree::Tree;
use crate::upload::{self, UploadShape};
use crate::versions::{self, RollbackTarget, unknown_project};
use crate::volume::{Change, Staging, VolumeError};
use switchyard_contract::deploy::{Action, DeployRecord, DeployRecords};
use switchyard_contract::incarnation::MAX_ENDED;
use switchyard_contract::incarnation::{DataFate, EndedIncarnation};
use switchyard_contract::project::ProjectName;
use switchyard_edge::gate::BodyKind;

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
                Submission::New(ticket) => ticket,
                Submission::Known(job) => return Ok(self.answer(parts, job, wait).await),
            };
        let Some(body) = body.take() else {
            return Err(Problem::new(StatusCode::BAD_REQUEST, "bad-upload", "the request has no body"));
        };
        let staging = self.stage(&ticket).await?;
        let shape = project.map_or(UploadShape::Many, UploadShape::One);
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
            Submission::New(ticket) => ticket,
            Submission::Known(job) => return Ok(self.answer(parts, job, wait).await),
        };
        let wanted = query(parts.uri.query(), "to");
        let wanted = wanted.map(|wanted| RollbackTarget::check(&project, &wanted)).transpose()?;
        // Before the register is read: this may find that the projects root is another folder.
        let staging = self.stage(&ticket).await?;
        let routers = self.routers.all();
        let incarnations = self.deploys.volume().register().of(&project)?;
        let is_removed = self.removal(&project).is_some();
        let target = match wanted {
            wanted if is_removed => {
                let now = Timestamp::now();
                let ended: Vec<_> = incarnations.ended.iter().filter(|ended| ended.until > now).collect();
                versions::removed_target(&project, wanted, &ended, &routers).await?
            }
            Some(digits) => RollbackTarget { digits, incarnation: incarnations.current },
            None => {
                let (incarnation, records) = (incarnations.current, self.deploys.records());
                let digits = versions::rollback_target(&project, incarnation, &records, &routers)?;
                RollbackTarget { digits, incarnation }
            }
        };
        let into: PathBuf = staging.incoming().to_owned();
        let tree = versions::fetch(&project, &target, &routers, &into, &self.limits).await?;
        let is_kept =
            incarnations.end_of(target.incarnation).is_some_and(|ended| ended.data == DataFate::Keep);
        let change = if is_kept { Change::BringBack(tree, target.incarnation) } else { Change::Put(tree) };
        let job = ticket.start(staging, vec![change], None, false)?;
        Ok(self.answer(parts, job, wait).await)
    }

    pub(super) async fn remove(&self, parts: &Parts, caller: &Caller, project: ProjectName) -> Answered {
        let wait = switch(parts.uri.query(), "wait", true)?;
        let data = data(parts.uri.query())?;
        caller.check(Action::Delete, &project)?;
        BodyKind::None.check(parts)?;
        let ticket = match self.deploys.begin(order(
            Action::Delete,
            caller,
            Some(project.clone()),
            &parts.headers,
        )?)? {
            Submission::New(ticket) => ticket,
            Submission::Known(job) => return Ok(self.answer(parts, job, wait).await),
        };
        // Before the register is read: this may find that the projects root is another folder.
        let staging = self.stage(&ticket).await?;
        self.check_removal(&project, data)?;
        let job = ticket.start(staging, vec![Change::Remove(project, data)], None, false)?;
        Ok(self.answer(parts, job, wait).await)
    }

    /// # Errors
    /// 404 when there is nothing to remove, 409 when the data of no more removals can be kept.
    fn check_removal(&self, project: &ProjectName, data: DataFate) -> Result<(), Problem> {
        let volume = self.deploys.volume();
        let incarnations = volume.register().of(project)?;
        let is_there = volume.has(project)
            || (!incarnations.removed
                && versions::was_deployed(project, incarnations.current, &self.deploys.records()));
        let has_data = || incarnations.ended.iter().any(|ended| ended.data == DataFate::Keep);
        match data {
            DataFate::Keep if is_there && !incarnations.has_room() => {
                let detail = format!(
                    "the data of {MAX_ENDED} removals of {project} is kept already: delete all of it with this removal \
                     (data=delete, or remove --delete-data), or wait until the oldest is over"
                );
                Err(Problem::new(StatusCode::CONFLICT, "kept-data-full", detail))
            }
            _ if is_there => Ok(()),
            DataFate::Delete if has_data() => Ok(()),
            _ => Err(unknown_project(project)),
        }
    }

    /// The removal after which `project` can be brought back.
    pub(super) fn removal(&self, project: &ProjectName) -> Option<EndedIncarnation> {
        let volume = self.deploys.volume();
        let removal = volume.register().of(project).ok()?.last_removal()?.clone();
        (removal.until > Timestamp::now() && !volume.has(project)).then_some(removal)
    }

    pub(super) fn all_deploys(&self, caller: &Caller) -> Answer {
        let records = self.deploys.records().into_iter().filter(|record| may_read(caller, record));
        let records: Vec<_> = records.map(DeployRecord::without_key).collect();
        json(StatusCode::OK, &DeployRecords { deploys: records })
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

/// The fate of the data of a project that is removed: `data=keep`, which is the default, or
/// `data=delete`.
fn data(text: Option<&str>) -> Result<DataFate, Problem> {
    match query(text, "data").as_deref() {
        None | Some("keep") => Ok(DataFate::Keep),
        Some("delete") => Ok(DataFate::Delete),
        Some(other) => {
            let detail = format!("data={other:?} is neither keep nor delete");
            Err(Problem::new(StatusCode::BAD_REQUEST, "bad-request", detail).with("field", "data"))
        }
    }
}

fn may_read(caller: &Caller, record: &DeployRecord) -> bool {
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
) -> Result<DeployRequest, Problem> {
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
    Ok(DeployRequest { action, by: caller.name().map(str::to_owned), project, idempotency_key })
}
