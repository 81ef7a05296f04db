//! The modification times of a checkout's files. Servers derive validators from them (`ETag`,
//! `Last-Modified`), so a time must be the same on every router and after every restart while the
//! content is the same, and must change with the content.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT, utimensat};

use super::snapshot::{FileHash, Snapshot};

/// Returns a number that changes with the times that a snapshot gives to its checkout's files.
pub(super) fn fingerprint(snapshot: &Snapshot) -> u64 {
    let mut hasher = DefaultHasher::new();
    snapshot.modified().for_each(|modified| modified.hash(&mut hasher));
    hasher.finish()
}

/// Gives the files of the checkout in `dir` the times of `snapshot`.
///
/// # Errors
/// A file is gone, or the file system keeps no times.
pub(super) fn apply(dir: &Path, snapshot: &Snapshot) -> io::Result<()> {
    for (path, seconds) in snapshot.modified() {
        if let Some(hash) = snapshot.files.get(path) {
            set(&dir.join(path), seconds, hash)?;
        }
    }
    Ok(())
}

/// Sets the time of one file. The seconds come from the volume, which all routers share, so that
/// `Last-Modified` never goes back when a file is edited. The milliseconds are derived from the
/// content, so that an `ETag` changes with it even where a tool writes every file with the same
/// time.
fn set(path: &Path, seconds: i64, hash: &FileHash) -> io::Result<()> {
    let millis = i64::from(u16::from_be_bytes([hash[0], hash[1]]) % 1000);
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: millis * 1_000_000 },
    };
    Ok(utimensat(CWD, path, &times, AtFlags::empty())?)
}
