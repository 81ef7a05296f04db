//! The live table: the version of each project that gets new requests. One writer, many readers; a
//! reader loads one pointer and holds no lock.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use switchyard_contract::commit::CommitInfo;
use switchyard_contract::event::Diagnostic;
use switchyard_contract::project::ProjectName;
use switchyard_contract::route::Claim;
use switchyard_edge::routes::{Assignments, Routes};
use switchyard_protocol::PlatformApi;
use tokio::sync::watch;

use super::debuggers::Debuggers;
use super::site::LiveSite;
use super::tasks::LiveTasks;
use crate::cells::{Cell, LaunchSpec};
use crate::drain::InFlight;
use crate::metrics::ResponseCounters;
use crate::policy::RequestLimits;
use crate::project::PrefixHandling;
use crate::requests::EndedRequests;
use crate::slots::Slots;
use crate::token::TokenVerifier;
use crate::version::Version;

/// The table, and a notice of each change.
#[derive(Debug)]
pub(crate) struct LiveTable {
    table: ArcSwap<Table>,
    changed: watch::Sender<()>,
    /// The projects that have changed since the last [`LiveTable::take_changed`].
    projects: Mutex<BTreeSet<ProjectName>>,
}

/// All known projects at one moment.
pub(crate) type Table = Routes<Arc<ProjectEntry>>;

/// A project as requests see it.
#[derive(Debug, Clone)]
pub(crate) struct ProjectEntry {
    pub(crate) project: ProjectName,
    pub(crate) live: Option<LiveVersion>,
    /// The newest version, if it failed. Boxed, as few have.
    pub(crate) failed: Option<Box<FailedVersion>>,
    /// The routes that lead to it besides its name.
    pub(crate) claims: Arc<[Claim]>,
    pub(crate) prefix: PrefixHandling,
    /// Verifies the tokens of its requests. `None`: they need none.
    pub(crate) verifier: Option<Arc<TokenVerifier>>,
    pub(crate) requests: Arc<ResponseCounters>,
    pub(crate) ended: Arc<EndedRequests>,
    pub(crate) limits: RequestLimits,
    /// Shared by all versions of the project: a new version takes the slots over as they are.
    pub(crate) slots: Arc<Slots>,
    pub(crate) debuggers: Arc<Debuggers>,
    /// `true`: it is read from a folder other than the volume's.
    pub(crate) is_overridden: bool,
}

/// A change of one project in the table.
#[derive(Debug)]
pub(crate) enum TableChange {
    Put(Arc<ProjectEntry>),
    Remove,
}

impl TableChange {
    pub(crate) fn put(entry: ProjectEntry) -> Self {
        Self::Put(Arc::new(entry))
    }
}

/// The version that gets new requests.
#[derive(Debug, Clone)]
pub(crate) struct LiveVersion {
    pub(crate) version: Version,
    /// Everything that is needed to start a cell of it.
    pub(crate) launch: Arc<LaunchSpec>,
    /// The version as the value of `x-switchyard-version`.
    pub(crate) header: http::HeaderValue,
    /// The version's commit as the value of `x-switchyard-commit`.
    pub(crate) commit: Option<http::HeaderValue>,
    /// The commit that the version's files came from, if a deploy said so.
    pub(crate) came_from: Option<Arc<CommitInfo>>,
    pub(crate) process: CellState,
    /// The files that are served without a process.
    pub(crate) site: Option<Arc<LiveSite>>,
    pub(crate) tasks: LiveTasks,
}

/// The state of a live version's cells.
#[derive(Debug, Clone)]
pub(crate) enum CellState {
    Running(Arc<CellSet>),
    /// The version was idle, so its cells have ended. The next request starts others.
    Idle,
    /// A cell crashed. Another one is being started.
    Restarting,
    /// Cells crashed again and again. None is started.
    Stopped,
    /// The version has no code that answers requests: its files are served without a cell, or it
    /// has tasks alone.
    NotNeeded,
}

/// A version that cannot be served.
#[derive(Debug, Clone)]
pub(crate) struct FailedVersion {
    /// `None`: its files are no valid project.
    pub(crate) version: Option<Version>,
    /// The version, or else the project's name, as the value of `x-switchyard-stale`.
    pub(crate) header: http::HeaderValue,
    pub(crate) error: Diagnostic,
}

