//! The folders that a project is read from, held open. Their entries are opened relative to them
//! and through no symbolic link, so that swapping a folder for a link makes the router read nothing
//! else.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

/// The project's folder and the folders of its includes.
#[derive(Debug, Default)]
pub(super) struct SourceFolders(Vec<SourceFolder>);

#[derive(Debug)]
struct SourceFolder {
    /// The folder's path, which had no symbolic links when it was opened.
    path: PathBuf,
    folder: OwnedFd,
    /// If set, only the file of this name is included.
    only: Option<OsString>,
}

/// The location of a file or folder in one of the source folders, with all links resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileLocation {
    /// Index of the source folder.
    folder: usize,
    /// Path in that folder; empty for the folder itself. No component is a symbolic link or `..`.
    below: PathBuf,
}

impl FileLocation {
    /// The location of the entry `name` of this folder.
    pub(super) fn join(&self, name: &str) -> Self {
        Self { folder: self.folder, below: self.below.join(name) }
    }
}

impl SourceFolders {
    /// Opens the folder at `path`, which has no symbolic links.
    ///
    /// # Errors
    /// The folder is gone, or something else is there.
    pub(super) fn add(&mut self, path: PathBuf) -> io::Result<FileLocation> {
        let folder = openat(CWD, &path, OFlags::DIRECTORY | FLAGS, Mode::empty())?;
        Ok(self.push(SourceFolder { path, folder, only: None }))
    }

    /// Opens the file or folder at `below` in the folder `volume`. For a file, its folder is
    /// opened, and no other file in it can be.
    ///
    /// # Errors
    /// The path does not exist, or leads through a symbolic link.
    pub(super) fn add_include(&mut self, volume: &Path, below: &Path) -> io::Result<FileLocation> {
        let volume_folder = openat(CWD, volume, OFlags::DIRECTORY | FLAGS, Mode::empty())?;
        match open_beneath(volume_folder.as_fd(), below, OFlags::DIRECTORY) {
            Ok(folder) => Ok(self.push(SourceFolder { path: volume.join(below), folder, only: None })),
            Err(Errno::NOTDIR) => {
                let (parent, name) = (below.parent().unwrap_or(Path::new("")), below.file_name());
                let name = name.unwrap_or_default().to_owned();
                let folder = open_beneath(volume_folder.as_fd(), parent, OFlags::DIRECTORY)?;
                let source = SourceFolder { path: volume.join(parent), folder, only: Some(name.clone()) };
                let at = self.push(source);
                Ok(FileLocation { below: name.into(), ..at })
            }
            Err(error) => Err(error.into()),
        }
    }

    fn push(&mut self, source: SourceFolder) -> FileLocation {
        self.0.push(source);
        FileLocation { folder: self.0.len() - 1, below: PathBuf::new() }
    }

    /// The path of `at`, for messages and for resolving symbolic links.
    pub(super) fn path(&self, at: &FileLocation) -> PathBuf {
        self.0[at.folder].path.join(&at.below)
    }

    /// Returns the location of a path without symbolic links, or `None` if it is outside of the
    /// source folders.
    pub(super) fn locate(&self, real: &Path) -> Option<FileLocation> {
        self.0.iter().enumerate().find_map(|(folder, SourceFolder { path, only, .. })| {
            let below = real.strip_prefix(path).ok()?;
            let is_inside = only.as_ref().is_none_or(|only| below == Path::new(only));
            is_inside.then(|| FileLocation { folder, below: below.to_owned() })
        })
    }

    /// Opens the file or folder at `at` for reading its metadata only.
    ///
    /// # Errors
    /// The path does not exist any more, or leads through a symbolic link now.
    pub(super) fn open_path(&self, at: &FileLocation) -> rustix::io::Result<OwnedFd> {
        open_beneath(self.0[at.folder].folder.as_fd(), &at.below, OFlags::PATH)
    }

    /// Opens a folder for listing.
    ///
    /// # Errors
    /// The folder does not exist any more, or cannot be read.
    pub(super) fn open_folder(&self, at: &FileLocation) -> rustix::io::Result<OwnedFd> {
        open_beneath(self.0[at.folder].folder.as_fd(), &at.below, OFlags::DIRECTORY)
    }

    /// Opens a file for reading, without waiting.
    ///
    /// # Errors
    /// The file cannot be opened, or is not a regular file (`InvalidInput`).
    pub(super) fn open_file(&self, at: &FileLocation) -> io::Result<File> {
        let opened = open_beneath(self.0[at.folder].folder.as_fd(), &at.below, OFlags::NONBLOCK)?;
        let file = File::from(opened);
        if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
    }
}

const FLAGS: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC);

/// Opens the path `below` in `folder`, through no symbolic link.
fn open_beneath(folder: BorrowedFd<'_>, below: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let below = if below.as_os_str().is_empty() { Path::new(".") } else { below };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match openat2(folder, below, flags | FLAGS, Mode::empty(), resolve) {
        // Linux before 5.6, and filters of system calls that do not know the call.
        Err(Errno::NOSYS | Errno::PERM) => open_in_steps(folder, below, flags),
        opened => opened,
    }
}

/// Opens the path `below` in `folder` one component at a time, for kernels without `openat2`.
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
        let mut folders = SourceFolders::default();
        let project = folders.add(root.join("top")).unwrap();
        let at = |below: &str| FileLocation { below: below.into(), ..project.clone() };
        assert!(folders.open_file(&at("a/b/file")).is_ok());
        let folder = folders.0[0].folder.as_fd();
        for below in ["link/b/file", "out", "../secret", "a/../../secret", "a/b/none"] {
            assert!(folders.open_file(&at(below)).is_err(), "{below}");
            assert!(open_in_steps(folder, Path::new(below), OFlags::NONBLOCK).is_err(), "{below}");
        }
        assert!(open_in_steps(folder, Path::new("a/b/file"), OFlags::NONBLOCK).is_ok());
        assert_eq!(folders.locate(&root.join("top/a")), Some(at("a")));
        assert_eq!(folders.locate(&root.join("secret")), None);
    }

    #[test]
    fn a_file_that_is_not_regular_is_neither_read_nor_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        mknodat(CWD, root.join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
        std::fs::create_dir(root.join("folder")).unwrap();
        let mut folders = SourceFolders::default();
        let project = folders.add(root).unwrap();
        for name in ["fifo", "socket", "folder"] {
            assert!(folders.open_file(&project.join(name)).is_err(), "{name}");
        }
    }

    #[test]
    fn nothing_else_in_the_folder_of_an_included_file_is_inside() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("lib")).unwrap();
        std::fs::write(root.join("lib/one.ts"), "1").unwrap();
        std::fs::write(root.join("lib/two.ts"), "2").unwrap();
        let mut folders = SourceFolders::default();
        let one = folders.add_include(&root, Path::new("lib/one.ts")).unwrap();
        assert!(folders.open_file(&one).is_ok());
        assert_eq!(folders.locate(&root.join("lib/one.ts")), Some(one));
        assert_eq!(folders.locate(&root.join("lib/two.ts")), None);
    }
}
