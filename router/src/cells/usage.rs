//! What a process has taken so far, as the kernel counts it.

use std::io;

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
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_is_seen_to_use_memory_and_time() {
        // Holds what may be its last line.
        let mut tail = Command::new("tail").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let line = vec![b'x'; 64 << 20];
        tail.stdin.as_ref().unwrap().write_all(&line).unwrap();
        let used = memory(tail.id()).and_then(|memory| Ok((memory, time(tail.id())?)));
        tail.kill().and_then(|()| tail.wait()).unwrap();
        let (memory, time) = used.unwrap();
        assert!(memory >= (line.len() as u64) / 2, "{memory}");
        assert!(time > 0);
    }
}
