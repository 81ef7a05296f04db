//! What the kernel holds this process to: memory, descriptors and the size of files.

use std::fs;
use std::io;

use switchyard_protocol::Limits;

/// Beyond the limit of memory, what the stacks of the runtime's own threads reserve and hardly use. What is really used is
/// the router's to measure.
const STACKS: u64 = 64 << 20;

/// For good: there is no way back up.
///
/// V8 reserves much that it never touches, and that the kernel counts already: so memory is bounded from what a spare has
/// on. An allocation beyond the bound fails, which JavaScript sees as a `RangeError` where it can.
pub(crate) fn set(limits: &Limits) -> io::Result<()> {
    let memory = reserved()?.saturating_add(limits.memory).saturating_add(STACKS);
    lower(libc::RLIMIT_DATA, memory, memory)?;
    lower(libc::RLIMIT_NOFILE, limits.files, limits.files)?;
    // None may be larger than all may be together.
    lower(libc::RLIMIT_FSIZE, limits.disk, limits.disk)
}

/// Whether files may become any larger.
pub(crate) fn set_writable(may: bool) {
    let largest = if may { u64::MAX } else { 0 };
    // It fails only for who asks for more than the bound.
    let _ = lower(libc::RLIMIT_FSIZE, largest, u64::MAX);
}

/// Never above what it is already.
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
