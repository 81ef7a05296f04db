//! Looks at what the cells use of memory and disk, where the bounds that the kernel holds them to are not exact: they count
//! memory that is reserved and not that which is used, and one file but not a folder.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use switchyard_protocol::{Limit, Limits};
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval};

use super::process::Cell;
use super::usage;
use crate::folder::{Usage, measure};

/// Twice a second: a look at an idle cell costs some 20 microseconds.
const LOOKS: Duration = Duration::from_millis(500);

/// Folders of so many cells are counted at once. Each holds a thread and up to 128 descriptors, and most are done within a
/// millisecond: whoever comes after a few large ones does not wait for all of them.
const WALKS: usize = 8;

/// Folders are left alone for so many times as long as counting them took.
const REST: u32 = 2;

/// Full folders may have so many more files and bytes, for the journals of databases that come and go, and for what was being
/// written when they became full.
const MORE_FILES: u64 = 100;
const MORE_BYTES: u64 = 1 << 20;

/// The cells that have a version, by id.
#[derive(Debug)]
pub(super) struct Monitor {
    cells: Mutex<HashMap<u64, Watched>>,
    permits: Arc<Semaphore>,
}

#[derive(Debug)]
struct Watched {
    cell: Weak<Cell>,
    /// Processor time when it was looked at last, in ticks.
    time: u64,
    disk: Disk,
}

/// The state of a cell's folders.
#[derive(Debug, Clone, Copy)]
enum Disk {
    /// Not counted again before this instant.
    Counted(Option<Full>, Instant),
    Counting,
}

/// Folders that have reached a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Full {
    /// The least that was in them since.
    least: Usage,
    /// The cell has been told, and had time to stop.
    is_known: bool,
}

/// The consequence of a count.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Nothing,
    Writable(bool),
    Exceeded,
}

struct Counted {
    id: u64,
    full: Option<Full>,
    took: Duration,
}

impl Default for Monitor {
    fn default() -> Self {
        Self { cells: Mutex::default(), permits: Arc::new(Semaphore::new(WALKS)) }
    }
}

impl Monitor {
    pub(super) fn add(&self, cell: &Arc<Cell>) {
        let disk = Disk::Counted(None, Instant::now());
        self.cells().insert(cell.id(), Watched { cell: Arc::downgrade(cell), time: 0, disk });
    }

    /// Runs until it is dropped.
    pub(super) async fn run(&self) {
        let mut looks = interval(LOOKS);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut counts = JoinSet::new();
        loop {
            tokio::select! {
                _ = looks.tick() => self.look(&mut counts).await,
                Some(counted) = counts.join_next() => {
                    // A panic is logged; that cell's folders are not counted again.
                    counted.into_iter().for_each(|counted| self.counted(&counted));
                }
            }
        }
    }

