//! The steps of a pipeline.

use std::collections::HashSet;

use serde_json::{Map, Value};
use switchyard_contract::bounds::MAX_STEPS;
use switchyard_contract::suggest::did_you_mean;
use switchyard_contract::task::{Retry, StepSpec};

use super::super::task::{TIMEOUT, retry};
use super::super::{Fields, Kind, Node, Report};
use super::circle_of;

/// The keys of a step.
const KEYS: [&str; 6] = ["name", "task", "needs", "config", "timeout", "retry"];

/// Kinds of steps that other programs have.
pub(in super::super) const REFUSED: [&str; 2] = ["agent", "gate"];

/// The longest name, in bytes.
const MAX_NAME: usize = 100;

/// Reads `tasks` or `steps`. `common` is configuration that each step gets.
pub(super) fn read(
    fields: &Fields<'_>,
    common: &Map<String, Value>,
    report: &mut Report,
) -> Option<Vec<StepSpec>> {
    let key = match (fields.has("tasks"), fields.has("steps")) {
        (true, true) => {
            fields.wrong("steps", "contradicts \"tasks\": keep one of them", report);
            return None;
        }
        (false, false) => {
            fields.wrong("tasks", "is missing: the list of steps", report);
            return None;
        }
        (true, false) => "tasks",
        (false, true) => "steps",
    };
    let list = fields.get(key)?.list().filter(|list| (1..=MAX_STEPS).contains(&list.len()));
    let Some(list) = list else {
        fields.wrong(key, format!("must be a list of 1 to {MAX_STEPS} steps"), report);
        return None;
    };
    let configs = Configs { common, own: task_config(fields, report) };
    let problems = report.problems.len();
    let steps: Vec<_> = list.iter().filter_map(|node| step(fields, key, node, &configs, report)).collect();
    check_names(fields, key, &steps, list, report);
    for (name, pair) in configs.unused(&steps) {
        let names: Vec<_> = steps.iter().map(|step| step.name.as_str()).collect();
        let fix = format!("names no step{}", did_you_mean(name, &names));
        report.remark(&pair.place, &format!("{}.{name}", fields.path_of("taskConfig")), fix);
    }
    (report.problems.len() == problems).then_some(steps)
}

/// The configuration of steps.
struct Configs<'n> {
    common: &'n Map<String, Value>,
    own: Option<&'n Node>,
}

impl<'n> Configs<'n> {
    /// Returns the configuration of a step: its own wins over that of `taskConfig`, and that over the one
    /// of all steps.
    fn of(&self, name: &str, task: &str, step: Option<&Node>) -> Value {
        let mut config = self.common.clone();
        let named = self.own.and_then(|own| own.get(name).or_else(|| own.get(task)));
        for node in [named, step].into_iter().flatten() {
            config.extend(super::super::object(node.map().unwrap_or_default().iter()));
        }
        if config.is_empty() { Value::Null } else { Value::Object(config) }
    }

    fn unused<'c>(&'c self, steps: &'c [StepSpec]) -> impl Iterator<Item = (&'n str, &'n super::Pair)> + 'c {
        let pairs = self.own.and_then(Node::map).unwrap_or_default().iter();
        let is_unused = |key: &str| !steps.iter().any(|step| step.name == key || step.task == key);
        pairs.filter(move |pair| is_unused(&pair.key)).map(|pair| (pair.key.as_str(), pair))
    }
}

fn task_config<'n>(fields: &Fields<'n>, report: &mut Report) -> Option<&'n Node> {
    let node = fields.get("taskConfig")?;
    let own = Fields::any(node, fields.path_of("taskConfig"), report)?;
    for pair in own.pairs().filter(|pair| pair.value.map().is_none()) {
        own.wrong(&pair.key, "must be an object: the step's configuration", report);
    }
    Some(node)
}

fn step(
    fields: &Fields<'_>,
    key: &str,
    node: &Node,
    configs: &Configs<'_>,
    report: &mut Report,
) -> Option<StepSpec> {
    let path = fields.path_of(key);
    if let Kind::Text(name) = &node.kind {
        let step = StepSpec {
            name: name.clone(),
            task: name.clone(),
            needs: None,
            config: configs.of(name, name, None),
            timeout_ms: None,
            retry: Retry::default(),
        };
        return Some(step);
    }
    if node.map().is_none() {
        report.wrong(&node.place, &path, "has a step that is neither a name nor an object with \"name\"");
        return None;
    }
    let refused = REFUSED.into_iter().find(|kind| node.get(kind).is_some());
    if let Some(kind) = refused {
        let fix = "is a kind of step that Switchyard does not have: make it a module of the registry";
        report.wrong(&node.place, &format!("{path}.{kind}"), fix);
        return None;
    }
    let own = Fields::open(node, path, &KEYS, report)?;
    let name = own.text("name", report).or_else(|| own.text("task", report));
    let Some(name) = name else {
        own.wrong("name", "is missing: a step needs a name", report);
        return None;
    };
    let task = own.text("task", report).unwrap_or(name);
    let config = own.get("config");
    if config.is_some_and(|config| config.map().is_none()) {
        own.wrong("config", "must be an object", report);
    }
    Some(StepSpec {
        name: name.to_owned(),
        task: task.to_owned(),
        needs: own.texts("needs", report),
        config: configs.of(name, task, config),
        timeout_ms: own.time("timeout", TIMEOUT, report),
        retry: retry(&own, report),
    })
}

fn check_names(fields: &Fields<'_>, key: &str, steps: &[StepSpec], list: &[Node], report: &mut Report) {
    let (path, problems) = (fields.path_of(key), report.problems.len());
    let place_of = |name: &str| {
        let is_it =
            |node: &&Node| node.text() == Some(name) || node.get("name").and_then(Node::text) == Some(name);
        list.iter().rfind(is_it).map_or(fields.place_of(key), |node| &node.place)
    };
    let (mut seen, names) = (HashSet::new(), steps.iter().map(|step| step.name.as_str()));
    for name in names.clone() {
        let is_plain = !name.is_empty() && name.len() <= MAX_NAME && !name.chars().any(char::is_control);
        if !is_plain || name.contains('#') {
            report.wrong(
                place_of(name),
                &path,
                format!("has the step {name:?}: expected at most 100 letters without #"),
            );
        } else if !seen.insert(name) {
            let fix = format!(
                "has two steps {name:?}: name one of them ({{\"name\": \"{name}-again\", \"task\": {name:?}}})"
            );
            report.wrong(place_of(name), &path, fix);
        }
    }
    let names: Vec<_> = names.collect();
    for (step, need) in
        steps.iter().flat_map(|step| step.needs.iter().flatten().map(move |need| (step, need)))
    {
        if !seen.contains(need.as_str()) {
            let fix = format!(
                "has the step {:?} that needs {need:?}, which does not exist{}",
                step.name,
                did_you_mean(need, &names)
            );
            report.wrong(place_of(&step.name), &path, fix);
        }
    }
    // A wrong name may look like a circle.
    if report.problems.len() > problems {
        return;
    }
    if let Some(circle) = circle_of(steps) {
        let fix = format!("has steps that wait for each other: {}", circle.join(", "));
        report.wrong(place_of(circle[0]), &path, fix);
    }
}
