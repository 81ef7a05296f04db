//! A change on the volume, under a steady probe.

use std::time::{Duration, Instant};

use switchyard_contract::admin::{ProjectState, ReloadOutcome};
use switchyard_contract::event::{EventType, Trigger};
use switchyard_integration::client::Upload;
use switchyard_integration::eventually;
use switchyard_integration::fixtures::{half, hello, pair};
use switchyard_integration::probe::Probe;
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;

#[tokio::test]
async fn a_change_is_picked_up_without_a_lost_request() {
    let volume = Volume::with("a", hello("one"));
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    let first = events.wait_live("a").await;
    let probe = Probe::start(&router.public, "/a/").await;
    volume.write("a/main.ts", hello("two"));
    let live = events.wait_live("a").await;
    let report = probe.finish().await;
    report.no_failures().none_mixed().versions_monotonic(&["one", "two"]);
    assert_eq!(live.data.previous, first.data.version);
    assert_eq!(live.data.trigger, Some(Trigger::Watch));
    assert_eq!(router.public.get("/a/").await.version(), live.data.version.as_deref());
}

#[tokio::test]
async fn after_the_event_no_new_request_is_answered_by_the_old_version() {
    let volume = Volume::with("a", hello("v0"));
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    events.wait_live("a").await;
    let probe = Probe::with_connections(&router.public, "/a/", 4).await;
    let labels: Vec<_> = (0..=5).map(|index| format!("v{index}")).collect();
    let mut changes = Vec::new();
    for label in &labels[1..] {
        volume.replace("a/main.ts", hello(label));
        events.wait_live("a").await;
        changes.push((Instant::now(), label));
        probe.pass(8).await;
    }
    let report = probe.finish().await;
    let order: Vec<_> = labels.iter().map(String::as_str).collect();
    report.no_failures().none_mixed().versions_monotonic(&order);
    let (last, label) = changes.last().unwrap();
    report.after(*last, label);
}

#[tokio::test]
async fn a_new_project_goes_live_while_another_keeps_serving() {
    let volume = Volume::with("a", hello("a"));
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    let probe = Probe::start(&router.public, "/a/").await;
    router.public.get("/b/").await.assert_problem(404, "unknown-project");
    volume
        .project("b")
        .file("main.ts", pair())
        .file("a.ts", half("a", "1"))
        .file("b.ts", half("b", "2"))
        .write();
    events.wait_live("b").await;
    assert_eq!(router.public.get("/b/").await.text(), "1:2");
    probe.finish().await.no_failures().versions_monotonic(&["a"]);
}

#[tokio::test]
async fn three_projects_deployed_at_once_are_routable_within_five_seconds() {
    let volume = Volume::with("a", hello("a"));
    let router = Router::builder(&volume).flag("debounce", 500).start().await;
    let mut events = router.events().await;
    let began = Instant::now();
    for name in ["x", "y", "z"] {
        volume.project(name).file("main.ts", hello(name)).write();
    }
    for name in ["x", "y", "z"] {
        events.wait_live(name).await;
        assert_eq!(router.public.get(&format!("/{name}/")).await.text(), name);
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn touching_a_file_or_writing_the_same_bytes_builds_nothing() {
    let volume = Volume::with("a", hello("one"));
    volume.project("b").file("main.ts", hello("one")).write();
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    let first = events.wait_live("a").await;
    events.wait_live("b").await;
    volume.write("a/main.ts", volume.read("a/main.ts"));
    volume.replace("a/main.ts", volume.read("a/main.ts"));
    let file = std::fs::File::open(volume.path("a/main.ts")).unwrap();
    file.set_modified(std::time::SystemTime::now()).unwrap();
    // A later change beside it shows that the router has had the time to see the earlier ones.
    volume.write("b/main.ts", hello("two"));
    events.wait_live("b").await;
    let unchanged = router.admin.reload("a").await;
    assert_eq!(unchanged.outcome, ReloadOutcome::Unchanged);
    assert_eq!(unchanged.version, first.data.version);
    assert_eq!(events.count(EventType::ReloadLive, "a"), 1);
}

#[tokio::test]
async fn changes_of_ignored_files_build_nothing() {
    let volume = Volume::with("a", hello("one"));
    let router = Router::builder(&volume).unwatched().start().await;
    for leftover in ["a/.git/HEAD", "a/main.ts~", "a/.#main.ts", "a/.main.ts.swp", "a/4913", "a/.DS_Store"] {
        volume.write(leftover, "x");
    }
    volume.write("a/node_modules/.cache/x.js", "x");
    assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Unchanged);
    volume.write("a/package-lock.json", "{}");
    assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Live);
}

