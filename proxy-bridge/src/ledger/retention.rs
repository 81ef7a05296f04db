//! The choice of what is pruned, in steps that are short enough to come between claims.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, params};
use switchyard_contract::run::RunId;

use super::LedgerError;
use super::codes::{ENDS, id};
use super::database::bytes;
use super::types::Retention;

/// Rows of one step.
pub(super) const STEP: i64 = 1_000;
/// Pages that one step of shrinking gives back.
const PAGES: i64 = 2_000;
/// Free pages that stay: they are needed again soon.
const SLACK: i64 = 64;

/// Returns the next runs to delete: at most [`STEP`], none if all is within its limits.
pub(super) fn victims(
    database: &Connection,
    now: Timestamp,
    retention: &Retention,
    log_bytes: u64,
) -> Result<Vec<RunId>, LedgerError> {
    let too_old = too_old(database, now, retention)?;
    if !too_old.is_empty() {
        return Ok(too_old);
    }
    let too_many = too_many(database, now, retention)?;
    if !too_many.is_empty() {
        return Ok(too_many);
    }
    let used = bytes(database)?.used + log_bytes;
    if used <= retention.bytes {
        return Ok(Vec::new());
    }
    let sql = "SELECT IFNULL(SUM(n), 0) FROM counts WHERE task = 0";
    let runs: i64 = database.query_row(sql, [], |row| row.get(0))?;
    // The number of runs that have the bytes on average, so that not many more than needed go.
    let share = (used - retention.bytes) as f64 / used as f64;
    let most = (runs as f64 * share).ceil() as i64;
    oldest(database, now, None, most.clamp(1, STEP))
}

/// Returns the time before which something is older than `times` the limit.
pub(super) fn limit(now: Timestamp, retention: &Retention, times: i64) -> Timestamp {
    let age = SignedDuration::try_from(retention.age).ok();
    let age = age.and_then(|age| age.checked_mul(times.try_into().unwrap_or(i32::MAX)));
    age.and_then(|age| now.checked_sub(age).ok()).unwrap_or(Timestamp::MIN)
}

fn too_old(database: &Connection, now: Timestamp, retention: &Retention) -> Result<Vec<RunId>, LedgerError> {
    let mut found = Vec::new();
    let mut select = database.prepare(
        "SELECT id FROM runs INDEXED BY runs_end WHERE state = ?1 AND ended_at < ?2
         ORDER BY ended_at LIMIT ?3",
    )?;
    for (state, times) in ENDS {
        let before = limit(now, retention, times).as_microsecond();
        let rows = select.query_map([state, before, STEP - found.len() as i64], |row| row.get(0))?;
        for row in rows {
            found.extend(id(row?));
        }
    }
    Ok(found)
}

fn too_many(database: &Connection, now: Timestamp, retention: &Retention) -> Result<Vec<RunId>, LedgerError> {
    let mut found = Vec::new();
    for (task, excess) in over(database, "state >= 0", retention)? {
        let most = excess.min(STEP - found.len() as i64);
        if most <= 0 {
            break;
        }
        found.extend(oldest(database, now, Some(task), most)?);
    }
    Ok(found)
}

/// Returns the tasks with more rows than they may have, and how many more.
fn over(database: &Connection, states: &str, retention: &Retention) -> Result<Vec<(i64, i64)>, LedgerError> {
    let sql = format!(
        "SELECT task, SUM(n) - ?1 FROM counts WHERE task > 0 AND {states} GROUP BY task HAVING SUM(n) > ?1"
    );
    let most = i64::try_from(retention.per_task).unwrap_or(i64::MAX);
    let mut select = database.prepare(&sql)?;
    let rows = select.query_map([most], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Returns the runs that have ended longest ago, of one task or of all. Failed ones count as half as
/// old.
fn oldest(
    database: &Connection,
    now: Timestamp,
    task: Option<i64>,
    most: i64,
) -> Result<Vec<RunId>, LedgerError> {
    let (index, of_task) = match task {
        Some(_) => ("runs_task_end", "task = ?3"),
        None => ("runs_end", "?3 IS NULL"),
    };
    let sql = format!(
        "SELECT id, ended_at FROM runs INDEXED BY {index}
         WHERE state = ?1 AND {of_task} AND ended_at IS NOT NULL ORDER BY ended_at LIMIT ?2"
    );
    let now = now.as_microsecond();
    let mut select = database.prepare(&sql)?;
    let mut found = Vec::new();
    for (state, times) in ENDS {
        let rows = select.query_map(params![state, most, task], |row| {
            Ok((row.get::<_, Option<[u8; 16]>>(0)?, row.get::<_, i64>(1)?))
        })?;
        for row in rows {
            let (run, ended) = row?;
            found.extend(id(run).map(|run| (now.saturating_sub(ended) / times, run)));
        }
    }
    found.sort_by_key(|(age, run)| (std::cmp::Reverse(*age), *run));
    found.truncate(usize::try_from(most).unwrap_or_default());
    Ok(found.into_iter().map(|(_, run)| run).collect())
}

/// Deletes records of due times that are too old, or too many for their task: at most [`STEP`].
/// Returns how many.
pub(super) fn prune_occurrences(
    database: &Connection,
    now: Timestamp,
    retention: &Retention,
) -> Result<u64, LedgerError> {
    // Records are kept as long as the longest of their runs.
    let before = limit(now, retention, 2).as_microsecond();
    let mut left = STEP;
    for (task, excess) in over(database, "state = -1", retention)? {
        left -= delete_occurrences(database, task, i64::MAX, excess.min(left))?;
    }
    let mut select = database.prepare("SELECT task FROM counts WHERE state = -1 AND n > 0")?;
    let tasks = select.query_map([], |row| row.get(0))?.collect::<Result<Vec<i64>, _>>()?;
    for task in tasks {
        left -= delete_occurrences(database, task, before, left)?;
    }
    Ok((STEP - left).try_into().unwrap_or_default())
}

fn delete_occurrences(database: &Connection, task: i64, before: i64, most: i64) -> Result<i64, LedgerError> {
    if most <= 0 {
        return Ok(0);
    }
    let deleted = database.execute(
        "DELETE FROM occurrences WHERE task = ?1 AND due_at IN
             (SELECT due_at FROM occurrences WHERE task = ?1 AND due_at < ?2 ORDER BY due_at LIMIT ?3)",
        [task, before, most],
    )?;
    Ok(deleted.try_into().unwrap_or(i64::MAX))
}

/// Gives free pages back to the disk. Returns true if there are more.
pub(super) fn shrink(database: &Connection) -> Result<bool, LedgerError> {
    let free = || database.query_row("PRAGMA freelist_count", [], |row| row.get::<_, i64>(0));
    let surplus = free()? - SLACK;
    if surplus <= 0 {
        return Ok(false);
    }
    let pages = surplus.min(PAGES);
    let mut vacuum = database.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
    let mut rows = vacuum.query([])?;
    // Each step gives back one page.
    while rows.next()?.is_some() {}
    Ok(surplus > pages)
}

/// Copies the journal into the database's file, and empties it.
pub(super) fn checkpoint(database: &Connection) -> Result<(), LedgerError> {
    let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
    Ok(database.query_row(checkpoint, [], |_| Ok(()))?)
}
