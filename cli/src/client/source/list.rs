//! `source list`: a table of all sources.

use jiff::Timestamp;

use super::super::Console;
use super::super::bridge::Bridge;
use super::super::failure::{DONE, Failure};
use super::super::report;
use super::super::table::aligned;
use super::super::times::age;
use super::{read, short};
use switchyard_contract::source::{SourceState, SourceStatus, SourceStatuses};
use switchyard_contract::visible;

/// Returns the exit status.
///
/// # Errors
/// There is no answer, or it is not understood.
pub(super) async fn list(bridge: &Bridge, json: bool, console: &mut Console<'_>) -> Result<u8, Failure> {
    let answer = bridge.get(&["sources"]).await?;
    if json || !answer.status.is_success() {
        return report::print_answer(console, json, &answer);
    }
    let SourceStatuses { sources } = read(&answer)?;
    if sources.is_empty() {
        console.print("no sources; name them in the file of the bridge's --sources")?;
    } else {
        console.print_table(&table(&sources, Timestamp::now()))?;
    }
    Ok(DONE)
}

fn table(sources: &[SourceStatus], now: Timestamp) -> String {
    let mut rows = vec![["SOURCE", "FOLLOWS", "LIVE", "STATE", "PROBLEM", "SYNCED"].map(str::to_owned)];
    rows.extend(sources.iter().map(|source| row(source, now)));
    aligned(&rows)
}

fn row(source: &SourceStatus, now: Timestamp) -> [String; 6] {
    [
        visible::word(&source.source).into_owned(),
        visible::word(&source.follows).into_owned(),
        source.applied.as_deref().map_or_else(|| "-".to_owned(), short),
        state(source.state).to_owned(),
        problem(source),
        source.synced_at.map_or_else(|| "never".to_owned(), |at| age(at, now)),
    ]
}

/// The worst that is wrong, in a word or two. `source show` has the rest.
fn problem(source: &SourceStatus) -> String {
    if let Some(problem) = &source.problem {
        return visible::word(&problem.kind).into_owned();
    }
    let has_drift = source.projects.iter().any(|project| project.drift.is_some() || project.missing);
    let is_overridden = source.projects.iter().any(|project| project.overridden.is_some());
    let words = [
        (source.frozen.is_some(), "frozen"),
        (!source.asks.is_empty(), "removals wait"),
        (has_drift, "drift"),
        (is_overridden, "overridden"),
    ];
    words.into_iter().find(|(holds, _)| *holds).map_or("-", |(_, word)| word).to_owned()
}

/// The name of a state, as in the bridge's JSON.
pub(super) fn state(state: SourceState) -> &'static str {
    match state {
        SourceState::Idle => "idle",
        SourceState::Fetching => "fetching",
        SourceState::Reading => "reading",
        SourceState::Deploying => "deploying",
        SourceState::Ready => "ready",
        SourceState::Unrecognized => "unrecognized",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn source(name: &str, more: &serde_json::Value) -> SourceStatus {
        let mut status = json!({"source": name, "url": "file:///r", "follows": "branch main",
            "state": "idle", "publish": "follow"});
        status.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(status).unwrap()
    }

    #[test]
    fn each_source_is_a_row_with_the_worst_of_it() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let problem = json!({"kind": "failed", "detail": "no", "since": "2026-03-01T11:00:00Z"});
        let project = json!({"project": "p", "path": "p", "tree": "t", "drift": "ab".repeat(32)});
        let sources = [
            source("api", &json!({"applied": commit, "synced_at": "2026-03-01T11:55:00Z"})),
            source("b", &json!({"state": "deploying", "problem": problem, "frozen": "no", "asks": ["x"]})),
            source("c", &json!({"state": "parked", "frozen": "no"})),
            source("d", &json!({"asks": ["x"]})),
            source("e", &json!({"projects": [project]})),
            source("f", &json!({"follows": "branch \u{1b}[2J"})),
        ];
        let table = table(&sources, at("2026-03-01T12:00:00Z"));
        let expected = [
            "SOURCE  FOLLOWS        LIVE          STATE         PROBLEM        SYNCED",
            "api     branch main    0123456789ab  idle          -              5m ago",
            "b       branch main    -             deploying     failed         never",
            "c       branch main    -             unrecognized  frozen         never",
            "d       branch main    -             idle          removals wait  never",
            "e       branch main    -             idle          drift          never",
            "f       branch ␛[2J    -             idle          -              never",
        ];
        let squeezed = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(table.lines().map(squeezed).collect::<Vec<_>>(), expected.map(squeezed), "{table}");
    }
}
