//! The thread of the watch: takes file events and differences, keeps the watched tree and the
//! debouncer up to date, and sends an event for each project that is quiet.

mod settle;

use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use notify_debouncer_full::DebouncedEvent;
use notify_debouncer_full::notify::{Error, ErrorKind, EventKind};
use switchyard_program::file_system;
use tokio::sync::mpsc::Sender;

use super::classify::{FileActivity, PathKind, file_activity, is_restructuring};
use super::compare::Difference;
use super::debounce::{ProjectDebouncer, QuietProject};
use super::fair_queue::FairQueue;
use super::follow::{self, RootChange, RootFollower};
use super::installs::{InstallCheck, PendingInstalls};
use super::polling::Polling;
use super::rescan::RescanTimer;
use super::tree::WatchTree;
use super::unreported::UnreportedChanges;
use super::{Measurement, MeasurementSink, WatchEvent, WatchMessage, WatchSettings};
use crate::root::Root;

/// Time for which the start waits until projects are watched. Projects that are not watched by then
/// are read again once they are.
const START: Duration = Duration::from_secs(2);

/// Time for which projects are walked before other work gets its turn. At least one project is
/// walked each time.
const SLICE: Duration = Duration::from_millis(20);

/// Maximum number of messages that are handled before other work gets its turn. Each message holds
/// the events of a few milliseconds.
const MAX_MESSAGES: usize = 1000;

/// State of the thread of the watch.
pub(super) struct WatchLoop {
    root: Root,
    observer: MeasurementSink,
    polling: Polling,
    tree: WatchTree,
    follower: RootFollower,
    debouncer: ProjectDebouncer,
    unreported: UnreportedChanges,
    /// Projects with folders that have to be walked.
    resync: FairQueue,
    /// Quiet projects that wait until their packages are complete.
    installs: PendingInstalls,
    rescan: RescanTimer,
    changes: Sender<WatchEvent>,
}

impl From<QuietProject> for WatchEvent {
    fn from(QuietProject { name, since, trigger, .. }: QuietProject) -> Self {
        Self::ProjectChanged { name, since, trigger }
    }
}

impl WatchLoop {
    /// The state before [`Self::begin`]. Events are sent to `changes`.
    pub(super) fn new(
        settings: &WatchSettings,
        tree: WatchTree,
        follower: RootFollower,
        polling: Polling,
        observer: MeasurementSink,
        changes: Sender<WatchEvent>,
    ) -> Self {
        Self {
            root: settings.root.clone(),
            observer,
            polling,
            tree,
            follower,
            debouncer: ProjectDebouncer::new(settings.debounce, settings.settles_early),
            unreported: UnreportedChanges::new(settings.compare),
            resync: FairQueue::default(),
            installs: PendingInstalls::default(),
            rescan: RescanTimer::default(),
            changes,
        }
    }

    /// Watches the projects that exist, for [`START`] at most. `started` is the result of starting
    /// the kernel's file events.
    pub(super) fn begin(&mut self, started: Result<(), Error>) {
        self.polling.announce();
        if let Err(error) = started {
            self.polling.activate(&format!(
                "file events are not available ({error}); raise fs.inotify.max_user_instances"
            ));
        }
        self.check_mount();
        for name in self.root.overrides().names() {
            self.check_mount_of(name.as_str());
        }
        let watched = self.tree.watch_root();
        self.check_watched(watched);
        let until = Instant::now() + START;
        for name in self.tree.names() {
            self.tree.reload_includes(&name);
            if Instant::now() < until {
                let watched = self.tree.sync(&name);
                self.check_watched(watched.map(|_| ()));
            } else {
                self.resync.request(&name, until);
            }
        }
        self.polling.set_pace();
    }

    fn check_mount(&mut self) {
        if let Some(kind) = file_system::without_events(self.tree.root()) {
            let root = self.root.path().display();
            self.polling.activate(&format!("{root} is on {kind}, which does not report all changes"));
        }
    }

    /// Polls from now on if the override of the project `name` lies where changes are not reported.
    fn check_mount_of(&mut self, name: &str) {
        let place = self.tree.place(name);
        if let Some(kind) = place.is_override().then(|| file_system::without_events(&place.dir)).flatten() {
            let folder = place.dir.display();
            self.polling.activate(&format!("{folder} is on {kind}, which does not report all changes"));
        }
    }

    /// Follows projects whose overrides were set or have ended.
    fn follow_overrides(&mut self, now: Instant) {
        for name in self.root.overrides().take_changed() {
            let name = name.as_str();
            self.check_mount_of(name);
            self.renew(name, now);
        }
    }

