//! Rows of runs, their inputs, results and steps.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::Value;
use switchyard_contract::run::{Run, RunId, RunState, Step};

use super::LedgerError;
use super::codes::{code, known_number, number};
use super::types::{Accepted, StoredRun};

/// Adds a run, unless its id or its idempotency key is known.
pub(super) fn accept(database: &Connection, run: &StoredRun) -> Result<Accepted, LedgerError> {
    let mut known = find(database, run.run.id)?;
    if let (None, Some(key)) = (&known, &run.run.key) {
        known = find_by_key(database, &run.run, key)?;
    }
    if let Some(known) = known {
        return Ok(Accepted::Known(Box::new(known)));
    }
    save(database, run)?;
    Ok(Accepted::New)
}

fn find_by_key(database: &Connection, run: &Run, key: &str) -> Result<Option<StoredRun>, LedgerError> {
    let Some(task) = known_number(database, &run.task.to_string())? else { return Ok(None) };
    let sql = format!("{SELECT} WHERE r.task = ?1 AND r.key = ?2");
    read(database.query_row(&sql, params![task, key], columns))
}

/// Adds a run, or replaces it. Its task, its parent, its key and the time of its acceptance stay.
pub(super) fn save(database: &Connection, stored: &StoredRun) -> Result<(), LedgerError> {
    let run = &stored.run;
    let result = run.result.as_ref().map(serde_json::to_string).transpose()?;
    let record = serde_json::to_string(&Run { result: None, ..run.clone() })?;
    let commit = run.version.as_ref().and_then(|version| version.commit.as_ref());
    let commit = commit.map(|info| number(database, &info.commit)).transpose()?;
    let seq: i64 = database.query_row(
        "INSERT INTO runs
             (id, project, task, state, queued_at, ended_at, commit_no, parent, key, boot, record)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
         ON CONFLICT (id) DO UPDATE SET state = excluded.state, ended_at = excluded.ended_at,
             commit_no = excluded.commit_no, boot = excluded.boot, record = excluded.record
         RETURNING seq",
        params![
            run.id.as_bytes(),
            number(database, run.task.project.as_str())?,
            number(database, &run.task.to_string())?,
            code(run.state),
            run.queued_at.as_microsecond(),
            // An end without a time could never be pruned.
            run.state.is_end().then(|| run.ended_at.unwrap_or(run.queued_at).as_microsecond()),
            commit,
            run.parent.as_ref().map(RunId::as_bytes),
            run.key,
            stored.boot,
            record,
        ],
        |row| row.get(0),
    )?;
    let input = (!stored.input.is_null()).then(|| serde_json::to_string(&stored.input)).transpose()?;
    attach(database, "inputs", "input", seq, input.as_deref())?;
    attach(database, "results", "result", seq, result.as_deref())
}

/// Puts a text beside a run, in a table that lists of runs need not read. The same text again is not
/// written.
fn attach(
    database: &Connection,
    table: &str,
    column: &str,
    seq: i64,
    text: Option<&str>,
) -> Result<(), LedgerError> {
    let Some(text) = text else {
        database.execute(&format!("DELETE FROM {table} WHERE run = ?1"), [seq])?;
        return Ok(());
    };
    let sql = format!(
        "INSERT INTO {table} (run, {column}) VALUES (?1, ?2)
         ON CONFLICT (run) DO UPDATE SET {column} = excluded.{column} WHERE {column} <> excluded.{column}"
    );
    database.execute(&sql, params![seq, text])?;
    Ok(())
}

const SELECT: &str = "\
    SELECT r.record, r.boot, i.input, o.result
    FROM runs r LEFT JOIN inputs i ON i.run = r.seq LEFT JOIN results o ON o.run = r.seq";

struct Columns {
    record: String,
    boot: Option<String>,
    input: Option<String>,
    result: Option<String>,
}

fn columns(row: &Row<'_>) -> rusqlite::Result<Columns> {
    Ok(Columns { record: row.get(0)?, boot: row.get(1)?, input: row.get(2)?, result: row.get(3)? })
}

impl Columns {
    fn parse(self) -> Result<StoredRun, LedgerError> {
        let mut run: Run = serde_json::from_str(&self.record)?;
        run.result = self.result.as_deref().map(serde_json::from_str).transpose()?;
        let input = self.input.as_deref().map(serde_json::from_str).transpose()?.unwrap_or(Value::Null);
        Ok(StoredRun { run, input, boot: self.boot })
    }
}

