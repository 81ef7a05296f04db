//! Deploys: projects held, built and published together, or let go.

use rustix::process::Signal;
use switchyard_contract::admin::{ProjectState, ReloadOutcome};
use switchyard_contract::event::{EventType, Trigger};
use switchyard_integration::client::{json_body, post, with_method};
use switchyard_integration::events::Events;
use switchyard_integration::fixtures::hello;
use switchyard_integration::probe::Probe;
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;
use switchyard_integration::{eventually, within};

/// Loads for as long as it may.
const HANGS: &str = "await new Promise(() => setInterval(() => {}, 1000));";

fn volume(projects: &[&str]) -> Volume {
    let volume = Volume::new();
    for name in projects {
        volume.project(name).file("main.ts", hello("one")).write();
    }
    volume
}

/// Returns when the router has seen every change up to now: it has seen the one that this makes.
async fn all_is_seen(volume: &Volume, events: &mut Events) {
    let project = "zzz";
    volume.project(project).file("main.ts", hello("seen")).move_in();
    events.wait_live(project).await;
    volume.remove(project);
    events.wait_removed(project).await;
}

fn outcomes(reports: &[switchyard_contract::admin::Report]) -> Vec<(&str, ReloadOutcome)> {
    reports.iter().map(|report| (report.project.as_str(), report.outcome)).collect()
}

#[tokio::test]
async fn while_a_project_is_held_nothing_of_it_is_reloaded() {
    let volume = volume(&["a"]);
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    events.wait_live("a").await;
    router.admin.hold("d", &["a"]).await;
    assert_eq!(router.admin.project("a").await.held_by.as_deref(), Some("d"));
    volume.write("a/main.ts", hello("two"));
    all_is_seen(&volume, &mut events).await;
    assert_eq!(router.public.get("/a/").await.text(), "one");
    assert_eq!(events.count(EventType::ReloadLive, "a"), 1);
    let pending = tokio::spawn({
        let admin = router.admin.clone();
        async move { admin.reload("a").await }
    });
    assert_eq!(router.admin.release("d").await.status, 204);
    // The request comes before the release, or after it.
    let trigger = events.wait_live("a").await.data.trigger;
    assert!(matches!(trigger, Some(Trigger::Watch | Trigger::Request)), "{trigger:?}");
    assert_eq!(router.public.get("/a/").await.text(), "two");
    let version = router.public.get("/a/").await.version().map(str::to_owned);
    let reported = within("a reload requested meanwhile is answered", pending).await.unwrap();
    assert_eq!(reported.version, version);
    assert_eq!(router.admin.project("a").await.held_by, None);
}

#[tokio::test]
async fn projects_of_a_deploy_go_live_together() {
    let volume = volume(&["a", "b"]);
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    let probes = [Probe::start(&router.public, "/a/").await, Probe::start(&router.public, "/b/").await];
    // A client that saw the new version of one project never sees the old version of the other
    // after it.
    let watcher = tokio::spawn({
        let client = router.public.clone();
        async move {
            let mut connection = client.connect().await;
            loop {
                let mut seen = Vec::new();
                for path in ["/a/", "/b/", "/a/"] {
                    seen.push(connection.get(path).await.text());
                }
                assert!(seen.is_sorted(), "{seen:?}");
                if seen.iter().all(|label| label == "two") {
                    return;
                }
            }
        }
    });
    router.admin.hold("d", &["b", "a"]).await;
    for name in ["a", "b"] {
        volume.write(&format!("{name}/main.ts"), hello("two"));
    }
    let built = router.admin.build("d").await;
    assert_eq!(outcomes(&built), [("b", ReloadOutcome::Built), ("a", ReloadOutcome::Built)]);
    assert!(built[0].timings_ms.snapshot.is_some() && built[0].timings_ms.build.is_some(), "{built:?}");
    assert_eq!(router.public.get("/a/").await.text(), "one");
    assert_eq!(events.count(EventType::ReloadLive, "a"), 1);

    let published = router.admin.publish("d").await;
    assert_eq!(outcomes(&published), [("b", ReloadOutcome::Live), ("a", ReloadOutcome::Live)]);
    assert_eq!(published[0].version, built[0].version);
    within("both are seen", watcher).await.unwrap();
    for (name, report) in ["b", "a"].into_iter().zip(&published) {
        let reply = router.public.get(&format!("/{name}/")).await;
        assert_eq!((reply.text().as_str(), reply.version()), ("two", report.version.as_deref()));
        let ours = |event: &switchyard_contract::event::Event| event.data.version == report.version;
        let event = events.wait("the event is emitted", ours).await;
        assert_eq!(event.data.trigger, Some(Trigger::Request));
        events.wait_retired(name).await;
        let status = router.admin.project(name).await;
        assert!(status.sequence > event.data.sequence, "its retirement was reported later: {status:?}");
    }
    for probe in probes {
        probe.finish().await.no_failures().none_mixed().versions_monotonic(&["one", "two"]);
    }
}

