//! The permission of a project to include files of another one: `switchyard.share` of the owner.

use std::path::Path;

use switchyard_contract::project::is_ignored;

use super::document::{Document, Share};
use super::include::Include;

/// The refusal of an entry by the project that owns it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{owner} does not share with {project}: put \"switchyard\": {{\"share\": [\"{project}\"]}} in \
     {owner}/deno.json, or rename {owner} to begin with _ if it is not a project"
)]
pub(crate) struct NotShared {
    owner: String,
    project: String,
}

/// Checks that `project` may include an entry: it belongs to the project itself or to none, or its
/// owner shares it.
///
/// # Errors
/// The owner does not share the entry.
pub(crate) fn check_shared(include: &Include, volume: &Path, project: &str) -> Result<(), NotShared> {
    let owner = include.owner();
    let folder = volume.join(owner);
    if owner == project || is_ignored(owner) || !folder.is_dir() || shares(&folder, project) {
        return Ok(());
    }
    Err(NotShared { owner: owner.to_owned(), project: project.to_owned() })
}

/// Returns true if the project in `dir` shares its folder with `other`. False while its
/// configuration is invalid, which [`Manifest::read`](super::Manifest::read) reports.
fn shares(dir: &Path, other: &str) -> bool {
    let config = Document::config(dir).ok().flatten();
    match config.and_then(|config| config.share().ok()) {
        Some(Share::WithAll) => true,
        Some(Share::With(names)) => names.iter().any(|name| name.as_str() == other),
        None => false,
    }
}
