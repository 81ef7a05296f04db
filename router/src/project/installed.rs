//! The installed packages of a project on the volume: a stamp that changes with them, and the progress of an installation.
//! Reads names and times only, two levels deep.

use std::fs::{self, Metadata};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The folder that package managers make.
pub(crate) const NODE_MODULES: &str = "node_modules";

/// Folders in `node_modules` with packages in them, besides scopes. Other hidden names are caches of tools, and folders
/// that npm moves aside.
const STORES: [&str; 7] = [".pnpm", ".deno", ".bun", ".store", ".prisma", ".nitro", ".nf3"];

/// Files that package managers write when an installation is complete.
const MARKERS: [&str; 6] = [
    ".package-lock.json",
    ".modules.yaml",
    ".pnpm-workspace-state.json",
    ".pnpm-workspace-state-v1.json",
    ".yarn-state.yml",
    ".yarn-integrity",
];

/// Lock files of the package managers that write one of [`MARKERS`].
const MARKING_LOCKS: [&str; 4] = ["package-lock.json", "npm-shrinkwrap.json", "pnpm-lock.yaml", "yarn.lock"];

/// Entries that are read in one `node_modules`: about 20 ms. Large applications have two thousand packages.
pub(crate) const MAX_PACKAGES: usize = 10_000;

/// Entries that are read in all `node_modules` of a project, including the folders: 0.1 to 0.2 s. A workspace of a hundred
/// members has a tenth of that.
const MAX_ALL: usize = 50_000;

/// The progress of an installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum InstallProgress {
    /// The marker is newer than the packages, or there are no packages.
    #[default]
    Complete,
    /// No marker is expected, so the end is unknown.
    Unmarked,
    /// The marker that the package manager writes at the end is missing, or older than packages.
    Awaited,
}

/// The packages of one project. Two values are equal if nothing was installed in between.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct InstalledPackages {
    stamp: u64,
    pub(crate) progress: InstallProgress,
}

impl PartialEq for InstalledPackages {
    fn eq(&self, other: &Self) -> bool {
        self.stamp == other.stamp
    }
}

impl Eq for InstalledPackages {}

impl InstalledPackages {
    /// Reads these `node_modules` folders. For a missing folder the lock file beside it counts.
    pub(crate) fn of(folders: impl IntoIterator<Item = PathBuf>) -> Self {
        let mut left = MAX_ALL;
        let looks = folders.into_iter().map(|folder| {
            let look = FolderStamp::of(&folder, &mut left);
            (folder, look)
        });
        let looks: Vec<_> = looks.collect();
        let marked: Vec<_> = looks.iter().filter(|(_, look)| look.marker.is_some()).collect();
        looks.iter().fold(Self::default(), |all, (folder, look)| {
            // The installer of a workspace writes its marker in the outermost folder only.
            let is_member = || marked.iter().any(|(around, marks)| look.is_within(folder, around, marks));
            let progress = match look.progress(folder) {
                InstallProgress::Unmarked if is_member() => InstallProgress::Complete,
                progress => progress,
            };
            Self { stamp: all.stamp.wrapping_add(look.stamp), progress: all.progress.max(progress) }
        })
    }

    pub(crate) fn stamp(self) -> u64 {
        self.stamp
    }
}

/// Returns true if an event of `name`, directly in a `node_modules`, is about packages.
pub(crate) fn is_of_packages(name: &str) -> bool {
    !name.starts_with('.') || is_store(name) || MARKERS.contains(&name)
}

/// Returns true if `name`, directly in a `node_modules`, is a folder of packages: a scope or a store.
pub(crate) fn has_packages(name: &str) -> bool {
    name.starts_with('@') || is_store(name)
}

/// Returns true if `name`, directly in a `node_modules`, is the package store of a tool.
pub(crate) fn is_store(name: &str) -> bool {
    STORES.contains(&name)
}

#[derive(Debug, Default)]
struct FolderStamp {
    stamp: u64,
    entries: usize,
    /// The change times of the newest package and of the newest marker: seconds and nanoseconds.
    packages: Option<(i64, i64)>,
    marker: Option<(i64, i64)>,
}

impl FolderStamp {
    fn of(folder: &Path, left: &mut usize) -> Self {
        let mut look = Self::default();
        // The folder itself does not count: tools keep caches in it, and there may be nothing else.
        look.folder(folder, left);
        look
    }

    fn folder(&mut self, folder: &Path, left: &mut usize) {
        for (name, path) in entries(folder, left) {
            if MARKERS.contains(&name.as_str()) {
                self.mark(&path);
            } else if has_packages(&name) {
                let inside = entries(&path, left).into_iter().filter(|(name, _)| !name.starts_with('.'));
                inside.for_each(|(_, path)| self.package(&path));
                if let Ok(metadata) = path.symlink_metadata() {
                    self.add(&path, metadata.ino());
                }
            } else if is_of_packages(&name) {
                self.package(&path);
            }
        }
    }

    fn package(&mut self, path: &Path) {
        self.entries += 1;
        if self.entries > MAX_PACKAGES {
            return;
        }
        if let Ok(metadata) = path.symlink_metadata() {
            self.add(path, (metadata.ino(), metadata.mtime(), metadata.mtime_nsec()));
            self.packages = self.packages.max(Some(changed(&metadata)));
        }
    }

