//! The database's file: opening, formats, and damage.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode};
use switchyard_contract::run::RunState;

use super::LedgerError;
use super::codes::state;

/// The database in the history's folder.
pub(super) const FILE: &str = "ledger.db";
/// The folder of the logs in the history's folder.
pub(super) const LOGS: &str = "runs";
/// The beginning of the names of folders with a damaged history.
const DAMAGED: &str = "damaged-";
/// Damaged histories that are kept.
const DAMAGED_KEPT: usize = 2;
/// The scripts that lead from each format to the next one.
const FORMATS: [&str; 1] = [include_str!("schema.sql")];
/// The pause after a refusal for which SQLite itself does not wait, such as during a recovery.
const RETRY: Duration = Duration::from_millis(50);
/// The settings of each connection. The lock is held until it closes, which also makes a file of
/// shared memory needless.
const SETTINGS: &str = "\
    PRAGMA auto_vacuum = INCREMENTAL;
    PRAGMA locking_mode = EXCLUSIVE;
    PRAGMA journal_size_limit = 16777216;
    PRAGMA temp_store = MEMORY;
    PRAGMA cache_size = -16384;
    PRAGMA trusted_schema = OFF;";

/// Opens the database in `dir`. Waits for at most `patience` while another process has it open. Returns
/// the folder with the damaged one, if it was.
pub(super) fn open(dir: &Path, patience: Duration) -> Result<(Connection, Option<PathBuf>), LedgerError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(LedgerError::file("create the folder", dir))?;
    let file = dir.join(FILE);
    match connect_patiently(&file, patience) {
        Ok(database) => Ok((database, None)),
        Err(Failure::Ledger(error)) => Err(error),
        Err(Failure::Damaged(text)) => {
            let aside = move_aside(dir)?;
            tracing::error!(
                %text, moved = %aside.display(),
                "the database of the history is damaged: it was moved aside, and a new one is begun"
            );
            match connect(&file, patience) {
                Ok(database) => Ok((database, Some(aside))),
                Err(Failure::Ledger(error)) => Err(error),
                Err(Failure::Damaged(text)) => Err(LedgerError::Database(text)),
            }
        }
    }
}

enum Failure {
    Damaged(String),
    Ledger(LedgerError),
}

impl Failure {
    fn of(error: rusqlite::Error, file: &Path) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged(error.to_string()),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                Self::Ledger(LedgerError::Busy(file.to_owned()))
            }
            _ => Self::Ledger(error.into()),
        }
    }
}

/// Connects. While another process has the database, tries again until `patience` is over.
fn connect_patiently(file: &Path, patience: Duration) -> Result<Connection, Failure> {
    let until = Instant::now() + patience;
    loop {
        match connect(file, until.saturating_duration_since(Instant::now())) {
            Err(Failure::Ledger(LedgerError::Busy(_))) if Instant::now() < until => thread::sleep(RETRY),
            connected => return connected,
        }
    }
}

/// Returns true for a database that something else emptied: there are logs of runs, and no run.
fn is_emptied(file: &Path) -> bool {
    let is_empty = file.metadata().is_ok_and(|metadata| metadata.len() == 0);
    let has_logs = || fs::read_dir(file.with_file_name(LOGS)).is_ok_and(|mut logs| logs.next().is_some());
    is_empty && has_logs()
}

fn connect(file: &Path, patience: Duration) -> Result<Connection, Failure> {
    if is_emptied(file) {
        return Err(Failure::Damaged(format!("{} is empty, and there are logs of runs", file.display())));
    }
    let created = OpenOptions::new().create(true).append(true).mode(0o600).open(file);
    created.map_err(|error| Failure::Ledger(LedgerError::file("create", file)(error)))?;
    let classified = |error| Failure::of(error, file);
    let database = Connection::open(file).map_err(classified)?;
    database.busy_timeout(patience).map_err(classified)?;
    database.execute_batch(SETTINGS).map_err(classified)?;
    let mode: String =
        database.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(classified)?;
    if mode != "wal" {
        let text = format!("{} is on a file system that SQLite cannot write safely to", file.display());
        return Err(Failure::Ledger(LedgerError::Database(text)));
    }
    let checked: String =
        database.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(classified)?;
    if checked != "ok" {
        return Err(Failure::Damaged(checked));
    }
    migrate(&database, file)?;
    match tidy(&database).map_err(LedgerError::from) {
        // The rest is tidied at the next opening.
        Ok(()) | Err(LedgerError::Full) => Ok(database),
        Err(error) => Err(Failure::Ledger(error)),
    }
}

