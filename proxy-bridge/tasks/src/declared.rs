//! The tasks and pipelines of a project's folder: deno.json, `tasks/*/task.yaml`, `taskset.yaml`
//! and `pipelines/*.json`.

mod config;
mod cron;
mod dicode;
mod fields;
mod files;
mod graph;
mod json;
mod node;
mod params;
mod permissions;
mod pipelines;
mod report;
mod task;
mod triggers;
mod webhook;
mod whole;
mod yaml;

use std::path::Path;

use switchyard_contract::event::Diagnostic;
use switchyard_contract::task::{PipelineSpec, TaskName, TaskSet, TaskSpec, TaskTrigger};

pub use self::config::KEYS;
use self::fields::{Fields, TimeBounds};
use self::files::{Folder, folder_of, join};
use self::graph::circle;
use self::node::{Kind, Node, Pair, Place, object};
use self::params::Spelling;
use self::report::Report;

/// The tasks and pipelines of a folder.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Declared {
    /// The specifications, sorted by name.
    pub set: TaskSet,
    /// Paths of all modules that tasks name, and of the registry, relative to the folder: what a
    /// build links. Sorted, each once.
    pub modules: Vec<String>,
    /// Remarks that stop nothing.
    pub warnings: Vec<Diagnostic>,
}

/// A specification and its place, before what belongs to all of them is checked.
struct Found<T> {
    spec: T,
    place: Place,
    triggers: Vec<Placed<TaskTrigger>>,
    /// The set that it is in; empty: none.
    namespace: String,
    /// The task that its failure starts.
    on_failure: Option<Placed<TaskName>>,
    /// The places of a pipeline's steps, in their order.
    steps: Vec<Place>,
}

/// A value and its place.
#[derive(Debug, Clone)]
struct Placed<T> {
    value: T,
    place: Place,
}

/// All that was found in a folder.
#[derive(Default)]
struct Gathered {
    tasks: Vec<Found<TaskSpec>>,
    pipelines: Vec<Found<PipelineSpec>>,
    registry: Option<String>,
    report: Report,
}

impl<T> Found<T> {
    fn new(spec: T, place: Place, triggers: Vec<Placed<TaskTrigger>>) -> Self {
        Self { spec, place, triggers, namespace: String::new(), on_failure: None, steps: Vec::new() }
    }
}

/// Reads what the project in `dir` declares. Reads bounded files below it only, and follows no link
/// out of it.
///
/// # Errors
/// All problems, each with its file and, where that is known, line and column.
pub fn read(dir: &Path) -> Result<Declared, Vec<Diagnostic>> {
    let (declared, problems) = read_all(dir);
    if problems.is_empty() { Ok(declared) } else { Err(problems) }
}

/// Reads what is well declared, and all problems besides.
pub(crate) fn read_all(dir: &Path) -> (Declared, Vec<Diagnostic>) {
    let folder = match Folder::open(dir) {
        Ok(folder) => folder,
        Err(problem) => return (Declared::default(), vec![problem]),
    };
    let mut gathered = Gathered::default();
    config::read(&folder, &mut gathered);
    dicode::read(&folder, &mut gathered);
    let (mut declared, report) = whole::finish(gathered);
    declared.warnings = report.warnings;
    (declared, report.problems)
}

#[cfg(test)]
mod tests;
