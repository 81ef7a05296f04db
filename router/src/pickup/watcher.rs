//! The thread that watches folders and picks files up. A file that is closed or moved under its eyes is
//! picked up at once; others, found by a look at the folder, when they have not changed for a moment.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use switchyard_contract::project::ProjectName;
use switchyard_contract::run::RunId;

use super::Shared;
use super::disk::{Identity, Listing, Place};
use super::plan::{PlaceKey, PlaceTasks, places};
use super::record::Record;
use crate::live::LiveTable;

/// Bytes of the buffer for events. Each event has 16 bytes and a name of at most 255 bytes.
const BUFFER: usize = 16 * 1024;

/// Interval between looks at a folder that is watched: an event may have been lost with a folder that
/// took another one's place.
const LOOK: Duration = Duration::from_secs(30);

/// Interval between looks at a folder that cannot be watched or opened.
const LOOK_WITHOUT_WATCH: Duration = Duration::from_secs(5);

/// Orders to the thread.
#[derive(Debug)]
pub(super) struct Signal {
    wake: OwnedFd,
    stop: AtomicBool,
    live: AtomicBool,
    look: AtomicBool,
}

impl Signal {
    /// # Errors
    /// The kernel has no descriptors left.
    pub(super) fn new() -> io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let (stop, look) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(Self { wake, stop, live: AtomicBool::new(true), look })
    }

    /// Ends the thread.
    pub(super) fn stop(&self) {
        self.set(&self.stop);
    }

    /// Other versions are live.
    pub(super) fn live_changed(&self) {
        self.set(&self.live);
    }

    /// Files may be picked up that could not be before.
    pub(super) fn look(&self) {
        self.set(&self.look);
    }

    fn set(&self, flag: &AtomicBool) {
        flag.store(true, Ordering::Release);
        // Fails only when it is woken in any case.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }
}

/// The state of the thread.
pub(super) struct Watcher {
    shared: Arc<Shared>,
    live: Arc<LiveTable>,
    /// `None`: the kernel has no instance left. Folders are looked at from time to time then.
    inotify: Option<OwnedFd>,
    places: BTreeMap<PlaceKey, Watched>,
    by_watch: HashMap<i32, PlaceKey>,
}

/// A folder.
#[derive(Debug, Default)]
struct Watched {
    tasks: PlaceTasks,
    watch: Option<(i32, Identity)>,
    /// When it is looked at next.
    look_at: Option<Instant>,
    /// `true`: its last error is in the log.
    is_reported: bool,
    /// The files that can never be picked up, as they are in the log.
    unusable: Option<(String, usize)>,
}

impl Watched {
    /// Logs files that can never be picked up, once.
    fn report_unusable(&mut self, key: &PlaceKey, unusable: Option<(String, usize)>) {
        if let Some((name, count)) = unusable.as_ref().filter(|_| unusable != self.unusable) {
            tracing::warn!(
                project.name = %key.tenant.project,
                files = count,
                "files in {:?} of its DATA_DIR start no task, such as {name:?}: their names are not UTF-8, or \
                 have control characters; rename or remove them",
                key.folder
            );
        }
        self.unusable = unusable;
    }
}

