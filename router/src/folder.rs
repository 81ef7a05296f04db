//! Folders in the state folder: measured, removed and given away through descriptors, one level at
//! a time, whatever a project has made in them. No path to an entry is ever built, and nothing
//! recurses.

mod owner;
mod trash;

use std::ffi::CStr;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, statat};
use switchyard_contract::bounds::COUNTED_DEPTH;
pub(crate) use switchyard_program::removal::try_remove;

pub(crate) use self::owner::{NOT_SHARED, claim, share, take_over};
pub(crate) use self::trash::Trash;

/// The disk usage of everything below one or more folders.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct DiskUsage {
    /// Bytes that are allocated on disk.
    pub(crate) bytes: u64,
    /// Number of names of files, folders and links. Each hard link to a file counts.
    pub(crate) files: u64,
    /// `true`: entries deeper than [`COUNTED_DEPTH`] are not counted.
    pub(crate) is_too_deep: bool,
}

/// Removes a folder with everything in it, if it exists. If it cannot be removed, that is logged,
/// and it stays.
pub(crate) fn remove(path: &Path) {
    match try_remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!("{} cannot be removed: {error}", path.display());
        }
        _ => {}
    }
}

/// Measures everything below `folder`. An entry that vanishes meanwhile, or a folder that cannot be
/// entered, counts as its name alone.
pub(crate) fn measure(folder: &Path) -> DiskUsage {
    let mut usage = DiskUsage::default();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let enter = |at: BorrowedFd<'_>, name: &CStr| openat(at, name, flags, Mode::empty()).and_then(Dir::new);
    let mut levels: Vec<Dir> =
        openat(CWD, folder, flags, Mode::empty()).and_then(Dir::new).into_iter().collect();
    while let Some(level) = levels.last_mut() {
        let Some(Ok(entry)) = level.next() else {
            levels.pop();
            continue;
        };
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let Ok(at) = level.fd() else { continue };
        let Ok(status) = statat(at, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        usage.files += 1;
        usage.bytes = usage.bytes.saturating_add(u64::try_from(status.st_blocks).unwrap_or(0) * 512);
        if FileType::from_raw_mode(status.st_mode) != FileType::Directory {
            continue;
        }
        let below = enter(at, name);
        if levels.len() < COUNTED_DEPTH {
            levels.extend(below);
        } else {
            usage.is_too_deep = true;
        }
    }
    usage
}

impl std::iter::Sum for DiskUsage {
    fn sum<I: Iterator<Item = Self>>(usages: I) -> Self {
        usages.fold(Self::default(), |one, other| Self {
            bytes: one.bytes.saturating_add(other.bytes),
            files: one.files.saturating_add(other.files),
            is_too_deep: one.is_too_deep || other.is_too_deep,
        })
    }
}

/// Returns the names in a folder; none if it cannot be read.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[cfg(test)]
mod tests;
