//! Deploys. Each goes through its phases in a task of its own, also when its client leaves.
//!
//! `store -> hold -> swap -> build -> publish`; a build that fails anywhere puts the old trees
//! back.

mod job;
mod jobs;
mod release;
mod rounds;
mod run;
mod ticket;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;
use jiff::SignedDuration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use uuid::Uuid;

pub use self::job::Job;
use self::jobs::Jobs;
use self::run::Run;
pub use self::ticket::{DeployNotes, Ticket};
use super::metrics::Metrics;
use super::records::RecordStore;
use super::routers::Routers;
use super::volume::{Change, EntryName, UnfinishedDeploy, Volume};
use crate::locks::Locks;
use crate::traces::Traces;
use switchyard_contract::deploy::{Action, DeployOutcome, DeployPhase, DeployRecord, DeployedProject};
use switchyard_contract::incarnation::Incarnation;
use switchyard_contract::project::ProjectName;
use switchyard_edge::problem::Problem;

/// Deploys in which hanging routers are waited for at once. Beyond it, the routers release the
/// projects when their leases end.
const MAX_CHORES: usize = 100;

/// The settings of all deploys.
#[derive(Debug, Clone, Copy)]
pub struct DeploySettings {
    /// Time from the received upload to the answer.
    pub timeout: Duration,
    /// Routers that must publish. `None`: all that can be reached.
    pub quorum: Option<usize>,
    /// Uploads at once.
    pub max_uploads: usize,
    /// The time for which a removed project can be brought back.
    pub keep_removed: SignedDuration,
}

/// All deploys. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Deploys(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    settings: DeploySettings,
    volume: Volume,
    routers: Routers,
    records: RecordStore,
    metrics: Metrics,
    traces: Traces,
    uploads: Arc<Semaphore>,
    jobs: Mutex<Jobs>,
    tasks: Mutex<JoinSet<()>>,
    /// Background work that no answer waits for, aborted when the bridge stops.
    chores: Mutex<JoinSet<()>>,
    stopping: AtomicBool,
}

/// A request for a deploy.
#[derive(Debug, Clone)]
pub struct DeployRequest {
    /// The action.
    pub action: Action,
    /// The name of the token. `None` where no tokens are configured.
    pub by: Option<String>,
    /// The project. `None` while it is known only from the upload.
    pub project: Option<ProjectName>,
    /// The key by which a repeated request is recognized.
    pub idempotency_key: Option<String>,
}

/// The result of a request for a deploy.
#[derive(Debug)]
pub enum Submission {
    New(Ticket),
    /// The same deploy was requested before.
    Known(Arc<Job>),
}

impl Deploys {
    /// Creates the registry. `found` are the records of earlier processes, `unfinished` the deploys
    /// that were interrupted by a crash: they are resumed.
    pub fn new(
        settings: DeploySettings,
        volume: Volume,
        routers: Routers,
        (records, found): (RecordStore, Vec<DeployRecord>),
        unfinished: Vec<UnfinishedDeploy>,
        (metrics, traces): (Metrics, Traces),
    ) -> Self {
        let jobs = Jobs { changes: routers.changes().clone(), ..Jobs::default() };
        let shared = Shared {
            settings,
            volume,
            routers,
            records,
            metrics,
            traces,
            uploads: Arc::new(Semaphore::new(settings.max_uploads)),
            jobs: Mutex::new(jobs),
            tasks: Mutex::default(),
            chores: Mutex::default(),
            stopping: AtomicBool::new(false),
        };
        let deploys = Self(Arc::new(shared));
        let mut lost = Vec::new();
        for record in found {
            let is_unfinished = unfinished.iter().any(|one| one.staging.deploy() == record.deploy);
            if record.outcome.is_none() && !is_unfinished {
                lost.push(record.deploy);
            } else {
                deploys.remember(record, is_unfinished);
            }
        }
        for one in unfinished {
            deploys.resume(one);
        }
        if !lost.is_empty() {
            let (routers, records) = (deploys.0.routers.clone(), deploys.0.records.clone());
            deploys.0.chore(release::release_lost(routers, records, lost, settings.timeout));
        }
        deploys
    }

