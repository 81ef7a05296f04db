//! One deploy, from its stored files to its end.

mod holds;
mod labels;
mod phases;
mod verdict;

use std::sync::Arc;

use http::StatusCode;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use super::rounds::{Quorum, any_reachable};
use super::{Job, Shared, release};
use crate::routers::Router;
use crate::volume::{Change, Register, RemovalTerms, Staging, VolumeError};
use switchyard_contract::deploy::{Action, DeployOutcome, DeployPhase, Removal};
use switchyard_contract::project::ProjectName;
use switchyard_edge::problem::Problem;

/// A deploy that goes through its phases.
pub(super) struct Run {
    shared: Arc<Shared>,
    job: Arc<Job>,
    /// `None` while a blocking step uses it.
    staging: Option<Staging>,
    /// The incarnations on the volume that `staging` is for.
    register: Register,
    changes: Arc<[Change]>,
    /// A version that does not build stays on the volume.
    keep: bool,
    until: Instant,
    /// The number of routers that must answer, given those that were known at the hold.
    quorum: Quorum,
    /// The routers that were asked to hold the projects, and were not released since.
    asked: Vec<Arc<Router>>,
    /// The routers that hold the projects.
    held: Vec<Arc<Router>>,
    /// The routers among them that have built the deployed files.
    built: Vec<Arc<Router>>,
}

/// The outcome and the problem of a deploy that did not succeed.
type DeployFailure = (DeployOutcome, Problem);

impl Run {
    pub(super) fn new(
        shared: Arc<Shared>,
        job: Arc<Job>,
        staging: Staging,
        changes: Vec<Change>,
        keep: bool,
    ) -> Self {
        let until = Instant::now() + shared.settings.timeout;
        let (asked, held, built) = Default::default();
        Self {
            shared,
            job,
            register: staging.register().clone(),
            staging: Some(staging),
            changes: in_order(changes),
            keep,
            until,
            quorum: Quorum::Reachable,
            asked,
            held,
            built,
        }
    }

    pub(super) async fn run(mut self) {
        let end = self.phases().await;
        self.end(end).await;
    }

