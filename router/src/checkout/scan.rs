//! The listing of a project: its files that count, its `node_modules` folders, and the metadata of
//! each file.

mod includes;
mod listing;

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::Errno;
use switchyard_contract::digest;
use switchyard_contract::event::Diagnostic;

use self::includes::permitted;
pub(crate) use self::includes::{IncludeRefusal, IncludeSource};
pub(super) use self::listing::{FileListing, FileStamp, ListedFile};
use super::bounds::{Interruption, ProjectCounts, ReadBounds};
use super::source_folders::{FileLocation, SourceFolders};
use crate::project::{Include, MAX_DEPTH, NODE_MODULES, diagnostic, is_beside};

/// Maximum number of `node_modules` folders of a project: its process has a Landlock rule for each,
/// and its permissions name each.
const MAX_NODE_MODULES: usize = 1000;

/// Maximum length of a path in a project, in bytes. The kernel's limit for a whole path, which
/// begins with that of the checkout, is 4096.
const MAX_PATH: usize = 2048;

/// The reason why a directory was not listed.
#[derive(Debug)]
pub(super) enum ListError {
    /// The directory does not exist (anymore).
    Gone,
    /// The directory changed during the walk, and has to be read again.
    Moved,
    /// The directory is not a valid project.
    Invalid(Diagnostic),
    /// The pace has interrupted the walk.
    Interrupted,
}

impl From<Interruption> for ListError {
    fn from(_: Interruption) -> Self {
        Self::Interrupted
    }
}

impl From<Diagnostic> for ListError {
    fn from(diagnostic: Diagnostic) -> Self {
        Self::Invalid(diagnostic)
    }
}

/// Lists the project in `root` and its `includes`, following symbolic links that stay inside.
///
/// # Errors
/// [`ListError`].
pub(super) fn list(
    root: &Path,
    includes: IncludeSource<'_>,
    bounds: ReadBounds<'_>,
) -> Result<FileListing, ListError> {
    let volume = root.parent().map(Path::to_owned);
    let root = match real(root) {
        Ok(root) if root.is_dir() => root,
        Ok(_) => return Err(ListError::Gone),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(ListError::Gone),
        Err(error) => return Err(invalid(format!("the project's folder cannot be read: {error}"))),
    };
    let mut folders = SourceFolders::default();
    let project = folders.add(root.clone()).map_err(|error| unreadable("", &error))?;
    let includes = permitted(volume, &root, includes)?;
    let mut included = Vec::new();
    for (include, volume) in &includes {
        let at = folders.add_include(volume, include.below_root());
        included.push((at.map_err(|error| unreadable(include.as_str(), &error))?, include));
    }
    let mut walk = ProjectWalk::new(bounds, &folders);
    walk.source_folder(&project, "")?;
    for (at, include) in &included {
        walk.include(at, include)?;
    }
    let ProjectWalk { files, mut node_modules, .. } = walk;
    node_modules.sort();
    node_modules.dedup();
    Ok(FileListing { files, node_modules, folders, includes })
}

/// Returns the real path of `root`, whose parent has no symbolic links. To resolve all of it again
/// takes a call of the system for each of its folders.
///
/// # Errors
/// Nothing is there, or it cannot be read.
pub(super) fn real(root: &Path) -> io::Result<PathBuf> {
    if root.symlink_metadata()?.is_symlink() { root.canonicalize() } else { Ok(root.to_owned()) }
}

/// The state of a walk over a project.
struct ProjectWalk<'a> {
    bounds: ReadBounds<'a>,
    sources: &'a SourceFolders,
    /// Device and inode of each folder from a source folder down to the current one: a link to one
    /// of them is a loop.
    ancestors: Vec<(u64, u64)>,
    counts: ProjectCounts,
    files: BTreeMap<String, ListedFile>,
    node_modules: Vec<String>,
}

/// An entry of the current folder.
struct WalkEntry<'a> {
    folder: BorrowedFd<'a>,
    name: &'a CStr,
    at: FileLocation,
    /// Path relative to the project.
    path: String,
}

impl WalkEntry<'_> {
    fn status(&self, flags: AtFlags) -> Result<Stat, ListError> {
        statat(self.folder, self.name, flags).map_err(|error| unreadable(&self.path, &error.into()))
    }

    /// Returns `true` for a folder or a symbolic link to one.
    fn is_folder(&self) -> bool {
        statat(self.folder, self.name, AtFlags::empty()).is_ok_and(|status| is_folder(&status))
    }

    fn open(&self) -> Result<OwnedFd, ListError> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = openat(self.folder, self.name, flags, Mode::empty());
        opened.map_err(|error| unreadable(&self.path, &error.into()))
    }
}

