//! `GET /projects/{name}/diff`: the files in which two versions of a project differ.

use std::path::PathBuf;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use utoipa::IntoParams;
use uuid::Uuid;

use super::{Api, Shared, check_read};
use crate::diff::compare;
use crate::tokens::Caller;
use crate::tree::Tree;
use crate::versions::{self, RollbackTarget, Wanted};
use crate::volume::VolumeError;
use switchyard_contract::deploy::Removal;
use switchyard_contract::project::ProjectName;
use switchyard_contract::versions::VersionDiff;
use switchyard_edge::api::answer::json;
use switchyard_edge::api::path::ProjectPath;
use switchyard_edge::api::query::{FromQuery, Query, QueryPairs};
use switchyard_edge::problem::Problem;

/// Comparisons at once: each fetches two versions.
static COMPARISONS: Semaphore = Semaphore::const_new(4);

/// The parameters of a comparison.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct DiffQuery {
    /// The version that is compared: a digest or a commit, as for a rollback. Default: the live one, or the last
    /// one of a removed project.
    from: Option<String>,
    /// The version that it is compared with. Default: the one that a rollback goes to.
    to: Option<String>,
}

impl FromQuery for DiffQuery {
    const KEYS: &'static [&'static str] = &["from", "to"];

    fn from_query(pairs: &QueryPairs) -> Result<Self, Problem> {
        let text = |key| pairs.get(key).map(str::to_owned);
        Ok(Self { from: text("from"), to: text("to") })
    }
}

/// The files in which two versions of a project differ
#[utoipa::path(get, path = "/projects/{project}/diff", tag = "projects",
    params(("project" = String, Path, description = "The project"), DiffQuery),
    responses(
        (status = 200, description = "The differences", body = VersionDiff),
        (status = 404, description = "unknown-version or unknown-project"),
        (status = 503, description = "busy: too many comparisons at once"),
    ),
)]
pub(super) async fn diff(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    ProjectPath(project): ProjectPath,
    Query(query): Query<DiffQuery>,
) -> Result<Response, Problem> {
    check_read(&caller, &project)?;
    let _permit = COMPARISONS.try_acquire().map_err(|_| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "too many comparisons are under way: try again")
    })?;
    let wanted = |text: Option<String>| text.map(|text| Wanted::parse(&project, &text)).transpose();
    let (from, to) = (wanted(query.from)?, wanted(query.to)?);
    let from = match from {
        Some(wanted) => api.rollback_target(&project, Some(wanted)).await?,
        None => api.live_version(&project).await?,
    };
    let to = api.rollback_target(&project, to).await?;
    // In a task of its own: when the client goes away this future is dropped, and the folder may only
    // be removed after the threads that write to it have ended.
    let compared = tokio::spawn(async move { api.compare(project, from, to).await }).await;
    let compared = compared.map_err(|panic| VolumeError::io("compare the versions", panic.into()))?;
    Ok(json(StatusCode::OK, &compared?))
}

impl Api {
    /// Returns the version that the first router with one serves, or that a removed project had last.
    async fn live_version(&self, project: &ProjectName) -> Result<RollbackTarget, Problem> {
        if self.removal(project).is_some() {
            return self.rollback_target(project, None).await;
        }
        let incarnation = self.deploys.volume().register().of(project)?.current;
        let live = self.routers.all().into_iter().find_map(|router| router.status(project.as_str())?.live);
        let live = live.ok_or_else(|| versions::unknown_project(project))?;
        Ok(RollbackTarget { digits: live.digest, incarnation, commit: None })
    }

    async fn compare(
        &self,
        project: ProjectName,
        from: RollbackTarget,
        to: RollbackTarget,
    ) -> Result<VersionDiff, Problem> {
        let deploys = self.deploys.clone();
        let id = format!("diff-{}", Uuid::new_v4());
        let staged = spawn_blocking(move || deploys.volume().stage(&id)).await;
        let staging =
            staged.unwrap_or_else(|panic| Err(VolumeError::io("make the staging folder", panic.into())))?;
        let routers = self.routers.all();
        let mut trees: Vec<Tree> = Vec::new();
        for (name, target) in [("from", &from), ("to", &to)] {
            let into = make(staging.incoming().join(name)).await?;
            trees.push(versions::fetch(&project, target, &routers, &into, &self.limits).await?);
        }
        let compared = spawn_blocking(move || {
            let compared = compare(&trees[0].dir, &trees[1].dir);
            // Removed on this thread, which may block.
            drop(staging);
            compared.map(|(files, truncated)| (files, truncated, trees))
        });
        let compared = compared.await.unwrap_or_else(|panic| Err(panic.into()));
        let (files, truncated, trees) =
            compared.map_err(|error| VolumeError::io("compare the versions", error))?;
        let version = |tree: &Tree| format!("{project}@{}", tree.digest.short());
        let (from, to) = (version(&trees[0]), version(&trees[1]));
        let removed = self.removal(&project).as_ref().map(Removal::from);
        Ok(VersionDiff { project, from, to, removed, files, truncated })
    }
}

async fn make(folder: PathBuf) -> Result<PathBuf, Problem> {
    let made = tokio::fs::create_dir_all(&folder).await;
    made.map(|()| folder).map_err(|error| VolumeError::io("make a folder", error).into())
}
