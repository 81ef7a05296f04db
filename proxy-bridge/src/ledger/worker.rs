//! The thread that owns the database. Calls that wait together are one transaction, so that many
//! acceptances at once cost one write to the disk.

use std::path::PathBuf;
use std::slice::from_mut;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::LedgerError;
use super::database::{self, run_counts};
use super::types::LedgerStats;

/// Calls that wait for the thread.
const QUEUE: usize = 1024;
/// The most calls in one transaction.
const BATCH: usize = 256;

/// The pause before a database is opened again for which the disk had no room.
const OPEN_AGAIN: Duration = Duration::from_secs(1);

/// The durability of a call's effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// There is no effect.
    Read,
    /// Survives the end of the process.
    Write,
    /// Also survives the loss of power, once the call is answered.
    Durable,
}

/// The calls' way to the thread.
#[derive(Debug, Clone)]
pub(super) struct Calls(mpsc::Sender<Message>);

enum Message {
    Call(Box<dyn Call>),
    Close(oneshot::Sender<()>),
}

trait Call: Send {
    fn kind(&self) -> Kind;
    /// May be repeated: a transaction that fails as a whole is done again, call by call.
    fn execute(&mut self, database: &Connection) -> Result<(), LedgerError>;
    /// `failure`: the transaction failed, not the call.
    fn answer(self: Box<Self>, failure: Option<LedgerError>);
}

struct Pending<T, F> {
    kind: Kind,
    work: F,
    outcome: Result<T, LedgerError>,
    reply: oneshot::Sender<Result<T, LedgerError>>,
}

impl<T, F> Call for Pending<T, F>
where
    T: Send,
    F: FnMut(&Connection) -> Result<T, LedgerError> + Send,
{
    fn kind(&self) -> Kind {
        self.kind
    }

    fn execute(&mut self, database: &Connection) -> Result<(), LedgerError> {
        self.outcome = (self.work)(database);
        self.outcome.as_ref().map(|_| ()).map_err(Clone::clone)
    }

    fn answer(self: Box<Self>, failure: Option<LedgerError>) {
        // Nobody waits any more if the caller was cancelled; the effect stays.
        let _ = self.reply.send(failure.map_or(self.outcome, Err));
    }
}

impl Calls {
    /// Starts the thread. It ends when all clones are dropped, or with [`Self::close`]. Without a
    /// database, for which the disk has no room, all calls are answered [`LedgerError::Full`] until
    /// the one in `dir` can be opened.
    pub(super) fn start(
        database: Option<Connection>,
        dir: PathBuf,
        stats: Arc<Mutex<LedgerStats>>,
    ) -> Result<Self, std::io::Error> {
        let (sender, messages) = mpsc::channel(QUEUE);
        let worker = Worker { database, dir, opened: Instant::now(), stats };
        std::thread::Builder::new().name("ledger".to_owned()).spawn(move || worker.run(messages))?;
        Ok(Self(sender))
    }

    /// Executes `work` in the thread.
    pub(super) async fn call<T, F>(&self, kind: Kind, work: F) -> Result<T, LedgerError>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> Result<T, LedgerError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let call = Box::new(Pending { kind, work, outcome: Err(LedgerError::Closed), reply });
        self.0.send(Message::Call(call)).await.map_err(|_| LedgerError::Closed)?;
        answer.await.unwrap_or(Err(LedgerError::Closed))
    }

    /// Ends the thread after the calls that wait, and closes the database.
    pub(super) async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        if self.0.send(Message::Close(reply)).await.is_ok() {
            // An error means that the thread has ended already.
            let _ = closed.await;
        }
    }
}

struct Worker {
    /// `None`: the disk had no room to open it.
    database: Option<Connection>,
    dir: PathBuf,
    /// The last attempt to open it.
    opened: Instant,
    stats: Arc<Mutex<LedgerStats>>,
}

