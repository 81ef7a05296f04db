//! `examples/report` and `examples/pipeline`: what their pages say, with `switchyard serve`.

use std::path::{Path, PathBuf};

use http::StatusCode;
use serde_json::{Value, json};
use switchyard_integration::bridge::cli::run_with;
use switchyard_integration::client::{json_body, post};
use switchyard_integration::eventually;
use switchyard_integration::serve::Serve;
use switchyard_integration::volume::Volume;

/// Seconds that an answer waits for the end of a run. It is there much earlier.
const WAIT: u32 = 60;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name).join("projects")
}

/// An example's project, served. Returns once the bridge knows its tasks.
async fn served(name: &str, project: &str, task: &str) -> (Volume, Serve) {
    let volume = Volume::new();
    volume.copy_in(&example(name).join(project), project);
    let serve = Serve::builder(&volume).start().await;
    known(&serve, task).await;
    (volume, serve)
}

async fn known(serve: &Serve, task: &str) {
    eventually("the bridge knows the task", || async {
        serve.api.get(&format!("/tasks/{task}")).await.status == StatusCode::OK
    })
    .await;
}

/// Runs a task or pipeline to its end, and returns the run.
async fn run(serve: &Serve, path: &str, body: &Value) -> Value {
    let reply = serve.api.send(json_body(post(&format!("{path}?wait={WAIT}"), body.to_string()))).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    reply.json()["run"].clone()
}

/// Changes a file of a project, and waits until the bridge knows the new version.
async fn edit(volume: &Volume, serve: &Serve, (path, task): (&str, &str), from: &str, to: &str) {
    let version = async || serve.api.get(&format!("/tasks/{task}")).await.json()["version"].clone();
    let before = version().await;
    let text = volume.read(path);
    assert!(text.contains(from), "{path} has no {from:?}");
    volume.replace(path, text.replace(from, to));
    eventually("the bridge knows the new version", || async { version().await != before }).await;
}

#[tokio::test]
async fn the_declarations_of_the_examples_have_no_problem() {
    for (name, project, shown) in [("report", "report", "report"), ("pipeline", "texts", "words")] {
        let folder = example(name).join(project).display().to_string();
        let lint = run_with(&["task", "lint", &folder], &[]).await;
        assert!(lint.code == Some(0) && lint.stdout.contains(shown), "{lint:#?}");
        assert_eq!(lint.stderr, "", "{name}");
    }
}

#[tokio::test]
async fn a_report_is_its_runs_result_and_is_on_the_page() {
    let (volume, serve) = served("report", "report", "report:report").await;
    for path in ["/report/", "/report/prices", "/report/prices"] {
        assert_eq!(serve.public.get(path).await.status, StatusCode::OK, "{path}");
    }
    let one = run(&serve, "/tasks/report:report/run", &json!({ "params": { "least": "2" } })).await;
    assert_eq!((&one["state"], &one["result"]["visits"]), (&json!("succeeded"), &json!({ "/prices": 2 })));
    let reports = serve.public.get("/report/reports").await.json();
    assert_eq!(reports[0], one["result"], "{reports}");
    assert!(serve.public.get("/report/").await.text().contains("<td>/prices: 2<td>report@"));

    let task = ("report/tasks/report.ts", "report:report");
    edit(&volume, &serve, task, "pages were visited", "pages had visits").await;
    let to = format!("http://{}", serve.api.address);
    let id = run(&serve, "/tasks/report:report/run", &json!({})).await["id"].as_str().unwrap().to_owned();
    let log = run_with(&["run", "logs", &id, "--to", &to], &[]).await;
    assert!(log.code == Some(0) && log.stdout.contains("1 pages had visits"), "{log:#?}");
}

#[tokio::test]
async fn a_pipeline_goes_on_with_the_step_that_was_mended() {
    let (volume, serve) = served("pipeline", "texts", "texts:words").await;
    assert_eq!(serve.public.get("/texts/").await.status, StatusCode::NOT_FOUND);
    let words = json!(["the: 5", "trees: 3", "wind: 3"]);
    let whole = run(&serve, "/pipelines/texts:words/run", &json!({})).await;
    assert_eq!((&whole["state"], &whole["result"]), (&json!("succeeded"), &words), "{whole}");

    let publish = ("texts/tasks/publish.ts", "texts:words");
    edit(&volume, &serve, publish, "input.words.map", "input.wrods.map").await;
    let broken = run(&serve, "/pipelines/texts:words/run", &json!({})).await;
    assert_eq!(broken["state"], "failed", "{broken}");
    let message = broken["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("the step publish failed"), "{broken}");
    edit(&volume, &serve, publish, "input.wrods.map", "input.words.map").await;

    let to = format!("http://{}", serve.api.address);
    let id = broken["id"].as_str().unwrap();
    let resumed = run_with(&["run", "resume", id, "--wait", "--json", "--to", &to], &[]).await;
    assert_eq!(resumed.code, Some(0), "{resumed:#?}");
    let newest = serve.api.get("/runs?task=texts%3Awords&limit=1").await.json()["runs"][0]["id"].clone();
    let detail = serve.api.get(&format!("/runs/{}", newest.as_str().unwrap())).await.json();
    assert_eq!(detail["result"], words, "{detail}");
    let old = serve.api.get(&format!("/runs/{id}")).await.json();
    // Finished steps were not run again: these are the steps of the run before.
    for step in 0..2 {
        assert_eq!(detail["steps"][step]["run"], old["steps"][step]["run"], "{detail}");
    }
}
