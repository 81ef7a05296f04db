//! Tells which projects may have changed: from file events, once they are quiet, or by the clock
//! where a mount has no events. Says "look again", never what changed: the digest decides that.

mod mount;
mod plain;
mod settle;
mod tree;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use notify_debouncer_full::notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind};
use notify_debouncer_full::notify::{Error, ErrorKind, EventKind};
use notify_debouncer_full::{DebounceEventResult, DebouncedEvent};
use switchyard_bridge::digest;

use self::settle::{Settling, What};
use self::tree::Tree;
use crate::metrics::Metrics;

/// notify-debouncer-full wakes up this often, and adds at most this (and [`MERGE`]) to a reload.
const TICK: Duration = Duration::from_millis(4);

/// How long it holds events back, to join those of one file. What is left of `--debounce` is
/// kept by [`Settling`], for the project as a whole.
const MERGE: Duration = Duration::from_millis(5);

/// How often projects are polled where the mount has no events and `--poll` does not say.
const POLL_WITHOUT_EVENTS: Duration = Duration::from_secs(2);

/// Changed projects wait here for the control flow; when it is full the watch waits, and the
/// kernel's queue behind it overflows into a rescan at worst.
pub(crate) const QUEUE: usize = 256;

/// What the watch has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// The project of this name (a directory's name, valid or not) may have changed; `since` is
    /// the first sign of it.
    Project { name: String, since: Instant },
    /// Events were lost: any project may have changed.
    All,
    /// The clock of `--poll`.
    Poll,
}

#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) root: PathBuf,
    pub(crate) debounce: Duration,
    pub(crate) poll: Option<Duration>,
}

/// The running watch. Dropping it ends its threads.
pub(crate) struct Watch {
    stop: mpsc::Sender<Message>,
    thread: Option<JoinHandle<()>>,
}

enum Message {
    Events(DebounceEventResult),
    Stop,
}

impl Watch {
    /// Watches the projects in `settings.root`, and what is below them.
    ///
    /// # Errors
    /// The root cannot be watched for a reason that polling would not mend.
    pub(crate) fn start(
        settings: Settings,
        metrics: Metrics,
        changes: tokio::sync::mpsc::Sender<Change>,
    ) -> Result<Self> {
        let (sender, messages) = mpsc::channel();
        let events = sender.clone();
        let tree = Tree::new(&settings.root, TICK, MERGE, move |result: DebounceEventResult| {
            // The watch has ended when nobody receives.
            let _ = events.send(Message::Events(result));
        })
        .context("watch the projects")?;
        let mut watcher = Watcher {
            poll: settings.poll,
            settling: Settling::new(settings.debounce),
            settings,
            metrics,
            tree,
            changes,
        };
        watcher.begin();
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
    settling: Settling,
    changes: tokio::sync::mpsc::Sender<Change>,
}

impl Watcher {
    fn begin(&mut self) {
        if let Some(poll) = self.poll {
            self.metrics.polling.set(1);
            tracing::info!(poll_ms = millis(poll), "projects are polled every {poll:?}, as --poll says");
        }
        if let Some(kind) = mount::without_events(&self.settings.root) {
            self.poll_instead(&format!(
                "{} is on {kind}, which does not tell all changes",
                self.settings.root.display()
            ));
        }
        let watched = self.tree.sync_all();
        self.watched(watched);
    }

    fn run(mut self, messages: &mpsc::Receiver<Message>) {
        let mut next_poll = self.poll.map(|poll| Instant::now() + poll);
        loop {
            if next_poll.is_none() {
                next_poll = self.poll.map(|poll| Instant::now() + poll);
            }
            let due = [self.settling.due(), next_poll].into_iter().flatten().min();
            let message = match due {
                Some(due) => messages.recv_timeout(due.saturating_duration_since(Instant::now())),
                None => messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match message {
                Ok(Message::Events(Ok(events))) => self.events(&events),
                Ok(Message::Events(Err(errors))) => self.errors(&errors),
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            let now = Instant::now();
            let mut changes: Vec<_> = self.settling.settled(now);
            for change in &changes {
                if let Change::Project { name, .. } = change {
                    let watched = self.tree.renew(name);
                    self.watched(watched);
                }
            }
            if next_poll.is_some_and(|at| at <= now) {
                next_poll = None;
                changes.push(Change::Poll);
            }
            for change in changes {
                if self.changes.blocking_send(change).is_err() {
                    return;
                }
            }
        }
    }

    fn events(&mut self, events: &[DebouncedEvent]) {
        let mut restructured = false;
        for event in events {
            if event.need_rescan() {
                self.rescan("the kernel's queue of file events overflowed");
                return;
            }
            let Some(what) = what(&event.kind) else { continue };
            for path in &event.paths {
                for (name, below) in self.tree.projects_of(path) {
                    if is_leftover(&below) {
                        continue;
                    }
                    restructured |= is_restructuring(&event.kind, path);
                    self.settling.note(&name, path, what, event.time);
                }
            }
        }
        if restructured {
            let watched = self.tree.sync(&self.settling.names());
            self.watched(watched);
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

    fn rescan(&mut self, why: &str) {
        self.metrics.lost_events.inc();
        tracing::warn!("{why}: all projects are read again");
        let watched = self.tree.sync_all();
        self.watched(watched);
        self.settling.note_all();
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
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Whether nothing that counts has this path relative to a project. Packages do not count either, but may mend what failed.
fn is_leftover(below: &Path) -> bool {
    let are_packages = below == Path::new("node_modules")
        || below.starts_with("..") && below.file_name().is_some_and(|name| name == "node_modules");
    !below.as_os_str().is_empty()
        && !are_packages
        && !digest::is_counted(below.as_os_str().as_encoded_bytes())
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