    /// Has the folders of a project walked, and its files read.
    fn renew(&mut self, name: &str, now: Instant) {
        let path = self.tree.place(name).dir;
        self.tree.reload_includes(name);
        self.resync.request(name, now);
        self.note(name, &path, FileActivity::Folder, now);
    }

    /// Runs until [`WatchMessage::Stop`], or until the receiver of events is gone.
    pub(super) fn run(mut self, messages: &mpsc::Receiver<WatchMessage>) {
        let mut next_check = Instant::now() + follow::CHECK_INTERVAL;
        loop {
            let dues = [self.debouncer.due(), self.resync.due(), self.installs.due(), self.rescan.due()];
            let due = dues.into_iter().flatten().fold(next_check, Instant::min);
            let first = match messages.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Err(RecvTimeoutError::Disconnected) => return,
                first => first.ok(),
            };
            // Makes room for the kernel's next events: the waiting ones are taken now.
            let is_behind = self.tree.acknowledge_events();
            for message in first.into_iter().chain(messages.try_iter().take(MAX_MESSAGES)) {
                match message {
                    WatchMessage::FileEvents(Ok(events)) => self.file_events(&events),
                    WatchMessage::FileEvents(Err(errors)) => self.errors(&errors),
                    WatchMessage::Difference(difference) => self.difference(difference),
                    WatchMessage::Stop => return,
                }
            }
            self.sync_folders();
            let now = Instant::now();
            if self.rescan.take_due(now) {
                self.note_all(|_| Ok(()), now);
            }
            let mut events = Vec::new();
            if next_check <= now {
                next_check = now + follow::CHECK_INTERVAL;
                events.extend(self.check_root(now));
                self.follow_overrides(now);
                self.take_unreported(now);
            }
            for project in self.debouncer.take_quiet(now) {
                events.extend(self.quiet(project, now));
            }
            self.settle_early(is_behind, &mut events);
            self.check_installs(&mut events);
            for event in events {
                if self.changes.blocking_send(event).is_err() {
                    return;
                }
            }
        }
    }

    /// Checks which folder the projects root is now.
    fn check_root(&mut self, now: Instant) -> Option<WatchEvent> {
        let root = self.root.path().display();
        match self.follower.check(now)? {
            RootChange::Missing => {
                tracing::warn!("{root} is missing: all projects are served as they were until it is back");
            }
            RootChange::Replaced(folder) => {
                tracing::info!(
                    folder = %folder.display(),
                    "{root} is another folder now: all projects are read again"
                );
                (self.observer)(Measurement::RootReplaced);
                self.note_all(|tree| tree.move_to(&folder), now);
                self.check_mount();
            }
            RootChange::Complete => return Some(WatchEvent::RootReplaced),
        }
        None
    }

    /// Notes a change of all projects that exist after `renew`, or existed before it.
    fn note_all(&mut self, renew: impl FnOnce(&mut WatchTree) -> Result<(), Error>, now: Instant) {
        let mut names = self.tree.names();
        let watched = renew(&mut self.tree);
        self.check_watched(watched);
        names.extend(self.tree.names());
        for name in names {
            self.renew(&name, now);
        }
    }

    /// Walks the folders of projects in their turn, for [`SLICE`].
    fn sync_folders(&mut self) {
        let began = Instant::now();
        while let Some(name) = self.resync.next(Instant::now()) {
            let now = Instant::now();
            let watched = self.tree.sync(&name);
            let ended = Instant::now();
            self.resync.finished(&name, ended - now, ended);
            // Changes from before the watch began may have been missed by a reading.
            if watched.as_ref().is_ok_and(|is_new| *is_new) {
                self.debouncer.note_late(&name, now);
            }
            self.check_watched(watched.map(|_| ()));
            if began.elapsed() > SLICE {
                break;
            }
        }
    }

    fn note(&mut self, name: &str, path: &Path, activity: FileActivity, at: Instant) {
        self.debouncer.note(name, path, activity, at);
        // The comparison opens folders, too.
        if activity != FileActivity::Opened {
            self.unreported.note_event(name, at);
        }
    }

    /// Returns the event for a quiet project, or queues the project for a check of its packages.
    fn quiet(&mut self, mut project: QuietProject, now: Instant) -> Option<WatchEvent> {
        if let Some(earlier) = self.installs.take(&project.name) {
            project.merge(earlier);
        }
        if self.tree.reload_includes(&project.name) {
            self.resync.request(&project.name, now);
        }
        if project.packages.is_none() {
            return Some(project.into());
        }
        self.installs.insert(project, now);
        None
    }

    /// Checks the packages of projects in their turn, for [`SLICE`].
    fn check_installs(&mut self, events: &mut Vec<WatchEvent>) {
        let began = Instant::now();
        while let Some(check) = self.installs.check_next(|name| self.tree.packages_of(name)) {
            match check {
                InstallCheck::Complete(project) => events.push(project.into()),
                InstallCheck::Incomplete(project, due) => self.debouncer.put_back(project, due),
            }
            if began.elapsed() > SLICE {
                break;
            }
        }
    }

    fn difference(&mut self, difference: Difference) {
        let now = Instant::now();
        if self.polling.is_active() {
            self.note_difference(&difference, now);
        }
        self.unreported.add(difference, now);
    }

    /// Counts the differences that no event has reported, and has their projects read.
    fn take_unreported(&mut self, now: Instant) {
        for difference in self.unreported.take_due(now) {
            let name = &difference.name;
            if difference.since.is_some() {
                (self.observer)(Measurement::UnreportedChange);
                tracing::info!(project.name = name, "{name} has changed without a file event");
            }
            if !self.polling.is_active() {
                self.note_difference(&difference, now);
            }
        }
    }

    /// Has a project read that differs from the last comparison.
    fn note_difference(&mut self, difference: &Difference, now: Instant) {
        let Difference { name, packages, .. } = difference;
        // Its folders may have been replaced under the same names.
        self.resync.request(name, now);
        if *packages {
            self.debouncer.note_packages(name, now);
        }
        self.debouncer.note_difference(name, now);
    }

    fn file_events(&mut self, events: &[DebouncedEvent]) {
        for event in events {
            if event.need_rescan() {
                self.request_rescan("the kernel's queue of file events overflowed");
            } else if let Some(activity) = file_activity(event) {
                event.paths.iter().for_each(|path| self.file_event(event, path, activity));
            }
        }
    }

    fn file_event(&mut self, event: &DebouncedEvent, path: &Path, activity: FileActivity) {
        if path == self.tree.root() && event.kind == EventKind::Any {
            self.follower.invalidate();
        }
        let is_restructuring = is_restructuring(&event.kind, path);
        let mut is_source = false;
        for (name, below) in self.tree.projects_of(path) {
            match PathKind::of(&below) {
                PathKind::Ignored => continue,
                PathKind::Source => is_source = true,
                PathKind::Packages { holds_packages } => {
                    if holds_packages && is_restructuring {
                        self.resync.request(&name, event.time);
                    }
                    if activity != FileActivity::Opened {
                        self.debouncer.note_packages(&name, event.time);
                    }
                }
            }
            self.note(&name, path, activity, event.time);
        }
        if is_source && is_restructuring {
            self.restructure(path, matches!(event.kind, EventKind::Create(_)), event.time);
        }
    }

    /// Watches folders that have appeared at `path`, and no longer those that are gone.
    fn restructure(&mut self, path: &Path, is_new: bool, at: Instant) {
        match self.tree.update_path(path, is_new) {
            Ok(names) => names.iter().for_each(|name| self.resync.request(name, at)),
            Err(error) => self.check_watched(Err(error)),
        }
    }

    fn errors(&mut self, errors: &[Error]) {
        for error in errors {
            if matches!(error.kind, ErrorKind::MaxFilesWatch) {
                self.check_watched(Err(Error::new(ErrorKind::MaxFilesWatch)));
            } else {
                self.request_rescan(&format!("file events were lost: {error}"));
            }
        }
    }

    /// Has all projects read again, after the pause that [`RescanTimer`] keeps.
    fn request_rescan(&mut self, reason: &str) {
        (self.observer)(Measurement::EventsLost);
        if self.rescan.request(self.tree.count(), Instant::now()) {
            tracing::warn!("{reason}: all projects are read again");
        }
    }

    /// Reports the number of watched directories, and falls back to polling after an error.
    fn check_watched(&mut self, result: Result<(), Error>) {
        (self.observer)(Measurement::WatchedDirectories(self.tree.len()));
        match result {
            Ok(()) => {}
            Err(error) if matches!(error.kind, ErrorKind::MaxFilesWatch) => self
                .polling
                .activate("the limit of watched directories is reached; raise fs.inotify.max_user_watches"),
            Err(error) => self.polling.activate(&format!("a directory cannot be watched: {error}")),
        }
    }
}
