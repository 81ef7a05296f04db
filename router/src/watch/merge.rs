//! notify-debouncer-full, which joins the events of a file that come within [`MERGE`]. Its thread
//! looks for events every [`TICK`], 250 times a second; here it waits while there are none.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use notify_debouncer_full::file_id::FileId;
use notify_debouncer_full::notify::{Config, RecursiveMode, Result};
use notify_debouncer_full::{
    DebounceEventHandler, DebounceEventResult, Debouncer, FileIdCache, new_debouncer_opt,
};

use super::inotify::{self, KernelWatcher};

/// Wake-up interval of notify-debouncer-full while there are events. Together with [`MERGE`] the
/// most that it adds to a reload.
const TICK: Duration = Duration::from_millis(4);

/// Time for which notify-debouncer-full holds events back, to join those of one file. The rest of
/// `--debounce` is kept by the debouncer of projects, for the project as a whole.
const MERGE: Duration = Duration::from_millis(5);

/// The kernel's file events, joined. Dropping it ends its threads.
pub(super) struct MergedEvents {
    debouncer: Debouncer<KernelWatcher, ArrivalCache>,
    arrivals: Arc<Arrivals>,
}

impl MergedEvents {
    /// Starts file events. `handler` runs on the debouncer's thread.
    ///
    /// # Errors
    /// The kernel has no inotify instance or thread left.
    pub(super) fn start(mut handler: impl DebounceEventHandler) -> Result<Self> {
        let arrivals = Arc::new(Arrivals::default());
        let (cache, waiting) = (ArrivalCache(arrivals.clone()), arrivals.clone());
        let handler = move |result: DebounceEventResult| {
            let newest = result.iter().flatten().map(|event| event.time).max();
            handler.handle_event(result);
            if newest.is_some_and(|newest| waiting.wait_after(newest)) {
                // The next look, a tick later, takes the event that has come.
                sleep(MERGE.saturating_sub(TICK));
            }
        };
        let debouncer = new_debouncer_opt(MERGE, Some(TICK), handler, cache, Config::default())?;
        Ok(Self { debouncer, arrivals })
    }

    /// Watches a folder, but not the folders in it. A folder that is watched already stays watched.
    ///
    /// # Errors
    /// The folder is gone, or the kernel has no watches left.
    pub(super) fn watch(&mut self, folder: &Path) -> Result<()> {
        inotify::watch(&mut self.debouncer, folder)
    }

    pub(super) fn unwatch(&mut self, folder: &Path) {
        // Fails if the watch has ended with the folder.
        let _ = self.debouncer.unwatch(folder);
    }

    /// Makes room for more events, as all events so far were received. Returns `true` if the kernel
    /// has more events that were not read.
    pub(super) fn acknowledge(&mut self) -> bool {
        inotify::acknowledge(&mut self.debouncer)
    }
}

impl Drop for MergedEvents {
    fn drop(&mut self) {
        self.arrivals.end();
    }
}

/// The arrival of events, as the thread that reads them reports it to the debouncer's.
#[derive(Debug, Default)]
struct Arrivals {
    state: Mutex<ArrivalState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct ArrivalState {
    /// Time of the last event.
    last: Option<Instant>,
    is_awaited: bool,
    is_over: bool,
}

impl Arrivals {
    /// Notes an event, before the debouncer takes its time.
    fn note(&self) {
        let mut state = self.state();
        state.last = Some(Instant::now());
        if state.is_awaited {
            self.changed.notify_one();
        }
    }

    /// Waits until an event has come after `newest`, the newest one that was handled. Returns `false`
    /// if there was no need to: the debouncer holds others.
    fn wait_after(&self, newest: Instant) -> bool {
        let has_none =
            |state: &mut ArrivalState| !state.is_over && state.last.is_some_and(|last| last <= newest);
        let mut state = self.state();
        state.is_awaited = has_none(&mut state);
        let must_wait = state.is_awaited;
        let waited = self.changed.wait_while(state, has_none);
        waited.unwrap_or_else(PoisonError::into_inner).is_awaited = false;
        must_wait
    }

    fn end(&self) {
        self.state().is_over = true;
        self.changed.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, ArrivalState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The debouncer's cache of file ids, which keeps none: it is called for every event.
struct ArrivalCache(Arc<Arrivals>);

impl FileIdCache for ArrivalCache {
    fn cached_file_id(&self, _: &Path) -> Option<impl AsRef<FileId>> {
        None::<&FileId>
    }

    fn add_path(&mut self, _: &Path, _: RecursiveMode) {
        self.0.note();
    }

    fn remove_path(&mut self, _: &Path) {}

    /// Called for events that were lost.
    fn rescan(&mut self, _: &[(std::path::PathBuf, RecursiveMode)]) {
        self.0.note();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn the_debouncer_waits_while_there_are_no_events_and_every_event_arrives() {
        let dir = tempfile::tempdir().unwrap();
        let (sender, events) = channel();
        let mut merged = MergedEvents::start(move |result: DebounceEventResult| {
            let _ = sender.send(result.unwrap());
        })
        .unwrap();
        merged.watch(dir.path()).unwrap();
        for name in ["a", "b", "c"] {
            fs::write(dir.path().join(name), name).unwrap();
            let mut count = 0;
            // Created, opened, written, closed.
            while count < 4 {
                count += events.recv_timeout(Duration::from_secs(20)).unwrap().len();
            }
            while !merged.arrivals.state().is_awaited {
                sleep(TICK);
            }
        }
        drop(merged);
        assert!(events.recv_timeout(Duration::from_secs(20)).is_err(), "its threads have ended");
    }

    #[test]
    fn an_event_that_came_while_others_were_handled_is_not_waited_for() {
        let arrivals = Arrivals::default();
        let before = Instant::now();
        assert!(!arrivals.wait_after(before), "no event was noted");
        arrivals.note();
        assert!(!arrivals.wait_after(before));
        arrivals.end();
        assert!(!arrivals.wait_after(Instant::now()), "it has ended");
    }
}
