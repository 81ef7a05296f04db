//! Numbers that stand for states, times, names and ids in the database.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};
use switchyard_contract::run::{RunId, RunState};

use super::LedgerError;

/// The numbers of all states.
pub(super) const STATES: std::ops::RangeInclusive<i64> = 0..=8;
/// The numbers of the states that are ends, with how many times as long they are kept.
pub(super) const ENDS: [(i64, i64); 5] = [(3, 1), (4, 2), (5, 2), (6, 1), (7, 2)];

/// The number of a state, as it is on the disk: never changed.
pub(super) fn code(state: RunState) -> i64 {
    match state {
        RunState::Queued => 0,
        RunState::Starting => 1,
        RunState::Running => 2,
        RunState::Succeeded => 3,
        RunState::Failed => 4,
        RunState::TimedOut => 5,
        RunState::Cancelled => 6,
        RunState::Lost => 7,
        RunState::Unrecognized => 8,
    }
}

/// The state of a number.
pub(super) fn state(number: i64) -> RunState {
    RunState::ALL.into_iter().find(|state| code(*state) == number).unwrap_or(RunState::Unrecognized)
}

/// Returns the number of a name. A new name gets one.
pub(super) fn number(database: &Connection, text: &str) -> Result<i64, LedgerError> {
    if let Some(known) = known_number(database, text)? {
        return Ok(known);
    }
    let sql = "INSERT INTO names (text) VALUES (?1) RETURNING no";
    Ok(database.query_row(sql, [text], |row| row.get(0))?)
}

/// Returns the number of a name, if it has one.
pub(super) fn known_number(database: &Connection, text: &str) -> Result<Option<i64>, LedgerError> {
    let sql = "SELECT no FROM names WHERE text = ?1";
    Ok(database.query_row(sql, [text], |row| row.get(0)).optional()?)
}

/// The time of a number of microseconds.
pub(super) fn time(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or_default()
}

/// The id in a column.
pub(super) fn id(bytes: Option<[u8; 16]>) -> Option<RunId> {
    bytes.map(RunId::from_bytes)
}
