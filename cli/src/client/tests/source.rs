use super::*;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// The report of a sync of `source`.
fn report_of(source: &str, outcome: &str) -> Value {
    json!({
        "source": source, "commit": COMMIT, "ref": "refs/heads/main", "previous": null, "outcome": outcome,
        "projects": [{"project": "blog", "path": "apps/blog", "digest": "ab".repeat(32), "outcome": outcome}],
        "deploy": null, "problem": null, "timings_ms": {"total": 311.6},
    })
}

/// The problem document of a sync that did not succeed.
fn refused(slug: &str, detail: &str, outcome: &str) -> Value {
    let mut document = problem(slug, detail);
    document["sync"] = report_of("shop", outcome);
    document
}

fn status_of(more: &Value) -> Value {
    let mut status = json!({"source": "shop", "url": "https://host/shop.git", "follows": "branch main",
        "state": "idle", "publish": "follow", "applied": COMMIT});
    status.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    status
}

/// Runs a command against a bridge that gives one answer. Returns what it printed, and the request.
async fn answered(reply: Reply, args: &[&str]) -> (Ran, ReceivedRequest) {
    let bridge = FakeBridge::answering([reply]).await;
    let ran = run_with(&bridge, args).await;
    let [request] = &bridge.requests()[..] else { panic!("{ran:?}: {:?}", bridge.requests()) };
    (ran, request.clone())
}

fn line_of(request: &ReceivedRequest) -> String {
    format!("{} {}", request.method, request.path)
}

#[tokio::test]
async fn a_sync_waits_and_prints_the_commit_and_its_projects() {
    for reply in [
        Reply::Json(200, report_of("shop", "live")),
        Reply::Events(events(200, &report_of("shop", "live")), 9),
    ] {
        let (ran, request) = answered(reply, &["source", "sync", "shop"]).await;
        assert_eq!(ran.exit, 0, "{ran:?}");
        let expected = "shop: 0123456789ab (main) is live (312 ms)\n  blog@abababababab is live\n";
        assert_eq!(ran.out, expected);
        assert_eq!(line_of(&request), "POST /sources/shop/sync");
        assert_eq!(request.headers["accept"], "text/event-stream");
        assert_eq!(request.headers["authorization"], format!("Bearer {TOKEN}").as_str());
    }
}

#[tokio::test]
async fn the_options_of_a_sync_are_sent() {
    let upper = COMMIT.to_uppercase();
    let args = ["source", "sync", "shop", "--commit", &upper, "--allow-empty", "--force"];
    let (ran, request) = answered(Reply::Json(200, report_of("shop", "unchanged")), &args).await;
    assert_eq!((ran.exit, ran.err.as_str()), (0, ""));
    let query = format!("?commit={COMMIT}&allow_empty=1&force=1");
    assert_eq!(line_of(&request), format!("POST /sources/shop/sync{query}"));
}

#[tokio::test]
async fn a_sync_that_nobody_waits_for_names_the_command_that_shows_its_outcome() {
    let args = ["source", "sync", "shop", "--no-wait"];
    let (ran, request) = answered(Reply::Json(202, json!({"source": "shop"})), &args).await;
    assert_eq!((ran.exit, line_of(&request).as_str()), (0, "POST /sources/shop/sync?wait=0"));
    assert!(ran.out.contains("switchyard source show shop"), "{ran:?}");
    let (ran, _) = answered(Reply::Page(202, ""), &["source", "sync", "--no-wait", "--json"]).await;
    assert_eq!((ran.exit, ran.out.as_str(), ran.err.as_str()), (0, "", ""));
    let (ran, _) = answered(Reply::Json(401, problem("unauthorized", "no token")), &args).await;
    assert_eq!(ran.exit, 2, "{ran:?}");
}

#[tokio::test]
async fn without_a_name_all_sources_are_synced_and_the_worst_decides() {
    let (ran, request) = answered(
        Reply::Json(200, json!({"sources": [report_of("a", "live"), report_of("b", "unchanged")]})),
        &["source", "sync"],
    )
    .await;
    assert_eq!((ran.exit, line_of(&request).as_str()), (0, "POST /repo/sync"));
    assert!(
        ran.out.contains("a: 0123456789ab (main) is live") && ran.out.contains("b: 0123456789ab"),
        "{ran:?}"
    );

    let reports =
        json!({"sources": [report_of("a", "live"), report_of("b", "failed"), report_of("c", "unreachable")]});
    let mut document = problem("sync-failed", "two sources were not synced");
    document["sync"] = reports.clone();
    for body in [reports, document] {
        let (ran, _) = answered(Reply::Json(502, body), &["source", "sync"]).await;
        assert_eq!(ran.exit, 3, "{ran:?}");
        assert!(
            ran.out.starts_with("a: ") && ran.err.starts_with("b: ") && ran.err.contains("\nc: not synced"),
            "{ran:?}"
        );
    }
    let (ran, _) = answered(Reply::Json(200, json!({"sources": []})), &["source", "sync"]).await;
    assert!(ran.exit == 0 && ran.out.starts_with("no sources; "), "{ran:?}");
}

