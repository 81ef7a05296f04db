//! Debouncing of whole projects: changes of a project are held back until no event has come for a
//! while and no writer is in the middle of a file. `burst` says when a while may be short.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use switchyard_contract::event::Trigger;

use super::burst::{Burst, LISTING_PAUSE};
use super::classify::FileActivity;
use super::stamp::ProjectStamp;

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

/// The result of listing the files of a project.
#[derive(Debug, Clone, Copy)]
pub(super) enum Listing {
    Files(ProjectStamp),
    /// Somebody is at work in the project: the files are to be listed again, a little later.
    Busy,
    /// The project is missing, or cannot be listed quickly.
    None,
}

/// The projects that are not quiet yet.
#[derive(Debug)]
pub(super) struct ProjectDebouncer {
    /// Time without events after which a project is quiet.
    quiet: Duration,
    /// `true`: a project is quiet earlier if its changes seem to be complete.
    settles_early: bool,
    projects: BTreeMap<String, PendingProject>,
    /// The projects by the time of their next step, so that a turn of the watch does not look at all
    /// of them. Those in `touched` may have another time.
    dues: BTreeSet<(Instant, String)>,
    /// The projects that have changed since `dues` was up to date.
    touched: BTreeSet<String>,
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
    /// The changes so far, while they may turn out to be complete early.
    burst: Option<Burst>,
    /// The last activity of an installer of packages.
    packages: Option<PackageActivity>,
    /// Fixed time at which the project is taken out, in place of the computed one.
    due: Option<Instant>,
    /// Its time in [`ProjectDebouncer::dues`].
    listed: Option<Instant>,
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
    /// `quiet`: the time without events after which a project is quiet. `settles_early`: less is
    /// enough if the changes seem to be complete, see [`Self::next_listing`].
    pub(super) fn new(quiet: Duration, settles_early: bool) -> Self {
        let (projects, dues, touched) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        Self { quiet, settles_early, projects, dues, touched }
    }

