//! Locks of projects: until one is taken away, no deploy, rollback, removal or sync changes the project.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use jiff::Timestamp;
use tokio::task::spawn_blocking;
use utoipa::IntoParams;

use super::{Api, Shared};
use crate::locks::Locks;
use crate::tokens::Caller;
use crate::volume::VolumeError;
use switchyard_contract::deploy::Action;
use switchyard_contract::versions::{ProjectLock, ProjectLocks};
use switchyard_edge::api::answer::{json, no_content};
use switchyard_edge::api::path::ProjectPath;
use switchyard_edge::api::query::{FromQuery, Query, QueryPairs, invalid};
use switchyard_edge::problem::Problem;

/// The longest reason, in bytes.
const MAX_REASON: usize = 1_000;

/// The parameters of a lock.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct LockQuery {
    /// The reason, which is shown to those who are refused.
    reason: Option<String>,
}

impl FromQuery for LockQuery {
    const KEYS: &'static [&'static str] = &["reason"];

    fn from_query(pairs: &QueryPairs) -> Result<Self, Problem> {
        match pairs.get("reason") {
            Some(reason) if reason.len() > MAX_REASON => {
                Err(invalid("reason", "(long)", &format!("at most {MAX_REASON} bytes")))
            }
            reason => Ok(Self { reason: reason.map(str::to_owned) }),
        }
    }
}

/// The locks of all projects
#[utoipa::path(get, path = "/locks", tag = "deploys", responses(
    (status = 200, description = "The locks of the projects that the caller may read", body = ProjectLocks),
))]
pub(super) async fn locks(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Problem> {
    let all = api.with_locks(|locks| locks.all()).await?;
    let locks = all.into_iter().filter(|lock| caller.may(Action::Read, lock.project.as_str())).collect();
    Ok(json(StatusCode::OK, &ProjectLocks { locks }))
}

/// Locks a project: nothing changes it until it is unlocked
#[utoipa::path(put, path = "/projects/{project}/lock", tag = "deploys",
    params(("project" = String, Path, description = "The project"), LockQuery),
    responses((status = 200, description = "The project is locked", body = ProjectLock)),
)]
pub(super) async fn lock(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    ProjectPath(project): ProjectPath,
    Query(LockQuery { reason }): Query<LockQuery>,
) -> Result<Response, Problem> {
    caller.check(Action::Publish, &project)?;
    let lock = ProjectLock { project, by: caller.name().map(str::to_owned), at: Timestamp::now(), reason };
    tracing::info!(audit = true, project.name = %lock.project, by = lock.by, "{} is locked", lock.project);
    let put = lock.clone();
    api.with_locks(move |locks| locks.put(&put)).await?;
    Ok(json(StatusCode::OK, &lock))
}

/// Unlocks a project
#[utoipa::path(delete, path = "/projects/{project}/lock", tag = "deploys",
    params(("project" = String, Path, description = "The project")),
    responses(
        (status = 204, description = "The project is unlocked"),
        (status = 404, description = "not-locked"),
    ),
)]
pub(super) async fn unlock(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    ProjectPath(project): ProjectPath,
) -> Result<Response, Problem> {
    caller.check(Action::Publish, &project)?;
    let name = project.clone();
    if !api.with_locks(move |locks| locks.remove(&name)).await? {
        let detail = format!("{project} is not locked");
        return Err(Problem::new(StatusCode::NOT_FOUND, "not-locked", detail));
    }
    tracing::info!(audit = true, project.name = %project, by = caller.name(), "{project} is unlocked");
    Ok(no_content())
}

impl Api {
    async fn with_locks<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Locks) -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, Problem> {
        let locks = self.deploys.locks();
        let called = spawn_blocking(move || call(&locks)).await;
        let called = called.unwrap_or_else(|panic| Err(panic.into()));
        called.map_err(|error| VolumeError::io("use the locks", error).into())
    }
}
