//! Pipelines: in deno.json, in `pipelines/NAME.json` and in `pipeline.json`.

mod steps;

use serde_json::{Map, Value};
use switchyard_contract::task::{Consistency, Overlap, PipelineSpec, TaskName};

use super::{
    Fields, Folder, Found, Kind, Node, Pair, Report, Spelling, circle, json, object, params, task, triggers,
};

/// The keys of a pipeline besides those of its triggers.
pub(super) const KEYS: [&str; 7] =
    ["description", "tasks", "steps", "taskConfig", "version", "params", "enabled"];

/// The folder of pipelines, and the file of one that is the project.
const FOLDER: &str = "pipelines";
const FILE: &str = "pipeline.json";

/// The origin of a pipeline's fields.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// deno.json: each key is known.
    Inline,
    /// A file: keys that are not known are the author's configuration, which steps get.
    File,
}

/// Reads a pipeline of `switchyard.pipelines`: an object, or the path of a file.
pub(super) fn inline(pair: &Pair, folder: &Folder, report: &mut Report) -> Option<Found<PipelineSpec>> {
    let path = format!("switchyard.pipelines.{}", pair.key);
    let name = task::name(pair, &path, report)?;
    let Kind::Text(text) = &pair.value.kind else {
        return read(name, &pair.value, path, Origin::Inline, report);
    };
    let Some(file) = super::join("", text).filter(|file| folder.has(file)) else {
        report.wrong(&pair.place, &path, "must be an object, or the path of a JSON file that exists");
        return None;
    };
    let node = file_node(&file, folder, report)?;
    read(name, &node, String::new(), Origin::File, report)
}

/// Reads the files that are pipelines by their place and form. `declared` are read already.
pub(super) fn files(folder: &Folder, declared: &[String], report: &mut Report) -> Vec<Found<PipelineSpec>> {
    let mut found = Vec::new();
    let names = folder.names(FOLDER);
    let named =
        names.iter().filter_map(|name| Some((name.strip_suffix(".json")?, format!("{FOLDER}/{name}"))));
    let root = folder.has(FILE).then(|| (String::new(), FILE.to_owned()));
    let named = named.map(|(name, file)| (name.to_owned(), file)).chain(root);
    for (name, file) in named.filter(|(_, file)| !declared.contains(file)) {
        let Some(node) = file_node(&file, folder, report) else { continue };
        if !is_pipeline(&node) {
            let place = super::Place::whole(&file);
            report.remark(&place, "tasks", "is missing: the file is not read as a pipeline");
            continue;
        }
        let stated = node.get("name").and_then(Node::text).unwrap_or("pipeline");
        let name = if name.is_empty() { stated.to_owned() } else { name };
        match TaskName::parse(&name) {
            Ok(name) => found.extend(read(name, &node, String::new(), Origin::File, report)),
            Err(error) => report.wrong(&node.place, "name", format!("has an {error}")),
        }
    }
    found
}

/// The files that `switchyard.pipelines` names.
pub(super) fn named_files(pipelines: &Node) -> Vec<String> {
    let pairs = pipelines.map().unwrap_or_default().iter();
    pairs.filter_map(|pair| super::join("", pair.value.text()?)).collect()
}

fn file_node(file: &str, folder: &Folder, report: &mut Report) -> Option<Node> {
    match folder.text(file).and_then(|text| json::read(file, &text.unwrap_or_default(), report)) {
        Ok(node) => Some(node),
        Err(problem) => {
            report.refuse(problem);
            None
        }
    }
}

/// Other programs have files of these names too.
fn is_pipeline(node: &Node) -> bool {
    ["tasks", "steps"].iter().any(|key| node.get(key).is_some_and(|node| node.list().is_some()))
}

fn read(
    name: TaskName,
    node: &Node,
    path: String,
    origin: Origin,
    report: &mut Report,
) -> Option<Found<PipelineSpec>> {
    let known: Vec<_> = KEYS.iter().chain(&triggers::KEYS).copied().collect();
    let fields = match origin {
        Origin::Inline => Fields::open(node, path, &known, report)?,
        Origin::File => Fields::any(node, path, report)?,
    };
    let triggers = triggers::read(&fields, report);
    let steps = steps::read(&fields, &author_config(&fields, origin, &known), report);
    let spec = PipelineSpec {
        name,
        description: fields.text("description", report).map(str::to_owned),
        declared_in: node.place.file.to_string(),
        triggers: Vec::new(),
        overlap: fields
            .choice("overlap", &triggers::OVERLAPS, report)
            .unwrap_or_else(|| Overlap::default_for(triggers.iter().map(|placed| &placed.value))),
        params: params::read(&fields, Spelling::Json, report),
        version: version(&fields, origin, report),
        enabled: fields.flag("enabled", report).unwrap_or(true),
        steps: steps?,
    };
    let nodes = ["tasks", "steps"].into_iter().find_map(|key| fields.get(key)?.list()).unwrap_or_default();
    let steps = nodes.iter().map(|node| node.place.clone()).collect();
    Some(Found { steps, ..Found::new(spec, node.place.clone(), triggers) })
}

/// In a file, `version` may be the author's own: `1.0.0`.
fn version(fields: &Fields<'_>, origin: Origin, report: &mut Report) -> Consistency {
    let text = fields.get("version").and_then(Node::text).unwrap_or_default();
    let is_own = text.bytes().next().is_some_and(|byte| byte.is_ascii_digit() || byte == b'v');
    if origin == Origin::File && (is_own || fields.get("version").is_some_and(|node| node.text().is_none())) {
        return Consistency::default();
    }
    fields.choice("version", &task::CONSISTENCIES, report).unwrap_or_default()
}

/// The other keys of a file: `llm`, for example.
fn author_config(fields: &Fields<'_>, origin: Origin, known: &[&str]) -> Map<String, Value> {
    let is_config =
        |key: &str| origin == Origin::File && key != "name" && key != "$schema" && !known.contains(&key);
    object(fields.pairs().filter(|pair| is_config(&pair.key)))
}

/// The circle of steps that wait for each other, if there is one.
fn circle_of(steps: &[switchyard_contract::task::StepSpec]) -> Option<Vec<&str>> {
    let mut edges: std::collections::BTreeMap<&str, Vec<&str>> = std::collections::BTreeMap::new();
    let mut previous: Option<&str> = None;
    for step in steps {
        let needs: Vec<&str> = match &step.needs {
            Some(needs) => needs.iter().map(String::as_str).collect(),
            None => previous.into_iter().collect(),
        };
        for need in needs {
            edges.entry(need).or_default().push(&step.name);
        }
        previous = Some(&step.name);
    }
    circle(&edges)
}
