//! The folders that a project is read from, held open. What is in them is opened relative to them and through no symbolic
//! link, so that nobody who swaps one for another can have anything else read.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

/// The project's folder, and what it includes from beside itself.
#[derive(Debug, Default)]
pub(super) struct Tops(Vec<Top>);

#[derive(Debug)]
struct Top {
    /// Without symbolic links when it was opened.
    path: PathBuf,
    folder: OwnedFd,
    /// The one file in it that is included; `None` when all of it is.
    only: Option<OsString>,
}

/// A file or folder in one of the tops: the real one, behind all links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Location {
    top: usize,
    /// Empty for the top itself. No component is a symbolic link or `..`.
    below: PathBuf,
}

impl Location {
    pub(super) fn join(&self, name: &str) -> Self {
        Self { top: self.top, below: self.below.join(name) }
    }
}

impl Tops {
    /// Opens the folder at `path`, which has no symbolic links.
    ///
    /// # Errors
    /// The folder is gone, or something else is there.
    pub(super) fn add(&mut self, path: PathBuf) -> io::Result<Location> {
        let folder = openat(CWD, &path, OFlags::DIRECTORY | FLAGS, Mode::empty())?;
        Ok(self.push(Top { path, folder, only: None }))
    }

    /// Opens what is at `below` in the folder `volume`. A file is the only one of its folder that can be opened.
    ///
    /// # Errors
    /// Nothing is there, or it is behind a symbolic link.
    pub(super) fn add_below(&mut self, volume: &Path, below: &Path) -> io::Result<Location> {
        let volume_folder = openat(CWD, volume, OFlags::DIRECTORY | FLAGS, Mode::empty())?;
        match open_beneath(volume_folder.as_fd(), below, OFlags::DIRECTORY) {
            Ok(folder) => Ok(self.push(Top { path: volume.join(below), folder, only: None })),
            Err(Errno::NOTDIR) => {
                let (parent, name) = (below.parent().unwrap_or(Path::new("")), below.file_name());
                let name = name.unwrap_or_default().to_owned();
                let folder = open_beneath(volume_folder.as_fd(), parent, OFlags::DIRECTORY)?;
                let top = Top { path: volume.join(parent), folder, only: Some(name.clone()) };
                let at = self.push(top);
                Ok(Location { below: name.into(), ..at })
            }
            Err(error) => Err(error.into()),
        }
    }

    fn push(&mut self, top: Top) -> Location {
        self.0.push(top);
        Location { top: self.0.len() - 1, below: PathBuf::new() }
    }

    /// The path of `at`, for messages and to resolve symbolic links.
    pub(super) fn path(&self, at: &Location) -> PathBuf {
        self.0[at.top].path.join(&at.below)
    }

    /// The location of a path without symbolic links; `None` when that is outside of the tops.
    pub(super) fn locate(&self, real: &Path) -> Option<Location> {
        self.0.iter().enumerate().find_map(|(top, Top { path, only, .. })| {
            let below = real.strip_prefix(path).ok()?;
            let is_inside = only.as_ref().is_none_or(|only| below == Path::new(only));
            is_inside.then(|| Location { top, below: below.to_owned() })
        })
    }

    /// Opens what is at `at`, for nothing but to look at it.
    pub(super) fn look(&self, at: &Location) -> rustix::io::Result<OwnedFd> {
        open_beneath(self.0[at.top].folder.as_fd(), &at.below, OFlags::PATH)
    }

    /// Opens a folder to list it.
    pub(super) fn folder(&self, at: &Location) -> rustix::io::Result<OwnedFd> {
        open_beneath(self.0[at.top].folder.as_fd(), &at.below, OFlags::DIRECTORY)
    }

    /// Opens a file to read it. Never waits.
    ///
    /// # Errors
    /// Also when it is no regular file: `InvalidInput`.
    pub(super) fn file(&self, at: &Location) -> io::Result<File> {
        let opened = open_beneath(self.0[at.top].folder.as_fd(), &at.below, OFlags::NONBLOCK)?;
        let file = File::from(opened);
        if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
    }
}

const FLAGS: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC);

/// Opens `below` in `folder`, through no symbolic link.
fn open_beneath(folder: BorrowedFd<'_>, below: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let below = if below.as_os_str().is_empty() { Path::new(".") } else { below };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match openat2(folder, below, flags | FLAGS, Mode::empty(), resolve) {
        // Before Linux 5.6, and where a filter of system calls does not know it.
        Err(Errno::NOSYS | Errno::PERM) => open_in_steps(folder, below, flags),
        opened => opened,
    }
}

/// The same, one folder after the other.
fn open_in_steps(folder: BorrowedFd<'_>, below: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let mut parts = below.components().peekable();
    let mut at: Option<OwnedFd> = None;
    while let Some(part) = parts.next() {
        let name = match part {
            Component::Normal(name) => name,
            Component::CurDir => ".".as_ref(),
            _ => return Err(Errno::XDEV),
        };
        let flags = if parts.peek().is_some() { OFlags::PATH | OFlags::DIRECTORY } else { flags };
        let from = at.as_ref().map_or(folder, |at| at.as_fd());
        at = Some(openat(from, name, flags | FLAGS, Mode::empty())?);
    }
    at.ok_or(Errno::NOENT)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use rustix::fs::{FileType, mknodat};

    use super::*;

    #[test]
    fn nothing_is_opened_through_a_link_or_outside() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("top/a/b")).unwrap();
        std::fs::write(root.join("top/a/b/file"), "x").unwrap();
        std::fs::write(root.join("secret"), "x").unwrap();
        symlink("a", root.join("top/link")).unwrap();
        symlink("../secret", root.join("top/out")).unwrap();
        let mut tops = Tops::default();
        let top = tops.add(root.join("top")).unwrap();
        let at = |below: &str| Location { below: below.into(), ..top.clone() };
        assert!(tops.file(&at("a/b/file")).is_ok());
        let folder = tops.0[0].folder.as_fd();
        for below in ["link/b/file", "out", "../secret", "a/../../secret", "a/b/none"] {
            assert!(tops.file(&at(below)).is_err(), "{below}");
            assert!(open_in_steps(folder, Path::new(below), OFlags::NONBLOCK).is_err(), "{below}");
        }
        assert!(open_in_steps(folder, Path::new("a/b/file"), OFlags::NONBLOCK).is_ok());
        assert_eq!(tops.locate(&root.join("top/a")), Some(at("a")));
        assert_eq!(tops.locate(&root.join("secret")), None);
    }

    #[test]
    fn what_is_no_regular_file_is_neither_read_nor_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        mknodat(CWD, root.join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
        std::fs::create_dir(root.join("folder")).unwrap();
        let mut tops = Tops::default();
        let top = tops.add(root).unwrap();
        for name in ["fifo", "socket", "folder"] {
            assert!(tops.file(&top.join(name)).is_err(), "{name}");
        }
    }

    #[test]
    fn of_an_included_file_nothing_else_in_its_folder_is_inside() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("lib")).unwrap();
        std::fs::write(root.join("lib/one.ts"), "1").unwrap();
        std::fs::write(root.join("lib/two.ts"), "2").unwrap();
        let mut tops = Tops::default();
        let one = tops.add_below(&root, Path::new("lib/one.ts")).unwrap();
        assert!(tops.file(&one).is_ok());
        assert_eq!(tops.locate(&root.join("lib/one.ts")), Some(one));
        assert_eq!(tops.locate(&root.join("lib/two.ts")), None);
    }
}
