//! Files that start tasks: picked up from `DATA_DIR`s, offered to the bridge, and moved on when their
//! runs have ended. While no bridge follows the offers, files wait where they are.

mod disk;
mod open;
mod pattern;
mod plan;
mod record;
mod watcher;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use switchyard_contract::admin::{CURRENT_FILES, FileInput, FileOffer, FileOutcome};
use switchyard_contract::run::RunId;
use tokio::sync::watch;

use self::open::OpenFiles;
use self::record::{Record, Records};
use self::watcher::{Signal, Watcher};
use crate::cells::Cells;
use crate::live::LiveTable;

/// All files that are picked up. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Pickups(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    cells: Arc<Cells>,
    records: Records,
    open: Mutex<OpenFiles>,
    /// Streams of offers: bridges that are there.
    followers: AtomicUsize,
    /// Notified of each new offer.
    offered: watch::Sender<()>,
    signal: Signal,
}

/// The running watch over folders. Dropping it ends its thread and waits for that.
#[derive(Debug)]
pub(crate) struct PickupWatch {
    pickups: Pickups,
    thread: Option<JoinHandle<()>>,
    live: tokio::task::JoinHandle<()>,
}

/// A reader of offers. While there is one, files are picked up.
#[derive(Debug)]
pub(crate) struct OfferFollower {
    shared: Arc<Shared>,
    sent: BTreeSet<RunId>,
    offered: watch::Receiver<()>,
}

impl Pickups {
    /// Reads what an earlier process has picked up. Blocking.
    ///
    /// # Errors
    /// The folder for records cannot be made or read, or the kernel has no descriptors left.
    pub(crate) fn open(dir: PathBuf, cells: Arc<Cells>) -> io::Result<Self> {
        let (records, found) = Records::open(dir)?;
        let mut open = OpenFiles::default();
        for record in found {
            let Record { tenant, folder, run, file, .. } = &record;
            let is_there = record.is_picked || disk::is_picked(&cells.data().of(tenant), folder, *run, file);
            if is_there {
                open.insert(Record { is_picked: true, ..record });
            } else {
                // The move had not begun.
                records.remove(*run);
            }
        }
        let signal = Signal::new()?;
        let offered = watch::Sender::new(());
        let followers = AtomicUsize::new(0);
        Ok(Self(Arc::new(Shared { cells, records, open: Mutex::new(open), followers, offered, signal })))
    }

    /// Watches the folders that live versions name. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The kernel has no thread left.
    pub(crate) fn start(&self, live: Arc<LiveTable>) -> io::Result<PickupWatch> {
        // Before the first look at what is live.
        let (shared, mut changed) = (self.0.clone(), live.subscribe());
        let watcher = Watcher::new(self.0.clone(), live);
        let thread = std::thread::Builder::new().name("pickup".to_owned()).spawn(move || watcher.run())?;
        let live = tokio::spawn(async move {
            while changed.changed().await.is_ok() {
                shared.signal.live_changed();
            }
        });
        Ok(PickupWatch { pickups: self.clone(), thread: Some(thread), live })
    }

    /// Returns a reader of all offers, also of those that others have read.
    pub(crate) fn follow(&self) -> OfferFollower {
        self.0.followers.fetch_add(1, Ordering::Relaxed);
        self.0.signal.look();
        OfferFollower { shared: self.0.clone(), sent: BTreeSet::new(), offered: self.0.offered.subscribe() }
    }

    /// Returns the input of the run that an offered file starts. `None`: there is no such offer, or it
    /// is gone with its project. Blocking.
    pub(crate) fn input(&self, run: RunId) -> Option<FileInput> {
        let record = self.0.open().get(run).cloned()?;
        let data = self.0.cells.data().of(&record.tenant);
        if !data.exists() {
            self.0.close(run);
            return None;
        }
        let content = disk::read(&data, &record.folder, run, &record.file);
        let path = path(&data, &record.folder, run, &record.file);
        Some(FileInput { path: path.to_string_lossy().into_owned(), content, file: record.file })
    }

    /// Moves an offered file on, and forgets the offer. Returns false if there is none. Blocking.
    ///
    /// # Errors
    /// The file cannot be moved now.
    pub(crate) fn settle(&self, run: RunId, outcome: FileOutcome) -> io::Result<bool> {
        let Some(record) = self.0.open().get(run).cloned() else { return Ok(false) };
        let data = self.0.cells.data().of(&record.tenant);
        match disk::move_on(&data, &record.folder, run, outcome) {
            Err(error) if disk::may_pass(&error) => return Err(error),
            Err(error) => tracing::warn!(
                project.name = %record.tenant.project,
                run = %run,
                "the file {:?} stays in {}: {error}",
                record.file,
                path(&data, &record.folder, run, "").display()
            ),
            Ok(()) => {}
        }
        self.0.close(run);
        Ok(true)
    }
}

impl Shared {
    /// Offers a file that is picked up.
    fn offer(&self, record: Record) {
        self.open().insert(record);
        self.offered.send_replace(());
    }

    fn close(&self, run: RunId) {
        self.records.remove(run);
        if self.open().remove(run) {
            // There is room for one more.
            self.signal.look();
        }
    }

    fn is_followed(&self) -> bool {
        self.followers.load(Ordering::Relaxed) > 0
    }

    fn open(&self) -> MutexGuard<'_, OpenFiles> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OfferFollower {
    /// Waits for offers that this reader does not know. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Vec<FileOffer> {
        loop {
            self.offered.mark_unchanged();
            let new = {
                let open = self.shared.open();
                self.sent.retain(|run| open.get(*run).is_some());
                let new: Vec<_> =
                    open.all().filter(|record| !self.sent.contains(&record.run)).map(Record::offer).collect();
                new
            };
            if !new.is_empty() {
                self.sent.extend(new.iter().map(|offer| offer.run));
                return new;
            }
            // The sender lives as long as this.
            let _ = self.offered.changed().await;
        }
    }
}

impl Drop for OfferFollower {
    fn drop(&mut self) {
        self.shared.followers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for PickupWatch {
    fn drop(&mut self) {
        self.live.abort();
        self.pickups.0.signal.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The path of a file that is picked up.
fn path(data: &Path, folder: &str, run: RunId, file: &str) -> PathBuf {
    let base = data.join(pattern::base(folder));
    base.join(CURRENT_FILES).join(run.to_string()).join(file)
}
