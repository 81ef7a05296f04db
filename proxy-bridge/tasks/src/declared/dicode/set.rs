//! A `taskset.yaml`: entries that lead to tasks and other sets, and what they override.

use switchyard_contract::suggest::did_you_mean;

use super::super::{Fields, Node, Pair, join};
use super::task::{Home, add};
use super::{FileKind, Walk, cascade, folder_of, open};

const KEYS: [&str; 4] = ["apiVersion", "kind", "metadata", "spec"];
const BODY: [&str; 2] = ["defaults", "entries"];
const ENTRY: [&str; 3] = ["ref", "inline", "overrides"];
const REF: [&str; 6] = ["url", "path", "branch", "poll_interval", "auth", "dev_ref"];

/// Sets in sets.
const MAX_DEPTH: usize = 8;

/// Tasks of one project that sets may lead to, before the project's own limit is looked at: two
/// entries may lead to one set, and so on below.
const MAX_ENTRIES: usize = 2_000;

/// A set on the way to a task.
struct Level<'l> {
    /// The name before its entries' names.
    namespace: &'l str,
    file: &'l str,
    /// Overrides of sets above, the outermost first.
    above: Vec<&'l Node>,
    enabled: bool,
    /// The files of the sets above and of this one.
    files: Vec<&'l str>,
}

/// Reads a set that no other one leads to.
pub(super) fn root(walk: &mut Walk<'_>, file: &str, node: &Node) {
    walk.used.insert(file.to_owned());
    let name = node.get("metadata").and_then(|metadata| metadata.get("name")).and_then(Node::text);
    let namespace = name.unwrap_or_default();
    read(walk, node, &Level { namespace, file, above: Vec::new(), enabled: true, files: vec![file] });
}

fn read(walk: &mut Walk<'_>, node: &Node, level: &Level<'_>) {
    let report = &mut walk.gathered.report;
    let Some(fields) = Fields::open(node, "", &KEYS, report) else { return };
    let Some(spec) = fields.get("spec") else {
        return fields.wrong("spec", "is missing: it has the entries", report);
    };
    let Some(body) = Fields::open(spec, "spec", &BODY, report) else { return };
    let defaults = body.get("defaults");
    if let Some(defaults) = defaults {
        Fields::open(defaults, "spec.defaults", &cascade::DEFAULTS, report);
    }
    let Some(entries) = body.get("entries") else {
        return body.wrong("entries", "is missing: names of tasks, and where they are", report);
    };
    let Some(entries) = Fields::any(entries, "spec.entries", report) else { return };
    check_names(walk, &entries, &level.above);
    for pair in entries.pairs() {
        entry(walk, pair, defaults, level);
    }
}

/// Refuses overrides for entries that do not exist.
fn check_names(walk: &mut Walk<'_>, entries: &Fields<'_>, above: &[&Node]) {
    let names: Vec<_> = entries.pairs().map(|pair| pair.key.as_str()).collect();
    let named =
        above.iter().filter_map(|layer| layer.get("entries")).flat_map(|node| node.map().unwrap_or_default());
    for pair in named.filter(|pair| !names.contains(&pair.key.as_str())) {
        let fix = format!("is no entry of {}{}", entries.place().file, did_you_mean(&pair.key, &names));
        walk.gathered.report.wrong(&pair.place, &pair.key, fix);
    }
}

