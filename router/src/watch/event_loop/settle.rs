//! Early quiet with `--debounce auto`: lists the files of projects whose changes may be complete,
//! and takes those out that are.

use std::time::Instant;

use super::{SLICE, WatchEvent, WatchLoop};
use crate::watch::debounce::Listing;
use crate::watch::git_lock;
use crate::watch::stamp::StampReader;

impl WatchLoop {
    /// Lists the projects that are due to be listed, for [`SLICE`], and adds events for those that
    /// are quiet. `is_behind`: there are events that were not read.
    pub(super) fn settle_early(&mut self, is_behind: bool, events: &mut Vec<WatchEvent>) {
        let began = Instant::now();
        while let Some(name) = self.debouncer.next_listing(Instant::now()) {
            let listing = if is_behind { Listing::Busy } else { self.list(&name) };
            let now = Instant::now();
            if let Some(project) = self.debouncer.note_listing(&name, listing, now) {
                events.extend(self.quiet(project, now));
            }
            if began.elapsed() > SLICE {
                break;
            }
        }
    }

    fn list(&mut self, name: &str) -> Listing {
        // Events are incomplete, and so is what they say about writers.
        if self.polling.is_active() {
            return Listing::None;
        }
        let place = self.tree.place(name);
        if git_lock::is_held(&place.dir) {
            return Listing::Busy;
        }
        // An include that was not watched so far may be in the middle of being written.
        if self.tree.reload_includes(name) {
            self.resync.request(name, Instant::now());
            return Listing::None;
        }
        let stamp = StampReader::read_quickly(self.tree.root(), self.root.overrides(), name);
        stamp.map_or(Listing::None, Listing::Files)
    }
}