    /// Looks at what all cells use of memory, and has the folders counted of those that have done something.
    async fn look(&self, counts: &mut JoinSet<Counted>) {
        let cells = self.living();
        let looked = spawn_blocking(move || {
            let time = |cell: &Arc<Cell>| usage::time(cell.pid());
            // A process that is gone uses nothing; its owner reports its end.
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
        let now = Instant::now();
        for watched in self.cells().values_mut() {
            let Some(cell) = watched.cell.upgrade() else { continue };
            let Disk::Counted(full, due) = watched.disk else { continue };
            let time = active.get(&cell.id()).copied();
            if due <= now && (time.is_some() || full.is_some()) {
                watched.time = time.unwrap_or(watched.time);
                watched.disk = Disk::Counting;
                counts.spawn(count(cell, full, self.permits.clone()));
            }
        }
    }

    /// The cells whose process may still run, and the processor time that each had used.
    fn living(&self) -> Vec<(Arc<Cell>, u64)> {
        let mut cells = self.cells();
        cells.retain(|_, watched| watched.cell.upgrade().is_some_and(|cell| !cell.has_exited()));
        cells.values().filter_map(|watched| Some((watched.cell.upgrade()?, watched.time))).collect()
    }

    fn counted(&self, counted: &Counted) {
        if let Some(watched) = self.cells().get_mut(&counted.id) {
            watched.disk = Disk::Counted(counted.full, Instant::now() + REST * counted.took);
        }
    }

    fn cells(&self) -> MutexGuard<'_, HashMap<u64, Watched>> {
        self.cells.lock().expect("no holder of this lock panics")
    }
}

fn check_memory(cell: &Cell) {
    let Some(limits) = cell.limits() else { return };
    if usage::memory(cell.pid()).is_ok_and(|memory| memory > limits.memory) {
        cell.exceed(Limit::Memory);
    }
}

/// Counts what is in a cell's folders, and has the cell stop or go on writing.
async fn count(cell: Arc<Cell>, mut full: Option<Full>, permits: Arc<Semaphore>) -> Counted {
    let _permit = permits.acquire().await;
    let began = Instant::now();
    let folders = cell.folders();
    let used = spawn_blocking(move || folders.iter().map(|folder| measure(folder)).sum::<Usage>()).await;
    let took = began.elapsed();
    if let (Some(limits), Ok(used)) = (cell.limits(), used) {
        match judge(&limits, used, &mut full) {
            Verdict::Nothing => {}
            Verdict::Writable(may) => {
                if !may {
                    warn(&cell, &limits, used);
                }
                cell.set_writable(may).await;
            }
            Verdict::Exceeded => cell.exceed(Limit::Disk),
        }
    }
    Counted { id: cell.id(), full, took }
}

/// Compares a count with the limits and with the counts before. Files can be made when none can be written: a cell that goes
/// on with that is over its limit.
fn judge(limits: &Limits, used: Usage, full: &mut Option<Full>) -> Verdict {
    let is_full = used.bytes > limits.disk || used.files > limits.disk_files || used.is_too_deep;
    let Some(before) = full.filter(|_| is_full) else {
        let was_full = full.is_some();
        *full = is_full.then_some(Full { least: used, is_known: false });
        return if is_full == was_full { Verdict::Nothing } else { Verdict::Writable(!is_full) };
    };
    let Full { least, is_known } = before;
    if used.files > least.files + MORE_FILES
        || used.is_too_deep
        || (is_known && used.bytes > least.bytes + MORE_BYTES)
    {
        return Verdict::Exceeded;
    }
    let bytes = if is_known { least.bytes.min(used.bytes) } else { used.bytes };
    let least = Usage { bytes, files: least.files.min(used.files), is_too_deep: false };
    *full = Some(Full { least, is_known: true });
    Verdict::Nothing
}

fn warn(cell: &Cell, limits: &Limits, used: Usage) {
    let reached = if used.is_too_deep {
        "have folders nested more than 128 deep"
    } else if used.bytes > limits.disk {
        "have reached limits.disk"
    } else {
        "have reached limits.disk_files"
    };
    tracing::warn!(
        project.name = cell.project(),
        cell.pid = cell.pid(),
        bytes = used.bytes,
        files = used.files,
        "DATA_DIR and TMPDIR {reached}: writes fail until files are removed"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { memory: 0, event_loop: 0, workers: 0, files: 0, disk: 10 << 20, disk_files: 1000 };

    /// The verdicts on counts in megabytes and files, one after the other.
    fn verdicts(counts: &[(u64, u64)]) -> Vec<Verdict> {
        let mut full = None;
        let used = |&(megabytes, files)| Usage { bytes: megabytes << 20, files, is_too_deep: false };
        counts.iter().map(used).map(|used| judge(&LIMITS, used, &mut full)).collect()
    }

    #[test]
    fn writes_end_at_a_limit_of_bytes_or_files_and_go_on_when_there_is_room() {
        use Verdict::{Nothing, Writable};
        for full in [(11, 10), (1, 1001)] {
            let counts = [(10, 1000), full, full, full, (10, 1000), (1, 1)];
            let expected = [Nothing, Writable(false), Nothing, Nothing, Writable(true), Nothing];
            assert_eq!(verdicts(&counts), expected);
        }
    }

    #[test]
    fn folders_that_grow_when_they_are_full_end_the_cell() {
        use Verdict::{Exceeded, Nothing, Writable};
        assert_eq!(verdicts(&[(1, 1001), (1, 1101), (1, 1102)]), [Writable(false), Nothing, Exceeded]);
        // The first two counts are of what was under way.
        let counts = [(11, 1), (19, 1), (20, 1), (21, 1)];
        assert_eq!(verdicts(&counts), [Writable(false), Nothing, Nothing, Exceeded]);
        // Less than at first, but more than in between.
        let counts = [(30, 1), (30, 1), (15, 1), (17, 1)];
        assert_eq!(verdicts(&counts), [Writable(false), Nothing, Nothing, Exceeded]);
    }

    #[test]
    fn what_cannot_be_counted_is_not_left_to_grow() {
        let (deep, mut full) = (Usage { bytes: 1, files: 1, is_too_deep: true }, None);
        assert_eq!(judge(&LIMITS, deep, &mut full), Verdict::Writable(false));
        assert_eq!(judge(&LIMITS, deep, &mut full), Verdict::Exceeded);
    }
}
