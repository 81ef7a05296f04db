//! The follower of the projects root, which is a name: checks periodically which folder the name
//! leads to. File events report neither a mount nor a change of a link above the root.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::root::{FolderIdentity, Root};

/// Interval between two checks. Each is one `stat` and one `realpath`.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_millis(200);

/// Time without new entries after which a folder that has appeared under the root's name is
/// complete, so that projects missing from it are gone. Copying one more project takes less time,
/// and a deletion is not urgent.
const COMPLETE_AFTER: Duration = Duration::from_secs(5);

/// A change of the projects root.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RootChange {
    /// The name leads to no folder any more.
    Missing,
    /// The name leads to another folder, which really is at this path. It may still be filled.
    Replaced(PathBuf),
    /// The folder is complete: projects that are not in it are gone.
    Complete,
}

/// The last known state of the projects root.
pub(super) struct RootFollower {
    root: Root,
    /// `None` while the root is missing.
    folder: Option<(FolderIdentity, PathBuf)>,
    is_missing: bool,
    /// The projects in the folder while it may still be filled, and the time of the last new one.
    entries: (BTreeSet<String>, Instant),
}

impl RootFollower {
    /// Creates a follower. The folder that the root leads to now counts as known.
    pub(super) fn new(root: Root) -> Self {
        let mut follower =
            Self { root, folder: None, is_missing: false, entries: (BTreeSet::new(), Instant::now()) };
        follower.folder = follower.find();
        follower
    }

    /// The real folder at the last check; `None` while the root is missing.
    pub(super) fn folder(&self) -> Option<&PathBuf> {
        self.folder.as_ref().map(|(_, folder)| folder)
    }

    /// Makes the next check report the folder as another one: it was removed or renamed.
    pub(super) fn invalidate(&mut self) {
        self.folder = None;
    }

    /// Checks which folder the root leads to. Returns its change since the last check.
    pub(super) fn check(&mut self, now: Instant) -> Option<RootChange> {
        let found = self.find();
        let Some((identity, folder)) = found.clone() else {
            self.root.trust(None);
            self.folder = None;
            return (!std::mem::replace(&mut self.is_missing, true)).then_some(RootChange::Missing);
        };
        self.is_missing = false;
        if found != self.folder {
            self.root.trust(None);
            self.folder = found;
            self.entries = (self.root.names(), now);
            return Some(RootChange::Replaced(folder));
        }
        if self.root.is_trusted() {
            return None;
        }
        let names = self.root.names();
        if names != self.entries.0 {
            self.entries = (names, now);
        }
        let (names, since) = &self.entries;
        // An empty folder is a volume that is not mounted, or not written yet.
        let is_complete = !names.is_empty() && now >= *since + COMPLETE_AFTER;
        if is_complete {
            self.root.trust(Some(identity));
        }
        is_complete.then_some(RootChange::Complete)
    }

    fn find(&self) -> Option<(FolderIdentity, PathBuf)> {
        let folder = self.root.path().canonicalize().ok()?;
        Some((self.root.identity().ok()?, folder))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    struct Scene {
        dir: tempfile::TempDir,
        root: Root,
        follower: RootFollower,
        now: Instant,
    }

    impl Scene {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir_all(dir.path().join("root/a")).unwrap();
            let root = Root::open(&dir.path().join("root")).unwrap();
            let follower = RootFollower::new(root.clone());
            Self { dir, root, follower, now: Instant::now() }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        fn after(&mut self, time: Duration) -> Option<RootChange> {
            self.now += time;
            self.follower.check(self.now)
        }
    }

    fn make(path: &Path) {
        fs::create_dir_all(path).unwrap();
    }

    #[test]
    fn a_root_that_is_made_again_is_believed_when_it_has_been_filled() {
        let mut scene = Scene::new();
        assert_eq!(scene.after(CHECK_INTERVAL), None);
        fs::remove_dir_all(scene.path("root")).unwrap();
        assert_eq!(scene.after(CHECK_INTERVAL), Some(RootChange::Missing));
        assert_eq!(scene.after(CHECK_INTERVAL), None, "it is reported once");
        make(&scene.path("root"));
        let real = scene.path("root").canonicalize().unwrap();
        assert_eq!(scene.after(CHECK_INTERVAL), Some(RootChange::Replaced(real)));
        assert_eq!(scene.after(10 * COMPLETE_AFTER), None, "an empty one is waited for");
        make(&scene.path("root/b"));
        assert_eq!(scene.after(CHECK_INTERVAL), None);
        make(&scene.path("root/c"));
        assert_eq!(scene.after(COMPLETE_AFTER), None, "something has come");
        assert!(!scene.root.is_gone("a"));
        assert_eq!(scene.after(COMPLETE_AFTER), Some(RootChange::Complete));
        assert!(scene.root.is_gone("a"));
        assert_eq!(scene.after(COMPLETE_AFTER), None);
    }

    #[test]
    fn a_link_above_the_root_that_is_swapped_is_seen() {
        let scene = Scene::new();
        make(&scene.path("one/projects/a"));
        make(&scene.path("two/projects/a"));
        std::os::unix::fs::symlink("one", scene.path("..data")).unwrap();
        let root = Root::open(&scene.path("..data/projects")).unwrap();
        let mut follower = RootFollower::new(root);
        std::os::unix::fs::symlink("two", scene.path("..new")).unwrap();
        fs::rename(scene.path("..new"), scene.path("..data")).unwrap();
        let real = scene.path("two/projects").canonicalize().unwrap();
        assert_eq!(follower.check(scene.now), Some(RootChange::Replaced(real)));
    }
}
