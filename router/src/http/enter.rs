//! Entering a project's live version: leases of its cells and of its files, at once or after a
//! wait.

use std::sync::Arc;

use tokio::time::{Instant, timeout, timeout_at};

use switchyard_edge::upstream::BadAnswer;

use super::lease::{CellLease, SiteLease};
use super::problem::RequestProblem;
use crate::drain::NOTICED_WITHIN;
use crate::live::{CellSet, CellState, Command, Commands, LiveTable, ProjectEntry, RunningCell};

/// Attempts to enter the files of a live version, each of which another version may replace
/// meanwhile.
const MAX_ATTEMPTS: u32 = 3;

/// The way into live versions.
#[derive(Debug)]
pub(super) struct Entrance {
    live: Arc<LiveTable>,
    commands: Commands,
    awaits_first: bool,
}

impl Entrance {
    /// `awaits_first` is that of the settings.
    pub(super) fn new(live: Arc<LiveTable>, commands: Commands, awaits_first: bool) -> Self {
        Self { live, commands, awaits_first }
    }

    /// The table of live versions.
    pub(super) fn live(&self) -> &Arc<LiveTable> {
        &self.live
    }

    /// Returns the project that a request is for, and the length of the path's prefix that leads to
    /// it, in bytes.
    pub(super) fn find(&self, host: &str, path: &str) -> Option<(Arc<ProjectEntry>, usize)> {
        let table = self.live.load();
        table.find(host, path).map(|(entry, prefix)| (entry.clone(), prefix.len()))
    }

    /// Returns the project's current entry in the table.
    ///
    /// # Errors
    /// The project was removed.
    pub(super) fn current(&self, entry: &ProjectEntry) -> Result<Arc<ProjectEntry>, RequestProblem> {
        self.live.load().get(entry.project.as_str()).cloned().ok_or(RequestProblem::UnknownProject)
    }

    /// Returns true if a request of the project has to wait for [`Entrance::first_version`].
    pub(super) fn awaits(&self, entry: &ProjectEntry) -> bool {
        self.awaits_first && entry.live.is_none() && entry.failed.is_none()
    }

    /// Waits until a version of the project is live or has failed: in one of its slots, and as long as
    /// its requests wait for a slot.
    pub(super) async fn first_version(&self, entry: &ProjectEntry) {
        let Some(_slot) = entry.slots.enter() else { return };
        let mut changed = self.live.subscribe();
        let decided = async {
            while self.current(entry).is_ok_and(|current| self.awaits(&current)) {
                // The table lives as long as this.
                let _ = changed.changed().await;
            }
        };
        // Later, the request is answered 503.
        let _ = timeout(entry.limits.queue_timeout, decided).await;
    }

    /// Enters the files of the live version. Returns `None` if it has none.
    ///
    /// # Errors
    /// The project was removed, or is replaced again and again.
    pub(super) fn site(&self, entry: &Arc<ProjectEntry>) -> Result<Option<SiteLease>, RequestProblem> {
        let mut entry = entry.clone();
        for _ in 0..MAX_ATTEMPTS {
            match SiteLease::enter(&entry) {
                Some(lease) => return Ok(Some(lease)),
                None if entry.site().is_none() => return Ok(None),
                // The version was replaced after the table was read.
                None => entry = self.current(&entry)?,
            }
        }
        Err(RequestProblem::Restarting)
    }

    /// Returns true if the project has become a static site, which has no cells.
    pub(super) fn is_static(&self, entry: &ProjectEntry) -> bool {
        let current = self.current(entry).ok();
        let live = current.as_ref().and_then(|current| current.live.as_ref());
        live.is_some_and(|live| matches!(live.process, CellState::NotNeeded))
    }

