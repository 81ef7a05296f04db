//! The directories that are watched: the root, and every directory of every project and of what it includes but those
//! that never count (history). One watch a directory; of a `node_modules` only itself and its scopes and stores have one,
//! so that a big one costs a few.

mod walk;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify_debouncer_full::notify::{self, Config, Error, ErrorKind};
use notify_debouncer_full::{DebounceEventHandler, Debouncer, NoCache, new_debouncer_opt};
use switchyard_contract::project;

use self::walk::{Bounds, Walk};
use super::inotify::{self, KernelWatcher};
use crate::project::{CONFIG_FILES, Include, NODE_MODULES, included};

/// The part of a new directory that is walked at once. The rest is walked when it is its project's turn.
const AT_ONCE: Bounds = Bounds { folders: 1000, entries: 10_000 };

/// What is watched, and whose it is.
pub(super) struct Tree {
    /// The real folder.
    root: PathBuf,
    /// `None` where the kernel has no watches left.
    debouncer: Option<Debouncer<KernelWatcher, NoCache>>,
    /// Directory to the projects that it belongs to: two may link to the same one, or include it.
    watched: BTreeMap<PathBuf, Vec<Owner>>,
    /// The directories of each project.
    projects: HashMap<String, BTreeSet<PathBuf>>,
    /// What projects include, those that do.
    included: HashMap<String, Vec<Include>>,
    /// The most that is watched of each project: beyond it the project is not valid.
    bounds: Bounds,
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
    /// `folders` and `files`: the most that a valid project has of them.
    pub(super) fn new(
        root: &Path,
        [folders, files]: [u64; 2],
        tick: Duration,
        merge: Duration,
        handler: impl DebounceEventHandler,
    ) -> (Self, notify::Result<()>) {
        let debouncer = new_debouncer_opt(merge, Some(tick), handler, NoCache, Config::default());
        let (debouncer, result) = match debouncer {
            Ok(debouncer) => (Some(debouncer), Ok(())),
            Err(error) => (None, Err(error)),
        };
        let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        let tree = Self {
            root: root.to_owned(),
            debouncer,
            watched: BTreeMap::new(),
            projects: HashMap::new(),
            included: HashMap::new(),
            bounds: Bounds { folders: count(folders), entries: count(folders.saturating_add(files)) },
        };
        (tree, result)
    }

    /// The real folder whose projects are watched.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Watches `root` in place of where it was. Its projects are still to be gone through.
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
    pub(super) fn watch_root(&mut self) -> notify::Result<()> {
        let root = self.root.clone();
        self.watch(&root)
    }

    fn watch(&mut self, directory: &Path) -> notify::Result<()> {
        match &mut self.debouncer {
            Some(debouncer) => inotify::watch(debouncer, directory),
            None => Ok(()),
        }
    }

    fn unwatch(&mut self, directory: &Path) {
        if let Some(debouncer) = &mut self.debouncer {
            // Its watch may have ended with the directory.
            let _ = debouncer.unwatch(directory);
        }
    }

    /// Lets more events come: those so far were taken.
    pub(super) fn taken(&mut self) {
        if let Some(debouncer) = &mut self.debouncer {
            inotify::taken(debouncer);
        }
    }

    /// The projects that have watched directories, and those that are there.
    pub(super) fn names(&self) -> HashSet<String> {
        let entries = std::fs::read_dir(&self.root).into_iter().flatten().flatten();
        let there = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let there = there.filter(|name| !project::is_ignored(name));
        self.projects.keys().cloned().chain(there).collect()
    }

    /// The folders of packages of the project `name`: its own, whether it is there or not, and others.
    pub(super) fn packages_of(&self, name: &str) -> HashSet<PathBuf> {
        let is_packages = |directory: &&PathBuf| {
            self.owners(directory).any(|owner| {
                owner.project == name && owner.below.file_name().is_some_and(|name| name == NODE_MODULES)
            })
        };
        let folders = self.projects.get(name).into_iter().flatten().filter(is_packages).cloned();
        let own = self.root.join(name).join(NODE_MODULES);
        folders.chain([own.canonicalize().unwrap_or(own)]).collect()
    }