#[tokio::test]
async fn going_back_to_an_earlier_content_is_going_back_to_its_version() {
    let volume = Volume::with("a", hello("one"));
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    let first = events.wait_live("a").await;
    volume.replace("a/main.ts", hello("two"));
    events.wait_live("a").await;
    volume.replace("a/main.ts", hello("one"));
    let back = events.wait_live("a").await;
    assert_eq!((back.data.version, back.data.digest), (first.data.version, first.data.digest));
    assert_eq!(router.public.get("/a/").await.text(), "one");
}

#[tokio::test]
async fn every_module_of_the_graph_is_fresh() {
    let volume = Volume::new();
    let main = r#"
        import data from "./data.json" with { type: "json" };
        import { deep } from "./lib/deep.ts";
        const text = Deno.readTextFileSync("t.txt");
        export default { fetch: () => new Response(deep + data.x + text) };
    "#;
    volume
        .project("a")
        .file("main.ts", main)
        .file("lib/deep.ts", "export { deep } from './deeper.ts';")
        .file("lib/deeper.ts", "export const deep = '1';")
        .file("data.json", r#"{"x": "1"}"#)
        .file("t.txt", "1")
        .write();
    let router = Router::builder(&volume).unwatched().start().await;
    assert_eq!(router.public.get("/a/").await.text(), "111");
    for (path, text, expected) in [
        ("a/lib/deeper.ts", "export const deep = '2';", "211"),
        ("a/data.json", r#"{"x": "2"}"#, "221"),
        ("a/t.txt", "2", "222"),
    ] {
        volume.replace(path, text);
        assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Live, "{path}");
        assert_eq!(router.public.get("/a/").await.text(), expected, "{path}");
    }
}

#[tokio::test]
async fn an_old_version_goes_on_with_old_code_for_late_imports() {
    let volume = Volume::new();
    let main = "Deno.serve(async (request) => {
            await request.text();
            return new Response((await import('./late.ts')).late);
        });";
    volume.project("a").file("main.ts", main).file("late.ts", "export const late = 'old';").write();
    let router = Router::builder(&volume).unwatched().start().await;
    let (upload, request) = Upload::post("/a/");
    let client = router.public.clone();
    let held = tokio::spawn(async move { client.send(request).await });
    eventually("it is in flight", || async { router.admin.project("a").await.in_flight == 1 }).await;
    volume.replace("a/late.ts", "export const late = 'new';");
    assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Live);
    assert_eq!(router.public.get("/a/").await.text(), "new");
    upload.end();
    assert_eq!(held.await.unwrap().text(), "old");
}

#[tokio::test]
async fn one_project_that_takes_long_to_build_does_not_hold_up_another() {
    let volume = Volume::with("a", hello("one"));
    volume.project("b").file("main.ts", hello("one")).write();
    let router = Router::builder(&volume).flag("build-timeout", 60_000).start().await;
    let mut events = router.events().await;
    events.wait_live("b").await;
    volume.replace("a/main.ts", "await new Promise(() => setInterval(() => {}, 1000));");
    eventually("a is being built", || async {
        router.admin.project("a").await.state == ProjectState::Building
    })
    .await;
    volume.replace("b/main.ts", hello("two"));
    events.wait_live("b").await;
    assert_eq!(router.public.get("/a/").await.text(), "one");
    assert_eq!(router.public.get("/b/").await.text(), "two");
}