    /// Notes an event of `path` in the project `name`.
    pub(super) fn note(&mut self, name: &str, path: &Path, activity: FileActivity, at: Instant) {
        if activity == FileActivity::Opened {
            // Any process opens files, the router's own snapshot too. Only files that were just
            // created matter.
            if let Some(state) = self.projects.get_mut(name).and_then(|project| project.files.get_mut(path)) {
                *state = WriterState::Open;
                self.touched.insert(name.to_owned());
            }
            return;
        }
        let project = self.project(name, at);
        project.burst.take_if(|burst| !burst.note(path, activity, at));
        let state = match activity {
            FileActivity::Created => WriterState::Created,
            FileActivity::Written => WriterState::Open,
            _ => {
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
        let project = self.project(name, at);
        let stamp = project.packages.and_then(|packages| packages.stamp);
        project.packages = Some(PackageActivity { at, stamp });
        project.burst = None;
    }

    /// Notes a change of the project `name` that a comparison has found, some time after it was
    /// made.
    pub(super) fn note_difference(&mut self, name: &str, at: Instant) {
        let project = self.project(name, at);
        project.due = Some(at);
        project.burst = None;
        project.trigger = Trigger::Poll;
    }

    /// Notes that the project `name` may have changed some time ago, unless it is pending anyway.
    pub(super) fn note_late(&mut self, name: &str, at: Instant) {
        if !self.projects.contains_key(name) {
            self.project(name, at).burst = None;
        }
    }

    /// Puts a project back, to be taken out again at `due`, or later if there are events until
    /// then.
    pub(super) fn put_back(&mut self, quiet_project: QuietProject, due: Instant) {
        let QuietProject { name, since, packages, trigger } = quiet_project;
        self.touched.insert(name.clone());
        if let Some(project) = self.projects.get_mut(&name) {
            project.first = since;
            project.packages = PackageActivity::join(packages, project.packages);
            project.burst = None;
            return;
        }
        let (files, burst) = (HashMap::new(), None);
        let (first, last, due) = (since, since, Some(due));
        let (began, listed) = (None, None);
        let project = PendingProject { first, began, last, files, burst, packages, due, listed, trigger };
        self.projects.insert(name, project);
    }

    fn project(&mut self, name: &str, at: Instant) -> &mut PendingProject {
        if !self.touched.contains(name) {
            self.touched.insert(name.to_owned());
        }
        let project = self.projects.entry(name.to_owned()).or_insert_with(|| PendingProject {
            first: at,
            began: None,
            last: at,
            files: HashMap::new(),
            burst: self.settles_early.then(|| Burst::new(at)),
            packages: None,
            due: None,
            listed: None,
            trigger: Trigger::Watch,
        });
        project.began.get_or_insert(at);
        project.last = project.last.max(at);
        project.due = None;
        project
    }

    /// Time at which the next project will be quiet, or has to be listed, if no event comes.
    pub(super) fn due(&mut self) -> Option<Instant> {
        self.update_dues();
        self.dues.first().map(|(due, _)| *due)
    }

    /// Brings the times of projects that have changed up to date.
    fn update_dues(&mut self) {
        for name in std::mem::take(&mut self.touched) {
            let Some(project) = self.projects.get_mut(&name) else { continue };
            let quiet = project.due(self.quiet);
            let due = project.next_listing().map_or(quiet, |listing| listing.min(quiet));
            if let Some(before) = project.listed.replace(due) {
                self.dues.remove(&(before, name.clone()));
            }
            self.dues.insert((due, name));
        }
    }

    /// The projects that are due at `now`, for either reason.
    fn due_at(&mut self, now: Instant) -> impl Iterator<Item = (&String, &PendingProject)> {
        self.update_dues();
        let due = self.dues.iter().take_while(move |(due, _)| *due <= now);
        due.filter_map(|(_, name)| self.projects.get_key_value(name))
    }

    /// Removes a project.
    fn take(&mut self, name: &str) -> Option<QuietProject> {
        let (name, project) = self.projects.remove_entry(name)?;
        if let Some(due) = project.listed {
            self.dues.remove(&(due, name.clone()));
        }
        Some(project.into_quiet(name))
    }

    /// Returns the project whose files have been due longest to be listed at `now`, for
    /// [`Self::note_listing`].
    pub(super) fn next_listing(&mut self, now: Instant) -> Option<String> {
        let dues = self.due_at(now).filter_map(|(name, project)| Some((project.next_listing()?, name)));
        dues.filter(|(due, _)| *due <= now).min().map(|(_, name)| name.clone())
    }

    /// Notes how the files of the project `name` are listed. Removes and returns the project if its
    /// changes are complete.
    pub(super) fn note_listing(
        &mut self,
        name: &str,
        listing: Listing,
        now: Instant,
    ) -> Option<QuietProject> {
        let project = self.projects.get_mut(name)?;
        let burst = project.burst.as_mut()?;
        self.touched.insert(name.to_owned());
        match listing {
            Listing::Files(stamp) if burst.list(stamp, now) => self.take(name),
            Listing::Files(_) => None,
            Listing::Busy => {
                burst.defer(now + LISTING_PAUSE);
                None
            }
            Listing::None => {
                project.burst = None;
                None
            }
        }
    }

    /// Removes and returns the projects that are quiet at `now`.
    pub(super) fn take_quiet(&mut self, now: Instant) -> Vec<QuietProject> {
        let quiet = self.quiet;
        let quiet_projects = self.due_at(now).filter(|(_, project)| project.due(quiet) <= now);
        let names: Vec<_> = quiet_projects.map(|(name, _)| name.clone()).collect();
        names.iter().filter_map(|name| self.take(name)).collect()
    }
}

impl PendingProject {
    fn into_quiet(self, name: String) -> QuietProject {
        QuietProject { name, since: self.first, packages: self.packages, trigger: self.trigger }
    }

    /// Time at which the files have to be listed. `None` if the changes cannot be complete early: a
    /// writer is in the middle of a file, or may be.
    fn next_listing(&self) -> Option<Instant> {
        self.burst.as_ref().filter(|_| self.files.is_empty())?.due()
    }

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
mod tests;
