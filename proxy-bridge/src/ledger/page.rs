//! Pages of runs: a merge of ordered streams, one for each state, that reads no more rows than the
//! page needs.

use std::fmt;

use jiff::Timestamp;
use rusqlite::types::Value as Sql;
use rusqlite::{Connection, Rows, Statement, params_from_iter};
use switchyard_contract::run::{Run, RunFilter};

use super::LedgerError;
use super::codes::{STATES, code, known_number};

/// Rows that one call looks at: claims of due times wait no longer than for these.
const EXAMINED: usize = 20_000;
/// Bytes of the records of a page, unless a single one has more.
const BYTES: usize = 4 << 20;
/// Commits that a shortened id may mean.
const COMMITS: usize = 16;

/// The position of a row in the order of lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    queued_at: i64,
    seq: i64,
}

impl Position {
    /// Reads the cursor of a page.
    pub(super) fn parse(cursor: &str) -> Result<Self, LedgerError> {
        let parsed = cursor
            .split_once('.')
            .and_then(|(time, seq)| Some(Self { queued_at: time.parse().ok()?, seq: seq.parse().ok()? }));
        parsed.ok_or_else(|| LedgerError::Cursor(cursor.to_owned()))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.queued_at, self.seq)
    }
}

/// A part of a page.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) runs: Vec<Run>,
    /// The bytes of their records.
    pub(super) bytes: usize,
    /// The last row that was looked at. `None`: there are no more.
    pub(super) next: Option<Position>,
}

impl Part {
    /// Returns true if the page is long enough.
    pub(super) fn is_full(&self, limit: usize) -> bool {
        self.runs.len() >= limit || self.bytes >= BYTES
    }
}

/// The conditions of a filter, with numbers for names.
#[derive(Debug)]
struct Conditions {
    project: Option<i64>,
    task: Option<i64>,
    commits: Option<Vec<i64>>,
    states: Vec<i64>,
    parent: Option<[u8; 16]>,
    since: i64,
    /// Exclusive.
    until: i64,
}

/// Reads what follows `after` into `part`, until it is full or many rows were looked at.
pub(super) fn read(
    database: &Connection,
    filter: &RunFilter,
    limit: usize,
    after: Option<Position>,
    mut part: Part,
) -> Result<Part, LedgerError> {
    part.next = None;
    let Some(conditions) = Conditions::of(database, filter)? else { return Ok(part) };
    let streams = conditions.streams(after);
    let mut statements =
        streams.iter().map(|(sql, _)| database.prepare(sql)).collect::<Result<Vec<Statement<'_>>, _>>()?;
    let rows = statements
        .iter_mut()
        .zip(streams)
        .map(|(statement, (_, values))| statement.query(params_from_iter(values)))
        .collect::<Result<Vec<_>, _>>()?;
    let mut merge = Merge::start(rows)?;
    let mut examined = 0;
    while let Some(row) = merge.next()? {
        examined += 1;
        if conditions.hold(&row) {
            part.bytes += row.record.len();
            match serde_json::from_str(&row.record) {
                Ok(run) => part.runs.push(run),
                Err(error) => tracing::warn!(%error, "a run of the history cannot be read"),
            }
        }
        if (part.is_full(limit) || examined >= EXAMINED) && merge.has_more() {
            part.next = Some(row.position);
            break;
        }
    }
    Ok(part)
}

impl Conditions {
    /// Returns `None` if a name is in no run.
    fn of(database: &Connection, filter: &RunFilter) -> Result<Option<Self>, LedgerError> {
        let mut conditions = Self {
            project: None,
            task: None,
            commits: None,
            states: filter.states.iter().map(|state| code(*state)).collect(),
            parent: filter.parent.map(|id| *id.as_bytes()),
            since: filter.since.map_or(i64::MIN, Timestamp::as_microsecond),
            until: filter.until.map_or(i64::MAX, Timestamp::as_microsecond),
        };
        conditions.states.sort_unstable();
        conditions.states.dedup();
        if let Some(project) = &filter.project {
            let Some(number) = known_number(database, project.as_str())? else { return Ok(None) };
            conditions.project = Some(number);
        }
        if let Some(task) = &filter.task {
            let Some(number) = known_number(database, &task.to_string())? else { return Ok(None) };
            conditions.task = Some(number);
        }
        if let Some(start) = &filter.commit {
            conditions.commits = Some(commits(database, start)?);
        }
        Ok(Some(conditions))
    }

