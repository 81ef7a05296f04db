//! Debouncing of whole projects: changes of a project are held back until no event has come for a
//! while and no writer is in the middle of a file.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use switchyard_contract::event::Trigger;

/// Number of quiet times after the first change at which a project is read even if it never is
/// quiet...
const MAX_QUIET_TIMES: u32 = 10;

/// ... but not before this time. Also the time after its last write for which a writer that is in
/// the middle of a file is waited for.
const WRITER_TIMEOUT: Duration = Duration::from_secs(2);

/// Maximum number of files of a project with tracked writers. Further files count as complete.
const MAX_FILES: usize = 10_000;

/// Time after the first change for which writers are waited for at most, so that a project that is
/// written without end is read at all.
const MAX_WRITER_WAIT: Duration = Duration::from_secs(60);

/// The activity that an event reports of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileActivity {
    Created,
    /// Opened for reading or writing.
    Opened,
    Written,
    /// Closed after it was open for writing.
    Closed,
    Other,
}

/// The projects that are not quiet yet.
#[derive(Debug)]
pub(super) struct ProjectDebouncer {
    /// Time without events after which a project is quiet.
    quiet: Duration,
    projects: BTreeMap<String, PendingProject>,
}

#[derive(Debug)]
struct PendingProject {
    /// Time of the first event.
    first: Instant,
    /// Time of the first event since the project was put back.
    began: Option<Instant>,
    /// Time of the last event.
    last: Instant,
    files: HashMap<PathBuf, WriterState>,
    /// The last activity of an installer of packages.
    packages: Option<PackageActivity>,
    /// Fixed time at which the project is taken out, in place of the computed one.
    due: Option<Instant>,
    trigger: Trigger,
}

/// The state of a file that a writer may still have open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WriterState {
    /// Created: complete already (a link), or about to be written.
    Created,
    /// Open in a writer.
    Open,
}

/// The activity of an installer that may be in the middle of an installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PackageActivity {
    /// Time of the last activity.
    pub(super) at: Instant,
    /// The stamp of the packages at the last check.
    pub(super) stamp: Option<u64>,
}

/// A project that is quiet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct QuietProject {
    pub(super) name: String,
    /// Time of the first sign of a change.
    pub(super) since: Instant,
    pub(super) packages: Option<PackageActivity>,
    pub(super) trigger: Trigger,
}

impl PackageActivity {
    /// Joins the activity of the last check with one that was noted since.
    fn join(checked: Option<Self>, noted: Option<Self>) -> Option<Self> {
        let (Some(checked), Some(noted)) = (checked, noted) else { return checked.or(noted) };
        Some(Self { at: checked.at.max(noted.at), stamp: checked.stamp.or(noted.stamp) })
    }
}

impl QuietProject {
    /// Merges an earlier quiet period of the same project, which has not been handled.
    pub(super) fn merge(&mut self, earlier: Self) {
        self.since = self.since.min(earlier.since);
        self.packages = PackageActivity::join(earlier.packages, self.packages);
    }
}

impl ProjectDebouncer {
    /// `quiet`: the time without events after which a project is quiet.
    pub(super) fn new(quiet: Duration) -> Self {
        Self { quiet, projects: BTreeMap::new() }
    }

    /// Notes an event of `path` in the project `name`.
    pub(super) fn note(&mut self, name: &str, path: &Path, activity: FileActivity, at: Instant) {
        if activity == FileActivity::Opened {
            // Any process opens files, the router's own snapshot too. Only files that were just
            // created matter.
            if let Some(state) = self.projects.get_mut(name).and_then(|project| project.files.get_mut(path)) {
                *state = WriterState::Open;
            }
            return;
        }
        let project = self.project(name, at);
        let state = match activity {
            FileActivity::Created => WriterState::Created,
            FileActivity::Written => WriterState::Open,
            FileActivity::Closed | FileActivity::Other | FileActivity::Opened => {
                project.files.remove(path);
                return;
            }
        };
        if project.files.len() < MAX_FILES {
            project.files.insert(path.to_owned(), state);
        }
    }

