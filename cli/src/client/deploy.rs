//! `deploy`: which projects a folder is, and their upload.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::Method;
use indicatif::HumanBytes;
use tokio::task::spawn_blocking;

use super::Console;
use super::args::{Deploy, What};
use super::bridge::{Answer, Bridge, CallError};
use super::failure::{DONE, Failure, REFUSED, USAGE};
use super::files::{self, Files, FilesError, IGNORE_FILE, Packages, Reason, Rules, list};
use super::orders::{Order, carry_out};
use super::pack::Upload;
use super::progress::Progress;
use super::report;
use switchyard_contract::digest;
use switchyard_contract::overview::RouterInfos;
use switchyard_contract::project::{self, ProjectName};

mod preview;

/// What is sent of a folder.
#[derive(Debug)]
struct Plan {
    projects: Vec<(ProjectName, Files)>,
    /// Folders of `--all` that are no projects of the deploy, with why.
    left_out: Vec<(String, Reason)>,
}

/// Returns the exit status.
pub(super) async fn deploy(
    bridge: &Bridge,
    deploy: Deploy,
    json: bool,
    console: &mut Console<'_>,
) -> Result<u8, Failure> {
    let Deploy { folder, what, message, keep, wait, send_packages, .. } = deploy;
    let plan = match plan(Some(bridge), folder, what, send_packages).await? {
        Ok(plan) => plan,
        Err(answer) => return report::tell(console, json, &answer),
    };
    announce(&plan, &mut Progress::new(console, json));
    let projects = plan.projects;
    let name = match projects.as_slice() {
        [(project, _)] => Some(project.to_string()),
        _ => None,
    };
    let leaves_packages = projects.iter().any(|(_, files)| files.leaves_packages());
    let query = [
        keep.then_some(("keep", "1")),
        (!wait).then_some(("wait", "0")),
        leaves_packages.then_some(("packages", "0")),
    ];
    let order = Order {
        method: Method::POST,
        path: [Some("deploy"), name.as_deref()].into_iter().flatten().collect(),
        query: query.into_iter().flatten().collect(),
        upload: Some(Arc::new(Upload { projects, message })),
        wait,
    };
    carry_out(bridge, &order, json, console).await
}

/// Shows what a deploy would send and what not. Without a bridge nobody is asked whether the routers install packages.
/// Returns the exit status.
pub(super) async fn preview(
    bridge: Option<&Bridge>,
    deploy: Deploy,
    json: bool,
    console: &mut Console<'_>,
) -> Result<u8, Failure> {
    match plan(bridge, deploy.folder, deploy.what, deploy.send_packages).await? {
        Ok(plan) if json => console.print_json(&preview::json(&plan).to_string())?,
        Ok(plan) => console.print(preview::text(&plan).trim_end())?,
        Err(answer) => return report::tell(console, json, &answer),
    }
    Ok(DONE)
}

async fn plan(
    bridge: Option<&Bridge>,
    folder: PathBuf,
    what: What,
    send_packages: bool,
) -> Result<Result<Plan, Answer>, Failure> {
    let (folder, what, asks) = blocking(move || {
        let root = root(&folder)?;
        let asks = !send_packages && may_have_packages(&root, &what);
        Ok((root, what, asks))
    })
    .await?;
    let mut packages = Packages::Send;
    if let Some(bridge) = bridge.filter(|_| asks) {
        let answer = bridge.get(&["routers"]).await?;
        if !answer.status.is_success() {
            return Ok(Err(answer));
        }
        packages = packages_for(&answer)?;
    }
    blocking(move || projects(&folder, what, packages).map(Ok)).await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    spawn_blocking(work).await.map_err(|panic| Failure::new(REFUSED, panic.to_string()))?
}

fn may_have_packages(root: &Path, what: &What) -> bool {
    match what {
        What::Project(_) => files::has_packages(root),
        What::All => root.read_dir().is_ok_and(|mut entries| {
            entries.any(|entry| entry.is_ok_and(|entry| files::has_packages(&entry.path())))
        }),
    }
}

/// All routers have to install: one that does not would lack the packages.
fn packages_for(answer: &Answer) -> Result<Packages, CallError> {
    let listed: RouterInfos =
        serde_json::from_str(&answer.body).map_err(|error| CallError::Strange(error.to_string()))?;
    let install = !listed.routers.is_empty() && listed.routers.iter().all(|router| router.installs);
    Ok(if install { Packages::Install } else { Packages::Send })
}

fn announce(plan: &Plan, progress: &mut Progress<'_>) {
    for (project, files) in &plan.projects {
        progress.say(&summary(project, files));
    }
    for line in preview::left_out(plan, false) {
        progress.say(&line);
    }
}

fn summary(project: &ProjectName, files: &Files) -> String {
    let (version, count) = (files.digest.short(), files.files.len());
    let s = if count == 1 { "" } else { "s" };
    format!("{project}@{version}: {count} file{s}, {}", HumanBytes(files.bytes()))
}

fn root(folder: &Path) -> Result<PathBuf, Failure> {
    let root = folder.canonicalize();
    let root =
        root.map_err(|error| Failure::new(USAGE, format!("{} cannot be read: {error}", folder.display())))?;
    if !root.is_dir() {
        return Err(Failure::new(USAGE, format!("{} is no folder", folder.display())));
    }
    Ok(root)
}

/// `root` is a real path.
fn projects(root: &Path, what: What, packages: Packages) -> Result<Plan, Failure> {
    let rules = Rules::around(root)?;
    let name = match what {
        What::Project(Some(name)) => name,
        What::Project(None) => own_name(root)?,
        What::All => return Ok(all(root, rules, packages)?),
    };
    let files = list(root, root, &rules, packages)?;
    Ok(Plan { projects: vec![(name, files)], left_out: Vec::new() })
}

fn own_name(root: &Path) -> Result<ProjectName, Failure> {
    let name = root.file_name().unwrap_or_default().to_string_lossy();
    ProjectName::parse(&name).map_err(|error| Failure::new(USAGE, format!("{error}; or say --project NAME")))
}

/// Each folder in `root`, but for what no router takes for a project and what is ignored.
fn all(root: &Path, mut rules: Rules, packages: Packages) -> Result<Plan, FilesError> {
    let unreadable = |error| FilesError(format!("{} cannot be read: {error}", root.display()));
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
                "the symbolic link {name} leaves {}: replace it by what it points to",
                root.display()
            )));
        }
        plan.projects.push((name, list(&real, root, &rules, packages)?));
    }
    plan.projects.sort_by(|(a, _), (b, _)| a.cmp(b));
    plan.left_out.sort();
    if plan.projects.is_empty() {
        return Err(FilesError(format!("{} holds no project: each is a folder in it", root.display())));
    }
    Ok(plan)
}

#[cfg(test)]
mod tests;
