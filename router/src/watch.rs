//! Reports which projects may have changed: from file events, once they are quiet, and by comparison for what no event
//! tells. Says "look again", never what changed: the digest decides that.

mod compare;
mod follow;
mod inotify;
mod mount;
mod resync;
mod settle;
mod stamp;
mod tree;

use std::collections::HashMap;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use notify_debouncer_full::notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind};
use notify_debouncer_full::notify::{Error, ErrorKind, EventKind};
use notify_debouncer_full::{DebounceEventResult, DebouncedEvent};
use switchyard_contract::digest;
use switchyard_contract::event::Trigger;

use self::compare::{Comparison, Difference, Pace};
use self::follow::{Follower, News};
use self::resync::Resync;
use self::settle::{Packages, Settled, Settling, What};
use self::tree::Tree;
use crate::metrics::Metrics;
use crate::project::{Installed, NODE_MODULES, Progress, has_packages, is_of_packages};
use crate::root::Root;

/// notify-debouncer-full wakes up this often, and adds at most this (and [`MERGE`]) to a reload.
const TICK: Duration = Duration::from_millis(4);

/// How long it holds events back, to join those of one file. What is left of `--debounce` is
/// kept by [`Settling`], for the project as a whole.
const MERGE: Duration = Duration::from_millis(5);

/// How often projects are compared where the mount has no events and `--poll` does not say.
const POLL_WITHOUT_EVENTS: Duration = Duration::from_secs(2);

/// The pause after each project, in times that its comparison took: a fiftieth of one core beside
/// events, a fifth where there are none and changes are waited for.
const REST: u32 = 49;
const REST_WITHOUT_EVENTS: u32 = 4;

/// An event is on its way to here for about ten milliseconds. A change of which none has come in
/// this time was not reported.
const EVENTS_TAKE: Duration = Duration::from_secs(1);

/// Packages of an unknown installer are complete when nothing has come for so long...
const UNMARKED_QUIET: Duration = Duration::from_secs(1);

/// ... and those of one that marks the end, without a mark: it may be waiting for a slow registry.
const MARKED_QUIET: Duration = Duration::from_secs(10);

/// Packages that are being installed are looked at again this often.
const INSTALLING_LOOKS: Duration = Duration::from_millis(500);

/// A project whose packages keep changing is read so long after its first change: installations of
/// large applications take a minute or two.
const MAX_INSTALLING: Duration = Duration::from_secs(180);

/// The start waits so long for projects to be watched. Those that are not by then are read again when they are.
const START: Duration = Duration::from_secs(2);

/// Projects are gone through for so long before anything else is seen to, but one at least.
const SLICE: Duration = Duration::from_millis(20);

/// When events are lost again and again all projects are read again this often, and by so much less often for each: a project
/// that has not changed takes a millisecond or two.
const RESCAN_PAUSE: Duration = Duration::from_secs(1);
const RESCAN_EACH: Duration = Duration::from_millis(10);

/// Messages that are taken before anything else is seen to; each has the events of some milliseconds.
const MAX_MESSAGES: usize = 1000;

/// More names of projects with events than this are forgotten once they are of no use.
const MAX_SEEN: usize = 10_000;

/// Changed projects wait here for the control flow; when it is full the watch waits, and the
/// kernel's queue behind it overflows into a rescan at worst.
pub(crate) const QUEUE: usize = 256;

/// What the watch reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// The project of this name (a directory's name, valid or not) may have changed; `since` is
    /// the first sign of it.
    Project { name: String, since: Instant, trigger: Trigger },
    /// The projects root is another folder, and complete: projects that are not in it are gone.
    All,
}

#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) root: Root,
    pub(crate) debounce: Duration,
    /// How often projects are compared in place of file events.
    pub(crate) poll: Option<Duration>,
    /// How often they are compared beside events; zero: never.
    pub(crate) compare: Duration,
    /// The most folders and the most files that a valid project has.
    pub(crate) most: [u64; 2],
}

/// The running watch. Dropping it ends its threads.
pub(crate) struct Watch {
    stop: mpsc::Sender<Message>,
    thread: Option<JoinHandle<()>>,
}

