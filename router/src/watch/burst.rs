//! The burst of changes that a project is in the middle of, and the rule by which a burst counts as
//! complete before the quiet time is over (`--debounce auto`).

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::classify::FileActivity;
use super::stamp::ProjectStamp;

/// Time without events for each file that a burst leaves behind. An editor saves one or two files;
/// whatever writes more is a tool, which may be held up between two of them.
const QUIET_PER_FILE: Duration = Duration::from_millis(20);

/// Time without events in multiples of the largest gap that the burst had so far.
const QUIET_GAPS: u32 = 2;

/// Maximum number of files of a burst. With more of them [`QUIET_PER_FILE`] adds up to the quiet
/// time of `--debounce auto`, so that the rest of the rule makes no difference.
const MAX_FILES: usize = 24;

/// Time between the two listings that have to be equal: longer than an event takes to arrive.
pub(super) const LISTING_PAUSE: Duration = Duration::from_millis(20);

/// The changes of a project that may be complete early. Writers are tracked by the debouncer.
#[derive(Debug)]
pub(super) struct Burst {
    /// Time of the last change.
    last: Instant,
    largest_gap: Duration,
    files: HashMap<PathBuf, FileFate>,
    /// Time before which the files are not listed.
    not_before: Instant,
    /// The first of two listings and its time. Any change discards it.
    listing: Option<(Instant, ProjectStamp)>,
}

/// The effect of a burst on a file.
#[derive(Debug, Clone, Copy)]
struct FileFate {
    /// `true`: the file was there before the burst.
    was_there: bool,
    is_there: bool,
}

impl Burst {
    /// A burst that begins at `at`.
    pub(super) fn new(at: Instant) -> Self {
        let (largest_gap, files) = (Duration::ZERO, HashMap::new());
        Self { last: at, largest_gap, files, not_before: at, listing: None }
    }

    /// Notes a change of `path`. Returns `false` if the burst cannot be complete early: it has too
    /// many files, or a folder whose files may have been written before it was watched.
    pub(super) fn note(&mut self, path: &Path, activity: FileActivity, at: Instant) -> bool {
        self.largest_gap = self.largest_gap.max(at.saturating_duration_since(self.last));
        self.last = self.last.max(at);
        self.listing = None;
        if activity == FileActivity::Folder {
            return false;
        }
        let is_new = matches!(activity, FileActivity::Created | FileActivity::MovedIn);
        let is_there = activity != FileActivity::Gone;
        let fate = FileFate { was_there: !is_new, is_there };
        let fate =
            *self.files.entry(path.to_owned()).and_modify(|fate| fate.is_there = is_there).or_insert(fate);
        if !fate.was_there && !fate.is_there {
            // A temporary file.
            self.files.remove(path);
        }
        self.files.len() <= MAX_FILES
    }

    /// Time at which the files have to be listed next, if no change comes. `None` while a file is
    /// missing that was there before: its writer may have moved it away to write it anew.
    pub(super) fn due(&self) -> Option<Instant> {
        if self.files.values().any(|fate| fate.was_there && !fate.is_there) {
            return None;
        }
        let files = u32::try_from(self.files.len().max(1)).unwrap_or(u32::MAX);
        let complete = self.last + (QUIET_PER_FILE * files).max(self.largest_gap * QUIET_GAPS);
        Some(match self.listing {
            Some((at, _)) => complete.max(at + LISTING_PAUSE),
            // The second listing is due when the burst may be complete.
            None => self.not_before.max(complete.checked_sub(LISTING_PAUSE).unwrap_or(complete)),
        })
    }

    /// Notes that the files are listed as `stamp`. Returns `true` if the burst is complete: nothing
    /// has changed since the listing before.
    pub(super) fn list(&mut self, stamp: ProjectStamp, now: Instant) -> bool {
        let before = self.listing.replace((now, stamp));
        before.is_some_and(|(_, before)| before == stamp)
    }

