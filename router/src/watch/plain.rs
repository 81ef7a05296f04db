//! File events as they come. notify-debouncer-full drops what it takes to be a file that came and went, and takes
//! the end of a folder that was replaced for that of the one that stands there now.

use std::path::Path;

use notify_debouncer_full::notify::event::ModifyKind;
use notify_debouncer_full::notify::{
    Config, Event, EventHandler, EventKind, RecommendedWatcher, RecursiveMode, Result, Watcher, WatcherKind,
};

/// The platform's watcher, whose removals and renames are [`EventKind::Any`]: the debouncer only joins them.
#[derive(Debug)]
pub(super) struct PlainWatcher(RecommendedWatcher);

impl Watcher for PlainWatcher {
    fn new<F: EventHandler>(mut handler: F, config: Config) -> Result<Self> {
        RecommendedWatcher::new(move |event: Result<Event>| handler.handle_event(event.map(plain)), config)
            .map(Self)
    }

    fn watch(&mut self, path: &Path, mode: RecursiveMode) -> Result<()> {
        self.0.watch(path, mode)
    }

    fn unwatch(&mut self, path: &Path) -> Result<()> {
        self.0.unwatch(path)
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
