//! The directories that are watched: the root, and every directory of every project and of what it includes but those
//! that never count (history, packages). One watch a directory, so that a big `node_modules` costs none.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify_debouncer_full::notify::{self, Config, Error, ErrorKind, RecursiveMode};
use notify_debouncer_full::{DebounceEventHandler, Debouncer, NoCache, new_debouncer_opt};
use switchyard_bridge::{digest, project};
use walkdir::{DirEntry, WalkDir};

use super::plain::PlainWatcher;
use crate::project::{CONFIG_FILES, Include, included};

/// What is watched, and whose it is.
pub(super) struct Tree {
    root: PathBuf,
    debouncer: Debouncer<PlainWatcher, NoCache>,
    /// Directory to the projects that it belongs to: two may link to the same one, or include it.
    watched: HashMap<PathBuf, Vec<Owner>>,
    /// What projects include, those that do.
    included: HashMap<String, Vec<Include>>,
}

/// A project that a watched directory belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Owner {
    project: String,
    /// The directory's path, relative to the project.
    below: PathBuf,
    /// Not all in it is the project's, but what has this name: the directory is on the way to something included.
    only: Option<OsString>,
}

impl Owner {
    fn has(&self, name: &OsStr) -> bool {
        self.only.as_ref().is_none_or(|only| only == name)
    }
}

impl Tree {
    pub(super) fn new(
        root: &Path,
        tick: Duration,
        merge: Duration,
        handler: impl DebounceEventHandler,
    ) -> notify::Result<Self> {
        let debouncer = new_debouncer_opt(merge, Some(tick), handler, NoCache, Config::default())?;
        Ok(Self { root: root.to_owned(), debouncer, watched: HashMap::new(), included: HashMap::new() })
    }

    /// How many directories are watched.
    pub(super) fn len(&self) -> usize {
        self.watched.len()
    }