    /// Has the files not listed before `at`.
    pub(super) fn defer(&mut self, at: Instant) {
        self.not_before = at;
        self.listing = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scene {
        start: Instant,
        burst: Burst,
    }

    impl Scene {
        fn new() -> Self {
            let start = Instant::now();
            Self { start, burst: Burst::new(start) }
        }

        fn at(&self, ms: u64) -> Instant {
            self.start + Duration::from_millis(ms)
        }

        fn note(&mut self, ms: u64, name: &str, activity: FileActivity) -> bool {
            let at = self.at(ms);
            self.burst.note(Path::new(name), activity, at)
        }

        /// Time of the next listing.
        fn due(&self) -> Option<u128> {
            self.burst.due().map(|due| due.duration_since(self.start).as_millis())
        }

        /// Lists the files when that is due. Returns `true` if the burst is complete.
        fn list(&mut self, stamp: ProjectStamp) -> bool {
            let due = self.burst.due().unwrap();
            self.burst.list(stamp, due)
        }
    }

    fn stamp(newest: i64) -> ProjectStamp {
        let mut stamp = ProjectStamp::default();
        stamp.newest = newest;
        stamp
    }

    #[test]
    fn a_save_is_complete_after_two_equal_listings() {
        let mut scene = Scene::new();
        scene.note(0, "main.ts", FileActivity::Written);
        scene.note(1, "main.ts", FileActivity::Closed);
        assert_eq!(scene.due(), Some(1), "at once");
        assert!(!scene.list(stamp(1)));
        assert_eq!(scene.due(), Some(21));
        assert!(!scene.list(stamp(2)), "it has changed without an event");
        assert_eq!(scene.due(), Some(41));
        assert!(scene.list(stamp(2)));
    }

    #[test]
    fn a_change_between_two_listings_discards_the_first_one() {
        let mut scene = Scene::new();
        scene.note(0, "main.ts", FileActivity::Closed);
        assert!(!scene.list(stamp(1)));
        scene.note(10, "main.ts", FileActivity::Closed);
        assert_eq!(scene.due(), Some(10));
        assert!(!scene.list(stamp(1)));
        assert!(scene.list(stamp(1)));
    }

    #[test]
    fn more_files_and_longer_gaps_need_more_quiet_and_many_files_all_of_it() {
        let mut scene = Scene::new();
        for n in 0..4 {
            scene.note(n, &format!("{n}.ts"), FileActivity::Closed);
        }
        assert_eq!(scene.due(), Some(3 + 4 * 20 - 20));
        scene.note(103, "0.ts", FileActivity::Closed);
        assert_eq!(scene.due(), Some(103 + 2 * 100 - 20));
        for n in 4..MAX_FILES {
            assert!(scene.note(104, &format!("{n}.ts"), FileActivity::Closed));
        }
        assert!(!scene.note(104, "one-more.ts", FileActivity::Closed));
    }

    #[test]
    fn files_of_an_editor_that_come_and_go_do_not_count() {
        let mut scene = Scene::new();
        // A safe write: new file beside it, old one away, new one in, old one removed.
        for (name, activity) in [
            ("new", FileActivity::Created),
            ("new", FileActivity::Closed),
            ("main.ts", FileActivity::Gone),
            ("old", FileActivity::MovedIn),
            ("new", FileActivity::Gone),
            ("main.ts", FileActivity::MovedIn),
            ("old", FileActivity::Gone),
        ] {
            scene.note(0, name, activity);
        }
        assert_eq!(scene.due(), Some(0));
    }

    #[test]
    fn a_file_that_is_gone_may_come_back_and_a_new_folder_may_have_unseen_files() {
        let mut scene = Scene::new();
        scene.note(0, "main.ts", FileActivity::Gone);
        assert_eq!(scene.due(), None);
        scene.note(5, "main.ts", FileActivity::Created);
        assert_eq!(scene.due(), Some(5));
        assert!(!scene.note(6, "lib", FileActivity::Folder));
    }

    #[test]
    fn a_listing_that_was_not_possible_is_tried_again_later() {
        let mut scene = Scene::new();
        scene.note(0, "main.ts", FileActivity::Closed);
        assert!(!scene.list(stamp(1)));
        scene.burst.defer(scene.at(20));
        assert_eq!(scene.due(), Some(20));
        assert!(!scene.list(stamp(1)));
        assert_eq!(scene.due(), Some(40));
        assert!(scene.list(stamp(1)));
    }
}
