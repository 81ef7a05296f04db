//! The limit of what the project has on the disk, held where its files are made and written: in front of the C library's
//! calls, which all ways from JavaScript to a file go through (Deno's and Node's functions, SQLite, WASI, caches). At the
//! limit they fail as on a full disk (ENOSPC), until there is room again. The router counts and is the judge.

mod calls;
mod files;
mod room;

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use switchyard_protocol::Start;

use self::room::{Amount, Room};

/// The longest wait for a count, and at most a quarter of what a turn may take: it may be a turn that waits. Counting 100,000
/// files takes some 200 ms; a call that still waits then is refused.
const WAIT: Duration = Duration::from_millis(500);

/// Nothing is limited before it is there: a spare and a process that fetches packages have no project.
static DISK: OnceLock<Disk> = OnceLock::new();

struct Disk {
    room: Room,
    /// Where what is counted lies; empty when nothing else can be written, so that there is no need to look.
    folders: Vec<PathBuf>,
}

/// Limits this process from here on. `ask` has the router count the folders, whose answer goes to [`renew`].
pub(crate) fn limit(start: &Start, ask: impl Fn() + Send + Sync + 'static) {
    let folders = match start.permissions.write[..] {
        [] => Vec::new(),
        _ => vec![start.data.clone(), start.tmp.clone()],
    };
    let wait = WAIT.min(Duration::from_millis(start.limits.event_loop) / 4);
    let disk = DISK.get_or_init(|| Disk { room: Room::new(wait, Box::new(ask), files::unlinked), folders });
    _ = disk.room.ask();
}

/// The router has counted, because it was asked or by itself, and there is so much room.
pub(crate) fn renew(bytes: i64, files: i64, is_answer: bool) {
    if let Some(disk) = DISK.get() {
        disk.room.renew(Amount { bytes, names: files }, is_answer);
    }
}
