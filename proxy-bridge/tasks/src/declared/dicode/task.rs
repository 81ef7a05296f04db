//! A `task.yaml`, after all layers are applied.

use switchyard_contract::task::{Consistency, Overlap, TaskCode, TaskName, TaskSpec, TaskTrigger};

use super::super::task::{TIMEOUT, retry};
use super::super::{Fields, Found, Node, Place, Report, Spelling, folder_of, join, params};
use super::{Walk, permissions, trigger};

/// The keys of a task.
const KEYS: [&str; 20] = [
    "apiVersion",
    "kind",
    "name",
    "description",
    "version",
    "author",
    "runtime",
    "trigger",
    "params",
    "permissions",
    "timeout",
    "retry",
    "notify",
    "on_failure_chain",
    "run_inputs",
    "docker",
    "podman",
    "mcp_port",
    "provider",
    "auto_fix",
];

/// Keys that dicode has and Switchyard does not.
const REFUSED: [(&str, &str); 5] = [
    ("docker", "is not possible: tasks are JavaScript or TypeScript, and start no containers"),
    ("podman", "is not possible: tasks are JavaScript or TypeScript, and start no containers"),
    ("mcp_port", "is not possible: a task serves no port"),
    ("provider", "is not possible: variables come from the policy"),
    ("auto_fix", "is not possible: Switchyard does not change code"),
];

const NOTIFY_KEYS: [&str; 2] = ["on_success", "on_failure"];
const INPUT_KEYS: [&str; 3] = ["enabled", "retention", "body_full_textual"];

/// The endings of a task's module, in dicode's order.
const SCRIPTS: [&str; 3] = ["ts", "js", "mjs"];

/// The place of a task in a project.
pub(super) struct Home<'h> {
    /// The whole name: `set/sub/name`.
    pub(super) name: &'h str,
    /// The file that declares it, and the folder of its script.
    pub(super) file: &'h str,
    /// The place of its entry, or of the file.
    pub(super) place: Place,
    pub(super) enabled: bool,
}

/// Reads a task that is in no set.
pub(super) fn standalone(walk: &mut Walk<'_>, name: &str, file: &str, node: &Node) {
    let home = Home { name, file, place: node.place.clone(), enabled: true };
    add(walk, &home, node);
}

/// Adds a task to those of the project. One that is disabled may have anything in it.
pub(super) fn add(walk: &mut Walk<'_>, home: &Home<'_>, node: &Node) {
    let mut scratch = Report::default();
    let report = if home.enabled { &mut walk.gathered.report } else { &mut scratch };
    let problems = report.problems.len();
    let found = read(walk.folder, home, node, report);
    if home.enabled || report.problems.len() == problems {
        walk.gathered.tasks.extend(found);
    }
}

fn read(
    folder: &super::Folder,
    home: &Home<'_>,
    node: &Node,
    report: &mut Report,
) -> Option<Found<TaskSpec>> {
    let name = TaskName::parse(home.name);
    if let Err(error) = &name {
        report.wrong(&home.place, home.name, format!("has an {error}"));
    }
    let fields = Fields::open(node, "", &KEYS, report)?;
    super::refuse(&fields, &REFUSED, report);
    let is_ours = runtime(&fields, report);
    notify(&fields, report);
    let trigger = trigger::read(&fields, report);
    let is_daemon = trigger.as_ref().is_some_and(|found| matches!(found.value, TaskTrigger::Daemon { .. }));
    let dir = folder_of(home.file);
    let spec = TaskSpec {
        description: description(&fields, report),
        declared_in: home.file.to_owned(),
        triggers: Vec::new(),
        timeout_ms: fields.time("timeout", TIMEOUT, report).filter(|_| !is_daemon),
        overlap: Overlap::default_for(trigger.iter().map(|placed| &placed.value)),
        retry: retry(&fields, report),
        params: in_project(params::read(&fields, Spelling::Text, report), dir),
        version: Consistency::default(),
        permissions: Some(permissions::read(&fields, dir, report)),
        enabled: home.enabled,
        keep_inputs: keeps_inputs(&fields, report),
        code: is_ours.then(|| script(folder, home, &fields, report)).flatten()?,
        name: name.ok()?,
    };
    let mut found = Found::new(spec, home.place.clone(), trigger.into_iter().collect());
    found.namespace = home.name.rsplit_once('/').map_or("", |(namespace, _)| namespace).to_owned();
    found.on_failure = trigger::on_failure(&fields, report);
    Some(found)
}

/// Returns true for JavaScript.
fn runtime(fields: &Fields<'_>, report: &mut Report) -> bool {
    match fields.get("runtime").map(Node::text) {
        None | Some(Some("deno" | "js")) => true,
        other => {
            let named = other.flatten().unwrap_or("that");
            fields.wrong(
                "runtime",
                format!("is {named:?}, which is not possible: tasks run in Deno (runtime: deno)"),
                report,
            );
            false
        }
    }
}

/// The name for people goes before the description, where they differ.
fn description(fields: &Fields<'_>, report: &mut Report) -> Option<String> {
    let name = fields.text("name", report);
    if !fields.has("name") {
        fields.wrong("name", "is missing", report);
    }
    let description = fields.get("description").and_then(Node::text).map(str::trim);
    match (name, description.filter(|text| !text.is_empty())) {
        (Some(name), Some(text)) => Some(format!("{name}: {text}")),
        (name, text) => name.or(text).map(str::to_owned),
    }
}

/// Ends of runs are events in any case.
fn notify(fields: &Fields<'_>, report: &mut Report) {
    let Some(node) = fields.get("notify") else { return };
    let Some(own) = Fields::open(node, "notify", &NOTIFY_KEYS, report) else { return };
    for key in NOTIFY_KEYS {
        own.flag(key, report);
    }
}

fn keeps_inputs(fields: &Fields<'_>, report: &mut Report) -> bool {
    let own = fields.get("run_inputs").and_then(|node| Fields::open(node, "run_inputs", &INPUT_KEYS, report));
    own.and_then(|own| own.flag("enabled", report)).unwrap_or_default()
}

/// Paths of the project stand for dicode's variables: a task runs in the project's folder.
fn in_project(
    mut params: Vec<switchyard_contract::task::ParamSpec>,
    dir: &str,
) -> Vec<switchyard_contract::task::ParamSpec> {
    for default in params.iter_mut().filter_map(|param| param.default.as_mut()) {
        let Some(text) = default.as_str() else { continue };
        let below = text.strip_prefix("${TASK_DIR}").or_else(|| text.strip_prefix("${TASK_SET_DIR}"));
        if let Some(path) = below.and_then(|below| join(dir, below.trim_start_matches('/'))) {
            *default = format!("./{path}").into();
        }
    }
    params
}

fn script(
    folder: &super::Folder,
    home: &Home<'_>,
    fields: &Fields<'_>,
    report: &mut Report,
) -> Option<TaskCode> {
    let dir = folder_of(home.file);
    let path = |end: &str| if dir.is_empty() { format!("task.{end}") } else { format!("{dir}/task.{end}") };
    let path = folder.first_of(SCRIPTS.iter().map(|end| path(end)));
    if path.is_none() {
        let fix = format!("has no task.{} beside it", SCRIPTS.join(", task."));
        fields.wrong("name", fix, report);
    }
    path.map(|path| TaskCode::Module { path })
}
