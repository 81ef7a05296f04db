//! `task list` and `task next`: tables of tasks.

use http::Method;
use jiff::Timestamp;

use super::super::Console;
use super::super::args::{ListTasksArgs, NextArgs};
use super::super::bridge::{Answer, Bridge};
use super::super::ending::read;
use super::super::failure::{DONE, Failure};
use super::super::report;
use super::super::table::aligned;
use super::super::times::age;
use super::show::trigger;
use switchyard_contract::project::ProjectName;
use switchyard_contract::task_overview::{TaskDetail, TaskOverview, TaskOverviews};
use switchyard_contract::visible;

/// Returns the exit status.
///
/// # Errors
/// There is no answer, or it is not understood.
pub(super) async fn list(
    bridge: &Bridge,
    args: &ListTasksArgs,
    json: bool,
    console: &mut Console<'_>,
) -> Result<u8, Failure> {
    let answer = all(bridge, args.project.as_ref()).await?;
    if json || !answer.status.is_success() {
        return report::print_answer(console, json, &answer);
    }
    let TaskOverviews { tasks } = read(&answer.body)?;
    let text = if tasks.is_empty() { "no tasks".to_owned() } else { table(&tasks, Timestamp::now()) };
    console.print(text.trim_end())?;
    Ok(DONE)
}

/// Shows the next due times of one task or of all. Returns the exit status.
///
/// # Errors
/// There is no answer, or it is not understood.
pub(super) async fn next(
    bridge: &Bridge,
    args: &NextArgs,
    json: bool,
    console: &mut Console<'_>,
) -> Result<u8, Failure> {
    let answer = match &args.task {
        Some(task) => bridge.get(&["tasks", &task.to_string()]).await?,
        None => all(bridge, None).await?,
    };
    if json || !answer.status.is_success() {
        return report::print_answer(console, json, &answer);
    }
    let times: Vec<_> = if args.task.is_some() {
        let detail: TaskDetail = read(&answer.body)?;
        detail.next_times.iter().map(|at| (*at, detail.overview.task.to_string())).collect()
    } else {
        let TaskOverviews { tasks } = read(&answer.body)?;
        tasks.iter().filter_map(|task| Some((task.next?, task.task.to_string()))).collect()
    };
    console.print(due(times, Timestamp::now()).trim_end())?;
    Ok(DONE)
}

async fn all(bridge: &Bridge, project: Option<&ProjectName>) -> Result<Answer, Failure> {
    let query: Vec<_> = project.map(|project| ("project", project.as_str())).into_iter().collect();
    Ok(bridge.call(bridge.request(Method::GET, &["tasks"], &query)).await?)
}

fn due(mut times: Vec<(Timestamp, String)>, now: Timestamp) -> String {
    if times.is_empty() {
        return "no schedule starts it\n".to_owned();
    }
    times.sort();
    let rows = times.into_iter().map(|(at, task)| [at.to_string(), age(at, now), task]);
    aligned(&rows.collect::<Vec<_>>())
}

fn table(tasks: &[TaskOverview], now: Timestamp) -> String {
    let mut rows = vec![["TASK", "STARTED BY", "NEXT", "LAST RUN", "NOW"].map(str::to_owned)];
    rows.extend(tasks.iter().map(|task| row(task, now)));
    aligned(&rows)
}

fn row(task: &TaskOverview, now: Timestamp) -> [String; 5] {
    let kind = if task.is_pipeline { " (pipeline)" } else { "" };
    let triggers = task.triggers.iter().map(trigger).collect::<Vec<_>>().join("; ");
    let last = task.last_run.as_ref();
    let last =
        last.map(|run| format!("{} {}", run.state.as_str(), age(run.ended_at.unwrap_or(run.queued_at), now)));
    let numbers = [(task.under_way, "running"), (task.waiting, "waiting")];
    let numbers =
        numbers.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
    let mut state: Vec<_> = numbers.collect();
    if !task.enabled {
        state.push("disabled".to_owned());
    }
    [
        format!("{}{kind}", visible::word(&task.task.to_string())),
        if triggers.is_empty() { "-".to_owned() } else { triggers },
        task.next.map_or_else(|| "-".to_owned(), |at| age(at, now)),
        last.unwrap_or_else(|| "never".to_owned()),
        if state.is_empty() { "-".to_owned() } else { state.join(", ") },
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_task_is_a_row_with_its_triggers_and_runs() {
        let id = "018f0000-0000-7000-8000-000000000000";
        let cron = json!({"kind": "cron", "schedules": ["0 8 * * *"], "zone": "Europe/Berlin"});
        let tasks: TaskOverviews = serde_json::from_value(json!({"tasks": [
            {"task": "blog:digest", "declared_in": "deno.json", "triggers": [cron], "enabled": true,
                "version": "blog@1", "next": "2026-03-01T12:05:00Z", "under_way": 1, "waiting": 2,
                "last_run": {"id": id, "task": "blog:digest", "state": "failed", "trigger": "cron",
                    "attempt": 1, "attempts": 1, "queued_at": "2026-03-01T11:00:00Z", "ended_at": "2026-03-01T11:59:00Z"}},
            {"task": "blog:import", "is_pipeline": true, "declared_in": "deno.json", "enabled": false,
                "version": "blog@1"},
        ]}))
        .unwrap();
        let table = table(&tasks.tasks, "2026-03-01T12:00:00Z".parse().unwrap());
        let expected = [
            "TASK STARTED BY NEXT LAST RUN NOW",
            "blog:digest cron 0 8 * * * (Europe/Berlin) in 5m failed 1m ago 1 running, 2 waiting",
            "blog:import (pipeline) - - never disabled",
        ];
        let squeezed = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(table.lines().map(squeezed).collect::<Vec<_>>(), expected, "{table}");
    }
}
