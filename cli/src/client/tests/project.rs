//! Commands about one project.

use super::*;

fn live(sequence: u64, project: &str) -> Value {
    json!({"type": "reload.live", "timestamp": "2026-03-01T12:00:00Z", "data": {"router": "r1",
        "sequence": sequence, "project": project, "digest": null, "version": format!("{project}@0123456789ab"),
        "previous": null, "trigger": "watch", "changed": {"first": "main.ts", "count": 1}, "error": null, "timings_ms": {"total": 31.4}}})
}

#[tokio::test]
async fn events_come_in_their_order_and_then_as_they_happen() {
    let recent = json!({"events": [live(2, "shop"), live(1, "blog")]});
    let bridge = FakeBridge::answering([Reply::Json(200, recent.clone())]).await;
    let ran = run_with(&bridge, &["events"]).await;
    let expected = [
        "2026-03-01 12:00:00 reload.live      blog@0123456789ab (31 ms): main.ts",
        "2026-03-01 12:00:00 reload.live      shop@0123456789ab (31 ms): main.ts",
    ];
    assert_eq!((ran.exit, ran.out.lines().collect::<Vec<_>>()), (0, expected.to_vec()));
    let stream =
        event("hello", &json!({})) + &event("event", &live(3, "blog")) + &event("event", &live(4, "shop"));
    let bridge = FakeBridge::answering([Reply::Events(stream, 7), Reply::Json(200, recent)]).await;
    let ran = run_with(&bridge, &["events", "blog", "--follow", "--json"]).await;
    let sequences =
        ran.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["data"]["sequence"].clone());
    assert_eq!(sequences.collect::<Vec<_>>(), [json!(1), json!(3)]);
    assert_eq!(
        (ran.exit, bridge.requests()[0].path.as_str()),
        (3, "/stream?topics=events"),
        "the bridge is stopping"
    );
}

#[tokio::test]
async fn an_explanation_names_the_error_the_last_deploy_and_the_lock() {
    let version = |digits: &str| json!({"digest": digits, "version": format!("blog@{digits}")});
    let error =
        json!({"message": "no\u{1b} way", "file": "main.ts", "line": 3, "column": 7, "frame": "> 3 | x"});
    let blog = json!({"project": "blog", "skew": false, "routers": [{"router": "http://r1", "state": "failed",
        "live": version("1"), "on_disk": version("2"), "error": error, "behind": false}]});
    let deploys = json!({"deploys": [record("live", None)]});
    let locks = json!({"locks": [{"project": "blog", "by": "ops", "at": "2026-03-01T12:00:00Z", "reason": "a sale"}]});
    let settings = json!({"project": "blog", "routers": [{"router": "http://r1", "settings": [
        {"key": "switchyard.cells", "value": 1, "origin": "default"},
        {"key": "switchyard.idle", "value": "10m", "origin": "project", "file": "deno.json", "line": 4},
        {"key": "limits.body", "value": "5\u{1b}MiB", "origin": "flag", "flag": "--max-body"},
    ]}]});
    let replies = [blog, deploys, locks, settings].map(|body| Reply::Json(200, body));
    let bridge = FakeBridge::answering(replies).await;
    let ran = run_with(&bridge, &["explain", "blog"]).await;
    let expected = [
        "blog@1 serves, because blog@2 does not build.",
        "main.ts:3:7: no␛ way",
        "> 3 | x",
        "The last deploy, of 2026-03-01 12:00 UTC, is live.",
        "It is locked by ops since 2026-03-01 12:00 UTC (a sale): switchyard unlock blog",
        "SETTING          VALUE         FROM",
        "switchyard.idle  \"10m\"         deno.json:4",
        "limits.body      \"5\\u001bMiB\"  --max-body",
    ];
    assert_eq!((ran.exit, ran.out.lines().collect::<Vec<_>>()), (0, expected.to_vec()), "{}", ran.err);
}

#[tokio::test]
async fn a_rollback_sends_its_message_and_a_dry_run_only_asks() {
    let bridge = FakeBridge::answering([Reply::Events(events(200, &record("live", None)), 50)]).await;
    run_with(&bridge, &["rollback", "blog", "-m", "it was bad"]).await;
    assert_eq!(bridge.requests()[0].path, "/projects/blog/rollback?message=it+was+bad");
    let diff = json!({"project": "blog", "from": "blog@2", "to": "blog@1", "truncated": false, "files": [
        {"path": "a\u{1b}.ts", "change": "changed", "before": 1, "after": 2, "diff": "@@ -1 +1 @@\n-a\n+b\u{1b}\n"},
        {"path": "x.png", "change": "added", "before": null, "after": 2048, "diff": null},
    ]});
    let bridge = FakeBridge::answering([Reply::Json(200, diff)]).await;
    let ran = run_with(&bridge, &["rollback", "blog", "abababababab", "--dry-run"]).await;
    let expected =
        ["blog@2 -> blog@1", "M a␛.ts", "  @@ -1 +1 @@", "  -a", "  +b␛", "A x.png  - -> 2.00 KiB"];
    assert_eq!(ran.out.lines().collect::<Vec<_>>(), expected);
    assert_eq!(bridge.requests()[0].path, "/projects/blog/diff?to=abababababab");
}

#[tokio::test]
async fn a_deploy_ends_with_the_urls_of_its_projects() {
    let blog = Blog::new();
    let mut record = blog.record();
    record["routers"][1]["public"] = "http://127.0.0.1:8000".into();
    let bridge = FakeBridge::answering([Reply::Events(events(200, &record), 50)]).await;
    let ran = run_with(&bridge, &["deploy", &blog.path]).await;
    assert_eq!((ran.exit, ran.out.lines().last()), (0, Some("http://blog.localhost:8000/")), "{}", ran.err);
}
