//! The history: runs with their steps and logs, due times, and how far each schedule is settled. An
//! SQLite database with a thread of its own, and a folder of logs.
//!
//! Acceptances, claims, ends and steps are durable when they are answered; the rest survives the end
//! of the process. No call blocks a shared thread.

mod codes;
mod database;
mod error;
mod logs;
mod page;
mod retention;
mod runs;
mod triggers;
mod types;
mod worker;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::Connection;
use switchyard_contract::project::ProjectName;
use switchyard_contract::run::{Occurrence, RunFilter, RunId, RunLine, RunPage, Step};
use switchyard_contract::task::{ProjectTasks, TaskId};
use tokio::sync::Semaphore;

pub use self::error::LedgerError;
use self::logs::Logs;
use self::page::{Part, Position};
pub use self::types::{
    Accepted, LedgerReport, LedgerSettings, LedgerStats, PruneReport, Retention, ScheduleState, StoredRun,
};
use self::worker::{Calls, Kind};

/// Lists that are read at once: claims wait for no more of them.
const LISTS: usize = 4;
/// Steps of one pruning. What is left then waits for the next one.
const PRUNE_STEPS: usize = 1_000;
/// The wait for another process that is about to close the history: a bridge that this one
/// replaces.
const WAIT_FOR_OTHERS: Duration = Duration::from_secs(10);

/// The history. Clones are handles of one history, which is closed when all are dropped.
#[derive(Debug, Clone)]
pub struct Ledger {
    calls: Calls,
    logs: Logs,
    lists: Arc<Semaphore>,
    stats: Arc<Mutex<LedgerStats>>,
    retention: Retention,
}

impl Ledger {
    /// Opens the history. Blocks: it is checked first, which takes about a second for a gigabyte, and
    /// while another process has it open, for 10 seconds at most.
    ///
    /// A damaged database is moved into a folder of its own, with the logs, and a new one is begun.
    /// While the disk has no room to open it, all calls are answered [`LedgerError::Full`].
    ///
    /// # Errors
    /// Another process has it open, a newer bridge wrote it, or the folder cannot be written.
    pub fn open(settings: LedgerSettings) -> Result<(Self, LedgerReport), LedgerError> {
        Self::open_within(settings, WAIT_FOR_OTHERS)
    }

    /// Opens it. Waits this long for another process to close it.
    fn open_within(
        settings: LedgerSettings,
        patience: Duration,
    ) -> Result<(Self, LedgerReport), LedgerError> {
        let (database, moved_aside) = match database::open(&settings.dir, patience) {
            Ok((database, moved_aside)) => (Some(database), moved_aside),
            Err(LedgerError::Full) => (None, None),
            Err(error) => return Err(error),
        };
        let logs = Logs::open(settings.dir.join(database::LOGS))?;
        let counts = database.as_ref().map(database::run_counts).transpose()?;
        let (runs, database_bytes) = counts.unwrap_or_default();
        let stats = Arc::new(Mutex::new(LedgerStats { database_bytes, log_bytes: 0, runs }));
        let calls = Calls::start(database, settings.dir.clone(), stats.clone());
        let calls = calls.map_err(LedgerError::file("start the thread for", &settings.dir))?;
        let lists = Arc::new(Semaphore::new(LISTS));
        let ledger = Self { calls, logs, lists, stats, retention: settings.retention };
        Ok((ledger, LedgerReport { moved_aside }))
    }

    /// Closes the history after the calls that wait. Later calls are answered
    /// [`LedgerError::Closed`].
    pub async fn close(&self) {
        // An error means that the thread has ended already.
        let _ = self.logs.flush().await;
        self.calls.close().await;
    }

    async fn read<T, F>(&self, work: F) -> Result<T, LedgerError>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> Result<T, LedgerError> + Send + 'static,
    {
        self.calls.call(Kind::Read, work).await
    }

    /// Adds a run, durably, unless the history has one with its id, or with its task and idempotency
    /// key.
    ///
    /// # Errors
    /// The disk is full, or the database failed: then nothing was added.
    pub async fn accept(&self, run: StoredRun) -> Result<Accepted, LedgerError> {
        self.calls.call(Kind::Durable, move |database| runs::accept(database, &run)).await
    }

    /// Records a due time and adds its run, durably and both or none. Returns false, and changes
    /// nothing, if the due time has a record.
    ///
    /// # Errors
    /// See [`Self::accept`].
    pub async fn claim(&self, occurrence: Occurrence, run: Option<StoredRun>) -> Result<bool, LedgerError> {
        let work = move |database: &Connection| triggers::claim(database, &occurrence, run.as_ref());
        self.calls.call(Kind::Durable, work).await
    }

