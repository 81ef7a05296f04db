//! The tree of watched directories: the root, and every directory of every project and of its
//! includes, except those that never count (history). Each directory has one watch. In a
//! `node_modules`, only the folder itself, scopes and stores are watched, so that a large one costs
//! few watches.

mod walk;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use notify_debouncer_full::DebounceEventHandler;
use notify_debouncer_full::notify::{self, Error, ErrorKind};
use switchyard_contract::project;

use self::walk::{WalkLimits, WatchWalk};
use super::merge::MergedEvents;
use crate::project::{CONFIG_FILES, Include, NODE_MODULES, included};
use crate::root::{Overrides, Place};

/// The part of a new directory that is walked at once. The rest is walked when its project's turn
/// comes.
const AT_ONCE: WalkLimits = WalkLimits { folders: 1000, entries: 10_000 };

/// The watched directories and the projects that each belongs to.
pub(super) struct WatchTree {
    /// The real folder of the projects.
    root: PathBuf,
    /// The projects that lie elsewhere.
    overrides: Overrides,
    /// `None` if file events are not available.
    events: Option<MergedEvents>,
    /// The owners of each directory: several projects may link to one, or include it.
    watched: BTreeMap<PathBuf, Vec<DirectoryOwner>>,
    /// The directories of each project.
    projects: HashMap<String, HashSet<PathBuf>>,
    /// The includes of each project that has some.
    included: HashMap<String, Vec<Include>>,
    /// The limits of a valid project. No more of a project is watched.
    limits: WalkLimits,
}

/// A project that a watched directory belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct DirectoryOwner {
    project: String,
    /// The directory's path, relative to the project.
    below: PathBuf,
    /// If set, only the entry of this name is the project's: the directory is a parent of an
    /// include.
    only: Option<OsString>,
}

impl DirectoryOwner {
    /// Returns `true` if the entry `name` of the directory is the project's.
    fn has(&self, name: &OsStr) -> bool {
        self.only.as_ref().is_none_or(|only| only == name)
    }
}

impl WatchTree {
    /// Starts file events for projects in `root`. `max_folders` and `max_files` are the limits of a
    /// valid project. The result of starting is returned beside the tree, which works without
    /// events, too.
    pub(super) fn new(
        root: &Path,
        overrides: Overrides,
        [max_folders, max_files]: [u64; 2],
        handler: impl DebounceEventHandler,
    ) -> (Self, notify::Result<()>) {
        let (events, result) = match MergedEvents::start(handler) {
            Ok(events) => (Some(events), Ok(())),
            Err(error) => (None, Err(error)),
        };
        let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        let tree = Self {
            root: root.to_owned(),
            overrides,
            events,
            watched: BTreeMap::new(),
            projects: HashMap::new(),
            included: HashMap::new(),
            limits: WalkLimits {
                folders: count(max_folders),
                entries: count(max_folders.saturating_add(max_files)),
            },
        };
        (tree, result)
    }

    /// The real folder of the watched projects.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The place of the project `name`.
    pub(super) fn place(&self, name: &str) -> Place {
        self.overrides.place(&self.root, name)
    }

    /// Watches `root` instead of the present root. Its projects are not watched before
    /// [`Self::sync`].
    ///
    /// # Errors
    /// The root cannot be watched.
    pub(super) fn move_to(&mut self, root: &Path) -> notify::Result<()> {
        let watched = std::mem::take(&mut self.watched).into_keys();
        for directory in watched.chain([self.root.clone()]) {
            self.unwatch(&directory);
        }
        self.projects.clear();
        self.included.clear();
        root.clone_into(&mut self.root);
        self.watch_root()
    }

    /// Watches the folder that the projects are in.
    ///
    /// # Errors
    /// The root cannot be watched.
    pub(super) fn watch_root(&mut self) -> notify::Result<()> {
        let root = self.root.clone();
        self.watch(&root)
    }

    fn watch(&mut self, directory: &Path) -> notify::Result<()> {
        self.events.as_mut().map_or(Ok(()), |events| events.watch(directory))
    }

    fn unwatch(&mut self, directory: &Path) {
        if let Some(events) = &mut self.events {
            events.unwatch(directory);
        }
    }

    /// Makes room for more events, as all events so far were received. Returns `true` if the kernel
    /// has more events that were not read.
    pub(super) fn acknowledge_events(&mut self) -> bool {
        self.events.as_mut().is_some_and(MergedEvents::acknowledge)
    }

    /// Returns the projects that have watched directories, and those that exist.
    pub(super) fn names(&self) -> HashSet<String> {
        let entries = std::fs::read_dir(&self.root).into_iter().flatten().flatten();
        let existing = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let existing = existing.filter(|name| !project::is_ignored(name));
        let elsewhere = self.overrides.names().into_iter().map(|name| name.to_string());
        self.projects.keys().cloned().chain(existing).chain(elsewhere).collect()
    }

