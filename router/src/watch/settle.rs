//! When a project is quiet: its changes are held back until nothing has happened for a while and
//! nobody is in the middle of writing a file.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Change;

/// A project that never is quiet is read this many quiet times after its first change.
const AT_LATEST: u32 = 10;

/// ... but not before this: a writer that is in the middle of a file is waited for so long after
/// its last write.
const WRITER_PATIENCE: Duration = Duration::from_secs(2);

/// What an event says of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Created,
    /// By somebody, for reading or writing.
    Opened,
    Written,
    /// By somebody who could write.
    Closed,
    Other,
}

/// The projects that are not quiet yet.
#[derive(Debug)]
pub(super) struct Settling {
    quiet: Duration,
    projects: BTreeMap<String, Project>,
    all: bool,
}

#[derive(Debug)]
struct Project {
    first: Instant,
    last: Instant,
    files: HashMap<PathBuf, Writing>,
}

/// A file of which it is not known whether its writer is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writing {
    /// Made, perhaps whole (a link), perhaps by somebody who goes on to write.
    Created,
    Open,
}

impl Settling {
    pub(super) fn new(quiet: Duration) -> Self {
        Self { quiet, projects: BTreeMap::new(), all: false }
    }

    /// Notes an event of `path` in the project `name`.
    pub(super) fn note(&mut self, name: &str, path: &Path, what: What, at: Instant) {
        if what == What::Opened {
            // Everybody opens files, the router's own snapshot too; it matters only of one just made.
            if let Some(writing) = self.projects.get_mut(name).and_then(|project| project.files.get_mut(path))
            {
                *writing = Writing::Open;
            }
            return;
        }
        let project = self.projects.entry(name.to_owned()).or_insert_with(|| Project {
            first: at,
            last: at,
            files: HashMap::new(),
        });
        project.last = project.last.max(at);
        match what {
            What::Created => project.files.insert(path.to_owned(), Writing::Created),
            What::Written => project.files.insert(path.to_owned(), Writing::Open),
            What::Closed | What::Other | What::Opened => project.files.remove(path),
        };
    }

    /// Notes that every project may have changed.
    pub(super) fn note_all(&mut self) {
        self.all = true;
        self.projects.clear();
    }

    /// The projects that are not quiet.
    pub(super) fn names(&self) -> Vec<String> {
        self.projects.keys().cloned().collect()
    }

    /// When to ask [`Settling::settled`] again.
    pub(super) fn due(&self) -> Option<Instant> {
        let now = self.all.then(Instant::now);
        self.projects.values().map(|project| project.due(self.quiet)).chain(now).min()
    }

    /// Takes out what is quiet at `now`.
    pub(super) fn settled(&mut self, now: Instant) -> Vec<Change> {
        if std::mem::take(&mut self.all) {
            return vec![Change::All];
        }
        let quiet = self.quiet;
        let mut changes = Vec::new();
        self.projects.retain(|name, project| {
            let settled = project.due(quiet) <= now;
            if settled {
                changes.push(Change::Project { name: name.clone(), since: project.first });
            }
            !settled
        });
        changes
    }
}

impl Project {
    fn due(&self, quiet: Duration) -> Instant {
        let writing = self.files.values().any(|writing| *writing == Writing::Open);
        if writing {
            return self.last + quiet.max(WRITER_PATIENCE);
        }
        (self.last + quiet).min(self.first + (quiet * AT_LATEST).max(WRITER_PATIENCE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_millis(100);

    struct Scene {
        start: Instant,
        settling: Settling,
    }

    impl Scene {
        fn new() -> Self {
            Self { start: Instant::now(), settling: Settling::new(QUIET) }
        }

        fn at(&self, ms: u64) -> Instant {
            self.start + Duration::from_millis(ms)
        }

        fn note(&mut self, ms: u64, what: What) {
            let at = self.at(ms);
            self.settling.note("a", Path::new("/p/a/main.ts"), what, at);
        }

        fn due(&self) -> u128 {
            self.settling.due().unwrap().duration_since(self.start).as_millis()
        }
    }

    #[test]
    fn a_save_is_told_when_the_project_is_quiet() {
        let mut scene = Scene::new();
        scene.note(0, What::Written);
        scene.note(1, What::Closed);
        assert_eq!(scene.settling.settled(scene.at(100)), []);
        let since = scene.at(0);
        assert_eq!(scene.settling.settled(scene.at(101)), [Change::Project { name: "a".into(), since }]);
        assert_eq!(scene.settling.due(), None);
    }

    #[test]
    fn twenty_saves_in_a_row_are_one_change() {
        let mut scene = Scene::new();
        for n in 0..20 {
            scene.note(n * 40, What::Written);
            scene.note(n * 40 + 1, What::Closed);
            assert_eq!(scene.settling.settled(scene.at(n * 40 + 39)), []);
        }
        assert_eq!(scene.due(), 19 * 40 + 1 + 100);
    }

    #[test]
    fn a_project_that_never_is_quiet_is_read_all_the_same() {
        let mut scene = Scene::new();
        for n in 0..100 {
            scene.note(n * 50, What::Other);
        }
        assert_eq!(scene.due(), 2000, "{WRITER_PATIENCE:?} is more than {AT_LATEST} quiet times here");
    }

    #[test]
    fn a_file_that_is_being_written_is_waited_for() {
        let mut scene = Scene::new();
        scene.note(0, What::Created);
        scene.note(0, What::Opened);
        scene.note(900, What::Written);
        assert_eq!(scene.due(), 900 + 2000);
        scene.note(1500, What::Closed);
        assert_eq!(scene.due(), 1600);
    }

    #[test]
    fn a_new_link_is_not_waited_for_and_reading_is_no_change() {
        let mut scene = Scene::new();
        scene.note(0, What::Opened);
        assert_eq!(scene.settling.due(), None);
        scene.note(5, What::Created);
        assert_eq!(scene.due(), 105);
    }
}
