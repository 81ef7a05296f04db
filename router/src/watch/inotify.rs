//! A watcher for notify over the kernel's inotify. It replaces notify's own watcher, which searches
//! all watches for each removed folder, keeps reading while its events are not taken, and confuses
//! the end of a replaced folder with the end of the folder that is there now.

mod table;

use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use notify_debouncer_full::notify::event::{
    AccessKind, AccessMode, CreateKind, Flag, MetadataKind, ModifyKind,
};
use notify_debouncer_full::notify::{
    Config, Error, ErrorKind, Event, EventHandler, EventKind, RecursiveMode, Result, Watcher, WatcherKind,
};
use notify_debouncer_full::{Debouncer, FileIdCache};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use self::table::{WatchId, WatchTable};

/// Bytes of the buffer for events. Each event has 16 bytes and a name of at most 255 bytes.
const BUFFER: usize = 64 * 1024;

/// Maximum number of events that wait for the watch: the default size of the kernel's own queue. No
/// more are read then, and the kernel's queue overflows at worst.
const BACKLOG: usize = 16_384;

/// Interval between two checks for room, while the backlog is full.
const ROOM_CHECK: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };

/// The kind of events of a path that something was moved to. See [`kind`].
pub(super) const MOVED_IN: EventKind = EventKind::Access(AccessKind::Any);

/// The watcher. Dropping it ends its thread.
#[derive(Debug)]
pub(super) struct KernelWatcher {
    inotify: Arc<Inotify>,
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

/// The inotify instance, shared by the watcher and its thread.
#[derive(Debug)]
struct Inotify {
    descriptor: OwnedFd,
    table: Mutex<WatchTable>,
    /// Number of events read since the last acknowledgement.
    backlog: AtomicUsize,
}

/// Watches a folder, but not the folders in it. A folder that is watched already stays watched.
///
/// # Errors
/// The folder is gone, or the kernel has no watches left.
pub(super) fn watch(debouncer: &mut Debouncer<KernelWatcher, impl FileIdCache>, folder: &Path) -> Result<()> {
    match debouncer.watch(folder, RecursiveMode::NonRecursive) {
        Err(error) if is_success(&error) => Ok(()),
        watched => watched,
    }
}

/// The error that stands for success. The debouncer lists all paths that were watched successfully
/// and searches that list at every event, for a cache of files that is not used here. If success is
/// an error to the debouncer, the list stays empty.
fn success() -> Error {
    Error::new(ErrorKind::Generic(String::new()))
}

fn is_success(error: &Error) -> bool {
    matches!(&error.kind, ErrorKind::Generic(message) if message.is_empty())
}

/// Makes room for more events, as all events so far were received. Returns `true` if the kernel has
/// more events that were not read.
pub(super) fn acknowledge(debouncer: &mut Debouncer<KernelWatcher, impl FileIdCache>) -> bool {
    // The debouncer passes nothing else on to the watcher.
    debouncer.configure(Config::default()).unwrap_or(true)
}

impl KernelWatcher {
    fn start(handler: impl EventHandler) -> io::Result<Self> {
        let descriptor = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let backlog = AtomicUsize::new(0);
        let inotify = Arc::new(Inotify { descriptor, table: Mutex::default(), backlog });
        let reader = EventReader { inotify: inotify.clone(), stop: stop.clone(), handler };
        let thread = std::thread::Builder::new().name("events".to_owned()).spawn(move || reader.run())?;
        Ok(Self { inotify, stop, thread: Some(thread) })
    }
}

impl Watcher for KernelWatcher {
    fn new<F: EventHandler>(handler: F, _: Config) -> Result<Self> {
        Self::start(handler).map_err(Error::io)
    }

    fn watch(&mut self, path: &Path, _: RecursiveMode) -> Result<()> {
        self.inotify.watch(path).map_err(|error| match error {
            Errno::NOSPC => Error::new(ErrorKind::MaxFilesWatch),
            // Something else is at the path now.
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP => Error::new(ErrorKind::PathNotFound),
            error => Error::io(error.into()),
        })?;
        Err(success())
    }

    fn unwatch(&mut self, path: &Path) -> Result<()> {
        self.inotify.unwatch(path);
        Ok(())
    }

    /// See [`acknowledge`].
    fn configure(&mut self, _: Config) -> Result<bool> {
        self.inotify.backlog.store(0, Ordering::Relaxed);
        let unread = rustix::io::ioctl_fionread(&self.inotify.descriptor);
        Ok(unread.map_err(|error| Error::io(error.into()))? > 0)
    }

