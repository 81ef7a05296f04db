//! The kernel's file events, as notify's watchers have them. In place of notify's own: that searches all watches for each
//! folder that is removed, keeps reading while nobody takes what it has read, and takes the end of a folder that was replaced
//! for that of the one that stands there now.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use notify_debouncer_full::notify::event::{
    AccessKind, AccessMode, CreateKind, DataChange, Flag, MetadataKind, ModifyKind,
};
use notify_debouncer_full::notify::{
    Config, Error, ErrorKind, Event, EventHandler, EventKind, RecursiveMode, Result, Watcher, WatcherKind,
};
use notify_debouncer_full::{Debouncer, NoCache};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

/// An event has 16 bytes and a name, of 255 bytes at most.
const BUFFER: usize = 64 * 1024;

/// Events that may wait to be taken: as many as the kernel's own queue has by default. With more nothing is read, and that
/// queue overflows at worst.
const BACKLOG: usize = 16_384;

/// Between two looks at whether there is room again.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };

/// The watcher's thread ends with it.
#[derive(Debug)]
pub(super) struct KernelWatcher {
    shared: Arc<Shared>,
    end: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    inotify: OwnedFd,
    folders: Mutex<Folders>,
    /// Events since they were last taken.
    backlog: AtomicUsize,
}

/// The watch of each folder, and the folder of each watch.
#[derive(Debug, Default)]
struct Folders {
    watches: BTreeMap<PathBuf, i32>,
    paths: HashMap<i32, PathBuf>,
}

/// Watches a folder without those in it. One that is watched already stays so.
///
/// # Errors
/// The folder is gone, or the kernel has no watches left.
pub(super) fn watch(debouncer: &mut Debouncer<KernelWatcher, NoCache>, folder: &Path) -> Result<()> {
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

/// Makes room for more events: those so far were taken.
pub(super) fn taken(debouncer: &mut Debouncer<KernelWatcher, NoCache>) {
    // There is no other way through the debouncer. It cannot fail.
    let _ = debouncer.configure(Config::default());
}

impl KernelWatcher {
    fn start(handler: impl EventHandler) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let end = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let shared = Arc::new(Shared { inotify, folders: Mutex::default(), backlog: AtomicUsize::new(0) });
        let work = Work { shared: shared.clone(), end: end.clone(), handler };
        let thread = std::thread::Builder::new().name("events".to_owned()).spawn(move || work.run())?;
        Ok(Self { shared, end, thread: Some(thread) })
    }
}

impl Watcher for KernelWatcher {
    fn new<F: EventHandler>(handler: F, _: Config) -> Result<Self> {
        Self::start(handler).map_err(Error::io)
    }

    fn watch(&mut self, path: &Path, _: RecursiveMode) -> Result<()> {
        self.shared.watch(path).map_err(|error| match error {
            Errno::NOSPC => Error::new(ErrorKind::MaxFilesWatch),
            // Something else is there now.
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP => Error::new(ErrorKind::PathNotFound),
            error => Error::io(error.into()),
        })?;
        Err(success())
    }

    fn unwatch(&mut self, path: &Path) -> Result<()> {
        self.shared.unwatch(path);
        Ok(())
    }

    /// See [`taken`].
    fn configure(&mut self, _: Config) -> Result<bool> {
        self.shared.backlog.store(0, Ordering::Relaxed);
        Ok(false)
    }

    fn kind() -> WatcherKind {
        WatcherKind::Inotify
    }
}

impl Drop for KernelWatcher {
    fn drop(&mut self) {
        // The counter cannot overflow: this is the only writer.
        let _ = rustix::io::write(&*self.end, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn watch(&self, path: &Path) -> rustix::io::Result<()> {
        let wanted = WatchFlags::ATTRIB
            | WatchFlags::CREATE
            | WatchFlags::OPEN
            | WatchFlags::DELETE
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::MODIFY
            | WatchFlags::MOVE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF;
        // Held meanwhile: an event may come before this returns.
        let mut folders = self.folders();
        let flags = wanted | WatchFlags::ONLYDIR | WatchFlags::DONT_FOLLOW;
        let watch = inotify::add_watch(&self.inotify, path, flags)?;
        folders.put(path, watch);
        Ok(())
    }

    fn unwatch(&self, path: &Path) {
        if let Some(watch) = self.folders().take(path) {
            // The kernel has ended it with the folder, perhaps.
            let _ = inotify::remove_watch(&self.inotify, watch);
        }
    }

    fn folders(&self) -> MutexGuard<'_, Folders> {
        self.folders.lock().expect("no holder of this lock panics")
    }
}

impl Folders {
    /// The folder of a watch is the newest path that it was watched by: one that was moved keeps its watch.
    fn put(&mut self, path: &Path, watch: i32) {
        if let Some(before) = self.paths.insert(watch, path.to_owned())
            && before != path
        {
            self.watches.remove(&before);
        }
        if let Some(before) = self.watches.insert(path.to_owned(), watch)
            && before != watch
        {
            // The path was another folder's, whose watch goes on without a path until the kernel ends it.
            self.paths.remove(&before);
        }
    }

