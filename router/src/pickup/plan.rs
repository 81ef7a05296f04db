//! The folders to watch: those that the file triggers of live versions name. Pure.

use std::collections::BTreeMap;

use switchyard_contract::incarnation::Incarnation;
use switchyard_contract::project::ProjectName;
use switchyard_contract::task::{TaskName, TaskSet, TaskTrigger};

use super::pattern::Pattern;
use crate::version::Tenant;

/// Maximum number of watched folders of one project.
const MAX_PLACES: usize = 100;

/// A folder below the `DATA_DIR` of a project.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PlaceKey {
    pub(super) tenant: Tenant,
    /// The path relative to `DATA_DIR`.
    pub(super) folder: String,
}

impl PlaceKey {
    /// A key that no key of `project` is less than.
    pub(super) fn first_of(project: &ProjectName) -> Self {
        Self { tenant: Tenant::new(project, Incarnation::FIRST), folder: String::new() }
    }
}

/// The tasks and pipelines that files in one folder start, in the order in which they are asked.
pub(super) type PlaceTasks = Vec<(Pattern, TaskName)>;

/// The folders that the tasks of one project name.
pub(super) fn places(tenant: &Tenant, set: &TaskSet) -> BTreeMap<PlaceKey, PlaceTasks> {
    let mut places: BTreeMap<PlaceKey, PlaceTasks> = BTreeMap::new();
    let tasks = set.tasks.iter().map(|task| (&task.name, &task.triggers, task.enabled));
    let pipelines =
        set.pipelines.iter().map(|pipeline| (&pipeline.name, &pipeline.triggers, pipeline.enabled));
    for (name, triggers, _) in tasks.chain(pipelines).filter(|(.., enabled)| *enabled) {
        for trigger in triggers {
            let TaskTrigger::File { pattern } = trigger else { continue };
            let Some(pattern) = Pattern::parse(pattern) else { continue };
            let key = PlaceKey { tenant: tenant.clone(), folder: pattern.folder().to_owned() };
            if places.len() < MAX_PLACES || places.contains_key(&key) {
                places.entry(key).or_default().push((pattern, name.clone()));
            } else {
                tracing::warn!(
                    project.name = %tenant.project,
                    "no file starts {name}: the tasks of a project may name {MAX_PLACES} folders"
                );
            }
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn task(name: &str, pattern: &str, enabled: bool) -> serde_json::Value {
        json!({
            "name": name, "declared_in": "deno.json", "code": {"kind": "scheduled"}, "enabled": enabled,
            "triggers": [{"kind": "file", "pattern": pattern}],
        })
    }

    #[test]
    fn tasks_share_the_watch_of_a_folder_and_the_first_by_name_gets_a_file() {
        let tasks = [
            task("a", "in/*.json", true),
            task("b", "in/*", true),
            task("c", "out/*", false),
            task("d", "up/in/*", true),
        ];
        let set: TaskSet = serde_json::from_value(json!({ "tasks": tasks })).unwrap();
        let tenant = Tenant::first(&ProjectName::parse("blog").unwrap());
        let places = places(&tenant, &set);
        let folders: Vec<_> = places.keys().map(|key| key.folder.as_str()).collect();
        assert_eq!(folders, ["in", "up/in"]);
        let of_in = places.values().next().unwrap();
        let first =
            |file: &str| of_in.iter().find(|(pattern, _)| pattern.matches(file)).unwrap().1.to_string();
        assert_eq!((first("x.json"), first("x.csv")), ("a".to_owned(), "b".to_owned()));
    }

    #[test]
    fn folders_are_bounded() {
        let tasks: Vec<_> = (0..150).map(|n| task(&format!("t{n}"), &format!("f{n}/*"), true)).collect();
        let set: TaskSet = serde_json::from_value(json!({ "tasks": tasks })).unwrap();
        let tenant = Tenant::first(&ProjectName::parse("blog").unwrap());
        assert_eq!(places(&tenant, &set).len(), MAX_PLACES);
    }
}
