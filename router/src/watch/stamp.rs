//! The stamp of a project: one number over the metadata of its files, which changes with every
//! change of a file, reported by an event or not.

use std::collections::{HashMap, HashSet};
use std::fs::{self, Metadata};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use switchyard_contract::digest;

use crate::links::LinkFollower;
use crate::project::{CONFIG_FILES, Include, InstalledPackages, NODE_MODULES, included};
use crate::root::Overrides;

/// Maximum number of entries that a stamp covers. A valid project has fewer; the rest is ignored.
const MAX_ENTRIES: usize = 100_000;

/// The bounds of a walk that takes a few milliseconds...
const QUICK: WalkBounds = WalkBounds { entries: 2_000, until: None, packages: false };

/// ... or at most this long, on a slow or busy disk.
const MAX_QUICK_TIME: Duration = Duration::from_millis(20);

/// The state of a project at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct ProjectStamp {
    hash: u64,
    /// The stamp of its packages alone.
    pub(super) packages: u64,
    /// Change time of its newest file, in seconds since 1970.
    pub(super) newest: i64,
    /// `true`: the bounds of the reader were reached, so files may be missing.
    is_partial: bool,
}

impl ProjectStamp {
    fn join(&mut self, other: Self) {
        // Folders are read in any order, so the operation must be commutative.
        self.hash = self.hash.wrapping_add(other.hash);
        self.packages = self.packages.wrapping_add(other.packages);
        self.newest = self.newest.max(other.newest);
        self.is_partial |= other.is_partial;
    }

    fn add(&mut self, path: &Path, metadata: &Metadata) {
        let mut hasher = DefaultHasher::new();
        path.hash(&mut hasher);
        (metadata.size(), metadata.dev(), metadata.ino()).hash(&mut hasher);
        (metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec()).hash(&mut hasher);
        self.join(Self { hash: hasher.finish(), newest: metadata.ctime(), ..Self::default() });
    }

    fn add_packages(&mut self, folder: PathBuf) {
        self.packages = self.packages.wrapping_add(InstalledPackages::of([folder]).stamp());
    }
}

/// Reads stamps of the projects below one root. A folder that several of them include is read once.
pub(super) struct StampReader<'a> {
    root: &'a Path,
    overrides: &'a Overrides,
    bounds: WalkBounds,
    includes: HashMap<PathBuf, ProjectStamp>,
}

/// The bounds of the walk over one folder.
#[derive(Debug, Clone, Copy)]
struct WalkBounds {
    entries: usize,
    /// `None`: the walk may take as long as it needs.
    until: Option<Instant>,
    /// `true`: packages count.
    packages: bool,
}

impl<'a> StampReader<'a> {
    /// `root`: the real folder of the projects, except those in `overrides`.
    pub(super) fn new(root: &'a Path, overrides: &'a Overrides) -> Self {
        let bounds = WalkBounds { entries: MAX_ENTRIES, until: None, packages: true };
        Self { root, overrides, bounds, includes: HashMap::new() }
    }

    /// Returns the stamp of the project `name` without its packages, or `None` if there is no such
    /// folder, or it cannot be read within a few milliseconds.
    pub(super) fn read_quickly(root: &'a Path, overrides: &'a Overrides, name: &str) -> Option<ProjectStamp> {
        let until = Some(Instant::now() + MAX_QUICK_TIME);
        Self::read_within(WalkBounds { until, ..QUICK }, root, overrides, name)
    }

    fn read_within(
        bounds: WalkBounds,
        root: &'a Path,
        overrides: &'a Overrides,
        name: &str,
    ) -> Option<ProjectStamp> {
        let mut reader = Self { root, overrides, bounds, includes: HashMap::new() };
        reader.read(name).filter(|stamp| !stamp.is_partial)
    }

