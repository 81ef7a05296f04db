//! Projects at all routers, side by side, and the versions of a project.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use futures_util::future::join_all;
use http::StatusCode;
use jiff::Timestamp;

use super::{Api, Shared, check_read};
use crate::routers::{Presence, Router};
use crate::tokens::Caller;
use crate::versions::{self, unknown_project};
use switchyard_contract::admin::Status;
use switchyard_contract::deploy::{Action, Removal};
use switchyard_contract::incarnation::EndedIncarnation;
use switchyard_contract::overview::{
    ProjectOnRouter, ProjectOverview, ProjectOverviews, ProjectStatuses, ProjectVersions, RouterInfo,
    RouterInfos, RouterStatus,
};
use switchyard_contract::project::ProjectName;
use switchyard_edge::api::answer::json;
use switchyard_edge::api::path::ProjectPath;
use switchyard_edge::problem::Problem;

/// All projects that the caller may read
#[utoipa::path(get, path = "/projects", tag = "projects", responses(
    (status = 200, description = "The projects, and the routers", body = ProjectOverviews),
))]
pub(super) async fn projects(State(api): Shared, Extension(caller): Extension<Caller>) -> Response {
    let routers = api.routers.all();
    let mut names: BTreeSet<_> =
        routers.iter().flat_map(|router| router.statuses()).map(|status| status.name.clone()).collect();
    let removed = api.deploys.volume().register().removed().into_iter();
    let mut removed: BTreeMap<_, _> = removed
        .filter_map(|(name, _)| Some((name.to_string(), Removal::from(&api.removal(&name)?))))
        .collect();
    names.extend(removed.keys().cloned());
    let names = names.iter().filter(|name| caller.may(Action::Read, name));
    let projects = names.map(|name| overview(name, removed.remove(name), &routers)).collect();
    json(StatusCode::OK, &ProjectOverviews { projects, routers: infos(&routers) })
}

/// The routers
#[utoipa::path(get, path = "/routers", tag = "projects", responses(
    (status = 200, description = "The routers", body = RouterInfos),
))]
pub(super) async fn routers(State(api): Shared) -> Response {
    json(StatusCode::OK, &RouterInfos { routers: infos(&api.routers.all()) })
}

/// One project
#[utoipa::path(get, path = "/projects/{project}", tag = "projects",
    params(("project" = String, Path, description = "The project")),
    responses(
        (status = 200, description = "The project at each router", body = ProjectOverview),
        (status = 404, description = "unknown-project"),
    ),
)]
pub(super) async fn project(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    ProjectPath(name): ProjectPath,
) -> Result<Response, Problem> {
    check_read(&caller, &name)?;
    let removed = api.removal(&name).as_ref().map(Removal::from);
    let overview = overview(name.as_str(), removed, &api.routers.all());
    if overview.removed.is_none() && overview.routers.iter().all(|router| router.state.is_none()) {
        return Err(unknown_project(&name));
    }
    Ok(json(StatusCode::OK, &overview))
}

/// One project as each router describes it now
#[utoipa::path(get, path = "/projects/{project}/status", tag = "projects",
    params(("project" = String, Path, description = "The project")),
    responses((status = 200, description = "The answer of each router", body = ProjectStatuses)),
)]
pub(super) async fn statuses(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    ProjectPath(name): ProjectPath,
) -> Result<Response, Problem> {
    check_read(&caller, &name)?;
    let routers = api.routers.all();
    let asked = routers.iter().map(|router| async {
        // A router that hangs does not hold up the answers of the others.
        let answer = match router.presence() {
            Presence::Away => Err(router.why_away()),
            _ => router.project(name.as_str()).await.map(Box::new).map_err(|error| error.to_string()),
        };
        let (status, error) = answer.map_or_else(|error| (None, Some(error)), |status| (Some(status), None));
        RouterStatus { router: router.name().to_owned(), status, error }
    });
    let routers = join_all(asked).await;
    Ok(json(StatusCode::OK, &ProjectStatuses { project: name, routers }))
}

