//! Removal of folders that untrusted processes wrote to, by descriptors and one level at a time. No path
//! into the folder is ever built, and nothing recurses.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, chmod, openat, renameat, statat, unlinkat};
use rustix::io::Errno;

/// Attempts at a folder in which new entries appear while it is emptied.
const ATTEMPTS: usize = 3;

/// Removes the folder at `path` with its content, or a file of any other type.
///
/// # Errors
/// There is nothing at `path`, or something in the folder cannot be removed.
pub fn try_remove(path: &Path) -> io::Result<()> {
    let top = match open(CWD, path) {
        Err(Errno::NOTDIR | Errno::LOOP) => return std::fs::remove_file(path),
        top => top?,
    };
    let mut remover = Remover { top, prefix: format!(".gone-{}-", uuid::Uuid::new_v4()), next: 0 };
    remover.run()?;
    std::fs::remove_dir(path)
}

/// A folder that is emptied. Every folder below it is first moved up into it, so that the depth is never
/// more than two, however deep the tree was.
struct Remover {
    top: OwnedFd,
    /// Prefix of names in `top`. Random, so that no file of a project has it.
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
        Err(io::Error::other("another process keeps writing to it"))
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

    /// Moves a folder into `top` under an unused name. Returns the name.
    fn lift(&mut self, from: BorrowedFd<'_>, name: &CStr) -> io::Result<CString> {
        let to = CString::new(format!("{}{}", self.prefix, self.next))?;
        self.next += 1;
        match renameat(from, name, &self.top, &to) {
            // Moving a folder writes to it: its `..` changes.
            Err(Errno::ACCESS) => {
                unlock(from, name)?;
                renameat(from, name, &self.top, &to)?;
            }
            moved => moved?,
        }
        Ok(to)
    }
}

/// Opens a folder, and restores its owner's permissions first if they are missing. Follows no link.
fn open<P: rustix::path::Arg + Copy>(at: BorrowedFd<'_>, path: P) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(at, path, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            unlock(at, path)?;
            openat(at, path, flags, Mode::empty())
        }
        opened => opened,
    }
}

/// Gives the owner of a folder all permissions. The target of a symbolic link keeps its mode.
fn unlock<P: rustix::path::Arg>(at: BorrowedFd<'_>, path: P) -> rustix::io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = openat(at, path, flags, Mode::empty())?;
    // The mode of an `O_PATH` descriptor can be changed through /proc alone.
    chmod(format!("/proc/self/fd/{}", folder.as_raw_fd()), Mode::RWXU)
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

/// Calls `entry` with the name and the type of each entry of a folder. `entry` may remove it. The names
/// are not collected, since there may be any number of them.
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_folder_without_permissions_of_its_owner_is_unlocked_but_not_the_target_of_a_link() {
        let root = tempfile::tempdir().unwrap();
        let mode = |name: &str| fs::metadata(root.path().join(name)).unwrap().permissions().mode() & 0o777;
        for name in ["locked", "behind"] {
            fs::create_dir(root.path().join(name)).unwrap();
            fs::set_permissions(root.path().join(name), fs::Permissions::from_mode(0o500)).unwrap();
        }
        symlink("behind", root.path().join("link")).unwrap();
        let top = open(CWD, root.path()).unwrap();
        unlock(top.as_fd(), c"locked").unwrap();
        assert!(unlock(top.as_fd(), c"link").is_err());
        assert_eq!((mode("locked"), mode("behind")), (0o700, 0o500));
    }
}