/// The running cells of a version. Never empty.
#[derive(Debug)]
pub(crate) struct CellSet {
    cells: Vec<Arc<RunningCell>>,
    /// The turn of the next cell among equals.
    turn: AtomicUsize,
}

/// A running cell, and the requests in it.
#[derive(Debug)]
pub(crate) struct RunningCell {
    pub(crate) cell: Arc<Cell>,
    pub(crate) in_flight: Arc<InFlight>,
    /// The time of the last request, in milliseconds since `epoch`.
    last_used: AtomicU64,
    epoch: Instant,
}

impl LiveVersion {
    pub(crate) fn new(
        launch: Arc<LaunchSpec>,
        process: CellState,
        site: Option<Arc<LiveSite>>,
        came_from: Option<Arc<CommitInfo>>,
        tasks: LiveTasks,
    ) -> Self {
        let version = launch.version.clone();
        let header = header(&version.to_string());
        let commit = came_from.as_ref().and_then(|commit| http::HeaderValue::from_str(&commit.commit).ok());
        Self { version, launch, header, commit, came_from, process, site, tasks }
    }
}

impl FailedVersion {
    pub(crate) fn new(project: &ProjectName, version: Option<Version>, error: Diagnostic) -> Self {
        let shown = version.as_ref().map_or_else(|| project.to_string(), ToString::to_string);
        Self { version, header: header(&shown), error }
    }
}

fn header(text: &str) -> http::HeaderValue {
    http::HeaderValue::from_str(text).expect("project names and digests are visible ASCII")
}

impl CellSet {
    pub(crate) fn new(cells: Vec<Arc<RunningCell>>) -> Self {
        Self { cells, turn: AtomicUsize::new(0) }
    }

    pub(crate) fn cells(&self) -> &[Arc<RunningCell>] {
        &self.cells
    }

    pub(crate) fn has(&self, cell: &Arc<RunningCell>) -> bool {
        self.cells.iter().any(|other| Arc::ptr_eq(other, cell))
    }

    /// The cell with the fewest requests in it, by turns among equals. Leaves out `but`, and cells
    /// that may be about to end.
    pub(crate) fn choose(&self, but: Option<&Arc<RunningCell>>) -> Option<&Arc<RunningCell>> {
        let may = |cell: &&Arc<RunningCell>| {
            !cell.in_flight.is_in_doubt() && but.is_none_or(|but| !Arc::ptr_eq(cell, but))
        };
        if let [only] = self.cells.as_slice() {
            return Some(only).filter(may);
        }
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % self.cells.len().max(1);
        let (before, from) = self.cells.split_at(first);
        from.iter().chain(before).filter(may).min_by_key(|cell| cell.in_flight.count())
    }

    /// The cells that are not about to end, those with the fewest requests first.
    pub(crate) fn by_load(&self) -> Vec<&Arc<RunningCell>> {
        let mut cells: Vec<_> = self.cells.iter().filter(|cell| !cell.in_flight.is_in_doubt()).collect();
        cells.sort_by_key(|cell| cell.in_flight.count());
        cells
    }

    /// The time until one of the cells is known to be running. `None`: one of them is.
    pub(crate) fn doubt(&self, now: Instant) -> Option<Duration> {
        let doubts: Vec<_> = self.cells.iter().map(|cell| cell.in_flight.doubt(now)).collect();
        doubts.into_iter().min().flatten()
    }
}

impl RunningCell {
    pub(crate) fn new(cell: Arc<Cell>) -> Self {
        let running =
            Self { cell, in_flight: Arc::default(), last_used: AtomicU64::new(0), epoch: Instant::now() };
        running.touch(running.epoch);
        running
    }

    /// Notes that the cell is in use at `now`.
    pub(crate) fn touch(&self, now: Instant) {
        let used = now.saturating_duration_since(self.epoch);
        let millis = u64::try_from(used.as_millis()).unwrap_or(u64::MAX);
        self.last_used.store(millis, Ordering::Relaxed);
    }

    /// The instant at which it began to serve.
    pub(crate) fn began(&self) -> Instant {
        self.epoch
    }

    pub(crate) fn last_used(&self) -> Instant {
        self.epoch + Duration::from_millis(self.last_used.load(Ordering::Relaxed))
    }
}