#[tokio::test]
async fn a_commit_that_does_not_build_shows_the_diagnostic_as_a_deploy_does() {
    let error = json!({"message": "no", "file": "main.ts", "line": 3, "column": 12, "frame": "> 3 | x"});
    let mut build = problem("build-failed", "blog does not build");
    build["error"] = error;
    let mut outside = build.clone();
    outside["sync"] = report_of("shop", "failed");
    let mut inside = refused("sync-failed", "the commit was not deployed", "failed");
    inside["sync"]["problem"] = build;
    for body in [outside, inside] {
        let (ran, _) = answered(Reply::Json(422, body), &["source", "sync", "shop"]).await;
        assert_eq!((ran.exit, ran.out.as_str()), (1, ""));
        let expected = "main.ts:3:12: no\n> 3 | x\nblog does not build\n\
                        shop: 0123456789ab is not live; nothing of it is live yet\n  \
                        blog@abababababab is not live\n";
        assert_eq!(ran.err, expected);
    }
}

#[tokio::test]
async fn each_refusal_of_a_sync_has_its_exit_status_and_its_fix() {
    let table = [
        (409, "frozen", 2, "switchyard source freeze shop --lift"),
        (409, "blocked", 2, "switchyard source approve shop"),
        (422, "failed", 1, "is not live"),
        (502, "unreachable", 3, "shop: not synced"),
        (504, "unreachable", 3, "shop: not synced"),
    ];
    for verb in
        [&["source", "sync", "shop"][..], &["source", "publish", "shop"], &["source", "approve", "shop"]]
    {
        for (status, outcome, exit, fix) in table {
            let body = refused("not-synced", "because", outcome);
            let (ran, _) = answered(Reply::Json(status, body), verb).await;
            assert_eq!((ran.exit, ran.out.as_str()), (exit, ""), "{status} {outcome}");
            assert!(ran.err.starts_with("because\nshop: ") && ran.err.contains(fix), "{outcome}: {ran:?}");
        }
        for (status, slug, exit) in [(404, "unknown-source", 1), (403, "forbidden", 2), (503, "busy", 3)] {
            let (ran, _) = answered(Reply::Json(status, problem(slug, "because")), verb).await;
            assert_eq!((ran.exit, ran.err.as_str()), (exit, "because\n"), "{slug}");
        }
    }
}

#[tokio::test]
async fn scripts_get_the_answer_of_the_bridge_and_the_same_exit_status() {
    let (ran, _) =
        answered(Reply::Json(200, report_of("shop", "ready")), &["source", "sync", "shop", "--json"]).await;
    assert_eq!((ran.json(), ran.err.as_str(), ran.exit), (report_of("shop", "ready"), "", 0));
    let body = refused("frozen", "release week", "frozen");
    let (ran, _) = answered(Reply::Json(409, body.clone()), &["source", "publish", "shop", "--json"]).await;
    assert_eq!((ran.json(), ran.err.as_str(), ran.exit), (body, "", 2));
    for args in [
        &["source", "list"][..],
        &["source", "show", "shop"],
        &["source", "explain", "shop"],
        &["source", "freeze", "shop"],
        &["source", "dev", "shop", "--disable"],
    ] {
        let (ran, _) = answered(Reply::Json(200, json!({"any": 1})), &[args, &["--json"]].concat()).await;
        assert_eq!((ran.json(), ran.exit), (json!({"any": 1}), 0), "{args:?}");
    }
}

#[tokio::test]
async fn a_sync_whose_connection_breaks_is_sent_again() {
    let bridge = FakeBridge::answering([Reply::Break, Reply::Json(200, report_of("shop", "live"))]).await;
    let ran = run_with(&bridge, &["source", "sync", "shop"]).await;
    assert_eq!((ran.exit, bridge.requests().len()), (0, 2), "{ran:?}");
    let keys: Vec<_> =
        bridge.requests().iter().map(|request| request.headers["idempotency-key"].clone()).collect();
    assert_eq!(keys[0], keys[1]);
}

