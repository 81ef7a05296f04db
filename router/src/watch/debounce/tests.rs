//! Tests of the debouncer.

use super::*;

const QUIET: Duration = Duration::from_millis(100);

struct Scene {
    start: Instant,
    debouncer: ProjectDebouncer,
}

impl Scene {
    fn new() -> Self {
        Self { start: Instant::now(), debouncer: ProjectDebouncer::new(QUIET, false) }
    }

    fn settling_early() -> Self {
        Self { start: Instant::now(), debouncer: ProjectDebouncer::new(QUIET, true) }
    }

    /// Lists the files at this time. Returns `true` if the project is quiet then.
    fn list(&mut self, ms: u64, listing: Listing) -> bool {
        let at = self.at(ms);
        assert_eq!(self.debouncer.next_listing(at).as_deref(), Some("a"));
        self.debouncer.note_listing("a", listing, at).is_some()
    }

    fn is_listed(&mut self, ms: u64) -> bool {
        let at = self.at(ms);
        self.debouncer.next_listing(at).is_some()
    }

    fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    fn note(&mut self, ms: u64, activity: FileActivity) {
        let at = self.at(ms);
        self.debouncer.note("a", Path::new("/p/a/main.ts"), activity, at);
    }

    fn due(&mut self) -> u128 {
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

#[test]
fn a_complete_save_is_not_waited_for_where_projects_settle_early() {
    let files = Listing::Files(ProjectStamp::default());
    let mut scene = Scene::settling_early();
    scene.note(0, FileActivity::Written);
    assert!(!scene.is_listed(50), "the file is open");
    assert_eq!(scene.due(), 2000);
    scene.note(1, FileActivity::Closed);
    assert_eq!(scene.due(), 1);
    assert!(!scene.list(1, files));
    assert!(!scene.is_listed(20));
    assert_eq!(scene.due(), 21);
    assert!(scene.list(21, files));
    assert_eq!(scene.debouncer.due(), None);

    let mut scene = Scene::new();
    scene.note(1, FileActivity::Closed);
    assert!(!scene.is_listed(100), "only if it is asked for");
}

#[test]
fn changes_that_may_be_incomplete_are_waited_for_as_long_as_without_early_settling() {
    let mut scene = Scene::settling_early();
    scene.note(0, FileActivity::Closed);
    assert!(!scene.list(0, Listing::None), "it is too large to be listed");
    assert!(!scene.is_listed(99));
    assert_eq!(scene.due(), 100);

    for activity in [FileActivity::Created, FileActivity::Folder, FileActivity::Gone] {
        let mut scene = Scene::settling_early();
        scene.note(0, activity);
        assert_eq!((scene.is_listed(99), scene.due()), (false, 100), "{activity:?}");
    }

    let mut scene = Scene::settling_early();
    scene.note(0, FileActivity::Closed);
    scene.debouncer.note_packages("a", scene.at(1));
    assert_eq!((scene.is_listed(99), scene.due()), (false, 101), "packages");

    let mut scene = Scene::settling_early();
    scene.debouncer.note_late("a", scene.at(0));
    scene.note(1, FileActivity::Closed);
    assert_eq!((scene.is_listed(99), scene.due()), (false, 101), "folders that were not watched");
}

#[test]
fn a_project_with_somebody_at_work_is_listed_again_until_its_quiet_time_is_over() {
    let mut scene = Scene::settling_early();
    scene.note(0, FileActivity::Closed);
    for ms in [0, 20, 40, 60, 80] {
        assert_eq!(scene.due(), u128::from(ms));
        assert!(!scene.list(ms, Listing::Busy));
    }
    assert_eq!(scene.due(), 100);
    assert_eq!(scene.debouncer.take_quiet(scene.at(100)).len(), 1);
}
