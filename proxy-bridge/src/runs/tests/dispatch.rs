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

/// A run of `work:hello` that waits for its turn: the step of another one, or none.
fn queue(control: &mut Control, step_of: Option<RunId>) -> RunId {
    let spec: TaskSpec = serde_json::from_value(task("hello", json!({}))).unwrap();
    let mut launch = Launch::of_task(&spec, Value::Null, None);
    launch.depth = u32::from(step_of.is_some());
    let mut run = queued("work:hello".parse().unwrap(), RunTrigger::Manual, &launch, spec.version);
    (run.parent, run.step) = (step_of, step_of.map(|parent| format!("step of {parent}")));
    let (id, stored) = (run.id, StoredRun { run, input: Value::Null, boot: None });
    control.active.insert(Active::new(stored, launch, Phase::Queued { not_before: None }));
    id
}

#[tokio::test]
async fn runs_that_wait_for_their_steps_leave_their_slots_to_them_and_to_no_others() {
    let scene = Scene::new(json!({ "tasks": [task("hello", json!({}))] })).await;
    let mut control = scene.control().await;
    let state = |control: &Control, id| control.active.get(id).unwrap().run().state;
    let most = RunLimits::default().runs as usize;
    let parents: Vec<_> = (0..most).map(|_| queue(&mut control, None)).collect();
    control.dispatch();
    // An older run that is no step waits behind them.
    let other = queue(&mut control, None);
    let steps: Vec<_> = parents.iter().map(|parent| queue(&mut control, Some(*parent))).collect();
    control.dispatch();
    for id in parents.iter().chain(&steps) {
        assert_eq!(state(&control, *id), RunState::Starting);
    }
    assert_eq!(state(&control, other), RunState::Queued);
    let why = control.reason_to_wait(other).unwrap();
    assert_eq!(why, format!("{} runs of work are under way (limits.runs)", 2 * most));
    // Each parent goes on, so there is room for nothing until it ends.
    steps.iter().for_each(|step| control.end(*step, RunState::Failed, None, None));
    control.dispatch();
    assert_eq!(state(&control, other), RunState::Queued);
    control.end(parents[0], RunState::Failed, None, None);
    control.dispatch();
    assert_eq!(state(&control, other), RunState::Starting);
}