    /// Accepts a deploy.
    ///
    /// # Errors
    /// 409 while another one of the project is under way, 503 while there are too many.
    pub fn begin(&self, order: DeployRequest) -> Result<Submission, Problem> {
        if self.0.stopping.load(Ordering::Relaxed) {
            return Err(stopping());
        }
        let mut jobs = self.jobs();
        let earlier = order.idempotency_key.as_ref().and_then(|key| jobs.by_key(&order.by, key));
        if let Some(job) = &earlier {
            if !order.is_like(&job.record()) {
                return Err(key_reused(job));
            }
            if !job.is_done() || order.action != Action::Deploy {
                return Ok(Submission::Known(job.clone()));
            }
        }
        if let Some(project) = &order.project {
            jobs.check_free(&EntryName::Project(project.clone()))?;
        }
        let permit = self.0.uploads.clone().try_acquire_owned().map_err(|_| {
            let detail =
                format!("{} deploys are being received already: try again soon", self.0.settings.max_uploads);
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail)
        })?;
        let id = Uuid::new_v4().to_string();
        let record = DeployRecord {
            by: order.by,
            idempotency_key: order.idempotency_key,
            ..DeployRecord::new(id, order.action, DeployPhase::Receive)
        };
        let job = jobs.add(record);
        Ok(Submission::New(Ticket { deploys: self.clone(), job, earlier, started: false, _permit: permit }))
    }

    /// Returns the deploy with this id, if it is known.
    pub fn job(&self, id: &str) -> Option<Arc<Job>> {
        self.jobs().by_id.get(id).cloned()
    }

    /// The records of all deploys that are known, the newest first.
    pub fn records(&self) -> Vec<DeployRecord> {
        let mut records: Vec<_> = self.jobs().by_id.values().map(|job| job.record()).collect();
        records.sort_by(|a, b| (b.at, &b.deploy).cmp(&(a.at, &a.deploy)));
        records
    }

    /// The longest time for one deploy.
    pub fn timeout(&self) -> Duration {
        self.0.settings.timeout
    }

    /// Returns the volume that is deployed to.
    pub fn volume(&self) -> &Volume {
        &self.0.volume
    }

    /// Returns the locks of projects.
    pub fn locks(&self) -> Locks {
        Locks::of(self.0.volume.state_dir())
    }

    /// Resumes a deploy that a killed bridge left unfinished.
    fn resume(&self, unfinished: UnfinishedDeploy) {
        let (staging, changes) = (unfinished.staging, unfinished.changes);
        let id = staging.deploy().to_owned();
        let mut jobs = self.jobs();
        let job = jobs.by_id.get(&id).cloned().unwrap_or_else(|| {
            let action = match changes.first() {
                Some(Change::Remove(..)) => Action::Delete,
                Some(Change::BringBack(..)) => Action::Rollback,
                _ => Action::Deploy,
            };
            let record = DeployRecord {
                projects: deployed(&changes),
                ..DeployRecord::new(id.clone(), action, DeployPhase::Store)
            };
            jobs.add(record)
        });
        for change in &changes {
            jobs.busy.insert(change.entry(), id.clone());
        }
        drop(jobs);
        tracing::warn!(deploy = id, "a deploy was interrupted: resuming it");
        let run = Run::new(self.0.clone(), job, staging, changes, false);
        spawn(&mut self.tasks(), async move { run.resume().await });
    }

    /// Lets the deploys under way finish for at most `grace`. Those that are cut off are resumed at
    /// the next start.
    pub async fn stop(&self, grace: Duration) {
        self.0.stopping.store(true, Ordering::Relaxed);
        let mut tasks = std::mem::take(&mut *self.tasks());
        self.0.chores().abort_all();
        let ended = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(grace, ended).await.is_err() {
            tracing::warn!("interrupting deploys in progress: the next start resumes them");
        }
    }

    fn remember(&self, record: DeployRecord, is_unfinished: bool) {
        let id = record.deploy.clone();
        let mut jobs = self.jobs();
        jobs.add(record);
        if !is_unfinished {
            jobs.retire(id, &self.0.records);
        }
    }

    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.0.jobs()
    }

    fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Runs `chore` in the background, unless too many are running.
    fn chore(&self, chore: impl Future<Output = ()> + Send + 'static) {
        let mut chores = self.chores();
        while chores.try_join_next().is_some() {}
        if chores.len() < MAX_CHORES {
            chores.spawn(chore);
        }
    }

    fn chores(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.chores.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Held for a few map operations, never over an await.
    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the deploy of `job`: its record is kept, its projects are free.
    fn end(&self, job: &Job, end: Result<DeployOutcome, (DeployOutcome, Problem)>) {
        let id = job.record().deploy;
        // A client that has read the answer may deploy again at once.
        self.free(&id);
        let record = job.end(end);
        self.metrics.ended(&record);
        self.traces.deploy_ended(&record);
        audit(&record);
        if let Err(error) = self.records.put(&record) {
            tracing::error!(deploy = id, "the record is lost when this process ends: {error}");
        }
    }

    /// The deploy is over: its projects are free for others.
    fn free(&self, id: &str) {
        let mut jobs = self.jobs();
        jobs.busy.retain(|_, deploy| deploy != id);
        jobs.retire(id.to_owned(), &self.records);
    }
}