impl<'a> ProjectWalk<'a> {
    fn new(bounds: ReadBounds<'a>, sources: &'a SourceFolders) -> Self {
        Self {
            bounds,
            sources,
            ancestors: Vec::new(),
            counts: ProjectCounts::default(),
            files: BTreeMap::new(),
            node_modules: Vec::new(),
        }
    }

    /// Lists a source folder. The paths of its files begin with `prefix`.
    fn source_folder(&mut self, at: &FileLocation, prefix: &str) -> Result<(), ListError> {
        let folder = self.sources.open_folder(at).map_err(|error| unreadable(prefix, &error.into()))?;
        let status = fstat(&folder).map_err(|error| unreadable(prefix, &error.into()))?;
        self.ancestors = vec![identity(&status)];
        self.folder(folder, at, prefix)
    }

    fn include(&mut self, at: &FileLocation, include: &Include) -> Result<(), ListError> {
        let path = include.as_str();
        let status = self.status(at, path)?;
        if !is_folder(&status) {
            return self.included_file(at, include, &status);
        }
        let before = self.files.len();
        self.source_folder(at, path)?;
        if self.files.len() == before {
            return Err(invalid(format!("the included folder {path} has no files: remove it from the list")));
        }
        Ok(())
    }

    /// Adds an included file. The packages beside it belong to the project, too: the file may be
    /// the manifest of a workspace.
    fn included_file(
        &mut self,
        at: &FileLocation,
        include: &Include,
        status: &Stat,
    ) -> Result<(), ListError> {
        self.counts.add_entry(&self.bounds.limits)?;
        self.file(include.as_str().to_owned(), at.clone(), status)?;
        let [_, packages] = include.packages();
        if self.sources.path(at).with_file_name(NODE_MODULES).is_dir() {
            self.packages(packages.to_string_lossy().into_owned())?;
        }
        Ok(())
    }

    fn packages(&mut self, path: String) -> Result<(), ListError> {
        if self.node_modules.len() >= MAX_NODE_MODULES {
            return Err(invalid(format!(
                "the project has more than {MAX_NODE_MODULES} node_modules folders, such as \
                 {path}: let the members of its workspace share one (npm and yarn do; pnpm: \
                 nodeLinker: hoisted), or make each member a project"
            )));
        }
        self.node_modules.push(path);
        Ok(())
    }

    fn status(&self, at: &FileLocation, path: &str) -> Result<Stat, ListError> {
        self.sources.open_path(at).and_then(fstat).map_err(|error| unreadable(path, &error.into()))
    }

    /// Lists the entries of `folder`. The paths of its files begin with `prefix`.
    fn folder(&mut self, folder: OwnedFd, at: &FileLocation, prefix: &str) -> Result<(), ListError> {
        let wrong = |error: Errno| unreadable(prefix, &error.into());
        let mut entries = Dir::new(folder).map_err(wrong)?;
        while let Some(found) = entries.next() {
            (self.bounds.pace)(0)?;
            let found = found.map_err(wrong)?;
            let name = found.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let Ok(text) = name.to_str() else {
                let name = name.to_string_lossy();
                return Err(invalid(format!(
                    "the name {name:?} in {prefix:?} is not UTF-8: rename the file"
                )));
            };
            let path = if prefix.is_empty() { text.to_owned() } else { format!("{prefix}/{text}") };
            let folder = entries.fd().map_err(wrong)?;
            self.entry(&WalkEntry { folder, name, at: at.join(text), path }, text)?;
        }
        Ok(())
    }