    /// Notes that packages of the project `name` are being installed or removed.
    pub(super) fn note_packages(&mut self, name: &str, at: Instant) {
        let packages = &mut self.project(name, at).packages;
        let stamp = packages.and_then(|packages| packages.stamp);
        *packages = Some(PackageActivity { at, stamp });
    }

    /// Notes a change of the project `name` that a comparison has found, some time after it was
    /// made.
    pub(super) fn note_difference(&mut self, name: &str, at: Instant) {
        let project = self.project(name, at);
        project.due = Some(at);
        project.trigger = Trigger::Poll;
    }

    /// Notes that the project `name` may have changed some time ago, unless it is pending anyway.
    pub(super) fn note_late(&mut self, name: &str, at: Instant) {
        if !self.projects.contains_key(name) {
            self.project(name, at);
        }
    }

    /// Puts a project back, to be taken out again at `due`, or later if there are events until
    /// then.
    pub(super) fn put_back(&mut self, quiet_project: QuietProject, due: Instant) {
        let QuietProject { name, since, packages, trigger } = quiet_project;
        if let Some(project) = self.projects.get_mut(&name) {
            project.first = since;
            project.packages = PackageActivity::join(packages, project.packages);
            return;
        }
        let files = HashMap::new();
        let (first, last, due) = (since, since, Some(due));
        self.projects
            .insert(name, PendingProject { first, began: None, last, files, packages, due, trigger });
    }