    /// The projects that an event of `path` is about, and its path relative to each of them.
    pub(super) fn projects_of(&self, path: &Path) -> Vec<(String, PathBuf)> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Vec::new() };
        let itself = self.owners(path).filter(|owner| owner.only.is_none());
        let itself = itself.map(|owner| (owner.project.clone(), owner.below.clone()));
        let inside = self.owners(parent).filter(|owner| owner.has(name));
        let inside = inside.map(|owner| (owner.project.clone(), owner.below.join(name)));
        let shown = name.to_string_lossy();
        let is_project = parent == self.root && !project::is_ignored(&shown);
        let project = is_project.then(|| (shown.into_owned(), PathBuf::new()));
        let mut found = Vec::new();
        for owner in project.into_iter().chain(itself).chain(inside) {
            if !found.contains(&owner) {
                found.push(owner);
            }
        }
        found
    }

    fn owners(&self, directory: &Path) -> impl Iterator<Item = &Owner> {
        self.watched.get(directory).into_iter().flatten()
    }

    /// Makes the watches fit what is there, for all projects.
    pub(super) fn sync_all(&mut self) -> notify::Result<()> {
        let root = self.root.clone();
        self.debouncer.watch(&root, RecursiveMode::NonRecursive)?;
        let mut names: HashSet<String> =
            self.watched.values().flatten().map(|owner| owner.project.clone()).collect();
        let entries = std::fs::read_dir(&root).map_err(Error::io)?;
        names.extend(entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()));
        let names: Vec<_> = names.into_iter().filter(|name| !project::is_ignored(name)).collect();
        for name in &names {
            self.learn(name);
        }
        self.sync(&names)
    }

    /// Reads again what the project `name` includes, and makes the watches fit that. Only for one that is quiet: a
    /// configuration that is being written would look as if it was opened by its writer.
    pub(super) fn renew(&mut self, name: &str) -> notify::Result<()> {
        if self.learn(name) { self.sync(&[name.to_owned()]) } else { Ok(()) }
    }

    /// Returns whether it includes something else than before.
    fn learn(&mut self, name: &str) -> bool {
        let included = included(&self.root.join(name)).unwrap_or_default().entries;
        let before = self.included.remove(name).unwrap_or_default();
        let differs = before != included;
        if !included.is_empty() {
            self.included.insert(name.to_owned(), included);
        }
        differs
    }

    /// Makes the watches fit what is there, for the projects `names`.
    ///
    /// What is gone is unwatched before anything is watched: a directory that was renamed keeps its
    /// watch descriptor, and unwatching its old name later would end the watch of its new one.
    pub(super) fn sync(&mut self, names: &[String]) -> notify::Result<()> {
        let names: HashSet<&str> = names.iter().map(String::as_str).collect();
        let before: HashSet<PathBuf> = self.watched.keys().cloned().collect();
        for owners in self.watched.values_mut() {
            owners.retain(|owner| !names.contains(owner.project.as_str()));
        }
        for name in &names {
            for (directory, owner) in self.directories_of(name) {
                self.watched.entry(directory).or_default().push(owner);
            }
        }
        self.watched.retain(|_, owners| !owners.is_empty());
        let is_gone_now =
            |directory: &&PathBuf| !self.watched.contains_key(*directory) && **directory != self.root;
        for gone in before.iter().filter(is_gone_now) {
            // Its watch may have ended with the directory.
            let _ = self.debouncer.unwatch(gone);
        }
        let mut result = Ok(());
        let mut unwatched = Vec::new();
        for (directory, owners) in &self.watched {
            let affected = owners.iter().any(|owner| names.contains(owner.project.as_str()));
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

    /// All that the project `name` has to hear of.
    fn directories_of(&self, name: &str) -> Vec<(PathBuf, Owner)> {
        let owner = |below, only| Owner { project: name.to_owned(), below, only };
        let own = directories(&self.root.join(name)).into_iter();
        let mut all: Vec<_> = own.map(|(directory, below)| (directory, owner(below, None))).collect();
        for include in self.included.get(name).into_iter().flatten() {
            let (mut path, mut below) = (self.root.clone(), PathBuf::from(".."));
            for part in include.below_root() {
                all.push((path.clone(), owner(below.clone(), Some(part.to_owned()))));
                path.push(part);
                below.push(part);
            }
            // Whether its owner shares.
            let (folder, beside) = (self.root.join(include.owner()), Path::new("..").join(include.owner()));
            let leave = CONFIG_FILES.map(|file| (folder.clone(), owner(beside.clone(), Some(file.into()))));
            all.extend(leave);
            // By a symbolic link nothing is included.
            if path.canonicalize().is_ok_and(|real| real != path) {
                continue;
            }
            if let (Some(folder), Some(beside), true) = (path.parent(), below.parent(), path.is_file()) {
                all.push((folder.to_owned(), owner(beside.to_owned(), Some("node_modules".into()))));
            }
            let included = directories(&path).into_iter();
            all.extend(included.map(|(directory, within)| (directory, owner(below.join(within), None))));
        }
        // A way that ends early is watched as far as it goes.
        all.retain(|(directory, _)| directory.is_dir());
        all
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_about_all_who_include_the_place_and_about_leaves() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let including = |entry: &str| format!(r#"{{"switchyard": {{"include": ["{entry}"]}}}}"#);
        for (path, text) in [
            ("a/deno.json", including("../_shared")),
            ("b/deno.json", including("../shop/lib")),
            ("c/deno.json", including("../deno.json")),
            ("_shared/src/mod.ts", String::new()),
            ("shop/lib/mod.ts", String::new()),
        ] {
            std::fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            std::fs::write(root.join(path), text).unwrap();
        }
        let some = Duration::from_millis(1);
        let mut tree = Tree::new(&root, some, some, |_| {}).unwrap();
        tree.sync_all().unwrap();
        let owners = |path: &str| {
            let mut found = tree.projects_of(&root.join(path));
            found.sort();
            found.into_iter().map(|(name, below)| format!("{name}: {}", below.display())).collect::<Vec<_>>()
        };
        assert_eq!(owners("a/main.ts"), ["a: main.ts"]);
        assert_eq!(owners("_shared/src/mod.ts"), ["a: ../_shared/src/mod.ts"]);
        assert_eq!(owners("shop/lib/mod.ts"), ["b: ../shop/lib/mod.ts", "shop: lib/mod.ts"]);
        assert_eq!(owners("shop/main.ts"), ["shop: main.ts"]);
        assert_eq!(
            owners("shop/deno.json"),
            ["b: ../shop/deno.json", "shop: deno.json"],
            "it may say who may"
        );
        assert_eq!(owners("deno.json"), ["c: ../deno.json", "deno.json: "]);
        assert_eq!(owners("_other"), [""; 0]);
    }
}
