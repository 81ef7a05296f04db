//! Tasks in dicode's spelling: `task.yaml`, and `taskset.yaml` with its overrides.

mod cascade;
mod permissions;
mod set;
mod task;
mod trigger;

use std::collections::BTreeSet;

use super::{Fields, Folder, Gathered, Node, Place, Report, folder_of, yaml};

/// The names of the files.
const TASK: &str = "task.yaml";
const SET: &str = "taskset.yaml";

/// The folder of tasks.
const FOLDER: &str = "tasks";

/// The beginning of `apiVersion`: other programs have files of these names and kinds.
const API: &str = "dicode/";

/// A walk over the files of a project.
struct Walk<'g> {
    folder: &'g Folder,
    gathered: &'g mut Gathered,
    /// Files that sets have led to: they are no tasks of their own.
    used: BTreeSet<String>,
}

/// The kind of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileKind {
    Task,
    Set,
}

/// Reads all of a project's sets, and the tasks that are in none.
pub(super) fn read(folder: &Folder, gathered: &mut Gathered) {
    let mut walk = Walk { folder, gathered, used: BTreeSet::new() };
    for file in [SET.to_owned(), format!("{FOLDER}/{SET}")].into_iter().filter(|file| folder.has(file)) {
        if walk.used.contains(&file) {
            continue;
        }
        if let Some((FileKind::Set, node)) = open(&mut walk, &file) {
            set::root(&mut walk, &file, &node);
        }
    }
    let names = folder.names(FOLDER);
    let own = names.iter().map(|name| (Some(name.as_str()), format!("{FOLDER}/{name}/{TASK}")));
    for (name, file) in own.chain([(None, TASK.to_owned())]) {
        if walk.used.contains(&file) {
            continue;
        }
        if !folder.has(&file) {
            misnamed(&mut walk, &file);
        } else if let Some((FileKind::Task, node)) = open(&mut walk, &file) {
            let key = name.map_or_else(|| slug(&node), str::to_owned);
            task::standalone(&mut walk, &key, &file, &node);
        }
    }
}

/// Reads a file that may be dicode's. `None`: it is not, or is wrong.
fn open(walk: &mut Walk<'_>, file: &str) -> Option<(FileKind, Node)> {
    let text = walk.folder.text(file).map(Option::unwrap_or_default);
    let node = match text.and_then(|text| yaml::read(file, &text)) {
        Ok(node) => node,
        Err(problem) => {
            walk.gathered.report.refuse(problem);
            return None;
        }
    };
    let report = &mut walk.gathered.report;
    let fields = Fields::any(&node, "", report)?;
    if let Some(api) = fields.get("apiVersion").and_then(Node::text).filter(|api| !api.starts_with(API)) {
        let fix = format!("is {api:?}, not {API}v1: the file is not read as a task of Switchyard");
        fields.remark("apiVersion", fix, report);
        return None;
    }
    if !fields.has("kind") {
        fields.wrong("kind", "is missing: Task or TaskSet", report);
        return None;
    }
    let kind = fields.choice("kind", &[("Task", FileKind::Task), ("TaskSet", FileKind::Set)], report)?;
    Some((kind, node))
}

/// Remarks on a name that is nearly that of a task.
fn misnamed(walk: &mut Walk<'_>, file: &str) {
    let near = file.replace(".yaml", ".yml");
    if walk.folder.has(&near) {
        walk.gathered.report.remark(&Place::whole(&near), "task.yml", "is not read: name it task.yaml");
    }
}

/// A task's name as part of a path: `hello-cron` for `Hello Cron`.
fn slug(node: &Node) -> String {
    let name = node.get("name").and_then(Node::text).unwrap_or_default().to_lowercase();
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let slug = words.collect::<Vec<_>>().join("-");
    if slug.is_empty() { "task".to_owned() } else { slug }
}

/// Refuses a key that dicode has and Switchyard does not.
fn refuse(fields: &Fields<'_>, keys: &[(&str, &str)], report: &mut Report) {
    for (key, fix) in keys.iter().filter(|(key, _)| fields.has(key)) {
        fields.wrong(key, fix, report);
    }
}
