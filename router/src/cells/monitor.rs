//! Looks at what the cells use of memory and disk, where the bounds that the kernel holds them to are not exact: they count
//! memory that is reserved and not that which is used, and one file but not a folder.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use switchyard_protocol::Limit;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use super::process::Cell;
use super::usage;

/// Twice a second: a look at an idle cell costs some 20 microseconds.
const LOOKS: Duration = Duration::from_millis(500);

/// The cells that have a version.
#[derive(Debug, Default)]
pub(super) struct Monitor(Mutex<Vec<Weak<Cell>>>);

/// What was seen of a cell when it was looked at last.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    time: u64,
    is_full: bool,
}

impl Monitor {
    pub(super) fn add(&self, cell: &Arc<Cell>) {
        self.0.lock().expect("no holder of this lock panics").push(Arc::downgrade(cell));
    }

    /// Runs until it is dropped.
    pub(super) async fn run(&self) {
        let mut looks = interval(LOOKS);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = HashMap::new();
        loop {
            looks.tick().await;
            let cells = self.cells();
            seen.retain(|id, _| cells.iter().any(|cell| cell.id() == *id));
            for cell in cells {
                let last = seen.entry(cell.id()).or_default();
                *last = look(&cell, *last).await;
            }
        }
    }

    fn cells(&self) -> Vec<Arc<Cell>> {
        let mut cells = self.0.lock().expect("no holder of this lock panics");
        cells.retain(|cell| cell.strong_count() > 0);
        cells.iter().filter_map(Weak::upgrade).filter(|cell| !cell.has_exited()).collect()
    }
}

async fn look(cell: &Arc<Cell>, last: Seen) -> Seen {
    let Some(limits) = cell.limits() else { return last };
    // A process that is gone uses nothing; its owner tells of its end.
    let Ok(time) = usage::time(cell.pid()) else { return last };
    if time == last.time && !last.is_full {
        return last;
    }
    if usage::memory(cell.pid()).is_ok_and(|memory| memory > limits.memory) {
        cell.exceed(Limit::Memory);
    }
    let folders = cell.folders();
    let used = spawn_blocking(move || folders.iter().map(|folder| size_of(folder)).sum::<u64>()).await;
    let is_full = used.is_ok_and(|used| used > limits.disk);
    if is_full != last.is_full {
        if is_full {
            tracing::warn!(
                pid = cell.pid(),
                "DATA_DIR and TMPDIR have reached limits.disk: writes fail until files are removed"
            );
        }
        cell.set_writable(!is_full).await;
    }
    Seen { time, is_full }
}

/// Bytes on the disk, of all files below.
fn size_of(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let files = walkdir::WalkDir::new(folder).into_iter().flatten();
    files.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.blocks() * 512).sum()
}
