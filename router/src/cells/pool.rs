//! The spares: a few warmed cells, made anew in the background as they are used.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::monitor::Monitor;
use super::process::Cell;
use super::{Caches, DataFolders, Order, Settings, StartError};

/// New spares are made once nothing is being started, so that warming one does not slow down the
/// version that somebody waits for; but not later than this.
const REFILL_AT_LATEST: Duration = Duration::from_millis(500);

/// ... and once the version that took a spare has been published: making a process holds up the control
/// flow's thread for milliseconds.
const AFTER_A_START: Duration = Duration::from_millis(10);

/// Between two attempts when a process cannot be made.
const RETRY: Duration = Duration::from_secs(1);

/// All cells of this router are made here.
#[derive(Debug)]
pub(crate) struct Cells {
    settings: Arc<Settings>,
    next_id: AtomicU64,
    spares: Mutex<VecDeque<Cell>>,
    starting: AtomicUsize,
    monitor: Monitor,
    /// A spare was used, or a start has ended.
    changed: Notify,
}

impl Cells {
    /// Clears away what a killed router left in the run folder.
    ///
    /// # Errors
    /// The run folder cannot be made.
    pub(crate) fn new(settings: Settings) -> Result<Arc<Self>> {
        clear(&settings.run_dir)?;
        // A user of their own goes through to what is theirs, and sees nothing else.
        let mode = if settings.user.is_some() { 0o711 } else { 0o700 };
        folder(&settings.run_dir, mode)?;
        folder(settings.data.root(), mode)?;
        settings.data.finish_removals();
        folder(settings.caches.root(), mode)?;
        Ok(Arc::new(Self {
            settings: Arc::new(settings),
            next_id: AtomicU64::new(0),
            spares: Mutex::default(),
            starting: AtomicUsize::new(0),
            monitor: Monitor::default(),
            changed: Notify::new(),
        }))
    }

    /// Keeps the spares filled up. Runs until it is dropped.
    pub(crate) async fn keep_filled(self: Arc<Self>) {
        loop {
            let changed = self.changed.notified();
            let missing = {
                let mut spares = self.spares();
                spares.retain(|spare| !spare.has_exited());
                self.settings.spares.saturating_sub(spares.len())
            };
            if missing == 0 {
                changed.await;
                continue;
            }
            if self.starting.load(Ordering::SeqCst) > 0 {
                let _ = timeout(REFILL_AT_LATEST, changed).await;
            }
            sleep(AFTER_A_START).await;
            match self.spawn() {
                Ok(spare) => self.spares().push_back(spare),
                Err(error) => {
                    tracing::error!("no spare cell: {error:#}");
                    sleep(RETRY).await;
                }
            }
            tokio::task::yield_now().await;
        }
    }

    /// Looks after what the cells use. Runs until it is dropped.
    pub(crate) async fn keep_within_limits(self: Arc<Self>) {
        self.monitor.run().await;
    }

    /// Starts `order` in a cell of its own: a spare if there is one, else a new process.
    pub(crate) async fn start(&self, order: &Order, patience: Duration) -> Result<Arc<Cell>, StartError> {
        self.starting.fetch_add(1, Ordering::SeqCst);
        let _ended = Ended(self);
        let spare = {
            let mut spares = self.spares();
            std::iter::from_fn(|| spares.pop_front()).find(|spare| !spare.has_exited())
        };
        let cell = match spare {
            Some(spare) => spare,
            None => self.spawn().map_err(StartError::NoProcess)?,
        };
        let cell = Arc::new(cell);
        self.monitor.add(&cell);
        cell.start(order, patience).await?;
        Ok(cell)
    }

    /// Ends the spares.
    pub(crate) async fn clear(&self) {
        let spares = std::mem::take(&mut *self.spares());
        for spare in spares {
            spare.kill().await;
        }
    }

    /// What the projects' cells keep of compiled modules.
    pub(crate) fn caches(&self) -> &Caches {
        &self.settings.caches
    }

    /// The data of all projects.
    pub(crate) fn data(&self) -> &DataFolders {
        &self.settings.data
    }

    pub(crate) fn spare_count(&self) -> usize {
        self.spares().len()
    }

    fn spawn(&self) -> Result<Cell> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        Cell::spawn(&self.settings, id)
    }

    fn spares(&self) -> std::sync::MutexGuard<'_, VecDeque<Cell>> {
        self.spares.lock().expect("no holder of this lock panics")
    }
}

/// Counts a start out, however it ended.
struct Ended<'a>(&'a Cells);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.starting.fetch_sub(1, Ordering::SeqCst);
        self.0.changed.notify_waiters();
    }
}

fn clear(run_dir: &Path) -> Result<()> {
    match std::fs::remove_dir_all(run_dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("clear {}", run_dir.display()))
        }
        _ => Ok(()),
    }
}

/// One that exists already is made to have this mode too.
fn folder(dir: &Path, mode: u32) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    let mode = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(dir, mode).with_context(|| format!("protect {}", dir.display()))
}
