//! Folders of the router's own in its state folder: removed, counted and given away by descriptors, one level at a time, whatever a
//! project has made in them. No path to what is inside is ever built, and nothing recurses.

mod owner;
mod trash;

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, chmodat, openat, renameat, statat, unlinkat};
use rustix::io::Errno;
use switchyard_bridge::bounds::COUNTED_DEPTH;

pub(crate) use self::owner::{NOT_SHARED, claim, share, take_over};
pub(crate) use self::trash::Trash;

/// A folder whose entries go on appearing while it is emptied is tried this often.
const ATTEMPTS: usize = 3;

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

/// Removes a folder, or whatever else is at `path`, with all that is in it.
///
/// # Errors
/// It is not there, or something in it cannot be removed.
pub(crate) fn try_remove(path: &Path) -> io::Result<()> {
    let top = match open(CWD, path) {
        Err(Errno::NOTDIR | Errno::LOOP) => return std::fs::remove_file(path),
        top => top?,
    };
    let mut remover = Remover { top, prefix: format!(".gone-{}-", uuid::Uuid::new_v4()), next: 0 };
    remover.run()?;
    std::fs::remove_dir(path)
}

/// Empties a folder. Every folder below is first moved up into it, so that the depth is never more than two, however deep
/// the tree was.
struct Remover {
    top: OwnedFd,
    /// No project knows it, so nothing has such a name.
    prefix: String,
    next: u64,
}

impl Remover {
    fn run(&mut self) -> io::Result<()> {
        let mut folders = Vec::new();
        for _ in 0..ATTEMPTS {
            each(self.top.as_fd(), |name, kind| match kind {
                FileType::Directory => {
                    folders.push(name.to_owned());
                    Ok(())
                }
                _ => unlink(self.top.as_fd(), name),
            })?;
            if folders.is_empty() {
                return Ok(());
            }
            while let Some(name) = folders.pop() {
                self.empty(&name, &mut folders)?;
            }
        }
        Err(io::Error::other("something goes on writing in it"))
    }

    /// Removes a folder in `top`, and moves the folders in it there.
    fn empty(&mut self, name: &CStr, folders: &mut Vec<CString>) -> io::Result<()> {
        for attempt in 1.. {
            let folder = open(self.top.as_fd(), name)?;
            each(folder.as_fd(), |inner, kind| {
                match kind {
                    FileType::Directory => folders.push(self.lift(folder.as_fd(), inner)?),
                    _ => unlink(folder.as_fd(), inner)?,
                }
                Ok(())
            })?;
            match unlinkat(&self.top, name, AtFlags::REMOVEDIR) {
                Err(Errno::NOTEMPTY) if attempt < ATTEMPTS => {}
                Ok(()) | Err(Errno::NOENT) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Moves a folder into `top`, under a name of its own.
    fn lift(&mut self, from: BorrowedFd<'_>, name: &CStr) -> io::Result<CString> {
        let to = CString::new(format!("{}{}", self.prefix, self.next))?;
        self.next += 1;
        match renameat(from, name, &self.top, &to) {
            // A folder that moves is written to: its `..` changes.
            Err(Errno::ACCESS) => {
                chmodat(from, name, Mode::RWXU, AtFlags::empty())?;
                renameat(from, name, &self.top, &to)?;
            }
            moved => moved?,
        }
        Ok(to)
    }
}

/// Opens a folder, after taking the right to if its owner has given that up. Follows no link.
fn open<P: rustix::path::Arg + Copy>(at: BorrowedFd<'_>, path: P) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(at, path, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            // Nobody else writes in it any more: the name is that of the folder that was listed.
            chmodat(at, path, Mode::RWXU, AtFlags::empty())?;
            openat(at, path, flags, Mode::empty())
        }
        opened => opened,
    }
}

fn unlink(folder: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    match unlinkat(folder, name, AtFlags::empty()) {
        Err(Errno::ACCESS) => {
            rustix::fs::fchmod(folder, Mode::RWXU)?;
            Ok(unlinkat(folder, name, AtFlags::empty())?)
        }
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Calls `entry` with each name in a folder and what it is, which may be removed then: the names are not kept, however many
/// there are.
fn each(folder: BorrowedFd<'_>, mut entry: impl FnMut(&CStr, FileType) -> io::Result<()>) -> io::Result<()> {
    for found in Dir::read_from(folder)? {
        let found = found?;
        let name = found.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let kind = match found.file_type() {
            FileType::Unknown => match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(status) => FileType::from_raw_mode(status.st_mode),
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(error.into()),
            },
            kind => kind,
        };
        entry(name, kind)?;
    }
    Ok(())
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
