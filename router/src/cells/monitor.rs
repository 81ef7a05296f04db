//! The memory and disk that cells use, measured where the kernel's own bounds are not exact: those
//! count reserved memory instead of used memory, and single files instead of folders. A cell is
//! sent the amount that it may still add to its folders and refuses more; a cell whose folders keep
//! growing is ended.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use switchyard_protocol::{Limit, Limits};
use tokio::sync::{Notify, Semaphore};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use super::process::Cell;
use super::recount::Recount;
use super::usage;
use crate::folder::{DiskUsage, measure};

/// Interval between two measurements of memory. Measuring an idle cell takes some 20 microseconds.
const LOOKS: Duration = Duration::from_millis(500);

/// Number of cells whose folders are counted at once. Each count holds a thread and up to 128
/// descriptors. Most take less than a millisecond, so a cell does not wait for all of the large
/// ones before it.
const WALKS: usize = 8;

/// Pause between two counts of a folder, as a multiple of the time that the last one took, however
/// often the cell asks.
const REST: u32 = 2;

/// Shortest pause between two counts of a folder.
const LEAST_REST: Duration = Duration::from_millis(20);

/// Files that full folders may have beyond the limit: several cells of a project may write at once.
const MORE_FILES: u64 = 100;

/// Bytes that full folders may have beyond the limit. A cell does not see the blocks in which a
/// file system keeps folders and the maps of large files, and several cells of a project may write
/// at once.
const MORE_BYTES: u64 = 1 << 20;

/// Bytes that a folder and a file need. Folders with less room than that are full.
const LEAST_BYTES: u64 = 2 * 4096;

/// The cells that have a version, by id.
#[derive(Debug)]
pub(super) struct Monitor {
    cells: Mutex<HashMap<u64, MonitoredCell>>,
    permits: Arc<Semaphore>,
    /// Notified when a cell requests a count of its folders.
    requested: Arc<Notify>,
}

#[derive(Debug)]
struct MonitoredCell {
    cell: Weak<Cell>,
    /// The processor time at the last measurement, in ticks.
    time: u64,
    disk: DiskState,
}

/// The processes of one project: those that serve, that finish their requests, and those of runs.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ProjectUsage {
    pub(crate) processes: u64,
    /// Bytes that belong to them alone.
    pub(crate) memory: u64,
}

/// The state of a cell's folders.
#[derive(Debug, Clone, Copy)]
enum DiskState {
    /// Counted, and not counted again before this instant.
    Counted(Option<FullFolders>, Instant),
    Counting,
}

/// Folders that have reached a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FullFolders {
    /// The least usage since then.
    least: DiskUsage,
    /// `true`: they were full at the count before, too, so the cell was notified and has had time
    /// to stop.
    is_known: bool,
}

/// The consequence of a count.
#[derive(Debug, PartialEq, Eq)]
enum DiskVerdict {
    Nothing,
    Reached,
    Exceeded,
}

/// The result of a count.
struct DiskCount {
    id: u64,
    full: Option<FullFolders>,
    took: Duration,
}

impl Default for Monitor {
    fn default() -> Self {
        Self { cells: Mutex::default(), permits: Arc::new(Semaphore::new(WALKS)), requested: Arc::default() }
    }
}

impl Monitor {
    /// The request state of a new cell.
    pub(super) fn recount(&self) -> Recount {
        Recount::new(self.requested.clone())
    }

    pub(super) fn add(&self, cell: &Arc<Cell>) {
        let disk = DiskState::Counted(None, Instant::now());
        self.cells().insert(cell.id(), MonitoredCell { cell: Arc::downgrade(cell), time: 0, disk });
    }

    /// Runs until it is dropped.
    pub(super) async fn run(&self) {
        let mut looks = interval(LOOKS);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut counts = JoinSet::new();
        loop {
            tokio::select! {
                _ = looks.tick() => self.check(&mut counts).await,
                () = self.requested.notified() => self.count_where_due(&HashMap::new(), &mut counts),
                Some(counted) = counts.join_next() => {
                    // A panic is logged; that cell's folders are not counted again.
                    counted.into_iter().for_each(|counted| self.counted(&counted));
                }
            }
        }
    }

