//! The logs of runs: a file of JSON lines each, written by one thread, and compressed at the end.

mod folder;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use switchyard_contract::run::{RunId, RunLine};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::spawn_blocking;

use self::folder::{Folder, Position};
use super::LedgerError;

/// Writes that wait for the thread.
const QUEUE: usize = 256;
/// Logs that are read at once.
const READERS: usize = 8;
/// Logs whose last read position is remembered, for readers that follow.
const POSITIONS: usize = 256;

type Work = Box<dyn FnOnce(&Folder) + Send>;

/// The logs.
#[derive(Debug, Clone)]
pub(super) struct Logs {
    folder: Folder,
    writes: mpsc::Sender<Work>,
    readers: Arc<Semaphore>,
    positions: Arc<Mutex<HashMap<RunId, Position>>>,
}

impl Logs {
    /// Opens the logs in `dir` and starts the thread, which ends when all clones are dropped.
    pub(super) fn open(dir: PathBuf) -> Result<Self, LedgerError> {
        let folder = Folder::open(dir)?;
        let (writes, mut waiting) = mpsc::channel::<Work>(QUEUE);
        let own = folder.clone();
        let thread = std::thread::Builder::new().name("ledger-logs".to_owned());
        let run = move || {
            while let Some(work) = waiting.blocking_recv() {
                work(&own);
            }
        };
        thread.spawn(run).map_err(LedgerError::file("start the thread for", folder.path()))?;
        let readers = Arc::new(Semaphore::new(READERS));
        Ok(Self { folder, writes, readers, positions: Arc::default() })
    }

    /// The bytes of all logs.
    pub(super) fn bytes(&self) -> u64 {
        self.folder.bytes()
    }

    /// Appends lines. They survive the end of the process. Of a log of more than `most` bytes the
    /// middle is left out.
    pub(super) async fn append(&self, run: RunId, lines: Vec<RunLine>, most: u64) -> Result<(), LedgerError> {
        self.write(move |folder| folder.append(run, &lines, most)).await
    }

    /// Compresses a log.
    pub(super) async fn end(&self, run: RunId) -> Result<(), LedgerError> {
        self.positions().remove(&run);
        self.write(move |folder| folder.compress(run)).await
    }

    /// Removes logs, if they are there.
    pub(super) async fn remove(&self, runs: Vec<RunId>) -> Result<(), LedgerError> {
        self.write(move |folder| runs.iter().try_for_each(|run| folder.remove(*run))).await
    }

    /// Removes empty folders of the days before `now`, and returns at most `most` runs with logs from
    /// the days before `before`.
    pub(super) async fn tidy(
        &self,
        now: Timestamp,
        before: Timestamp,
        most: usize,
    ) -> Result<Vec<RunId>, LedgerError> {
        self.write(move |folder| folder.tidy(now, before, most)).await
    }

    /// Waits for the writes before this one.
    pub(super) async fn flush(&self) -> Result<(), LedgerError> {
        self.write(|_| Ok(())).await
    }

    async fn write<T, F>(&self, work: F) -> Result<T, LedgerError>
    where
        T: Send + 'static,
        F: FnOnce(&Folder) -> Result<T, LedgerError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let work: Work = Box::new(move |folder| {
            // Nobody waits any more if the caller was cancelled; the write stays.
            let _ = reply.send(work(folder));
        });
        self.writes.send(work).await.map_err(|_| LedgerError::Closed)?;
        answer.await.unwrap_or(Err(LedgerError::Closed))
    }

    /// Returns lines from an index on.
    pub(super) async fn read(&self, run: RunId, from: u64, most: usize) -> Result<Vec<RunLine>, LedgerError> {
        let permit = self.readers.clone().acquire_owned().await.map_err(|_| LedgerError::Closed)?;
        let known = self.positions().get(&run).copied().filter(|position| position.line <= from);
        let folder = self.folder.clone();
        let read = move || {
            let lines = folder.read(run, known.unwrap_or_default(), from, most);
            drop(permit);
            lines
        };
        let (lines, position) = spawn_blocking(read).await.map_err(|_| LedgerError::Closed)??;
        if let Some(position) = position {
            let mut positions = self.positions();
            if positions.len() >= POSITIONS {
                // Their readers start from the first line once.
                positions.clear();
            }
            positions.insert(run, position);
        }
        Ok(lines)
    }

    fn positions(&self) -> std::sync::MutexGuard<'_, HashMap<RunId, Position>> {
        self.positions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