    fn take(&mut self, path: &Path) -> Option<i32> {
        let watch = self.watches.remove(path)?;
        self.paths.remove(&watch);
        Some(watch)
    }

    /// Forgets a watch that the kernel has ended.
    fn end(&mut self, watch: i32) {
        if let Some(path) = self.paths.remove(&watch) {
            self.watches.remove(&path);
        }
    }

    /// Takes out a folder that was moved away, and all below: their paths are others' now, or nobody's.
    fn take_all(&mut self, path: &Path) -> Vec<i32> {
        let below = self.watches.range(path.to_owned()..).map(|(below, _)| below);
        let below: Vec<_> = below.take_while(|below| below.starts_with(path)).cloned().collect();
        below.iter().filter_map(|below| self.take(below)).collect()
    }
}

struct Work<H> {
    shared: Arc<Shared>,
    end: Arc<OwnedFd>,
    handler: H,
}

impl<H: EventHandler> Work<H> {
    fn run(mut self) {
        let shared = self.shared.clone();
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut reader = Reader::new(shared.inotify.as_fd(), &mut buffer);
        while self.wait() {
            loop {
                match reader.next() {
                    Ok(event) => {
                        let (watch, flags) = (event.wd(), event.events());
                        let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
                        self.event(watch, flags, name);
                    }
                    Err(Errno::AGAIN) => break,
                    Err(Errno::INTR) => {}
                    Err(error) => {
                        self.handler.handle_event(Err(Error::io(error.into())));
                        break;
                    }
                }
                if reader.is_buffer_empty() {
                    break;
                }
            }
        }
    }

    /// Waits for events, and for room for them: the kernel keeps what is not read, and says when it was too much. Returns
    /// `false` when the watcher has ended.
    fn wait(&self) -> bool {
        loop {
            let has_room = self.shared.backlog.load(Ordering::Relaxed) < BACKLOG;
            let (inotify, end) = (self.shared.inotify.as_fd(), self.end.as_fd());
            let mut polled = [PollFd::new(&end, PollFlags::IN), PollFd::new(&inotify, PollFlags::IN)];
            let polled = if has_room { &mut polled[..] } else { &mut polled[..1] };
            let pause = (!has_room).then_some(&PAUSE);
            if poll(polled, pause).is_err() {
                continue;
            }
            if !polled[0].revents().is_empty() {
                return false;
            }
            if polled.get(1).is_some_and(|inotify| !inotify.revents().is_empty()) {
                return true;
            }
        }
    }

    fn event(&mut self, watch: i32, flags: ReadFlags, name: Option<&OsStr>) {
        self.shared.backlog.fetch_add(1, Ordering::Relaxed);
        if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
            let lost = Event::new(EventKind::Other).set_flag(Flag::Rescan);
            return self.handler.handle_event(Ok(lost));
        }
        let path = {
            let mut folders = self.shared.folders();
            let Some(folder) = folders.paths.get(&watch) else { return };
            let path = name.map_or_else(|| folder.clone(), |name| folder.join(name));
            let is_moved_away = flags.contains(ReadFlags::MOVED_FROM | ReadFlags::ISDIR);
            if flags.contains(ReadFlags::IGNORED) {
                folders.end(watch);
            } else if is_moved_away || flags.contains(ReadFlags::MOVE_SELF) {
                for watch in folders.take_all(&path) {
                    let _ = inotify::remove_watch(&self.shared.inotify, watch);
                }
            }
            path
        };
        if let Some(kind) = kind(flags) {
            self.handler.handle_event(Ok(Event::new(kind).add_path(path)));
        }
    }
}