    /// Checks the memory of all cells, and has the folders of active cells counted.
    async fn check(&self, counts: &mut JoinSet<DiskCount>) {
        let cells = self.running_cells();
        let looked = spawn_blocking(move || {
            let time = |cell: &Arc<Cell>| usage::time(cell.pid());
            // A process that is gone uses nothing. Its owner reports its end.
            let times = cells.into_iter().filter_map(|(cell, last)| Some((time(&cell).ok()?, cell, last)));
            let active = times.filter(|(time, cell, last)| {
                let is_active = time != last;
                if is_active {
                    check_memory(cell);
                }
                is_active
            });
            active.map(|(time, cell, _)| (time, cell)).collect::<Vec<_>>()
        });
        // A panic is logged.
        let active: HashMap<u64, _> =
            looked.await.unwrap_or_default().into_iter().map(|(time, cell)| (cell.id(), time)).collect();
        self.count_where_due(&active, counts);
    }

    /// Has the folders counted of cells that have requested it, that are full, or that are
    /// `active`. `active`: the processor times of cells, by their ids.
    fn count_where_due(&self, active: &HashMap<u64, u64>, counts: &mut JoinSet<DiskCount>) {
        let now = Instant::now();
        let mut cells = self.cells();
        let sharers = sharers(&cells);
        for watched in cells.values_mut() {
            let Some(cell) = watched.cell.upgrade() else { continue };
            let DiskState::Counted(full, due) = watched.disk else { continue };
            let (Some(data), Some(limits)) = (cell.data(), cell.limits()) else { continue };
            let time = active.get(&cell.id()).copied();
            let is_due = due <= now && (time.is_some() || full.is_some());
            if is_due || cell.recount().is_wanted() {
                watched.time = time.unwrap_or(watched.time);
                watched.disk = DiskState::Counting;
                let others = sharers.get(&data).into_iter().flatten();
                let others = others.filter(|other| other.id() != cell.id()).cloned().collect();
                let counter = DiskCounter { cell, data, limits, others, due };
                counts.spawn(counter.run(full, self.permits.clone()));
            }
        }
    }

    /// The cells whose process may still run, each with its processor time at the last measurement.
    fn running_cells(&self) -> Vec<(Arc<Cell>, u64)> {
        let mut cells = self.cells();
        cells.retain(|_, watched| watched.cell.upgrade().is_some_and(|cell| !cell.has_exited()));
        cells.values().filter_map(|watched| Some((watched.cell.upgrade()?, watched.time))).collect()
    }

    /// The processes of each project that has some. Blocks for some 20 microseconds for each.
    pub(super) fn usage(&self) -> BTreeMap<String, ProjectUsage> {
        let mut projects = BTreeMap::<_, ProjectUsage>::new();
        for (cell, _) in self.running_cells() {
            // A process that is gone uses nothing.
            let (Some(project), Ok(memory)) = (cell.project(), usage::memory(cell.pid())) else { continue };
            let used = projects.entry(project.to_owned()).or_default();
            used.processes += 1;
            used.memory += memory;
        }
        projects
    }

    fn counted(&self, counted: &DiskCount) {
        if let Some(watched) = self.cells().get_mut(&counted.id) {
            let rest = LEAST_REST.max(REST * counted.took);
            watched.disk = DiskState::Counted(counted.full, Instant::now() + rest);
            let is_wanted = watched.cell.upgrade().is_some_and(|cell| cell.recount().is_wanted());
            if is_wanted {
                self.requested.notify_one();
            }
        }
    }

    fn cells(&self) -> MutexGuard<'_, HashMap<u64, MonitoredCell>> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check_memory(cell: &Cell) {
    let Some(limits) = cell.limits() else { return };
    if usage::memory(cell.pid()).is_ok_and(|memory| memory > limits.memory) {
        cell.exceed(Limit::Memory);
    }
}

