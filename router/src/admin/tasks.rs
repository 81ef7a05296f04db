//! `GET /projects/{name}/tasks`: the tasks and pipelines of a project's live version, or of one that is
//! kept.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use switchyard_contract::digest::Digest;
use switchyard_contract::project::ProjectName;
use switchyard_contract::task::ProjectTasks;
use switchyard_edge::api::answer::json;
use switchyard_edge::api::path::Path;
use switchyard_edge::api::query::{FromQuery, Query, QueryPairs};
use switchyard_edge::problem::Problem;
use utoipa::IntoParams;

use super::{Admin, AdminState, unknown_project};
use crate::live::{Command, LiveVersion, NotRunnable, ProjectEntry, RunnableVersion};

/// The parameters of the tasks.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct TasksQuery {
    /// The digest of the version. Default: the live one.
    #[param(value_type = Option<String>)]
    version: Option<Digest>,
}

impl FromQuery for TasksQuery {
    const KEYS: &'static [&'static str] = &["version"];

    fn from_query(pairs: &QueryPairs) -> Result<Self, Problem> {
        Ok(Self { version: pairs.value("version", "a digest of 64 hex digits")? })
    }
}

/// The tasks and pipelines of a project's live version, or of one that is kept
///
/// The field `tasks` of the project's status changes with them.
#[utoipa::path(get, path = "/projects/{name}/tasks", tag = "projects",
    params(("name" = String, Path, description = "The name of the project's folder"), TasksQuery),
    responses(
        (status = 200, description = "The tasks; none may be declared", body = ProjectTasks),
        (status = 404, description = "unknown-project; no-good-version: none is live; unknown-version"),
    ),
)]
pub(super) async fn tasks(
    State(admin): AdminState,
    Path(name): Path<String>,
    Query(query): Query<TasksQuery>,
) -> Result<Response, Problem> {
    let entry: Option<Arc<ProjectEntry>> = admin.live.load().get(&name).cloned();
    let entry = entry.ok_or_else(|| unknown_project(&name))?;
    let is_live = |digest| entry.live.as_ref().is_some_and(|live| live.version.digest == digest);
    if let Some(digest) = query.version.filter(|digest| !is_live(*digest)) {
        let found = admin.kept_version(&name, digest).await?;
        return admin.blocking(move |_| json(StatusCode::OK, &of_kept(&found))).await;
    }
    let make = move |_: &Admin| match &entry.live {
        Some(live) => Ok(json(StatusCode::OK, &of(live))),
        None => Err(no_version(&name)),
    };
    admin.blocking(make).await?
}

fn of(live: &LiveVersion) -> ProjectTasks {
    let (version, set) = (&live.version, live.tasks.set());
    ProjectTasks {
        project: version.project.clone(),
        version: version.to_string(),
        digest: version.digest,
        commit: live.came_from.as_deref().cloned(),
        hash: live.tasks.hash().map_or_else(|| set.hash(), str::to_owned),
        set: set.clone(),
        limits: live.launch.grant.runs,
    }
}

fn of_kept(found: &RunnableVersion) -> ProjectTasks {
    let (version, set) = (&found.launch.version, &found.tasks.set);
    ProjectTasks {
        project: version.project.clone(),
        version: version.to_string(),
        digest: version.digest,
        commit: found.commit.as_deref().cloned(),
        hash: set.hash(),
        set: set.clone(),
        limits: found.launch.grant.runs,
    }
}

impl Admin {
    async fn kept_version(&self, name: &str, digest: Digest) -> Result<Box<RunnableVersion>, Problem> {
        let project = ProjectName::parse(name).map_err(|_| unknown_project(name))?;
        let found =
            self.command(|answer| Command::FindVersion { project, digest: Some(digest), answer }).await?;
        found.map_err(|error| match error {
            NotRunnable::UnknownProject => unknown_project(name),
            NotRunnable::NoLiveVersion => no_version(name),
            NotRunnable::UnknownVersion => {
                Problem::new(StatusCode::NOT_FOUND, "unknown-version", error.to_string())
            }
        })
    }
}

fn no_version(name: &str) -> Problem {
    let detail = format!("no version of {name} is live: switchyard explain {name} says why");
    Problem::new(StatusCode::NOT_FOUND, "no-good-version", detail)
}
