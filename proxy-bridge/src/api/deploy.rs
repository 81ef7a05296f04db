//! Uploads and removals: each becomes a deploy, and the deploy an answer.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::header::ACCEPT;
use http::{HeaderMap, StatusCode};
use tokio::task::spawn_blocking;
use utoipa::IntoParams;

use super::follow::follow;
use super::{Api, Shared};
use crate::deploys::{DeployNotes, DeployRequest, Job, Submission, Ticket};
use crate::tokens::Caller;
use crate::tree::Tree;
use crate::upload::{self, UploadShape};
use crate::versions;
use crate::volume::{Change, Staging, VolumeError};
use switchyard_contract::deploy::{Action, DeployRecord};
use switchyard_contract::incarnation::{DataFate, MAX_ENDED};
use switchyard_contract::project::ProjectName;
use switchyard_edge::api::answer::{json, stored_problem};
use switchyard_edge::api::path::ProjectPath;
use switchyard_edge::api::query::{FromQuery, Query, QueryPairs, invalid};
use switchyard_edge::problem::Problem;

/// The longest idempotency key, in bytes. Keys of the usual kinds (UUIDs, hashes, URLs of CI jobs)
/// are shorter.
const MAX_KEY: usize = 255;

/// The parameters of an upload.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct UploadQuery {
    /// If not set, the answer is 202 as soon as the upload was received.
    #[param(required = false, default = true)]
    wait: bool,
    /// If set, a version that does not build stays on the volume.
    #[param(required = false, default = false)]
    keep: bool,
    /// If set, a `node_modules` that the upload does not bring is carried over from the version
    /// before.
    #[param(required = false, default = true)]
    packages: bool,
    /// If set, a project of a git source is deployed all the same.
    #[param(rename = "override", required = false, default = false)]
    overrides: bool,
}

impl FromQuery for UploadQuery {
    const KEYS: &'static [&'static str] = &["wait", "keep", "packages", "override"];

    fn from_query(pairs: &QueryPairs) -> Result<Self, Problem> {
        Ok(Self {
            wait: pairs.switch("wait")?.unwrap_or(true),
            keep: pairs.switch("keep")?.unwrap_or(false),
            packages: pairs.switch("packages")?.unwrap_or(true),
            overrides: pairs.switch("override")?.unwrap_or(false),
        })
    }
}

/// The parameters of a removal.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct RemovalQuery {
    /// If not set, the answer is 202 at once.
    #[param(required = false, default = true)]
    wait: bool,
    /// `keep`: a rollback brings the data back. `delete`: the data is deleted.
    #[param(required = false, inline)]
    data: DataFate,
    /// If set, a project of a git source is removed all the same.
    #[param(rename = "override", required = false, default = false)]
    overrides: bool,
}

impl FromQuery for RemovalQuery {
    const KEYS: &'static [&'static str] = &["wait", "data", "override"];

    fn from_query(pairs: &QueryPairs) -> Result<Self, Problem> {
        let data = match pairs.get("data") {
            None | Some("keep") => DataFate::Keep,
            Some("delete") => DataFate::Delete,
            Some(other) => return Err(invalid("data", other, "keep or delete")),
        };
        let overrides = pairs.switch("override")?.unwrap_or(false);
        Ok(Self { wait: pairs.switch("wait")?.unwrap_or(true), data, overrides })
    }
}

/// Deploys several projects together: a folder of the upload each
///
/// With `accept: text/event-stream` the answer is a stream of events `phase` and a last event
/// `done`.
#[utoipa::path(post, path = "/deploy", tag = "deploys",
    params(
        ("idempotency-key" = Option<String>, Header, description = "Repeats are answered alike"),
        UploadQuery,
    ),
    request_body(content(
        ([u8] = "multipart/form-data"), ([u8] = "application/x-tar"), ([u8] = "application/gzip"),
        ([u8] = "application/zstd"), ([u8] = "application/zip"),
    )),
    responses(
        (status = 200, description = "The versions are live", body = DeployRecord),
        (status = 202, description = "The deploy goes on", body = DeployRecord),
    ),
)]
pub(super) async fn deploy(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Query(query): Query<UploadQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    api.upload(&caller, None, &query, &headers, body).await
}