#[tokio::test]
async fn a_deploy_that_does_not_build_is_visible_to_the_deployer_alone() {
    let volume = volume(&["a", "b"]);
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    events.wait_live("a").await;
    let probe = Probe::start(&router.public, "/a/").await;
    router.admin.hold("d", &["a", "b", "new"]).await;
    volume.write("a/main.ts", "export default {\n  fetch( {\n};\n");
    volume.write("b/main.ts", hello("two"));
    volume.write("new/main.ts", "throw new Error('no');");
    let built = router.admin.build("d").await;
    assert_eq!(
        outcomes(&built),
        [("a", ReloadOutcome::Failed), ("b", ReloadOutcome::Built), ("new", ReloadOutcome::Failed)]
    );
    let error = built[0].error.as_ref().expect("a failure has an error");
    assert_eq!(error.file.as_deref(), Some("main.ts"));
    assert!(error.line.is_some() && error.frame.is_some(), "{error:?}");
    assert!(built[0].version.is_some() && built[1].error.is_none());
    router.admin.try_publish("d").await.assert_problem(409, "not-built");

    let status = router.admin.project("a").await;
    assert_eq!((status.state, status.error), (ProjectState::Live, None));
    let reply = router.public.get("/a/").await;
    assert_eq!((reply.text().as_str(), reply.header("x-switchyard-stale")), ("one", None));
    router.public.get("/new/").await.assert_problem(404, "unknown-project");

    volume.write("a/main.ts", hello("one"));
    volume.write("b/main.ts", hello("one"));
    volume.remove("new");
    assert_eq!(router.admin.release("d").await.status, 204);
    for name in ["a", "b"] {
        assert_eq!(router.admin.reload(name).await.outcome, ReloadOutcome::Unchanged);
    }
    router.admin.client.post("/_reload/new").await.assert_problem(404, "unknown-project");
    router.admin.client.get("/projects/new").await.assert_problem(404, "unknown-project");
    all_is_seen(&volume, &mut events).await;
    let emitted = events.all();
    let of_deploy = |event: &&switchyard_contract::event::Event| event.data.project != "zzz";
    assert_eq!(emitted.iter().filter(of_deploy).count(), 2, "the first versions, and no more: {emitted:#?}");
    let report = probe.finish().await;
    report.no_failures().versions_monotonic(&["one"]);
}

#[tokio::test]
async fn a_build_may_be_sent_again_and_reads_the_volume_again() {
    let volume = volume(&["a"]);
    let router = Router::start(&volume).await;
    router.admin.hold("d", &["a"]).await;
    volume.write("a/main.ts", "throw 1");
    assert_eq!(router.admin.build("d").await[0].outcome, ReloadOutcome::Failed);
    volume.write("a/main.ts", hello("two"));
    assert_eq!(router.admin.build("d").await[0].outcome, ReloadOutcome::Built);
    volume.write("a/main.ts", hello("three"));
    let built = router.admin.build("d").await;
    assert_eq!(built[0].outcome, ReloadOutcome::Built);
    assert_eq!(router.admin.publish("d").await[0].version, built[0].version);
    assert_eq!(router.public.get("/a/").await.text(), "three");
}

#[tokio::test]
async fn live_removed_and_new_projects_are_reported_and_published_together() {
    let volume = volume(&["same", "gone", "stale"]);
    let router = Router::builder(&volume).unwatched().start().await;
    let mut events = router.events().await;
    volume.write("stale/main.ts", "throw 1");
    assert_eq!(router.admin.reload("stale").await.outcome, ReloadOutcome::Failed);
    router.admin.hold("d", &["same", "gone", "new", "never", "stale"]).await;
    volume.remove("gone");
    volume.write("new/main.ts", hello("new"));
    volume.write("stale/main.ts", hello("one"));
    let built = router.admin.build("d").await;
    let expected = [
        ("same", ReloadOutcome::Unchanged),
        ("gone", ReloadOutcome::Removed),
        ("new", ReloadOutcome::Built),
        ("never", ReloadOutcome::Removed),
        ("stale", ReloadOutcome::Unchanged),
    ];
    assert_eq!(outcomes(&built), expected);
    assert_eq!(router.public.get("/gone/").await.text(), "one");
    router.public.get("/new/").await.assert_problem(404, "unknown-project");
    assert!(router.public.get("/stale/").await.header("x-switchyard-stale").is_some());

    let published = router.admin.publish("d").await;
    let expected = expected.map(|(name, outcome)| {
        (name, if outcome == ReloadOutcome::Built { ReloadOutcome::Live } else { outcome })
    });
    assert_eq!(outcomes(&published), expected);
    router.public.get("/gone/").await.assert_problem(404, "unknown-project");
    assert_eq!(router.public.get("/new/").await.text(), "new");
    assert_eq!(router.public.get("/stale/").await.header("x-switchyard-stale"), None);
    events.wait_removed("gone").await;
    assert_eq!(events.count(EventType::ProjectRemoved, "never"), 0);
    let all = router.admin.projects().await;
    assert_eq!(all.into_keys().collect::<Vec<_>>(), ["new", "same", "stale"]);
}

