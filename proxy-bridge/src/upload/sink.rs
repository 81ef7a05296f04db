//! The sink of an upload's files: it writes, hashes and counts them as they come. Blocking.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use self::links::{Links, ProjectFolders};
use super::paths::{Names, clean};
use super::{UploadError, UploadShape};
use crate::tree::Tree;
use crate::upload_limits::UploadLimits;
use switchyard_contract::digest::{Digest, is_counted};
use switchyard_contract::project::ProjectName;

mod links;

pub(super) use self::links::LinkTarget;

/// The files of an upload, in the folders that it named.
#[derive(Debug)]
pub(super) struct Sink {
    dir: PathBuf,
    limits: UploadLimits,
    names: Names,
    /// The stored files, by path.
    files: BTreeMap<String, StoredFile>,
    links: Links,
    left_out: u64,
    bytes: u64,
    open: Option<OpenFile>,
}

#[derive(Debug, Clone, Copy)]
struct StoredFile {
    bytes: u64,
    /// `None` if the file is not part of the digest.
    hash: Option<[u8; 32]>,
}

#[derive(Debug)]
struct OpenFile {
    path: String,
    /// `None` for a file that is left out.
    file: Option<File>,
    hash: Sha256,
    bytes: u64,
}

impl Sink {
    /// # Errors
    /// The folder cannot be made.
    pub(super) fn new(dir: PathBuf, limits: &UploadLimits) -> Result<Self, UploadError> {
        fs::create_dir(&dir).map_err(|error| UploadError::volume("make the staging folder", error))?;
        let (names, files, links) = Default::default();
        Ok(Self { dir, limits: *limits, names, files, links, left_out: 0, bytes: 0, open: None })
    }

    /// Begins a file. The one before it must be closed.
    pub(super) fn open(&mut self, given: &str) -> Result<(), UploadError> {
        let path = clean(given, &self.limits)?;
        self.add(path, false)?;
        let file = if is_stored(path) {
            Some(self.create(path).map_err(|error| refuse(error, path))?)
        } else {
            None
        };
        self.open = Some(OpenFile { path: path.to_owned(), file, hash: Sha256::new(), bytes: 0 });
        Ok(())
    }

    pub(super) fn write(&mut self, data: &[u8]) -> Result<(), UploadError> {
        self.bytes += data.len() as u64;
        if self.bytes > self.limits.size {
            return Err(UploadError::too_large("max-size", self.limits.size, "the files have bytes"));
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        open.bytes += data.len() as u64;
        open.hash.update(data);
        match &mut open.file {
            Some(file) => file.write_all(data).map_err(|error| refuse(error, &open.path)),
            None => Ok(()),
        }
    }

    pub(super) fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        if open.file.is_none() {
            self.left_out += 1;
            return;
        }
        let hash = is_counted(&open.path).then(|| open.hash.finalize().into());
        self.files.insert(open.path, StoredFile { bytes: open.bytes, hash });
    }

    /// A folder that an archive names, with files or without.
    pub(super) fn folder(&mut self, given: &str) -> Result<(), UploadError> {
        if matches!(given, "." | "./") {
            return Ok(());
        }
        let path = clean(given.strip_suffix('/').unwrap_or(given), &self.limits)?;
        self.add(path, true)
    }

    /// The one file of the upload, when there is only one.
    pub(super) fn only_file(&self) -> Option<PathBuf> {
        let mut paths = self.files.keys();
        let path = paths.next()?;
        (paths.next().is_none() && self.left_out == 0).then(|| self.dir.join(path))
    }

    pub(super) fn discard(self) -> Result<(), UploadError> {
        fs::remove_dir_all(&self.dir).map_err(|error| UploadError::volume("remove the archive", error))
    }

    /// Moves each project's tree to its folder below `into`. Also returns the number of files that
    /// were left out.
    ///
    /// # Errors
    /// The upload has no files, a link is invalid, or the volume fails.
    pub(super) fn place(mut self, shape: &UploadShape, into: &Path) -> Result<(Vec<Tree>, u64), UploadError> {
        let wrapper = self.wrapper(shape);
        self.follow_links(&ProjectFolders { wrapper: wrapper.as_deref().unwrap_or(""), shape })?;
        let left_out = self.left_out;
        let trees = match shape {
            UploadShape::One(project) => {
                vec![self.tree(project.clone(), wrapper.as_deref().unwrap_or(""), into)?]
            }
            UploadShape::Many => self.projects(wrapper.as_deref().unwrap_or(""), into)?,
        };
        fs::remove_dir_all(&self.dir)
            .or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
            .map_err(|error| UploadError::volume("clear the staging folder", error))?;
        Ok((trees, left_out))
    }

