//! `run show`: everything about one run.

use jiff::Timestamp;

use super::super::Console;
use super::super::bridge::Bridge;
use super::super::ending::{error_lines, read};
use super::super::failure::{DONE, Failure};
use super::super::report;
use super::super::table::aligned;
use super::super::times::{age, length};
use switchyard_contract::run::{Run, RunDetail, RunId, RunState, RunVersion, Step};
use switchyard_contract::visible;

/// Returns the exit status.
///
/// # Errors
/// There is no answer, or it is not understood.
pub(super) async fn show(
    bridge: &Bridge,
    id: RunId,
    json: bool,
    console: &mut Console<'_>,
) -> Result<u8, Failure> {
    let answer = bridge.get(&["runs", &id.to_string()]).await?;
    if json || !answer.status.is_success() {
        return report::print_answer(console, json, &answer);
    }
    console.print(text(&read(&answer.body)?, Timestamp::now()).trim_end())?;
    Ok(DONE)
}

fn text(detail: &RunDetail, now: Timestamp) -> String {
    let run = &detail.run;
    let mut facts = facts(run, now);
    if let Some(why) = &detail.waits_for {
        facts.insert(1, ("waits", visible::word(why).to_string()));
    }
    let rows = facts.into_iter().map(|(what, fact)| [format!("  {what}"), fact]);
    let mut text = format!("run {} of {}\n{}", run.id, run.task, aligned(&rows.collect::<Vec<_>>()));
    if !detail.steps.is_empty() {
        let head = ["STEP", "STATE", "VERSION", "TOOK", "RUN"].map(str::to_owned);
        let rows: Vec<_> =
            std::iter::once(head).chain(detail.steps.iter().map(|step| row(step, now))).collect();
        text.push_str(&format!("\n{}", aligned(&rows)));
    }
    if !detail.children.is_empty() {
        text.push_str(&format!("\nfurther runs: switchyard run list --parent {}\n", run.id));
    }
    if let Some(error) = &run.error {
        text.push_str(&format!("\n{}\n", error_lines(error)));
    }
    if let Some(result) = run.result.as_ref().filter(|result| !result.is_null()) {
        text.push_str(&format!("\nresult: {result}\n"));
    }
    text
}

/// The facts about the run, each with its name. Facts that do not hold are left out.
fn facts(run: &Run, now: Timestamp) -> Vec<(&'static str, String)> {
    let when = |at: Timestamp| format!("{at}, {}", age(at, now));
    let by = run.by.as_deref().map(|by| format!(" by {}", visible::word(by))).unwrap_or_default();
    // Nobody knows when a lost run ended: it was noticed later.
    let took = run.started_at.filter(|_| run.state != RunState::Lost);
    let took = took.map(|start| length(run.ended_at.unwrap_or(now).duration_since(start)));
    let attempts = (run.attempts > 1).then(|| format!("{} of {}", run.attempt, run.attempts));
    let params =
        (!run.params.is_null() && run.params != serde_json::json!({})).then(|| run.params.to_string());
    let lines = if run.log_lines == 1 { "line" } else { "lines" };
    let log =
        (run.log_lines > 0).then(|| format!("{} {lines}: switchyard run logs {}", run.log_lines, run.id));
    let facts = [
        ("state", Some(run.state.as_str().to_owned())),
        ("started", Some(format!("{}{by}", run.trigger.as_str()))),
        ("due", run.scheduled_at.map(when)),
        ("accepted", Some(when(run.queued_at))),
        ("began", run.started_at.map(when)),
        ("ended", run.ended_at.map(when)),
        ("took", took),
        ("version", run.version.as_ref().map(version)),
        ("attempt", attempts),
        ("next", run.next_attempt_at.map(when)),
        ("parent", run.parent.map(|parent| parent.to_string())),
        ("router", run.router.as_deref().map(|router| visible::word(router).into_owned())),
        ("params", params),
        ("log", log),
    ];
    facts.into_iter().filter_map(|(what, fact)| Some((what, fact?))).collect()
}

/// `blog@3f9a1c2b7d4e, commit 8f0c1d2e3a4b (shop)`.
fn version(version: &RunVersion) -> String {
    let commit = version.commit.as_ref();
    let commit = commit.map(|commit| format!(", commit {} ({})", commit.short(), commit.source));
    visible::word(&format!("{}{}", version.name, commit.unwrap_or_default())).into_owned()
}

fn row(step: &Step, now: Timestamp) -> [String; 5] {
    let state = match &step.error {
        Some(error) => format!("{} ({})", step.state.as_str(), visible::word(&error.reason)),
        None => step.state.as_str().to_owned(),
    };
    let took = step.started_at.filter(|_| step.state != RunState::Lost);
    let took = took.map(|start| length(step.ended_at.unwrap_or(now).duration_since(start)));
    [
        visible::word(&step.name).into_owned(),
        state,
        step.version.as_ref().map_or_else(|| "-".to_owned(), version),
        took.unwrap_or_else(|| "-".to_owned()),
        step.run.map_or_else(|| "-".to_owned(), |run| run.to_string()),
    ]
}