/// The cells that share each `DATA_DIR`.
fn sharers(cells: &HashMap<u64, MonitoredCell>) -> HashMap<Arc<Path>, Vec<Arc<Cell>>> {
    let mut sharers: HashMap<_, Vec<_>> = HashMap::new();
    for cell in cells.values().filter_map(|watched| watched.cell.upgrade()) {
        if let Some(data) = cell.data().filter(|_| !cell.has_exited()) {
            sharers.entry(data).or_default().push(cell);
        }
    }
    sharers
}

/// The counter of one cell's folders.
struct DiskCounter {
    cell: Arc<Cell>,
    data: Arc<Path>,
    limits: Limits,
    /// The cells that it shares `data` with.
    others: Vec<Arc<Cell>>,
    /// The earliest instant of the count.
    due: Instant,
}

impl DiskCounter {
    async fn run(self, mut full: Option<FullFolders>, permits: Arc<Semaphore>) -> DiskCount {
        sleep_until(self.due.into()).await;
        let _permit = permits.acquire().await;
        let is_answer = self.cell.recount().begin();
        let began = Instant::now();
        let (folders, pid) =
            ([Some(self.data), Some(self.cell.tmp().into()), self.cell.modules()], self.cell.pid());
        let counted = spawn_blocking(move || {
            let used = folders.map(|folder| folder.map(|folder| measure(&folder)).unwrap_or_default());
            (used, usage::unlinked(pid).unwrap_or(0))
        });
        // A panic is logged, and the next count begins as if this one had not been.
        let Ok(([data, tmp, modules], unlinked)) = counted.await else {
            return DiskCount { id: self.cell.id(), full, took: LOOKS };
        };
        let took = began.elapsed();
        let named = [data, tmp].into_iter().sum::<DiskUsage>();
        let used = DiskUsage { bytes: named.bytes.saturating_add(unlinked), ..named };
        match judge(&self.limits, used, &mut full) {
            DiskVerdict::Nothing => {}
            DiskVerdict::Reached => warn(&self.cell, &self.limits, used),
            DiskVerdict::Exceeded => self.cell.exceed(Limit::Disk),
        }
        self.cell.check_modules(modules).await;
        // The others come first: they may have been given more room, which this cell gets now.
        let sharers = self.others.len() as u64 + 1;
        for other in &self.others {
            let limits = other.limits().unwrap_or(self.limits);
            other.set_room(room(&limits, data, sharers), false).await;
        }
        self.cell.set_room(room(&self.limits, named, sharers), is_answer).await;
        DiskCount { id: self.cell.id(), full, took }
    }
}

/// The bytes and files that each of the cells that share a folder may add to it, so that all of
/// them together fit into it. A cell that needs more requests another count, and subtracts open
/// files without a name itself. Negative beyond a limit: removed files give room only once the
/// limit is reached again.
fn room(limits: &Limits, named: DiskUsage, sharers: u64) -> (i64, i64) {
    if named.is_too_deep {
        return (0, 0);
    }
    let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let share = |limit: u64, used: u64| match signed(limit).saturating_sub(signed(used)) {
        left @ 1.. => left / signed(sharers).max(1),
        beyond => beyond,
    };
    (share(limits.disk, named.bytes), share(limits.disk_files, named.files))
}

/// Compares a count with the limits and with the counts before. A cell whose full folders keep
/// growing does not keep to the room that it was given.
fn judge(limits: &Limits, used: DiskUsage, full: &mut Option<FullFolders>) -> DiskVerdict {
    let is_full = used.bytes.saturating_add(LEAST_BYTES) > limits.disk
        || used.files >= limits.disk_files
        || used.is_too_deep;
    let Some(before) = full.filter(|_| is_full) else {
        *full = is_full.then_some(FullFolders { least: used, is_known: false });
        return if is_full { DiskVerdict::Reached } else { DiskVerdict::Nothing };
    };
    let FullFolders { least, is_known } = before;
    // One limit may be reached while the other leaves room.
    if used.files > least.files.max(limits.disk_files) + MORE_FILES
        || used.is_too_deep
        || (is_known && used.bytes > least.bytes.max(limits.disk) + MORE_BYTES)
    {
        return DiskVerdict::Exceeded;
    }
    let bytes = if is_known { least.bytes.min(used.bytes) } else { used.bytes };
    let least = DiskUsage { bytes, files: least.files.min(used.files), is_too_deep: false };
    *full = Some(FullFolders { least, is_known: true });
    DiskVerdict::Nothing
}

