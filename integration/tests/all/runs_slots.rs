//! The slots of runs: those that wait for their steps leave theirs to them, and readings of registries
//! wait for theirs.

use futures_util::future::join_all;
use serde_json::json;
use switchyard_contract::run::RunState;
use switchyard_integration::runs::{Routed, Served, TaskProject, returns};
use switchyard_integration::volume::Volume;

/// A task whose only step is another task.
const PARENT: &str = "export default async (ctx) => await ctx.step('child', 'child');\n";

#[tokio::test]
async fn runs_that_fill_a_router_and_wait_for_their_steps_come_to_their_ends() {
    let volume = Volume::new();
    TaskProject::new("shop")
        .task("parent", json!({"overlap": "allow"}), PARENT)
        .task("child", json!({"overlap": "allow"}), returns("done"))
        .write(&volume);
    let routed =
        Routed::start_with(&volume, 1, |_, router| router.flag("max-runs", 4), |bridge| bridge).await;
    let api = &routed.api;
    api.knows("shop:child").await;
    let parents: Vec<_> = (0..6).map(|_| api.start("shop:parent")).collect();
    for run in join_all(parents.iter().map(|parent| parent.succeeded())).await {
        assert_eq!(run.result, Some(json!("done")));
    }
}

/// A project whose pipeline has steps side by side, which a registry names.
fn with_registry(steps: usize) -> TaskProject {
    let names: Vec<_> = (0..steps).map(|number| format!("step{number}")).collect();
    let modules: serde_json::Map<_, _> =
        names.iter().map(|name| (name.clone(), json!("./collect.ts"))).collect();
    let steps: Vec<_> = names.iter().map(|name| json!({ "name": name, "needs": [] })).collect();
    TaskProject::new("shop")
        .file("tasks/collect.ts", returns("collected"))
        .file("tasks/index.js", format!("export default {};\n", json!(modules)))
        .pipeline("all", json!({ "steps": steps, "overlap": "allow" }))
}

#[tokio::test]
async fn registries_are_read_however_many_pipelines_and_steps_ask_for_them_at_once() {
    let volume = Volume::new();
    with_registry(12).write(&volume);
    let served = Served::start(&volume).await;
    let api = &served.api;
    api.knows("shop:all").await;
    for rule in ["run", "step"] {
        let starts: Vec<_> = (0..3).map(|_| api.start_pipeline("shop:all").consistency(rule)).collect();
        for detail in join_all(starts.iter().map(|start| start.ended())).await {
            assert_eq!(detail.run.state, RunState::Succeeded, "{rule}: {detail:#?}");
        }
    }
}
