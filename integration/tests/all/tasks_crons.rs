//! Crons in the code of a project: `scheduled()` beside `fetch`, and `Deno.cron`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use switchyard_contract::admin::ProjectState;
use switchyard_contract::bounds::OUTPUT_LINES;
use switchyard_contract::run::{RunState, RunTrigger};
use switchyard_integration::eventually;
use switchyard_integration::fixtures::hello;
use switchyard_integration::probe::Probe;
use switchyard_integration::router::Router;
use switchyard_integration::runs::{Routed, Served};
use switchyard_integration::volume::Volume;

/// `Deno.cron` counts in minutes: the next one begins at most one later.
const NEXT_MINUTE: Duration = Duration::from_secs(90);

/// Prints at each minute, and serves.
const TICKS: &str = "Deno.cron('tick', '* * * * *', () => console.log('tick', Deno.pid));\n\
     export default { fetch: () => new Response('ticks') };\n";

/// Polls until the next minute has brought it.
async fn next_minute<F: Future<Output = bool>>(what: &str, mut ask: impl FnMut() -> F) {
    let asked = tokio::time::timeout(NEXT_MINUTE, async {
        while !ask().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    assert!(asked.await.is_ok(), "not within {NEXT_MINUTE:?}: {what}");
}

/// The lines that a project has printed at some routers, as events.
async fn printed(routers: impl IntoIterator<Item = &Router>, project: &str) -> String {
    let mut all = String::new();
    for router in routers {
        let path = format!("/projects/{project}/logs?lines=1000");
        all.push_str(&router.admin.client.get(&path).await.text());
    }
    all
}

/// The number of ticks in each minute, by what was printed.
fn minutes(printed: &str) -> BTreeMap<String, usize> {
    let mut minutes = BTreeMap::new();
    for line in printed.lines().filter_map(|line| line.strip_prefix("data:")) {
        let line: Value = serde_json::from_str(line).expect("a line is JSON");
        if line["line"].as_str().is_some_and(|text| text.starts_with("tick ")) {
            let timestamp = line["timestamp"].as_str().expect("it has a time");
            *minutes.entry(timestamp[.."2026-11-29T16:06".len()].to_owned()).or_default() += 1;
        }
    }
    minutes
}

/// Waits until the handlers of a project have printed `at_least` lines, and returns their number.
async fn ticks(routers: &[&Router], project: &str, at_least: usize) -> usize {
    let count = async || printed(routers.iter().copied(), project).await.matches("tick ").count();
    eventually("the handlers have printed", || async { count().await >= at_least }).await;
    count().await
}

#[tokio::test]
async fn scheduled_beside_fetch_runs_at_the_declared_times_and_requests_go_on() {
    let volume = Volume::new();
    volume
        .project("jobs")
        .file(
            "main.ts",
            "export default {\n  fetch: () => new Response('served'),\n  \
             async scheduled(controller, env, ctx) {\n    \
               ctx.waitUntil(Promise.resolve().then(() => console.log('later')));\n    \
               console.log(controller.cron, new Date(controller.scheduledTime).toISOString(), env.MODE);\n  }\n};\n",
        )
        .file("deno.json", r#"{"switchyard": {"crons": ["* * * * * *"], "env": {"MODE": "live"}}}"#)
        .write();
    let served = Served::start(&volume).await;
    let probe = Probe::start(&served.serve.public, "/jobs/").await;
    served.api.knows("jobs:scheduled").await;
    let runs = served.api.counted("task=jobs:scheduled&state=succeeded", 2).await;
    let run = served.api.run(runs[0].id).await.run;
    assert_eq!(run.trigger, RunTrigger::Cron);
    let due = run.scheduled_at.expect("a schedule has started it").to_string();
    let lines = served.api.lines(run.id).await;
    let said = format!("* * * * * * {} live", due.replace('Z', ".000Z"));
    assert!(lines.contains(&said) && lines.contains(&"later".to_owned()), "{said:?}: {lines:?}");
    let due: BTreeSet<_> = runs.iter().map(|run| run.scheduled_at).collect();
    assert_eq!(due.len(), runs.len(), "{runs:#?}");
    let report = probe.finish().await;
    assert!(report.answers.iter().all(|answer| answer.status == Ok(200)), "{:#?}", report.answers);
}

#[tokio::test]
async fn a_cron_fires_once_over_two_processes_and_two_routers_and_wakes_an_idle_project() {
    let volume = Volume::with("bystander", hello("bystander"));
    volume
        .project("ticks")
        .file("main.ts", TICKS)
        .file("deno.json", r#"{"switchyard": {"cells": 2}}"#)
        .write();
    volume
        .project("asleep")
        .file("main.ts", TICKS)
        .file("deno.json", r#"{"switchyard": {"idle": 1}}"#)
        .write();
    let policy = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    std::fs::write(policy.path(), "[defaults.limits]\ncells = 2\n").expect("it can be written");
    let flag = policy.path().display().to_string();
    let routed =
        Routed::start_with(&volume, 2, |_, router| router.flag("policy", &flag), |bridge| bridge).await;
    let probe = Probe::start(&routed.routers[0].public, "/bystander/").await;
    for project in ["ticks", "asleep"] {
        routed.api.knows(&format!("{project}:cron/tick")).await;
    }
    for router in routed.routers.iter() {
        assert_eq!(router.admin.project("ticks").await.pids.len(), 2);
        eventually("it is idle", || async {
            router.admin.project("asleep").await.state == ProjectState::Idle
        })
        .await;
    }
    for project in ["ticks", "asleep"] {
        let query = format!("task={project}:cron/tick&state=succeeded");
        next_minute(project, || async { !routed.api.runs(&query).await.is_empty() }).await;
        let runs = routed.api.runs(&format!("task={project}:cron/tick")).await;
        let due: BTreeSet<_> = runs.iter().map(|run| run.scheduled_at).collect();
        assert_eq!(due.len(), runs.len(), "{runs:#?}");
        let routers: Vec<_> = routed.routers.iter().collect();
        assert_eq!(ticks(&routers, project, runs.len()).await, runs.len(), "{project} has ticked");
        let ended = routed.api.ended(runs[0].id).await.run;
        assert_eq!((ended.state, ended.trigger), (RunState::Succeeded, RunTrigger::Cron), "{ended:#?}");
        let lines = printed(routers, project).await;
        assert!(lines.contains(&ended.id.to_string()), "the line names its run: {lines}");
    }
    probe.finish().await.no_failures();
}

#[tokio::test]
async fn a_router_without_a_bridge_fires_crons_by_itself_once_for_all_processes() {
    let volume = Volume::with("ticks", TICKS);
    volume.write("ticks/deno.json", r#"{"switchyard": {"cells": 2}}"#);
    volume
        .project("asleep")
        .file("main.ts", TICKS)
        .file("deno.json", r#"{"switchyard": {"idle": 1}}"#)
        .write();
    let policy = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    std::fs::write(policy.path(), "[defaults.limits]\ncells = 2\n").expect("it can be written");
    let router = Router::builder(&volume).flag("policy", policy.path().display()).start().await;
    assert_eq!(router.admin.project("ticks").await.pids.len(), 2);
    eventually("it is idle", || async { router.admin.project("asleep").await.state == ProjectState::Idle })
        .await;
    for project in ["ticks", "asleep"] {
        next_minute(project, || async { !minutes(&printed([&router], project).await).is_empty() }).await;
    }
    // The minutes of the two may differ, by that in which each was first live.
    for project in ["ticks", "asleep"] {
        let minutes = minutes(&printed([&router], project).await);
        assert!(minutes.values().all(|ticks| *ticks == 1), "{project} has ticked: {minutes:#?}");
    }
    assert_eq!(router.public.get("/ticks/").await.text(), "ticks");
}

#[tokio::test]
async fn the_log_of_a_cron_has_every_line_that_its_handler_printed() {
    const LINES: usize = OUTPUT_LINES + 100;
    let volume = Volume::with(
        "burst",
        format!(
            "Deno.cron('burst', '0 0 1 1 *', () => {{\n  for (let n = 0; n < {LINES}; n++) console.log(n);\n  \
             throw new Error('the last word');\n}});\nexport default {{ fetch: () => new Response('burst') }};\n"
        ),
    );
    let served = Served::start(&volume).await;
    served.api.knows("burst:cron/burst").await;
    let probe = Probe::start(&served.serve.public, "/burst/").await;
    for _ in 0..3 {
        let ended = served.api.start("burst:cron/burst").ended().await.run;
        assert_eq!(ended.state, RunState::Failed, "{ended:#?}");
        let log = served.api.log(ended.id).await;
        let printed = log.lines.iter().filter(|line| line.stream == "stdout");
        let printed: Vec<_> = printed.map(|line| line.line.parse().ok()).collect();
        assert_eq!(printed, (0..LINES).map(Some).collect::<Vec<_>>());
        assert!(log.lines.iter().any(|line| line.line.contains("the last word")), "{:?}", log.lines.last());
    }
    let log = served.serve.admin.client.get("/projects/burst/logs?lines=1000").await.text();
    assert!(log.contains("the last word") && !log.contains("u001d"), "{log}");
    probe.finish().await.no_failures();
}