    /// Returns the stamp of the project `name`, or `None` if there is no such folder.
    pub(super) fn read(&mut self, name: &str) -> Option<ProjectStamp> {
        let place = self.overrides.place(self.root, name);
        if !place.dir.is_dir() {
            return None;
        }
        let mut stamp = StampWalk::run(&place.dir, self.bounds);
        for include in included(&place).unwrap_or_default().entries {
            if let Some(folder) = place.folder_with(include.below_root()) {
                stamp.join(self.include(folder, &include));
            }
        }
        Some(stamp)
    }

    /// The stamp of an include that lies in `root`.
    fn include(&mut self, root: &Path, include: &Include) -> ProjectStamp {
        let path = root.join(include.below_root());
        let owner = root.join(include.owner());
        let bounds = self.bounds;
        *self.includes.entry(path.clone()).or_insert_with(|| {
            // Nothing is included through a symbolic link.
            let mut parent = root.to_owned();
            let is_link = include.below_root().iter().any(|part| {
                parent.push(part);
                parent.is_symlink()
            });
            if is_link {
                return ProjectStamp::default();
            }
            let mut stamp = StampWalk::run(&path, bounds);
            let [_, packages] = include.packages();
            if let Some(name) = packages.file_name().filter(|_| bounds.packages && path.is_file()) {
                stamp.add_packages(path.with_file_name(name));
            }
            // The owner's configuration says whether it shares the folder.
            for file in CONFIG_FILES.map(|file| owner.join(file)) {
                if let Ok(metadata) = file.metadata() {
                    stamp.add(&file, &metadata);
                }
            }
            stamp
        })
    }
}

/// The walk over one folder, or one file.
struct StampWalk {
    stamp: ProjectStamp,
    bounds: WalkBounds,
    /// The real folder. Symbolic links that leave it are not followed.
    top: PathBuf,
    /// Device and inode of each visited folder: links may form more paths to one folder than can be
    /// walked.
    visited: HashSet<(u64, u64)>,
    /// Folders that are still to be walked. Their paths have no links.
    left: Vec<PathBuf>,
    entries: usize,
    links: LinkFollower,
    /// The `node_modules` folders, except those that are symbolic links.
    packages: Vec<PathBuf>,
}

impl StampWalk {
    /// Returns the stamp of a folder with everything in it that counts, or of a file.
    fn run(path: &Path, bounds: WalkBounds) -> ProjectStamp {
        let top = path.canonicalize().unwrap_or_default();
        let (stamp, visited) = (ProjectStamp::default(), HashSet::new());
        let (left, links) = (vec![], LinkFollower::default());
        let packages = Vec::new();
        let mut walk = Self { stamp, bounds, top, visited, left, entries: 0, links, packages };
        let top = walk.top.clone();
        walk.entry(&top);
        while let Some(folder) = walk.left.pop().filter(|_| !walk.is_full()) {
            walk.folder(&folder);
        }
        walk.stamp.is_partial = walk.is_full();
        if bounds.packages {
            // In one call, as its limit is for all folders together.
            walk.stamp.packages = InstalledPackages::of(walk.packages).stamp();
        }
        walk.stamp
    }

    fn is_full(&self) -> bool {
        let Self { bounds, entries, .. } = self;
        *entries >= bounds.entries || bounds.until.is_some_and(|until| Instant::now() >= until)
    }

