//! The admin listener.

use switchyard_contract::admin::{ProjectState, ReloadOutcome};
use switchyard_contract::event::Trigger;
use switchyard_integration::fixtures::hello;
use switchyard_integration::probe::Probe;
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;

#[tokio::test]
async fn a_requested_reload_answers_when_the_new_version_is_live() {
    let volume = Volume::with("a", hello("one"));
    let router = Router::builder(&volume).unwatched().start().await;
    let mut events = router.events().await;
    events.wait_live("a").await;
    let probe = Probe::start(&router.public, "/a/").await;
    volume.write("a/main.ts", hello("two"));
    let reloaded = router.admin.reload("a").await;
    assert_eq!((reloaded.project.as_str(), reloaded.outcome), ("a", ReloadOutcome::Live));
    let reply = router.public.get("/a/").await;
    assert_eq!((reply.text().as_str(), reply.version()), ("two", reloaded.version.as_deref()));
    assert!(reloaded.timings_ms.total.is_some_and(|total| total > 0.0), "{reloaded:?}");
    let event = events.wait_live("a").await;
    assert_eq!(event.data.trigger, Some(Trigger::Request));
    assert_eq!(event.data.digest.map(|digest| digest.to_string()), reloaded.digest);
    probe.finish().await.no_failures().none_mixed().versions_monotonic(&["one", "two"]);
}

#[tokio::test]
async fn a_reload_answers_with_the_error() {
    let volume = Volume::with("a", hello("one"));
    let router = Router::builder(&volume).unwatched().start().await;
    assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Unchanged);
    volume.write("a/main.ts", "export default {\n  fetch( {\n};\n");
    let failed = router.admin.reload("a").await;
    assert_eq!(failed.outcome, ReloadOutcome::Failed);
    let error = failed.error.expect("a failure has an error");
    assert_eq!(error.file.as_deref(), Some("main.ts"));
    assert!(error.line.is_some() && error.column.is_some() && error.frame.is_some(), "{error:?}");
    volume.remove("a");
    assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Removed);
    router.admin.client.post("/_reload/a").await.assert_problem(404, "unknown-project");
}

#[tokio::test]
async fn a_reload_finds_a_new_project() {
    let volume = Volume::new();
    let router = Router::builder(&volume).unwatched().start().await;
    volume.project("new").file("main.ts", hello("one")).write();
    assert_eq!(router.admin.reload("new").await.outcome, ReloadOutcome::Live);
    assert_eq!(router.public.get("/new/").await.text(), "one");
}

#[tokio::test]
async fn a_reload_of_all_reports_the_outcome_of_each() {
    let volume = Volume::new();
    for name in ["same", "changed", "broken", "removed"] {
        volume.project(name).file("main.ts", hello("one")).write();
    }
    let router = Router::builder(&volume).unwatched().start().await;
    volume.write("changed/main.ts", hello("two"));
    volume.write("broken/main.ts", "throw 1");
    volume.remove("removed");
    volume.project("new").file("main.ts", hello("one")).write();
    let all = router.admin.reload_all().await;
    let outcomes: Vec<_> = all.iter().map(|(name, one)| (name.as_str(), one.outcome)).collect();
    assert_eq!(
        outcomes,
        [
            ("broken", ReloadOutcome::Failed),
            ("changed", ReloadOutcome::Live),
            ("new", ReloadOutcome::Live),
            ("removed", ReloadOutcome::Removed),
            ("same", ReloadOutcome::Unchanged)
        ]
    );
}

#[tokio::test]
async fn requests_for_the_same_reload_at_once_are_all_answered() {
    let volume = Volume::with("a", hello("one"));
    let router = Router::builder(&volume).unwatched().start().await;
    volume.write("a/main.ts", hello("two"));
    let pending: Vec<_> = (0..8)
        .map(|_| {
            let admin = router.admin.clone();
            tokio::spawn(async move { admin.reload("a").await })
        })
        .collect();
    for reply in pending {
        let reloaded = reply.await.unwrap();
        assert!([ReloadOutcome::Live, ReloadOutcome::Unchanged].contains(&reloaded.outcome), "{reloaded:?}");
        assert_eq!(router.public.get("/a/").await.version(), reloaded.version.as_deref());
    }
}

