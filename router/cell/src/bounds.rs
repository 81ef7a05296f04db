//! What the kernel holds this process to: memory, descriptors and the size of files.

use std::fs;
use std::io;
use std::sync::Mutex;

use switchyard_protocol::Limits;

/// Beyond the limit of memory, what the stacks of the runtime's own threads reserve and hardly use. What is really used is
/// the router's to measure.
const STACKS: u64 = 64 << 20;

/// What the V8 of a web worker reserves: as much as its heap may have, up to 512 MB, and less than
/// 64 MB beside it (80 MB where the limit is 64 MB, 240 MB at 256 MB, 540 MB at 1 GB and more, as
/// measured).
const WORKER_HEAP: u64 = 512 << 20;
const BESIDE_WORKER_HEAP: u64 = 64 << 20;

/// V8 reserves much that it never touches, and that the kernel counts already: so memory is bounded
/// from what a spare has on. An allocation beyond the bound fails, which JavaScript sees as a
/// `RangeError` where it can. No code of this process gets more than the bound for as many web
/// workers as there may be.
pub(crate) fn set(limits: &Limits) -> io::Result<()> {
    let memory = reserved()?.saturating_add(limits.memory).saturating_add(STACKS);
    // A worker needs room of its own, and there may be so many.
    let worker = limits.memory.min(WORKER_HEAP) + BESIDE_WORKER_HEAP;
    let workers = worker.saturating_mul(limits.workers.into());
    lower(libc::RLIMIT_DATA, memory, memory.saturating_add(workers))?;
    lower(libc::RLIMIT_NOFILE, limits.files, limits.files)?;
    // No file may be larger than all may be together. `disk` counts them all.
    lower(libc::RLIMIT_FSIZE, limits.disk, limits.disk)
}

/// Room that a web worker's V8 has reserved, as much as a version's own. Dropped, it is given back.
pub(crate) struct Room(u64);

static ROOM: Mutex<()> = Mutex::new(());

/// Has `make` reserve what it needs beyond the bound of memory, which is higher by that from then on.
pub(crate) fn with_room<T>(make: impl FnOnce() -> T) -> (T, Room) {
    let _one_at_a_time = ROOM.lock();
    let (bound, before) = (data(), reserved().unwrap_or(0));
    set_data(u64::MAX);
    let made = make();
    let taken = reserved().unwrap_or(before).saturating_sub(before);
    set_data(bound.saturating_add(taken));
    (made, Room(taken))
}

impl Drop for Room {
    fn drop(&mut self) {
        let _one_at_a_time = ROOM.lock();
        set_data(data().saturating_sub(self.0));
    }
}

fn data() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live value of the right type.
    #[expect(unsafe_code, reason = "libc call")]
    unsafe {
        libc::getrlimit(libc::RLIMIT_DATA, &mut limit);
    }
    limit.rlim_cur
}

fn set_data(to: u64) {
    // It is never asked for more than there was before there was a bound.
    let _ = lower(libc::RLIMIT_DATA, to, u64::MAX);
}

/// Never above what it may ever be.
fn lower(resource: libc::__rlimit_resource_t, now: u64, ever: u64) -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointers are to a live value of the right type.
    #[expect(unsafe_code, reason = "libc calls")]
    let result = unsafe {
        libc::getrlimit(resource, &mut limit);
        limit.rlim_max = limit.rlim_max.min(ever);
        limit.rlim_cur = limit.rlim_max.min(now);
        libc::setrlimit(resource, &limit)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Bytes of private memory that may be written, used or not.
fn reserved() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let data = status.lines().find_map(|line| line.strip_prefix("VmData:")).unwrap_or_default();
    let kilobytes = data.split_ascii_whitespace().next().and_then(|number| number.parse::<u64>().ok());
    kilobytes.and_then(|kilobytes| kilobytes.checked_mul(1024)).ok_or(io::ErrorKind::InvalidData.into())
}
