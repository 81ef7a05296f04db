//! Follows the projects root, which is a name: looks often which folder it leads to. No file event tells of a mount, nor of
//! a link above the root.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::root::{Identity, Root};

/// One `stat` and one `realpath` each time.
pub(super) const LOOKS: Duration = Duration::from_millis(200);

/// A folder that has just appeared under the root's name may still be filled. Projects that are not
/// in it are taken to be gone when for so long no entry has come: a copy of another project takes
/// less, and a deletion is not urgent.
const FILLED_AFTER: Duration = Duration::from_secs(5);

/// What has become of the root.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    Missing,
    /// It is this real folder now.
    Replaced(PathBuf),
    /// Projects that are not in it are gone.
    Filled,
}

pub(super) struct Follower {
    root: Root,
    /// `None` while the root is missing.
    folder: Option<(Identity, PathBuf)>,
    is_missing: bool,
    /// The projects in it while it may still be filled, and since when there were no others.
    entries: (BTreeSet<String>, Instant),
}

impl Follower {
    /// Takes the folder that the root is now for the one that is known.
    pub(super) fn new(root: Root) -> Self {
        let mut follower =
            Self { root, folder: None, is_missing: false, entries: (BTreeSet::new(), Instant::now()) };
        follower.folder = follower.find();
        follower
    }

    /// The real folder that it was at the last look.
    pub(super) fn folder(&self) -> Option<&PathBuf> {
        self.folder.as_ref().map(|(_, folder)| folder)
    }

    /// Has the next look take the folder for another one: it was removed or renamed.
    pub(super) fn doubt(&mut self) {
        self.folder = None;
    }

    pub(super) fn look(&mut self, now: Instant) -> Option<News> {
        let found = self.find();
        let Some((identity, folder)) = found.clone() else {
            self.root.trust(None);
            self.folder = None;
            return (!std::mem::replace(&mut self.is_missing, true)).then_some(News::Missing);
        };
        self.is_missing = false;
        if found != self.folder {
            self.root.trust(None);
            self.folder = found;
            self.entries = (self.root.names(), now);
            return Some(News::Replaced(folder));
        }
        if self.root.is_trusted() {
            return None;
        }
        let names = self.root.names();
        if names != self.entries.0 {
            self.entries = (names, now);
        }
        let (names, since) = &self.entries;
        // An empty one is a volume that is not mounted, or not written yet.
        let is_filled = !names.is_empty() && now >= *since + FILLED_AFTER;
        if is_filled {
            self.root.trust(Some(identity));
        }
        is_filled.then_some(News::Filled)
    }

    fn find(&self) -> Option<(Identity, PathBuf)> {
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
        follower: Follower,
        now: Instant,
    }

    impl Scene {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir_all(dir.path().join("root/a")).unwrap();
            let root = Root::open(&dir.path().join("root")).unwrap();
            let follower = Follower::new(root.clone());
            Self { dir, root, follower, now: Instant::now() }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        fn after(&mut self, time: Duration) -> Option<News> {
            self.now += time;
            self.follower.look(self.now)
        }
    }

    fn make(path: &Path) {
        fs::create_dir_all(path).unwrap();
    }

    #[test]
    fn a_root_that_is_made_again_is_believed_when_it_has_been_filled() {
        let mut scene = Scene::new();
        assert_eq!(scene.after(LOOKS), None);
        fs::remove_dir_all(scene.path("root")).unwrap();
        assert_eq!(scene.after(LOOKS), Some(News::Missing));
        assert_eq!(scene.after(LOOKS), None, "it was said");
        make(&scene.path("root"));
        let real = scene.path("root").canonicalize().unwrap();
        assert_eq!(scene.after(LOOKS), Some(News::Replaced(real)));
        assert_eq!(scene.after(10 * FILLED_AFTER), None, "an empty one is waited for");
        make(&scene.path("root/b"));
        assert_eq!(scene.after(LOOKS), None);
        make(&scene.path("root/c"));
        assert_eq!(scene.after(FILLED_AFTER), None, "something has come");
        assert!(!scene.root.lacks("a"));
        assert_eq!(scene.after(FILLED_AFTER), Some(News::Filled));
        assert!(scene.root.lacks("a"));
        assert_eq!(scene.after(FILLED_AFTER), None);
    }

    #[test]
    fn a_link_above_the_root_that_is_swapped_is_seen() {
        let scene = Scene::new();
        make(&scene.path("one/projects/a"));
        make(&scene.path("two/projects/a"));
        std::os::unix::fs::symlink("one", scene.path("..data")).unwrap();
        let root = Root::open(&scene.path("..data/projects")).unwrap();
        let mut follower = Follower::new(root);
        std::os::unix::fs::symlink("two", scene.path("..new")).unwrap();
        fs::rename(scene.path("..new"), scene.path("..data")).unwrap();
        let real = scene.path("two/projects").canonicalize().unwrap();
        assert_eq!(follower.look(scene.now), Some(News::Replaced(real)));
    }
}