    fn entry(&mut self, entry: &WalkEntry<'_>, name: &str) -> Result<(), ListError> {
        let path = &entry.path;
        if !digest::is_entered(name) {
            if name == NODE_MODULES && entry.is_folder() {
                self.counts.add_folder(&self.bounds.limits)?;
                self.packages(path.clone())?;
            }
            return Ok(());
        }
        if !digest::is_counted(path) && !entry.is_folder() {
            return Ok(self.counts.add_entry(&self.bounds.limits)?);
        }
        digest::check_path(path).map_err(|error| invalid(error.to_string()))?;
        if path.len() > MAX_PATH {
            let begin: String = path.chars().take(80).collect();
            return Err(invalid(format!("a path has more than {MAX_PATH} bytes: shorten {begin}…")));
        }
        let status = entry.status(AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(status.st_mode) {
            FileType::Symlink => self.link(entry),
            FileType::Directory => self.enter(entry.open()?, &entry.at, path, false),
            _ => self.non_folder(entry, entry.at.clone(), &status),
        }
    }

    fn link(&mut self, entry: &WalkEntry<'_>) -> Result<(), ListError> {
        let at = self.target(entry)?;
        let status = self.status(&at, &entry.path)?;
        if !is_folder(&status) {
            return self.non_folder(entry, at, &status);
        }
        let folder = self.sources.open_folder(&at).map_err(|error| unreadable(&entry.path, &error.into()))?;
        self.enter(folder, &at, &entry.path, true)
    }

    fn non_folder(
        &mut self,
        entry: &WalkEntry<'_>,
        at: FileLocation,
        status: &Stat,
    ) -> Result<(), ListError> {
        self.counts.add_entry(&self.bounds.limits)?;
        match FileType::from_raw_mode(status.st_mode) {
            FileType::RegularFile => self.file(entry.path.clone(), at, status),
            // Sockets, pipes and devices are not code: they are left out.
            _ => Ok(()),
        }
    }

    fn file(&mut self, path: String, at: FileLocation, status: &Stat) -> Result<(), ListError> {
        let stamp = FileStamp::of(status);
        self.counts.add_file(&path, stamp.size, &self.bounds.limits)?;
        self.files.insert(path, ListedFile { stamp, at });
        Ok(())
    }

    /// Lists a folder below the current one.
    fn enter(
        &mut self,
        folder: OwnedFd,
        at: &FileLocation,
        path: &str,
        is_link: bool,
    ) -> Result<(), ListError> {
        let status = fstat(folder.as_fd()).map_err(|error| unreadable(path, &error.into()))?;
        let identity = identity(&status);
        if is_link && self.ancestors.contains(&identity) {
            return Err(invalid(format!(
                "the symbolic link {path} points to a folder that it is in: remove it"
            )));
        }
        if self.ancestors.len() > MAX_DEPTH {
            return Err(invalid(format!(
                "the project has folders more than {MAX_DEPTH} deep, counting symbolic links: \
                 keep data outside the project"
            )));
        }
        self.counts.add_folder(&self.bounds.limits)?;
        self.ancestors.push(identity);
        self.folder(folder, at, path)?;
        self.ancestors.pop();
        Ok(())
    }

    /// Returns the location that a symbolic link leads to.
    fn target(&self, entry: &WalkEntry<'_>) -> Result<FileLocation, ListError> {
        let (link, path) = (self.sources.path(&entry.at), &entry.path);
        match link.canonicalize() {
            Ok(real) => self.sources.locate(&real).ok_or_else(|| {
                let folder = if is_beside(path) { "the included folder" } else { "the project" };
                invalid(format!("the symbolic link {path} leaves {folder}: replace it with its target"))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound && link.symlink_metadata().is_ok() => {
                Err(invalid(format!("the symbolic link {path} points to nothing: fix or remove it")))
            }
            Err(error) if Errno::from_io_error(&error) == Some(Errno::LOOP) => {
                Err(invalid(format!("the symbolic link {path} leads back to itself: remove it")))
            }
            Err(error) => Err(unreadable(path, &error)),
        }
    }
}

#[allow(clippy::unnecessary_cast, reason = "the types differ between architectures")]
fn identity(status: &Stat) -> (u64, u64) {
    (status.st_dev as u64, status.st_ino as u64)
}

fn is_folder(status: &Stat) -> bool {
    FileType::from_raw_mode(status.st_mode) == FileType::Directory
}

fn invalid(message: String) -> ListError {
    ListError::Invalid(diagnostic(message))
}

/// Returns the error for a `path` that could not be read. A path that is gone, or has become
/// another kind of file, has moved.
pub(super) fn unreadable(path: &str, error: &io::Error) -> ListError {
    let is_other = || {
        let others = [Errno::LOOP, Errno::XDEV, Errno::NOTDIR, Errno::AGAIN, Errno::NXIO];
        Errno::from_io_error(error).is_some_and(|error| others.contains(&error))
    };
    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) || is_other() {
        return ListError::Moved;
    }
    let subject = if path.is_empty() { "the project's folder" } else { path };
    let file = (!path.is_empty()).then(|| path.to_owned());
    let message = format!("{subject} cannot be read: {error}; give the router's user the right to read it");
    ListError::Invalid(Diagnostic { file, ..diagnostic(message) })
}

#[cfg(test)]
mod tests;