/// Removals and renames are [`EventKind::Any`]: the debouncer drops what it takes to be a file that came and went.
fn kind(flags: ReadFlags) -> Option<EventKind> {
    let gone = ReadFlags::MOVED_FROM
        | ReadFlags::MOVED_TO
        | ReadFlags::MOVE_SELF
        | ReadFlags::DELETE
        | ReadFlags::DELETE_SELF
        | ReadFlags::UNMOUNT;
    let kinds = [
        (gone, EventKind::Any),
        (ReadFlags::CREATE.union(ReadFlags::ISDIR), EventKind::Create(CreateKind::Folder)),
        (ReadFlags::CREATE, EventKind::Create(CreateKind::File)),
        (ReadFlags::MODIFY, EventKind::Modify(ModifyKind::Data(DataChange::Any))),
        (ReadFlags::CLOSE_WRITE, EventKind::Access(AccessKind::Close(AccessMode::Write))),
        (ReadFlags::ATTRIB, EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any))),
        (ReadFlags::OPEN, EventKind::Access(AccessKind::Open(AccessMode::Any))),
    ];
    let (first, others) = kinds.split_first()?;
    let is_gone = flags.intersects(first.0).then_some(first.1);
    is_gone.or_else(|| others.iter().find(|(kind, _)| flags.contains(*kind)).map(|(_, kind)| *kind))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    use super::*;

    struct Scene {
        dir: tempfile::TempDir,
        watcher: KernelWatcher,
        events: Receiver<Event>,
    }

    impl Scene {
        fn new() -> Self {
            let (sender, events) = channel();
            let watcher = KernelWatcher::start(move |event: Result<Event>| {
                let _ = sender.send(event.unwrap());
            });
            let dir = tempfile::tempdir().unwrap();
            Self { dir, watcher: watcher.unwrap(), events }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        fn watch(&self, name: &str) {
            self.watcher.shared.watch(&self.path(name)).unwrap();
        }

        fn watched(&self) -> Vec<PathBuf> {
            let folders = self.watcher.shared.folders();
            assert_eq!(folders.watches.len(), folders.paths.len());
            let names = folders.watches.keys().map(|path| path.strip_prefix(self.dir.path()).unwrap());
            names.map(Path::to_owned).collect()
        }

        fn wait_for(&self, name: &str) -> EventKind {
            let path = self.path(name);
            loop {
                let event = self.events.recv_timeout(Duration::from_secs(20)).unwrap();
                if event.paths.first() == Some(&path) {
                    return event.kind;
                }
            }
        }

        /// Waits until all events so far have come.
        fn settle(&self) {
            fs::write(self.path("settled"), "").unwrap();
            self.wait_for("settled");
            fs::remove_file(self.path("settled")).unwrap();
        }
    }

    #[test]
    fn events_have_the_path_that_their_folder_has() {
        let scene = Scene::new();
        fs::create_dir_all(scene.path("a/b")).unwrap();
        for name in ["", "a", "a/b"] {
            scene.watch(name);
        }
        fs::write(scene.path("a/b/file"), "").unwrap();
        assert_eq!(scene.wait_for("a/b/file"), EventKind::Create(CreateKind::File));
        fs::rename(scene.path("a"), scene.path("c")).unwrap();
        scene.settle();
        assert_eq!(scene.watched(), [Path::new("")], "what was moved away is watched under no old path");
        scene.watch("c/b");
        fs::create_dir(scene.path("c/b/folder")).unwrap();
        assert_eq!(scene.wait_for("c/b/folder"), EventKind::Create(CreateKind::Folder));
    }

    #[test]
    fn a_folder_that_is_watched_under_its_new_path_stays_so_when_the_old_one_is_given_up() {
        let scene = Scene::new();
        fs::create_dir(scene.path("a")).unwrap();
        scene.watch("a");
        fs::rename(scene.path("a"), scene.path("b")).unwrap();
        scene.watch("");
        scene.watch("b");
        scene.watcher.shared.unwatch(&scene.path("a"));
        scene.settle();
        scene.watch("b");
        fs::write(scene.path("b/file"), "").unwrap();
        scene.wait_for("b/file");
    }

    #[test]
    fn what_is_removed_is_forgotten_and_a_folder_in_its_place_is_another_one() {
        let scene = Scene::new();
        scene.watch("");
        for _ in 0..3 {
            fs::create_dir_all(scene.path("a/b")).unwrap();
            scene.watch("a");
            scene.watch("a/b");
            fs::write(scene.path("a/b/file"), "").unwrap();
            scene.wait_for("a/b/file");
            fs::remove_dir_all(scene.path("a")).unwrap();
            scene.settle();
            assert_eq!(scene.watched(), [Path::new("")]);
        }
        std::os::unix::fs::symlink(".", scene.path("link")).unwrap();
        assert_eq!(scene.watcher.shared.watch(&scene.path("link")), Err(Errno::NOTDIR));
    }

    #[test]
    fn what_nobody_takes_is_not_read_for_ever_and_what_was_lost_is_reported() {
        let mut scene = Scene::new();
        scene.watch("");
        let file = fs::File::create(scene.path("file")).unwrap();
        // More than this and the kernel keep, each unlike the one before it.
        for n in 0..50_000 {
            file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            file.set_len(n % 2).unwrap();
        }
        let mut seen = 0;
        while scene.events.recv_timeout(Duration::from_millis(500)).is_ok() {
            seen += 1;
        }
        assert!((BACKLOG..2 * BACKLOG).contains(&seen), "{seen}");
        scene.watcher.configure(Config::default()).unwrap();
        while !scene.events.recv_timeout(Duration::from_secs(20)).unwrap().need_rescan() {
            scene.watcher.configure(Config::default()).unwrap();
        }
    }
}