    /// Puts the tree in the place of `project` without changes.
    pub(super) fn place_whole(mut self, project: &ProjectName, into: &Path) -> Result<Tree, UploadError> {
        self.follow_links(&ProjectFolders { wrapper: "", shape: &UploadShape::One(project.clone()) })?;
        self.tree(project.clone(), "", into)
    }

    /// Returns the folder (with `/` behind) that all files are in and that is not part of the
    /// project: a browser sends the name of the chosen folder, an archive that of the packed one.
    /// An entry is found at a project's top, so no project has all its files in one folder.
    fn wrapper(&self, shape: &UploadShape) -> Option<String> {
        let depth = match shape {
            UploadShape::One(_) => 1,
            UploadShape::Many => 2,
        };
        let (top, _) = self.files.keys().next()?.split_once('/')?;
        let prefix = format!("{top}/");
        let inside = |path: &String| path.starts_with(&prefix) && path.matches('/').count() >= depth;
        let mut links = self.links.paths();
        let is_all = self.files.keys().all(inside) && links.all(|link| link.starts_with(&prefix));
        (top != "node_modules" && is_all).then_some(prefix)
    }

    fn projects(&self, wrapper: &str, into: &Path) -> Result<Vec<Tree>, UploadError> {
        let mut names = BTreeSet::new();
        for path in self.files.keys() {
            let Some((top, _)) = path[wrapper.len()..].split_once('/') else {
                let detail =
                    format!("{path:?} is not in a project's folder: put each project in its own folder");
                return Err(UploadError::bad("filename", detail).part(path));
            };
            let name = ProjectName::parse(top)
                .map_err(|error| UploadError::bad("filename", error.to_string()).part(path))?;
            names.insert(name);
        }
        if names.is_empty() {
            return Err(nothing());
        }
        names.into_iter().map(|name| self.tree(name.clone(), &format!("{wrapper}{name}/"), into)).collect()
    }

    fn tree(&self, project: ProjectName, prefix: &str, into: &Path) -> Result<Tree, UploadError> {
        let within =
            || self.files.iter().filter_map(|(path, stored)| Some((path.strip_prefix(prefix)?, stored)));
        let counted: Vec<_> = within().filter_map(|(path, stored)| Some((path, stored.hash?))).collect();
        if counted.is_empty() {
            return Err(nothing());
        }
        for (path, _) in within() {
            if path.matches('/').count() > self.limits.depth {
                return Err(self.too_deep(path));
            }
        }
        let files = counted.len() as u64;
        let bytes = within().map(|(_, stored)| stored.bytes).sum();
        let dir = into.join(project.as_str());
        let placed = fs::rename(self.dir.join(prefix), &dir);
        placed.map_err(|error| UploadError::volume("put the files in their folder", error))?;
        Ok(Tree { project, dir, digest: Digest::of_files(counted), files, bytes, carries_packages: true })
    }

    fn add(&mut self, path: &str, is_folder: bool) -> Result<(), UploadError> {
        // One folder more than is allowed: it may be the one that is no part of the project.
        if path.matches('/').count() > self.limits.depth + 2 {
            return Err(self.too_deep(path));
        }
        self.names.add(path, is_folder)?;
        if self.names.len() > self.limits.files { Err(self.too_many()) } else { Ok(()) }
    }

    fn too_many(&self) -> UploadError {
        UploadError::too_large("max-files", self.limits.files, "the upload has files and folders")
    }

    fn too_deep(&self, path: &str) -> UploadError {
        let detail =
            format!("a file is in more than {} folders (--max-depth): move it up", self.limits.depth);
        UploadError::bad("filename", detail).part(path)
    }

    fn create(&self, path: &str) -> io::Result<File> {
        let path = self.dir.join(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        File::create_new(path)
    }
}

/// Returns true for files that count, and for packages; others are not stored. macOS puts a folder
/// of its own into each zip.
fn is_stored(path: &str) -> bool {
    if path.starts_with("__MACOSX/") {
        return false;
    }
    let mut names = path.split('/');
    is_counted(path) || (names.clone().any(|name| name == "node_modules") && names.all(|name| name != ".git"))
}

fn refuse(error: io::Error, path: &str) -> UploadError {
    UploadError::volume("write the upload", error).part(path)
}

fn nothing() -> UploadError {
    UploadError::bad(
        "filename",
        "the upload has no file that belongs to a project: send the project's files, each as a part with a filename",
    )
}
