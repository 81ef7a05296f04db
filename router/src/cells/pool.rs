//! The maker of cells: takes spares, or new processes, and replaces spares in the background as they
//! are used.

use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use switchyard_contract::project::ProjectName;
use switchyard_telemetry::SpanCounts;
use tokio::sync::Notify;
use tokio::time::{sleep, sleep_until, timeout};

use super::monitor::{Monitor, ProjectUsage};
use super::output::Output;
use super::probe::Prober;
use super::process::Cell;
use super::spares::Spares;
use super::{Budget, Caches, CellSettings, DataFolders, LaunchSpec, LogVolume, Priority, StartError};
use crate::version::Tenant;

/// Longest delay of a new spare. Until then it waits for versions that are being started, so that
/// warming it does not slow them down.
const REFILL_AT_LATEST: Duration = Duration::from_millis(500);

/// Pause before a new spare is made, in which the version that took the last one is published:
/// making a process blocks the control flow's thread for milliseconds.
const AFTER_A_START: Duration = Duration::from_millis(10);

/// Time for which a new spare warms up alone, if it takes so long: several at once would take all
/// processors from requests.
const WARM_UP: Duration = Duration::from_secs(1);

/// Pause between two attempts when a process cannot be made.
const RETRY: Duration = Duration::from_secs(1);

/// The maker of all cells of this router.
#[derive(Debug)]
pub(crate) struct Cells {
    settings: Arc<CellSettings>,
    output: Output,
    next_id: AtomicU64,
    spares: Mutex<Spares<Cell>>,
    starting: AtomicUsize,
    budget: Mutex<Budget>,
    monitor: Monitor,
    prober: Prober,
    /// Notified when a spare is used, and when a start has ended.
    changed: Notify,
}

impl Cells {
    /// Removes what a killed router has left in the run folder.
    ///
    /// # Errors
    /// A folder, or the thread that reads output, cannot be made.
    pub(crate) fn new(settings: CellSettings) -> Result<Arc<Self>> {
        clear(&settings)?;
        // A cell's own user passes through to its folders and cannot list any other.
        let mode = if settings.users.are_others() { 0o711 } else { 0o700 };
        folder(&settings.run_dir, mode)?;
        folder(settings.data.root(), mode)?;
        settings.data.finish_removals();
        folder(settings.caches.root(), mode)?;
        let output = Output::start(settings.sink.clone(), settings.log_limit)
            .context("start the thread that reads the output of cells")?;
        Ok(Arc::new(Self {
            budget: Mutex::new(Budget::new(settings.max_cells)),
            spares: Mutex::new(Spares::new(settings.spares)),
            settings: Arc::new(settings),
            output,
            next_id: AtomicU64::new(0),
            starting: AtomicUsize::new(0),
            monitor: Monitor::default(),
            prober: Prober::default(),
            changed: Notify::new(),
        }))
    }

    /// Keeps up the number of spares. Runs until it is dropped.
    pub(crate) async fn keep_filled(self: Arc<Self>) {
        loop {
            let changed = self.changed.notified();
            let (missing, expiry) = {
                let mut spares = self.spares();
                spares.prune(Instant::now(), Cell::has_exited);
                (spares.missing(), spares.expiry())
            };
            let Some(priority) = missing else {
                tokio::select! {
                    () = changed => {}
                    () = until(expiry) => {}
                }
                continue;
            };
            if self.starting.load(Ordering::SeqCst) > 0 {
                let _ = timeout(REFILL_AT_LATEST, changed).await;
            }
            sleep(AFTER_A_START).await;
            match self.spawn(priority).await {
                Ok(spare) => {
                    let warmed = spare.warmed();
                    self.spares().put(priority, spare);
                    let _ = timeout(WARM_UP, warmed).await;
                }
                Err(error) => {
                    tracing::error!("cannot make a spare cell: {error:#}");
                    sleep(RETRY).await;
                }
            }
            tokio::task::yield_now().await;
        }
    }

    /// Watches the memory and disk that cells use, and whether they can answer. Runs until it is
    /// dropped.
    pub(crate) async fn keep_within_limits(self: Arc<Self>) {
        tokio::join!(self.monitor.run(), self.prober.run());
    }

