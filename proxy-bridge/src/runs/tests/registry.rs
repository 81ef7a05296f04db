use super::*;
use switchyard_contract::admin::RunWork;
use switchyard_contract::run::{RunFilter, RunState};

/// A pipeline whose step is a module of the registry.
fn named_by_a_registry() -> Value {
    json!({ "tasks": [], "pipelines": [pipeline("seed", &["collect"])], "registry": "tasks/index.js" })
}

/// Starts the pipeline. Returns the run that reads the registry.
async fn reads(scene: &mut Scene, runs: &Runs) -> RunId {
    runs.start(by_hand("work:seed")).await.unwrap();
    let request = scene.call("POST /_runs").await;
    assert_eq!(request["work"], serde_json::to_value(RunWork::Registry).unwrap());
    serde_json::from_value(request["run"].clone()).unwrap()
}

#[tokio::test]
async fn a_run_that_reads_a_registry_is_left_alone_when_the_runs_of_its_router_are_compared() {
    let mut scene = Scene::new(named_by_a_registry()).await;
    // The reader is under way until the test ends.
    scene.router.script("POST /_runs", 0, "");
    let runs = scene.run().await;
    let reader = reads(&mut scene, &runs).await;
    let stray = RunId::new_now();
    scene.router.script("GET /_runs", 200, &known_runs("two", &[reader, stray]));
    scene.router.restart("two");
    scene.router.declare(&tasks('a', named_by_a_registry()));
    scene.router.set_ready(true);
    let mut ended = Vec::new();
    while ended.last() != Some(&format!("DELETE /_runs/{stray}?attempt=1")) {
        ended
            .push(timeout(LONG, scene.router.calls.recv()).await.expect("the stray run is ended").unwrap().0);
    }
    assert!(ended.contains(&format!("POST /_runs/{stray}/cancel")), "{ended:?}");
    assert!(!ended.iter().any(|call| call.contains(&reader.to_string())), "{ended:?}");
}

#[tokio::test]
async fn a_run_that_could_not_read_a_registry_is_ended_at_its_router() {
    let mut scene = Scene::new(named_by_a_registry()).await;
    // Accepted, but its events are not there.
    let version = json!({ "name": "work@aaaaaaaaaaaa", "digest": digest('a'), "spec": "s" });
    let accepted = json!({ "run": RunId::new_now(), "attempt": 1, "version": version, "router": "one" });
    scene.router.script("POST /_runs", 202, &accepted.to_string());
    let runs = scene.run().await;
    let reader = reads(&mut scene, &runs).await;
    scene.call(&format!("POST /_runs/{reader}/cancel")).await;
    scene.call(&format!("DELETE /_runs/{reader}?attempt=1")).await;
}

#[tokio::test]
async fn a_registry_is_read_again_while_its_router_is_busy_and_until_its_pipeline_is_cancelled() {
    let mut scene = Scene::new(named_by_a_registry()).await;
    let busy = json!({ "type": "urn:switchyard:busy", "detail": "4 runs are under way" });
    scene.router.script("POST /_runs", 503, &busy.to_string());
    let runs = scene.run().await;
    let first = reads(&mut scene, &runs).await;
    let request = scene.call("POST /_runs").await;
    assert_ne!(request["run"], json!(first));
    // The run is taken now, and does not come to an end.
    scene.router.script("POST /_runs", 0, "");
    let request = scene.call("POST /_runs").await;
    let reader: RunId = serde_json::from_value(request["run"].clone()).unwrap();
    let filter = RunFilter { limit: 1, ..RunFilter::default() };
    let pipeline = runs.runs(filter).await.unwrap().runs.remove(0);
    assert_eq!(pipeline.state, RunState::Running);
    runs.cancel(pipeline.id, None).await.unwrap();
    assert_eq!(runs.wait(pipeline.id, LONG).await.unwrap().state, RunState::Cancelled);
    scene.call(&format!("POST /_runs/{reader}/cancel")).await;
}
