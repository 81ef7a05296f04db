//! The directories that are watched: the root, and every directory of every project but those that
//! never count (history, packages). One watch a directory, so that a big `node_modules` costs none.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify_debouncer_full::notify::{self, Config, Error, ErrorKind, RecursiveMode};
use notify_debouncer_full::{DebounceEventHandler, Debouncer, NoCache, new_debouncer_opt};
use switchyard_bridge::{digest, project};
use walkdir::{DirEntry, WalkDir};

use super::plain::PlainWatcher;

/// What is watched, and whose it is.
pub(super) struct Tree {
    root: PathBuf,
    debouncer: Debouncer<PlainWatcher, NoCache>,
    /// Directory to the projects that it belongs to (two may link to the same one), and its path
    /// below each.
    watched: HashMap<PathBuf, Vec<(String, PathBuf)>>,
}

impl Tree {
    pub(super) fn new(
        root: &Path,
        tick: Duration,
        merge: Duration,
        handler: impl DebounceEventHandler,
    ) -> notify::Result<Self> {
        let debouncer = new_debouncer_opt(merge, Some(tick), handler, NoCache, Config::default())?;
        Ok(Self { root: root.to_owned(), debouncer, watched: HashMap::new() })
    }

    /// How many directories are watched.
    pub(super) fn len(&self) -> usize {
        self.watched.len()
    }

    /// The projects that an event of `path` is about, and its path below each of them.
    pub(super) fn projects_of(&self, path: &Path) -> Vec<(String, PathBuf)> {
        if path.parent() == Some(&self.root) {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            return name
                .filter(|name| !project::is_ignored(name))
                .map(|name| (name, PathBuf::new()))
                .into_iter()
                .collect();
        }
        if let Some(owners) = self.watched.get(path).filter(|owners| !owners.is_empty()) {
            return owners.clone();
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Vec::new() };
        let owners = self.watched.get(parent).map(Vec::as_slice).unwrap_or_default();
        owners.iter().map(|(project, below)| (project.clone(), below.join(name))).collect()
    }

    /// Makes the watches fit what is there, for all projects.
    pub(super) fn sync_all(&mut self) -> notify::Result<()> {
        let root = self.root.clone();
        self.debouncer.watch(&root, RecursiveMode::NonRecursive)?;
        let mut names: HashSet<String> =
            self.watched.values().flatten().map(|(name, _)| name.clone()).collect();
        let entries = std::fs::read_dir(&root).map_err(Error::io)?;
        names.extend(entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()));
        let names: Vec<_> = names.into_iter().filter(|name| !project::is_ignored(name)).collect();
        self.sync(&names)
    }

    /// Makes the watches fit what is there, for the projects `names`.
    ///
    /// What is gone is unwatched before anything is watched: a directory that was renamed keeps its
    /// watch descriptor, and unwatching its old name later would end the watch of its new one.
    pub(super) fn sync(&mut self, names: &[String]) -> notify::Result<()> {
        let names: HashSet<&str> = names.iter().map(String::as_str).collect();
        let before: HashSet<PathBuf> = self.watched.keys().cloned().collect();
        for owners in self.watched.values_mut() {
            owners.retain(|(name, _)| !names.contains(name.as_str()));
        }
        for name in &names {
            for (directory, below) in directories(&self.root.join(name)) {
                self.watched.entry(directory).or_default().push(((*name).to_owned(), below));
            }
        }
        self.watched.retain(|_, owners| !owners.is_empty());
        for gone in before.iter().filter(|directory| !self.watched.contains_key(*directory)) {
            // Its watch may have ended with the directory.
            let _ = self.debouncer.unwatch(gone);
        }
        let mut result = Ok(());
        let mut unwatched = Vec::new();
        for (directory, owners) in &self.watched {
            let affected = owners.iter().any(|(name, _)| names.contains(name.as_str()));
            if !affected {
                continue;
            }
            // Again for one that is watched: it may be another directory of the same name.
            match self.debouncer.watch(directory, RecursiveMode::NonRecursive) {
                Ok(()) => {}
                Err(error) => {
                    unwatched.push(directory.clone());
                    if !is_gone(&error) {
                        result = Err(error);
                    }
                }
            }
        }
        for directory in unwatched {
            self.watched.remove(&directory);
        }
        result
    }
}

/// Gone between the walk and the watch: its parent's event tells that.
fn is_gone(error: &Error) -> bool {
    match &error.kind {
        ErrorKind::PathNotFound => true,
        ErrorKind::Io(error) => error.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

/// The real directories of the project at `path`, and their paths below it.
fn directories(path: &Path) -> Vec<(PathBuf, PathBuf)> {
    let Ok(root) = path.canonicalize() else { return Vec::new() };
    let stays_inside = |entry: &DirEntry| {
        !entry.path_is_symlink() || entry.path().canonicalize().is_ok_and(|real| real.starts_with(&root))
    };
    let walk = WalkDir::new(path).follow_links(true).into_iter();
    let entered = walk.filter_entry(|entry| {
        entry.depth() == 0
            || (entry.file_type().is_dir()
                && digest::is_entered(entry.file_name().as_encoded_bytes())
                && stays_inside(entry))
    });
    let entered = entered.filter(|entry| entry.as_ref().is_ok_and(|entry| entry.file_type().is_dir()));
    let found = entered.flatten().filter_map(|entry| {
        let below = entry.path().strip_prefix(path).ok()?.to_owned();
        Some((entry.path().canonicalize().ok()?, below))
    });
    found.collect()
}