#[tokio::test]
async fn a_bridge_that_says_nothing_is_waited_for_with_a_bound() {
    let bridge = FakeBridge::answering([Reply::Never]).await;
    let ran = run_at(&bridge.to(), &["source", "sync", "shop"], Duration::from_millis(5)).await;
    assert!(ran.exit == 3 && ran.err.contains("has sent nothing"), "{ran:?}");
}

#[tokio::test]
async fn an_answer_that_is_no_report_is_not_a_success() {
    let (ran, _) = answered(Reply::Json(200, json!({"ok": true})), &["source", "sync", "shop"]).await;
    assert!(ran.exit == 3 && ran.err.contains("is --to the URL of a bridge?"), "{ran:?}");
    let (ran, _) = answered(Reply::Page(502, "<html>"), &["source", "sync", "shop"]).await;
    assert!(ran.exit == 3 && ran.err.contains("502"), "{ran:?}");
}

#[tokio::test]
async fn publish_and_approve_end_like_a_sync() {
    let args = ["source", "publish", "shop", "--commit", COMMIT];
    let (ran, request) = answered(Reply::Json(200, report_of("shop", "live")), &args).await;
    assert!(ran.exit == 0 && ran.out.contains("is live"), "{ran:?}");
    assert_eq!(line_of(&request), format!("POST /sources/shop/publish?commit={COMMIT}"));
    let (_, request) =
        answered(Reply::Json(200, report_of("shop", "live")), &["source", "publish", "shop"]).await;
    assert_eq!(line_of(&request), "POST /sources/shop/publish");
    let (ran, request) =
        answered(Reply::Json(200, report_of("shop", "live")), &["source", "approve", "shop"]).await;
    assert_eq!((ran.exit, line_of(&request).as_str()), (0, "POST /sources/shop/approve"));
}

#[tokio::test]
async fn the_list_has_a_row_for_each_source() {
    let (ran, request) =
        answered(Reply::Json(200, json!({"sources": [status_of(&json!({}))]})), &["source", "list"]).await;
    assert_eq!((ran.exit, line_of(&request).as_str()), (0, "GET /sources"));
    assert!(
        ran.out.starts_with("SOURCE  FOLLOWS") && ran.out.contains("shop    branch main  0123456789ab"),
        "{ran:?}"
    );
    let (ran, _) = answered(Reply::Json(200, json!({"sources": []})), &["source", "list"]).await;
    assert!(ran.exit == 0 && ran.out.contains("--sources"), "{ran:?}");
}

#[tokio::test]
async fn a_source_is_shown_with_what_waits() {
    let (ran, request) =
        answered(Reply::Json(200, status_of(&json!({"asks": ["old"]}))), &["source", "show", "shop"]).await;
    assert_eq!((ran.exit, line_of(&request).as_str()), (0, "GET /sources/shop"));
    assert!(ran.out.contains(COMMIT) && ran.out.contains("switchyard source approve shop"), "{ran:?}");
    let missing = problem("unknown-source", "there is no source shop");
    let (ran, _) = answered(Reply::Json(404, missing), &["source", "show", "shop"]).await;
    assert_eq!((ran.exit, ran.err.as_str()), (1, "there is no source shop\n"));
}

#[tokio::test]
async fn a_freeze_has_a_reason_and_is_lifted() {
    let args = ["source", "freeze", "shop", "--reason", "release week"];
    let (ran, request) =
        answered(Reply::Json(200, status_of(&json!({"frozen": "release week"}))), &args).await;
    assert_eq!(line_of(&request), "POST /sources/shop/freeze?reason=release+week");
    let expected = "shop is frozen (release week); switchyard source freeze shop --lift ends it\n";
    assert_eq!((ran.exit, ran.out.as_str()), (0, expected));
    let args = ["source", "freeze", "shop", "--lift"];
    let (ran, request) = answered(Reply::Json(200, status_of(&json!({}))), &args).await;
    assert_eq!(line_of(&request), "DELETE /sources/shop/freeze");
    assert!(ran.exit == 0 && ran.out.contains("not frozen any more"), "{ran:?}");
    let (ran, _) =
        answered(Reply::Json(200, status_of(&json!({"frozen": "denied until Monday"}))), &args).await;
    assert!(ran.exit == 0 && ran.out.contains("nothing is deployed still: denied until Monday"), "{ran:?}");
    let (ran, _) = answered(Reply::Json(403, problem("forbidden", "no")), &args).await;
    assert_eq!((ran.exit, ran.err.as_str()), (2, "no\n"));
}

