//! `run list`: a table of runs, the newest first.

use http::Method;
use jiff::Timestamp;

use super::super::Console;
use super::super::args::ListRunsArgs;
use super::super::bridge::Bridge;
use super::super::ending::read;
use super::super::failure::{DONE, Failure};
use super::super::report;
use super::super::table::aligned;
use super::super::times::{age, length};
use switchyard_contract::run::{Run, RunPage, RunState};
use switchyard_contract::visible;

/// Returns the exit status.
///
/// # Errors
/// There is no answer, or it is not understood.
pub(super) async fn list(
    bridge: &Bridge,
    args: &ListRunsArgs,
    json: bool,
    console: &mut Console<'_>,
) -> Result<u8, Failure> {
    let states = args.state.iter().map(|state| state.as_str()).collect::<Vec<_>>().join(",");
    let query = [
        ("task", args.task.as_ref().map(ToString::to_string)),
        ("project", args.project.as_ref().map(ToString::to_string)),
        ("state", Some(states).filter(|states| !states.is_empty())),
        ("since", args.since.map(|at| at.to_string())),
        ("until", args.until.map(|at| at.to_string())),
        ("commit", args.commit.clone()),
        ("parent", args.parent.map(|run| run.to_string())),
        ("limit", args.limit.map(|limit| limit.to_string())),
        ("cursor", args.cursor.clone()),
    ];
    let query: Vec<_> = query.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))).collect();
    let answer = bridge.call(bridge.request(Method::GET, &["runs"], &query)).await?;
    if json || !answer.status.is_success() {
        return report::print_answer(console, json, &answer);
    }
    let page: RunPage = read(&answer.body)?;
    if page.runs.is_empty() && page.next.is_none() {
        console.print("no runs")?;
        return Ok(DONE);
    }
    console.print_table(&table(&page.runs, Timestamp::now()))?;
    if let Some(next) = &page.next {
        console.complain(&format!("more: add --cursor {}", visible::word(next)))?;
    }
    Ok(DONE)
}

fn table(runs: &[Run], now: Timestamp) -> String {
    let mut rows =
        vec![["RUN", "TASK", "STATE", "STARTED BY", "VERSION", "ACCEPTED", "TOOK"].map(str::to_owned)];
    rows.extend(runs.iter().map(|run| row(run, now)));
    aligned(&rows)
}

fn row(run: &Run, now: Timestamp) -> [String; 7] {
    let state = match &run.error {
        Some(error) if run.state == RunState::Failed => format!("failed ({})", visible::word(&error.reason)),
        _ => run.state.as_str().to_owned(),
    };
    let by = run.by.as_deref().map(|by| format!(" ({})", visible::word(by))).unwrap_or_default();
    let version = run.version.as_ref().map_or("-", |version| version.name.as_str());
    let took = run.started_at.map(|start| run.ended_at.unwrap_or(now).duration_since(start)).map(length);
    [
        run.id.to_string(),
        visible::word(&run.task.to_string()).into_owned(),
        state,
        format!("{}{by}", run.trigger.as_str()),
        visible::word(version).into_owned(),
        age(run.queued_at, now),
        took.unwrap_or_else(|| "-".to_owned()),
    ]
}
