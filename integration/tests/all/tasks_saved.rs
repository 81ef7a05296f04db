//! A saved task is live: its next run, request or process has the new code, and nothing else stops.

use serde_json::{Value, json};
use switchyard_contract::run::{Run, RunState, RunTrigger};
use switchyard_contract::task_overview::{DeclaredSpec, TaskDetail};
use switchyard_integration::client::{json_body, post};
use switchyard_integration::events::Events;
use switchyard_integration::eventually;
use switchyard_integration::fixtures::hello;
use switchyard_integration::probe::Probe;
use switchyard_integration::runs::{RunsApi, Served, TaskProject, returns, yaml_task};
use switchyard_integration::volume::Volume;

/// A trigger for each second.
const EACH_SECOND: &str = "cron: \"* * * * * *\"";

/// A daemon that says its label, and goes on until it is ended.
fn daemon(label: &str) -> String {
    format!(
        "export default async function main({{ signal }}) {{\n  console.log('daemon {label}');\n  \
         while (!signal.aborted) await new Promise((go) => setTimeout(go, 10));\n}}\n"
    )
}

fn write_task(volume: &Volume, name: &str, trigger: &str, source: &str) {
    volume.write(&format!("jobs/tasks/{name}/task.ts"), source);
    volume.write(&format!("jobs/tasks/{name}/task.yaml"), yaml_task(name, trigger, "timeout: 10s\n"));
}

/// The events of the router from now on.
async fn events(served: &Served) -> Events {
    Events::follow(&served.serve.admin.client, None).await
}

/// Waits until a schedule has started a run in this version, and returns it.
async fn by_schedule(api: &RunsApi, task: &str, version: &str) -> Run {
    let is_it = |run: &Run| {
        run.trigger == RunTrigger::Cron
            && run.state == RunState::Succeeded
            && run.version.as_ref().is_some_and(|ran| ran.name == version)
    };
    let query = format!("task={task}");
    eventually("a due time runs the version", || async { api.runs(&query).await.iter().any(is_it) }).await;
    api.runs(&query).await.into_iter().find(is_it).expect("it was there")
}

/// Waits for a run of the daemon that has printed `text`, and returns it.
async fn daemon_says(api: &RunsApi, task: &str, text: &str) -> Run {
    let query = format!("task={task}&state=running");
    let find = async || {
        for run in api.runs(&query).await {
            if api.lines(run.id).await.iter().any(|line| line == text) {
                return Some(run);
            }
        }
        None
    };
    eventually(text, || async { find().await.is_some() }).await;
    find().await.expect("it goes on")
}

fn timeout(detail: &TaskDetail) -> Option<u64> {
    match &detail.spec {
        DeclaredSpec::Task(spec) => spec.timeout_ms,
        DeclaredSpec::Pipeline(_) => None,
    }
}

#[tokio::test]
async fn the_next_run_by_hand_or_schedule_has_the_code_that_was_saved() {
    let volume = Volume::with("bystander", hello("bystander"));
    write_task(&volume, "digest", EACH_SECOND, &returns("one"));
    let served = Served::start(&volume).await;
    let probe = Probe::start(&served.serve.public, "/bystander/").await;
    let first = served.api.knows("jobs:digest").await;
    assert_eq!(served.api.start("jobs:digest").force().succeeded().await.result, Some(json!("one")));
    by_schedule(&served.api, "jobs:digest", &first.overview.version).await;

    let mut events = events(&served).await;
    volume.replace("jobs/tasks/digest/task.ts", returns("two"));
    events.wait_live("jobs").await;
    // Nobody waits for the bridge to hear of it.
    assert_eq!(served.api.start("jobs:digest").force().succeeded().await.result, Some(json!("two")));
    let second = served.api.knows_live("jobs:digest", &served.serve.admin).await;
    assert_ne!(first.overview.version, second.overview.version);
    assert_eq!(first.spec_hash, second.spec_hash, "the declaration is the same");
    let run = by_schedule(&served.api, "jobs:digest", &second.overview.version).await;
    assert_eq!(served.api.run(run.id).await.run.result, Some(json!("two")));
    served.serve.logged("jobs:digest is updated").await;
    probe.finish().await.no_failures();
}