    fn folder(&mut self, folder: &Path) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if self.is_full() {
                break;
            }
            let name = entry.file_name();
            let path = entry.path();
            if name == NODE_MODULES {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    self.entries += 1;
                    self.packages.push(path);
                }
            } else if digest::is_entered(name.as_encoded_bytes()) {
                self.entry(&path);
            }
        }
    }

    fn entry(&mut self, path: &Path) {
        self.entries += 1;
        let Ok(mut metadata) = path.symlink_metadata() else { return };
        if metadata.is_symlink() {
            self.stamp.add(path, &metadata);
            // A link that takes too many steps is not followed: most lead to files that are found
            // anyway.
            let Ok((real, target)) = self.links.follow(path) else { return };
            if target.is_dir() {
                if real.starts_with(&self.top) {
                    self.enter(real, &target);
                }
                return;
            }
            metadata = target;
        }
        if !metadata.is_dir() {
            let name = path.file_name().unwrap_or_default();
            if digest::is_counted(name.as_encoded_bytes()) {
                self.stamp.add(path, &metadata);
            }
        } else {
            self.enter(path.to_owned(), &metadata);
        }
    }

    fn enter(&mut self, folder: PathBuf, metadata: &Metadata) {
        if self.visited.insert((metadata.dev(), metadata.ino())) {
            self.left.push(folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scene(tempfile::TempDir);

    impl Scene {
        fn new() -> Self {
            let scene = Self(tempfile::tempdir().unwrap());
            scene.put("a/main.ts", "1");
            scene.put("a/deno.json", r#"{"switchyard": {"include": ["../_shared"]}}"#);
            scene.put("_shared/mod.ts", "1");
            scene
        }

        fn put(&self, path: &str, text: &str) {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn stamp(&self, name: &str) -> Option<ProjectStamp> {
            StampReader::new(self.0.path(), &Overrides::default()).read(name)
        }
    }

    #[test]
    fn files_that_count_change_the_stamp_and_others_do_not() {
        let scene = Scene::new();
        let mut last = scene.stamp("a").unwrap();
        for leftover in
            ["a/.git/HEAD", "a/main.ts~", "a/.main.ts.swp", "_other/mod.ts", "a/node_modules/.cache/x"]
        {
            scene.put(leftover, "x");
            assert_eq!(scene.stamp("a").unwrap(), last, "{leftover}");
        }
        for path in ["a/main.ts", "a/lib/x.ts", "_shared/mod.ts", "a/node_modules/x/package.json"] {
            scene.put(path, "22");
            let now = scene.stamp("a").unwrap();
            assert_ne!(now, last, "{path}");
            last = now;
        }
        assert_eq!(scene.stamp("b"), None);
    }

    #[test]
    fn folders_with_more_paths_than_can_be_walked_are_walked_once() {
        let scene = Scene::new();
        for level in 0..40 {
            let folder = scene.0.path().join(format!("a/d{level}"));
            fs::create_dir(&folder).unwrap();
            for link in ["x", "y"] {
                std::os::unix::fs::symlink(format!("../d{}", level + 1), folder.join(link)).unwrap();
            }
        }
        assert!(scene.stamp("a").is_some());
    }

    #[test]
    fn a_quick_stamp_covers_files_and_includes_and_no_packages_and_only_small_projects() {
        let scene = Scene::new();
        let (root, overrides) = (scene.0.path(), Overrides::default());
        let stamp = || StampReader::read_within(QUICK, root, &overrides, "a");
        let mut last = stamp();
        assert!(last.is_some());
        scene.put("a/node_modules/x/package.json", "22");
        assert_eq!(stamp(), last);
        for path in ["a/main.ts", "_shared/mod.ts"] {
            scene.put(path, "333");
            assert_ne!(stamp(), last, "{path}");
            last = stamp();
        }
        for n in 0..QUICK.entries {
            scene.put(&format!("_shared/{n}"), "");
        }
        assert_eq!(stamp(), None);
    }

    #[test]
    fn the_stamp_of_an_override_is_that_of_its_folder_and_of_the_include_that_it_uses() {
        let scene = Scene::new();
        scene.put("dev/mine/deno.json", r#"{"switchyard": {"include": ["../_shared"]}}"#);
        let (root, overrides) = (scene.0.path(), Overrides::default());
        let name = switchyard_contract::project::ProjectName::parse("a").unwrap();
        overrides.set(&name, Some(root.join("dev/mine")));
        let stamp = || StampReader::new(root, &overrides).read("a").unwrap();
        let mut last = stamp();
        scene.put("a/main.ts", "22");
        assert_eq!(stamp(), last, "the volume's files do not count");
        for path in ["dev/mine/main.ts", "_shared/mod.ts", "dev/_shared/mod.ts"] {
            scene.put(path, "22");
            assert_ne!(stamp(), last, "{path}");
            last = stamp();
        }
        scene.put("_shared/mod.ts", "333");
        assert_eq!(stamp(), last, "the one beside it is used now");
    }
}
