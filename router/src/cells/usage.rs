//! The memory, processor time and disk space of a process, as the kernel counts them.

use std::collections::HashMap;
use std::fs::File;
use std::io;

use rustix::fs::{AtFlags, FileType, statat};

/// The bytes of memory that belong to the process alone, including its files in memory.
pub(super) fn memory(process: u32) -> io::Result<u64> {
    let status = read(process, "status")?;
    Ok(kilobytes(&status, "RssAnon:") + kilobytes(&status, "RssShmem:") + kilobytes(&status, "VmSwap:"))
}

/// The processor time so far, in ticks of a hundredth of a second.
pub(super) fn time(process: u32) -> io::Result<u64> {
    let stat = read(process, "stat")?;
    // The process chooses its name, which comes before.
    let after = stat.rsplit(')').next().unwrap_or_default();
    Ok(after.split_ascii_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum())
}

/// The bytes on the disk of open files without a name, which no folder lists.
///
/// # Errors
/// The router may not list the process's descriptors. That takes root's rights, or a process of the
/// router's own user that is not protected as cells are.
pub(super) fn unlinked(process: u32) -> io::Result<u64> {
    let folder = File::open(format!("/proc/{process}/fd"))?;
    let mut files = HashMap::new();
    for entry in std::fs::read_dir(format!("/proc/{process}/fd"))? {
        // The file may be closed by now.
        let Ok(status) = statat(&folder, entry?.file_name(), AtFlags::empty()) else { continue };
        if status.st_nlink == 0 && FileType::from_raw_mode(status.st_mode) == FileType::RegularFile {
            files.insert((status.st_dev, status.st_ino), status.st_blocks);
        }
    }
    Ok(files.into_values().map(|blocks| u64::try_from(blocks).unwrap_or(0) * 512).sum())
}

fn read(process: u32, file: &str) -> io::Result<String> {
    std::fs::read_to_string(format!("/proc/{process}/{file}"))
}

/// The value of `field` in `status`, in bytes. 0 if there is none.
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
    fn open_files_without_a_name_are_seen_once_each() {
        let mut file = tempfile::tempfile().unwrap();
        let before = unlinked(std::process::id()).unwrap();
        file.write_all(&vec![b'x'; 1 << 20]).unwrap();
        file.sync_all().unwrap();
        let _twice = file.try_clone().unwrap();
        let more = unlinked(std::process::id()).unwrap() - before;
        assert!((1 << 20..2 << 20).contains(&more), "{more}");
    }

    #[test]
    fn a_process_is_seen_to_use_memory_and_time() {
        // tail keeps its last line in memory.
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