    /// Enters a cell of the live version, which is started if it is stopped.
    ///
    /// # Errors
    /// The project has no version that can be entered, or not soon enough.
    pub(super) async fn cell(&self, entry: &Arc<ProjectEntry>) -> Result<CellLease, RequestProblem> {
        match lease(entry, None, Instant::now().into_std()) {
            Some(lease) => Ok(lease),
            // Boxed, to keep rare ways out of every request's future.
            None => Box::pin(self.wait(entry.clone(), None)).await,
        }
    }

    /// Enters another cell than that of `refused`, which takes no connection: its process has
    /// probably ended, which has not been noticed yet.
    ///
    /// # Errors
    /// As [`Entrance::cell`]. A cell that is the only one, and whose process has not ended, is at
    /// fault.
    pub(super) async fn another_cell(&self, refused: CellLease) -> Result<CellLease, RequestProblem> {
        Box::pin(self.wait(refused.entry.clone(), Some(refused))).await
    }

    /// Waits for a cell that can be entered. `refused` is a cell that takes no connection.
    async fn wait(
        &self,
        mut entry: Arc<ProjectEntry>,
        refused: Option<CellLease>,
    ) -> Result<CellLease, RequestProblem> {
        let mut changed = self.live.subscribe();
        let noticed_by = Instant::now() + NOTICED_WITHIN;
        let (mut wake_sent, mut restarted_by) = (false, None);
        loop {
            entry = self.current(&entry)?;
            let Some(live) = &entry.live else {
                return Err(if entry.failed.is_some() {
                    RequestProblem::NoGoodVersion
                } else {
                    RequestProblem::NotReady
                });
            };
            wake_sent &= matches!(live.process, CellState::Idle);
            let change = match &live.process {
                CellState::Running(serving) => {
                    let refused = refused.as_ref().filter(|refused| serving.has(&refused.running));
                    if let Some(lease) =
                        lease(&entry, refused.map(|refused| &refused.running), Instant::now().into_std())
                    {
                        return Ok(lease);
                    }
                    match refused {
                        Some(refused) => {
                            let change = timeout_at(noticed_by, changed.changed()).await;
                            // The process has not ended, and its socket takes no connections all
                            // the same.
                            change.map_err(|_| refused.report_invalid(BadAnswer::NoConnection))?
                        }
                        None => timeout(doubt(serving), changed.changed()).await.unwrap_or(Ok(())),
                    }
                }
                CellState::Idle => {
                    if !std::mem::replace(&mut wake_sent, true) {
                        // The control flow is gone only when the router stops.
                        let _ = self.commands.send(Command::Wake(live.version.clone())).await;
                    }
                    changed.changed().await
                }
                CellState::Restarting => {
                    let deadline = || Instant::now() + entry.limits.queue_timeout;
                    let by = *restarted_by.get_or_insert_with(deadline);
                    timeout_at(by, changed.changed()).await.map_err(|_| RequestProblem::Restarting)?
                }
                CellState::Stopped => return Err(RequestProblem::Stopped),
                CellState::NotNeeded if live.site.is_none() => return Err(RequestProblem::NoHandler),
                // The caller looks for a file: see `is_static`.
                CellState::NotNeeded => return Err(RequestProblem::Restarting),
            };
            change.map_err(|_| RequestProblem::CellDied)?;
        }
    }
}

/// Returns how long all cells are in doubt. If none is, the version was replaced after the look at
/// the table.
fn doubt(serving: &CellSet) -> std::time::Duration {
    serving.doubt(Instant::now().into_std()).unwrap_or_default()
}

/// Enters a cell of the live version that takes requests `now`, and is not `except`.
pub(super) fn lease(
    entry: &Arc<ProjectEntry>,
    except: Option<&Arc<RunningCell>>,
    now: std::time::Instant,
) -> Option<CellLease> {
    let running = entry.serving()?.choose(except)?;
    let guard = running.in_flight.enter()?;
    running.touch(now);
    let live = entry.live.as_ref()?;
    let (version, commit) = (live.header.clone(), live.commit.clone());
    Some(CellLease { entry: entry.clone(), version, commit, running: running.clone(), guard })
}