enum Message {
    Events(DebounceEventResult),
    Differs(Difference),
    Stop,
}

impl Watch {
    /// Watches the projects in `settings.root`, and what is below them.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(crate) fn start(
        settings: Settings,
        metrics: Metrics,
        changes: tokio::sync::mpsc::Sender<Change>,
    ) -> Result<Self> {
        let (sender, messages) = mpsc::channel();
        let (events, differences) = (sender.clone(), sender.clone());
        let follower = Follower::new(settings.root.clone());
        let folder = follower.folder().cloned().unwrap_or_else(|| settings.root.path().to_owned());
        let (tree, watching) =
            Tree::new(&folder, settings.most, TICK, MERGE, move |result: DebounceEventResult| {
                // The watch has ended when nobody receives.
                let _ = events.send(Message::Events(result));
            });
        let comparison = Comparison::start(settings.root.clone(), move |difference| {
            differences.send(Message::Differs(difference)).is_ok()
        })
        .context("start the thread that compares projects")?;
        let mut watcher = Watcher {
            poll: settings.poll,
            settling: Settling::new(settings.debounce),
            settings,
            metrics,
            tree,
            follower,
            comparison,
            seen: HashMap::new(),
            suspects: Vec::new(),
            resync: Resync::default(),
            looks: Resync::default(),
            installing: HashMap::new(),
            rescan: None,
            rescanned: None,
            changes,
        };
        watcher.begin(watching);
        let thread = std::thread::Builder::new()
            .name("watch".to_owned())
            .spawn(move || watcher.run(&messages))
            .context("start the watch thread")?;
        Ok(Self { stop: sender, thread: Some(thread) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.stop.send(Message::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Watcher {
    settings: Settings,
    /// `None`: events are enough.
    poll: Option<Duration>,
    metrics: Metrics,
    tree: Tree,
    follower: Follower,
    comparison: Comparison,
    settling: Settling,
    /// The newest event of each project.
    seen: HashMap<String, Instant>,
    /// Differences whose events may still be on their way, and until when.
    suspects: Vec<(Difference, Instant)>,
    /// The projects whose folders are to be gone through.
    resync: Resync,
    /// The projects that are quiet, and whose packages are to be looked at: they may be tens of thousands.
    looks: Resync,
    installing: HashMap<String, Settled>,
    /// When all projects are to be read again.
    rescan: Option<Instant>,
    /// When they were last.
    rescanned: Option<Instant>,
    changes: tokio::sync::mpsc::Sender<Change>,
}

impl Settled {
    fn change(self) -> Change {
        let Self { name, since, trigger, .. } = self;
        Change::Project { name, since, trigger }
    }
}

impl Watcher {
    fn begin(&mut self, watching: Result<(), Error>) {
        if let Some(poll) = self.poll {
            self.metrics.polling.set(1);
            tracing::info!(poll_ms = millis(poll), "projects are polled every {poll:?}, as --poll says");
        }
        if let Err(error) = watching {
            let max = "raise fs.inotify.max_user_instances";
            self.poll_instead(&format!("file events are not to be had ({error}); {max}"));
        }
        self.check_mount();
        let watched = self.tree.watch_root();
        self.watched(watched);
        let until = Instant::now() + START;
        for name in self.tree.names() {
            self.tree.learn(&name);
            if Instant::now() < until {
                let watched = self.tree.sync(&name);
                self.watched(watched.map(|_| ()));
            } else {
                self.resync.ask(&name, until);
            }
        }
        self.set_pace();
    }

    fn check_mount(&mut self) {
        if let Some(kind) = mount::without_events(self.tree.root()) {
            let root = self.settings.root.path().display();
            self.poll_instead(&format!("{root} is on {kind}, which does not report all changes"));
        }
    }

    fn run(mut self, messages: &mpsc::Receiver<Message>) {
        let mut next_look = Instant::now() + follow::LOOKS;
        loop {
            let dues = [self.settling.due(), self.resync.due(), self.looks.due(), self.rescan];
            let due = dues.into_iter().flatten().fold(next_look, Instant::min);
            let first = match messages.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Err(RecvTimeoutError::Disconnected) => return,
                first => first.ok(),
            };
            // The kernel's next events may come: those that wait are taken now.
            self.tree.taken();
            for message in first.into_iter().chain(messages.try_iter().take(MAX_MESSAGES)) {
                match message {
                    Message::Events(Ok(events)) => self.events(&events),
                    Message::Events(Err(errors)) => self.errors(&errors),
                    Message::Differs(difference) => self.differs(difference),
                    Message::Stop => return,
                }
            }
            self.resync();
            let now = Instant::now();
            if self.rescan.is_some_and(|rescan| rescan <= now) {
                self.rescan = None;
                self.rescanned = Some(now);
                self.note_all(|_| Ok(()), now);
            }
            let mut changes = Vec::new();
            if next_look <= now {
                next_look = now + follow::LOOKS;
                changes.extend(self.follow(now));
                self.judge(now);
            }
            for settled in self.settling.settled(now) {
                changes.extend(self.settled(settled, now));
            }
            self.look_at_packages(&mut changes);
            for change in changes {
                if self.changes.blocking_send(change).is_err() {
                    return;
                }
            }
        }
    }

    /// Looks at the root.
    fn follow(&mut self, now: Instant) -> Option<Change> {
        let root = self.settings.root.path().display();
        match self.follower.look(now)? {
            News::Missing => {
                tracing::warn!("{root} is missing: all projects are served as they were until it is back");
            }
            News::Replaced(folder) => {
                tracing::info!(folder = %folder.display(), "{root} is another folder now: all projects are read again");
                self.metrics.root_changes.inc();
                self.note_all(|tree| tree.move_to(&folder), now);
                self.check_mount();
            }
            News::Filled => return Some(Change::All),
        }
        None
    }

    /// Notes all projects that are there, or were before `renew`.
    fn note_all(&mut self, renew: impl FnOnce(&mut Tree) -> Result<(), Error>, now: Instant) {
        let mut names = self.tree.names();
        let watched = renew(&mut self.tree);
        self.watched(watched);
        names.extend(self.tree.names());
        for name in names {
            let path = self.tree.root().join(&name);
            self.tree.learn(&name);
            self.resync.ask(&name, now);
            self.note(&name, &path, What::Other, now);
        }
    }

    /// Goes through the folders of projects whose turn it is.
    fn resync(&mut self) {
        let began = Instant::now();
        while let Some(name) = self.resync.next(Instant::now()) {
            let now = Instant::now();
            let watched = self.tree.sync(&name);
            let ended = Instant::now();
            self.resync.took(&name, ended - now, ended);
            // Changes before the watch began were perhaps not read.
            if watched.as_ref().is_ok_and(|is_new| *is_new) {
                self.settling.note_late(&name, now);
            }
            self.watched(watched.map(|_| ()));
            if began.elapsed() > SLICE {
                break;
            }
        }
    }

    fn note(&mut self, name: &str, path: &Path, what: What, at: Instant) {
        self.settling.note(name, path, what, at);
        // The comparison opens folders, too.
        if what == What::Opened {
            return;
        }
        if self.seen.len() >= MAX_SEEN {
            let age = 2 * self.settings.compare.max(EVENTS_TAKE);
            self.seen.retain(|_, seen| seen.elapsed() < age);
        }
        self.seen.insert(name.to_owned(), at);
    }

    /// Says what a project that is quiet is to have done; nothing while its packages are to be looked at.
    fn settled(&mut self, mut settled: Settled, now: Instant) -> Option<Change> {
        self.installing.remove(&settled.name).into_iter().for_each(|before| settled.add(before));
        if self.tree.learn(&settled.name) {
            self.resync.ask(&settled.name, now);
        }
        if settled.packages.is_none() {
            return Some(settled.change());
        }
        self.looks.ask(&settled.name, now);
        self.installing.insert(settled.name.clone(), settled);
        None
    }

    /// Looks at the packages of projects whose turn it is. One whose packages are being installed is put back.
    fn look_at_packages(&mut self, changes: &mut Vec<Change>) {
        let began = Instant::now();
        while let Some(name) = self.looks.next(Instant::now()) {
            let Some(mut settled) = self.installing.remove(&name) else { continue };
            let now = Instant::now();
            let until = self.until_installed(&mut settled, now);
            let ended = Instant::now();
            self.looks.took(&name, ended - now, ended);
            match until {
                Some(until) => self.settling.put_back(settled, until),
                None => changes.push(settled.change()),
            }
            if began.elapsed() > SLICE {
                break;
            }
        }
    }

    /// When to look again at packages that are not complete.
    fn until_installed(&self, settled: &mut Settled, now: Instant) -> Option<Instant> {
        let packages = settled.packages.as_mut()?;
        let installed = Installed::of(self.tree.packages_of(&settled.name));
        // Below a package's folder there are no events.
        let at =
            if packages.stamp.is_some_and(|stamp| stamp != installed.stamp()) { now } else { packages.at };
        *packages = Packages { at, stamp: Some(installed.stamp()) };
        let quiet = match installed.progress {
            Progress::Complete => return None,
            Progress::Unmarked => UNMARKED_QUIET,
            Progress::Awaited => MARKED_QUIET,
        };
        let until = (at + quiet).min(settled.since + MAX_INSTALLING);
        (until > now).then(|| until.min(now + INSTALLING_LOOKS))
    }

    fn differs(&mut self, difference: Difference) {
        let now = Instant::now();
        if self.poll.is_some() {
            self.found(&difference, now);
        }
        self.suspects.push((difference, now + EVENTS_TAKE));
    }

    /// Counts the differences of which no event has told, and has them read.
    fn judge(&mut self, now: Instant) {
        let seen = &self.seen;
        let was_seen = |difference: &Difference| {
            let seen = seen.get(&difference.name).zip(difference.since);
            seen.is_some_and(|(seen, since)| *seen >= since)
        };
        let due: Vec<_> = self.suspects.extract_if(.., |(_, until)| *until <= now).collect();
        let unseen: Vec<_> = due.into_iter().filter(|(difference, _)| !was_seen(difference)).collect();
        for (difference, _) in unseen {
            let name = &difference.name;
            if difference.since.is_some() {
                self.metrics.unseen_changes.inc();
                tracing::info!(project.name = name, "{name} has changed without a file event");
            }
            if self.poll.is_none() {
                self.found(&difference, now);
            }
        }
    }

    /// Has a project read that was found to differ.
    fn found(&mut self, difference: &Difference, now: Instant) {
        let Difference { name, packages, .. } = difference;
        // Its folders may be others under the same names.
        self.resync.ask(name, now);
        if *packages {
            self.settling.note_packages(name, now);
        }
        self.settling.found(name, now);
    }

    fn events(&mut self, events: &[DebouncedEvent]) {
        for event in events {
            if event.need_rescan() {
                self.rescan("the kernel's queue of file events overflowed");
                continue;
            }
            let Some(what) = what(&event.kind) else { continue };
            for path in &event.paths {
                if path == self.tree.root() && event.kind == EventKind::Any {
                    self.follower.doubt();
                }
                let is_restructuring = is_restructuring(&event.kind, path);
                let mut counts = false;
                for (name, below) in self.tree.projects_of(path) {
                    match Place::of(&below) {
                        Place::Leftover => continue,
                        Place::Counted => counts = true,
                        Place::Packages { has_packages } => {
                            if has_packages && is_restructuring {
                                self.resync.ask(&name, event.time);
                            }
                            if what != What::Opened {
                                self.settling.note_packages(&name, event.time);
                            }
                        }
                    }
                    self.note(&name, path, what, event.time);
                }
                if counts && is_restructuring {
                    self.restructure(path, matches!(event.kind, EventKind::Create(_)), event.time);
                }
            }
        }
    }

    /// Follows a change of which folders there are.
    fn restructure(&mut self, path: &Path, is_new: bool, at: Instant) {
        match self.tree.follow(path, is_new) {
            Ok(names) => names.iter().for_each(|name| self.resync.ask(name, at)),
            Err(error) => self.watched(Err(error)),
        }
    }

    fn errors(&mut self, errors: &[Error]) {
        for error in errors {
            if matches!(error.kind, ErrorKind::MaxFilesWatch) {
                self.watched(Err(Error::new(ErrorKind::MaxFilesWatch)));
            } else {
                self.rescan(&format!("file events were lost: {error}"));
            }
        }
    }

    /// Has all projects read again, soon: whoever makes events be lost could keep everybody busy with that.
    fn rescan(&mut self, why: &str) {
        self.metrics.lost_events.inc();
        if self.rescan.is_some() {
            return;
        }
        tracing::warn!("{why}: all projects are read again");
        let now = Instant::now();
        let count = u32::try_from(self.tree.count()).unwrap_or(u32::MAX);
        let pause = RESCAN_PAUSE + RESCAN_EACH * count;
        self.rescan = Some(self.rescanned.map_or(now, |before| now.max(before + pause)));
    }

    fn watched(&mut self, result: Result<(), Error>) {
        self.metrics.watches.set(i64::try_from(self.tree.len()).unwrap_or(i64::MAX));
        match result {
            Ok(()) => {}
            Err(error) if matches!(error.kind, ErrorKind::MaxFilesWatch) => {
                self.poll_instead(
                    "the limit of watched directories is reached; raise fs.inotify.max_user_watches",
                );
            }
            Err(error) => self.poll_instead(&format!("a directory cannot be watched: {error}")),
        }
    }

    fn poll_instead(&mut self, why: &str) {
        if self.poll.is_some() {
            return;
        }
        let poll = POLL_WITHOUT_EVENTS;
        self.poll = Some(poll);
        self.metrics.polling.set(1);
        tracing::warn!(poll_ms = millis(poll), "{why}: projects are polled every {poll:?}");
        self.set_pace();
    }

    fn set_pace(&self) {
        let compare = Some(self.settings.compare).filter(|compare| !compare.is_zero());
        let pace = match self.poll {
            Some(period) => Pace { period, rest: REST_WITHOUT_EVENTS, has_events: false },
            None => match compare {
                Some(period) => Pace { period, rest: REST, has_events: true },
                None => return,
            },
        };
        self.comparison.set(pace);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What an event of a path relative to a project is about.
enum Place {
    Leftover,
    Packages {
        /// It is a folder of packages itself: all of them, a scope or a store.
        has_packages: bool,
    },
    Counted,
}

impl Place {
    fn of(below: &Path) -> Self {
        let parts: Vec<_> = below.iter().collect();
        if let Some(at) = parts.iter().position(|part| *part == NODE_MODULES) {
            let inside = parts.get(at + 1).map(|name| name.to_string_lossy());
            return match inside {
                Some(name) if !is_of_packages(&name) => Self::Leftover,
                Some(name) => Self::Packages { has_packages: has_packages(&name) && parts.len() == at + 2 },
                None => Self::Packages { has_packages: true },
            };
        }
        if !parts.is_empty() && !digest::is_counted(below.as_os_str().as_encoded_bytes()) {
            return Self::Leftover;
        }
        Self::Counted
    }
}

/// What an event says of its file; `None` when it says nothing of the content.
fn what(kind: &EventKind) -> Option<What> {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(What::Closed),
        EventKind::Access(AccessKind::Open(_)) => Some(What::Opened),
        EventKind::Access(_) => None,
        EventKind::Create(CreateKind::File) => Some(What::Created),
        EventKind::Modify(ModifyKind::Data(_)) => Some(What::Written),
        _ => Some(What::Other),
    }
}

/// Whether there may be other directories now than before.
fn is_restructuring(kind: &EventKind, path: &Path) -> bool {
    match kind {
        EventKind::Access(_) => false,
        // A symbolic link counts as a file, and may lead to a directory.
        EventKind::Create(CreateKind::File) => path.is_symlink(),
        EventKind::Create(_) | EventKind::Any => true,
        _ => false,
    }
}