#[tokio::test]
async fn projects_shows_disk_live_and_last_good_with_the_error() {
    let volume = Volume::with("a", hello("one"));
    // The only reload is the one that is requested.
    let router = Router::builder(&volume).flag("debounce", "1h").start().await;
    let live = router.admin.project("a").await;
    assert_eq!(live.state, ProjectState::Live);
    assert!(live.live.is_some() && live.live == live.on_disk && live.live == live.last_good, "{live:?}");
    volume.write("a/main.ts", "throw new Error('no');");
    router.admin.reload("a").await;
    let failed = router.admin.project("a").await;
    assert_eq!(failed.state, ProjectState::Failed);
    assert_eq!((&failed.live, &failed.last_good), (&live.live, &live.live));
    assert_ne!(failed.on_disk, live.live);
    let on_disk = failed.on_disk.expect("the broken content has a digest");
    assert_eq!(on_disk.version, format!("a@{}", &on_disk.digest[..12]));
    assert!(failed.error.is_some_and(|error| error.message.contains("no")));
    assert_eq!(failed.reloads.len(), 2);
}

#[tokio::test]
async fn the_digest_is_the_one_that_coreutils_print() {
    let volume = Volume::with("a", hello("one"));
    volume.write("a/lib/x y.ts", "1");
    volume.write("a/node_modules/x.js", "not counted");
    let router = Router::start(&volume).await;
    let script = "find . -name node_modules -prune -o -type f -printf '%P\\n' | LC_ALL=C sort | tr '\\n' '\\0' | xargs -0 sha256sum | sha256sum";
    let output =
        std::process::Command::new("sh").args(["-c", script]).current_dir(volume.path("a")).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let digest = router.admin.project("a").await.live.expect("a is live").digest;
    assert_eq!(Some(digest.as_str()), printed.split_whitespace().next());
}

#[tokio::test]
async fn metrics_are_in_the_text_format_and_count_reloads() {
    let volume = Volume::with("a", hello("one"));
    let router = Router::start(&volume).await;
    router.public.get("/a/").await;
    let reply = router.admin.client.get("/metrics").await;
    assert_eq!(reply.status, 200);
    let text = reply.text();
    assert!(text.contains("# TYPE switchyard_") && text.trim_end().ends_with("# EOF"), "{text}");
}

#[tokio::test]
async fn a_missing_deploy_or_project_is_a_problem() {
    let volume = Volume::new();
    let router = Router::start(&volume).await;
    let admin = &router.admin.client;
    admin.get("/projects/none").await.assert_problem(404, "unknown-project");
    admin.post("/_reload/none").await.assert_problem(404, "unknown-project");
    assert_eq!(admin.get("/nowhere").await.status, 404);
    assert_eq!(admin.get("/_reload").await.status, 405);
}

#[tokio::test]
async fn the_openapi_document_describes_the_endpoints() {
    let volume = Volume::new();
    let router = Router::start(&volume).await;
    let reply = router.admin.client.get("/openapi.json").await;
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")));
    let document: serde_json::Value = serde_json::from_slice(&reply.body).expect("it is JSON");
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["paths"]["/projects/{name}/logs"]["get"]["parameters"].is_array(), "{document}");
    assert!(document["components"]["schemas"]["Problem"].is_object(), "{document}");
}

#[tokio::test]
async fn a_parameter_that_is_not_known_is_refused() {
    let volume = Volume::with("a", hello("one"));
    let router = Router::start(&volume).await;
    for (path, says) in [
        ("/projects?sinse=1", "did you mean \"since\"?"),
        ("/projects/a?x=1", "no parameter is taken here"),
        ("/projects/a/logs?line=1", "did you mean \"lines\"?"),
        ("/projects/a/checkouts?incarnation=x", "invalid incarnation"),
    ] {
        let problem = router.admin.client.get(path).await.assert_problem(400, "bad-request");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(says)), "{path}: {problem}");
    }
    for path in ["/healthz?x", "/readyz?x", "/metrics?x"] {
        assert_eq!(router.admin.client.get(path).await.status, 200, "{path}");
    }
}
