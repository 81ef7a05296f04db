//! Goes through the directories of a project and watches each: before its names are read, so that what appears in it
//! meanwhile is seen.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use notify_debouncer_full::notify;
use switchyard_contract::digest;

use super::{Owner, Tree};
use crate::links::Steps;
use crate::project::{MAX_DEPTH, NODE_MODULES, has_packages};

/// The most that a walk goes through.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) folders: usize,
    /// Names in folders, of whatever kind.
    pub(super) entries: usize,
}

pub(super) struct Walk<'a> {
    project: &'a str,
    bounds: Bounds,
    /// The real folder that symbolic links stay in; `None` when none is followed.
    top: Option<PathBuf>,
    /// Folders, each once: by links there may be more paths to one than anybody could walk.
    seen: HashSet<(u64, u64)>,
    /// Real directories, and their paths relative to the project.
    left: Vec<(PathBuf, PathBuf)>,
    entries: usize,
    links: Steps,
    /// Nothing was left out.
    pub(super) is_whole: bool,
}

impl<'a> Walk<'a> {
    /// A walk through the folder `top`, which may be a symbolic link; without one, through what it is to begin with.
    pub(super) fn new(project: &'a str, top: Option<PathBuf>, bounds: Bounds) -> Self {
        let (seen, left) = (HashSet::new(), Vec::new());
        let links = Steps::default();
        let mut walk = Self { project, bounds, top: None, seen, left, entries: 0, links, is_whole: true };
        if let Some(top) = top {
            walk.include(top, PathBuf::new());
        }
        walk
    }

    /// Goes on with the folder `path`, in which links stay from now on. What was seen before may be gone through again.
    pub(super) fn include(&mut self, path: PathBuf, below: PathBuf) {
        self.seen.clear();
        self.top = path.canonicalize().ok();
        if let Some(top) = self.top.clone().filter(|top| top.is_dir()) {
            self.begin(top, below);
        }
    }

    /// Goes on with the real directory `path`.
    pub(super) fn begin(&mut self, path: PathBuf, below: PathBuf) {
        self.left.push((path, below));
    }

    /// Watches all that is left to go through.
    ///
    /// # Errors
    /// The kernel has no watches left, or a directory cannot be watched.
    pub(super) fn run(&mut self, tree: &mut Tree) -> notify::Result<()> {
        while let Some((path, below)) = self.left.pop() {
            if self.is_over(tree) {
                self.is_whole = false;
                self.left.clear();
            } else if self.is_new(&path) && self.watch(tree, &path, &below)? {
                self.folder(tree, &path, &below)?;
            }
        }
        Ok(())
    }

    fn is_over(&self, tree: &Tree) -> bool {
        let watched = tree.projects.get(self.project).map_or(0, |directories| directories.len());
        let most = self.bounds.folders.min(tree.bounds.folders.saturating_sub(watched));
        self.seen.len() >= self.bounds.folders || most == 0 || self.entries >= self.bounds.entries
    }

    fn is_new(&mut self, path: &Path) -> bool {
        let found = path.symlink_metadata();
        found.is_ok_and(|found| found.is_dir() && self.seen.insert((found.dev(), found.ino())))
    }

    fn watch(&self, tree: &mut Tree, path: &Path, below: &Path) -> notify::Result<bool> {
        let owner = Owner { project: self.project.to_owned(), below: below.to_owned(), only: None };
        tree.add(path, owner)
    }

    fn folder(&mut self, tree: &mut Tree, path: &Path, below: &Path) -> notify::Result<()> {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            self.entries += 1;
            if self.entries > self.bounds.entries {
                self.is_whole = false;
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
            self.is_whole = false;
            return;
        };
        // Those that take too many steps are not followed: most lead to folders that are found without them.
        if let Ok((real, metadata)) = self.links.follow(link)
            && real.starts_with(top)
            && metadata.is_dir()
        {
            self.left.push((real, below));
        }
    }

    /// Watches a `node_modules` and the scopes and stores in it, those that are real directories.
    pub(super) fn packages(&mut self, tree: &mut Tree, folder: &Path, below: &Path) -> notify::Result<()> {
        let Ok(real) = folder.canonicalize() else { return Ok(()) };
        if self.is_over(tree) || !self.watch(tree, &real, below)? {
            return Ok(());
        }
        for entry in fs::read_dir(&real).into_iter().flatten().flatten() {
            self.entries += 1;
            if self.is_over(tree) {
                self.is_whole = false;
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
