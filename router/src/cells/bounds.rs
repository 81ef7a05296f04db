//! What the kernel holds a cell to for the router: memory, descriptors and the size of files.

use std::io;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use switchyard_protocol::Limits;

/// Beyond its limit, memory for the stacks of the runtime's own threads, which are counted when they are reserved and
/// hardly used. What is really used is measured ([`memory`]).
const STACKS: u64 = 64 << 20;

/// Bounds a spare that is about to be given a version.
///
/// V8 reserves much that it never touches, and that the kernel counts already: so memory is bounded from what a spare has
/// on. An allocation beyond the bound fails, which JavaScript sees as a `RangeError` where it can.
pub(super) fn set(process: u32, limits: &Limits) -> io::Result<()> {
    let reserved = kilobytes(&read(process, "status")?, "VmData:");
    both(process, Resource::Data, reserved.saturating_add(limits.memory).saturating_add(STACKS))?;
    both(process, Resource::Nofile, limits.files)?;
    writable(process, limits, true)
}

/// Whether the process may make files any larger; none may be larger than all may be together.
pub(super) fn writable(process: u32, limits: &Limits, may: bool) -> io::Result<()> {
    let now = if may { limits.disk } else { 0 };
    limit(process, Resource::Fsize, Rlimit { current: Some(now), maximum: Some(limits.disk) })
}

/// Bytes of memory that the process has to itself, and of files in memory.
pub(super) fn memory(process: u32) -> io::Result<u64> {
    let status = read(process, "status")?;
    Ok(kilobytes(&status, "RssAnon:") + kilobytes(&status, "RssShmem:") + kilobytes(&status, "VmSwap:"))
}

/// Processor time so far, in ticks of a hundredth of a second.
pub(super) fn time(process: u32) -> io::Result<u64> {
    let stat = read(process, "stat")?;
    // The name before it is the process's own to choose.
    let after = stat.rsplit(')').next().unwrap_or_default();
    Ok(after.split_ascii_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum())
}

fn both(process: u32, resource: Resource, value: u64) -> io::Result<()> {
    limit(process, resource, Rlimit { current: Some(value), maximum: Some(value) })
}

fn limit(process: u32, resource: Resource, limit: Rlimit) -> io::Result<()> {
    let process = i32::try_from(process).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    prlimit(Some(process), resource, limit)?;
    Ok(())
}

fn read(process: u32, file: &str) -> io::Result<String> {
    std::fs::read_to_string(format!("/proc/{process}/{file}"))
}

/// What `status` says of `field`, in bytes; 0 where it says nothing.
fn kilobytes(status: &str, field: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    line.split_ascii_whitespace()
        .next()
        .and_then(|count| count.parse::<u64>().ok())
        .unwrap_or(0)
        .saturating_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_seen_to_use_memory_and_time() {
        let own = std::process::id();
        let (memory_before, time_before) = (memory(own).unwrap(), time(own).unwrap());
        let held = vec![1_u8; 64 << 20];
        while time(own).unwrap() == time_before {}
        assert!(memory(own).unwrap() >= memory_before + (held.len() as u64) / 2);
    }
}