    /// How many projects have watched directories.
    pub(super) fn count(&self) -> usize {
        self.projects.len()
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

    /// Reads again what the project `name` includes. Only for one that is quiet: a configuration that is being written would
    /// look as if it was opened by its writer. Returns whether that is something else than before.
    pub(super) fn learn(&mut self, name: &str) -> bool {
        let included = included(&self.root.join(name)).unwrap_or_default().entries;
        let before = self.included.remove(name).unwrap_or_default();
        let differs = before != included;
        if !included.is_empty() {
            self.included.insert(name.to_owned(), included);
        }
        differs
    }

    /// Makes the watches fit what is there, for the project `name`. Returns whether something is watched that was not before.
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
        let result = self.find_all(name);
        let now = self.projects.get(name);
        let is_gone = |directory: &&PathBuf| now.is_none_or(|now| !now.contains(*directory));
        let gone: Vec<_> = before.iter().filter(is_gone).cloned().collect();
        let is_new = now.is_some_and(|now| !now.is_subset(&before));
        for directory in gone {
            self.give_up(&directory);
        }
        result.map(|()| is_new)
    }

    /// No longer watches a directory that is nobody's.
    fn give_up(&mut self, directory: &Path) {
        if self.watched.get(directory).is_some_and(Vec::is_empty) {
            self.watched.remove(directory);
            if directory != self.root {
                self.unwatch(directory);
            }
        }
    }

    /// Follows a change of what there is at `path`: a directory that has just appeared is watched, one that is gone is not any
    /// more. `is_new`: there was nothing before. Returns the projects that are to be gone through for it.
    ///
    /// # Errors
    /// As [`Tree::sync`] has them.
    pub(super) fn follow(&mut self, path: &Path, is_new: bool) -> notify::Result<HashSet<String>> {
        let owners = self.projects_of(path).into_iter();
        let all = || owners.clone().map(|(name, _)| name).collect();
        let Ok(metadata) = path.symlink_metadata() else {
            self.forget(path);
            // A project, something included or a link may have been there.
            return Ok(if path.parent() == Some(&self.root) { all() } else { HashSet::new() });
        };
        let is_known = self.watched.contains_key(path);
        if metadata.is_symlink() || path.parent() == Some(&self.root) || (is_known && !is_new) {
            return Ok(all());
        }
        // A walk found it before its event came.
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
            let mut walk = Walk::new(&owner.project, None, AT_ONCE);
            walk.begin(path.to_owned(), owner.below.join(name));
            walk.run(self)?;
            if !walk.is_whole {
                rest.insert(owner.project);
            }
        }
        Ok(rest)
    }

    /// No longer watches what is at `path`, and below.
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

    /// Watches `directory` for `owner`. Returns whether there is such a directory.
    ///
    /// # Errors
    /// The kernel has no watches left, or the directory cannot be watched.
    fn add(&mut self, directory: &Path, owner: Owner) -> notify::Result<bool> {
        match self.watch(directory) {
            Ok(()) => {}
            Err(error) if is_gone(&error) => return Ok(false),
            Err(error) => return Err(error),
        }
        let directories = self.projects.entry(owner.project.clone()).or_default();
        directories.insert(directory.to_owned());
        let owners = self.watched.entry(directory.to_owned()).or_default();
        if !owners.contains(&owner) {
            owners.push(owner);
        }
        Ok(true)
    }

    /// Watches all that the project `name` has to hear of.
    fn find_all(&mut self, name: &str) -> notify::Result<()> {
        let owner = |below, only| Owner { project: name.to_owned(), below, only };
        let mut walk = Walk::new(name, Some(self.root.join(name)), self.bounds);
        walk.run(self)?;
        for include in self.included.get(name).cloned().into_iter().flatten() {
            let (mut path, mut below) = (self.root.clone(), PathBuf::from(".."));
            let mut is_link = false;
            for part in include.below_root() {
                // A way that ends early is watched as far as it goes.
                self.add(&path, owner(below.clone(), Some(part.to_owned())))?;
                path.push(part);
                below.push(part);
                is_link = path.is_symlink();
                if is_link {
                    break;
                }
            }
            // Whether its owner shares.
            let (folder, beside) = (self.root.join(include.owner()), Path::new("..").join(include.owner()));
            for file in CONFIG_FILES {
                self.add(&folder, owner(beside.clone(), Some(file.into())))?;
            }
            // By a symbolic link nothing is included.
            if is_link {
                continue;
            }
            if let (Some(folder), Some(beside), true) = (path.parent(), below.parent(), path.is_file()) {
                self.add(folder, owner(beside.to_owned(), Some(NODE_MODULES.into())))?;
                walk.packages(self, &folder.join(NODE_MODULES), &beside.join(NODE_MODULES))?;
            }
            walk.include(path, below);
            walk.run(self)?;
        }
        Ok(())
    }
}

