//! `deploy`: which projects a folder is, and their upload.

use std::path::Path;
use std::sync::Arc;

use http::Method;
use indicatif::HumanBytes;
use tokio::task::spawn_blocking;

use super::Console;
use super::args::{Deploy, What};
use super::bridge::Bridge;
use super::failure::{Failure, REFUSED, USAGE};
use super::files::{self, Files, FilesError, IGNORE_FILE, list};
use super::orders::{Order, carry_out};
use super::pack::Upload;
use super::progress::Progress;
use crate::digest;
use crate::project::{self, ProjectName};

type Projects = Vec<(ProjectName, Files)>;

/// Returns the exit status.
pub(super) async fn deploy(
    bridge: &Bridge,
    deploy: Deploy,
    json: bool,
    console: &mut Console<'_>,
) -> Result<u8, Failure> {
    let Deploy { folder, what, message, keep, wait } = deploy;
    let listed = spawn_blocking(move || projects(&folder, what)).await;
    let projects = listed.map_err(|panic| Failure::new(REFUSED, panic.to_string()))??;
    announce(&projects, &mut Progress::new(console, json));
    let name = match projects.as_slice() {
        [(project, _)] => Some(project.to_string()),
        _ => None,
    };
    let order = Order {
        method: Method::POST,
        path: [Some("deploy"), name.as_deref()].into_iter().flatten().collect(),
        query: [keep.then_some(("keep", "1")), (!wait).then_some(("wait", "0"))]
            .into_iter()
            .flatten()
            .collect(),
        upload: Some(Arc::new(Upload { projects, message })),
        wait,
    };
    carry_out(bridge, &order, json, console).await
}

fn announce(projects: &Projects, progress: &mut Progress<'_>) {
    for (project, files) in projects {
        let (version, count) = (files.digest.short(), files.files.len());
        let s = if count == 1 { "" } else { "s" };
        progress.say(&format!("{project}@{version}: {count} file{s}, {}", HumanBytes(files.bytes())));
    }
}

fn projects(folder: &Path, what: What) -> Result<Projects, Failure> {
    let root = folder.canonicalize();
    let root =
        root.map_err(|error| Failure::new(USAGE, format!("{} cannot be read: {error}", folder.display())))?;
    if !root.is_dir() {
        return Err(Failure::new(USAGE, format!("{} is no folder", folder.display())));
    }
    match what {
        What::Project(Some(name)) => Ok(vec![(name, list(&root, &root, &[])?)]),
        What::Project(None) => Ok(vec![(own_name(&root)?, list(&root, &root, &[])?)]),
        What::All => Ok(all(&root)?),
    }
}

fn own_name(root: &Path) -> Result<ProjectName, Failure> {
    let name = root.file_name().unwrap_or_default().to_string_lossy();
    ProjectName::parse(&name).map_err(|error| Failure::new(USAGE, format!("{error}; or say --project NAME")))
}

/// Each folder in `root`, but for what no router takes for a project and what is ignored.
fn all(root: &Path) -> Result<Projects, FilesError> {
    let unreadable = |error| FilesError(format!("{} cannot be read: {error}", root.display()));
    let ignores: Vec<_> = files::ignore_file(root, root)?.into_iter().collect();
    let mut projects = Vec::new();
    for entry in root.read_dir().map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let passed_over = !path.is_dir() || project::is_ignored(&name) || !digest::is_entered(&*name);
        if passed_over || files::is_ignored(&ignores, &path, true) {
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
        projects.push((name, list(&real, root, &ignores)?));
    }
    projects.sort_by(|(a, _), (b, _)| a.cmp(b));
    if projects.is_empty() {
        return Err(FilesError(format!("{} holds no project: each is a folder in it", root.display())));
    }
    Ok(projects)
}

#[cfg(test)]
mod tests;
