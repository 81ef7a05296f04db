//! `deploy`: the projects in a folder, and their upload.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::Method;
use indicatif::HumanBytes;
use tokio::task::spawn_blocking;

use super::Console;
use super::args::DeployArgs;
use super::bridge::{Answer, Bridge, CallError};
use super::failure::{DONE, Failure, REFUSED, USAGE};
use super::files::{self, Files, FilesError, IGNORE_FILE, Packages, Reason, Rules, list};
use super::folder::canonical;
use super::pack::Upload;
use super::progress::Progress;
use super::report;
use super::requests::{ApiRequest, send};
use switchyard_contract::digest;
use switchyard_contract::overview::RouterInfos;
use switchyard_contract::project::{self, ProjectName};
use switchyard_detect::signs::is_sign_of_project;

mod preview;

/// The projects that a folder is.
#[derive(Debug, PartialEq, Eq)]
enum DeployScope {
    /// One project. `None`: it has the folder's name.
    Project(Option<ProjectName>),
    /// Each folder in it is a project.
    All,
}

impl DeployScope {
    fn of(args: &DeployArgs) -> Self {
        if args.all { Self::All } else { Self::Project(args.project.clone()) }
    }
}

/// The upload of a deploy.
#[derive(Debug)]
struct Plan {
    projects: Vec<(ProjectName, Files)>,
    /// Folders of `--all` that are not deployed, and why.
    left_out: Vec<(String, Reason)>,
}

/// The plan for the upload, or the bridge's answer if it did not report which packages it needs.
enum Planning {
    Ready(Plan),
    Refused(Answer),
}

/// Sends a folder. Returns the exit status.
///
/// # Errors
/// The folder cannot be deployed, or there is no answer.
pub(super) async fn deploy(
    bridge: &Bridge,
    args: DeployArgs,
    json: bool,
    console: &mut Console<'_>,
) -> Result<u8, Failure> {
    let scope = DeployScope::of(&args);
    let DeployArgs { folder, message, keep, no_wait, send_packages, overrides, .. } = args;
    let plan = match plan(Some(bridge), folder, scope, send_packages).await? {
        Planning::Ready(plan) => plan,
        Planning::Refused(answer) => return report::print_answer(console, json, &answer),
    };
    announce(&plan, &mut Progress::new(console, json));
    if !json && looks_like_several(&plan) {
        console.complain(
            "this folder has no file of a project, but folders that are projects: deploy them with --all",
        )?;
    }
    let projects = plan.projects;
    let name = match projects.as_slice() {
        [(project, _)] => Some(project.to_string()),
        _ => None,
    };
    let leaves_packages = projects.iter().any(|(_, files)| files.leaves_packages());
    let query = [
        keep.then_some(("keep", "1")),
        no_wait.then_some(("wait", "0")),
        leaves_packages.then_some(("packages", "0")),
        overrides.then_some(("override", "1")),
    ];
    let request = ApiRequest {
        method: Method::POST,
        path: [Some("deploy"), name.as_deref()].into_iter().flatten().collect(),
        query: query.into_iter().flatten().collect(),
        upload: Some(Arc::new(Upload { projects, message })),
        wait: !no_wait,
    };
    send(bridge, &request, json, console).await
}

/// Shows which files a deploy would send and which not. Without a bridge, packages are taken to be sent.
/// Returns the exit status.
///
/// # Errors
/// The folder cannot be deployed, or there is no answer.
pub(super) async fn preview(
    bridge: Option<&Bridge>,
    args: DeployArgs,
    json: bool,
    console: &mut Console<'_>,
) -> Result<u8, Failure> {
    let scope = DeployScope::of(&args);
    match plan(bridge, args.folder, scope, args.send_packages).await? {
        Planning::Ready(plan) if json => console.print_json(&preview::json(&plan).to_string())?,
        Planning::Ready(plan) => console.print(preview::text(&plan).trim_end())?,
        Planning::Refused(answer) => return report::print_answer(console, json, &answer),
    }
    Ok(DONE)
}

async fn plan(
    bridge: Option<&Bridge>,
    folder: PathBuf,
    scope: DeployScope,
    send_packages: bool,
) -> Result<Planning, Failure> {
    let (folder, scope, asks) = blocking(move || {
        let root = canonical(&folder)?;
        let asks = !send_packages && may_have_packages(&root, &scope);
        Ok((root, scope, asks))
    })
    .await?;
    let mut packages = Packages::Send;
    if let Some(bridge) = bridge.filter(|_| asks) {
        let answer = bridge.get(&["routers"]).await?;
        if !answer.status.is_success() {
            return Ok(Planning::Refused(answer));
        }
        packages = packages_for(&answer)?;
    }
    blocking(move || projects(&folder, scope, packages).map(Planning::Ready)).await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    spawn_blocking(work).await.map_err(|panic| Failure::new(REFUSED, panic.to_string()))?
}

