//! The results of the sync under way, for the answers to those who wait for it.

use std::collections::BTreeMap;
use std::time::Instant;

use super::deploy::Deployed;
use crate::git::ObjectId;
use switchyard_contract::source::SyncedProject;

/// The results so far.
#[derive(Debug)]
pub(super) struct Progress {
    began: Instant,
    pub(super) commit: Option<ObjectId>,
    pub(super) ref_name: Option<String>,
    /// The commit that was live when the sync began.
    pub(super) previous: Option<ObjectId>,
    pub(super) projects: Vec<SyncedProject>,
    pub(super) deploy: Option<String>,
    pub(super) problem: Option<serde_json::Value>,
    timings: BTreeMap<String, f64>,
}

impl Progress {
    /// Begins a sync.
    pub(super) fn begin(previous: Option<ObjectId>) -> Self {
        Self {
            began: Instant::now(),
            commit: None,
            ref_name: None,
            previous,
            projects: Vec::new(),
            deploy: None,
            problem: None,
            timings: BTreeMap::new(),
        }
    }

    /// Adds the time of a phase since `began`.
    pub(super) fn took(&mut self, phase: &str, began: Instant) {
        *self.timings.entry(phase.to_owned()).or_default() += began.elapsed().as_secs_f64() * 1e3;
    }

    /// Adds the result of a deploy.
    pub(super) fn deployed(&mut self, deployed: &Deployed) {
        self.projects.clone_from(&deployed.projects);
        self.deploy.clone_from(&deployed.deploy);
        self.problem.clone_from(&deployed.problem);
        for (phase, ms) in deployed.timings.iter().filter(|(phase, _)| *phase != "total") {
            *self.timings.entry(phase.clone()).or_default() += ms;
        }
    }

    /// The times of all phases, and their total.
    pub(super) fn timings(&self) -> BTreeMap<String, f64> {
        let mut timings = self.timings.clone();
        timings.insert("total".to_owned(), self.began.elapsed().as_secs_f64() * 1e3);
        timings
    }
}