    /// Starts `launch` in a cell of its own: a spare if there is one, otherwise a new process.
    ///
    /// # Errors
    /// The version cannot be served, or there is no process for it.
    pub(crate) async fn start(
        &self,
        launch: &Arc<LaunchSpec>,
        limit: Duration,
    ) -> Result<Arc<Cell>, StartError> {
        self.starting.fetch_add(1, Ordering::SeqCst);
        let _guard = StartGuard(self);
        let (priority, now) = (launch.priority(), Instant::now());
        let spare = {
            let mut spares = self.spares();
            spares.prune(now, Cell::has_exited);
            spares.take(priority, now)
        };
        let cell = match spare {
            Some(spare) => spare,
            None => self.spawn(priority).await.map_err(StartError::NoProcess)?,
        };
        let cell = Arc::new(cell);
        self.monitor.add(&cell);
        cell.start(launch, limit).await?;
        self.prober.add(&cell);
        Ok(cell)
    }

    /// Ends the spares, once no other cells are left.
    pub(crate) async fn clear(&self) {
        let spares = self.spares().take_all();
        for spare in spares {
            spare.kill().await;
        }
        // A cell whose start was interrupted leaves its folder.
        let settings = self.settings.clone();
        let cleared = tokio::task::spawn_blocking(move || clear(&settings)).await;
        if let Ok(Err(error)) = cleared {
            tracing::warn!("folders of cells stay: {error:#}");
        }
    }

    /// The budget of cells, which its users keep up to date.
    pub(crate) fn budget(&self) -> MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the cell of a run in the budget until the guard is dropped.
    pub(crate) fn count_run(self: &Arc<Self>) -> CountedRun {
        self.budget().add_run();
        CountedRun(self.clone())
    }

    /// The compiled modules that the projects' cells keep.
    pub(crate) fn caches(&self) -> &Caches {
        &self.settings.caches
    }

    /// The output of each project that was not logged because it was too much.
    pub(crate) fn dropped_lines(&self) -> Vec<(ProjectName, LogVolume)> {
        self.output.dropped()
    }

    /// Forgets the counts of a project that is gone.
    pub(crate) fn forget(&self, project: &ProjectName) {
        self.output.forget(project);
        if let Some(spans) = &self.settings.spans {
            spans.forget(project);
        }
    }

    /// The `DATA_DIR`s of all projects.
    pub(crate) fn data(&self) -> &DataFolders {
        &self.settings.data
    }

    /// The `DATA_DIR` of a tenant, which is made if it is missing. Blocks.
    ///
    /// # Errors
    /// It cannot be made, or given to the tenant's user.
    pub(crate) fn make_data(&self, tenant: &Tenant) -> io::Result<PathBuf> {
        let data = self.settings.data.of(tenant);
        let users = &self.settings.users;
        let user = users.of(tenant).map_err(io::Error::other)?;
        users.claim(&data, user)?;
        Ok(data)
    }

    /// The processes of each project that has some, and their memory, by the project's name. Blocks.
    pub(crate) fn usage(&self) -> BTreeMap<String, ProjectUsage> {
        self.monitor.usage()
    }

    /// Returns the numbers of exported and dropped spans so far. `None`: there is no telemetry.
    pub(crate) fn span_counts(&self) -> Option<SpanCounts> {
        self.settings.spans.as_ref().map(|spans| spans.counts())
    }

    pub(crate) fn spare_count(&self) -> usize {
        self.spares().len()
    }

    async fn spawn(&self, priority: Priority) -> Result<Cell> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        Cell::spawn(&self.settings, &self.output, id, self.monitor.recount(), priority).await
    }

    fn spares(&self) -> MutexGuard<'_, Spares<Cell>> {
        self.spares.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant.into()).await,
        None => pending().await,
    }
}

/// The cell of a run in the budget, until it is dropped.
#[derive(Debug)]
pub(crate) struct CountedRun(Arc<Cells>);

impl Drop for CountedRun {
    fn drop(&mut self) {
        self.0.budget().remove_run();
    }
}

/// Ends the count of a start when it is dropped.
struct StartGuard<'a>(&'a Cells);

impl Drop for StartGuard<'_> {
    fn drop(&mut self) {
        self.0.starting.fetch_sub(1, Ordering::SeqCst);
        self.0.changed.notify_waiters();
    }
}

/// Removes the folders of an earlier router's cells: the run folder or, if that is a mount of its
/// own, all folders in it.
fn clear(settings: &CellSettings) -> Result<()> {
    let run_dir = &settings.run_dir;
    if settings.trash.discard(run_dir).is_ok() {
        return Ok(());
    }
    let clear = || {
        for entry in std::fs::read_dir(run_dir)? {
            settings.trash.discard(&entry?.path())?;
        }
        std::io::Result::Ok(())
    };
    clear().with_context(|| format!("clear {}", run_dir.display()))
}

/// Creates a folder with this mode. An existing one gets the mode too.
fn folder(dir: &Path, mode: u32) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    let mode = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(dir, mode).with_context(|| format!("protect {}", dir.display()))
}
