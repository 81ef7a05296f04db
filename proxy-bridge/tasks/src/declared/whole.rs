//! Checks over all tasks and pipelines of a project: names, webhooks, chains, steps and limits.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use switchyard_contract::bounds::MAX_TASKS;
use switchyard_contract::suggest::{did_you_mean, did_you_mean_task};
use switchyard_contract::task::{ChainOutcome, TaskCode, TaskName, TaskSet, TaskTrigger};

use super::{Declared, Found, Gathered, Place, Placed, Report, circle};

/// Tasks with this in front are those that code registers with `Deno.cron`.
const CRON: &str = "cron/";

/// Joins all that was found, and checks it as a whole.
pub(super) fn finish(gathered: Gathered) -> (Declared, Report) {
    let Gathered { tasks, pipelines, registry, mut report } = gathered;
    for (what, count) in [("tasks", tasks.len()), ("pipelines", pipelines.len())] {
        if count > MAX_TASKS {
            let fix = format!("are {count}: at most {MAX_TASKS} are possible");
            report.wrong(&Place::whole("deno.json"), what, fix);
        }
    }
    let mut items = Items::default();
    let mut steps = BTreeMap::new();
    for found in &pipelines {
        steps.entry(found.spec.name.clone()).or_insert_with(|| found.steps.clone());
    }
    let tasks = items.add_all(tasks, |task| (&task.name, task.enabled), &mut report);
    let pipelines = items.add_all(pipelines, |pipeline| (&pipeline.name, pipeline.enabled), &mut report);
    let mut set = TaskSet { tasks, pipelines, registry };
    let Items { names, mut all } = items;
    resolve_chains(&mut all, &names, &mut report);
    check_circles(&all, &mut report);
    check_webhooks(&all, &mut report);
    check_steps(&set, &steps, &mut report);
    check_params(&set, &all, &mut report);
    let mut triggers: HashMap<TaskName, Vec<TaskTrigger>> = HashMap::new();
    for item in all {
        triggers.entry(item.name).or_default().extend(item.triggers.into_iter().map(|placed| placed.value));
    }
    for task in &mut set.tasks {
        task.triggers = triggers.remove(&task.name).unwrap_or_default();
    }
    for pipeline in &mut set.pipelines {
        pipeline.triggers = triggers.remove(&pipeline.name).unwrap_or_default();
    }
    set.tasks.sort_by(|one, other| one.name.cmp(&other.name));
    set.pipelines.sort_by(|one, other| one.name.cmp(&other.name));
    let modules = modules(&set);
    (Declared { set, modules, warnings: Vec::new() }, report)
}

/// The tasks and pipelines with their triggers, and their names.
#[derive(Default)]
struct Items {
    names: Names,
    all: Vec<Item>,
}

impl Items {
    /// Adds the tasks or the pipelines, and returns the specifications of those whose names are free.
    fn add_all<T>(
        &mut self,
        found: Vec<Found<T>>,
        read: fn(&T) -> (&TaskName, bool),
        report: &mut Report,
    ) -> Vec<T> {
        let mut specs = Vec::new();
        for Found { spec, place, triggers, namespace, on_failure, .. } in found {
            let (name, enabled) = read(&spec);
            if self.names.add(name, &place, report) {
                let name = name.clone();
                let failure = on_failure.map(|target| Item::failure(&name, target));
                self.all.push(Item { name, namespace, place, triggers, enabled });
                self.all.extend(failure);
                specs.push(spec);
            }
        }
        specs
    }
}

/// The triggers of one task or pipeline.
struct Item {
    name: TaskName,
    /// The set that it is in: names in its chains may leave it out.
    namespace: String,
    place: Place,
    triggers: Vec<Placed<TaskTrigger>>,
    enabled: bool,
}

impl Item {
    /// The chain by which a failure of `failed` starts another task.
    fn failure(failed: &TaskName, target: Placed<TaskName>) -> Self {
        let trigger = TaskTrigger::Chain { after: failed.clone(), on: ChainOutcome::Failure };
        let namespace = failed.as_str().rsplit_once('/').map_or("", |(namespace, _)| namespace).to_owned();
        let triggers = vec![Placed { value: trigger, place: target.place.clone() }];
        Self { name: target.value, namespace, place: target.place, triggers, enabled: true }
    }
}

#[derive(Default)]
struct Names(BTreeMap<TaskName, Place>);

impl Names {
    fn add(&mut self, name: &TaskName, place: &Place, report: &mut Report) -> bool {
        if name.as_str().starts_with(CRON) {
            report.wrong(place, name.as_str(), "begins with cron/: those names are for Deno.cron");
            return false;
        }
        if let Some(first) = self.0.get(name) {
            let line = if first.line > 0 { format!(", line {}", first.line) } else { String::new() };
            let fix = format!("is declared in {}{line} as well: rename one of them", first.file);
            report.wrong(place, name.as_str(), fix);
            return false;
        }
        self.0.insert(name.clone(), place.clone());
        true
    }

    /// The whole name of what a task in `namespace` calls `name`.
    fn resolve(&self, name: &TaskName, namespace: &str) -> Option<TaskName> {
        if self.0.contains_key(name) {
            return Some(name.clone());
        }
        let whole = TaskName::parse(&format!("{namespace}/{name}")).ok()?;
        self.0.contains_key(&whole).then_some(whole)
    }

