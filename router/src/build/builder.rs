//! Builds: starts a version in its cells, within a limit of builds at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use switchyard_contract::event::Diagnostic;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{sleep, sleep_until};

use super::plan::{Plan, RecordedVersion};
use super::read::{SlowProjects, find_recorded};
use super::readers::{Readers, Reading, ReadingTurn};
use crate::cells::{Cell, Cells, LaunchSpec, StartError};
use crate::checkout::Store;
use crate::health;
use crate::packages::Packages;
use crate::policy::Policy;
use crate::project::{Healthcheck, diagnostic};
use crate::root::Root;

/// A build that takes longer makes room: for another project's, and for its own project's next
/// version when that is waiting. Only a hanging build takes that long.
const YIELD_AFTER: Duration = Duration::from_secs(1);

/// Pause between two attempts to make a process while the machine has none to give.
const NO_PROCESS_PAUSE: Duration = Duration::from_millis(200);

/// The reason why a build gave no cells.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    /// The version cannot be served.
    #[error("{}", .0.message)]
    Failed(Diagnostic),
    /// The machine had no process to give, so nothing is known of the version.
    #[error("{}", .0.message)]
    NoProcess(Diagnostic),
    /// The build took long, and something newer is waiting.
    #[error("superseded by a newer version")]
    Superseded,
}

/// The reason why the cells of a version were not started.
enum LaunchError {
    /// They miss something that could be fetched.
    Missing(Diagnostic),
    Build(BuildError),
}

impl From<BuildError> for LaunchError {
    fn from(error: BuildError) -> Self {
        Self::Build(error)
    }
}

impl From<LaunchError> for BuildError {
    fn from(error: LaunchError) -> Self {
        match error {
            LaunchError::Missing(diagnostic) => Self::Failed(diagnostic),
            LaunchError::Build(error) => error,
        }
    }
}

/// A version that has been built: its plan, and cells that have proven that they serve.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) plan: Plan,
    /// Empty for a static site, and for a version that is started by its first request.
    pub(crate) cells: Vec<Arc<Cell>>,
}

/// Builds versions. Clones share its limits.
#[derive(Debug, Clone)]
pub(crate) struct Builder {
    pub(crate) root: Root,
    pub(crate) cells: Arc<Cells>,
    pub(crate) store: Arc<Store>,
    pub(crate) packages: Arc<Packages>,
    /// One permit a core: more builds at once would only slow each other down.
    pub(crate) permits: Arc<Semaphore>,
    /// The time that a cell has to serve.
    pub(crate) time_limit: Duration,
    pub(crate) readers: Readers,
    /// Notified of projects whose packages take long to fetch.
    pub(crate) slow: SlowProjects,
}

impl Builder {
    /// Starts a new version in all of its cells and has each pass the health check. `newer` is
    /// notified when the project has changed again.
    ///
    /// # Errors
    /// The version cannot be served, there was no process for it, or a newer one is waiting.
    pub(crate) async fn build(&self, plan: Plan, newer: &Notify) -> Result<Built, BuildError> {
        let cells = match plan.healthcheck() {
            Some(healthcheck) if plan.is_static => {
                return Err(BuildError::Failed(health::no_file(healthcheck)));
            }
            healthcheck => self.run(&plan.launch, healthcheck, plan.cells(), newer).await?,
        };
        Ok(Built { plan, cells })
    }

    /// Starts a version that was live before in `cells` cells, without a health check.
    ///
    /// # Errors
    /// As for [`Builder::build`].
    pub(crate) async fn restart(
        &self,
        plan: &Plan,
        cells: usize,
        newer: &Notify,
    ) -> Result<Vec<Arc<Cell>>, BuildError> {
        self.run(&plan.launch, None, cells, newer).await
    }

    async fn run(
        &self,
        launch: &Arc<LaunchSpec>,
        healthcheck: Option<&Healthcheck>,
        cells: usize,
        newer: &Notify,
    ) -> Result<Vec<Arc<Cell>>, BuildError> {
        if cells == 0 {
            return Ok(Vec::new());
        }
        let permit = tokio::select! {
            // A build that can begin at once does so even if something newer waits: that may be the
            // same code.
            biased;
            permit = self.permits.clone().acquire_owned() => permit,
            () = newer.notified() => return Err(BuildError::Superseded),
        };
        let slow = tokio::time::Instant::now() + YIELD_AFTER;
        let superseded = async {
            newer.notified().await;
            sleep_until(slow).await;
        };
        let make_room = async {
            sleep_until(slow).await;
            drop(permit);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            started = self.start(launch, healthcheck, cells) => started,
            () = superseded => Err(BuildError::Superseded),
            () = make_room => unreachable!("this future never ends"),
        }
    }