#[tokio::test]
async fn changes_between_build_and_publish_are_reloaded_afterwards() {
    let volume = volume(&["a"]);
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    events.wait_live("a").await;
    router.admin.hold("d", &["a"]).await;
    volume.write("a/main.ts", hello("two"));
    let built = router.admin.build("d").await;
    volume.write("a/main.ts", hello("three"));
    all_is_seen(&volume, &mut events).await;
    assert_eq!(router.admin.publish("d").await[0].version, built[0].version);
    assert_eq!(events.wait_live("a").await.data.version, built[0].version);
    events.wait_live("a").await;
    assert_eq!(router.public.get("/a/").await.text(), "three");
}

#[tokio::test]
async fn a_hold_waits_for_the_build_under_way() {
    let volume = volume(&["a"]);
    let router = Router::builder(&volume).flag("build-timeout", 600_000).start().await;
    volume.write("a/main.ts", HANGS);
    eventually("it is being built", || async {
        router.admin.project("a").await.state == ProjectState::Building
    })
    .await;
    router.admin.hold("d", &["a"]).await;
    assert_eq!(router.admin.project("a").await.state, ProjectState::Live, "nothing is in progress");
    volume.write("a/main.ts", hello("two"));
    assert_eq!(router.admin.build("d").await[0].outcome, ReloadOutcome::Built);
    assert_eq!(router.admin.publish("d").await[0].outcome, ReloadOutcome::Live);
    assert_eq!(router.public.get("/a/").await.text(), "two");
}

#[tokio::test]
async fn a_deploy_without_any_news_is_released() {
    let volume = volume(&["a", "b"]);
    let router = Router::builder(&volume).flag("build-timeout", 600_000).start().await;
    let mut events = router.events().await;
    events.wait_live("a").await;
    let reply = router.admin.try_hold_for("d", &["a"], 100).await;
    assert_eq!(reply.status, 204, "{}", reply.text());
    volume.write("a/main.ts", hello("two"));
    events.wait_live("a").await;
    assert_eq!(router.public.get("/a/").await.text(), "two");
    assert_eq!(router.admin.project("a").await.held_by, None);
    router.admin.try_publish("d").await.assert_problem(404, "unknown-deploy");

    // The build is cancelled: its waiter gets an answer, and its result is not published.
    assert_eq!(router.admin.try_hold_for("d", &["b"], 200).await.status, 204);
    volume.write("b/main.ts", HANGS);
    let reply = router.admin.client.post("/_deploys/d/build").await;
    reply.assert_problem(404, "unknown-deploy");
    volume.write("b/main.ts", hello("three"));
    eventually("the volume is read again", || async { router.public.get("/b/").await.text() == "three" })
        .await;
}