    /// The SQL and the values of each stream. Together they have each row once.
    fn streams(&self, after: Option<Position>) -> Vec<(String, Vec<Sql>)> {
        let position = after.unwrap_or(Position { queued_at: i64::MAX, seq: i64::MAX });
        let stream = |index: &str, equal: &[(&str, Sql)]| {
            let mut sql = format!(
                "SELECT seq, queued_at, project, task, state, commit_no, record FROM runs INDEXED BY {index} \
                 WHERE queued_at >= ? AND queued_at < ? AND queued_at <= ? AND (queued_at, seq) < (?, ?)"
            );
            let mut values: Vec<Sql> =
                [self.since, self.until, position.queued_at, position.queued_at, position.seq]
                    .map(Sql::Integer)
                    .into();
            for (column, value) in equal {
                sql.push_str(&format!(" AND {column} = ?"));
                values.push(value.clone());
            }
            sql.push_str(" ORDER BY queued_at DESC, seq DESC");
            (sql, values)
        };
        let integer = Sql::Integer;
        if let Some(parent) = self.parent {
            return vec![stream("runs_parent", &[("parent", Sql::Blob(parent.to_vec()))])];
        }
        if let Some(commits) = &self.commits {
            let each = commits.iter().map(|commit| match self.task {
                Some(task) => {
                    let equal = [("task", integer(task)), ("commit_no", integer(*commit))];
                    stream("runs_task_commit", &equal)
                }
                None => stream("runs_commit", &[("commit_no", integer(*commit))]),
            });
            return each.collect();
        }
        let all = || STATES.collect();
        let states = if self.states.is_empty() { all() } else { self.states.clone() };
        let each = states.into_iter().map(|state| match (self.task, self.project) {
            (Some(task), _) => stream("runs_task", &[("task", integer(task)), ("state", integer(state))]),
            (None, Some(project)) => {
                stream("runs_project", &[("project", integer(project)), ("state", integer(state))])
            }
            (None, None) => stream("runs_state", &[("state", integer(state))]),
        });
        each.collect()
    }

    /// Returns true for a row that meets what its stream did not ask for.
    fn hold(&self, row: &Found) -> bool {
        self.project.is_none_or(|project| row.project == project)
            && self.task.is_none_or(|task| row.task == task)
            && (self.states.is_empty() || self.states.contains(&row.state))
            && self.commits.as_ref().is_none_or(|all| row.commit.is_some_and(|one| all.contains(&one)))
    }
}

/// Returns the numbers of the commits whose ids begin so.
fn commits(database: &Connection, start: &str) -> Result<Vec<i64>, LedgerError> {
    // Other names with such a beginning are in no run's `commit_no`.
    let mut select = database.prepare(
        "SELECT no FROM names WHERE text >= ?1 AND text < ?1 || 'g'
         AND EXISTS (SELECT 1 FROM runs WHERE commit_no = no) LIMIT ?2",
    )?;
    let rows = select.query_map((start, COMMITS as i64), |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

struct Found {
    position: Position,
    project: i64,
    task: i64,
    state: i64,
    commit: Option<i64>,
    record: String,
}

/// The rows of several ordered streams, in order.
struct Merge<'a> {
    streams: Vec<(Found, Rows<'a>)>,
}

impl<'a> Merge<'a> {
    fn start(all: Vec<Rows<'a>>) -> Result<Self, LedgerError> {
        let mut streams = Vec::new();
        for mut rows in all {
            if let Some(first) = take(&mut rows)? {
                streams.push((first, rows));
            }
        }
        Ok(Self { streams })
    }

    fn next(&mut self) -> Result<Option<Found>, LedgerError> {
        let newest = self.streams.iter().enumerate().max_by_key(|(_, (row, _))| row.position);
        let Some((index, _)) = newest else { return Ok(None) };
        let (head, rows) = &mut self.streams[index];
        Ok(Some(match take(rows)? {
            Some(following) => std::mem::replace(head, following),
            None => self.streams.swap_remove(index).0,
        }))
    }

    fn has_more(&self) -> bool {
        !self.streams.is_empty()
    }
}

fn take(rows: &mut Rows<'_>) -> Result<Option<Found>, LedgerError> {
    let Some(row) = rows.next()? else { return Ok(None) };
    Ok(Some(Found {
        position: Position { seq: row.get(0)?, queued_at: row.get(1)? },
        project: row.get(2)?,
        task: row.get(3)?,
        state: row.get(4)?,
        commit: row.get(5)?,
        record: row.get(6)?,
    }))
}

/// Returns the steps of SQLite's machine for the first rows of each stream of a filter, and how many
/// of them it had to sort.
#[cfg(test)]
pub(super) fn cost(database: &Connection, filter: &RunFilter) -> Result<(i32, i32), LedgerError> {
    let (mut steps, mut sorts) = (0, 0);
    let Some(conditions) = Conditions::of(database, filter)? else { return Ok((0, 0)) };
    for (sql, values) in conditions.streams(None) {
        let mut statement = database.prepare(&sql)?;
        let mut rows = statement.query(params_from_iter(values))?;
        for _ in 0..filter.limit {
            if take(&mut rows)?.is_none() {
                break;
            }
        }
        drop(rows);
        steps += statement.get_status(rusqlite::StatementStatus::VmStep);
        sorts += statement.get_status(rusqlite::StatementStatus::Sort);
    }
    Ok((steps, sorts))
}