fn may_have_packages(root: &Path, scope: &DeployScope) -> bool {
    match scope {
        DeployScope::Project(_) => files::has_packages(root),
        DeployScope::All => root.read_dir().is_ok_and(|mut entries| {
            entries.any(|entry| entry.is_ok_and(|entry| files::has_packages(&entry.path())))
        }),
    }
}

/// Returns whether packages are sent: unless all routers install them.
fn packages_for(answer: &Answer) -> Result<Packages, CallError> {
    let listed: RouterInfos =
        serde_json::from_str(&answer.body).map_err(|error| CallError::Strange(error.to_string()))?;
    let install = !listed.routers.is_empty() && listed.routers.iter().all(|router| router.installs);
    Ok(if install { Packages::Install } else { Packages::Send })
}

fn announce(plan: &Plan, progress: &mut Progress<'_>) {
    for (project, files) in &plan.projects {
        progress.line(&summary(project, files));
    }
    for line in preview::left_out(plan, false) {
        progress.line(&line);
    }
}

/// Returns true for one project whose folders look like projects, and which itself does not.
fn looks_like_several(plan: &Plan) -> bool {
    let [(_, files)] = plan.projects.as_slice() else { return false };
    let in_folder = |path: &str| path.split_once('/').is_some_and(|(_, inner)| is_sign_of_project(inner));
    let mut paths = files.files.keys();
    !paths.clone().any(|path| is_sign_of_project(path)) && paths.any(|path| in_folder(path))
}

fn summary(project: &ProjectName, files: &Files) -> String {
    let (version, count) = (files.digest.short(), files.files.len());
    let s = if count == 1 { "" } else { "s" };
    format!("{project}@{version}: {count} file{s}, {}", HumanBytes(files.bytes()))
}

/// Lists the files of each project. `root` has no symbolic links.
fn projects(root: &Path, scope: DeployScope, packages: Packages) -> Result<Plan, Failure> {
    let rules = Rules::around(root)?;
    let name = match scope {
        DeployScope::Project(Some(name)) => name,
        DeployScope::Project(None) => own_name(root)?,
        DeployScope::All => return Ok(all(root, rules, packages)?),
    };
    let files = list(root, root, &rules, packages)?;
    Ok(Plan { projects: vec![(name, files)], left_out: Vec::new() })
}

fn own_name(root: &Path) -> Result<ProjectName, Failure> {
    let name = root.file_name().unwrap_or_default().to_string_lossy();
    ProjectName::parse(&name).map_err(|error| Failure::new(USAGE, format!("{error}; or set --project NAME")))
}

/// Lists each folder in `root`, except ignored ones and those that no router takes for a project.
fn all(root: &Path, mut rules: Rules, packages: Packages) -> Result<Plan, FilesError> {
    let unreadable = |error| FilesError(format!("cannot read {}: {error}", root.display()));
    rules.enter(root, root)?;
    let mut plan = Plan { projects: Vec::new(), left_out: Vec::new() };
    for entry in root.read_dir().map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !path.is_dir() || project::is_ignored(&name) || !digest::is_entered(&*name) {
            continue;
        }
        if let Some(reason) = rules.leaves_folder(&path) {
            plan.left_out.push((format!("{name}/"), reason));
            continue;
        }
        let name = ProjectName::parse(&name)
            .map_err(|error| FilesError(format!("{error}; or leave the folder out in {IGNORE_FILE}")))?;
        let real = path.canonicalize().map_err(unreadable)?;
        if !real.starts_with(root) {
            return Err(FilesError(format!(
                "the symbolic link {name} leaves {}: replace it with its target",
                root.display()
            )));
        }
        plan.projects.push((name, list(&real, root, &rules, packages)?));
    }
    plan.projects.sort_by(|(a, _), (b, _)| a.cmp(b));
    plan.left_out.sort();
    if plan.projects.is_empty() {
        return Err(FilesError(format!(
            "{} contains no project: expected a folder for each",
            root.display()
        )));
    }
    Ok(plan)
}

#[cfg(test)]
mod tests;