    fn near(&self, name: &TaskName) -> String {
        did_you_mean_task(name.as_str(), &self.0.keys().map(TaskName::as_str).collect::<Vec<_>>())
    }
}

fn resolve_chains(all: &mut Vec<Item>, names: &Names, report: &mut Report) {
    all.retain_mut(|item| {
        let Some(name) = names.resolve(&item.name, &item.namespace) else {
            let fix =
                format!("names {:?}, which does not exist{}", item.name.as_str(), names.near(&item.name));
            report.wrong(&item.place, "on_failure_chain", fix);
            return false;
        };
        item.name = name;
        for placed in &mut item.triggers {
            let TaskTrigger::Chain { after, .. } = &mut placed.value else { continue };
            match names.resolve(after, &item.namespace) {
                Some(whole) => *after = whole,
                None => {
                    let near = names.near(after);
                    let fix = format!(
                        "starts {:?} after {:?}, which does not exist{near}",
                        item.name.as_str(),
                        after.as_str()
                    );
                    report.wrong(&placed.place, "after", fix);
                }
            }
        }
        true
    });
}

fn check_circles(all: &[Item], report: &mut Report) {
    let mut edges: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for item in all {
        for placed in &item.triggers {
            if let TaskTrigger::Chain { after, .. } = &placed.value {
                edges.entry(after.as_str()).or_default().push(item.name.as_str());
            }
        }
    }
    let Some(circle) = circle(&edges) else { return };
    let place = all.iter().filter(|item| item.name.as_str() == circle[0]).find_map(|item| {
        item.triggers
            .iter()
            .find(|placed| matches!(placed.value, TaskTrigger::Chain { .. }))
            .map(|placed| &placed.place)
    });
    let shown = circle.iter().chain(circle.first()).copied().collect::<Vec<_>>().join(" -> ");
    let place = place.cloned().unwrap_or_else(|| Place::whole("deno.json"));
    report.wrong(&place, "after", format!("makes a circle of tasks that start each other for ever: {shown}"));
}

fn check_webhooks(all: &[Item], report: &mut Report) {
    let mut seen: BTreeMap<&str, &TaskName> = BTreeMap::new();
    for item in all.iter().filter(|item| item.enabled) {
        for placed in &item.triggers {
            let TaskTrigger::Webhook(webhook) = &placed.value else { continue };
            if let Some(first) = seen.insert(&webhook.path, &item.name) {
                let fix = format!("has the path {:?}, which {:?} has as well", webhook.path, first.as_str());
                report.wrong(&placed.place, "webhook", fix);
            }
        }
    }
}

/// Only webhooks and people give parameters: what else starts a task needs a default for each.
fn check_params(set: &TaskSet, all: &[Item], report: &mut Report) {
    let of_tasks = set.tasks.iter().map(|task| (&task.name, task.enabled, &task.params));
    let of_pipelines = set.pipelines.iter().map(|spec| (&spec.name, spec.enabled, &spec.params));
    let enabled = of_tasks.chain(of_pipelines).filter(|(_, enabled, _)| *enabled);
    let without_default = enabled.filter_map(|(name, _, params)| {
        Some((name, params.iter().find(|param| param.required && param.default.is_none())?))
    });
    let missing: BTreeMap<_, _> = without_default.collect();
    for item in all {
        let Some(param) = missing.get(&item.name) else { continue };
        for placed in &item.triggers {
            let key = match &placed.value {
                TaskTrigger::Webhook(_) => continue,
                TaskTrigger::Chain { .. } => "after",
                other => other.kind(),
            };
            let fix = format!(
                "starts {:?} without parameters, but {:?} is required: give it a \"default\", or leave out \
                 \"required\"",
                item.name.as_str(),
                param.name
            );
            report.wrong(&placed.place, key, fix);
        }
    }
}

/// A step is a module of the registry, which only a run can read, or else a task. `places` are those of
/// each pipeline's steps.
fn check_steps(set: &TaskSet, places: &BTreeMap<TaskName, Vec<Place>>, report: &mut Report) {
    if set.registry.is_some() {
        return;
    }
    let names: Vec<_> = set.tasks.iter().map(|task| task.name.as_str()).collect();
    for pipeline in &set.pipelines {
        let steps = pipeline.steps.iter().enumerate();
        for (index, step) in steps.filter(|(_, step)| !names.contains(&step.task.as_str())) {
            let fix = format!(
                "has the step {:?}, which is no task of the project, and there is no registry (tasks/index.js, or \
                 \"switchyard.registry\" in deno.json){}",
                step.task,
                did_you_mean(&step.task, &names)
            );
            let place = places.get(&pipeline.name).and_then(|places| places.get(index)).cloned();
            let place = place.unwrap_or_else(|| Place::whole(&pipeline.declared_in));
            report.wrong(&place, pipeline.name.as_str(), fix);
        }
    }
}

fn modules(set: &TaskSet) -> Vec<String> {
    let paths = set.tasks.iter().filter_map(|task| match &task.code {
        TaskCode::Module { path } => Some(path.clone()),
        TaskCode::Cron { .. } | TaskCode::Scheduled => None,
    });
    paths.chain(set.registry.clone()).collect::<BTreeSet<_>>().into_iter().collect()
}