fn migrate(database: &Connection, file: &Path) -> Result<(), Failure> {
    let classified = |error| Failure::of(error, file);
    let found: i64 = database.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(classified)?;
    let known = FORMATS.len() as i64;
    let missing = usize::try_from(found).ok().and_then(|found| FORMATS.get(found..));
    let Some(missing) = missing else {
        return Err(Failure::Ledger(LedgerError::Newer { file: file.to_owned(), found, known }));
    };
    for (script, format) in missing.iter().zip(found + 1..) {
        let step = format!("BEGIN EXCLUSIVE; {script} PRAGMA user_version = {format}; COMMIT");
        database.execute_batch(&step).map_err(classified)?;
    }
    Ok(())
}

/// Forgets names that nothing uses any more, and numbers of rows that are zero.
fn tidy(database: &Connection) -> rusqlite::Result<()> {
    database.execute_batch(
        "DELETE FROM counts WHERE n = 0;
         DELETE FROM names WHERE
             NOT EXISTS (SELECT 1 FROM runs WHERE task = no)
             AND NOT EXISTS (SELECT 1 FROM runs WHERE project = no)
             AND NOT EXISTS (SELECT 1 FROM runs WHERE commit_no = no)
             AND NOT EXISTS (SELECT 1 FROM occurrences WHERE task = no)
             AND NOT EXISTS (SELECT 1 FROM schedules WHERE task = no)
             AND NOT EXISTS (SELECT 1 FROM project_tasks WHERE project = no);",
    )
}

/// Moves the database and the logs, whose runs it had, into a folder of their own.
fn move_aside(dir: &Path) -> Result<PathBuf, LedgerError> {
    let aside = dir.join(format!("{DAMAGED}{}", Timestamp::now().as_millisecond()));
    fs::create_dir(&aside).map_err(LedgerError::file("create the folder", &aside))?;
    for name in [LOGS, "ledger.db-wal", "ledger.db-journal", FILE] {
        let from = dir.join(name);
        if from.exists() {
            fs::rename(&from, aside.join(name)).map_err(LedgerError::file("move aside", &from))?;
        }
    }
    let synced = File::open(dir).and_then(|folder| folder.sync_all());
    synced.map_err(LedgerError::file("write", dir))?;
    remove_older(dir)?;
    Ok(aside)
}

fn remove_older(dir: &Path) -> Result<(), LedgerError> {
    let entries = fs::read_dir(dir).map_err(LedgerError::file("list", dir))?;
    let is_damaged = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with(DAMAGED);
    let mut damaged: Vec<_> = entries.flatten().filter(is_damaged).map(|entry| entry.path()).collect();
    damaged.sort_unstable();
    for old in damaged.iter().rev().skip(DAMAGED_KEPT) {
        fs::remove_dir_all(old).map_err(LedgerError::file("remove", old))?;
    }
    Ok(())
}

/// Returns the runs in each state, and the bytes of the database.
pub(super) fn run_counts(database: &Connection) -> rusqlite::Result<(BTreeMap<RunState, u64>, u64)> {
    let mut counts = database.prepare("SELECT state, n FROM counts WHERE task = 0 AND n > 0")?;
    let rows = counts.query_map([], |row| Ok((state(row.get(0)?), row.get::<_, i64>(1)?)))?;
    let runs = rows
        .map(|row| row.map(|(state, n)| (state, u64::try_from(n).unwrap_or_default())))
        .collect::<Result<_, _>>()?;
    Ok((runs, bytes(database)?.all))
}

/// Bytes of the database's file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bytes {
    /// All of them.
    pub(super) all: u64,
    /// Those that hold something.
    pub(super) used: u64,
}

/// Returns the bytes of the database's file, without its journal.
pub(super) fn bytes(database: &Connection) -> rusqlite::Result<Bytes> {
    let pragma = |name: &str| {
        let number = database.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0))?;
        Ok::<_, rusqlite::Error>(u64::try_from(number).unwrap_or_default())
    };
    let (pages, free, size) = (pragma("page_count")?, pragma("freelist_count")?, pragma("page_size")?);
    Ok(Bytes { all: pages * size, used: pages.saturating_sub(free) * size })
}
