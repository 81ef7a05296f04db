use super::active::Phase;
use super::control::Control;
use super::launch::Launch;
use super::*;
use crate::ledger::StoredRun;
use crate::routers::Router;
use crate::routers::testing::until;
use crate::runs::accept::queued;
use switchyard_contract::incarnation::Incarnation;
use switchyard_contract::run::RunState;
use switchyard_contract::task::{Consistency, TaskSpec};

const NEXT: Incarnation = Incarnation::from_number(7);

fn hello() -> Value {
    json!({ "tasks": [task("hello", json!({ "retry": { "attempts": 3, "backoff_ms": 0 } }))] })
}

/// A run of the first project, with three attempts.
fn run_of_first() -> (StoredRun, Launch) {
    let spec: TaskSpec = serde_json::from_value(hello()["tasks"][0].clone()).unwrap();
    let mut launch = Launch::of_task(&spec, json!("secret"), None);
    launch.incarnation = Some(Incarnation::FIRST);
    let run = queued("work:hello".parse().unwrap(), RunTrigger::Manual, &launch, Consistency::Run);
    (StoredRun { run, input: launch.to_value(), boot: None }, launch)
}

/// A control with a run of the first project that the router has.
async fn under_way(scene: &Scene) -> (Control, RunId, Arc<Router>) {
    let mut control = scene.control().await;
    let (stored, launch) = run_of_first();
    let id = stored.run.id;
    scene.shared.ledger.accept(stored.clone()).await.unwrap();
    control.insert(stored, launch, Phase::Queued { not_before: None });
    let router = scene.shared.routers.list()[0].clone();
    control.follow(id, router.clone(), 0);
    (control, id, router)
}

fn end(control: &Control, id: RunId) -> (RunState, String) {
    let run = control.active.get(id).unwrap().run();
    (run.state, run.error.clone().unwrap_or_default().reason)
}

#[tokio::test]
async fn an_attempt_that_fails_after_the_removal_of_its_project_is_the_last_one() {
    let scene = Scene::new(hello()).await;
    let (mut control, id, router) = under_way(&scene).await;
    scene.router.remove("work");
    until(&scene.shared.routers, |_| !router.has(&project())).await;
    scene.until_known(None).await;
    control.attempt_ended(id, RunState::Failed, None, None);
    assert_eq!(end(&control, id), (RunState::Failed, "unknown-task".to_owned()));
}

#[tokio::test]
async fn a_run_of_a_project_that_was_removed_never_gets_to_the_next_one_of_its_name() {
    let scene = Scene::new(hello()).await;
    let (mut control, id, router) = under_way(&scene).await;
    scene.router.reincarnate("work", NEXT);
    until(&scene.shared.routers, |_| router.incarnation(&project()) == Some(NEXT)).await;
    control.attempt_ended(id, RunState::Failed, None, None);
    assert_eq!(end(&control, id), (RunState::Failed, "project-removed".to_owned()));
    // One that waits in the history of an earlier process.
    let (stored, _) = run_of_first();
    let id = stored.run.id;
    control.take_over(vec![stored]).await.unwrap();
    control.dispatch();
    assert_eq!(end(&control, id).0, RunState::Queued);
    control.routers_changed();
    assert_eq!(end(&control, id), (RunState::Failed, "project-removed".to_owned()));
}

#[tokio::test]
async fn a_run_of_a_project_that_was_removed_is_not_retried_by_hand_and_its_key_is_free() {
    let mut scene = Scene::new(hello()).await;
    let (mut stored, _) = run_of_first();
    let id = stored.run.id;
    (stored.run.state, stored.run.ended_at) = (RunState::Failed, Some(Timestamp::now()));
    stored.run.key = Some("key".to_owned());
    scene.shared.ledger.accept(stored).await.unwrap();
    let router = scene.shared.routers.list()[0].clone();
    scene.router.reincarnate("work", NEXT);
    until(&scene.shared.routers, |_| router.incarnation(&project()) == Some(NEXT)).await;
    let runs = scene.run().await;
    assert_eq!(runs.retry(id, RetryOptions::default()).await.unwrap_err().slug(), "project-removed");
    assert_eq!(runs.resume(id, ResumeOptions::default()).await.unwrap_err().slug(), "project-removed");
    let started =
        runs.start(StartRun { key: Some("key".to_owned()), ..by_hand("work:hello") }).await.unwrap();
    assert!(started.is_new && started.run.id != id);
}
