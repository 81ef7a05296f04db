//! The state of a pipeline that is under way, and everything that its next steps need.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::versions::NoTasks;
use crate::ledger::LedgerError;
use switchyard_contract::run::{RunVersion, Step};
use switchyard_contract::task::ProjectTasks;

/// The modules that a project's registry names, and the version that it is of.
#[derive(Debug, Clone)]
pub(super) struct Registry {
    pub(super) modules: BTreeMap<String, String>,
    pub(super) version: RunVersion,
}

/// The state of a pipeline that is under way.
#[derive(Debug, Default)]
pub(super) struct PipelineState {
    /// The results of the steps that have ended well.
    pub(super) results: BTreeMap<String, Value>,
    /// The steps that have begun, or are about to.
    pub(super) begun: BTreeSet<String>,
    /// The registry, where all steps use the same.
    pub(super) registry: Option<Registry>,
    /// The version whose registry named a step's module.
    pub(super) named_by: BTreeMap<String, String>,
}

/// Everything that a pipeline needs before its first step.
pub(super) struct Loaded {
    /// Its steps so far, and those of the run that it goes on from.
    pub(super) steps: Vec<Step>,
    /// The tasks of the version that it uses: the one that it names, or the live one.
    pub(super) tasks: Option<ProjectTasks>,
}

/// The reason why a pipeline does not begin.
#[derive(Debug)]
pub(super) enum NotLoaded {
    /// Its steps so far cannot be read.
    History(LedgerError),
    /// The version that it names cannot be had.
    Version(NoTasks),
}