/// The versions of a project, the newest first
#[utoipa::path(get, path = "/projects/{project}/versions", tag = "projects",
    params(("project" = String, Path, description = "The project")),
    responses(
        (status = 200, description = "The versions that a rollback can bring back", body = ProjectVersions),
        (status = 404, description = "unknown-project"),
    ),
)]
pub(super) async fn versions(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    ProjectPath(name): ProjectPath,
) -> Result<Response, Problem> {
    check_read(&caller, &name)?;
    let incarnations = api.deploys.volume().register().of(&name)?;
    let removal = api.removal(&name);
    let now = Timestamp::now();
    let shown: Vec<_> = match &removal {
        // Each of them can be brought back, with the data that it had.
        Some(_) => {
            let ended = incarnations.ended.iter().filter(|ended| ended.until > now);
            ended.map(|ended| ended.incarnation).collect()
        }
        None => vec![incarnations.current],
    };
    let (records, routers) = (api.deploys.records(), api.routers.all());
    let versions = shown.into_iter().map(|incarnation| versions::all(&name, incarnation, &records, &routers));
    let versions = join_all(versions).await.concat();
    if versions.is_empty() && removal.is_none() {
        return Err(unknown_project(&name));
    }
    let removed = removal.as_ref().map(Removal::from);
    Ok(json(StatusCode::OK, &ProjectVersions { project: name, removed, versions }))
}

impl Api {
    /// Returns the problem of a project that does not exist, or was removed.
    pub(super) fn unknown_project(&self, project: &ProjectName) -> Problem {
        let problem = unknown_project(project);
        let Some(removal) = self.removal(project) else { return problem };
        let until = removal.until.strftime("%Y-%m-%d %H:%M UTC");
        let detail = format!("{project} is removed: switchyard rollback {project} restores it until {until}");
        Problem::new(problem.status, problem.slug(), detail).with("project", project.as_str())
    }

    /// Returns the removal after which `project` can be brought back.
    pub(super) fn removal(&self, project: &ProjectName) -> Option<EndedIncarnation> {
        let volume = self.deploys.volume();
        let removal = volume.register().of(project).ok()?.last_removal()?.clone();
        (removal.until > Timestamp::now() && !volume.has(project)).then_some(removal)
    }
}

pub(super) fn infos(routers: &[Arc<Router>]) -> Vec<RouterInfo> {
    let info = |router: &Arc<Router>| RouterInfo {
        router: router.name().to_owned(),
        public: router.public().to_owned(),
        ready: router.is_ready(),
        reachable: router.is_reachable(),
        behind: router.behind(),
        installs: router.installs(),
    };
    routers.iter().map(info).collect()
}

pub(super) fn overview(name: &str, removed: Option<Removal>, routers: &[Arc<Router>]) -> ProjectOverview {
    let at_router = |router: &Arc<Router>| {
        let status = router.status(name);
        let state = status.as_ref().map(|status| status.state);
        let (live, on_disk, error, conflicts) = match status {
            Some(status) => (status.live, status.on_disk, status.error, status.conflicts),
            None => (None, None, None, Vec::new()),
        };
        let (behind, away) = (router.is_behind(name), router.presence() == Presence::Away);
        let router = router.name().to_owned();
        ProjectOnRouter { router, state, live, on_disk, error, away, behind, conflicts }
    };
    let at_routers = routers.iter().map(at_router).collect();
    let reachable = routers.iter().filter(|router| router.is_reachable());
    // The same files in another incarnation have other data.
    let live = |status: Status| Some((status.live?.digest, status.incarnation));
    let live: BTreeSet<_> = reachable.map(|router| router.status(name).and_then(live)).collect();
    ProjectOverview { project: name.to_owned(), skew: live.len() > 1, removed, routers: at_routers }
}