    fn kind() -> WatcherKind {
        WatcherKind::Inotify
    }
}

impl Drop for KernelWatcher {
    fn drop(&mut self) {
        // The counter cannot overflow: this is the only writer.
        let _ = rustix::io::write(&*self.stop, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Inotify {
    fn watch(&self, path: &Path) -> rustix::io::Result<()> {
        let events = WatchFlags::ATTRIB
            | WatchFlags::CREATE
            | WatchFlags::OPEN
            | WatchFlags::DELETE
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::MODIFY
            | WatchFlags::MOVE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF;
        // Locked before the watch is added, as its first event may arrive at once.
        let mut table = self.table();
        let flags = events | WatchFlags::ONLYDIR | WatchFlags::DONT_FOLLOW;
        let watch = inotify::add_watch(&self.descriptor, path, flags)?;
        table.insert(path, watch);
        Ok(())
    }

    fn unwatch(&self, path: &Path) {
        if let Some(watch) = self.table().remove(path) {
            // Fails if the kernel has ended it with the folder.
            let _ = inotify::remove_watch(&self.descriptor, watch);
        }
    }

    fn table(&self) -> MutexGuard<'_, WatchTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// State of the thread that reads events.
struct EventReader<H> {
    inotify: Arc<Inotify>,
    stop: Arc<OwnedFd>,
    handler: H,
}

impl<H: EventHandler> EventReader<H> {
    fn run(mut self) {
        let inotify = self.inotify.clone();
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut reader = Reader::new(inotify.descriptor.as_fd(), &mut buffer);
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

    /// Waits for events, and for room for them: the kernel queues unread events, and reports when
    /// its queue overflows. Returns `false` after the watcher was dropped.
    fn wait(&self) -> bool {
        loop {
            let has_room = self.inotify.backlog.load(Ordering::Relaxed) < BACKLOG;
            let (inotify, stop) = (self.inotify.descriptor.as_fd(), self.stop.as_fd());
            let mut sources = [PollFd::new(&stop, PollFlags::IN), PollFd::new(&inotify, PollFlags::IN)];
            let sources = if has_room { &mut sources[..] } else { &mut sources[..1] };
            let timeout = (!has_room).then_some(&ROOM_CHECK);
            if poll(sources, timeout).is_err() {
                continue;
            }
            if !sources[0].revents().is_empty() {
                return false;
            }
            if sources.get(1).is_some_and(|inotify| !inotify.revents().is_empty()) {
                return true;
            }
        }
    }

    fn event(&mut self, watch: WatchId, flags: ReadFlags, name: Option<&OsStr>) {
        self.inotify.backlog.fetch_add(1, Ordering::Relaxed);
        if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
            let lost = Event::new(EventKind::Other).set_flag(Flag::Rescan);
            return self.handler.handle_event(Ok(lost));
        }
        let path = {
            let mut table = self.inotify.table();
            let Some(folder) = table.path(watch) else { return };
            let path = name.map_or_else(|| folder.clone(), |name| folder.join(name));
            let is_moved_away = flags.contains(ReadFlags::MOVED_FROM | ReadFlags::ISDIR);
            if flags.contains(ReadFlags::IGNORED) {
                table.remove_watch(watch);
            } else if is_moved_away || flags.contains(ReadFlags::MOVE_SELF) {
                for watch in table.remove_all(&path) {
                    let _ = inotify::remove_watch(&self.inotify.descriptor, watch);
                }
            }
            path
        };
        if let Some(kind) = kind(flags) {
            self.handler.handle_event(Ok(Event::new(kind).add_path(path)));
        }
    }
}

/// Returns the kind of event for notify. Removals and renames away are [`EventKind::Any`], as the
/// debouncer would drop the events of a file that seems to be created and removed. It would also
/// drop modifications after a creation, and the first of two events of one kind: so these are
/// accesses of an open writer, and renames to a path are [`MOVED_IN`].
fn kind(flags: ReadFlags) -> Option<EventKind> {
    let gone = ReadFlags::MOVED_FROM
        | ReadFlags::MOVE_SELF
        | ReadFlags::DELETE
        | ReadFlags::DELETE_SELF
        | ReadFlags::UNMOUNT;
    let kinds = [
        (gone, EventKind::Any),
        (ReadFlags::MOVED_TO, MOVED_IN),
        (ReadFlags::CREATE.union(ReadFlags::ISDIR), EventKind::Create(CreateKind::Folder)),
        (ReadFlags::CREATE, EventKind::Create(CreateKind::File)),
        (ReadFlags::MODIFY, EventKind::Access(AccessKind::Open(AccessMode::Write))),
        (ReadFlags::CLOSE_WRITE, EventKind::Access(AccessKind::Close(AccessMode::Write))),
        (ReadFlags::ATTRIB, EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any))),
        (ReadFlags::OPEN, EventKind::Access(AccessKind::Open(AccessMode::Any))),
    ];
    let (first, others) = kinds.split_first()?;
    let is_gone = flags.intersects(first.0).then_some(first.1);
    is_gone.or_else(|| others.iter().find(|(kind, _)| flags.contains(*kind)).map(|(_, kind)| *kind))
}

#[cfg(test)]
mod tests;
