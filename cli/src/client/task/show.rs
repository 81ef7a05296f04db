//! `task show` and `pipeline show`: everything about one task or pipeline.

use jiff::Timestamp;

use super::super::Console;
use super::super::bridge::Bridge;
use super::super::ending::read;
use super::super::failure::{DONE, Failure};
use super::super::report;
use super::super::table::aligned;
use super::super::times::age;
use switchyard_contract::task::{ParamSpec, StepSpec, TaskId, TaskTrigger};
use switchyard_contract::task_overview::{DeclaredSpec, TaskDetail};
use switchyard_contract::visible;

/// Returns the exit status.
///
/// # Errors
/// There is no answer, or it is not understood.
pub(super) async fn show(
    bridge: &Bridge,
    kind: &str,
    task: &TaskId,
    json: bool,
    console: &mut Console<'_>,
) -> Result<u8, Failure> {
    let answer = bridge.get(&[kind, &task.to_string()]).await?;
    if json || !answer.status.is_success() {
        return report::print_answer(console, json, &answer);
    }
    console.print(text(&read(&answer.body)?, Timestamp::now()).trim_end())?;
    Ok(DONE)
}

fn text(detail: &TaskDetail, now: Timestamp) -> String {
    let task = &detail.overview;
    let rows = facts(detail, now).into_iter().map(|(what, fact)| [format!("  {what}"), fact]);
    let mut text = format!("{}\n{}", task.task, aligned(&rows.collect::<Vec<_>>()));
    let params = match &detail.spec {
        DeclaredSpec::Task(spec) => &spec.params,
        DeclaredSpec::Pipeline(spec) => {
            text.push_str(&format!("\n{}", steps(&spec.steps)));
            &spec.params
        }
    };
    if !params.is_empty() {
        let head = ["PARAMETER", "TYPE", "DEFAULT", ""].map(str::to_owned);
        let rows: Vec<_> = std::iter::once(head).chain(params.iter().map(param)).collect();
        text.push_str(&format!("\n{}", aligned(&rows)));
    }
    let others = detail
        .versions
        .iter()
        .filter(|one| one.version.as_ref().is_none_or(|version| version.name != task.version));
    for other in others {
        let version = other.version.as_ref().map_or("no version that declares it", |version| &version.name);
        text.push_str(&format!("\n{} has {}\n", visible::word(&other.router), visible::word(version)));
    }
    text
}

fn facts(detail: &TaskDetail, now: Timestamp) -> Vec<(&'static str, String)> {
    let task = &detail.overview;
    let text = |text: &str| visible::word(text).into_owned();
    let commit = task.commit.as_ref();
    let commit = commit.map(|commit| format!(", commit {} ({})", commit.short(), text(&commit.source)));
    let mut facts = vec![("declared", text(&task.declared_in))];
    facts.extend(task.description.as_deref().map(|about| ("about", text(about))));
    facts.push(("version", format!("{}{}", text(&task.version), commit.unwrap_or_default())));
    if !task.enabled {
        facts.push(("disabled", "no trigger starts it".to_owned()));
    }
    facts.extend(task.triggers.iter().map(|one| ("started by", trigger(one))));
    facts.extend(detail.next_times.iter().map(|at| ("next", format!("{at}, {}", age(*at, now)))));
    facts.push(("now", format!("{} under way, {} waiting", task.under_way, task.waiting)));
    if let Some(run) = &task.last_run {
        let reason =
            run.error.as_ref().map(|error| format!(" ({})", text(&error.reason))).unwrap_or_default();
        let fact = format!("{}{reason}, {}: run {}", run.state.as_str(), age(run.queued_at, now), run.id);
        facts.push(("last run", fact));
    }
    facts.extend(detail.occurrences.iter().take(5).map(|one| {
        let reason = one.reason.as_deref().map(|reason| format!(", {}", text(reason))).unwrap_or_default();
        ("due", format!("{} {}{reason}", one.due_at, one.outcome.as_str()))
    }));
    facts
}

/// A trigger in words: `cron 0 8 * * 1-5 (Europe/Berlin)`.
pub(super) fn trigger(trigger: &TaskTrigger) -> String {
    let words = match trigger {
        TaskTrigger::Cron(cron) => format!("cron {} ({})", cron.schedules.join(", "), cron.zone),
        TaskTrigger::Webhook(hook) => {
            let open = if hook.open { ", open" } else { "" };
            format!("webhook /hooks/{}{open}", hook.path)
        }
        TaskTrigger::Daemon { .. } => "daemon".to_owned(),
        TaskTrigger::Chain { after, .. } => format!("after {after}"),
        TaskTrigger::File { pattern } => format!("file {pattern}"),
    };
    visible::word(&words).into_owned()
}

fn param(param: &ParamSpec) -> [String; 4] {
    let kind = serde_json::to_value(param.kind).ok();
    let kind = kind.as_ref().and_then(|kind| kind.as_str()).unwrap_or_default().to_owned();
    let default = match (&param.default, param.required) {
        (Some(value), _) => visible::word(&value.to_string()).into_owned(),
        (None, true) => "required".to_owned(),
        (None, false) => "-".to_owned(),
    };
    let about = visible::word(param.description.as_deref().unwrap_or_default()).into_owned();
    [visible::word(&param.name).into_owned(), kind, default, about]
}

fn steps(steps: &[StepSpec]) -> String {
    let head = ["STEP", "TASK", "AFTER"].map(str::to_owned);
    let rows = steps.iter().enumerate().map(|(at, step)| {
        let before = at.checked_sub(1).and_then(|before| steps.get(before)).map(|step| step.name.clone());
        let after = step.needs.clone().unwrap_or_else(|| before.into_iter().collect()).join(", ");
        [step.name.clone(), step.task.clone(), after].map(|cell| visible::word(&cell).into_owned())
    });
    aligned(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}
