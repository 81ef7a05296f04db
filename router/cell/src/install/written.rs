//! What this process writes, as the kernel counts it: the bound of an installation, and the pace of its unpacking.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Bytes of all files of one installation. A tarball of a megabyte can have a gigabyte in it.
const MAX: u64 = 4 << 30;

/// Of what is unpacked, that which is not written yet: it is in memory.
const UNWRITTEN: u64 = 256 << 20;

/// When nothing is written for so long, all is: what a tarball holds besides its files was counted as well.
const IDLE: Duration = Duration::from_millis(500);

const LOOK: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct Written {
    /// `None`: this kernel does not count.
    io: Option<File>,
    pace: Mutex<Pace>,
}

#[derive(Debug)]
struct Pace {
    /// What will be written when all that may be unpacked is.
    promised: u64,
    seen: u64,
    since: Instant,
}

impl Written {
    /// To be called before the process is confined.
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

    /// Ends when it is too much, with what there is to say of it.
    pub(super) async fn too_much(&self) -> String {
        while self.bytes().is_none_or(|bytes| bytes <= MAX) {
            tokio::time::sleep(LOOK).await;
        }
        format!("the packages of one project are more than {} GB, unpacked", MAX >> 30)
    }

    /// Waits until a tarball may be unpacked.
    pub(super) async fn make_room(&self, tarball: &[u8]) {
        while let Some(written) = self.bytes()
            && !self.pace.lock().expect("no panic while it is held").admits(unpacked(tarball), written)
        {
            tokio::time::sleep(LOOK).await;
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
        let admits = self.promised < written.saturating_add(UNWRITTEN);
        if admits {
            self.promised = self.promised.max(written).saturating_add(size);
        }
        admits
    }
}

/// As the end of a gzip file tells, which may lie: memory is bounded all the same.
fn unpacked(tarball: &[u8]) -> u64 {
    tarball.last_chunk().map_or(0, |size| u32::from_le_bytes(*size).into())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn what_is_written_is_counted() {
        let written = Written::open();
        let before = written.bytes().expect("this kernel counts");
        tempfile::tempfile().unwrap().write_all(&[0; 4096]).unwrap();
        assert!(written.bytes().unwrap() >= before + 4096);
    }

    #[test]
    fn what_is_unpacked_waits_for_what_is_not_written_yet() {
        let mut pace = Pace { promised: 0, seen: 0, since: Instant::now() };
        assert!(pace.admits(UNWRITTEN / 2, 1) && pace.admits(UNWRITTEN, 1) && !pace.admits(1, 1));
        assert!(!pace.admits(1, UNWRITTEN / 2) && pace.admits(1, UNWRITTEN));
        assert!(pace.admits(2 * UNWRITTEN, UNWRITTEN) && !pace.admits(1, UNWRITTEN));
        pace.since -= 2 * IDLE;
        assert!(pace.admits(1, UNWRITTEN));
    }
}
