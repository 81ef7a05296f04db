//! A deploy that has been accepted and waits for its files.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::StatusCode;
use tokio::sync::OwnedSemaphorePermit;

use super::run::Run;
use super::{Deploys, Job, deployed, key_reused, spawn, stopping};
use crate::volume::{Change, Staging};
use switchyard_contract::commit::CommitInfo;
use switchyard_contract::deploy::{Action, DeployOutcome, DeployedProject};
use switchyard_edge::problem::Problem;

/// A deploy that has been accepted and waits for its files. Dropped, it never was.
#[derive(Debug)]
pub struct Ticket {
    pub(super) deploys: Deploys,
    pub(super) job: Arc<Job>,
    /// A deploy with the same key that is done: this one must come with the same files.
    pub(super) earlier: Option<Arc<Job>>,
    pub(super) started: bool,
    pub(super) _permit: OwnedSemaphorePermit,
}

/// The facts about a deploy that its files do not tell.
#[derive(Debug, Clone, Default)]
pub struct DeployNotes {
    /// The message for the record.
    pub message: Option<String>,
    /// `true`: a version that does not build stays on the volume.
    pub keep: bool,
    /// The commit that the files came from. It goes to the routers with them.
    pub commit: Option<CommitInfo>,
}

impl Ticket {
    /// Returns the deploy's id.
    pub fn id(&self) -> String {
        self.job.record().deploy
    }

    /// Starts the deploy with the files in `staging`. If an earlier deploy with the same
    /// idempotency key had the same files, returns that one instead.
    ///
    /// # Errors
    /// 409 while another deploy of one of the projects or shared entries is under way, 422 when the key came with
    /// other files before.
    pub fn start(
        mut self,
        staging: Staging,
        changes: Vec<Change>,
        notes: DeployNotes,
    ) -> Result<Arc<Job>, Problem> {
        let projects = deployed(&changes);
        if let Some(earlier) = &self.earlier {
            let same = |a: &DeployedProject, b: &DeployedProject| {
                (&a.project, a.files_digest()) == (&b.project, b.files_digest())
            };
            let before = earlier.record().projects;
            // A record does not say which shared entries it was with.
            let is_known = changes.iter().all(|change| change.project().is_some());
            if is_known
                && before.len() == projects.len()
                && before.iter().zip(&projects).all(|(a, b)| same(a, b))
            {
                return Ok(earlier.clone());
            }
            return Err(key_reused(earlier));
        }
        // A proof puts the old files back.
        if self.job.record().action != Action::Prove {
            let locks = self.deploys.locks();
            projects.iter().try_for_each(|deployed| locks.check(&deployed.project))?;
        }
        let id = self.id();
        let mut tasks = self.deploys.tasks();
        // The bridge sets the flag before it takes the tasks to stop: a task that starts later
        // would not be waited for.
        if self.deploys.0.stopping.load(Ordering::Relaxed) {
            return Err(stopping());
        }
        {
            let mut jobs = self.deploys.jobs();
            for change in &changes {
                jobs.check_free(&change.entry())?;
            }
            for change in &changes {
                jobs.busy.insert(change.entry(), id.clone());
            }
        }
        self.started = true;
        let DeployNotes { message, keep, commit } = notes;
        self.job.set_projects(projects);
        self.job.set_notes(message, commit);
        let run = Run::new(self.deploys.0.clone(), self.job.clone(), staging, changes, keep);
        spawn(&mut tasks, async move { run.run().await });
        drop(tasks);
        Ok(self.job.clone())
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.started {
            let id = self.id();
            let mut jobs = self.deploys.jobs();
            jobs.forget(&id);
            if let Some(earlier) = &self.earlier {
                let record = earlier.record();
                if let Some(key) = record.idempotency_key.filter(|_| jobs.by_id.contains_key(&record.deploy))
                {
                    jobs.by_key.insert((record.by, key), record.deploy);
                }
            }
            drop(jobs);
            // Followers of the deploy are answered, and may send it again at once.
            let detail = "the upload of this deploy was not accepted or broke off: send it again";
            let gone = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail);
            self.job.end(Err((DeployOutcome::Refused, gone)));
        }
    }
}
