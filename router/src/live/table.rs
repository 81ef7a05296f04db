//! The live table: which version of each project gets new requests. One writer, many readers; a
//! reader takes one pointer and holds no lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use switchyard_contract::event::Diagnostic;
use switchyard_contract::project::ProjectName;
use switchyard_contract::route::Claim;
use switchyard_edge::routes::{Assignments, Routes};
use tokio::sync::watch;

use super::{Debuggers, LiveSite};
use crate::cells::Cell;
use crate::drain::InFlight;
use crate::metrics::Requests;
use crate::policy::RequestLimits;
use crate::project::Prefix;
use crate::slots::Slots;
use crate::token::TokenVerifier;
use crate::version::Version;

/// The table and its news.
#[derive(Debug)]
pub(crate) struct Live {
    table: ArcSwap<Table>,
    changed: watch::Sender<()>,
}

/// All projects that are known, at one moment.
pub(crate) type Table = Routes<Arc<Entry>>;

/// One project, as requests see it.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) project: ProjectName,
    pub(crate) live: Option<LiveVersion>,
    /// The newest version, when it failed.
    pub(crate) failed: Option<Failure>,
    /// The routes by which it is looked up besides its name.
    pub(crate) claims: Arc<[Claim]>,
    pub(crate) prefix: Prefix,
    /// Verifies the tokens that its requests need; `None`: they need none.
    pub(crate) verifier: Option<Arc<TokenVerifier>>,
    pub(crate) requests: Arc<Requests>,
    pub(crate) limits: RequestLimits,
    /// The same ones for as long as the project is known: a new version finds them as they are.
    pub(crate) slots: Arc<Slots>,
    pub(crate) debuggers: Arc<Debuggers>,
    /// Whether its requests have the client's address in `cf-connecting-ip`, where Workers look for it.
    pub(crate) names_connecting_ip: bool,
}

/// A version that new requests go to.
#[derive(Debug, Clone)]
pub(crate) struct LiveVersion {
    pub(crate) version: Version,
    /// The version as the value of `x-switchyard-version`.
    pub(crate) header: http::HeaderValue,
    pub(crate) process: Process,
    /// Its files that are served without a process.
    pub(crate) site: Option<Arc<LiveSite>>,
}

/// Whether a live version has a cell, or when it will.
#[derive(Debug, Clone)]
pub(crate) enum Process {
    Running(Arc<Serving>),
    /// It was not used for long: the next request has one started.
    Idle,
    /// It died: another one comes without being asked for.
    Restarting,
    /// It died again and again: none comes.
    Stopped,
    /// It has no code: its files are served without one.
    Needless,
}

/// A version that cannot be served.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// `None` when its files could not even be read.
    pub(crate) version: Option<Version>,
    /// The version (or else the project's name) as the value of `x-switchyard-stale`.
    pub(crate) header: http::HeaderValue,
    pub(crate) error: Diagnostic,
}

/// The cells of a version that serve, of which there is one at least.
#[derive(Debug)]
pub(crate) struct Serving {
    cells: Vec<Arc<Running>>,
    /// Whose turn it is when there is nothing to choose between.
    turn: AtomicUsize,
}

/// One of a version's cells and the requests that are in it.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) cell: Arc<Cell>,
    pub(crate) in_flight: Arc<InFlight>,
    /// In milliseconds since `epoch`.
    last_used: AtomicU64,
    epoch: Instant,
}

impl LiveVersion {
    pub(crate) fn new(version: Version, process: Process, site: Option<Arc<LiveSite>>) -> Self {
        let header = header(&version.to_string());
        Self { version, header, process, site }
    }
}

impl Failure {
    pub(crate) fn new(project: &ProjectName, version: Option<Version>, error: Diagnostic) -> Self {
        let shown = version.as_ref().map_or_else(|| project.to_string(), ToString::to_string);
        Self { version, header: header(&shown), error }
    }
}

fn header(text: &str) -> http::HeaderValue {
    http::HeaderValue::from_str(text).expect("project names and digests are visible ASCII")
}

impl Serving {
    pub(crate) fn new(cells: Vec<Arc<Running>>) -> Self {
        Self { cells, turn: AtomicUsize::new(0) }
    }

    pub(crate) fn cells(&self) -> &[Arc<Running>] {
        &self.cells
    }

    pub(crate) fn has(&self, cell: &Arc<Running>) -> bool {
        self.cells.iter().any(|other| Arc::ptr_eq(other, cell))
    }