fn warn(cell: &Cell, limits: &Limits, used: DiskUsage) {
    let reached = if used.is_too_deep {
        "have folders nested more than 128 deep"
    } else if used.files >= limits.disk_files {
        "have reached limits.disk_files"
    } else {
        "have reached limits.disk"
    };
    tracing::warn!(
        project.name = cell.project(),
        cell.pid = cell.pid(),
        bytes = used.bytes,
        files = used.files,
        "DATA_DIR and TMPDIR {reached}: nothing more is made or written until files are removed"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { memory: 0, event_loop_ms: 0, workers: 0, files: 0, disk: 10 << 20, disk_files: 1000 };

    /// The verdicts on successive counts, in megabytes and files.
    fn verdicts(counts: &[(u64, u64)]) -> Vec<DiskVerdict> {
        let mut full = None;
        let used = |&(megabytes, files)| DiskUsage { bytes: megabytes << 20, files, is_too_deep: false };
        counts.iter().map(used).map(|used| judge(&LIMITS, used, &mut full)).collect()
    }

    #[test]
    fn a_limit_of_bytes_or_files_is_reported_once_until_there_is_room() {
        use DiskVerdict::{Nothing, Reached};
        for full in [(10, 10), (1, 1000)] {
            let counts = [(9, 999), full, full, full, (9, 999), full];
            let expected = [Nothing, Reached, Nothing, Nothing, Nothing, Reached];
            assert_eq!(verdicts(&counts), expected);
        }
    }

    #[test]
    fn a_cell_that_has_reached_one_limit_may_go_on_up_to_the_other() {
        use DiskVerdict::{Exceeded, Nothing, Reached};
        let counts = [(1, 1000), (1, 1000), (4, 1000), (10, 1000), (12, 1000)];
        assert_eq!(verdicts(&counts), [Reached, Nothing, Nothing, Nothing, Exceeded]);
        let counts = [(10, 10), (10, 10), (10, 500), (10, 1000), (10, 1101)];
        assert_eq!(verdicts(&counts), [Reached, Nothing, Nothing, Nothing, Exceeded]);
    }

    #[test]
    fn cells_that_share_a_folder_share_the_room_in_it() {
        let used = DiskUsage { bytes: 4 << 20, files: 400, is_too_deep: false };
        assert_eq!(room(&LIMITS, used, 1), (6 << 20, 600));
        assert_eq!(room(&LIMITS, used, 3), (2 << 20, 200));
        let full = DiskUsage { bytes: 11 << 20, files: 1001, is_too_deep: false };
        assert_eq!(room(&LIMITS, full, 2), (-1 << 20, -1));
        assert_eq!(room(&LIMITS, DiskUsage { is_too_deep: true, ..used }, 1), (0, 0));
    }

    #[test]
    fn folders_that_grow_when_they_are_full_end_the_cell() {
        use DiskVerdict::{Exceeded, Nothing, Reached};
        assert_eq!(verdicts(&[(1, 1001), (1, 1101), (1, 1102)]), [Reached, Nothing, Exceeded]);
        // The first two counts include what was under way.
        let counts = [(11, 1), (19, 1), (20, 1), (21, 1)];
        assert_eq!(verdicts(&counts), [Reached, Nothing, Nothing, Exceeded]);
        // Less than at first, and more than in between.
        let counts = [(30, 1), (30, 1), (15, 1), (17, 1)];
        assert_eq!(verdicts(&counts), [Reached, Nothing, Nothing, Exceeded]);
    }

    #[test]
    fn folders_that_cannot_be_counted_are_not_left_to_grow() {
        let (deep, mut full) = (DiskUsage { bytes: 1, files: 1, is_too_deep: true }, None);
        assert_eq!(judge(&LIMITS, deep, &mut full), DiskVerdict::Reached);
        assert_eq!(judge(&LIMITS, deep, &mut full), DiskVerdict::Exceeded);
    }
}