    /// Returns the folders of packages of the project `name`: its own `node_modules`, which need
    /// not exist, and those of its folders and includes.
    pub(super) fn packages_of(&self, name: &str) -> HashSet<PathBuf> {
        let is_packages = |directory: &&PathBuf| {
            self.owners(directory).any(|owner| {
                owner.project == name && owner.below.file_name().is_some_and(|name| name == NODE_MODULES)
            })
        };
        let folders = self.projects.get(name).into_iter().flatten().filter(is_packages).cloned();
        let own = self.place(name).dir.join(NODE_MODULES);
        folders.chain([own.canonicalize().unwrap_or(own)]).collect()
    }

    /// Number of projects that have watched directories.
    pub(super) fn count(&self) -> usize {
        self.projects.len()
    }

    /// Number of watched directories.
    pub(super) fn len(&self) -> usize {
        self.watched.len()
    }

    /// Returns the projects that an event of `path` concerns, with the path relative to each.
    pub(super) fn projects_of(&self, path: &Path) -> Vec<(String, PathBuf)> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Vec::new() };
        let itself = self.owners(path).filter(|owner| owner.only.is_none());
        let itself = itself.map(|owner| (owner.project.clone(), owner.below.clone()));
        let inside = self.owners(parent).filter(|owner| owner.has(name));
        let inside = inside.map(|owner| (owner.project.clone(), owner.below.join(name)));
        let text = name.to_string_lossy();
        let is_project = parent == self.root && !project::is_ignored(&text);
        let project = is_project.then(|| (text.into_owned(), PathBuf::new()));
        let mut found = Vec::new();
        for owner in project.into_iter().chain(itself).chain(inside) {
            if !found.contains(&owner) {
                found.push(owner);
            }
        }
        found
    }

    fn owners(&self, directory: &Path) -> impl Iterator<Item = &DirectoryOwner> {
        self.watched.get(directory).into_iter().flatten()
    }

    /// Reads the includes of the project `name` from its configuration. Returns `true` if they
    /// differ from the known ones. Only for a quiet project: opening a configuration that has just
    /// been created would look as if its writer had opened it.
    pub(super) fn reload_includes(&mut self, name: &str) -> bool {
        let included = included(&self.place(name)).unwrap_or_default().entries;
        let before = self.included.remove(name).unwrap_or_default();
        let differs = before != included;
        if !included.is_empty() {
            self.included.insert(name.to_owned(), included);
        }
        differs
    }

    /// Makes the watches match the directories of the project `name`. Returns `true` if a directory
    /// is watched that was not watched before.
    ///
    /// # Errors
    /// The kernel has no watches left, or a directory cannot be watched.
    pub(super) fn sync(&mut self, name: &str) -> notify::Result<bool> {
        let before = self.projects.remove(name).unwrap_or_default();
        for directory in &before {
            if let Some(owners) = self.watched.get_mut(directory) {
                owners.retain(|owner| owner.project != name);
            }
        }
        let result = self.watch_project(name);
        let now = self.projects.get(name);
        let is_gone = |directory: &&PathBuf| now.is_none_or(|now| !now.contains(*directory));
        let gone: Vec<_> = before.iter().filter(is_gone).cloned().collect();
        let is_new = now.is_some_and(|now| !now.is_subset(&before));
        for directory in gone {
            self.unwatch_orphan(&directory);
        }
        result.map(|()| is_new)
    }

    /// Ends the watch of a directory that has no owner any more.
    fn unwatch_orphan(&mut self, directory: &Path) {
        if self.watched.get(directory).is_some_and(Vec::is_empty) {
            self.watched.remove(directory);
            if directory != self.root {
                self.unwatch(directory);
            }
        }
    }

    /// Updates the watches after a change of the directory entry at `path`: a new directory is
    /// watched, a removed one no longer. `is_new`: nothing was at `path` before. Returns the
    /// projects that need a [`Self::sync`] because of it.
    ///
    /// # Errors
    /// Those of [`Self::sync`].
    pub(super) fn update_path(&mut self, path: &Path, is_new: bool) -> notify::Result<HashSet<String>> {
        let owners = self.projects_of(path).into_iter();
        let all = || owners.clone().map(|(name, _)| name).collect();
        let Ok(metadata) = path.symlink_metadata() else {
            self.forget(path);
            // The entry may have been a project, an include or a link.
            return Ok(if path.parent() == Some(&self.root) { all() } else { HashSet::new() });
        };
        let is_known = self.watched.contains_key(path);
        if metadata.is_symlink() || path.parent() == Some(&self.root) || (is_known && !is_new) {
            return Ok(all());
        }
        // A known directory was found by a walk before its event came.
        if !metadata.is_dir() || is_known {
            return Ok(HashSet::new());
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(all()) };
        let (plain, others): (Vec<_>, Vec<_>) = self
            .owners(parent)
            .filter(|owner| owner.has(name))
            .cloned()
            .partition(|owner| owner.only.is_none() && name != NODE_MODULES);
        let mut rest: HashSet<_> = others.into_iter().map(|owner| owner.project).collect();
        for owner in plain {
            let mut walk = WatchWalk::new(&owner.project, None, AT_ONCE);
            walk.push(path.to_owned(), owner.below.join(name));
            walk.run(self)?;
            if !walk.is_complete {
                rest.insert(owner.project);
            }
        }
        Ok(rest)
    }

    /// Ends the watches of `path` and of all directories below it.
    fn forget(&mut self, path: &Path) {
        let below = self.watched.range(path.to_owned()..).map(|(below, _)| below);
        let below: Vec<_> = below.take_while(|below| below.starts_with(path)).cloned().collect();
        for directory in below {
            for owner in self.watched.remove(&directory).into_iter().flatten() {
                if let Some(directories) = self.projects.get_mut(&owner.project) {
                    directories.remove(&directory);
                    if directories.is_empty() {
                        self.projects.remove(&owner.project);
                    }
                }
            }
            self.unwatch(&directory);
        }
    }

    /// Watches `directory` for `owner`. Returns `false` if there is no such directory.
    ///
    /// # Errors
    /// The kernel has no watches left, or the directory cannot be watched.
    fn add(&mut self, directory: &Path, owner: DirectoryOwner) -> notify::Result<bool> {
        match self.watch(directory) {
            Ok(()) => {}
            Err(error) if is_gone(&error) => return Ok(false),
            Err(error) => return Err(error),
        }
        let directories = self.projects.entry(owner.project.clone()).or_default();
        directories.insert(directory.to_owned());
        let owners = self.watched.entry(directory.to_owned()).or_default();
        if !owners.contains(&owner) {
            // Most directories have one.
            owners.reserve_exact(1);
            owners.push(owner);
        }
        Ok(true)
    }

    /// Watches all directories of the project `name`, and of its includes.
    fn watch_project(&mut self, name: &str) -> notify::Result<()> {
        let place = self.place(name);
        if let (true, Some(parent), Some(folder)) =
            (place.is_override(), place.dir.parent(), place.dir.file_name())
        {
            let (below, only) = (PathBuf::from(".."), Some(folder.to_owned()));
            self.add(parent, DirectoryOwner { project: name.to_owned(), below, only })?;
        }
        let mut walk = WatchWalk::new(name, Some(place.dir.clone()), self.limits);
        walk.run(self)?;
        for include in self.included.get(name).cloned().into_iter().flatten() {
            // The include of an override lies beside it or on the volume, and may move.
            for folder in place.include_folders() {
                self.watch_include(name, &include, folder, &mut walk)?;
            }
        }
        Ok(())
    }

    /// Watches an include of the project `name` in `root`.
    fn watch_include(
        &mut self,
        name: &str,
        include: &Include,
        root: &Path,
        walk: &mut WatchWalk<'_>,
    ) -> notify::Result<()> {
        let owner = |below, only| DirectoryOwner { project: name.to_owned(), below, only };
        let (mut path, mut below) = (root.to_owned(), PathBuf::from(".."));
        let mut is_link = false;
        for part in include.below_root() {
            // An include that does not exist yet is watched as far as its parents exist.
            self.add(&path, owner(below.clone(), Some(part.to_owned())))?;
            path.push(part);
            below.push(part);
            is_link = path.is_symlink();
            if is_link {
                break;
            }
        }
        // The owner's configuration says whether it shares the folder.
        let (folder, beside) = (root.join(include.owner()), Path::new("..").join(include.owner()));
        for file in CONFIG_FILES {
            self.add(&folder, owner(beside.clone(), Some(file.into())))?;
        }
        // Nothing is included through a symbolic link.
        if is_link {
            return Ok(());
        }
        if let (Some(folder), Some(beside), true) = (path.parent(), below.parent(), path.is_file()) {
            self.add(folder, owner(beside.to_owned(), Some(NODE_MODULES.into())))?;
            walk.packages(self, &folder.join(NODE_MODULES), &beside.join(NODE_MODULES))?;
        }
        walk.include(path, below);
        walk.run(self)
    }
}

/// Returns `true` for a directory that has vanished before its watch began. Its parent's event
/// reports that.
fn is_gone(error: &Error) -> bool {
    match &error.kind {
        ErrorKind::PathNotFound => true,
        ErrorKind::Io(error) => error.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
