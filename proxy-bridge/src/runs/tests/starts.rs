use super::*;

#[tokio::test]
async fn parameters_that_the_router_refuses_are_named_as_the_reason() {
    let mut scene = Scene::new(json!({ "tasks": [task("hello", json!({}))] })).await;
    let problem = json!({ "type": "urn:switchyard:problem:invalid-params", "detail": "\"day\" is missing" });
    scene.router.script("POST /_runs", 422, &problem.to_string());
    let runs = scene.run().await;
    let id = runs.start(by_hand("work:hello")).await.unwrap().run.id;
    let error = runs.wait(id, LONG).await.unwrap().error.expect("it failed");
    assert_eq!((error.reason.as_str(), error.message.as_str()), ("params", "\"day\" is missing"));
}
