//! When a project is quiet: its changes are held back until nothing has happened for a while and
//! nobody is in the middle of writing a file.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use switchyard_contract::event::Trigger;

/// A project that never is quiet is read this many quiet times after its first change.
const AT_LATEST: u32 = 10;

/// ... but not before this: a writer that is in the middle of a file is waited for so long after
/// its last write.
const WRITER_PATIENCE: Duration = Duration::from_secs(2);

/// Files of a project of which it is kept whether their writer is done: those beyond are taken to be whole. Nobody waits for
/// the writers of so many.
const MAX_FILES: usize = 10_000;

/// A writer is waited for at most so long after the first change: writing that goes on is no reason never to read.
const WRITER_AT_LATEST: Duration = Duration::from_secs(60);

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
}

#[derive(Debug)]
struct Project {
    first: Instant,
    /// The first sign since it was put back.
    began: Option<Instant>,
    last: Instant,
    files: HashMap<PathBuf, Writing>,
    /// The last sign of an installation of packages.
    packages: Option<Packages>,
    /// It is not looked at sooner or later than this.
    due: Option<Instant>,
    trigger: Trigger,
}

/// A file of which it is not known whether its writer is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writing {
    /// Made, perhaps whole (a link), perhaps by somebody who goes on to write.
    Created,
    Open,
}

/// Packages that are being installed, perhaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Packages {
    /// The last sign of it.
    pub(super) at: Instant,
    /// What they were when they were looked at last.
    pub(super) stamp: Option<u64>,
}

/// A project that is quiet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settled {
    pub(super) name: String,
    /// The first sign of a change.
    pub(super) since: Instant,
    pub(super) packages: Option<Packages>,
    pub(super) trigger: Trigger,
}

impl Packages {
    /// The last sign of both, and the last look, which was at `looked` if there was one.
    fn join(looked: Option<Self>, other: Option<Self>) -> Option<Self> {
        let (Some(looked), Some(other)) = (looked, other) else { return looked.or(other) };
        Some(Self { at: looked.at.max(other.at), stamp: looked.stamp.or(other.stamp) })
    }
}

impl Settled {
    /// What an earlier one of the same project, which nothing was done for, adds to this one.
    pub(super) fn add(&mut self, before: Self) {
        self.since = self.since.min(before.since);
        self.packages = Packages::join(before.packages, self.packages);
    }
}

impl Settling {
    pub(super) fn new(quiet: Duration) -> Self {
        Self { quiet, projects: BTreeMap::new() }
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
        let project = self.project(name, at);
        let writing = match what {
            What::Created => Writing::Created,
            What::Written => Writing::Open,
            What::Closed | What::Other | What::Opened => {
                project.files.remove(path);
                return;
            }
        };
        if project.files.len() < MAX_FILES {
            project.files.insert(path.to_owned(), writing);
        }
    }

    /// Notes that packages of the project `name` are being installed or removed.
    pub(super) fn note_packages(&mut self, name: &str, at: Instant) {
        let packages = &mut self.project(name, at).packages;
        let stamp = packages.and_then(|packages| packages.stamp);
        *packages = Some(Packages { at, stamp });
    }

    /// Notes a change in the project `name` that was found by comparison, some time after it was made.
    pub(super) fn found(&mut self, name: &str, at: Instant) {
        let project = self.project(name, at);
        project.due = Some(at);
        project.trigger = Trigger::Poll;
    }

    /// Notes that the project `name` may have changed some time ago, unless it is to be looked at anyway.
    pub(super) fn note_late(&mut self, name: &str, at: Instant) {
        if !self.projects.contains_key(name) {
            self.project(name, at);
        }
    }

    /// Puts a project back that is to be looked at again at `due`, unless something happens until then, or has since.
    pub(super) fn put_back(&mut self, settled: Settled, due: Instant) {
        let Settled { name, since, packages, trigger } = settled;
        if let Some(project) = self.projects.get_mut(&name) {
            project.first = since;
            project.packages = Packages::join(packages, project.packages);
            return;
        }
        let files = HashMap::new();
        let (first, last, due) = (since, since, Some(due));
        self.projects.insert(name, Project { first, began: None, last, files, packages, due, trigger });
    }

