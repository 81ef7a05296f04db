//! Overrides: the one router reads the projects of a source from a local folder instead of the volume,
//! for development. All projects are, or none.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use http::StatusCode;
use tokio::time::timeout;

use super::command::Command;
use super::{Context, OVERRIDDEN, Sources, lock, unknown};
use crate::routers::{CallError, Presence, Router, Routers};
use crate::sources::settings::ProjectPath;
use switchyard_contract::project::ProjectName;
use switchyard_contract::source::Overrides;
use switchyard_edge::problem::Problem;

/// Projects that are changed at once: each is built.
const AT_ONCE: usize = 4;

/// The time for a router to read and build one project.
const READ_WITHIN: Duration = Duration::from_secs(60);

/// The time for a router's report of a change that it has answered.
const SHOWN_WITHIN: Duration = Duration::from_secs(2);

/// Problems of routers that are passed on as they are. Others are not of the caller's making.
const PASSED_ON: [&str; 5] = ["override-not-allowed", "no-folder", "held", "bad-request", "stopping"];

/// The change of one project at one router. `None`: it is read from the volume.
#[derive(Debug, Clone)]
struct OverrideChange {
    router: Arc<Router>,
    project: ProjectName,
    before: Option<String>,
    after: Option<String>,
}

impl Sources {
    /// Has the one router read the live projects of a source from their folders below `local_path`.
    /// Goes to its end also when the caller does not wait for it.
    ///
    /// # Errors
    /// 404 for an unknown source, 409 without a live project or with more than one router, 503 without
    /// one; otherwise the router's own problem. Each project is read from where it was before then.
    pub async fn set_override(&self, name: &str, local_path: &str) -> Result<Overrides, Problem> {
        let (sources, name, local_path) = (self.clone(), name.to_owned(), local_path.to_owned());
        let set = tokio::spawn(async move { sources.set_all(&name, &local_path).await });
        set.await.unwrap_or_else(|_| Err(interrupted()))
    }

    /// Has all routers read the projects of a source from the volume. Goes to its end also when the
    /// caller does not wait for it.
    ///
    /// # Errors
    /// 404 for an unknown source; otherwise a router's own problem. Each project is read from where it
    /// was before then.
    pub async fn end_override(&self, name: &str) -> Result<Overrides, Problem> {
        let (sources, name) = (self.clone(), name.to_owned());
        let ended = tokio::spawn(async move { sources.end_all(&name).await });
        ended.await.unwrap_or_else(|_| Err(interrupted()))
    }

    async fn set_all(&self, name: &str, local_path: &str) -> Result<Overrides, Problem> {
        let context = &self.0.context;
        let _one = context.overriding.lock().await;
        let folders = self.folders(name, local_path)?;
        let router = only_router(&context.routers)?;
        let there = router.overrides().await.map_err(|error| refused(&router, &error))?;
        let change = |(project, folder): (&ProjectName, &String)| OverrideChange {
            router: router.clone(),
            project: project.clone(),
            before: there.get(project.as_str()).cloned(),
            after: Some(folder.clone()),
        };
        let changes: Vec<_> = folders.iter().map(change).collect();
        apply(name, &changes).await?;
        until_shown(&context.routers, &changes).await;
        Ok(Overrides { projects: folders })
    }

    async fn end_all(&self, name: &str) -> Result<Overrides, Problem> {
        let context = &self.0.context;
        let _one = context.overriding.lock().await;
        if self.status(name).is_none() {
            return Err(unknown(name));
        }
        let projects = self.projects_of(name);
        let mut changes = Vec::new();
        for router in context.routers.all() {
            let is_concerned =
                || projects.iter().any(|project| router.overridden(project.as_str()).is_some());
            if router.presence() == Presence::Away && !is_concerned() {
                continue;
            }
            let there = router.overrides().await.map_err(|error| refused(&router, &error))?;
            let overridden = projects.iter().filter_map(|project| {
                let before = there.get(project.as_str()).cloned()?;
                let (router, project) = (router.clone(), project.clone());
                Some(OverrideChange { router, project, before: Some(before), after: None })
            });
            changes.extend(overridden);
        }
        apply(name, &changes).await?;
        until_shown(&context.routers, &changes).await;
        // A full queue has commands in it that ask the server.
        let _ = self.send(name, Command::Retry);
        Ok(Overrides { projects: BTreeMap::new() })
    }

    /// The folder below `local_path` of each live project.
    fn folders(&self, name: &str, local_path: &str) -> Result<BTreeMap<ProjectName, String>, Problem> {
        let sources = self.sources();
        let running = sources.get(name).ok_or_else(|| unknown(name))?;
        let applied = lock(&running.applied);
        let root = local_path.trim_end_matches('/');
        let folder = |path: &str| match path {
            ProjectPath::WHOLE => local_path.to_owned(),
            path => format!("{root}/{path}"),
        };
        let folders: BTreeMap<_, _> =
            applied.projects.iter().map(|(project, one)| (project.clone(), folder(&one.path))).collect();
        if folders.is_empty() {
            let detail = format!(
                "source {name} has no live project to read from elsewhere: sync it first (switchyard source \
                 sync {name})"
            );
            return Err(Problem::new(StatusCode::CONFLICT, "nothing-to-do", detail));
        }
        Ok(folders)
    }
}

impl Context {
    /// Returns the folder from which a router reads the project instead of the volume, if one does.
    pub(super) fn overridden(&self, project: &ProjectName) -> Option<String> {
        self.routers.all().iter().find_map(|router| router.overridden(project.as_str()))
    }

