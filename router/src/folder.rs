//! Folders of the router's own in its state folder: counted and given away by descriptors, one level at a time, whatever a
//! project has made in them. No path to what is inside is ever built, and nothing recurses.

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

/// Everything below one or more folders.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Bytes on the disk.
    pub(crate) bytes: u64,
    /// Files, folders and links, each by its name: a second name for a file counts as well.
    pub(crate) files: u64,
    /// Something lies deeper than is counted.
    pub(crate) is_too_deep: bool,
}

/// Removes a folder with all that is in it, if it is there. One that cannot be removed is logged, and stays.
pub(crate) fn remove(path: &Path) {
    match try_remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!("{} cannot be removed: {error}", path.display());
        }
        _ => {}
    }
}

/// Adds up what is below `folder`. What vanishes meanwhile, or cannot be entered, counts as its name alone.
pub(crate) fn measure(folder: &Path) -> Usage {
    let mut usage = Usage::default();
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

impl std::iter::Sum for Usage {
    fn sum<I: Iterator<Item = Self>>(usages: I) -> Self {
        usages.fold(Self::default(), |one, other| Self {
            bytes: one.bytes.saturating_add(other.bytes),
            files: one.files.saturating_add(other.files),
            is_too_deep: one.is_too_deep || other.is_too_deep,
        })
    }
}

/// The names in a folder; none when it cannot be read.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[cfg(test)]
mod tests;