    fn project(&mut self, name: &str, at: Instant) -> &mut Project {
        let project = self.projects.entry(name.to_owned()).or_insert_with(|| Project {
            first: at,
            began: None,
            last: at,
            files: HashMap::new(),
            packages: None,
            due: None,
            trigger: Trigger::Watch,
        });
        project.began.get_or_insert(at);
        project.last = project.last.max(at);
        project.due = None;
        project
    }

    /// When to ask [`Settling::settled`] again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.projects.values().map(|project| project.due(self.quiet)).min()
    }

    /// Takes out what is quiet at `now`.
    pub(super) fn settled(&mut self, now: Instant) -> Vec<Settled> {
        let quiet = self.quiet;
        let is_quiet = |_: &String, project: &mut Project| project.due(quiet) <= now;
        let settled = self.projects.extract_if(.., is_quiet).map(|(name, project)| Settled {
            name,
            since: project.first,
            packages: project.packages,
            trigger: project.trigger,
        });
        settled.collect()
    }
}

impl Project {
    fn due(&self, quiet: Duration) -> Instant {
        if let Some(due) = self.due {
            return due;
        }
        let writing = self.files.values().any(|writing| *writing == Writing::Open);
        let began = self.began.unwrap_or(self.first);
        if writing {
            return (self.last + quiet.max(WRITER_PATIENCE))
                .min(began + WRITER_AT_LATEST.max(quiet * AT_LATEST));
        }
        (self.last + quiet).min(began + (quiet * AT_LATEST).max(WRITER_PATIENCE))
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
        let settled = Settled { name: "a".into(), since, packages: None, trigger: Trigger::Watch };
        assert_eq!(scene.settling.settled(scene.at(101)), [settled]);
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
    fn a_writer_that_never_ends_is_not_waited_for_for_ever_and_files_without_end_are_not_kept() {
        let mut scene = Scene::new();
        for n in 0..200 {
            scene.note(n * 500, What::Written);
        }
        assert_eq!(scene.due(), 60_000);
        for n in 0..2 * MAX_FILES {
            let (at, path) = (scene.at(1), PathBuf::from(format!("/p/a/{n}")));
            scene.settling.note("a", &path, What::Written, at);
        }
        assert_eq!(scene.settling.projects["a"].files.len(), MAX_FILES);
    }

    #[test]
    fn a_new_link_is_not_waited_for_and_reading_is_no_change() {
        let mut scene = Scene::new();
        scene.note(0, What::Opened);
        assert_eq!(scene.settling.due(), None);
        scene.note(5, What::Created);
        assert_eq!(scene.due(), 105);
    }

    #[test]
    fn a_project_whose_packages_are_being_installed_is_looked_at_again_when_it_was_put_back() {
        let mut scene = Scene::new();
        scene.settling.note_packages("a", scene.at(0));
        let settled = scene.settling.settled(scene.at(100)).remove(0);
        assert_eq!(settled.packages, Some(Packages { at: scene.at(0), stamp: None }));
        scene.settling.put_back(settled, scene.at(600));
        assert_eq!(scene.due(), 600);
        scene.note(300, What::Closed);
        assert_eq!(scene.due(), 400, "something happened");
        for n in 0..100 {
            scene.note(400 + n * 50, What::Closed);
        }
        assert_eq!(scene.due(), 300 + 2000, "and it is waited for again");
        let settled = scene.settling.settled(scene.at(2300)).remove(0);
        assert_eq!(settled.since, scene.at(0), "of the first sign");
    }

    #[test]
    fn what_was_found_by_comparison_is_not_waited_for() {
        let mut scene = Scene::new();
        scene.note(0, What::Written);
        scene.settling.found("a", scene.at(50));
        assert_eq!(scene.due(), 50);
        assert_eq!(scene.settling.settled(scene.at(50))[0].trigger, Trigger::Poll);
    }
}
