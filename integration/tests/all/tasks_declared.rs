//! Declarations of tasks: which are read, which are refused, and what becomes of versions with tasks
//! that cannot run.

use serde_json::{Value, json};
use switchyard_contract::admin::ProjectState;
use switchyard_contract::event::Diagnostic;
use switchyard_contract::run::RunState;
use switchyard_integration::bridge::cli;
use switchyard_integration::events::Events;
use switchyard_integration::fixtures::hello;
use switchyard_integration::router::Router;
use switchyard_integration::runs::{Served, TaskProject, returns, yaml_task};
use switchyard_integration::volume::Volume;

/// The error of the project's newest version.
async fn error(router: &Router, project: &str) -> Diagnostic {
    router.admin.reload(project).await.error.expect("the version is invalid")
}

/// Runs `switchyard task lint` on a project.
async fn lint(volume: &Volume, project: &str, flags: &[&str]) -> cli::Outcome {
    let folder = volume.path(project).display().to_string();
    cli::run_with(&[&["task", "lint", &folder][..], flags].concat(), &[]).await
}

#[tokio::test]
async fn tasks_of_deno_json_and_of_task_yaml_are_registered_with_their_inputs() {
    let volume = Volume::new();
    let adds = "export default ({ params: { a, b } }) => a + b;\n";
    TaskProject::new("jobs")
        .task(
            "sum",
            json!({ "params": { "a": { "type": "number", "required": true }, "b": { "type": "number", "default": 2 } } }),
            adds,
        )
        .file(
            "tasks/greet/task.yaml",
            yaml_task("Greet", "manual: true", "params:\n  who:\n    type: string\n    default: world\n"),
        )
        .file(
            "tasks/greet/task.ts",
            "import type { DicodeSdk } from '../../sdk.ts';\n\
             export default async function main({ params, kv, output, log }: DicodeSdk) {\n  \
               const seen = Number(await kv.get('seen') ?? 0) + 1;\n  await kv.set('seen', seen);\n  \
               return output.text(`hello ${await params.get('who')} ${params.who} ${seen}`);\n}\n",
        )
        .write(&volume);
    let served = Served::start(&volume).await;
    served.api.knows("jobs:sum").await;
    let names: Vec<_> =
        served.api.tasks(Some("jobs")).await.iter().map(|task| task.task.to_string()).collect();
    assert_eq!(names, ["jobs:greet", "jobs:sum"]);
    let sum = served.api.start("jobs:sum");
    assert_eq!(sum.clone().params(json!({ "a": 1 })).succeeded().await.result, Some(json!(3)));
    assert_eq!(sum.clone().params(json!({ "a": 1, "b": 9 })).succeeded().await.result, Some(json!(10)));
    for (params, says) in
        [(json!({}), "\"a\""), (json!({ "a": "x" }), "\"a\""), (json!({ "a": 1, "c": 1 }), "\"c\"")]
    {
        let problem = sum.clone().params(params).refused(422, "invalid-params").await;
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(says)), "{problem}");
    }
    let text = |value: &Option<Value>| value.as_ref().map(Value::to_string).unwrap_or_default();
    let first = served.api.start("jobs:greet").succeeded().await;
    assert!(text(&first.result).contains("hello world world 1"), "{first:#?}");
    let second = served.api.start("jobs:greet").params(json!({ "who": "you" })).succeeded().await;
    assert!(text(&second.result).contains("hello you you 2"), "{second:#?}");
}

#[tokio::test]
async fn a_mistake_in_any_task_fails_the_version_and_the_last_good_one_goes_on_running() {
    let volume = Volume::new();
    TaskProject::new("jobs")
        .task("good", json!({ "cron": "* * * * * *" }), returns("good"))
        .task("other", json!({}), returns("other"))
        .file("main.ts", hello("served"))
        .write(&volume);
    let served = Served::start(&volume).await;
    let live = served.api.knows("jobs:good").await.overview.version;
    let mut events = Events::follow(&served.serve.admin.client, None).await;
    for (source, says, line) in [
        ("export default () => {\n  return 1 +;\n};\n", "Expression expected", 2),
        ("import { gone } from './gone.ts';\nexport default () => gone;\n", "gone.ts", 1),
        ("import { nothing } from './good.ts';\nexport default () => nothing;\n", "nothing", 1),
    ] {
        volume.replace("jobs/other.ts", source);
        let failed = events.wait_failed("jobs").await;
        let error = failed.data.error.expect("a failure has a reason");
        assert!(error.message.contains(says), "{error:#?}");
        assert_eq!((error.file.as_deref(), error.line), (Some("other.ts"), Some(line)), "{error:#?}");
        let frame = error.frame.expect("a frame shows the place");
        assert!(frame.contains(source.lines().nth(line as usize - 1).expect("it has this line")), "{frame}");
        assert_eq!(served.api.start("jobs:good").force().succeeded().await.result, Some(json!("good")));
        assert_eq!(served.api.result("jobs:other").await, json!("other"));
        assert_eq!(served.serve.public.get("/jobs/").await.text(), "served");
    }
    let runs = served.api.runs("task=jobs:good").await.len();
    let runs = served.api.counted("task=jobs:good", runs + 1).await;
    assert!(
        runs.iter().all(|run| run.version.as_ref().is_none_or(|version| version.name == live)),
        "{runs:#?}"
    );
    volume.replace("jobs/other.ts", returns("fixed"));
    events.wait_live("jobs").await;
    assert_eq!(served.api.result("jobs:other").await, json!("fixed"));
}