/// Deploys one project
///
/// With `accept: text/event-stream` the answer is a stream of events `phase` and a last event
/// `done`.
#[utoipa::path(post, path = "/deploy/{project}", tag = "deploys",
    params(
        ("project" = String, Path, description = "The project"),
        ("idempotency-key" = Option<String>, Header, description = "Repeats are answered alike"),
        UploadQuery,
    ),
    request_body(content(
        ([u8] = "multipart/form-data"), ([u8] = "application/x-tar"), ([u8] = "application/gzip"),
        ([u8] = "application/zstd"), ([u8] = "application/zip"),
    )),
    responses(
        (status = 200, description = "The version is live", body = DeployRecord),
        (status = 202, description = "The deploy goes on", body = DeployRecord),
    ),
)]
pub(super) async fn deploy_project(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    ProjectPath(project): ProjectPath,
    Query(query): Query<UploadQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    api.upload(&caller, Some(project), &query, &headers, body).await
}

/// Removes a project
#[utoipa::path(delete, path = "/projects/{project}", tag = "deploys",
    params(
        ("project" = String, Path, description = "The project"),
        ("idempotency-key" = Option<String>, Header, description = "Repeats are answered alike"),
        RemovalQuery,
    ),
    responses(
        (status = 200, description = "The project is removed", body = DeployRecord),
        (status = 202, description = "The deploy goes on", body = DeployRecord),
        (status = 404, description = "unknown-project"),
        (status = 409, description = "kept-data-full, or overridden: it is not on the volume"),
    ),
)]
pub(super) async fn remove(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    ProjectPath(project): ProjectPath,
    Query(RemovalQuery { wait, data, overrides }): Query<RemovalQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    caller.check(Action::Delete, &project)?;
    if !overrides {
        api.check_unbound(&project)?;
    }
    let ticket = match api.submit(Action::Delete, &caller, Some(project.clone()), &headers)? {
        Submission::New(ticket) => ticket,
        Submission::Known(job) => return Ok(respond(&headers, job, wait).await),
    };
    // Before the register is read: this may find that the projects root is another folder.
    let staging = api.stage(&ticket).await?;
    api.check_removal(&project, data)?;
    let job = ticket.start(staging, vec![Change::Remove(project, data)], DeployNotes::default())?;
    Ok(respond(&headers, job, wait).await)
}

