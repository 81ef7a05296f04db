//! File events as they come. notify-debouncer-full drops what it takes to be a file that came and went, and takes
//! the end of a folder that was replaced for that of the one that stands there now. Neither an event nor a watch costs
//! more where more folders are watched.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use notify_debouncer_full::notify::event::ModifyKind;
use notify_debouncer_full::notify::{
    Config, Error, ErrorKind, Event, EventHandler, EventKind, RecommendedWatcher, RecursiveMode, Result,
    Watcher, WatcherKind,
};
use notify_debouncer_full::{Debouncer, NoCache};

/// The platform's watcher, whose removals and renames are [`EventKind::Any`]: the debouncer only joins them.
#[derive(Debug)]
pub(super) struct PlainWatcher {
    watcher: RecommendedWatcher,
    folders: Folders,
}

/// Watches a folder without those in it. Of one that is watched already nothing is asked.
///
/// # Errors
/// It is gone, or the kernel has no watches left.
pub(super) fn watch(debouncer: &mut Debouncer<PlainWatcher, NoCache>, folder: &Path) -> Result<()> {
    match debouncer.watch(folder, RecursiveMode::NonRecursive) {
        Err(error) if is_success(&error) => Ok(()),
        watched => watched,
    }
}

/// The debouncer puts what was watched on a list, and searches that at every event and every watch, for a cache of
/// files that is not used here. It stays empty when success is an error to the debouncer.
fn success() -> Error {
    Error::new(ErrorKind::Generic(String::new()))
}

fn is_success(error: &Error) -> bool {
    matches!(&error.kind, ErrorKind::Generic(message) if message.is_empty())
}

impl Watcher for PlainWatcher {
    fn new<F: EventHandler>(mut handler: F, config: Config) -> Result<Self> {
        let folders = Folders::default();
        let watched = folders.clone();
        let handler = move |event: Result<Event>| {
            let event = event.map(plain);
            watched.follow(&event);
            handler.handle_event(event);
        };
        Ok(Self { watcher: RecommendedWatcher::new(handler, config)?, folders })
    }

    fn watch(&mut self, path: &Path, mode: RecursiveMode) -> Result<()> {
        // Noted first: an event that ends the watch may come before it was answered.
        if self.folders.note(path) {
            self.watcher.watch(path, mode).inspect_err(|_| self.folders.forget(path))?;
        }
        Err(success())
    }

    fn unwatch(&mut self, path: &Path) -> Result<()> {
        self.folders.forget(path);
        self.watcher.unwatch(path)
    }

    fn kind() -> WatcherKind {
        RecommendedWatcher::kind()
    }
}

fn plain(mut event: Event) -> Event {
    if matches!(event.kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))) {
        event.kind = EventKind::Any;
    }
    event
}

/// The watched folders by path, and which folder each path was. notify ends the watches of a folder that is removed or
/// renamed, and of all below it.
#[derive(Debug, Clone, Default)]
struct Folders(Arc<Mutex<BTreeMap<PathBuf, Identity>>>);

/// A folder, whatever its path: inode numbers are used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    made: SystemTime,
}

impl Identity {
    /// `None` where the file system does not say when it was made, too.
    fn of(folder: &Path) -> Option<Self> {
        let metadata = folder.symlink_metadata().ok()?;
        Some(Self { device: metadata.dev(), inode: metadata.ino(), made: metadata.created().ok()? })
    }
}

impl Folders {
    /// Notes that `path` is to be watched. Returns whether that may be another folder than before.
    fn note(&self, path: &Path) -> bool {
        let identity = Identity::of(path);
        let mut folders = self.folders();
        match identity {
            Some(identity) => folders.insert(path.to_owned(), identity) != Some(identity),
            None => {
                folders.remove(path);
                true
            }
        }
    }

    fn forget(&self, path: &Path) {
        self.folders().remove(path);
    }

    /// Forgets what is no longer watched after `event`, or may not be after events that are lost.
    fn follow(&self, event: &Result<Event>) {
        match event {
            Ok(event) if event.need_rescan() => self.folders().clear(),
            Ok(event) if event.kind == EventKind::Any => {
                let mut folders = self.folders();
                for path in &event.paths {
                    let below =
                        folders.range(path.clone()..).take_while(|(below, _)| below.starts_with(path));
                    let below: Vec<_> = below.map(|(below, _)| below.clone()).collect();
                    for path in below {
                        folders.remove(&path);
                    }
                }
            }
            Ok(_) => {}
            Err(_) => self.folders().clear(),
        }
    }

    fn folders(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Identity>> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_watched_again_when_it_is_another_one_or_its_watch_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a/b");
        std::fs::create_dir_all(&folder).unwrap();
        let folders = Folders::default();
        assert!(folders.note(&folder));
        assert!(!folders.note(&folder));
        std::fs::rename(&folder, dir.path().join("a/c")).unwrap();
        std::fs::create_dir(&folder).unwrap();
        assert!(folders.note(&folder), "it is another folder");
        let happened =
            |kind, path: &str| folders.follow(&Ok(Event::new(kind).add_path(dir.path().join(path))));
        happened(EventKind::Modify(ModifyKind::Any), "a");
        assert!(!folders.note(&folder));
        happened(EventKind::Any, "a");
        assert!(folders.note(&folder), "the one that it is in was moved");
        folders.follow(&Err(success()));
        assert!(folders.note(&folder), "events were lost");
    }
}
