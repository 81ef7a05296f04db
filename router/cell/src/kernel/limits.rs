//! Limits that the kernel enforces on this process: memory, descriptors and the size of files.

use std::fs;
use std::io;
use std::sync::Mutex;

use switchyard_protocol::Limits;

/// Bytes beyond the limit of memory, for the stacks of the runtime's own threads, which are
/// reserved and hardly used. The router measures what is really used.
const STACKS: u64 = 64 << 20;

/// Bytes that V8 reserves for a web worker: as much as its heap may have, up to 512 MB, and less
/// than 64 MB beside it (measured: 80 MB with a limit of 64 MB, 240 MB with 256 MB, 540 MB with 1
/// GB and more).
const WORKER_HEAP: u64 = 512 << 20;
const BESIDE_WORKER_HEAP: u64 = 64 << 20;

/// Sets the limits of this process.
///
/// V8 reserves much memory that it never touches, and the kernel counts it: so the bound of memory
/// starts at what a spare has reserved. An allocation beyond the bound fails, which JavaScript sees
/// as a `RangeError` if it can. The hard limit adds the reservations of as many web workers as are
/// allowed.
///
/// # Errors
/// The kernel refuses a limit.
pub(crate) fn set(limits: &Limits) -> io::Result<()> {
    let memory = reserved()?.saturating_add(limits.memory).saturating_add(STACKS);
    // Each web worker has a reservation of its own.
    let worker = limits.memory.min(WORKER_HEAP) + BESIDE_WORKER_HEAP;
    let workers = worker.saturating_mul(limits.workers.into());
    lower(libc::RLIMIT_DATA, memory, memory.saturating_add(workers))?;
    lower(libc::RLIMIT_NOFILE, limits.files, limits.files)?;
    // No file may be larger than all files together. `disk` counts their sum.
    lower(libc::RLIMIT_FSIZE, limits.disk, limits.disk)
}

/// Bytes that V8 has reserved for a web worker, by which the bound of memory is raised until this
/// is dropped.
pub(crate) struct Reservation(u64);

/// Held while the bound changes.
static BOUND: Mutex<()> = Mutex::new(());

/// Lets `make` reserve memory beyond the bound, and raises the bound by what it has reserved.
pub(crate) fn reserve<T>(make: impl FnOnce() -> T) -> (T, Reservation) {
    let _one_at_a_time = BOUND.lock();
    let (bound, before) = (data(), reserved().unwrap_or(0));
    set_data(u64::MAX);
    let made = make();
    let taken = reserved().unwrap_or(before).saturating_sub(before);
    set_data(bound.saturating_add(taken));
    (made, Reservation(taken))
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let _one_at_a_time = BOUND.lock();
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
    // This never exceeds the hard limit, so it does not fail.
    let _ = lower(libc::RLIMIT_DATA, to, u64::MAX);
}

/// Sets the soft and the hard limit of a resource. The hard limit is never raised.
fn lower(resource: libc::__rlimit_resource_t, soft: u64, hard: u64) -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointers are to a live value of the right type.
    #[expect(unsafe_code, reason = "libc calls")]
    let result = unsafe {
        libc::getrlimit(resource, &mut limit);
        limit.rlim_max = limit.rlim_max.min(hard);
        limit.rlim_cur = limit.rlim_max.min(soft);
        libc::setrlimit(resource, &limit)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Returns the bytes of private writable memory, used or not.
fn reserved() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let data = status.lines().find_map(|line| line.strip_prefix("VmData:")).unwrap_or_default();
    let kilobytes = data.split_ascii_whitespace().next().and_then(|number| number.parse::<u64>().ok());
    kilobytes.and_then(|kilobytes| kilobytes.checked_mul(1024)).ok_or(io::ErrorKind::InvalidData.into())
}