fn entry(walk: &mut Walk<'_>, pair: &Pair, defaults: Option<&Node>, level: &Level<'_>) {
    let path = format!("spec.entries.{}", pair.key);
    let name = if level.namespace.is_empty() {
        pair.key.clone()
    } else {
        format!("{}/{}", level.namespace, pair.key)
    };
    let report = &mut walk.gathered.report;
    if walk.gathered.tasks.len() >= MAX_ENTRIES {
        return report.wrong(
            &pair.place,
            &path,
            format!("is beyond the {MAX_ENTRIES} tasks that are possible"),
        );
    }
    let Some(fields) = Fields::open(&pair.value, path, &ENTRY, report) else { return };
    if let Some(own) = fields.get("overrides") {
        cascade::check(own, &fields.path_of("overrides"), report);
    }
    let own = fields.get("overrides");
    let mut layers: Vec<&Node> =
        level.above.iter().filter_map(|layer| layer.get("entries")?.get(&pair.key)).collect();
    let said = |layer: &&Node| layer.get("enabled").and_then(Node::flag);
    let enabled =
        level.enabled && layers.iter().rev().find_map(said).or(own.as_ref().and_then(said)).unwrap_or(true);
    layers.extend(own);
    match (fields.get("ref"), fields.get("inline")) {
        (Some(_), None) => {
            let Some(file) = referred(walk, &fields, level, enabled) else { return };
            follow(walk, &fields, &Target { name: &name, file: &file, layers, defaults, enabled }, level);
        }
        (None, Some(task)) => {
            let place = pair.place.clone();
            let task = layered(task, defaults, &layers);
            add(walk, &Home { name: &name, file: level.file, place, enabled }, &task);
        }
        _ => report.wrong(&pair.place, fields.path(), "needs one of \"ref\" and \"inline\""),
    }
}

/// The file that an entry leads to.
struct Target<'t> {
    name: &'t str,
    file: &'t str,
    layers: Vec<&'t Node>,
    defaults: Option<&'t Node>,
    enabled: bool,
}

/// Reads the file that an entry leads to.
fn follow(walk: &mut Walk<'_>, fields: &Fields<'_>, target: &Target<'_>, level: &Level<'_>) {
    let file = target.file;
    if level.files.contains(&file) || level.files.len() >= MAX_DEPTH {
        let fix = format!("leads to {file}, which leads here, or is below {MAX_DEPTH} sets");
        return fields.wrong("ref", fix, &mut walk.gathered.report);
    }
    walk.used.insert(file.to_owned());
    let Some((kind, node)) = open(walk, file) else { return };
    let Target { name, defaults, ref layers, enabled, .. } = *target;
    if kind == FileKind::Task {
        let place = fields.place_of("ref").clone();
        return add(walk, &Home { name, file, place, enabled }, &layered(&node, defaults, layers));
    }
    let has_effect = |key: &str| ["entries", "enabled", "defaults"].contains(&key);
    for pair in
        layers.iter().flat_map(|layer| layer.map().unwrap_or_default()).filter(|pair| !has_effect(&pair.key))
    {
        let fix = "has no effect on a set: write it in \"entries\", for each task";
        walk.gathered.report.remark(&pair.place, &pair.key, fix);
    }
    let files = level.files.iter().copied().chain([file]).collect();
    read(walk, &node, &Level { namespace: name, file, above: layers.clone(), enabled, files });
}

fn layered(task: &Node, defaults: Option<&Node>, layers: &[&Node]) -> Node {
    let mut task = task.clone();
    for layer in defaults.into_iter().chain(layers.iter().copied()) {
        cascade::apply(&mut task, layer);
    }
    task
}

/// The file that `ref` names, relative to the set's.
fn referred(walk: &mut Walk<'_>, fields: &Fields<'_>, level: &Level<'_>, enabled: bool) -> Option<String> {
    let report = &mut walk.gathered.report;
    let own = Fields::open(fields.get("ref")?, fields.path_of("ref"), &REF, report)?;
    if own.has("url") {
        if enabled {
            let fix = "leads to another repository, which a project's file cannot do: make that repository a git \
                       source of the bridge (--sources), or copy the tasks into this project";
            own.wrong("url", fix, report);
        }
        return None;
    }
    if !own.has("path") {
        own.wrong("path", "is missing: the task.yaml or taskset.yaml, relative to this file", report);
    }
    let text = own.text("path", report)?;
    let Some(file) = join(folder_of(level.file), text) else {
        if enabled {
            own.wrong("path", "leads out of the project: copy the task into it", report);
        }
        return None;
    };
    if !walk.folder.has(&file) {
        if enabled {
            own.wrong("path", format!("names {file}, which does not exist"), report);
        }
        return None;
    }
    Some(file)
}
