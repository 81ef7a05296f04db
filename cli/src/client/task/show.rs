//! `task show` and `pipeline show`: everything about one task or pipeline.

use std::time::Duration;

use jiff::Timestamp;

use super::super::Console;
use super::super::bridge::Bridge;
use super::super::ending::read;
use super::super::failure::{DONE, Failure};
use super::super::report;
use super::super::table::aligned;
use super::super::times::age;
use switchyard_contract::task::{
    CronTrigger, Overlap, ParamSpec, StepSpec, TaskId, TaskPermissions, TaskSpec, TaskTrigger,
};
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
    facts.extend(rules(detail));
    let crons = || task.triggers.iter().filter_map(cron);
    facts.extend(crons().find(|cron| cron.jitter_ms > 0).map(|cron| ("jitter", time(cron.jitter_ms))));
    facts.extend(crons().next().map(|cron| ("catch-up", word(cron.catch_up))));
    let zone = crons().next().map_or("UTC", |cron| cron.zone.as_str());
    let shown = |at: Timestamp| match at.in_tz(zone) {
        Ok(local) if zone != "UTC" => local.to_string(),
        _ => at.to_string(),
    };
    facts.extend(detail.next_times.iter().map(|at| ("next", format!("{}, {}", shown(*at), age(*at, now)))));
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

/// The rules of runs at the same time, and of each of them.
fn rules(detail: &TaskDetail) -> Vec<(&'static str, String)> {
    let overlap = |overlap: Overlap| ("overlap", word(overlap));
    match &detail.spec {
        DeclaredSpec::Pipeline(spec) => vec![overlap(spec.overlap)],
        DeclaredSpec::Task(spec) => {
            let limit = match spec.timeout_ms {
                _ if spec.is_daemon() => "none: it is a daemon".to_owned(),
                Some(limit) => time(limit),
                None => "the policy's (run_time)".to_owned(),
            };
            let mut rules = vec![overlap(spec.overlap), ("timeout", limit)];
            rules.extend(retry(spec).map(|retry| ("retry", retry)));
            rules.extend(spec.permissions.as_ref().map(|less| ("permissions", permissions(less))));
            rules
        }
    }
}

fn retry(spec: &TaskSpec) -> Option<String> {
    let retry = spec.retry;
    (retry.attempts > 1)
        .then(|| format!("{} attempts in all, the second after {}", retry.attempts, time(retry.backoff_ms)))
}

/// The kinds that a task narrows: `env API_KEY; net nothing`.
fn permissions(less: &TaskPermissions) -> String {
    let kinds = [
        ("env", &less.env),
        ("net", &less.net),
        ("read", &less.read),
        ("write", &less.write),
        ("sys", &less.sys),
    ];
    let named = kinds.into_iter().filter_map(|(kind, list)| {
        let list = list.as_ref()?;
        Some(if list.is_empty() { format!("{kind} nothing") } else { format!("{kind} {}", list.join(", ")) })
    });
    visible::word(&named.collect::<Vec<_>>().join("; ")).into_owned()
}

fn cron(trigger: &TaskTrigger) -> Option<&CronTrigger> {
    match trigger {
        TaskTrigger::Cron(cron) => Some(cron),
        _ => None,
    }
}

fn time(millis: u64) -> String {
    format!("{:?}", Duration::from_millis(millis))
}

/// A word of the API.
fn word(value: impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
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

#[cfg(test)]
mod tests {
    use serde_json::json;
    use switchyard_contract::task::RunLimits;

    use super::*;

    #[test]
    fn the_rules_of_a_task_and_the_times_of_its_zone_are_shown() {
        let cron =
            json!({"kind": "cron", "schedules": ["0 8 * * *"], "zone": "Europe/Berlin", "jitter_ms": 30_000});
        let detail: TaskDetail = serde_json::from_value(json!({
            "task": "blog:digest", "declared_in": "deno.json", "triggers": [cron], "enabled": true,
            "version": "blog@1", "spec_hash": "s", "next_times": ["2026-03-01T07:00:00Z"],
            "limits": RunLimits::default(),
            "spec": {"kind": "task", "name": "digest", "declared_in": "deno.json",
                "code": {"kind": "module", "path": "a.ts"}, "timeout_ms": 90_000, "overlap": "queue",
                "retry": {"attempts": 3, "backoff_ms": 10_000}, "permissions": {"net": [], "env": ["KEY"]}},
        }))
        .unwrap();
        let shown = text(&detail, "2026-03-01T06:00:00Z".parse().unwrap());
        let squeezed: Vec<_> =
            shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        for line in [
            "overlap queue",
            "timeout 90s",
            "retry 3 attempts in all, the second after 10s",
            "permissions env KEY; net nothing",
            "jitter 30s",
            "catch-up one",
            "next 2026-03-01T08:00:00+01:00[Europe/Berlin], in 1h",
        ] {
            assert!(squeezed.iter().any(|shown| shown == line), "{line}: {shown}");
        }
    }
}
