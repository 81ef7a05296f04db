use super::launch::Launch;
use super::*;
use crate::ledger::StoredRun;
use crate::runs::accept::queued;
use switchyard_contract::run::{RunState, RunVersion};
use switchyard_contract::task::{Consistency, TaskSpec};

/// A run of `work:hello` on the version `a` that has failed, with three attempts.
fn failed(change: impl FnOnce(&mut Run, &mut Launch)) -> StoredRun {
    let settings = json!({ "retry": { "attempts": 3, "backoff_ms": 0 } });
    let spec: TaskSpec = serde_json::from_value(task("hello", settings)).unwrap();
    let mut launch = Launch::of_task(&spec, json!({ "n": 1 }), None);
    let mut run = queued("work:hello".parse().unwrap(), RunTrigger::Webhook, &launch, Consistency::Run);
    (run.state, run.ended_at) = (RunState::Failed, Some(Timestamp::now()));
    run.params = json!({ "day": "today" });
    run.version = Some(RunVersion {
        name: "work@aaaaaaaaaaaa".to_owned(),
        digest: digest('a').parse().unwrap(),
        spec: spec.hash(),
        commit: None,
    });
    change(&mut run, &mut launch);
    StoredRun { run, input: launch.to_value(), boot: None }
}

/// Keeps the run as if it had ended in this bridge. Returns its id.
async fn keep(scene: &Scene, run: StoredRun) -> RunId {
    let id = run.run.id;
    scene.shared.ledger.accept(run).await.unwrap();
    id
}

fn hello() -> Value {
    json!({ "tasks": [task("hello", json!({}))] })
}

fn same() -> RetryOptions {
    RetryOptions { version: Some(RunVersionChoice::Same), ..RetryOptions::default() }
}

#[tokio::test]
async fn a_task_that_is_not_declared_any_more_is_retried_as_its_own_version_declared_it() {
    let other = json!({ "tasks": [task("other", json!({}))] });
    let required = json!({ "params": [{ "name": "must", "type": "string", "required": true }] });
    let changed = json!({ "tasks": [task("hello", required)] });
    for live in [other, json!({ "tasks": [] }), changed] {
        let mut scene = Scene::new(hello()).await;
        let id = keep(&scene, failed(|_, _| {})).await;
        scene.router.script("POST /_runs", 0, "");
        let runs = scene.run().await;
        scene.declare('b', live.clone()).await;
        let again = runs.retry(id, RetryOptions::default()).await.expect("it is accepted").run;
        assert_eq!((again.parent, again.attempts), (Some(id), 3), "{live}");
        let request = scene.call("POST /_runs").await;
        assert_eq!(request["run"], json!(again.id), "{live}");
        assert_eq!(request["version"], digest('a'), "{live}");
        assert_eq!(request["work"], json!({ "kind": "task", "task": "hello" }), "{live}");
        assert_eq!((&request["params"], &request["input"]), (&json!({ "day": "today" }), &json!({ "n": 1 })));
    }
}

#[tokio::test]
async fn a_retry_on_the_latest_version_needs_the_task_to_be_declared() {
    let mut scene = Scene::new(hello()).await;
    let id = keep(&scene, failed(|_, _| {})).await;
    let runs = scene.run().await;
    scene.declare('b', json!({ "tasks": [task("other", json!({}))] })).await;
    let latest = RetryOptions { version: Some(RunVersionChoice::Latest), ..RetryOptions::default() };
    assert_eq!(runs.retry(id, latest).await.unwrap_err().slug(), "unknown-task");
}

#[tokio::test]
async fn a_run_of_a_project_that_is_gone_is_not_retried_and_one_that_waits_ends() {
    let mut scene = Scene::new(hello()).await;
    let id = keep(&scene, failed(|_, _| {})).await;
    // The only router does not take it yet.
    scene.router.script("POST /_runs", 503, &json!({ "type": "urn:switchyard:busy" }).to_string());
    let runs = scene.run().await;
    scene.declare('b', json!({ "tasks": [] })).await;
    let waiting = runs.retry(id, same()).await.unwrap().run.id;
    scene.call("POST /_runs").await;
    scene.router.remove("work");
    let ended = runs.wait(waiting, LONG).await.unwrap();
    assert_eq!((ended.state, ended.error.unwrap().reason.as_str()), (RunState::Failed, "unknown-task"));
    assert_eq!(runs.retry(id, same()).await.unwrap_err().slug(), "unknown-task");
}

#[tokio::test]
async fn a_run_of_a_file_is_retried_at_the_router_that_has_the_file() {
    let mut scene = Scene::new(hello()).await;
    let (home, gone) = (scene.router.name(), "http://127.0.0.1:1");
    let of_file = |router: String| {
        move |run: &mut Run, launch: &mut Launch| {
            run.trigger = RunTrigger::File;
            run.params = Value::Null;
            launch.router = Some(router);
            let path = format!("/data/work/current/{}/a.json", run.id);
            launch.input = json!({ "file": "a.json", "path": path, "content": 1 });
        }
    };
    let id = keep(&scene, failed(of_file(home.clone()))).await;
    let lost = keep(&scene, failed(of_file(gone.to_owned()))).await;
    scene.router.script("POST /_runs", 0, "");
    let runs = scene.run().await;
    for version in [RunVersionChoice::Same, RunVersionChoice::Latest] {
        let options = RetryOptions { version: Some(version), ..RetryOptions::default() };
        let again = runs.retry(id, options).await.unwrap().run;
        let kept = scene.shared.ledger.run(again.id).await.unwrap().unwrap();
        assert_eq!(Launch::read(&kept.input).unwrap().router.as_ref(), Some(&home));
        let request = scene.call("POST /_runs").await;
        assert_eq!(request["input"]["path"], format!("/data/work/rejected/{id}/a.json"));
    }
    let refused = runs.retry(lost, same()).await.unwrap_err();
    assert_eq!(refused.slug(), "router-gone");
    assert!(refused.detail().contains(gone), "{}", refused.detail());
}