impl Watcher {
    pub(super) fn new(shared: Arc<Shared>, live: Arc<LiveTable>) -> Self {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK);
        let inotify = inotify.inspect_err(|error| {
            tracing::warn!(
                "files that start tasks are looked for from time to time, not watched: {error} \
                 (fs.inotify.max_user_instances)"
            );
        });
        Self { shared, live, inotify: inotify.ok(), places: BTreeMap::new(), by_watch: HashMap::new() }
    }

    /// Runs until it is told to stop.
    pub(super) fn run(mut self) {
        let mut buffer = vec![MaybeUninit::uninit(); BUFFER];
        loop {
            let signal = &self.shared.signal;
            if signal.stop.load(Ordering::Acquire) {
                return;
            }
            if signal.live.swap(false, Ordering::AcqRel) {
                self.update();
            }
            if self.shared.signal.look.swap(false, Ordering::AcqRel) {
                let now = Some(Instant::now());
                self.places.values_mut().for_each(|place| place.look_at = now);
            }
            let now = Instant::now();
            let is_due = |place: &Watched| place.look_at.is_some_and(|at| at <= now);
            let due: Vec<_> =
                self.places.iter().filter(|(_, place)| is_due(place)).map(|(key, _)| key.clone()).collect();
            due.iter().for_each(|key| self.look(key));
            self.wait();
            self.events(&mut buffer);
        }
    }

    /// Watches the folders that the live versions of changed projects name now, and no others of
    /// these projects.
    fn update(&mut self) {
        for project in self.live.take_changed() {
            let table = self.live.load();
            let live = table.get(project.as_str()).and_then(|entry| entry.live.as_ref());
            let wanted = live.map(|live| places(&live.version.tenant(), live.tasks.set()));
            self.update_places(&project, wanted.unwrap_or_default());
        }
    }

    fn update_places(&mut self, project: &ProjectName, wanted: BTreeMap<PlaceKey, PlaceTasks>) {
        let known = self.places.range(PlaceKey::first_of(project)..).map(|(key, _)| key);
        let known = known.take_while(|key| key.tenant.project == *project);
        let gone: Vec<_> = known.filter(|key| !wanted.contains_key(*key)).cloned().collect();
        for key in gone {
            self.unwatch(&key);
            self.places.remove(&key);
        }
        for (key, tasks) in wanted {
            let place = self.places.entry(key).or_default();
            if place.tasks != tasks {
                place.tasks = tasks;
                place.look_at = Some(Instant::now());
            }
        }
    }

    /// Watches a folder, if it is not watched, and picks up the files in it.
    fn look(&mut self, key: &PlaceKey) {
        let looked = self.open(key).and_then(|opened| {
            self.watch(key, &opened)?;
            self.pick_all(key, &opened)
        });
        let Some(place) = self.places.get_mut(key) else { return };
        let pause = match looked {
            Ok(Listing { again, unusable, .. }) => {
                place.is_reported = false;
                place.report_unusable(key, unusable);
                let longest = if place.watch.is_some() { LOOK } else { LOOK_WITHOUT_WATCH };
                again.map_or(longest, |again| again.min(longest))
            }
            Err(error) => {
                if !std::mem::replace(&mut place.is_reported, true) {
                    tracing::warn!(
                        project.name = %key.tenant.project,
                        "no file in {:?} of its DATA_DIR starts a task: {error}",
                        key.folder
                    );
                }
                LOOK_WITHOUT_WATCH
            }
        };
        place.look_at = Some(Instant::now() + pause);
    }

    fn open(&self, key: &PlaceKey) -> io::Result<Place> {
        let data = self.shared.cells.make_data(&key.tenant)?;
        Place::open(&data, &key.folder)
    }

    /// Watches the folder that is there now.
    fn watch(&mut self, key: &PlaceKey, opened: &Place) -> io::Result<()> {
        let identity = opened.identity()?;
        let known = self.places.get(key).and_then(|place| place.watch);
        if known.is_some_and(|(_, known)| known == identity) {
            return Ok(());
        }
        self.unwatch(key);
        let Some(inotify) = &self.inotify else { return Ok(()) };
        let flags =
            WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO | WatchFlags::MOVE_SELF | WatchFlags::ONLYDIR;
        // The folder itself, whatever is at its path by now.
        let path = format!("/proc/self/fd/{}", opened.folder().as_raw_fd());
        match inotify::add_watch(inotify, path, flags) {
            Ok(watch) => {
                self.by_watch.insert(watch, key.clone());
                if let Some(place) = self.places.get_mut(key) {
                    place.watch = Some((watch, identity));
                }
            }
            // It is looked at more often.
            Err(error) => tracing::warn!(
                project.name = %key.tenant.project,
                "{:?} of its DATA_DIR cannot be watched: {error} (fs.inotify.max_user_watches)",
                key.folder
            ),
        }
        Ok(())
    }

    fn unwatch(&mut self, key: &PlaceKey) {
        let watch = self.places.get_mut(key).and_then(|place| place.watch.take());
        if let (Some((watch, _)), Some(inotify)) = (watch, &self.inotify) {
            self.by_watch.remove(&watch);
            // Fails if the kernel has ended it with the folder.
            let _ = inotify::remove_watch(inotify, watch);
        }
    }

    /// Picks up all files that are whole. Returns all that were found.
    fn pick_all(&self, key: &PlaceKey, opened: &Place) -> io::Result<Listing> {
        if !self.shared.is_followed() {
            return Ok(Listing::default());
        }
        let tasks = self.places.get(key).map(|place| &place.tasks);
        let fits = |name: &str| tasks.into_iter().flatten().any(|(pattern, _)| pattern.fits(name));
        let listing = opened.list(fits)?;
        for name in &listing.files {
            if !self.pick(key, opened, name)? {
                break;
            }
        }
        Ok(listing)
    }

    /// Picks up a file, unless it is gone. Returns false if there is no room for more.
    fn pick(&self, key: &PlaceKey, opened: &Place, name: &str) -> io::Result<bool> {
        let Some(place) = self.places.get(key) else { return Ok(false) };
        let Some((_, task)) = place.tasks.iter().find(|(pattern, _)| pattern.matches(name)) else {
            return Ok(true);
        };
        if !self.shared.open().has_room(&key.tenant.project) {
            return Ok(false);
        }
        let record = Record {
            run: RunId::new_now(),
            tenant: key.tenant.clone(),
            task: task.clone(),
            folder: key.folder.clone(),
            file: name.to_owned(),
            is_picked: false,
        };
        let records = &self.shared.records;
        // Before the move: a router that ends in between knows where to look.
        records.write(&record)?;
        match opened.pick(record.run, name) {
            Ok(true) => {}
            Ok(false) => {
                records.remove(record.run);
                return Ok(true);
            }
            Err(error) => {
                records.remove(record.run);
                return Err(error);
            }
        }
        let record = Record { is_picked: true, ..record };
        if let Err(error) = records.write(&record) {
            // The first record leads to it as long as it is there.
            tracing::warn!(run = %record.run, "the record of a file is not complete: {error}");
        }
        tracing::info!(
            event = "task.file",
            project.name = %key.tenant.project,
            task = %record.task,
            run = %record.run,
            "the file {name:?} starts {}",
            record.task
        );
        self.shared.offer(record);
        Ok(true)
    }

    /// Waits for events, orders, or the time of the next look.
    fn wait(&self) {
        let now = Instant::now();
        let next = self.places.values().filter_map(|place| place.look_at).min();
        let rest = next.map_or(LOOK, |at| at.saturating_duration_since(now)).min(LOOK);
        // Rounded up, so that it is due then.
        let timeout = Timespec::try_from(rest + Duration::from_millis(1)).ok();
        let wake = self.shared.signal.wake.as_fd();
        // Without inotify the same source twice.
        let inotify = self.inotify.as_ref().map_or(wake, |inotify| inotify.as_fd());
        let mut sources = [PollFd::new(&wake, PollFlags::IN), PollFd::new(&inotify, PollFlags::IN)];
        let _ = poll(&mut sources, timeout.as_ref());
        // Empties the counter, if it is not empty.
        let _ = rustix::io::read(&self.shared.signal.wake, &mut [0_u8; 8]);
    }

    /// Takes the events that are there: one buffer at a time, as orders are taken in between.
    fn events(&mut self, buffer: &mut [MaybeUninit<u8>]) {
        let Some(inotify) = &self.inotify else { return };
        let mut found = Vec::new();
        let mut reader = Reader::new(inotify.as_fd(), buffer);
        loop {
            match reader.next() {
                Ok(event) if event.events().contains(ReadFlags::QUEUE_OVERFLOW) => self.shared.signal.look(),
                Ok(event) => found.push((event.wd(), event.events(), event.file_name().map(CStr::to_owned))),
                Err(Errno::INTR) => continue,
                Err(_) => break,
            }
            if reader.is_buffer_empty() {
                break;
            }
        }
        for (watch, flags, name) in found {
            self.event(watch, flags, name);
        }
    }

    fn event(&mut self, watch: i32, flags: ReadFlags, name: Option<CString>) {
        let Some(key) = self.by_watch.get(&watch).cloned() else { return };
        let is_gone = flags.intersects(ReadFlags::IGNORED | ReadFlags::MOVE_SELF | ReadFlags::UNMOUNT);
        if is_gone {
            self.unwatch(&key);
        }
        let is_picked = name.is_some_and(|name| !is_gone && self.pick_one(&key, &name).is_ok());
        if !is_picked && let Some(place) = self.places.get_mut(&key) {
            place.look_at = Some(Instant::now());
        }
    }

    /// Picks up the file of an event.
    fn pick_one(&self, key: &PlaceKey, name: &CStr) -> io::Result<()> {
        let Ok(text) = name.to_str() else { return Ok(()) };
        let Some(place) = self.places.get(key) else { return Ok(()) };
        if !self.shared.is_followed() || !place.tasks.iter().any(|(pattern, _)| pattern.matches(text)) {
            return Ok(());
        }
        let opened = self.open(key)?;
        let identity = opened.identity()?;
        if place.watch.is_none_or(|(_, watched)| watched != identity) {
            return Err(io::Error::other("another folder took its place"));
        }
        if opened.has(name) {
            self.pick(key, &opened, text)?;
        }
        Ok(())
    }
}
