//! `source sync`, and the end of every request that is answered with the outcome of a sync.

use http::StatusCode;
use serde_json::Value;

use super::super::Console;
use super::super::args::SyncArgs;
use super::super::bridge::{Answer, Bridge, CallError};
use super::super::failure::{DONE, Failure};
use super::super::report;
use super::{ask, outcome, post};
use switchyard_contract::problem::ProblemDocument;
use switchyard_contract::source::{SyncReport, SyncReports};

/// Syncs one source or all. Returns the exit status.
///
/// # Errors
/// There is no answer, or it is not understood.
pub(super) async fn sync(
    bridge: &Bridge,
    args: &SyncArgs,
    json: bool,
    console: &mut Console<'_>,
) -> Result<u8, Failure> {
    let source = args.source.as_deref();
    let path = source.map_or_else(|| vec!["repo", "sync"], |source| vec!["sources", source, "sync"]);
    let query = [
        args.no_wait.then_some(("wait", "0")),
        args.commit.as_deref().map(|commit| ("commit", commit)),
        args.allow_empty.then_some(("allow_empty", "1")),
        args.force.then_some(("force", "1")),
    ];
    let mut request = post(path, query.into_iter().flatten().collect());
    request.wait = !args.no_wait;
    let answer = ask(bridge, &request, json, console).await?;
    if args.no_wait && answer.status.is_success() && reports(&answer).is_empty() {
        return accepted(&answer, source, json, console);
    }
    finish(&answer, json, console)
}

/// The sync was requested, and nobody waits for it.
fn accepted(
    answer: &Answer,
    source: Option<&str>,
    json: bool,
    console: &mut Console<'_>,
) -> Result<u8, Failure> {
    match source {
        _ if json && !answer.body.trim().is_empty() => console.print_json(&answer.body)?,
        _ if json => {}
        Some(source) => {
            console.print(&format!(
                "{source}: requested; switchyard source show {source} shows what became of it"
            ))?;
        }
        None => console.print("all sources: requested; switchyard source list shows what became of it")?,
    }
    Ok(DONE)
}

/// Prints the outcome of one or more syncs. Returns the exit status: that of the worst, which is the
/// highest.
///
/// # Errors
/// The answer is not understood.
pub(super) fn finish(answer: &Answer, json: bool, console: &mut Console<'_>) -> Result<u8, Failure> {
    let reports = reports(answer);
    if reports.is_empty() {
        let is_empty_list = serde_json::from_str::<SyncReports>(&answer.body).is_ok();
        if json || !answer.status.is_success() {
            return report::print_answer(console, json, answer);
        }
        if is_empty_list {
            console.print("no sources; name them in the file of the bridge's --sources")?;
            return Ok(DONE);
        }
        return Err(CallError::Strange("it does not say what became of the sync".to_owned()).into());
    }
    let exit = reports.iter().map(|report| outcome::exit_of(report.outcome)).max().unwrap_or(DONE);
    if json {
        report::print_answer(console, true, answer)?;
        return Ok(exit);
    }
    // Of several sources, the document around the reports is about none of them.
    let around = if reports.len() == 1 { document(&answer.body) } else { None };
    for synced in &reports {
        print(synced, around.as_ref(), answer.status, console)?;
    }
    Ok(exit)
}

fn print(
    synced: &SyncReport,
    around: Option<&ProblemDocument>,
    status: StatusCode,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    if outcome::exit_of(synced.outcome) == DONE {
        return Ok(console.print(&outcome::lines(synced))?);
    }
    let own = synced.problem.as_ref();
    let own: Option<ProblemDocument> = own.and_then(|own| serde_json::from_value(own.clone()).ok());
    // The one with the diagnostic says more.
    let problem = match (&own, around.filter(|_| !status.is_success())) {
        (Some(own), Some(around)) if own.error.is_none() && around.error.is_some() => Some(around),
        (Some(own), _) => Some(own),
        (None, around) => around,
    };
    if let Some(problem) = problem {
        console.complain(&report::describe(problem, &status.to_string()))?;
    }
    Ok(console.complain(&outcome::lines(synced))?)
}

fn document(body: &str) -> Option<ProblemDocument> {
    serde_json::from_str(body).ok()
}

/// Returns the reports in an answer: the answer itself, its list `sources`, or the member `sync` of a
/// problem document. Empty if there are none.
fn reports(answer: &Answer) -> Vec<SyncReport> {
    let Ok(body) = serde_json::from_str::<Value>(&answer.body) else { return Vec::new() };
    let member = body.get("sync").unwrap_or(&body);
    let list = member.get("sources").or_else(|| body.get("sources"));
    match list {
        Some(list) => serde_json::from_value(list.clone()).unwrap_or_default(),
        None => serde_json::from_value(member.clone()).into_iter().collect(),
    }
}
