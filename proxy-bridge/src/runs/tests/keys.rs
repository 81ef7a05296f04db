use super::*;

fn with_key(task: &str, params: Value, input: Value) -> StartRun {
    StartRun { key: Some("key".to_owned()), params, input, ..by_hand(task) }
}

#[tokio::test]
async fn a_key_that_comes_again_is_the_same_run_and_with_another_request_it_is_refused() {
    let params = json!({ "params": [{ "name": "day", "type": "string" }] });
    let mut scene = Scene::new(json!({ "tasks": [task("hello", params)] })).await;
    scene.router.script("POST /_runs", 0, "");
    let runs = scene.run().await;
    let start = |day: &str, input: u32| with_key("work:hello", json!({ "day": day }), json!(input));
    let first = runs.start(start("today", 1)).await.unwrap();
    let again = runs.start(start("today", 1)).await.unwrap();
    assert!(first.is_new && !again.is_new);
    assert_eq!(first.run.id, again.run.id);
    for other in [start("tomorrow", 1), start("today", 2)] {
        let problem = runs.start(other).await.unwrap_err();
        assert_eq!(
            (problem.slug(), problem.member("run")),
            ("idempotency-key-reused", Some(&*first.run.id.to_string()))
        );
    }
}