impl Api {
    /// Receives an upload of one project, or of several without a `project`, and deploys it.
    async fn upload(
        &self,
        caller: &Caller,
        project: Option<ProjectName>,
        query: &UploadQuery,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Response, Problem> {
        let UploadQuery { wait, keep, packages, overrides } = *query;
        let check = |project: &ProjectName| {
            caller.check(Action::Deploy, project)?;
            if overrides { Ok(()) } else { self.check_unbound(project) }
        };
        project.iter().try_for_each(check)?;
        let ticket = match self.submit(Action::Deploy, caller, project.clone(), headers)? {
            Submission::New(ticket) => ticket,
            Submission::Known(job) => return Ok(respond(headers, job, wait).await),
        };
        let staging = self.stage(&ticket).await?;
        let shape = project.map_or(UploadShape::Many, UploadShape::One);
        let (parts, limits) = (headers.clone(), self.limits);
        // In a task of its own: when the client goes away this future is dropped, and the staging
        // folder may only be removed after the thread that writes to it has ended.
        let receiving = tokio::spawn(async move {
            let into = staging.incoming().to_owned();
            let received = upload::receive(&parts, body.into_data_stream(), &shape, &into, &limits).await;
            received.map(|received| (staging, received))
        });
        let (staging, received) =
            receiving.await.map_err(|panic| VolumeError::io("receive the upload", panic.into()))??;
        received.trees.iter().try_for_each(|tree| check(&tree.project))?;
        let put = |tree| Change::Put(Tree { carries_packages: packages, ..tree });
        let changes = received.trees.into_iter().map(put).collect();
        let notes = DeployNotes { message: received.message, keep, commit: None };
        let job = ticket.start(staging, changes, notes)?;
        Ok(respond(headers, job, wait).await)
    }

    /// Begins a deploy, or finds the one that an earlier request with the same idempotency key
    /// began.
    pub(super) fn submit(
        &self,
        action: Action,
        caller: &Caller,
        project: Option<ProjectName>,
        headers: &HeaderMap,
    ) -> Result<Submission, Problem> {
        let by = caller.name().map(str::to_owned);
        let idempotency_key = idempotency_key(headers)?;
        self.deploys.begin(DeployRequest { action, by, project, idempotency_key })
    }

    pub(super) async fn stage(&self, ticket: &Ticket) -> Result<Staging, Problem> {
        let (deploys, id) = (self.deploys.clone(), ticket.id());
        let staged = spawn_blocking(move || deploys.volume().stage(&id)).await;
        let staged =
            staged.unwrap_or_else(|panic| Err(VolumeError::io("make the staging folder", panic.into())));
        Ok(staged?)
    }

    /// # Errors
    /// 409 if a git source has the project: its next sync would undo the change.
    fn check_unbound(&self, project: &ProjectName) -> Result<(), Problem> {
        let Some(source) = self.sources.as_ref().and_then(|sources| sources.owner(project)) else {
            return Ok(());
        };
        let detail = format!(
            "{project} comes from the git source {source}: push a commit; to change it here all the same, \
             send override=1 (deploy --override): the source then reports drift"
        );
        let problem = Problem::new(StatusCode::CONFLICT, "bound-to-source", detail);
        Err(problem.with("source", source))
    }

    /// # Errors
    /// 404 if there is nothing to remove, 409 if the data of no more removals can be kept.
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
                    "the data of {MAX_ENDED} removals of {project} is kept already: delete all of it with this \
                     removal (data=delete, or remove --delete-data), or wait until the oldest is over"
                );
                Err(Problem::new(StatusCode::CONFLICT, "kept-data-full", detail))
            }
            _ if is_there => Ok(()),
            DataFate::Delete if has_data() => Ok(()),
            _ => Err(self.overridden_only(project).unwrap_or_else(|| self.unknown_project(project))),
        }
    }

    /// Returns the problem of a project that is on no volume, and which a router reads from a folder.
    fn overridden_only(&self, project: &ProjectName) -> Option<Problem> {
        let folder = self.routers.all().iter().find_map(|router| router.overridden(project.as_str()))?;
        let detail = format!(
            "{project} is read from {folder} (an override), and there is nothing of it on the volume to remove: \
             remove the folder or end switchyard dev, or end the override (switchyard source dev NAME --disable)"
        );
        Some(Problem::new(StatusCode::CONFLICT, "overridden", detail).with("project", project.as_str()))
    }
}

/// Answers with a deploy: its events, its record when it is over, or its record so far.
pub(super) async fn respond(headers: &HeaderMap, job: Arc<Job>, wait: bool) -> Response {
    if accepts_events(headers) {
        follow(job)
    } else if wait {
        let record = job.done().await.without_key();
        let status = record.status.and_then(|status| StatusCode::from_u16(status).ok());
        let status = status.unwrap_or(StatusCode::OK);
        match &record.problem {
            Some(problem) => stored_problem(status, problem),
            None => json(status, &record),
        }
    } else {
        json(StatusCode::ACCEPTED, &job.record().without_key())
    }
}

pub(super) fn accepts_events(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|kind| kind.trim().starts_with("text/event-stream"))
}

pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    match headers.get("idempotency-key").map(|key| key.to_str().map(str::trim)) {
        None => Ok(None),
        Some(Ok(key)) if (1..=MAX_KEY).contains(&key.len()) => Ok(Some(key.to_owned())),
        Some(_) => {
            let detail = format!("invalid idempotency-key: expected 1 to {MAX_KEY} visible ASCII characters");
            Err(Problem::bad_request(detail).with("field", "idempotency-key"))
        }
    }
}
