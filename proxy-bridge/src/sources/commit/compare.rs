//! The differences between a commit and what is live, and their reasons in words.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ProjectIds, ReadCommit};
use crate::git::ObjectId;
use crate::sources::machine::Changes;
use switchyard_contract::digest::Digest;
use switchyard_contract::project::ProjectName;
use switchyard_contract::source::ExplainedProject;

/// A project that is live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedProject {
    /// The folder in the repository.
    pub path: String,
    /// As [`ProjectIds::key`].
    pub key: String,
    /// As [`ProjectIds::tree`].
    pub tree: ObjectId,
    /// The digest of the files on the volume. `None` until it is known.
    #[serde(default)]
    pub digest: Option<Digest>,
}

/// Compares a commit with what is live. The lists are ordered by name.
pub fn compare(applied: &BTreeMap<ProjectName, AppliedProject>, read: &ReadCommit) -> Changes {
    let mut changes = Changes { is_whole: true, ..Changes::default() };
    for (name, ids) in read.projects() {
        let list = match applied.get(name) {
            None => &mut changes.added,
            Some(live) if live.key == ids.key => &mut changes.unchanged,
            Some(_) => &mut changes.changed,
        };
        list.push(name.clone());
    }
    let gone = applied.keys().filter(|name| !read.projects().contains_key(*name));
    changes.removed = gone.cloned().collect();
    changes
}

/// Returns, for each project of the commit and each live one, by name, why a sync changes it or does
/// not.
pub fn explain(applied: &BTreeMap<ProjectName, AppliedProject>, read: &ReadCommit) -> Vec<ExplainedProject> {
    let mut explained = Vec::new();
    for (project, ids) in read.projects() {
        let (change, reason) = reason(applied.get(project), ids);
        let (project, path) = (project.clone(), Some(ids.path.clone()));
        explained.push(ExplainedProject { project, path, change: change.to_owned(), reason });
    }
    for (project, live) in applied.iter().filter(|(name, _)| !read.projects().contains_key(*name)) {
        let reason = format!(
            "the commit has no project {project}: its folder {} (tree {}) is gone, has no entry, or no longer \
             is what the settings name",
            live.path,
            live.tree.short()
        );
        let (project, change) = (project.clone(), "removed".to_owned());
        explained.push(ExplainedProject { project, path: None, change, reason });
    }
    explained.sort_by(|a, b| a.project.cmp(&b.project));
    explained
}

fn reason(applied: Option<&AppliedProject>, ids: &ProjectIds) -> (&'static str, String) {
    let tree = ids.tree.short();
    let included = included(ids);
    let Some(live) = applied else {
        return ("added", format!("the project is not live yet: {} has tree {tree}{included}", ids.path));
    };
    let moved = match live.path == ids.path {
        true => String::new(),
        false => format!(", and was {} before", live.path),
    };
    if live.key == ids.key {
        let reason = format!("{} has tree {tree} as before{moved}{included}", ids.path);
        return ("unchanged", reason);
    }
    if live.tree == ids.tree {
        let what =
            if included.is_empty() { "; it includes nothing of the commit any more" } else { &included };
        let reason = format!(
            "{} has tree {tree} as before{moved}, but what it includes is not the same{what}",
            ids.path
        );
        return ("changed", reason);
    }
    let before = live.tree.short();
    ("changed", format!("{} has tree {tree}, and had {before}{moved}{included}", ids.path))
}

fn included(ids: &ProjectIds) -> String {
    let each = ids.includes.iter().zip(&ids.included);
    let each = each.map(|(name, id)| format!("{name} ({})", id.short())).collect::<Vec<_>>();
    if each.is_empty() { String::new() } else { format!("; it includes {}", each.join(", ")) }
}
