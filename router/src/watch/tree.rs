//! The directories that are watched: the root, and every directory of every project and of what it includes but those
//! that never count (history). One watch a directory; of a `node_modules` only itself and its scopes and stores have one,
//! so that a big one costs a few.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify_debouncer_full::notify::{self, Config, Error, ErrorKind};
use notify_debouncer_full::{DebounceEventHandler, Debouncer, NoCache, new_debouncer_opt};
use switchyard_bridge::{digest, project};
use walkdir::{DirEntry, WalkDir};

use super::plain::{self, PlainWatcher};
use crate::project::{CONFIG_FILES, Include, MAX_DEPTH, NODE_MODULES, has_packages, included};

/// What is watched, and whose it is.
pub(super) struct Tree {
    /// The real folder.
    root: PathBuf,
    /// `None` where the kernel has no watches left.
    debouncer: Option<Debouncer<PlainWatcher, NoCache>>,
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
    ) -> (Self, notify::Result<()>) {
        let debouncer = new_debouncer_opt(merge, Some(tick), handler, NoCache, Config::default());
        let (debouncer, result) = match debouncer {
            Ok(debouncer) => (Some(debouncer), Ok(())),
            Err(error) => (None, Err(error)),
        };
        let root = root.to_owned();
        (Self { root, debouncer, watched: HashMap::new(), included: HashMap::new() }, result)
    }

    /// The real folder whose projects are watched.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Watches the projects in `root` in place of those where it was.
    pub(super) fn move_to(&mut self, root: &Path) -> notify::Result<()> {
        let watched = std::mem::take(&mut self.watched).into_keys();
        for directory in watched.chain([self.root.clone()]) {
            self.unwatch(&directory);
        }
        self.included.clear();
        root.clone_into(&mut self.root);
        self.sync_all()
    }

    fn watch(&mut self, directory: &Path) -> notify::Result<()> {
        match &mut self.debouncer {
            Some(debouncer) => plain::watch(debouncer, directory),
            None => Ok(()),
        }
    }

    fn unwatch(&mut self, directory: &Path) {
        if let Some(debouncer) = &mut self.debouncer {
            // Its watch may have ended with the directory.
            let _ = debouncer.unwatch(directory);
        }
    }

    /// The projects that have watched directories.
    pub(super) fn names(&self) -> HashSet<String> {
        self.watched.values().flatten().map(|owner| owner.project.clone()).collect()
    }

    /// The folders of packages of the project `name`: its own, whether it is there or not, and others.
    pub(super) fn packages_of(&self, name: &str) -> HashSet<PathBuf> {
        let is_its = |owner: &&Owner| owner.project == name;
        let folders = self.watched.iter().filter_map(|(directory, owners)| {
            let owner = owners.iter().find(is_its)?;
            (owner.below.file_name()? == NODE_MODULES).then(|| directory.clone())
        });
        let own = self.root.join(name).join(NODE_MODULES);
        folders.chain([own.canonicalize().unwrap_or(own)]).collect()
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
        self.watch(&root)?;
        let mut names = self.names();
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
            |directory: &PathBuf| !self.watched.contains_key(directory) && *directory != self.root;
        let gone: Vec<_> = before.into_iter().filter(is_gone_now).collect();
        for directory in gone {
            self.unwatch(&directory);
        }
        let is_affected =
            |owners: &[Owner]| owners.iter().any(|owner| names.contains(owner.project.as_str()));
        let affected = self.watched.iter().filter(|(_, owners)| is_affected(owners));
        let affected: Vec<_> = affected.map(|(directory, _)| directory.clone()).collect();
        let mut result = Ok(());
        for directory in affected {
            // For one that is watched as well: it may be another directory of the same name.
            if let Err(error) = self.watch(&directory) {
                self.watched.remove(&directory);
                if !is_gone(&error) {
                    result = Err(error);
                }
            }
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
                all.push((folder.to_owned(), owner(beside.to_owned(), Some(NODE_MODULES.into()))));
                let packages = package_folders(&folder.join(NODE_MODULES), &beside.join(NODE_MODULES));
                all.extend(packages.into_iter().map(|(directory, below)| (directory, owner(below, None))));
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

/// The real directories of the project at `path`, each once, and their paths below it.
fn directories(path: &Path) -> Vec<(PathBuf, PathBuf)> {
    let Ok(root) = path.canonicalize() else { return Vec::new() };
    let stays_inside = |entry: &DirEntry| {
        !entry.path_is_symlink() || entry.path().canonicalize().is_ok_and(|real| real.starts_with(&root))
    };
    // By links there may be more paths to one than anybody could walk.
    let mut seen = HashSet::new();
    let mut is_new = |entry: &DirEntry| {
        entry.metadata().is_ok_and(|metadata| seen.insert((metadata.dev(), metadata.ino())))
    };
    let mut found = Vec::new();
    let mut packages = Vec::new();
    let walk = WalkDir::new(path).follow_links(true).max_depth(MAX_DEPTH).into_iter();
    let entered = walk.filter_entry(|entry| {
        if entry.depth() > 0 && (!entry.file_type().is_dir() || !stays_inside(entry)) {
            return false;
        }
        if entry.depth() > 0 && entry.file_name() == NODE_MODULES && !entry.path_is_symlink() {
            packages.push(entry.path().to_owned());
        }
        let is_entered = entry.depth() == 0 || digest::is_entered(entry.file_name().as_encoded_bytes());
        is_entered && is_new(entry)
    });
    let below = |entry: &Path| entry.strip_prefix(path).map(Path::to_owned).ok();
    for entry in entered.flatten().filter(|entry| entry.file_type().is_dir()) {
        found.extend(entry.path().canonicalize().ok().zip(below(entry.path())));
    }
    for folder in packages {
        found.extend(below(&folder).into_iter().flat_map(|below| package_folders(&folder, &below)));
    }
    found
}

/// A `node_modules` and the scopes and stores in it: their real directories, and their paths below the project.
fn package_folders(folder: &Path, below: &Path) -> Vec<(PathBuf, PathBuf)> {
    let Ok(real) = folder.canonicalize() else { return Vec::new() };
    let inside = std::fs::read_dir(&real).into_iter().flatten().flatten().filter_map(|entry| {
        let name = entry.file_name();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        (is_folder && has_packages(name.to_str()?)).then(|| (real.join(&name), below.join(&name)))
    });
    let inside: Vec<_> = inside.collect();
    [(real, below.to_owned())].into_iter().chain(inside).collect()
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
        let (mut tree, made) = Tree::new(&root, some, some, |_| {});
        made.unwrap();
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

    #[test]
    fn of_packages_their_folder_and_its_scopes_are_watched_and_folders_with_many_paths_once() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for path in
            ["a/node_modules/@scope/one/lib", "a/node_modules/.cache/x", "a/lib/node_modules/two", "a/src"]
        {
            std::fs::create_dir_all(root.join(path)).unwrap();
        }
        for link in ["a/src/one", "a/src/two"] {
            std::os::unix::fs::symlink("../lib", root.join(link)).unwrap();
        }
        let some = Duration::from_millis(1);
        let (mut tree, _) = Tree::new(&root, some, some, |_| {});
        tree.sync_all().unwrap();
        let mut watched: Vec<_> = tree.watched.keys().map(|path| path.strip_prefix(&root).unwrap()).collect();
        watched.sort();
        let expected =
            ["a", "a/lib", "a/lib/node_modules", "a/node_modules", "a/node_modules/@scope", "a/src"];
        assert_eq!(watched, expected.map(Path::new));
        let packages = ["a/lib/node_modules", "a/node_modules"].map(|path| root.join(path));
        assert_eq!(tree.packages_of("a"), HashSet::from(packages));
    }
}