#[tokio::test]
async fn an_override_sends_the_real_path_of_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let real = dir.path().canonicalize().unwrap().join("shop");
    fs::create_dir(&real).unwrap();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let real = real.to_str().unwrap();

    let args = ["source", "dev", "shop", "--local-path", link.to_str().unwrap()];
    let folder = format!("{real}/apps/api");
    let (ran, request) = answered(Reply::Json(200, json!({"projects": {"api": folder}})), &args).await;
    assert_eq!(line_of(&request), "PUT /sources/shop/override");
    assert_eq!(request.headers["content-type"], "application/json");
    let body: Value = serde_json::from_slice(&request.body.unwrap()).unwrap();
    assert_eq!(body, json!({"local_path": real}));
    let expected = format!("api is read from {folder}\nswitchyard source dev shop --disable ends it\n");
    assert_eq!((ran.exit, ran.out), (0, expected));

    let (ran, request) =
        answered(Reply::Json(200, json!({"projects": {}})), &["source", "dev", "shop", "--disable"]).await;
    assert_eq!((ran.exit, line_of(&request).as_str()), (0, "DELETE /sources/shop/override"));
    assert_eq!(ran.out, "shop: all projects are read from the volume\n");

    let refused = problem("override-not-allowed", "start the router with --allow-override");
    let (ran, _) = answered(Reply::Json(403, refused), &args).await;
    assert!(ran.exit == 2 && ran.err.contains("--allow-override"), "{ran:?}");
}

#[tokio::test]
async fn an_override_needs_a_folder_that_exists() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let bridge = FakeBridge::answering([]).await;
    for path in [file.path().to_str().unwrap(), "/no/such/folder"] {
        let ran = run_with(&bridge, &["source", "dev", "shop", "--local-path", path]).await;
        assert!(ran.exit == 64 && ran.err.contains(path), "{ran:?}");
    }
    assert!(bridge.requests().is_empty());
}

#[tokio::test]
async fn an_explanation_has_a_reason_for_each_project() {
    let projects = json!([
        {"project": "api", "path": "apps/api", "change": "changed", "reason": "the tree is another one"},
        {"project": "old", "path": null, "change": "removed", "reason": "its folder is gone"},
    ]);
    let body = json!({"source": "shop", "commit": COMMIT, "applied": "f".repeat(40),
        "notes": ["frozen:\nno"], "projects": projects});
    let args = ["source", "explain", "shop", "api", "--commit", COMMIT];
    let (ran, request) = answered(Reply::Json(200, body), &args).await;
    assert_eq!(line_of(&request), format!("GET /sources/shop/explain?project=api&commit={COMMIT}"));
    let expected = "shop: 0123456789ab, compared with ffffffffffff, which is live\n  frozen:␊no\n\n\
                    PROJECT  FOLDER    CHANGE   REASON\n\
                    api      apps/api  changed  the tree is another one\n\
                    old      -         removed  its folder is gone\n";
    assert_eq!((ran.exit, ran.out.as_str()), (0, expected));
}

#[tokio::test]
async fn wrong_arguments_are_named_before_any_request() {
    let bridge = FakeBridge::answering([]).await;
    for (args, says) in [
        (&["source", "show", ".."][..], "NAME: invalid name \"..\""),
        (&["source", "sync", "shop", "--commit", "0123456789ab"], "git rev-parse 0123456789ab"),
        (&["source", "sync", "--commit", COMMIT], "--commit: is for one source"),
        (&["source", "sync", "--allow-empty"], "--allow-empty: is for one source"),
        (&["source", "sync", "--force"], "--force: is for one source"),
        (&["source", "freeze", "shop", "--lift", "--reason", "x"], "--reason: cannot be combined"),
        (&["source", "dev", "shop"], "--local-path: is required, or --disable"),
        (&["source", "dev", "shop", "--disable", "--local-path", "/"], "--disable: cannot be combined"),
        (&["source", "explain", "shop", "Sh.op"], "PROJECT: "),
        (&["source", "publish"], "NAME: is required"),
    ] {
        let ran = run_with(&bridge, args).await;
        assert!(ran.exit == 64 && ran.err.contains(says), "{args:?}: {ran:?}");
    }
    assert!(bridge.requests().is_empty());
}