impl Worker {
    fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        while let Some(first) = messages.blocking_recv() {
            let (mut reads, mut writes, mut closed) = (Vec::new(), Vec::new(), None);
            let mut next = Some(first);
            while let Some(message) = next {
                match message {
                    Message::Call(call) if call.kind() == Kind::Read => reads.push(call),
                    Message::Call(call) => writes.push(call),
                    Message::Close(reply) => closed = Some(reply),
                }
                let goes_on = reads.len() + writes.len() < BATCH && closed.is_none();
                next = if goes_on { messages.try_recv().ok() } else { None };
            }
            self.open_again();
            match &self.database {
                Some(database) => self.execute(database, reads, writes),
                None => {
                    let refused = reads.into_iter().chain(writes);
                    refused.for_each(|call| call.answer(Some(LedgerError::Full)));
                }
            }
            if let Some(reply) = closed {
                if let Some(Err((_, error))) = self.database.map(Connection::close) {
                    tracing::warn!(%error, "the database of the history did not close");
                }
                let _ = reply.send(());
                return;
            }
        }
    }

    /// Opens the database if that was not possible before.
    fn open_again(&mut self) {
        if self.database.is_some() || self.opened.elapsed() < OPEN_AGAIN {
            return;
        }
        self.opened = Instant::now();
        match database::open(&self.dir, Duration::ZERO) {
            Ok((database, _)) => {
                tracing::info!("the disk of the history has room again");
                self.publish(&database);
                self.database = Some(database);
            }
            Err(LedgerError::Full) => {}
            Err(error) => tracing::error!(%error, "the history cannot be opened"),
        }
    }

    fn execute(&self, database: &Connection, reads: Vec<Box<dyn Call>>, writes: Vec<Box<dyn Call>>) {
        for mut read in reads {
            // The failure is in its answer.
            let _ = read.execute(database);
            read.answer(None);
        }
        self.write(database, writes);
    }

    fn write(&self, database: &Connection, mut calls: Vec<Box<dyn Call>>) {
        if calls.is_empty() {
            return;
        }
        let failure = transaction(database, &mut calls).err();
        if failure.is_some() && calls.len() > 1 {
            // One of them may be too large for the disk, and the others not.
            for mut call in calls {
                let failure = transaction(database, from_mut(&mut call)).err();
                self.publish(database);
                call.answer(failure);
            }
        } else {
            self.publish(database);
            calls.into_iter().for_each(|call| call.answer(failure.clone()));
        }
    }

    /// Publishes the numbers for [`Ledger::stats`](super::Ledger::stats).
    fn publish(&self, database: &Connection) {
        match run_counts(database) {
            Ok((runs, bytes)) => {
                let mut stats = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
                stats.runs = runs;
                stats.database_bytes = bytes;
            }
            Err(error) => tracing::warn!(%error, "the runs of the history cannot be counted"),
        }
    }
}

fn transaction(database: &Connection, calls: &mut [Box<dyn Call>]) -> Result<(), LedgerError> {
    let is_durable = calls.iter().any(|call| call.kind() == Kind::Durable);
    let level = if is_durable { "FULL" } else { "NORMAL" };
    database.execute_batch(&format!("PRAGMA synchronous = {level}; BEGIN IMMEDIATE"))?;
    let ended = each(database, calls).and_then(|()| Ok(database.execute_batch("COMMIT")?));
    if ended.is_err() && !database.is_autocommit() {
        database.execute_batch("ROLLBACK")?;
    }
    ended
}

/// Executes the calls, each undone alone if it fails.
///
/// # Errors
/// SQLite has undone the whole transaction, as it does when the disk is full.
fn each(database: &Connection, calls: &mut [Box<dyn Call>]) -> Result<(), LedgerError> {
    for call in calls {
        database.execute_batch("SAVEPOINT call")?;
        let end = match call.execute(database) {
            Ok(()) => "RELEASE call",
            Err(error) if database.is_autocommit() => return Err(error),
            Err(_) => "ROLLBACK TO call; RELEASE call",
        };
        database.execute_batch(end)?;
    }
    Ok(())
}