    /// Resumes a deploy of which all trees, or some, are on the volume. If it cannot be completed,
    /// the old trees are put back.
    pub(super) async fn resume(mut self) {
        if let Some(outcome) = self.job.record().outcome {
            return self.settle_answered(outcome).await;
        }
        if self.proves() {
            let detail = "the bridge was restarted while the commit was built: the source tries it again";
            let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "interrupted", detail);
            let end = self.undo((DeployOutcome::Refused, problem)).await;
            return self.end(Err(end)).await;
        }
        let is_shared_alone = self.is_shared_alone();
        let completed = async {
            if !is_shared_alone {
                self.some_router().await;
                self.hold().await?;
            }
            self.blocking(|staging, _| staging.complete()).await
        };
        let end = match completed.await {
            Ok(()) if is_shared_alone => Ok(self.outcome()),
            Ok(()) => self.build_and_publish().await,
            Err(end) => Err(self.undo(end).await),
        };
        self.end(end).await;
    }

    /// Settles a deploy that was answered already, so that the volume agrees with the answer.
    async fn settle_answered(mut self, outcome: DeployOutcome) {
        let id = self.staging_id();
        if !matches!(outcome, DeployOutcome::Live | DeployOutcome::Removed)
            && let Err((_, problem)) = self.blocking(|staging, _| staging.put_back()).await
        {
            tracing::error!(deploy = id, "the old files are still not restored: {}", problem.detail());
        }
        self.shared.free(&id);
        self.clean().await;
    }

    /// Waits until a router can be reached: those that have a name in common are looked up first,
    /// and all of them may be starting together with the bridge.
    async fn some_router(&self) {
        let routers = &self.shared.routers;
        let mut changed = routers.changed();
        let known = async { while routers.all().is_empty() && changed.changed().await.is_ok() {} };
        // Without any router, the hold fails with that reason.
        let _ = timeout_at(self.until, known).await;
        any_reachable(routers, &routers.all(), self.until).await;
    }

    async fn phases(&mut self) -> Result<DeployOutcome, DeployFailure> {
        self.job.begin(DeployPhase::Store);
        self.note_previous();
        let record = self.job.record();
        let records = self.shared.records.clone();
        self.blocking(move |staging, changes| {
            staging.store(changes)?;
            // A bridge that resumes the deploy after a crash finds its token and its message.
            records.put(&record).map_err(|source| VolumeError::io("write the deploy's record", source))
        })
        .await?;
        if self.is_shared_alone() {
            self.blocking(|staging, changes| staging.swap(changes)).await?;
            return Ok(self.outcome());
        }
        self.hold().await?;
        let swapped = self.blocking(|staging, changes| staging.swap(changes)).await;
        if swapped.is_err() {
            self.release().await;
        }
        swapped?;
        self.build_and_publish().await
    }

    async fn build_and_publish(&mut self) -> Result<DeployOutcome, DeployFailure> {
        if let Err(end) = self.build().await {
            return Err(self.undo(end).await);
        }
        if self.proves() {
            self.blocking(|staging, _| staging.put_back()).await?;
            self.release().await;
            return Ok(DeployOutcome::Ready);
        }
        if let Err(end) = self.commit().await {
            return Err(self.undo(end).await);
        }
        self.publish().await?;
        Ok(self.outcome())
    }

    /// The changes of projects, with the projects.
    fn of_projects(&self) -> impl Iterator<Item = (&Change, &ProjectName)> {
        self.changes.iter().filter_map(|change| Some((change, change.project()?)))
    }

    /// Returns true if no project is concerned, and no router then.
    fn is_shared_alone(&self) -> bool {
        self.changes.iter().all(|change| change.project().is_none())
    }

    /// The outcome of the deploy when it succeeds.
    fn outcome(&self) -> DeployOutcome {
        if self.is_removal() { DeployOutcome::Removed } else { DeployOutcome::Live }
    }

    /// Returns true if nothing is to be published.
    fn proves(&self) -> bool {
        self.job.record().action == Action::Prove
    }

    fn is_removal(&self) -> bool {
        self.changes.iter().all(Change::removes)
    }

    /// Records on the volume the incarnations that end and begin with this deploy.
    async fn commit(&mut self) -> Result<(), DeployFailure> {
        let previous = self.job.record().projects.into_iter();
        let versions = previous.filter_map(|deployed| Some((deployed.project, deployed.previous?)));
        let ending = RemovalTerms { keep: self.shared.settings.keep_removed, versions: versions.collect() };
        self.blocking(move |staging, _| staging.commit(&ending)).await?;
        let mut projects = self.job.record().projects;
        let is_removed = |name: &ProjectName| {
            self.changes.iter().any(|change| change.removes() && change.project() == Some(name))
        };
        for deployed in projects.iter_mut().filter(|deployed| is_removed(&deployed.project)) {
            let incarnations = self.register.of(&deployed.project).ok();
            deployed.removal = incarnations.and_then(|all| all.last_removal().map(Removal::from));
        }
        self.job.set_projects(projects);
        Ok(())
    }

    /// Puts the old trees back, releases the routers, and adds the result to the problem. A deploy
    /// that is committed stays.
    async fn undo(&mut self, end: DeployFailure) -> DeployFailure {
        if matches!(self.blocking(|staging, _| Ok(staging.is_committed())).await, Ok(true)) {
            return end;
        }
        let left = self.put_back(&end).await;
        self.release().await;
        let (outcome, problem) = end;
        (outcome, problem.with("restored", left.is_empty()).with("left", left))
    }

    /// Puts the old trees back, unless they are to stay. Returns the entries that were left as they
    /// are.
    async fn put_back(&mut self, (outcome, _): &DeployFailure) -> Vec<String> {
        if self.keep && *outcome == DeployOutcome::Failed {
            return self.changed();
        }
        let id = self.staging_id();
        match self.blocking(|staging, _| staging.put_back()).await {
            Ok(put_back) => put_back.left.iter().map(ToString::to_string).collect(),
            Err((_, problem)) => {
                tracing::error!(
                    deploy = id,
                    "the old files are not restored on the volume: {}",
                    problem.detail()
                );
                self.changed()
            }
        }
    }

    /// The names of the entries of the volume that the deploy changes.
    fn changed(&self) -> Vec<String> {
        let changing = self.changes.iter().filter(|change| !change.keeps());
        changing.map(|change| change.entry().to_string()).collect()
    }

    async fn end(mut self, end: Result<DeployOutcome, DeployFailure>) {
        // This precedes the answer, so that a start that finds the journal never undoes an answered
        // deploy.
        if let Err((_, problem)) = self.blocking(|staging, _| staging.settle()).await {
            tracing::error!(deploy = self.staging_id(), "the next start tries again: {}", problem.detail());
        }
        self.shared.end(&self.job, end);
        self.audit_shared();
        // This follows the answer: slow routers and large old trees do not delay it.
        self.release().await;
        let left = std::mem::take(&mut self.asked);
        if !left.is_empty() {
            let (routers, id) = (self.shared.routers.clone(), self.staging_id());
            self.shared.chore(release::release_when_back(routers, left, id));
        }
        self.clean().await;
    }

    /// One line for each shared entry that was to be changed: records name projects only.
    fn audit_shared(&self) {
        let record = self.job.record();
        let entries = self.changes.iter().map(Change::entry).filter(|entry| entry.project().is_none());
        for entry in entries {
            tracing::info!(
                audit = true,
                action = record.action.as_str(),
                shared = entry.as_str(),
                by = record.by,
                deploy = record.deploy,
                outcome = record.outcome.map(DeployOutcome::as_str),
                status = record.status,
                "{} of {entry}: {}",
                record.action,
                record.outcome.map_or("under way", DeployOutcome::as_str),
            );
        }
    }

    async fn clean(&mut self) {
        let id = self.staging_id();
        let Some(staging) = self.staging.take() else { return };
        match spawn_blocking(move || staging.finish()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(deploy = id, "old files are kept until the next start: {error}"),
            Err(panic) => tracing::error!(deploy = id, "old files are kept until the next start: {panic}"),
        }
    }

    /// Runs a step on the volume, off the threads that serve.
    async fn blocking<T: Send + 'static>(
        &mut self,
        step: impl FnOnce(&mut Staging, &[Change]) -> Result<T, VolumeError> + Send + 'static,
    ) -> Result<T, DeployFailure> {
        let lost = || {
            let problem = Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "volume-failed",
                "a step on the volume was interrupted: see the log; the next start resumes the deploy",
            );
            (DeployOutcome::Refused, problem)
        };
        let mut staging = self.staging.take().ok_or_else(lost)?;
        let changes = self.changes.clone();
        let done = spawn_blocking(move || {
            let result = step(&mut staging, &changes);
            (staging, result)
        });
        let (staging, result) = done.await.map_err(|panic| {
            tracing::error!("a step on the volume failed: {panic}");
            lost()
        })?;
        self.staging = Some(staging);
        result.map_err(|error| (DeployOutcome::Refused, error.into()))
    }

    fn note_previous(&self) {
        let routers = self.shared.routers.all();
        let mut projects = self.job.record().projects;
        for deployed in &mut projects {
            let name = deployed.project.as_str();
            let current = routers.iter().filter(|router| !router.is_behind(name));
            let live = current.into_iter().find_map(|router| router.status(name)?.live);
            deployed.previous = live.map(|live| live.version);
            let change = self.changes.iter().find(|change| change.project() == Some(&deployed.project));
            deployed.incarnation = match change {
                Some(Change::BringBack(_, incarnation)) => *incarnation,
                // One that cannot be read ends the deploy when it is written.
                _ => self.register.of(&deployed.project).unwrap_or_default().current,
            };
        }
        self.job.set_projects(projects);
    }

    fn staging_id(&self) -> String {
        self.job.record().deploy
    }
}

/// Puts the projects that are kept last, as they are read from a journal: a hold that is sent again
/// must name the same projects in the same order.
fn in_order(mut changes: Vec<Change>) -> Arc<[Change]> {
    changes.sort_by_key(Change::keeps);
    changes.into()
}
