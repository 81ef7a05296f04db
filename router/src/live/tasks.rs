//! The tasks and pipelines of a live version: those that its files declare, and the crons that its
//! code has registered.

use std::sync::Arc;

use switchyard_contract::task::{TaskSet, TaskSpec};
use switchyard_tasks::declared::Declared;

/// The tasks and pipelines of a live version.
#[derive(Debug, Clone, Default)]
pub(crate) struct LiveTasks {
    declared: Arc<Declared>,
    /// The specifications with those of registered crons. `None`: there are no such crons.
    with_crons: Option<Arc<TaskSet>>,
    /// The hash of all specifications. `None`: there are none.
    hash: Option<Arc<str>>,
}

impl LiveTasks {
    pub(crate) fn new(declared: Arc<Declared>) -> Self {
        let hash = hash(&declared.set);
        Self { declared, with_crons: None, hash }
    }

    /// Returns the declared tasks with `crons`, in place of the crons before them. A declared task
    /// or pipeline takes precedence over a cron of its name.
    pub(crate) fn with_crons(&self, crons: Vec<TaskSpec>) -> Self {
        let mut set = self.declared.set.clone();
        let declared = &self.declared.set;
        let is_new =
            |cron: &TaskSpec| declared.task(&cron.name).is_none() && declared.pipeline(&cron.name).is_none();
        set.tasks.extend(crons.into_iter().filter(is_new));
        set.tasks.sort_by(|one, other| one.name.cmp(&other.name));
        set.tasks.dedup_by(|one, other| one.name == other.name);
        if set.tasks.len() == declared.tasks.len() {
            return Self::new(self.declared.clone());
        }
        Self { declared: self.declared.clone(), hash: hash(&set), with_crons: Some(Arc::new(set)) }
    }

    /// All specifications.
    pub(crate) fn set(&self) -> &TaskSet {
        self.with_crons.as_deref().unwrap_or(&self.declared.set)
    }

    /// The hash of all specifications. `None`: there are none.
    pub(crate) fn hash(&self) -> Option<&str> {
        self.hash.as_deref()
    }
}

fn hash(set: &TaskSet) -> Option<Arc<str>> {
    (!set.is_empty()).then(|| set.hash().into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn task(name: &str, code: serde_json::Value) -> TaskSpec {
        serde_json::from_value(json!({"name": name, "declared_in": "deno.json", "code": code})).unwrap()
    }

    fn module(name: &str) -> TaskSpec {
        task(name, json!({"kind": "module", "path": "a.ts"}))
    }

    fn cron(name: &str) -> TaskSpec {
        task(name, json!({"kind": "cron", "name": name}))
    }

    fn declared(tasks: Vec<TaskSpec>) -> LiveTasks {
        let set = TaskSet { tasks, ..TaskSet::default() };
        LiveTasks::new(Arc::new(Declared { set, ..Declared::default() }))
    }

    fn names(tasks: &LiveTasks) -> Vec<&str> {
        tasks.set().tasks.iter().map(|task| task.name.as_str()).collect()
    }

    #[test]
    fn a_version_without_tasks_has_no_hash() {
        assert_eq!(declared(Vec::new()).hash(), None);
        assert_eq!(LiveTasks::default().hash(), None);
        assert_eq!(declared(vec![module("a")]).hash().unwrap().len(), 16);
    }

    #[test]
    fn registered_crons_are_tasks_too_until_the_code_registers_others() {
        let tasks = declared(vec![module("a"), module("z")]);
        let with = tasks.with_crons(vec![cron("cron/m"), cron("cron/m")]);
        assert_eq!(names(&with), ["a", "cron/m", "z"]);
        assert_ne!(with.hash(), tasks.hash());
        assert_eq!(names(&with.with_crons(vec![cron("cron/n")])), ["a", "cron/n", "z"]);
        assert_eq!(with.with_crons(Vec::new()).hash(), tasks.hash());
        assert_eq!(names(&declared(Vec::new()).with_crons(vec![cron("cron/m")])), ["cron/m"]);
    }

    #[test]
    fn a_declared_task_is_not_replaced_by_a_cron_of_its_name() {
        let tasks = declared(vec![module("cron/m")]);
        let with = tasks.with_crons(vec![cron("cron/m")]);
        assert_eq!((with.set(), with.hash()), (tasks.set(), tasks.hash()));
    }
}
