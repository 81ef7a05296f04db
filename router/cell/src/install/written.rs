//! The bytes that this process writes, as the kernel counts them: they bound an installation and
//! pace its unpacking.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Bytes of all files of one installation. A tarball of a megabyte can hold a gigabyte.
const MAX_WRITTEN: u64 = 4 << 30;

/// Unpacked bytes that are not written yet, and so are in memory.
const MAX_UNWRITTEN: u64 = 256 << 20;

/// The time without writes after which everything counts as written: the size of a tarball includes
/// more than its files.
const IDLE: Duration = Duration::from_millis(500);

/// The interval between two readings of the kernel's count.
const INTERVAL: Duration = Duration::from_millis(20);

/// The count of the bytes that this process has written.
#[derive(Debug)]
pub(super) struct WrittenBytes {
    /// `None`: this kernel has no count.
    io: Option<File>,
    pace: Mutex<Pace>,
}

#[derive(Debug)]
struct Pace {
    /// The count once everything that may be unpacked is written.
    promised: u64,
    /// The last count.
    seen: u64,
    /// The time since the last change of the count.
    since: Instant,
}

impl WrittenBytes {
    /// Opens the kernel's count. Must be called before the process is confined.
    pub(super) fn open() -> Self {
        let pace = Pace { promised: 0, seen: 0, since: Instant::now() };
        Self { io: File::open("/proc/self/io").ok(), pace: Mutex::new(pace) }
    }

    fn bytes(&self) -> Option<u64> {
        let mut text = [0; 512];
        let length = self.io.as_ref()?.read_at(&mut text, 0).ok()?;
        let text = std::str::from_utf8(&text[..length]).ok()?;
        text.lines().find_map(|line| line.strip_prefix("wchar: "))?.parse().ok()
    }

    /// Waits until the process has written too much. Returns the error.
    pub(super) async fn limit_exceeded(&self) -> String {
        while self.bytes().is_none_or(|bytes| bytes <= MAX_WRITTEN) {
            tokio::time::sleep(INTERVAL).await;
        }
        format!("the packages of one project are more than {} GB, unpacked", MAX_WRITTEN >> 30)
    }

    /// Waits until a tarball may be unpacked.
    pub(super) async fn make_room(&self, tarball: &[u8]) {
        while let Some(written) = self.bytes()
            && !self.pace.lock().unwrap_or_else(PoisonError::into_inner).admits(unpacked(tarball), written)
        {
            tokio::time::sleep(INTERVAL).await;
        }
    }
}

impl Pace {
    fn admits(&mut self, size: u64, written: u64) -> bool {
        let is_idle = written == self.seen && self.since.elapsed() > IDLE;
        if is_idle {
            self.promised = written;
        }
        if is_idle || written != self.seen {
            (self.seen, self.since) = (written, Instant::now());
        }
        let admits = self.promised < written.saturating_add(MAX_UNWRITTEN);
        if admits {
            self.promised = self.promised.max(written).saturating_add(size);
        }
        admits
    }
}

/// Returns the unpacked size by the end of a gzip file. It may be wrong: memory is bounded
/// nevertheless.
fn unpacked(tarball: &[u8]) -> u64 {
    tarball.last_chunk().map_or(0, |size| u32::from_le_bytes(*size).into())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn what_is_written_is_counted() {
        let written = WrittenBytes::open();
        let before = written.bytes().expect("this kernel counts");
        tempfile::tempfile().unwrap().write_all(&[0; 4096]).unwrap();
        assert!(written.bytes().unwrap() >= before + 4096);
    }

    #[test]
    fn what_is_unpacked_waits_for_what_is_not_written_yet() {
        let mut pace = Pace { promised: 0, seen: 0, since: Instant::now() };
        assert!(pace.admits(MAX_UNWRITTEN / 2, 1) && pace.admits(MAX_UNWRITTEN, 1) && !pace.admits(1, 1));
        assert!(!pace.admits(1, MAX_UNWRITTEN / 2) && pace.admits(1, MAX_UNWRITTEN));
        assert!(pace.admits(2 * MAX_UNWRITTEN, MAX_UNWRITTEN) && !pace.admits(1, MAX_UNWRITTEN));
        pace.since -= 2 * IDLE;
        assert!(pace.admits(1, MAX_UNWRITTEN));
    }
}
