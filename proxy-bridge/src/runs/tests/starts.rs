use super::*;

fn keyed(params: Value, input: Value) -> StartRun {
    StartRun { key: Some("k".to_owned()), params, input, ..by_hand("work:hello") }
}

#[tokio::test]
async fn a_key_that_comes_again_with_other_input_or_parameters_is_refused() {
    let params = json!({ "params": [
        { "name": "a", "type": "json", "required": false },
        { "name": "b", "type": "json", "required": false },
    ] });
    let mut scene = Scene::new(json!({ "tasks": [task("hello", params)] })).await;
    scene.router.script("POST /_runs", 0, "");
    let runs = scene.run().await;
    let first = runs.start(keyed(json!({ "a": 1, "b": 2 }), json!("x"))).await.unwrap();
    let again = runs.start(keyed(json!({ "b": 2, "a": 1 }), json!("x"))).await.unwrap();
    assert_eq!((again.run.id, again.is_new), (first.run.id, false));
    for other in [keyed(json!({ "a": 1, "b": 2 }), json!("y")), keyed(json!({ "a": 1 }), json!("x"))] {
        let refused = runs.start(other).await.unwrap_err();
        assert_eq!(refused.status, http::StatusCode::UNPROCESSABLE_ENTITY);
        assert!(format!("{refused:?}").contains(&first.run.id.to_string()), "{refused:?}");
    }
    let webhook = StartRun { trigger: RunTrigger::Webhook, ..keyed(Value::Null, json!("y")) };
    assert!(runs.start(webhook).await.is_err());
}

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
