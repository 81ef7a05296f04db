//! The names of a plan's projects: those of previews, and names that collide.

use std::collections::HashMap;

use sha2::{Digest as _, Sha256};

use super::{Plan, PlanFault, PlannedProject};
use crate::sources::settings::SourceName;
use switchyard_contract::project::ProjectName;

/// The text between a project's or a source's name and that of a branch.
pub const SEPARATOR: &str = "--";

/// Hex digits that stand for what is cut off a branch's name.
const HASH_DIGITS: usize = 8;

/// The longest project name that has previews: a branch needs at least its hash.
const MAX_PROJECT: usize = ProjectName::MAX_LEN - SEPARATOR.len() - HASH_DIGITS;

/// Returns the name of a project's preview: `api--feature-x` for `api` and `feature/x`.
///
/// The branch is in lower case, and what hosts cannot have becomes `-`. A name that is too long, or
/// of which nothing would remain, ends with the beginning of the branch's SHA-256.
///
/// # Errors
/// The project's name is too long.
pub fn preview_name(project: &ProjectName, branch: &str) -> Result<ProjectName, PlanFault> {
    let name = joined(project.as_str(), branch).and_then(|name| ProjectName::parse(&name).ok());
    name.ok_or_else(|| PlanFault::LongName {
        project: project.clone(),
        branch: branch.to_owned(),
        most: MAX_PROJECT,
    })
}

/// Returns the name of a source's preview, which is made as those of its projects: `shop--feature-x`.
/// `None` for a source whose name leaves no room.
pub fn preview_source(source: &SourceName, branch: &str) -> Option<SourceName> {
    joined(source.as_str(), branch)?.parse().ok()
}

/// Returns a name with that of a branch, in all at most 63 bytes.
fn joined(name: &str, branch: &str) -> Option<String> {
    let room = ProjectName::MAX_LEN.checked_sub(name.len() + SEPARATOR.len())?;
    if room < HASH_DIGITS {
        return None;
    }
    let mut slug = slug(branch);
    if slug.is_empty() || slug.len() > room {
        slug.truncate(room.saturating_sub(HASH_DIGITS + 1));
        let hash = hash(branch);
        slug = match slug.trim_end_matches('-') {
            "" => hash,
            beginning => format!("{beginning}-{hash}"),
        };
    }
    Some(format!("{name}{SEPARATOR}{slug}"))
}

/// Returns the letters and digits of a branch in lower case, with one `-` for all that is between.
fn slug(branch: &str) -> String {
    let words = branch.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_ascii_lowercase()
}

fn hash(branch: &str) -> String {
    let digits = Sha256::digest(branch).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    digits.chars().take(HASH_DIGITS).collect()
}

/// Returns a fault for each project that shares its name or its host label with an earlier one.
pub(super) fn twins(projects: &[PlannedProject]) -> Vec<PlanFault> {
    let mut labels: HashMap<String, &PlannedProject> = HashMap::new();
    let mut faults = Vec::new();
    for project in projects {
        let label = project.name.label().into_owned();
        let Some(first) = labels.get(&label) else {
            labels.insert(label, project);
            continue;
        };
        let (first, second) = (*first, project);
        faults.push(match first.name == second.name {
            true => PlanFault::OneName {
                name: first.name.clone(),
                first: first.path.clone(),
                second: second.path.clone(),
            },
            false => PlanFault::OneLabel {
                label,
                first_name: first.name.clone(),
                first: first.path.clone(),
                second_name: second.name.clone(),
                second: second.path.clone(),
            },
        });
    }
    faults
}

/// Returns a fault for each project, by its host label, and each shared entry that two plans have.
/// Each plan comes with its owner in words: `source "shop"`, `branch feature/x`. The first owner
/// keeps it.
pub fn collisions(plans: &[(&str, &Plan)]) -> Vec<PlanFault> {
    let mut owners: HashMap<String, &str> = HashMap::new();
    let mut faults = Vec::new();
    for (owner, plan) in plans {
        // A shared entry's name is never a project's.
        let projects = plan
            .projects
            .iter()
            .map(|project| (project.name.label().into_owned(), format!("the project {:?}", project.name)));
        let shared = plan.shared.iter().map(|shared| {
            let what = format!("the shared name {:?}", shared.name);
            (format!("/{}", shared.name.to_lowercase()), what)
        });
        for (key, what) in projects.chain(shared) {
            match owners.get(&key) {
                Some(first) => faults.push(PlanFault::Claimed {
                    what,
                    first: (*first).to_owned(),
                    second: (*owner).to_owned(),
                }),
                None => drop(owners.insert(key, owner)),
            }
        }
    }
    faults
}
