//! Rows of due times, schedules, and the tasks that projects have.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use switchyard_contract::project::ProjectName;
use switchyard_contract::run::{Occurrence, OccurrenceOutcome, RunId};
use switchyard_contract::task::{ProjectTasks, TaskId};

use super::LedgerError;
use super::codes::{id, known_number, number, time};
use super::runs;
use super::types::{ScheduleState, StoredRun};

/// Records a due time and adds its run. Returns false, and changes nothing, if it has a record.
pub(super) fn claim(
    database: &Connection,
    occurrence: &Occurrence,
    run: Option<&StoredRun>,
) -> Result<bool, LedgerError> {
    let added = database.execute(
        "INSERT INTO occurrences (task, due_at, outcome, run, reason) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (task, due_at) DO NOTHING",
        params![
            number(database, &occurrence.task.to_string())?,
            occurrence.due_at.as_microsecond(),
            occurrence.outcome.as_str(),
            occurrence.run.as_ref().map(RunId::as_bytes),
            occurrence.reason,
        ],
    )?;
    if added == 0 {
        return Ok(false);
    }
    if let Some(run) = run {
        runs::save(database, run)?;
    }
    Ok(true)
}

fn outcome(name: &str) -> OccurrenceOutcome {
    let all = [OccurrenceOutcome::Ran, OccurrenceOutcome::Skipped, OccurrenceOutcome::Missed];
    all.into_iter().find(|kind| kind.as_str() == name).unwrap_or(OccurrenceOutcome::Unrecognized)
}

fn occurrence_of(task: &TaskId, row: &Row<'_>) -> rusqlite::Result<Occurrence> {
    Ok(Occurrence {
        task: task.clone(),
        due_at: time(row.get(0)?),
        outcome: outcome(&row.get::<_, String>(1)?),
        run: id(row.get(2)?),
        reason: row.get(3)?,
    })
}

/// Returns the newest records of a task's due times, the newest first.
pub(super) fn occurrences(
    database: &Connection,
    task: &TaskId,
    most: u32,
) -> Result<Vec<Occurrence>, LedgerError> {
    let Some(number) = known_number(database, &task.to_string())? else { return Ok(Vec::new()) };
    let mut select = database.prepare(
        "SELECT due_at, outcome, run, reason FROM occurrences WHERE task = ?1
         ORDER BY due_at DESC LIMIT ?2",
    )?;
    let rows = select.query_map(params![number, most], |row| occurrence_of(task, row))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Returns the record of one due time.
pub(super) fn occurrence(
    database: &Connection,
    task: &TaskId,
    due_at: Timestamp,
) -> Result<Option<Occurrence>, LedgerError> {
    let Some(number) = known_number(database, &task.to_string())? else { return Ok(None) };
    let sql = "SELECT due_at, outcome, run, reason FROM occurrences WHERE task = ?1 AND due_at = ?2";
    let values = params![number, due_at.as_microsecond()];
    Ok(database.query_row(sql, values, |row| occurrence_of(task, row)).optional()?)
}

/// Returns the state of all schedules.
pub(super) fn schedules(database: &Connection) -> Result<Vec<ScheduleState>, LedgerError> {
    let mut select = database.prepare(
        "SELECT n.text, s.spec, s.settled FROM schedules s JOIN names n ON n.no = s.task ORDER BY n.text",
    )?;
    let rows = select.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?)))?;
    let mut states = Vec::new();
    for row in rows {
        let (name, spec, settled) = row?;
        match name.parse() {
            Ok(task) => states.push(ScheduleState { task, spec, settled: time(settled) }),
            Err(error) => tracing::warn!(%error, "a schedule of the history cannot be read"),
        }
    }
    Ok(states)
}

/// Adds or replaces the state of a schedule.
pub(super) fn put_schedule(database: &Connection, state: &ScheduleState) -> Result<(), LedgerError> {
    database.execute(
        "INSERT INTO schedules (task, spec, settled) VALUES (?1, ?2, ?3)
         ON CONFLICT (task) DO UPDATE SET spec = excluded.spec, settled = excluded.settled",
        params![number(database, &state.task.to_string())?, state.spec, state.settled.as_microsecond()],
    )?;
    Ok(())
}

/// Forgets the state of a schedule.
pub(super) fn drop_schedule(database: &Connection, task: &TaskId) -> Result<(), LedgerError> {
    let sql = "DELETE FROM schedules WHERE task = (SELECT no FROM names WHERE text = ?1)";
    database.execute(sql, [task.to_string()])?;
    Ok(())
}

/// Adds or replaces the tasks of a project.
pub(super) fn put_tasks(database: &Connection, tasks: &ProjectTasks) -> Result<(), LedgerError> {
    database.execute(
        "INSERT INTO project_tasks (project, record) VALUES (?1, ?2)
         ON CONFLICT (project) DO UPDATE SET record = excluded.record",
        params![number(database, tasks.project.as_str())?, serde_json::to_string(tasks)?],
    )?;
    Ok(())
}

/// Forgets the tasks of a project.
pub(super) fn drop_tasks(database: &Connection, project: &ProjectName) -> Result<(), LedgerError> {
    let sql = "DELETE FROM project_tasks WHERE project = (SELECT no FROM names WHERE text = ?1)";
    database.execute(sql, [project.as_str()])?;
    Ok(())
}

/// Returns the tasks of all projects, by the projects' names.
pub(super) fn tasks(database: &Connection) -> Result<Vec<ProjectTasks>, LedgerError> {
    let mut select = database
        .prepare("SELECT p.record FROM project_tasks p JOIN names n ON n.no = p.project ORDER BY n.text")?;
    let rows = select.query_map([], |row| row.get::<_, String>(0))?;
    let mut all = Vec::new();
    for row in rows {
        match serde_json::from_str(&row?) {
            Ok(tasks) => all.push(tasks),
            Err(error) => tracing::warn!(%error, "the tasks of a project in the history cannot be read"),
        }
    }
    Ok(all)
}
