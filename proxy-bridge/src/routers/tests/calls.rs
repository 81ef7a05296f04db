//! Calls to a router's admin listener, and their failures.

use super::*;

#[tokio::test]
async fn a_call_carries_the_token_and_brings_the_answer() {
    let mut fake = FakeRouter::start("r1").await;
    let settings = RoutersSettings {
        fixed: vec![fake.address.clone()],
        admin_token: Some("secret".into()),
        ..RoutersSettings::default()
    };
    let (routers, _task) = Routers::start(settings).unwrap();
    let router = routers.all()[0].clone();
    let commit = CommitInfo { source: "shop".into(), commit: "ab".repeat(20), ref_name: None };
    let commits = BTreeMap::from([(blog(), commit)]);
    let hold = Hold { id: "d1".into(), projects: vec![blog()], lease_ms: 10_000, commits };
    fake.script("POST /_deploys", 204, "");
    router.hold(&hold).await.unwrap();
    let (_, headers, body) = fake.calls.recv().await.unwrap();
    assert_eq!(headers["authorization"], "Bearer secret");
    assert_eq!(serde_json::from_slice::<Hold>(&body).unwrap(), hold);
    let reports = json!({"projects": [{"project": "blog", "outcome": "built", "digest": digest('a'),
        "version": "blog@aaaaaaaaaaaa", "error": null, "timings_ms": {}}]});
    fake.script("POST /_deploys/d1/build", 200, &reports.to_string());
    assert_eq!(router.build("d1", LONG).await.unwrap().projects[0].outcome, ReloadOutcome::Built);
    fake.script("DELETE /_deploys/d1", 204, "");
    router.release("d1").await.unwrap();
}

#[tokio::test]
async fn a_call_that_fails_says_how() {
    let mut fake = FakeRouter::start("r1").await;
    let routers = following(&[&fake]);
    let router = routers.all()[0].clone();
    let problem = json!({"type": "urn:switchyard:problem:not-built", "detail": "blog is not built"});
    fake.script("POST /_deploys/d1/publish", 409, &problem.to_string());
    let error = router.publish("d1", LONG).await.unwrap_err();
    assert_eq!(error.to_string(), "it answered 409: blog is not built");
    assert!(
        matches!(error, CallError::Answered { status: StatusCode::CONFLICT, problem: returned } if returned == problem)
    );
    fake.script("POST /_deploys/d1/build", 0, "");
    let error = router.build("d1", Duration::ZERO).await.unwrap_err();
    assert!(matches!(error, CallError::TimedOut), "{error}");
    fake.script("POST /_reload/blog", 200, "[]");
    let error = router.reload("blog", LONG).await.unwrap_err();
    assert!(matches!(error, CallError::NotUnderstood(_)), "{error}");
    fake.go_away().await;
    let error = router.checkouts("blog", Incarnation::FIRST).await.unwrap_err();
    assert!(matches!(&error, CallError::NotConnected(why) if why.contains("refused")), "{error}");
}

#[tokio::test]
async fn an_override_is_set_and_ended_and_all_of_them_are_asked_for() {
    let mut fake = FakeRouter::start("r1").await;
    let routers = following(&[&fake]);
    let router = routers.all()[0].clone();
    let report = json!({"project": "blog", "outcome": "live", "digest": null, "version": null,
        "error": null, "timings_ms": {}});
    for method in ["PUT", "DELETE"] {
        fake.script(&format!("{method} /projects/blog/override"), 200, &report.to_string());
    }
    router.set_override("blog", "/home/me/blog", LONG).await.unwrap();
    let (call, headers, body) = fake.calls.recv().await.unwrap();
    assert_eq!(call, "PUT /projects/blog/override");
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(&body[..], br#"{"path":"/home/me/blog"}"#);
    assert_eq!(router.end_override("blog", LONG).await.unwrap().outcome, ReloadOutcome::Live);

    fake.live("blog", 'a');
    fake.live("shop", 'b');
    fake.read_from("blog", Some("/home/me/blog"));
    let overrides = router.overrides().await.unwrap();
    assert_eq!(overrides, BTreeMap::from([("blog".to_owned(), "/home/me/blog".to_owned())]));
}

#[tokio::test]
async fn a_checkout_comes_with_its_digest_and_log_lines_one_by_one() {
    let fake = FakeRouter::start("r1").await;
    let routers = following(&[&fake]);
    let router = routers.all()[0].clone();
    fake.script("GET /projects/blog/checkouts/aaaaaaaaaaaa?incarnation=first", 200, "a tar");
    let (found, _, tar) = router.checkout("blog", Incarnation::FIRST, "aaaaaaaaaaaa").await.unwrap();
    assert_eq!(found.to_string(), digest('a'));
    assert_eq!(tar.try_collect::<Vec<_>>().await.unwrap().concat(), b"a tar");
    fake.script("GET /projects/blog/logs?lines=5", 200, ": hi\n\nevent: line\ndata: {}\n\n");
    let lines: Vec<_> = router
        .follow(&["projects", "blog", "logs"], &[("lines", "5".to_owned())])
        .await
        .unwrap()
        .collect()
        .await;
    assert_eq!(lines, [SseEvent { kind: "line".into(), data: "{}".into(), id: None }]);
}