    fn mark(&mut self, path: &Path) {
        if let Ok(metadata) = path.symlink_metadata() {
            self.add(path, (metadata.ino(), metadata.mtime(), metadata.mtime_nsec()));
            self.marker = self.marker.max(Some(changed(&metadata)));
        }
    }

    fn add(&mut self, path: &Path, what: impl std::hash::Hash) {
        let mut hasher = DefaultHasher::new();
        path.hash(&mut hasher);
        what.hash(&mut hasher);
        // The order of folders is not fixed.
        self.stamp = self.stamp.wrapping_add(hasher.finish());
    }

    /// Returns true if the packages in `folder` are not newer than the marker of the folder `around` it.
    fn is_within(&self, folder: &Path, around: &Path, marks: &Self) -> bool {
        let is_inside = around.parent().is_some_and(|workspace| folder.starts_with(workspace));
        is_inside && marks.marker >= self.packages
    }

    fn progress(&self, folder: &Path) -> InstallProgress {
        let is_marked = self.marker.is_some();
        if is_marked && self.marker >= self.packages {
            return InstallProgress::Complete;
        }
        let has_lock = || MARKING_LOCKS.iter().any(|lock| folder.with_file_name(lock).is_file());
        match is_marked || has_lock() {
            true => InstallProgress::Awaited,
            false if self.stamp == 0 => InstallProgress::Complete,
            false => InstallProgress::Unmarked,
        }
    }
}

fn changed(metadata: &Metadata) -> (i64, i64) {
    (metadata.ctime(), metadata.ctime_nsec())
}

/// Returns the entries of a folder, at most as many as are `left` for the project.
fn entries(folder: &Path, left: &mut usize) -> Vec<(String, PathBuf)> {
    *left = left.saturating_sub(1);
    if *left == 0 {
        return Vec::new();
    }
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().take(MAX_PACKAGES.min(*left));
    let entries = entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()));
    let entries: Vec<_> = entries.collect();
    *left -= entries.len();
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scene(tempfile::TempDir);

    impl Scene {
        fn put(&self, path: &str) {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            // Two changes in one clock tick could not be distinguished.
            std::thread::sleep(std::time::Duration::from_millis(20));
            fs::write(path, "").unwrap();
        }

        fn look(&self) -> InstalledPackages {
            InstalledPackages::of([self.0.path().join(NODE_MODULES)])
        }
    }

    #[test]
    fn an_installation_of_npm_is_complete_when_its_marker_is_the_newest() {
        let scene = Scene(tempfile::tempdir().unwrap());
        assert_eq!(scene.look().progress, InstallProgress::Complete, "nothing wants packages");
        scene.put("package-lock.json");
        assert_eq!(scene.look().progress, InstallProgress::Awaited, "not begun");
        scene.put("node_modules/left/index.js");
        assert_eq!(scene.look().progress, InstallProgress::Awaited);
        scene.put("node_modules/.package-lock.json");
        assert_eq!(scene.look().progress, InstallProgress::Complete);
        scene.put("node_modules/@scope/right/index.js");
        assert_eq!(scene.look().progress, InstallProgress::Awaited, "another one has begun");
    }

    #[test]
    fn what_a_workspace_has_installed_in_its_members_is_complete_when_the_workspace_is() {
        let scene = Scene(tempfile::tempdir().unwrap());
        let look = || {
            InstalledPackages::of(["", "packages/a"].map(|path| scene.0.path().join(path).join(NODE_MODULES)))
        };
        scene.put("package-lock.json");
        scene.put("packages/a/node_modules/left/index.js");
        assert_eq!(look().progress, InstallProgress::Awaited);
        scene.put("node_modules/.package-lock.json");
        assert_eq!(look().progress, InstallProgress::Complete);
        scene.put("packages/a/node_modules/right/index.js");
        assert_eq!(look().progress, InstallProgress::Unmarked, "by another program, as a build does");
    }

    #[test]
    fn the_stamp_covers_packages_and_not_the_caches_beside_them() {
        let scene = Scene(tempfile::tempdir().unwrap());
        scene.put("node_modules/left/index.js");
        let first = scene.look();
        assert_eq!(first.progress, InstallProgress::Unmarked, "of no known manager");
        scene.put("node_modules/.cache/babel/x.json");
        scene.put("node_modules/.vite/deps/x.js");
        assert_eq!(scene.look(), first);
        let mut known = vec![first];
        for path in ["left/more.js", "@scope/right/index.js", ".pnpm/left@1/x", ".package-lock.json"] {
            scene.put(&format!("node_modules/{path}"));
            assert!(!known.contains(&scene.look()), "{path}");
            known.push(scene.look());
        }
    }

    #[test]
    fn of_folders_without_end_not_all_are_looked_at() {
        let scene = Scene(tempfile::tempdir().unwrap());
        scene.put("node_modules/left/index.js");
        let folder = scene.0.path().join(NODE_MODULES);
        let mut left = 2;
        assert_ne!(FolderStamp::of(&folder, &mut left).stamp, 0);
        assert_eq!((left, FolderStamp::of(&folder, &mut left).stamp), (0, 0));
    }
}