#[tokio::test]
async fn a_task_is_linked_and_not_evaluated_until_it_runs() {
    let volume = Volume::new();
    let loud = "throw new Error('evaluated');\nexport default () => 1;\n";
    TaskProject::new("jobs").task("loud", json!({}), loud).write(&volume);
    let served = Served::start(&volume).await;
    served.api.knows("jobs:loud").await;
    let ended = served.api.start("jobs:loud").ended().await.run;
    let error = ended.error.expect("a run that failed has a reason");
    assert_eq!((ended.state, error.message.contains("evaluated")), (RunState::Failed, true), "{error:#?}");
    let place = error.diagnostic.expect("it is known where");
    assert_eq!((place.file.as_deref(), place.line), (Some("loud.ts"), Some(1)), "{place:#?}");
}

#[tokio::test]
async fn a_project_with_tasks_and_no_handler_is_live_has_no_process_and_says_no_handler() {
    let volume = Volume::new();
    TaskProject::new("jobs").task("one", json!({}), returns("one")).write(&volume);
    let served = Served::start(&volume).await;
    served.api.knows("jobs:one").await;
    let status = served.serve.admin.project("jobs").await;
    assert_eq!((status.state, status.pids), (ProjectState::Live, vec![]));
    served.serve.public.get("/jobs/").await.assert_problem(404, "no-handler");
    assert_eq!(served.api.result("jobs:one").await, json!("one"));

    volume.write("jobs/main.ts", hello("now"));
    let mut events = Events::follow(&served.serve.admin.client, Some(0)).await;
    events.wait_live("jobs").await;
    events.wait_live("jobs").await;
    assert_eq!(served.serve.public.get("/jobs/").await.text(), "now");
    assert_eq!(served.api.result("jobs:one").await, json!("one"));
}

#[tokio::test]
async fn fields_that_are_not_supported_are_named_by_file_line_and_field() {
    let volume = Volume::with("bystander", hello("bystander"));
    let router = Router::builder(&volume).unwatched().start().await;
    let yaml =
        |text: &str| format!("apiVersion: dicode/v1\nkind: Task\nname: A\n{text}trigger:\n  manual: true\n");
    for (text, field, line) in [
        ("runtime: python\n", "runtime", 4),
        ("runtime: docker\n", "runtime", 4),
        ("docker:\n  image: x\n", "docker", 4),
        ("permissions:\n  run: [git]\n", "permissions.run", 5),
        ("timeuot: 10s\n", "timeuot", 4),
        ("timeout: soon\n", "timeout", 4),
    ] {
        volume.write("jobs/tasks/a/task.ts", returns("a"));
        volume.write("jobs/tasks/a/task.yaml", yaml(text));
        let error = error(&router, "jobs").await;
        assert_eq!(error.file.as_deref(), Some("tasks/a/task.yaml"), "{error:#?}");
        assert_eq!(error.line, Some(line), "{error:#?}");
        assert!(error.message.contains(&format!("{field:?}")), "{error:#?}");
        let linted = lint(&volume, "jobs", &[]).await;
        assert_eq!(linted.code, Some(1), "{linted:#?}");
        let said = format!("{}{}", linted.stdout, linted.stderr);
        assert!(said.contains(&format!("tasks/a/task.yaml:{line}:")) && said.contains(field), "{said}");
    }
    volume.remove("jobs");
    let declared = |fields: &str| {
        format!(
            "{{\n  \"switchyard\": {{\n    \"tasks\": {{\n      \"a\": {{ \"entry\": \"./a.ts\", {fields} }}\n    }}\n  }}\n}}\n"
        )
    };
    for (fields, says) in [
        ("\"crom\": \"* * * * *\"", "did you mean \"cron\"?"),
        ("\"cron\": \"61 * * * *\"", "tasks.a.cron"),
        ("\"zone\": \"Europe/Berlni\", \"cron\": \"0 8 * * *\"", "Europe/Berlin"),
        ("\"webhook\": { \"path\": \"x\" }", "\"open\": true"),
        ("\"after\": \"nobody\"", "nobody"),
    ] {
        volume.write("jobs/a.ts", returns("a"));
        volume.write("jobs/deno.json", declared(fields));
        let error = error(&router, "jobs").await;
        assert!(error.message.contains(says), "{fields}: {error:#?}");
        assert_eq!((error.file.as_deref(), error.line), (Some("deno.json"), Some(4)), "{error:#?}");
    }
    assert_eq!(router.public.get("/bystander/").await.text(), "bystander");
}

#[tokio::test]
async fn the_linter_lists_what_would_be_registered_without_a_server() {
    let volume = Volume::new();
    TaskProject::new("jobs")
        .task("digest", json!({ "cron": "0 8 * * 1-5", "zone": "Europe/Berlin" }), returns("one"))
        .file("tasks/greet/task.yaml", yaml_task("Greet", "webhook: /hooks/greet", ""))
        .file("tasks/greet/task.ts", returns("hi"))
        .file("tasks/index.js", "export default { write: './write.js' };\n")
        .file("tasks/write.js", returns("w"))
        .file("pipelines/paper.json", r#"{ "tasks": ["write"] }"#)
        .write(&volume);
    let linted = lint(&volume, "jobs", &[]).await;
    assert_eq!(linted.code, Some(0), "{linted:#?}");
    for says in ["digest", "0 8 * * 1-5", "Europe/Berlin", "greet", "/hooks/greet", "paper"] {
        assert!(linted.stdout.contains(says), "{says:?}: {}", linted.stdout);
    }
    let report = lint(&volume, "jobs", &["--json"]).await.json();
    assert_eq!(report["set"]["tasks"].as_array().map(Vec::len), Some(2), "{report}");
    assert_eq!(report["problems"], json!([]), "{report}");
    let missing = lint(&volume, "nobody", &[]).await;
    assert_ne!(missing.code, Some(0), "{missing:#?}");
}
