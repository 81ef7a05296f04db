//! The walk over the directories of a project that watches each of them, before its entries are
//! read, so that entries that appear meanwhile are not missed.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use notify_debouncer_full::notify;
use switchyard_contract::digest;

use super::{DirectoryOwner, WatchTree};
use crate::links::LinkFollower;
use crate::project::{MAX_DEPTH, NODE_MODULES, has_packages};

/// The limits of a walk.
#[derive(Debug, Clone, Copy)]
pub(super) struct WalkLimits {
    pub(super) folders: usize,
    /// Entries of folders, of any kind.
    pub(super) entries: usize,
}

/// The state of a walk.
pub(super) struct WatchWalk<'a> {
    project: &'a str,
    limits: WalkLimits,
    /// The real folder that symbolic links may not leave; `None` if no link is followed.
    top: Option<PathBuf>,
    /// Device and inode of each visited folder: links may form more paths to one folder than can be
    /// walked.
    visited: HashSet<(u64, u64)>,
    /// Real directories that are still to be walked, and their paths relative to the project.
    left: Vec<(PathBuf, PathBuf)>,
    entries: usize,
    links: LinkFollower,
    /// `false`: a part was left out because of a limit.
    pub(super) is_complete: bool,
}

impl<'a> WatchWalk<'a> {
    /// Creates a walk over the folder `top`, which may be a symbolic link. Without `top`, it walks
    /// the directories that are pushed, and follows no link.
    pub(super) fn new(project: &'a str, top: Option<PathBuf>, limits: WalkLimits) -> Self {
        let (visited, left) = (HashSet::new(), Vec::new());
        let links = LinkFollower::default();
        let mut walk =
            Self { project, limits, top: None, visited, left, entries: 0, links, is_complete: true };
        if let Some(top) = top {
            walk.include(top, PathBuf::new());
        }
        walk
    }

    /// Continues with the folder `path`, which links may not leave from now on. Folders that were
    /// visited before may be visited again.
    pub(super) fn include(&mut self, path: PathBuf, below: PathBuf) {
        self.visited.clear();
        self.top = path.canonicalize().ok();
        if let Some(top) = self.top.clone().filter(|top| top.is_dir()) {
            self.push(top, below);
        }
    }

    /// Adds the real directory `path` to the walk.
    pub(super) fn push(&mut self, path: PathBuf, below: PathBuf) {
        self.left.push((path, below));
    }

    /// Watches all directories that are left.
    ///
    /// # Errors
    /// The kernel has no watches left, or a directory cannot be watched.
    pub(super) fn run(&mut self, tree: &mut WatchTree) -> notify::Result<()> {
        while let Some((path, below)) = self.left.pop() {
            if self.is_full(tree) {
                self.is_complete = false;
                self.left.clear();
            } else if self.is_first_visit(&path) && self.watch(tree, &path, &below)? {
                self.folder(tree, &path, &below)?;
            }
        }
        Ok(())
    }

    fn is_full(&self, tree: &WatchTree) -> bool {
        let watched = tree.projects.get(self.project).map_or(0, |directories| directories.len());
        let max_folders = self.limits.folders.min(tree.limits.folders.saturating_sub(watched));
        self.visited.len() >= self.limits.folders || max_folders == 0 || self.entries >= self.limits.entries
    }

    fn is_first_visit(&mut self, path: &Path) -> bool {
        let found = path.symlink_metadata();
        found.is_ok_and(|found| found.is_dir() && self.visited.insert((found.dev(), found.ino())))
    }

    fn watch(&self, tree: &mut WatchTree, path: &Path, below: &Path) -> notify::Result<bool> {
        let owner = DirectoryOwner { project: self.project.to_owned(), below: below.to_owned(), only: None };
        tree.add(path, owner)
    }

    fn folder(&mut self, tree: &mut WatchTree, path: &Path, below: &Path) -> notify::Result<()> {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            self.entries += 1;
            if self.entries > self.limits.entries {
                self.is_complete = false;
                break;
            }
            let Ok(kind) = entry.file_type() else { continue };
            let name = entry.file_name();
            let inner = below.join(&name);
            if name == NODE_MODULES && kind.is_dir() {
                self.packages(tree, &entry.path(), &inner)?;
            }
            if !digest::is_entered(name.as_encoded_bytes()) || inner.components().count() > MAX_DEPTH {
                continue;
            }
            if kind.is_dir() {
                self.left.push((entry.path(), inner));
            } else if kind.is_symlink() {
                self.link(&entry.path(), inner);
            }
        }
        Ok(())
    }

    fn link(&mut self, link: &Path, below: PathBuf) {
        let Some(top) = &self.top else {
            self.is_complete = false;
            return;
        };
        // A link that takes too many steps is not followed: most lead to folders that are found
        // anyway.
        if let Ok((real, metadata)) = self.links.follow(link)
            && real.starts_with(top)
            && metadata.is_dir()
        {
            self.left.push((real, below));
        }
    }

    /// Watches a `node_modules`, and the scopes and stores in it that are real directories.
    ///
    /// # Errors
    /// Those of [`Self::run`].
    pub(super) fn packages(
        &mut self,
        tree: &mut WatchTree,
        folder: &Path,
        below: &Path,
    ) -> notify::Result<()> {
        let Ok(real) = folder.canonicalize() else { return Ok(()) };
        if self.is_full(tree) || !self.watch(tree, &real, below)? {
            return Ok(());
        }
        for entry in fs::read_dir(&real).into_iter().flatten().flatten() {
            self.entries += 1;
            if self.is_full(tree) {
                self.is_complete = false;
                break;
            }
            let name = entry.file_name();
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder && name.to_str().is_some_and(has_packages) {
                self.watch(tree, &real.join(&name), &below.join(&name))?;
            }
        }
        Ok(())
    }
}
