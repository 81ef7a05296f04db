//! The limit of a project's disk space, held where its files are made and written: in front of the
//! C library's calls, through which all ways from JavaScript to a file lead (Deno's and Node's
//! functions, SQLite, WASI, caches). At the limit they fail as on a full disk (ENOSPC) until space
//! is free again. The router counts and decides; this process only keeps what it writes within the
//! last count.

mod calls;
mod counter;
mod files;
mod quota;
mod state;

use std::time::Duration;

use switchyard_protocol::Start;

use self::counter::Usage;
use self::quota::Quota;
use self::state::{DISK, Disk};

/// A call waits for a count for at most a turn's time limit divided by this, since the wait may
/// block a turn: 1.25 s by default. Counting 100,000 files takes some 200 ms on an idle machine. A
/// call that waits longer is refused.
const WAITS_PER_TURN: u32 = 4;

/// Limits this process from here on. `request` requests a count from the router, whose answer goes
/// to [`update`].
pub(crate) fn limit(start: &Start, request: impl Fn() + Send + Sync + 'static) {
    let folders = match start.permissions.write[..] {
        [] => Vec::new(),
        _ => vec![start.data.clone(), start.tmp.clone()],
    };
    let max_wait = Duration::from_millis(start.limits.event_loop_ms) / WAITS_PER_TURN;
    let new = || Disk { quota: Quota::new(max_wait, Box::new(request), files::unlinked), folders };
    _ = DISK.get_or_init(new).quota.request_count();
}

/// Applies a count of the router's, requested or not: the space that is left.
pub(crate) fn update(bytes: i64, files: i64, is_answer: bool) {
    if let Some(disk) = DISK.get() {
        disk.quota.update(Usage { bytes, names: files }, is_answer);
    }
}
