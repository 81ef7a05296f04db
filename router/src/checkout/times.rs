//! The modification times of a checkout's files. Servers derive validators from them (`ETag`,
//! `Last-Modified`), so a time must be the same on every router and after every restart while the
//! content is the same, and must change with the content.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT, statat, utimensat};

use super::hashes::{FileHash, FileHashes};
use super::scan::FileStamp;
use super::snapshot::Snapshot;

/// The times of a checkout's files: seconds since 1970, in the order of their paths.
pub(super) type FileTimes = Arc<[i64]>;

/// Returns the times that a snapshot gives to its checkout's files.
pub(super) fn of(snapshot: &Snapshot) -> FileTimes {
    snapshot.modified().map(|(_, seconds)| seconds).collect()
}

/// Gives the files of the checkout in `dir` the times of `snapshot`. `known`: files and times of a
/// checkout that the unchanged ones are links to. Returns `true` if such a link has another time
/// now, and its file with it.
///
/// # Errors
/// A file is gone, or the file system keeps no times.
pub(super) fn apply(
    dir: &Path,
    snapshot: &Snapshot,
    known: Option<(Arc<FileHashes>, FileTimes)>,
) -> io::Result<bool> {
    let known = known.as_ref().map(|(files, times)| files.iter().zip(times.iter()));
    // Both are in order.
    let mut known = known.into_iter().flatten().peekable();
    let mut is_shared_changed = false;
    for ((path, hash), (_, seconds)) in snapshot.files.iter().zip(snapshot.modified()) {
        while known.next_if(|((known, _), _)| *known < path).is_some() {}
        let shared = known.next_if(|((known, _), _)| *known == path).filter(|((_, known), _)| *known == hash);
        if shared.is_none_or(|(_, known)| *known != seconds) {
            let is_changed = set(&dir.join(path), seconds, hash)?;
            is_shared_changed |= is_changed && shared.is_some();
        }
    }
    Ok(is_shared_changed)
}

/// Sets the time of one file, and returns `true` if it had another one. The seconds come from the
/// volume, which all routers share, so that `Last-Modified` never goes back when a file is edited.
/// The milliseconds are derived from the content, so that an `ETag` changes with it even where a
/// tool writes every file with the same time.
fn set(path: &Path, seconds: i64, hash: &FileHash) -> io::Result<bool> {
    let nanos = i64::from(u16::from_be_bytes([hash[0], hash[1]]) % 1000) * 1_000_000;
    // To look is cheaper than to write it again.
    if FileStamp::of(&statat(CWD, path, AtFlags::empty())?).modified == (seconds, nanos) {
        return Ok(false);
    }
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanos },
    };
    utimensat(CWD, path, &times, AtFlags::empty())?;
    Ok(true)
}