#[tokio::test]
async fn a_failed_call_reports_the_reason() {
    let volume = volume(&["a", "b"]);
    let router = Router::builder(&volume).unwatched().start().await;
    let admin = &router.admin;
    admin.hold("d1", &["a"]).await;
    admin.hold("d1", &["a"]).await;
    let problem = admin.try_hold("d2", &["b", "a"]).await.assert_problem(409, "held");
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("d1") && detail.contains("project a"), "{problem}");
    assert_eq!(admin.project("b").await.held_by, None, "all or none");
    admin.try_hold("d1", &["a", "b"]).await.assert_problem(400, "bad-request");
    admin.try_publish("d1").await.assert_problem(409, "not-built");
    for path in ["/_deploys/none/build", "/_deploys/none/publish"] {
        admin.client.post(path).await.assert_problem(404, "unknown-deploy");
    }
    admin.release("none").await.assert_problem(404, "unknown-deploy");
    let get = admin.client.get("/_deploys/d1").await;
    get.assert_problem(405, "method-not-allowed");
    for (body, says) in [
        (r#"{"id": "d3", "projects": ["b"]}"#, "lease_ms"),
        (r#"{"id": "d3", "projects": ["B!"], "lease_ms": 1000}"#, "B!"),
        (r#"{"id": "d 3", "projects": ["b"], "lease_ms": 1000}"#, "d 3"),
        (r#"{"id": "d3", "projects": [], "lease_ms": 1000}"#, "projects"),
        (r#"{"id": "d3", "projects": ["b", "b"], "lease_ms": 1000}"#, "twice"),
        (r#"{"id": "d3", "projects": ["b"], "lease_ms": 10}"#, "600000"),
        ("what?", "line 1"),
    ] {
        let problem =
            admin.client.send(json_body(post("/_deploys", body))).await.assert_problem(400, "bad-request");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(says)), "{says}: {problem}");
    }
    let large = format!("{{\"id\": {:?}", "x".repeat(1_100_000));
    admin.client.send(json_body(post("/_deploys", large))).await.assert_problem(413, "body-too-large");
}

#[tokio::test]
async fn there_is_a_limit_to_deploys_at_once() {
    let volume = Volume::new();
    let router = Router::builder(&volume).unwatched().start().await;
    for n in 0..100 {
        router.admin.hold(&format!("d{n}"), &[&format!("p{n}")]).await;
    }
    let reply = router.admin.try_hold("one-more", &["more"]).await;
    reply.assert_problem(503, "busy");
    assert!(reply.header("retry-after").is_some());
    assert_eq!(router.admin.release("d7").await.status, 204);
    router.admin.hold("one-more", &["more"]).await;
}

#[tokio::test]
async fn a_router_that_is_to_stop_does_not_wait_for_deploys() {
    let volume = volume(&["a", "b"]);
    let router = Router::builder(&volume).flag("build-timeout", 600_000).start().await;
    router.admin.hold("built", &["a"]).await;
    volume.write("a/main.ts", hello("two"));
    router.admin.build("built").await;
    router.admin.hold("building", &["b"]).await;
    volume.write("b/main.ts", HANGS);
    let waiting = tokio::spawn({
        let admin = router.admin.clone();
        async move {
            let request = with_method(http::Method::POST, "/_deploys/building/build");
            admin.client.connect().await.try_send(request).await
        }
    });
    eventually("it is being built", || async {
        router.admin.project("b").await.state == ProjectState::Building
    })
    .await;
    router.signal(Signal::TERM);
    let ended = router.ended().await;
    assert!(ended.status.success(), "{}", ended.log.text());
    if let Ok(reply) = within("the waiting client gets an answer or is cut off", waiting).await.unwrap() {
        reply.assert_problem(503, "stopping");
    }
}

#[tokio::test]
async fn a_folder_that_is_exchanged_is_watched_and_the_bridges_own_folder_is_not() {
    let volume = volume(&["a"]);
    volume.write("a/lib/x.ts", "export const x = 'one';\n");
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    events.wait_live("a").await;
    let watched = router.admin.metric("switchyard_watched_directories", "").await;
    let staged = ".switchyard-bridge/staging/d/a";
    volume.write(
        &format!("{staged}/main.ts"),
        "import { x } from './lib/x.ts';\nexport default { fetch: () => new Response(x) };\n",
    );
    volume.write(&format!("{staged}/lib/x.ts"), "export const x = 'two';\n");
    for round in 0..3 {
        volume.exchange("a", staged);
        events.wait_live("a").await;
        // The old tree is removed without effect.
        volume.remove(staged);
        let label = format!("round {round}");
        volume.write("a/lib/x.ts", format!("export const x = {label:?};\n"));
        events.wait_live("a").await;
        assert_eq!(router.public.get("/a/").await.text(), label);
        let again = format!("again {round}");
        volume.write("a/lib/x.ts", format!("export const x = {again:?};\n"));
        events.wait_live("a").await;
        assert_eq!(router.public.get("/a/").await.text(), again);
        volume.copy_in(&volume.path("a"), staged);
        volume.write(&format!("{staged}/lib/x.ts"), format!("export const x = 'next {round}';\n"));
    }
    assert_eq!(router.admin.projects().await.into_keys().collect::<Vec<_>>(), ["a"]);
    assert_eq!(router.admin.metric("switchyard_watched_directories", "").await, watched);
    assert!(events.all().iter().all(|event| event.data.project == "a"));
}
