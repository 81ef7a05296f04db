//! The names of a plan's projects: those of previews, and names that collide.

use std::collections::HashMap;

use super::{Plan, PlanFault, PlannedProject};
use crate::sources::preview_names::{MAX_NAME, with_branch};
use switchyard_contract::project::ProjectName;

/// Returns the name of a project's preview: `api--feature-x` for `api` and `feature/x`.
///
/// # Errors
/// The project's name is too long.
pub fn preview_name(project: &ProjectName, branch: &str) -> Result<ProjectName, PlanFault> {
    let name = with_branch(project.as_str(), branch).and_then(|name| ProjectName::parse(&name).ok());
    name.ok_or_else(|| PlanFault::LongName {
        project: project.clone(),
        branch: branch.to_owned(),
        most: MAX_NAME,
    })
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
