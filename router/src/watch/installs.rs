//! Quiet projects that may be in the middle of an installation of packages: each is checked in its
//! turn, until its packages are complete.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::debounce::{PackageActivity, QuietProject};
use super::fair_queue::FairQueue;
use crate::project::{InstallProgress, InstalledPackages};

/// Time without activity after which packages of an unknown installer count as complete...
const UNMARKED_QUIET: Duration = Duration::from_secs(1);

/// ... and those of an installer that writes a marker at its end, while the marker is missing: the
/// installer may be waiting for a slow registry.
const MARKED_QUIET: Duration = Duration::from_secs(10);

/// Interval between two checks of packages that are being installed.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// Time after the first change at which a project is read even if its packages keep changing.
/// Installations of large applications take a minute or two.
const MAX_INSTALL: Duration = Duration::from_secs(180);

/// The projects that wait for a check. They may have tens of thousands of packages.
#[derive(Debug, Default)]
pub(super) struct PendingInstalls {
    queue: FairQueue,
    projects: HashMap<String, QuietProject>,
}

/// The result of one check.
#[derive(Debug)]
pub(super) enum InstallCheck {
    /// The packages are complete: the project can be read.
    Complete(QuietProject),
    /// The packages have to be checked again at this time.
    Incomplete(QuietProject, Instant),
}

impl PendingInstalls {
    /// Adds a project. Its packages are checked in its turn.
    pub(super) fn insert(&mut self, project: QuietProject, now: Instant) {
        self.queue.request(&project.name, now);
        self.projects.insert(project.name.clone(), project);
    }

    /// Removes and returns the project `name`, if it waits for a check.
    pub(super) fn take(&mut self, name: &str) -> Option<QuietProject> {
        self.projects.remove(name)
    }

    /// Time of the next check.
    pub(super) fn due(&self) -> Option<Instant> {
        self.queue.due()
    }

    /// Checks the next project that is due, if any. `folders` returns the folders of packages of a
    /// project.
    pub(super) fn check_next(&mut self, folders: impl Fn(&str) -> HashSet<PathBuf>) -> Option<InstallCheck> {
        loop {
            let name = self.queue.next(Instant::now())?;
            // Absent if the project has changed again in the meantime.
            let Some(mut project) = self.projects.remove(&name) else { continue };
            let now = Instant::now();
            let due = next_check(&mut project, folders(&name), now);
            let ended = Instant::now();
            self.queue.finished(&name, ended - now, ended);
            return Some(match due {
                Some(due) => InstallCheck::Incomplete(project, due),
                None => InstallCheck::Complete(project),
            });
        }
    }
}

/// Returns the time of the next check, or `None` if the packages in `folders` are complete.
fn next_check(project: &mut QuietProject, folders: HashSet<PathBuf>, now: Instant) -> Option<Instant> {
    let packages = project.packages.as_mut()?;
    let installed = InstalledPackages::of(folders);
    // There are no events for what lies in a package's own folder, so stamps are compared.
    let is_changed = packages.stamp.is_some_and(|stamp| stamp != installed.stamp());
    let at = if is_changed { now } else { packages.at };
    *packages = PackageActivity { at, stamp: Some(installed.stamp()) };
    let quiet = match installed.progress {
        InstallProgress::Complete => return None,
        InstallProgress::Unmarked => UNMARKED_QUIET,
        InstallProgress::Awaited => MARKED_QUIET,
    };
    let until = (at + quiet).min(project.since + MAX_INSTALL);
    (until > now).then(|| until.min(now + CHECK_INTERVAL))
}
