use std::time::Duration;

use serde_json::Value;

use super::*;
use crate::routers::testing::{FakeRouter, following};
use crate::runs::accept::queued;
use switchyard_contract::admin::RunWork;
use switchyard_contract::run::RunTrigger;
use switchyard_contract::task::Consistency;

/// A run that waits for its turn: the step of another one, or none.
fn waiting(task: &str, step_of: Option<RunId>, is_pipeline: bool) -> Active {
    let task: TaskId = task.parse().unwrap();
    let work = (!is_pipeline).then(|| RunWork::Task { task: task.name.clone() });
    let launch = Launch { work, ..Launch::default() };
    let mut run = queued(task, RunTrigger::Manual, &launch, Consistency::Run);
    (run.parent, run.step) = (step_of, step_of.map(|_| "step".to_owned()));
    let launch = Launch { depth: u32::from(step_of.is_some()), ..launch };
    Active::new(StoredRun { run, input: Value::Null, boot: None }, launch, Phase::Queued { not_before: None })
}

fn rebuilt(runs: &ActiveRuns) -> Index {
    let mut index = Index::default();
    runs.iter().for_each(|active| index.add(active));
    index
}

/// Phases in no particular order, and an instant to count pauses from.
fn phase(number: usize, routers: &[Arc<Router>], now: Instant) -> Phase {
    let router = || routers[number % routers.len()].clone();
    let task = || tokio::spawn(async {}).abort_handle();
    match number % 8 {
        0 => Phase::Accepting(None),
        1 => Phase::Queued { not_before: Some(now + Duration::from_secs(number as u64 % 5)) },
        2 => Phase::Making { router: router(), task: task() },
        3 => Phase::Dispatching(router()),
        4 => Phase::Following { router: router(), task: task() },
        5 => Phase::Orchestrating,
        6 => Phase::Ending,
        _ => Phase::Queued { not_before: None },
    }
}

#[tokio::test]
async fn the_index_is_that_of_the_runs_through_all_their_phases() {
    let (one, two) = (FakeRouter::start("one").await, FakeRouter::start("two").await);
    let registry = following(&[&one, &two]);
    let (routers, now) = (registry.list(), Instant::now());
    let (mut runs, mut ids) = (ActiveRuns::default(), Vec::new());
    for number in 0..60 {
        let task = ["shop:import", "shop:export", "blog:digest"][number % 3];
        let parent = ids.last().copied().filter(|_| number % 4 == 3);
        let active = waiting(task, parent, number % 5 == 4);
        ids.push(active.run().id);
        runs.insert(active);
    }
    assert_eq!(runs.index, rebuilt(&runs));
    let mut random = 1_usize;
    for _ in 0..2_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let number = random >> 33;
        runs.set_phase(ids[number % ids.len()], phase(number / 64, &routers, now));
        assert_eq!(runs.index, rebuilt(&runs));
    }
    runs.ready_until(now + Duration::from_secs(5));
    assert_eq!((runs.next_ready(), &runs.index), (None, &rebuilt(&runs)));
    for id in ids {
        assert!(runs.remove(id).is_some() && runs.remove(id).is_none());
        assert_eq!(runs.index, rebuilt(&runs));
    }
    assert_eq!(runs.index, Index::default());
}

#[test]
fn runs_are_ready_at_the_end_of_their_pauses() {
    let (mut runs, now) = (ActiveRuns::default(), Instant::now());
    let ids: Vec<_> = [3, 1, 2]
        .map(|seconds| {
            let active = waiting("shop:import", None, false);
            let id = active.run().id;
            runs.insert(active);
            runs.set_phase(id, Phase::Queued { not_before: Some(now + Duration::from_secs(seconds)) });
            id
        })
        .into();
    let ready = |runs: &ActiveRuns| -> Vec<RunId> {
        runs.ready()
            .flat_map(|(_, _, ready)| ready.map(|active| active.run().id).collect::<Vec<_>>())
            .collect()
    };
    assert!(ready(&runs).is_empty());
    assert_eq!(runs.next_ready(), Some(now + Duration::from_secs(1)));
    runs.ready_until(now + Duration::from_secs(2));
    assert_eq!(ready(&runs), [ids[1], ids[2]]);
    assert_eq!(runs.next_ready(), Some(now + Duration::from_secs(3)));
}

#[test]
fn steps_are_found_by_their_run_and_are_no_runs_of_their_task() {
    let mut runs = ActiveRuns::default();
    let parent = waiting("shop:all", None, true);
    let id = parent.run().id;
    runs.insert(parent);
    let step = waiting("shop:import", Some(id), false);
    let step_id = step.run().id;
    runs.insert(step);
    let import = "shop:import".parse().unwrap();
    assert!(runs.of_task(&import).is_empty());
    assert_eq!(runs.step(id, "step").map(|active| active.run().id), Some(step_id));
    assert_eq!(runs.steps_of(id), [step_id]);
    runs.set_phase(step_id, Phase::Ending);
    assert!(runs.steps_of(id).is_empty() && runs.step(id, "step").is_some());
}