    fn project(&mut self, name: &str, at: Instant) -> &mut PendingProject {
        let project = self.projects.entry(name.to_owned()).or_insert_with(|| PendingProject {
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

    /// Time at which the next project will be quiet if no event comes.
    pub(super) fn due(&self) -> Option<Instant> {
        self.projects.values().map(|project| project.due(self.quiet)).min()
    }

    /// Removes and returns the projects that are quiet at `now`.
    pub(super) fn take_quiet(&mut self, now: Instant) -> Vec<QuietProject> {
        let quiet = self.quiet;
        let is_quiet = |_: &String, project: &mut PendingProject| project.due(quiet) <= now;
        let quiet_projects = self.projects.extract_if(.., is_quiet).map(|(name, project)| QuietProject {
            name,
            since: project.first,
            packages: project.packages,
            trigger: project.trigger,
        });
        quiet_projects.collect()
    }
}

impl PendingProject {
    fn due(&self, quiet: Duration) -> Instant {
        if let Some(due) = self.due {
            return due;
        }
        let has_writer = self.files.values().any(|state| *state == WriterState::Open);
        let began = self.began.unwrap_or(self.first);
        if has_writer {
            return (self.last + quiet.max(WRITER_TIMEOUT))
                .min(began + MAX_WRITER_WAIT.max(quiet * MAX_QUIET_TIMES));
        }
        (self.last + quiet).min(began + (quiet * MAX_QUIET_TIMES).max(WRITER_TIMEOUT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_millis(100);

    struct Scene {
        start: Instant,
        debouncer: ProjectDebouncer,
    }

    impl Scene {
        fn new() -> Self {
            Self { start: Instant::now(), debouncer: ProjectDebouncer::new(QUIET) }
        }

        fn at(&self, ms: u64) -> Instant {
            self.start + Duration::from_millis(ms)
        }

        fn note(&mut self, ms: u64, activity: FileActivity) {
            let at = self.at(ms);
            self.debouncer.note("a", Path::new("/p/a/main.ts"), activity, at);
        }

        fn due(&self) -> u128 {
            self.debouncer.due().unwrap().duration_since(self.start).as_millis()
        }
    }

    #[test]
    fn a_save_is_reported_when_the_project_is_quiet() {
        let mut scene = Scene::new();
        scene.note(0, FileActivity::Written);
        scene.note(1, FileActivity::Closed);
        assert_eq!(scene.debouncer.take_quiet(scene.at(100)), []);
        let since = scene.at(0);
        let expected = QuietProject { name: "a".into(), since, packages: None, trigger: Trigger::Watch };
        assert_eq!(scene.debouncer.take_quiet(scene.at(101)), [expected]);
        assert_eq!(scene.debouncer.due(), None);
    }

    #[test]
    fn twenty_saves_in_a_row_are_one_change() {
        let mut scene = Scene::new();
        for n in 0..20 {
            scene.note(n * 40, FileActivity::Written);
            scene.note(n * 40 + 1, FileActivity::Closed);
            assert_eq!(scene.debouncer.take_quiet(scene.at(n * 40 + 39)), []);
        }
        assert_eq!(scene.due(), 19 * 40 + 1 + 100);
    }

    #[test]
    fn a_project_that_never_is_quiet_is_read_all_the_same() {
        let mut scene = Scene::new();
        for n in 0..100 {
            scene.note(n * 50, FileActivity::Other);
        }
        assert_eq!(scene.due(), 2000, "{WRITER_TIMEOUT:?} is more than {MAX_QUIET_TIMES} quiet times here");
    }

    #[test]
    fn a_file_that_is_being_written_is_waited_for() {
        let mut scene = Scene::new();
        scene.note(0, FileActivity::Created);
        scene.note(0, FileActivity::Opened);
        scene.note(900, FileActivity::Written);
        assert_eq!(scene.due(), 900 + 2000);
        scene.note(1500, FileActivity::Closed);
        assert_eq!(scene.due(), 1600);
    }

    #[test]
    fn an_endless_writer_is_waited_for_only_so_long_and_tracked_files_are_bounded() {
        let mut scene = Scene::new();
        for n in 0..200 {
            scene.note(n * 500, FileActivity::Written);
        }
        assert_eq!(scene.due(), 60_000);
        for n in 0..2 * MAX_FILES {
            let (at, path) = (scene.at(1), PathBuf::from(format!("/p/a/{n}")));
            scene.debouncer.note("a", &path, FileActivity::Written, at);
        }
        assert_eq!(scene.debouncer.projects["a"].files.len(), MAX_FILES);
    }

    #[test]
    fn a_new_link_is_not_waited_for_and_reading_is_no_change() {
        let mut scene = Scene::new();
        scene.note(0, FileActivity::Opened);
        assert_eq!(scene.debouncer.due(), None);
        scene.note(5, FileActivity::Created);
        assert_eq!(scene.due(), 105);
    }

    #[test]
    fn a_project_with_an_installation_under_way_is_checked_again_after_it_was_put_back() {
        let mut scene = Scene::new();
        scene.debouncer.note_packages("a", scene.at(0));
        let quiet_project = scene.debouncer.take_quiet(scene.at(100)).remove(0);
        assert_eq!(quiet_project.packages, Some(PackageActivity { at: scene.at(0), stamp: None }));
        scene.debouncer.put_back(quiet_project, scene.at(600));
        assert_eq!(scene.due(), 600);
        scene.note(300, FileActivity::Closed);
        assert_eq!(scene.due(), 400, "something happened");
        for n in 0..100 {
            scene.note(400 + n * 50, FileActivity::Closed);
        }
        assert_eq!(scene.due(), 300 + 2000, "and it is waited for again");
        let quiet_project = scene.debouncer.take_quiet(scene.at(2300)).remove(0);
        assert_eq!(quiet_project.since, scene.at(0), "the first sign counts");
    }

    #[test]
    fn a_change_that_was_found_by_comparison_is_not_waited_for() {
        let mut scene = Scene::new();
        scene.note(0, FileActivity::Written);
        scene.debouncer.note_difference("a", scene.at(50));
        assert_eq!(scene.due(), 50);
        assert_eq!(scene.debouncer.take_quiet(scene.at(50))[0].trigger, Trigger::Poll);
    }
}