impl ProjectEntry {
    /// The live version's files that are served without a cell.
    pub(crate) fn site(&self) -> Option<&Arc<LiveSite>> {
        self.live.as_ref()?.site.as_ref()
    }

    /// Returns true if requests carry the client's address in `cf-connecting-ip`, as Workers expect
    /// it.
    pub(crate) fn names_connecting_ip(&self) -> bool {
        let live = self.live.as_ref();
        live.is_some_and(|live| matches!(live.launch.api, PlatformApi::Workers(_)))
    }

    /// The running cells of the live version, if there are any.
    pub(crate) fn serving(&self) -> Option<&Arc<CellSet>> {
        match &self.live.as_ref()?.process {
            CellState::Running(serving) => Some(serving),
            _ => None,
        }
    }
}

impl LiveTable {
    pub(crate) fn new() -> Self {
        Self { table: ArcSwap::default(), changed: watch::Sender::new(()), projects: Mutex::default() }
    }

    /// The table of this moment.
    pub(crate) fn load(&self) -> arc_swap::Guard<Arc<Table>> {
        self.table.load()
    }

    /// A receiver that is notified of every swap from now on.
    pub(crate) fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Returns the projects that have changed since the last call. For one reader: so that a change
    /// costs it the same among thousands of projects as among a few.
    pub(crate) fn take_changed(&self) -> BTreeSet<ProjectName> {
        std::mem::take(&mut *self.projects.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts `entry` into the table, in place of its project's previous one. For the one writer.
    pub(crate) fn put(&self, entry: ProjectEntry) {
        self.change([(entry.project.clone(), TableChange::put(entry))]);
    }

    /// Applies all changes in one swap: a reader sees all of them or none. For the one writer.
    pub(crate) fn change(&self, changes: impl IntoIterator<Item = (ProjectName, TableChange)>) {
        self.swap(Table::clone(&self.table.load()), changes);
    }

    /// Applies all changes in one swap, together with a policy's assignments of routes.
    pub(crate) fn assign(
        &self,
        assignments: Arc<Assignments>,
        changes: impl IntoIterator<Item = (ProjectName, TableChange)>,
    ) {
        let mut table = Table::clone(&self.table.load());
        table.assign(assignments);
        self.swap(table, changes);
    }

    fn swap(&self, mut table: Table, changes: impl IntoIterator<Item = (ProjectName, TableChange)>) {
        let mut names = Vec::new();
        for (project, change) in changes {
            names.push(project.clone());
            match change {
                TableChange::Put(entry) => table.insert(project, entry.clone(), &entry.claims),
                TableChange::Remove => table.remove(&project),
            }
        }
        self.table.store(Arc::new(table));
        self.projects.lock().unwrap_or_else(PoisonError::into_inner).extend(names);
        self.changed.send_replace(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str) -> ProjectEntry {
        let project = ProjectName::parse(name).unwrap();
        ProjectEntry {
            project,
            live: None,
            failed: None,
            claims: Arc::default(),
            prefix: PrefixHandling::Strip,
            verifier: None,
            requests: Arc::default(),
            ended: Arc::default(),
            limits: RequestLimits::default(),
            slots: Arc::new(Slots::new(1)),
            debuggers: Arc::default(),
            is_overridden: false,
        }
    }

    #[test]
    fn a_reader_keeps_the_table_that_it_loaded() {
        let live = LiveTable::new();
        live.put(entry("blog"));
        let before = live.load();
        live.change([
            (ProjectName::parse("blog").unwrap(), TableChange::Remove),
            (ProjectName::parse("shop").unwrap(), TableChange::put(entry("shop"))),
        ]);
        assert!(before.get("blog").is_some() && before.get("shop").is_none());
        assert!(live.load().get("blog").is_none() && live.load().get("shop").is_some());
    }

    #[test]
    fn the_projects_that_have_changed_are_known_until_they_are_taken() {
        let live = LiveTable::new();
        live.put(entry("shop"));
        live.put(entry("blog"));
        live.change([(ProjectName::parse("shop").unwrap(), TableChange::Remove)]);
        let taken = live.take_changed();
        assert_eq!(taken.iter().map(ProjectName::as_str).collect::<Vec<_>>(), ["blog", "shop"]);
        assert!(live.take_changed().is_empty());
    }
}
