//! Runs of projects that are removed: nothing of them gets to a later project of the same name.

use http::Method;
use serde_json::json;
use switchyard_contract::run::RunState;
use switchyard_integration::client::with_method;
use switchyard_integration::runs::{Routed, TaskProject};
use switchyard_integration::volume::Volume;

/// A task that fails at once, and is tried again after an hour.
fn failing(label: &str) -> TaskProject {
    let source = format!("export default ({{ input }}) => {{ throw new Error(`{label} ${{input}}`); }};\n");
    TaskProject::new("shop").task("pay", json!({"retry": {"attempts": 2, "backoff": "1h"}}), source)
}

#[tokio::test]
async fn a_run_that_would_be_tried_again_ends_with_its_project_and_is_not_retried_in_the_next_one() {
    let volume = Volume::new();
    failing("first").write(&volume);
    let routed = Routed::start(&volume, 1).await;
    let api = &routed.api;
    api.knows("shop:pay").await;
    let id = api.start("shop:pay").input(json!("secret")).begun().await.run.id;
    let waits = api.run_becomes(id, "it waits for its next attempt", |detail| detail.run.attempt == 2).await;
    assert!(waits.waits_for.is_some_and(|why| why.contains("next attempt")));
    let removed = routed.bridge.client.send(with_method(Method::DELETE, "/projects/shop")).await;
    assert_eq!(removed.status, 200, "{}", removed.text());
    let ended = api.ended(id).await.run;
    assert_eq!(ended.state, RunState::Failed, "{ended:#?}");
    api.forgets("shop:pay").await;

    failing("second").write(&volume);
    api.knows("shop:pay").await;
    let body = json!({});
    api.post(id, "retry", &body).await.assert_problem(409, "project-removed");
    api.post(id, "resume", &body).await.assert_problem(409, "project-removed");
    assert_eq!(api.runs("task=shop:pay").await.len(), 1, "nothing was started");
}