    /// Adds a run or replaces it. An end is durable. Its task, parent, key and the time of its
    /// acceptance cannot be changed.
    ///
    /// # Errors
    /// See [`Self::accept`].
    pub async fn save(&self, run: StoredRun) -> Result<(), LedgerError> {
        let kind = if run.run.state.is_end() { Kind::Durable } else { Kind::Write };
        self.calls.call(kind, move |database| runs::save(database, &run)).await
    }

    /// Lets another run of the task have the idempotency key of this one.
    ///
    /// # Errors
    /// See [`Self::accept`].
    pub async fn release_key(&self, id: RunId) -> Result<(), LedgerError> {
        self.calls.call(Kind::Durable, move |database| runs::release_key(database, id)).await
    }

    /// Returns a run.
    ///
    /// # Errors
    /// The database failed.
    pub async fn run(&self, id: RunId) -> Result<Option<StoredRun>, LedgerError> {
        self.read(move |database| runs::find(database, id)).await
    }

    /// Returns the runs that have not ended, the oldest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn open_runs(&self) -> Result<Vec<StoredRun>, LedgerError> {
        self.read(runs::open_runs).await
    }

    /// Returns a page of runs, the newest first, without their results. A page of runs with large
    /// parameters is shorter: about 4 MiB.
    ///
    /// # Errors
    /// The cursor is not one, or the database failed.
    pub async fn runs(&self, filter: RunFilter) -> Result<RunPage, LedgerError> {
        let _turn = self.lists.acquire().await.map_err(|_| LedgerError::Closed)?;
        let limit = filter.limit.clamp(1, RunFilter::MAX_LIMIT) as usize;
        let mut after = filter.cursor.as_deref().map(Position::parse).transpose()?;
        let mut part = Part::default();
        // Each call looks at a part of the rows, so that claims come in between.
        loop {
            let mut so_far = Some(part);
            let filter = filter.clone();
            let work = move |database: &Connection| {
                page::read(database, &filter, limit, after, so_far.take().unwrap_or_default())
            };
            part = self.read(work).await?;
            after = part.next;
            if after.is_none() || part.is_full(limit) {
                return Ok(RunPage { runs: part.runs, next: after.map(|position| position.to_string()) });
            }
        }
    }

    /// Deletes a run that has ended, with its steps and its log. Returns false if there is none.
    ///
    /// # Errors
    /// The disk is full, the database failed, or the log cannot be removed.
    pub async fn delete(&self, id: RunId) -> Result<bool, LedgerError> {
        if !self.read(move |database| runs::has_ended(database, id)).await? {
            return Ok(false);
        }
        // First the log: a run without a log is found and pruned, a log without a run only late.
        self.logs.remove(vec![id]).await?;
        self.calls.call(Kind::Write, move |database| runs::delete(database, id)).await
    }

    /// Adds a step of a run, durably, or replaces it.
    ///
    /// # Errors
    /// There is no such run, or see [`Self::accept`].
    pub async fn put_step(&self, run: RunId, number: u64, step: Step) -> Result<(), LedgerError> {
        self.calls.call(Kind::Durable, move |database| runs::put_step(database, run, number, &step)).await
    }

    /// Returns the steps of a run, by their numbers.
    ///
    /// # Errors
    /// The database failed.
    pub async fn steps(&self, run: RunId) -> Result<Vec<Step>, LedgerError> {
        self.read(move |database| runs::steps(database, run)).await
    }

    /// Returns the newest records of a task's due times, the newest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn occurrences(&self, task: &TaskId, most: u32) -> Result<Vec<Occurrence>, LedgerError> {
        let task = task.clone();
        self.read(move |database| triggers::occurrences(database, &task, most)).await
    }

    /// Returns the record of one due time.
    ///
    /// # Errors
    /// The database failed.
    pub async fn occurrence(
        &self,
        task: &TaskId,
        due_at: Timestamp,
    ) -> Result<Option<Occurrence>, LedgerError> {
        let task = task.clone();
        self.read(move |database| triggers::occurrence(database, &task, due_at)).await
    }

    /// Returns the state of all schedules, by the tasks' names.
    ///
    /// # Errors
    /// The database failed.
    pub async fn schedules(&self) -> Result<Vec<ScheduleState>, LedgerError> {
        self.read(triggers::schedules).await
    }

    /// Adds or replaces the state of a schedule.
    ///
    /// # Errors
    /// The disk is full, or the database failed.
    pub async fn put_schedule(&self, state: ScheduleState) -> Result<(), LedgerError> {
        self.calls.call(Kind::Write, move |database| triggers::put_schedule(database, &state)).await
    }

    /// Forgets the state of a schedule.
    ///
    /// # Errors
    /// See [`Self::put_schedule`].
    pub async fn drop_schedule(&self, task: TaskId) -> Result<(), LedgerError> {
        self.calls.call(Kind::Write, move |database| triggers::drop_schedule(database, &task)).await
    }

    /// Adds or replaces the last known tasks of a project.
    ///
    /// # Errors
    /// See [`Self::put_schedule`].
    pub async fn put_tasks(&self, tasks: ProjectTasks) -> Result<(), LedgerError> {
        self.calls.call(Kind::Write, move |database| triggers::put_tasks(database, &tasks)).await
    }

    /// Forgets the tasks of a project.
    ///
    /// # Errors
    /// See [`Self::put_schedule`].
    pub async fn drop_tasks(&self, project: ProjectName) -> Result<(), LedgerError> {
        self.calls.call(Kind::Write, move |database| triggers::drop_tasks(database, &project)).await
    }

    /// Returns the last known tasks of all projects.
    ///
    /// # Errors
    /// The database failed.
    pub async fn tasks(&self) -> Result<Vec<ProjectTasks>, LedgerError> {
        self.read(triggers::tasks).await
    }

    /// Appends lines to the log of a run, also to one that has ended. Of a log of more than `most`
    /// bytes the middle is left out: a line stands for it, and indices go on as if it were there.
    ///
    /// # Errors
    /// The disk is full, or the file cannot be written.
    pub async fn append_log(&self, run: RunId, lines: Vec<RunLine>, most: u64) -> Result<(), LedgerError> {
        self.logs.append(run, lines, most).await
    }

    /// Compresses the log of a run that has ended.
    ///
    /// # Errors
    /// See [`Self::append_log`].
    pub async fn end_log(&self, run: RunId) -> Result<(), LedgerError> {
        self.logs.end(run).await
    }

    /// Returns at most `most` lines of a run's log, and about 4 MiB, from the line with this index on.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn log(&self, run: RunId, from: u64, most: usize) -> Result<Vec<RunLine>, LedgerError> {
        self.logs.read(run, from, most).await
    }

    /// Deletes what is beyond the retention, and gives its space back to the disk. Called each minute.
    ///
    /// # Errors
    /// The disk is full, the database failed, or a log cannot be removed. What is pruned by then stays
    /// so.
    pub async fn prune(&self, now: Timestamp) -> Result<PruneReport, LedgerError> {
        let mut report = PruneReport::default();
        let retention = self.retention;
        for _ in 0..PRUNE_STEPS {
            let log_bytes = self.logs.bytes();
            let work = move |database: &Connection| retention::victims(database, now, &retention, log_bytes);
            let victims = self.read(work).await?;
            if victims.is_empty() {
                break;
            }
            self.logs.remove(victims.clone()).await?;
            report.runs +=
                self.calls.call(Kind::Write, move |database| delete_all(database, &victims)).await?;
        }
        for _ in 0..PRUNE_STEPS {
            let work = move |database: &Connection| retention::prune_occurrences(database, now, &retention);
            let pruned = self.calls.call(Kind::Write, work).await?;
            report.occurrences += pruned;
            if pruned == 0 {
                break;
            }
        }
        self.prune_logs(now).await?;
        self.shrink(report.runs + report.occurrences > 0).await?;
        let stats = self.stats();
        report.bytes = stats.database_bytes + stats.log_bytes;
        Ok(report)
    }

    /// Removes empty folders, and logs whose runs are not in the history: it was restored from a
    /// backup.
    async fn prune_logs(&self, now: Timestamp) -> Result<(), LedgerError> {
        let before = retention::limit(now, &self.retention, 2);
        let old = self.logs.tidy(now, before, retention::STEP as usize).await?;
        if old.is_empty() {
            return Ok(());
        }
        let unknown = self.read(move |database| runs::unknown(database, &old)).await?;
        self.logs.remove(unknown).await
    }

    async fn shrink(&self, has_pruned: bool) -> Result<(), LedgerError> {
        let before = self.stats().database_bytes;
        for _ in 0..PRUNE_STEPS {
            if !self.calls.call(Kind::Write, retention::shrink).await? {
                break;
            }
        }
        if has_pruned || self.stats().database_bytes < before {
            // A checkpoint has to be outside of a transaction, as reads are.
            self.read(retention::checkpoint).await?;
        }
        Ok(())
    }

    /// Numbers about the history, as they were after the last change.
    pub fn stats(&self) -> LedgerStats {
        let stats = self.stats.lock().unwrap_or_else(PoisonError::into_inner).clone();
        LedgerStats { log_bytes: self.logs.bytes(), ..stats }
    }
}

fn delete_all(database: &Connection, victims: &[RunId]) -> Result<u64, LedgerError> {
    let mut deleted = 0;
    for run in victims {
        deleted += u64::from(runs::delete(database, *run)?);
    }
    Ok(deleted)
}
