use super::active::{Active, Phase};
use super::launch::Launch;
use super::*;
use crate::ledger::StoredRun;
use crate::runs::accept::queued;
use switchyard_contract::run::RunState;
use switchyard_contract::task::TaskSpec;

#[tokio::test]
async fn of_thousands_that_wait_the_oldest_are_started_as_far_as_their_router_has_room() {
    let hello = task("hello", json!({}));
    let scene = Scene::new(json!({ "tasks": [hello] })).await;
    let mut control = scene.control().await;
    let spec: TaskSpec = serde_json::from_value(hello).unwrap();
    let mut ids = Vec::new();
    for _ in 0..5_000 {
        let launch = Launch::of_task(&spec, Value::Null, None);
        let run = queued("work:hello".parse().unwrap(), RunTrigger::Manual, &launch, spec.version);
        ids.push(run.id);
        let stored = StoredRun { run, input: Value::Null, boot: None };
        control.active.insert(Active::new(stored, launch, Phase::Queued { not_before: None }));
    }
    ids.sort_unstable();
    let most = RunLimits::default().runs as usize;
    for _ in 0..2 {
        control.dispatch();
        let started = control.active.iter().filter(|active| active.run().state == RunState::Starting);
        assert_eq!(started.map(|active| active.run().id).collect::<Vec<_>>(), ids[..most]);
    }
    // One has ended: the next one follows.
    control.end(ids[0], RunState::Failed, None, None);
    control.dispatch();
    assert_eq!(control.active.get(ids[most]).unwrap().run().state, RunState::Starting);
    assert_eq!(control.active.get(ids[most + 1]).unwrap().run().state, RunState::Queued);
}