    /// The cell with the fewest requests in it, of those that are not in doubt and not `but`; by turns among equals.
    pub(crate) fn choose(&self, but: Option<&Arc<Running>>) -> Option<&Arc<Running>> {
        let may = |cell: &&Arc<Running>| {
            !cell.in_flight.is_in_doubt() && but.is_none_or(|but| !Arc::ptr_eq(cell, but))
        };
        if let [only] = self.cells.as_slice() {
            return Some(only).filter(may);
        }
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % self.cells.len().max(1);
        let (before, from) = self.cells.split_at(first);
        from.iter().chain(before).filter(may).min_by_key(|cell| cell.in_flight.count())
    }

    /// For how long every one of them is in doubt still.
    pub(crate) fn doubt(&self, now: Instant) -> Option<Duration> {
        let doubts: Vec<_> = self.cells.iter().map(|cell| cell.in_flight.doubt(now)).collect();
        doubts.into_iter().min().flatten()
    }
}

impl Running {
    pub(crate) fn new(cell: Arc<Cell>) -> Self {
        let running =
            Self { cell, in_flight: Arc::default(), last_used: AtomicU64::new(0), epoch: Instant::now() };
        running.touch();
        running
    }

    /// Notes that it is in use.
    pub(crate) fn touch(&self) {
        let millis = u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_used.store(millis, Ordering::Relaxed);
    }

    /// Since when it serves.
    pub(crate) fn began(&self) -> Instant {
        self.epoch
    }

    pub(crate) fn last_used(&self) -> Instant {
        self.epoch + Duration::from_millis(self.last_used.load(Ordering::Relaxed))
    }
}

impl Entry {
    /// The live version's files that are served without a process.
    pub(crate) fn site(&self) -> Option<&Arc<LiveSite>> {
        self.live.as_ref()?.site.as_ref()
    }

    pub(crate) fn serving(&self) -> Option<&Arc<Serving>> {
        match &self.live.as_ref()?.process {
            Process::Running(serving) => Some(serving),
            _ => None,
        }
    }
}

impl Live {
    pub(crate) fn new() -> Self {
        Self { table: ArcSwap::default(), changed: watch::Sender::new(()) }
    }

    /// The table of this moment.
    pub(crate) fn load(&self) -> arc_swap::Guard<Arc<Table>> {
        self.table.load()
    }

    /// Tells of every swap from now on.
    pub(crate) fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Puts `entry` in the place of what the table has of its project. For the one writer.
    pub(crate) fn put(&self, entry: Entry) {
        self.change([(entry.project.clone(), Some(entry))]);
    }

    /// Puts or (`None`) takes out each of these projects in one swap: whoever loads the table sees all
    /// of it or nothing. For the one writer.
    pub(crate) fn change(&self, changes: impl IntoIterator<Item = (ProjectName, Option<Entry>)>) {
        self.swap(Table::clone(&self.table.load()), changes);
    }

    /// The same, while another policy gives these routes to projects.
    pub(crate) fn assign(
        &self,
        assignments: Arc<Assignments>,
        changes: impl IntoIterator<Item = (ProjectName, Option<Entry>)>,
    ) {
        let mut table = Table::clone(&self.table.load());
        table.assign(assignments);
        self.swap(table, changes);
    }

    fn swap(&self, mut table: Table, changes: impl IntoIterator<Item = (ProjectName, Option<Entry>)>) {
        for (project, entry) in changes {
            match entry {
                Some(entry) => {
                    let entry = Arc::new(entry);
                    table.insert(project, entry.clone(), &entry.claims);
                }
                None => table.remove(&project),
            }
        }
        self.table.store(Arc::new(table));
        self.changed.send_replace(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str) -> Entry {
        let project = ProjectName::parse(name).unwrap();
        Entry {
            project,
            live: None,
            failed: None,
            claims: Arc::default(),
            prefix: Prefix::Strip,
            verifier: None,
            requests: Arc::default(),
            limits: RequestLimits::default(),
            slots: Arc::new(Slots::new(1)),
            debuggers: Arc::default(),
            names_connecting_ip: false,
        }
    }

    #[test]
    fn a_reader_keeps_the_table_that_it_loaded() {
        let live = Live::new();
        live.put(entry("blog"));
        let before = live.load();
        live.change([
            (ProjectName::parse("blog").unwrap(), None),
            (ProjectName::parse("shop").unwrap(), Some(entry("shop"))),
        ]);
        assert!(before.get("blog").is_some() && before.get("shop").is_none());
        assert!(live.load().get("blog").is_none() && live.load().get("shop").is_some());
    }
}