#[tokio::test]
async fn a_saved_declaration_is_in_force_for_the_next_run() {
    let volume = Volume::new();
    write_task(&volume, "digest", "manual: true", &returns("one"));
    let served = Served::start(&volume).await;
    let first = served.api.knows("jobs:digest").await;
    assert_eq!((timeout(&first), first.overview.next), (Some(10_000), None));
    volume.replace("jobs/tasks/digest/task.yaml", yaml_task("digest", EACH_SECOND, "timeout: 20s\n"));
    let second = served
        .api
        .becomes("jobs:digest", "the time limit is the new one", |detail| timeout(detail) == Some(20_000))
        .await;
    assert_ne!(first.spec_hash, second.spec_hash);
    assert!(second.overview.next.is_some());
    let run = by_schedule(&served.api, "jobs:digest", &second.overview.version).await;
    assert_eq!(run.version.expect("it has run").spec, second.spec_hash);
}

#[tokio::test]
async fn a_daemon_starts_again_with_the_code_that_was_saved_and_only_for_it() {
    let volume = Volume::with("bystander", hello("bystander"));
    write_task(&volume, "worker", "daemon: true", &daemon("one"));
    let served = Served::start(&volume).await;
    let probe = Probe::start(&served.serve.public, "/bystander/").await;
    let first = daemon_says(&served.api, "jobs:worker", "daemon one").await;
    assert_eq!(first.trigger, RunTrigger::Daemon);
    let mut events = events(&served).await;
    volume.write("bystander/unused.ts", "export {};\n");
    events.wait_live("bystander").await;
    assert_eq!(served.api.run(first.id).await.run.state, RunState::Running, "another project was saved");

    volume.replace("jobs/tasks/worker/task.ts", daemon("two"));
    let second = daemon_says(&served.api, "jobs:worker", "daemon two").await;
    assert_ne!(first.id, second.id);
    assert!(served.api.ended(first.id).await.run.state.is_end());
    assert_eq!(served.api.runs("task=jobs:worker&state=running").await.len(), 1);
    probe.finish().await.no_failures();
}