impl DeployRequest {
    /// Returns true if `record` may be the record of the same request.
    fn is_like(&self, record: &DeployRecord) -> bool {
        // The project is unknown until the upload has named it.
        let project = self.project.iter().all(|project| record.names().all(|name| name == project));
        self.action == record.action && project
    }
}

fn spawn(tasks: &mut JoinSet<()>, task: impl Future<Output = ()> + Send + 'static) {
    while tasks.try_join_next().is_some() {}
    tasks.spawn(task);
}

fn stopping() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "the bridge is stopping: try again soon")
}

fn key_reused(earlier: &Job) -> Problem {
    let detail = "this idempotency-key came with other files before: send a new key with each deploy";
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key-reused", detail)
        .with("deploy", earlier.record().deploy)
}

/// Returns the record's entries of the projects. The version of one that is kept is known when routers
/// have built it.
fn deployed(changes: &[Change]) -> Vec<DeployedProject> {
    let one = |change: &Change| {
        let tree = change.tree();
        Some(DeployedProject {
            project: change.project()?.clone(),
            digest: tree.map(|tree| tree.digest),
            version: tree.map(|tree| format!("{}@{}", tree.project, tree.digest.short())),
            own_digest: None,
            previous: None,
            incarnation: Incarnation::FIRST,
            removal: None,
            files: tree.map_or(0, |tree| tree.files),
            bytes: tree.map_or(0, |tree| tree.bytes),
        })
    };
    let mut all: Vec<_> = changes.iter().filter_map(one).collect();
    all.sort_by(|a, b| a.project.cmp(&b.project));
    all
}

/// One line for each project that was to be changed.
fn audit(record: &DeployRecord) {
    for deployed in &record.projects {
        tracing::info!(
            audit = true,
            action = record.action.as_str(),
            project = deployed.project.as_str(),
            by = record.by,
            deploy = record.deploy,
            version = deployed.version,
            previous = deployed.previous,
            outcome = record.outcome.map(DeployOutcome::as_str),
            status = record.status,
            note = record.message,
            source = record.commit.as_ref().map(|commit| commit.source.as_str()),
            commit = record.commit.as_ref().map(|commit| commit.commit.as_str()),
            "{} of {}: {}",
            record.action,
            deployed.project,
            record.outcome.map_or("under way", DeployOutcome::as_str),
        );
    }
}

#[cfg(test)]
mod tests;
