//! The files that a deploy sends and leaves out, for people and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use indicatif::HumanBytes;
use serde::Serialize;

use super::{Plan, Reason, summary};
use crate::client::files::{Files, Source};
use switchyard_contract::digest::Digest;
use switchyard_contract::project::ProjectName;
use switchyard_contract::visible;

/// Names of one reason that are shown: enough to find a mistake in, and a terminal keeps its other lines.
const MAX_NAMES: usize = 10;

/// Characters of them, as far as there is more than one.
const MAX_NAMED: usize = 400;

/// The output of `deploy --dry-run --json`.
#[derive(Debug, Serialize)]
struct Preview<'a> {
    /// Always true: nothing was sent.
    dry_run: bool,
    projects: Vec<Project<'a>>,
    /// Folders of `--all` that are not deployed.
    left_out: Vec<LeftOut<'a>>,
}

#[derive(Debug, Serialize)]
struct Project<'a> {
    project: &'a ProjectName,
    digest: Digest,
    /// `blog@3f9a1c2b7d4e`
    version: String,
    /// Bytes of all files.
    bytes: u64,
    files: Vec<File<'a>>,
    left_out: Vec<LeftOut<'a>>,
}

#[derive(Debug, Serialize)]
struct File<'a> {
    /// Relative to the project, with `/` between.
    path: &'a str,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct LeftOut<'a> {
    /// Path like that of a file. A folder, which ends with `/`, stands for its whole content.
    path: &'a str,
    reason: Reason,
}

/// One JSON object.
pub(super) fn json(plan: &Plan) -> String {
    let left_out = plan.left_out.iter().map(|(path, reason)| LeftOut { path, reason: *reason });
    let preview = Preview {
        dry_run: true,
        projects: plan.projects.iter().map(|(project, files)| project_of(project, files)).collect(),
        left_out: left_out.collect(),
    };
    serde_json::to_string(&preview).expect("names and numbers are plain data")
}

fn project_of<'a>(project: &'a ProjectName, files: &'a Files) -> Project<'a> {
    let left_out = files.left_out.iter().map(|(path, reason)| LeftOut { path, reason: *reason });
    let sent = files.files.iter().map(|(path, source)| File { path, bytes: source.size });
    Project {
        project,
        digest: files.digest,
        version: format!("{project}@{}", files.digest.short()),
        bytes: files.bytes(),
        files: sent.collect(),
        left_out: left_out.collect(),
    }
}

/// A line for each file, where all packages in a folder are one, and for each reason to leave something out.
pub(super) fn text(plan: &Plan) -> String {
    let mut text = String::new();
    for (project, files) in &plan.projects {
        let _ = writeln!(text, "{}", summary(project, files));
        for (path, (count, bytes)) in lines(&files.files) {
            let of = if count > 1 { format!(" ({count} files)") } else { String::new() };
            let _ = writeln!(text, "  {:>10}  {}{of}", HumanBytes(bytes).to_string(), visible::word(path));
        }
    }
    for line in left_out(plan, true) {
        let _ = writeln!(text, "{line}");
    }
    text.push_str("nothing was sent");
    text
}

/// Number and bytes of the files by path, those in a `node_modules` together.
fn lines(files: &BTreeMap<String, Source>) -> BTreeMap<&str, (u64, u64)> {
    let mut lines = BTreeMap::new();
    for (path, source) in files {
        let packages = "node_modules/";
        let inside = path.find(&format!("/{packages}")).map(|at| at + 1);
        let inside = if path.starts_with(packages) { Some(0) } else { inside };
        let shown = inside.map_or(path.as_str(), |at| &path[..at + packages.len()]);
        let (count, bytes) = lines.entry(shown).or_default();
        *count += 1;
        *bytes += source.size;
    }
    lines
}

/// A line for each reason that something is left out for: how much, and the first names. `all`: also what never is part
/// of a version.
pub(super) fn left_out(plan: &Plan, all: bool) -> Vec<String> {
    let mut groups: BTreeMap<Reason, Vec<String>> = BTreeMap::new();
    let folders = plan.left_out.iter().map(|(path, reason)| (path.clone(), *reason));
    let one = plan.projects.len() == 1;
    let inside = plan.projects.iter().flat_map(|(project, files)| {
        let shown = move |path: &String| if one { path.clone() } else { format!("{project}/{path}") };
        files.left_out.iter().map(move |(path, reason)| (shown(path), *reason))
    });
    for (path, reason) in folders.chain(inside) {
        if all || reason != Reason::Never {
            groups.entry(reason).or_default().push(path);
        }
    }
    groups.into_iter().map(|(reason, paths)| group(reason, &paths)).collect()
}

fn group(reason: Reason, paths: &[String]) -> String {
    let mut named = String::new();
    let mut count = 0;
    for path in paths.iter().take(MAX_NAMES) {
        let path = visible::word(path);
        if count > 0 && named.len() + path.len() > MAX_NAMED {
            break;
        }
        let comma = if count == 0 { "" } else { ", " };
        let _ = write!(named, "{comma}{path}");
        count += 1;
    }
    let more = match paths.len() - count {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("left out, {} ({}): {named}{more}", paths.len(), reason.why())
}