    /// # Errors
    /// 409 if all routers that can be reached read one of `projects` from elsewhere: a deploy would
    /// change nothing, and be recorded.
    pub(super) fn check_overrides<'p>(
        &self,
        source: &str,
        mut projects: impl Iterator<Item = &'p ProjectName>,
    ) -> Result<(), Problem> {
        let routers = self.routers.all();
        let reachable: Vec<_> = routers.iter().filter(|router| router.is_reachable()).collect();
        let folder = |project: &ProjectName| {
            let folders: Option<Vec<_>> =
                reachable.iter().map(|router| router.overridden(project.as_str())).collect();
            folders?.into_iter().next()
        };
        let found = projects.find_map(|project| Some((project, folder(project)?)));
        let Some((project, folder)) = found else { return Ok(()) };
        let detail = format!(
            "{project} is read from {folder} instead of the volume (an override), so the commit would not \
             become live: switchyard source dev {source} --disable ends that"
        );
        Err(Problem::new(StatusCode::CONFLICT, OVERRIDDEN, detail).with("project", project.as_str()))
    }
}

fn only_router(routers: &Routers) -> Result<Arc<Router>, Problem> {
    match routers.all().as_slice() {
        [router] => Ok(router.clone()),
        [] => {
            let detail = "no router is known: check --router and --routers, and try again";
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no-routers", detail))
        }
        several => {
            let detail = format!(
                "{} routers are known, and only one could read a local folder: use a bridge with one router \
                 for development",
                several.len()
            );
            Err(Problem::new(StatusCode::CONFLICT, "several-routers", detail))
        }
    }
}

/// Makes all changes, or none.
///
/// # Errors
/// The problem of the first project that could not be changed.
async fn apply(source: &str, changes: &[OverrideChange]) -> Result<(), Problem> {
    let mut failed = None;
    let mut changed = Vec::new();
    for (change, result) in put(changes.to_vec()).await {
        // A call without an answer may have been carried out.
        if !matches!(result, Err(CallError::Answered { .. })) {
            changed.push(OverrideChange { after: change.before.clone(), ..change.clone() });
        }
        if let Err(error) = result {
            failed.get_or_insert((change, error));
        }
    }
    let Some((change, error)) = failed else { return Ok(()) };
    let problem = refused(&change.router, &error);
    let left = put(changed).await.into_iter().filter(|(_, result)| result.is_err());
    let left: Vec<_> = left.map(|(change, _)| change.project.to_string()).collect();
    let rest = if left.is_empty() {
        format!("all projects of source {source} are read from where they were")
    } else {
        tracing::error!(source, "overrides were left half changed: {}", left.join(", "));
        format!("{} may be read from elsewhere: see switchyard source show {source}", left.join(", "))
    };
    let detail = format!("{}: {}; {rest}", change.project, problem.detail());
    let problem = Problem::new(problem.status, problem.slug(), detail);
    Err(problem
        .with("project", change.project.as_str())
        .with("router", change.router.name())
        .with("left", left))
}

/// Makes changes, a few at once. The results come in the order of the changes.
async fn put(changes: Vec<OverrideChange>) -> Vec<(OverrideChange, Result<(), CallError>)> {
    let put = |change: OverrideChange| async move {
        let (router, project) = (&change.router, change.project.as_str());
        let report = match &change.after {
            Some(folder) => router.set_override(project, folder, READ_WITHIN).await,
            None => router.end_override(project, READ_WITHIN).await,
        };
        let result = match report {
            // It has ended; the volume has no such project.
            Err(CallError::Answered { status: StatusCode::NOT_FOUND, .. }) if change.after.is_none() => {
                Ok(())
            }
            report => report.map(drop),
        };
        (change, result)
    };
    stream::iter(changes).map(put).buffered(AT_ONCE).collect().await
}

/// Waits until the routers have reported the changes, so that who reads the answer finds them. Reports
/// that are late come by themselves.
async fn until_shown(routers: &Routers, changes: &[OverrideChange]) {
    let mut changed = routers.changed();
    let is_shown = |change: &OverrideChange| {
        change.router.overridden(change.project.as_str()).is_some() == change.after.is_some()
    };
    let shown = async { while !changes.iter().all(is_shown) && changed.changed().await.is_ok() {} };
    let _ = timeout(SHOWN_WITHIN, shown).await;
}

/// The problem of a call to a router that has failed.
fn refused(router: &Router, error: &CallError) -> Problem {
    let name = router.name();
    let CallError::Answered { status, problem } = error else {
        let detail = format!("router {name}: {error}; try again when it answers");
        return Problem::new(StatusCode::BAD_GATEWAY, "router-unreachable", detail).with("router", name);
    };
    let kind = problem["type"].as_str().unwrap_or_default();
    let slug = PASSED_ON.into_iter().find(|slug| kind.rsplit(':').next() == Some(slug));
    let problem = match (slug, problem["detail"].as_str()) {
        (Some("held"), Some(detail)) => {
            Problem::new(*status, "held", format!("{detail}: try again when the deploy has ended"))
        }
        (Some(slug), Some(detail)) => Problem::new(*status, slug, detail.to_owned()),
        _ => Problem::new(StatusCode::BAD_GATEWAY, "router-refused", format!("router {name}: {error}")),
    };
    problem.with("router", name)
}

fn interrupted() -> Problem {
    let detail = "the change was interrupted: see the log, and switchyard source show";
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "interrupted", detail)
}