#[tokio::test]
async fn the_next_request_to_a_webhook_has_the_handler_that_was_saved() {
    let volume = Volume::new();
    volume.write("_policy/policy.toml", "[projects.jobs.limits]\nopen_webhooks = true\n");
    let answer = |label: &str| {
        format!(
            "export default ({{ input, params }}) => ({{ label: '{label}', who: input.who, get: params.n }});\n"
        )
    };
    write_task(&volume, "hello", "webhook: /hooks/hello", &answer("one"));
    let policy = volume.path("_policy/policy.toml");
    let served = Served::start_with(&volume, |builder| builder.flag("policy", policy.display())).await;
    served.api.knows("jobs:hello").await;
    let request = || json_body(post("/hooks/hello?n=7", r#"{"who": "me"}"#));
    let said = |reply: switchyard_integration::client::Reply| -> Value {
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()
    };
    let first = said(served.hooks.send(request()).await);
    assert_eq!((&first["label"], &first["who"]), (&json!("one"), &json!("me")), "{first}");
    let mut events = events(&served).await;
    volume.replace("jobs/tasks/hello/task.ts", answer("two"));
    events.wait_live("jobs").await;
    assert_eq!(said(served.hooks.send(request()).await)["label"], "two");
}

#[tokio::test]
async fn a_changed_override_of_a_parent_set_alone_updates_its_task_and_no_other() {
    let volume = Volume::new();
    for task in ["a", "b"] {
        volume.write(&format!("jobs/{task}/task.ts"), returns(task));
        volume.write(&format!("jobs/{task}/task.yaml"), yaml_task(task, "manual: true", "timeout: 10s\n"));
    }
    volume.write(
        "jobs/inner/taskset.yaml",
        "apiVersion: dicode/v1\nkind: TaskSet\nmetadata: {name: inner}\nspec:\n  entries:\n    \
         a: {ref: {path: ../a/task.yaml}}\n    b: {ref: {path: ../b/task.yaml}}\n",
    );
    let parent = |timeout: &str| {
        format!(
            "apiVersion: dicode/v1\nkind: TaskSet\nmetadata: {{name: all}}\nspec:\n  entries:\n    sub:\n      \
             ref: {{path: inner/taskset.yaml}}\n      overrides:\n        entries:\n          \
             a: {{timeout: {timeout}}}\n"
        )
    };
    volume.write("jobs/taskset.yaml", parent("20s"));
    let served = Served::start(&volume).await;
    let (a, b) = ("jobs:all/sub/a", "jobs:all/sub/b");
    let (first, other) = (served.api.knows(a).await, served.api.knows(b).await);
    assert_eq!((timeout(&first), timeout(&other)), (Some(20_000), Some(10_000)));
    let ran = served.api.start(a).succeeded().await;
    assert_eq!(ran.version.expect("it has run").spec, first.spec_hash);

    volume.replace("jobs/taskset.yaml", parent("30s"));
    let second =
        served.api.becomes(a, "the override is the new one", |detail| timeout(detail) == Some(30_000)).await;
    assert_ne!(first.spec_hash, second.spec_hash);
    assert_eq!(served.api.task(b).await.spec_hash, other.spec_hash);
    served.serve.logged(&format!("{a} is updated")).await;
    let ran = served.api.start(a).succeeded().await;
    assert_eq!(ran.version.expect("it has run").spec, second.spec_hash);
}

/// The project of a pipeline in the format of a prompt pipeline: a definition, a registry that is a
/// module, and steps that are written as stages.
fn stages() -> TaskProject {
    let step = "import { mark } from '../lib/mark.js';\n\
         export const ingestion = ({ data: { seed } }) => ({ output: seed.topic, flags: {} });\n\
         export const promptTemplating = ({ output, flags }) => ({ output: `${output}?`, flags });\n\
         export const integration = ({ output }) => ({ output: mark(output), flags: {} });\n";
    let last = "export const ingestion = ({ data: { write } }) => ({ output: `<${write}>`, flags: {} });\n";
    TaskProject::new("papers")
        .file(
            "pipeline.json",
            r#"{"name": "paper", "version": "1.0.0", "tasks": ["write", "print"], "llm": {"provider": "x"}}"#,
        )
        .file("tasks/index.js", "export default { write: './write.js', print: './print.js' };\n")
        .file("tasks/write.js", step)
        .file("tasks/print.js", last)
        .file("lib/mark.js", "export const mark = (text) => `${text} one`;\n")
}

/// Runs the pipeline. Returns the result of its last step.
async fn paper(api: &RunsApi) -> Value {
    let detail = api.start_pipeline("papers:paper").input(json!({ "topic": "tea" })).ended().await;
    assert_eq!(detail.run.state, RunState::Succeeded, "{detail:#?}");
    assert_eq!(detail.steps.iter().map(|step| step.name.as_str()).collect::<Vec<_>>(), ["write", "print"]);
    detail.steps[1].result.clone().expect("a step that succeeded has a result")
}

#[tokio::test]
async fn registry_steps_and_their_helpers_are_fresh_in_the_run_after_they_were_saved() {
    let volume = Volume::new();
    stages().write(&volume);
    let served = Served::start(&volume).await;
    served.api.knows("papers:paper").await;
    assert_eq!(paper(&served.api).await, json!("<tea? one>"));
    let mut events = events(&served).await;
    let other = "export const ingestion = ({ data: { write } }) => ({ output: `[${write}]` });\n";
    for (file, text, result) in [
        ("lib/mark.js", "export const mark = (text) => `${text} two`;\n", "<tea? two>"),
        (
            "tasks/print.js",
            "export const ingestion = ({ data: { write } }) => ({ output: `(${write})` });\n",
            "(tea? two)",
        ),
        ("tasks/other.js", other, "(tea? two)"),
        ("tasks/index.js", "export default { write: './write.js', print: './other.js' };\n", "[tea? two]"),
    ] {
        volume.write(&format!("papers/{file}"), text);
        events.wait_live("papers").await;
        assert_eq!(paper(&served.api).await, json!(result), "{file}");
    }
}