fn read(found: rusqlite::Result<Columns>) -> Result<Option<StoredRun>, LedgerError> {
    found.optional()?.map(Columns::parse).transpose()
}

/// Returns a run.
pub(super) fn find(database: &Connection, id: RunId) -> Result<Option<StoredRun>, LedgerError> {
    read(database.query_row(&format!("{SELECT} WHERE r.id = ?1"), [id.as_bytes()], columns))
}

/// Returns the runs that have not ended, the oldest first. One that cannot be read is left out, for
/// it must not keep the others from going on.
pub(super) fn open_runs(database: &Connection) -> Result<Vec<StoredRun>, LedgerError> {
    let sql = format!("{SELECT} WHERE r.state IN (0, 1, 2, 8) ORDER BY r.queued_at, r.seq");
    let mut select = database.prepare(&sql)?;
    let rows = select.query_map([], columns)?;
    let mut runs = Vec::new();
    for row in rows {
        match row?.parse() {
            Ok(run) => runs.push(run),
            Err(error) => tracing::warn!(%error, "a run of the history cannot be read"),
        }
    }
    Ok(runs)
}

/// Returns true if the run is there and has ended.
pub(super) fn has_ended(database: &Connection, id: RunId) -> Result<bool, LedgerError> {
    let sql = "SELECT ended_at IS NOT NULL FROM runs WHERE id = ?1";
    let ended = database.query_row(sql, [id.as_bytes()], |row| row.get(0)).optional()?;
    Ok(ended.unwrap_or(false))
}

/// Deletes a run that has ended. Triggers delete what belongs to it.
pub(super) fn delete(database: &Connection, id: RunId) -> Result<bool, LedgerError> {
    let sql = "DELETE FROM runs WHERE id = ?1 AND ended_at IS NOT NULL";
    Ok(database.execute(sql, [id.as_bytes()])? > 0)
}

/// Lets another run of the task have the key of this one.
pub(super) fn release_key(database: &Connection, id: RunId) -> Result<(), LedgerError> {
    database.execute("UPDATE runs SET key = NULL WHERE id = ?1", [id.as_bytes()])?;
    Ok(())
}

/// Returns those of the runs that are not there.
pub(super) fn unknown(database: &Connection, ids: &[RunId]) -> Result<Vec<RunId>, LedgerError> {
    let mut select = database.prepare("SELECT 1 FROM runs WHERE id = ?1")?;
    let mut unknown = Vec::new();
    for id in ids {
        if !select.exists([id.as_bytes()])? {
            unknown.push(*id);
        }
    }
    Ok(unknown)
}

/// Adds or replaces a step of a run.
pub(super) fn put_step(
    database: &Connection,
    run: RunId,
    position: u64,
    step: &Step,
) -> Result<(), LedgerError> {
    let changed = database.execute(
        "INSERT INTO steps (run, name, number, is_done, record) SELECT seq, ?2, ?3, ?4, ?5 FROM runs WHERE id = ?1
         ON CONFLICT (run, name) DO UPDATE
         SET number = excluded.number, is_done = excluded.is_done, record = excluded.record
         WHERE excluded.is_done OR NOT steps.is_done",
        params![
            run.as_bytes(),
            step.name,
            i64::try_from(position).unwrap_or(i64::MAX),
            step.state == RunState::Succeeded,
            serde_json::to_string(step)?
        ],
    )?;
    let is_known = changed > 0 || has_run(database, run)?;
    if is_known { Ok(()) } else { Err(LedgerError::UnknownRun(run)) }
}

fn has_run(database: &Connection, run: RunId) -> Result<bool, LedgerError> {
    let mut select = database.prepare("SELECT 1 FROM runs WHERE id = ?1")?;
    Ok(select.exists([run.as_bytes()])?)
}

/// Returns the steps of a run, by their numbers, and those with the same one as they came.
pub(super) fn steps(database: &Connection, run: RunId) -> Result<Vec<Step>, LedgerError> {
    let mut select = database.prepare(
        "SELECT s.record FROM runs r JOIN steps s ON s.run = r.seq WHERE r.id = ?1 ORDER BY s.number, s.rowid",
    )?;
    let rows = select.query_map([run.as_bytes()], |row| row.get::<_, String>(0))?;
    rows.map(|row| Ok(serde_json::from_str(&row?)?)).collect()
}
