//! Builds: starts a version in its cells, within a limit of builds at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{try_join, try_join_all};
use switchyard_contract::event::Diagnostic;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{sleep, sleep_until};

use super::plan::{Plan, RecordedVersion, ServedBy};
use super::read::{ReceivedVersion, SlowProjects, find_recorded, keep_received};
use super::readers::{Readers, Reading, ReadingTurn};
use crate::cells::{Cell, Cells, LaunchSpec, StartError};
use crate::checkout::{ReceiveError, ReceivedFiles, Store};
use crate::health;
use crate::packages::Packages;
use crate::policy::Policy;
use crate::project::{Healthcheck, diagnostic};
use crate::root::Root;
use crate::version::Version;

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
    /// Empty for a version that is started by its first request, and for one that needs none.
    pub(crate) cells: Vec<Arc<Cell>>,
}

/// The cells that a build starts.
struct BuildWork<'a> {
    launch: &'a Arc<LaunchSpec>,
    healthcheck: Option<&'a Healthcheck>,
    cells: usize,
    /// The cell that links the modules of the version's tasks.
    linking: Option<Arc<LaunchSpec>>,
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
    /// Starts a new version in all of its cells and has each pass the health check, and links the
    /// modules of its tasks. `newer` is notified when the project has changed again.
    ///
    /// # Errors
    /// The version cannot be served, there was no process for it, or a newer one is waiting.
    pub(crate) async fn build(&self, plan: Plan, newer: &Notify) -> Result<Built, BuildError> {
        let healthcheck = plan.healthcheck();
        let failure = healthcheck.and_then(|healthcheck| match plan.served_by {
            ServedBy::Cells => None,
            ServedBy::Files => Some(health::no_file(healthcheck)),
            ServedBy::Nothing => Some(health::no_handler(healthcheck)),
        });
        if let Some(failure) = failure {
            return Err(BuildError::Failed(failure));
        }
        let linking = plan.launch.linking().map(Arc::new);
        let work = BuildWork { launch: &plan.launch, healthcheck, cells: plan.cells(), linking };
        let cells = self.run(&work, newer).await?;
        Ok(Built { plan, cells })
    }

    /// Starts a version that was live before in `cells` cells, without a health check.
    ///
    /// # Errors
    /// See [`Builder::build`].
    pub(crate) async fn restart(
        &self,
        plan: &Plan,
        cells: usize,
        newer: &Notify,
    ) -> Result<Vec<Arc<Cell>>, BuildError> {
        let work = BuildWork { launch: &plan.launch, healthcheck: None, cells, linking: None };
        self.run(&work, newer).await
    }

    /// Has the packages of a version at hand. Fetches them if it misses some, and the router may.
    /// Returns true if nothing had to be fetched.
    ///
    /// # Errors
    /// They cannot be fetched or used.
    pub(crate) async fn prepare(&self, launch: &Arc<LaunchSpec>) -> Result<bool, BuildError> {
        let has_packages = self.find_packages(launch).await?;
        if self.packages.may_install() && !has_packages {
            self.install(launch).await?;
        }
        Ok(has_packages)
    }

    async fn run(&self, work: &BuildWork<'_>, newer: &Notify) -> Result<Vec<Arc<Cell>>, BuildError> {
        if work.cells == 0 && work.linking.is_none() {
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
        // Many builds may wait for their permits, and this is most of their memory.
        let start = Box::pin(self.start(work));
        tokio::select! {
            started = start => started,
            () = superseded => Err(BuildError::Superseded),
            () = make_room => unreachable!("this future never ends"),
        }
    }

    /// Starts the version's cells. Fetches the packages that they need first, if the router may.
    async fn start(&self, work: &BuildWork<'_>) -> Result<Vec<Arc<Cell>>, BuildError> {
        let may_install = self.packages.may_install();
        let has_packages = self.prepare(work.launch).await?;
        match self.start_cells(work).await {
            Err(LaunchError::Missing(_)) if may_install && has_packages => {
                self.install(work.launch).await?;
                Ok(self.start_cells(work).await?)
            }
            Err(LaunchError::Missing(missing)) if !may_install => {
                let message = format!("{}; a router with --allow-install fetches it", missing.message);
                Err(BuildError::Failed(Diagnostic { message, ..missing }))
            }
            started => Ok(started?),
        }
    }

    async fn start_cells(&self, work: &BuildWork<'_>) -> Result<Vec<Arc<Cell>>, LaunchError> {
        let serving = (0..work.cells).map(|_| self.start_cell(work.launch, work.healthcheck));
        let (cells, ()) = try_join(try_join_all(serving), self.link(work.linking.as_ref())).await?;
        Ok(cells)
    }

    /// Links the modules of tasks in a cell of their own, which ends with it.
    async fn link(&self, linking: Option<&Arc<LaunchSpec>>) -> Result<(), LaunchError> {
        let Some(linking) = linking else { return Ok(()) };
        // The cell ends here, with its last handle.
        self.start_cell(linking, None).await.map(drop)
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
                    let error = if launch.job.is_some() { not_linked(limit) } else { timed_out(limit) };
                    return Err(BuildError::Failed(error).into());
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
        let turn = self.readers.turn().await;
        // Thousands of versions may wait for their turn at once.
        let found = Box::pin(async move {
            let time = policy.reads(&recorded.version.project).time;
            let wanted = (self.store.clone(), self.root.clone(), recorded, policy);
            let find = |wanted: &mut (Arc<Store>, Root, RecordedVersion, Arc<Policy>), turn: &ReadingTurn| {
                let (store, root, recorded, policy) = wanted;
                let found = find_recorded(store, root, recorded, policy, turn);
                turn.count(0)?;
                Ok(found)
            };
            self.readers.read(turn, &mut Reading::default(), time, wanted, find, || ()).await.1
        });
        found.await.ok().flatten()
    }

    /// Makes the checkout of a version from files that were received. `previous`: a version that has
    /// some of the same files.
    ///
    /// # Errors
    /// They are not the files of the version, are over a limit of the project, or the disk fails.
    pub(crate) async fn keep(
        &self,
        version: Version,
        received: ReceivedFiles,
        previous: Option<Version>,
        policy: Arc<Policy>,
    ) -> Result<(), ReceiveError> {
        let limits = policy.reads(&version.project);
        let place = self.root.place(version.project.as_str());
        let received = ReceivedVersion { version, received, previous, place, limits };
        let wanted = (self.store.clone(), received);
        let keep = |wanted: &mut (Arc<Store>, ReceivedVersion), turn: &ReadingTurn| {
            let (store, received) = wanted;
            keep_received(store, received, turn)
        };
        let turn = self.readers.turn().await;
        let (_, kept) =
            self.readers.read(turn, &mut Reading::default(), limits.time, wanted, keep, || ()).await;
        kept.unwrap_or(Err(ReceiveError::Interrupted))
    }
}

fn not_linked(limit: Duration) -> Diagnostic {
    diagnostic(format!(
        "the modules of its tasks were not loaded within {} ms (--build-timeout)",
        limit.as_millis()
    ))
}

fn timed_out(limit: Duration) -> Diagnostic {
    diagnostic(format!(
        "did not serve within {} ms (--build-timeout): its top level never comes to an end (an await that never \
         settles, an endless loop), or it has no handler: export default {{ fetch }}, call Deno.serve, or let a \
         node:http server listen",
        limit.as_millis()
    ))
}
