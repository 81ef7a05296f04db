//! The known deploys by id, by idempotency key, and by their projects.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use http::StatusCode;

use super::Job;
use crate::changes::{Change, Changes};
use crate::records::{MAX_RECORDS, RecordStore};
use crate::volume::EntryName;
use switchyard_contract::deploy::DeployRecord;
use switchyard_edge::problem::Problem;

#[derive(Debug, Default)]
pub(super) struct Jobs {
    pub(super) by_id: HashMap<String, Arc<Job>>,
    /// The oldest first; at most [`MAX_RECORDS`], those under way not counted.
    pub(super) done: VecDeque<String>,
    /// The projects and shared entries of deploys under way, and which deploy that is.
    pub(super) busy: HashMap<EntryName, String>,
    pub(super) by_key: HashMap<Key, String>,
    /// Learns of every change of a deploy.
    pub(super) changes: Changes,
}

/// An idempotency key is its caller's own.
type Key = (Option<String>, String);

impl Jobs {
    pub(super) fn add(&mut self, record: DeployRecord) -> Arc<Job> {
        let id = record.deploy.clone();
        if let Some(key) = &record.idempotency_key {
            self.by_key.insert((record.by.clone(), key.clone()), id.clone());
        }
        let job = Arc::new(Job::new(record, self.changes.clone()));
        self.by_id.insert(id, job.clone());
        job
    }

    pub(super) fn by_key(&self, by: &Option<String>, key: &str) -> Option<Arc<Job>> {
        let id = self.by_key.get(&(by.clone(), key.to_owned()))?;
        self.by_id.get(id).cloned()
    }

    /// # Errors
    /// 409 while another deploy of the project or shared entry is under way.
    pub(super) fn check_free(&self, name: &EntryName) -> Result<(), Problem> {
        let Some(deploy) = self.busy.get(name) else { return Ok(()) };
        let detail =
            format!("another deploy of {name} is in progress: wait until GET /deploys/{deploy} says done");
        let problem = Problem::new(StatusCode::CONFLICT, "deploy-under-way", detail);
        let member = if name.project().is_some() { "project" } else { "shared" };
        Err(problem.with(member, name.as_str()).with("deploy", deploy.as_str()))
    }

    /// Counts a job as done, and forgets the oldest one beyond the limit.
    pub(super) fn retire(&mut self, id: String, records: &RecordStore) {
        self.done.push_back(id);
        while self.done.len() > MAX_RECORDS {
            let Some(oldest) = self.done.pop_front() else { return };
            self.forget(&oldest);
            records.remove(&oldest);
        }
    }

    pub(super) fn forget(&mut self, id: &str) {
        self.by_id.remove(id);
        self.by_key.retain(|_, job| job != id);
        self.changes.send(Change::Deploy(id.into()));
    }
}
