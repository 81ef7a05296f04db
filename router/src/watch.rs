//! The watch over the projects root: reports which projects may have changed, from file events once
//! the project is quiet, and from comparisons for changes without events. An event means "look
//! again"; the digest decides what has changed.

mod burst;
mod classify;
mod compare;
mod debounce;
mod event_loop;
mod fair_queue;
mod follow;
mod git_lock;
mod inotify;
mod installs;
mod merge;
mod polling;
mod rescan;
mod stamp;
mod tree;
mod unreported;

use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use notify_debouncer_full::DebounceEventResult;
use switchyard_contract::event::Trigger;
use tokio::sync::oneshot;

use self::compare::{Comparison, Difference};
use self::event_loop::WatchLoop;
use self::follow::RootFollower;
use self::polling::Polling;
use self::tree::WatchTree;
use crate::root::Root;

/// Capacity of the channel of events. While it is full the watch waits, and the kernel's queue
/// behind it overflows into a rescan at worst.
pub(crate) const QUEUE: usize = 256;

/// An event of the watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WatchEvent {
    /// The project `name` may have changed. `name` is a directory's name, which need not be a valid
    /// project name; `since` is the time of the first sign of the change.
    ProjectChanged { name: String, since: Instant, trigger: Trigger },
    /// The projects root is another folder, and that one is complete: projects that are not in it
    /// are gone.
    RootReplaced,
}

/// A figure that the watch reports for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measurement {
    /// Projects are polled from now on.
    PollingStarted,
    /// File events were lost.
    EventsLost,
    /// A change was found by comparison that no file event had reported.
    UnreportedChange,
    /// The projects root became another folder.
    RootReplaced,
    /// Number of directories that are watched now.
    WatchedDirectories(usize),
}

/// The receiver of [`Measurement`]s. Called on the threads of the watch, so it must not block.
pub(crate) type MeasurementSink = Arc<dyn Fn(Measurement) + Send + Sync>;

/// Settings of the watch.
#[derive(Debug, Clone)]
pub(crate) struct WatchSettings {
    /// The projects root.
    pub(crate) root: Root,
    /// Time without events after which a project is quiet.
    pub(crate) debounce: Duration,
    /// `true`: less is enough after changes that seem to be complete.
    pub(crate) settles_early: bool,
    /// Interval between comparisons that replace file events; `None`: file events are used.
    pub(crate) poll: Option<Duration>,
    /// Interval between comparisons beside file events. Zero turns them off.
    pub(crate) compare: Duration,
    /// Maximum number of folders of a valid project.
    pub(crate) max_folders: u64,
    /// Maximum number of files of a valid project.
    pub(crate) max_files: u64,
}

/// The running watch. Dropping it ends its threads and waits for them.
pub(crate) struct Watch {
    stop: mpsc::Sender<WatchMessage>,
    thread: Option<JoinHandle<()>>,
    /// `None`: it was awaited.
    begun: Option<oneshot::Receiver<()>>,
}

/// A message to the thread of the watch.
enum WatchMessage {
    FileEvents(DebounceEventResult),
    Difference(Difference),
    Stop,
}

impl Watch {
    /// Watches the projects in `settings.root`, and all folders of each. See [`Self::begun`].
    ///
    /// # Errors
    /// A thread cannot be started.
    pub(crate) fn start(
        settings: WatchSettings,
        observer: MeasurementSink,
        changes: tokio::sync::mpsc::Sender<WatchEvent>,
    ) -> Result<Self> {
        let (sender, messages) = mpsc::channel();
        let (events, differences) = (sender.clone(), sender.clone());
        let follower = RootFollower::new(settings.root.clone());
        let folder = follower.folder().cloned().unwrap_or_else(|| settings.root.path().to_owned());
        let limits = [settings.max_folders, settings.max_files];
        let overrides = settings.root.overrides().clone();
        let (tree, started) =
            WatchTree::new(&folder, overrides, limits, move |result: DebounceEventResult| {
                // Fails only after the watch has ended.
                let _ = events.send(WatchMessage::FileEvents(result));
            });
        let comparison = Comparison::start(settings.root.clone(), move |difference| {
            differences.send(WatchMessage::Difference(difference)).is_ok()
        })
        .context("start the thread that compares projects")?;
        let polling = Polling::new(settings.poll, settings.compare, comparison, observer.clone());
        let mut watch_loop = WatchLoop::new(&settings, tree, follower, polling, observer, changes);
        let (begun_sender, begun) = oneshot::channel();
        let run = move || {
            watch_loop.begin(started);
            // The receiver is gone if the router is stopping.
            let _ = begun_sender.send(());
            watch_loop.run(&messages);
        };
        let thread = std::thread::Builder::new()
            .name("watch".to_owned())
            .spawn(run)
            .context("start the watch thread")?;
        Ok(Self { stop: sender, thread: Some(thread), begun: Some(begun) })
    }

    /// Waits until the projects that exist are watched, or a limit of time is over. What is read
    /// before that may miss changes.
    pub(crate) async fn begun(&mut self) {
        if let Some(begun) = self.begun.take() {
            // A panic of the thread is logged.
            let _ = begun.await;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.stop.send(WatchMessage::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