    /// Starts the version's cells. Fetches the packages that they need first, if the router may.
    async fn start(
        &self,
        launch: &Arc<LaunchSpec>,
        healthcheck: Option<&Healthcheck>,
        cells: usize,
    ) -> Result<Vec<Arc<Cell>>, BuildError> {
        let may_install = self.packages.may_install();
        let has_packages = self.find_packages(launch).await?;
        if may_install && !has_packages {
            self.install(launch).await?;
        }
        match self.start_cells(launch, healthcheck, cells).await {
            Err(LaunchError::Missing(_)) if may_install && has_packages => {
                self.install(launch).await?;
                Ok(self.start_cells(launch, healthcheck, cells).await?)
            }
            Err(LaunchError::Missing(missing)) if !may_install => {
                let message = format!("{}; a router with --allow-install fetches it", missing.message);
                Err(BuildError::Failed(Diagnostic { message, ..missing }))
            }
            started => Ok(started?),
        }
    }

    async fn start_cells(
        &self,
        launch: &Arc<LaunchSpec>,
        healthcheck: Option<&Healthcheck>,
        cells: usize,
    ) -> Result<Vec<Arc<Cell>>, LaunchError> {
        try_join_all((0..cells).map(|_| self.start_cell(launch, healthcheck))).await
    }

    async fn start_cell(
        &self,
        launch: &Arc<LaunchSpec>,
        healthcheck: Option<&Healthcheck>,
    ) -> Result<Arc<Cell>, LaunchError> {
        let project = &launch.version.project;
        let began = Instant::now();
        loop {
            let attempt_began = Instant::now();
            match self.cells.start(launch, self.time_limit).await {
                Ok(cell) => {
                    let Some(healthcheck) = healthcheck else { return Ok(cell) };
                    let left = self.time_limit.saturating_sub(attempt_began.elapsed());
                    let (socket, takes_urls) = (cell.socket(), cell.takes_urls());
                    let checked = health::check(socket, takes_urls, project, healthcheck, left);
                    // An unhealthy cell ends here, with its last handle.
                    checked.await.map_err(BuildError::Failed)?;
                    return Ok(cell);
                }
                Err(StartError::Missing(diagnostic)) => return Err(LaunchError::Missing(diagnostic)),
                Err(StartError::Failed(diagnostic)) => return Err(BuildError::Failed(diagnostic).into()),
                Err(StartError::TimedOut(limit)) => {
                    return Err(BuildError::Failed(timed_out(limit)).into());
                }
                Err(StartError::NoProcess(error)) if began.elapsed() < self.time_limit => {
                    tracing::warn!(project.name = %project, "no process yet: {error:#}");
                    sleep(NO_PROCESS_PAUSE).await;
                }
                Err(StartError::NoProcess(error)) => {
                    let message = format!("the router could not make a process: {error:#}");
                    return Err(BuildError::NoProcess(diagnostic(message)).into());
                }
            }
        }
    }

    /// Plans the last good version of an earlier run. `None`: its checkout is gone, or took too
    /// long to verify.
    pub(crate) async fn find(&self, recorded: RecordedVersion, policy: Arc<Policy>) -> Option<Plan> {
        let time = policy.reads(&recorded.version.project).time;
        let wanted = (self.store.clone(), self.root.clone(), recorded, policy);
        let find = |wanted: &mut (Arc<Store>, Root, RecordedVersion, Arc<Policy>), turn: &ReadingTurn| {
            let (store, root, recorded, policy) = wanted;
            let found = find_recorded(store, root, recorded, policy, turn);
            turn.count(0)?;
            Ok(found)
        };
        let (_, found) = self.readers.read(&mut Reading::default(), time, wanted, find, || ()).await;
        found.ok().flatten()
    }
}

fn timed_out(limit: Duration) -> Diagnostic {
    diagnostic(format!(
        "did not serve within {} ms (--build-timeout): its top level never comes to an end (an await that never \
         settles, an endless loop), or it has no handler: export default {{ fetch }}, call Deno.serve, or let a \
         node:http server listen",
        limit.as_millis()
    ))
}