/// Gone between a look and the watch: its parent's event tells that.
fn is_gone(error: &Error) -> bool {
    match &error.kind {
        ErrorKind::PathNotFound => true,
        ErrorKind::Io(error) => error.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sync_all(tree: &mut Tree) {
        tree.watch_root().unwrap();
        for name in tree.names() {
            tree.learn(&name);
            tree.sync(&name).unwrap();
        }
    }

    fn watched(tree: &Tree) -> Vec<&Path> {
        assert!(tree.projects.values().flatten().all(|directory| tree.watched.contains_key(directory)));
        tree.watched.keys().map(|path| path.strip_prefix(tree.root()).unwrap()).collect()
    }

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
        let (mut tree, made) = Tree::new(&root, [100, 100], some, some, |_| {});
        made.unwrap();
        sync_all(&mut tree);
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
        let (mut tree, _) = Tree::new(&root, [100, 100], some, some, |_| {});
        sync_all(&mut tree);
        let expected =
            ["a", "a/lib", "a/lib/node_modules", "a/node_modules", "a/node_modules/@scope", "a/src"];
        assert_eq!(watched(&tree), expected.map(Path::new));
        let packages = ["a/lib/node_modules", "a/node_modules"].map(|path| root.join(path));
        assert_eq!(tree.packages_of("a"), HashSet::from(packages));
    }

    #[test]
    fn what_appears_is_watched_and_what_is_gone_is_not_without_going_through_its_project() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("a/src")).unwrap();
        let some = Duration::from_millis(1);
        let (mut tree, _) = Tree::new(&root, [2000, 100], some, some, |_| {});
        sync_all(&mut tree);
        std::fs::create_dir_all(root.join("a/src/x/y")).unwrap();
        assert!(tree.follow(&root.join("a/src/x"), true).unwrap().is_empty());
        assert_eq!(watched(&tree), ["a", "a/src", "a/src/x", "a/src/x/y"].map(Path::new));
        assert!(!tree.sync("a").unwrap(), "nothing is left to be found");
        std::fs::rename(root.join("a/src/x"), root.join("a/z")).unwrap();
        for path in ["a/src/x", "a/z"] {
            assert!(tree.follow(&root.join(path), false).unwrap().is_empty());
        }
        assert_eq!(watched(&tree), ["a", "a/src", "a/z", "a/z/y"].map(Path::new));
        std::os::unix::fs::symlink("z", root.join("a/link")).unwrap();
        let all = HashSet::from(["a".to_owned()]);
        for path in ["a/link", "a/z", "a"] {
            assert_eq!(tree.follow(&root.join(path), false).unwrap(), all, "{path}");
        }
        for n in 0..=AT_ONCE.folders {
            std::fs::create_dir_all(root.join(format!("a/many/{n}"))).unwrap();
        }
        assert_eq!(tree.follow(&root.join("a/many"), true).unwrap(), all, "too many to be found at once");
        assert!(tree.sync("a").unwrap());
        std::fs::remove_dir_all(root.join("a/many")).unwrap();
        tree.follow(&root.join("a/many"), false).unwrap();
        assert_eq!(watched(&tree), ["a", "a/src", "a/z", "a/z/y"].map(Path::new));
    }

    #[test]
    fn of_a_project_without_end_no_more_is_watched_than_a_valid_one_has() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for n in 0..100 {
            std::fs::create_dir_all(root.join(format!("a/{n}/node_modules/@x"))).unwrap();
            std::fs::create_dir_all(root.join(format!("b/{n}"))).unwrap();
        }
        let some = Duration::from_millis(1);
        let (mut tree, _) = Tree::new(&root, [10, 1000], some, some, |_| {});
        sync_all(&mut tree);
        let of = |name: &str| tree.projects[name].len();
        assert!((10..=12).contains(&of("a")) && (10..=12).contains(&of("b")), "{} {}", of("a"), of("b"));
    }
}
