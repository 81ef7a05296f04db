//! The state that survives a restart of the router, and the end of the router.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use rustix::process::Signal;
use switchyard_contract::admin::{self, ReloadOutcome};
use switchyard_integration::client::Upload;
use switchyard_integration::eventually;
use switchyard_integration::fixtures::{hello, lasting};
use switchyard_integration::router::{Router, State};
use switchyard_integration::volume::Volume;

#[tokio::test]
async fn after_a_restart_the_last_good_version_is_served_though_the_volume_is_broken() {
    let (volume, state) = (Volume::with("a", hello("one")), State::new());
    let router = Router::builder(&volume).state(&state).unwatched().start().await;
    let good = router.public.get("/a/").await.version().map(str::to_owned);
    assert!(router.stop().await.status.success());
    volume.write("a/main.ts", "export default {");
    let router = Router::builder(&volume).state(&state).unwatched().start().await;
    let reply = router.public.get("/a/").await;
    assert_eq!((reply.text().as_str(), reply.version()), ("one", good.as_deref()));
    assert!(reply.header("x-switchyard-stale").is_some());
    let project = router.admin.project("a").await;
    assert_eq!(project.state, admin::ProjectState::Failed);
    assert_eq!(project.last_good.map(|good| good.version), good);
    volume.write("a/main.ts", hello("two"));
    assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Live);
    assert_eq!(router.public.get("/a/").await.text(), "two");
}

#[tokio::test]
async fn what_a_project_has_printed_is_shown_after_a_restart_with_its_version() {
    let code =
        "export default { fetch: (request) => { console.log(request.url); return new Response('ok'); } };";
    let (volume, state) = (Volume::with("a", code), State::new());
    let start = || Router::builder(&volume).state(&state).unwatched().start();
    let router = start().await;
    let version = router.public.get("/a/before").await.version().map(str::to_owned);
    let lines = async |router: &Router| router.admin.client.get("/projects/a/logs").await.text();
    eventually("the line is kept", || async { lines(&router).await.contains("/before") }).await;
    assert!(router.stop().await.status.success());
    let router = start().await;
    let earlier = lines(&router).await;
    let has_version = version.is_some_and(|version| earlier.contains(&format!("\"{version}\"")));
    assert!(earlier.contains("/before") && has_version, "{earlier}");
    router.public.get("/a/after").await;
    eventually("the next line follows", || async { lines(&router).await.contains("/after") }).await;
    let all = lines(&router).await;
    assert_eq!(all.matches("event: line").count(), 2, "{all}");
    assert!(all.find("/before") < all.find("/after"), "{all}");
}

#[tokio::test]
async fn the_last_good_version_is_served_at_once_also_while_the_broken_one_still_builds() {
    let (volume, state) = (Volume::with("a", hello("one")), State::new());
    let router = Router::builder(&volume).state(&state).start().await;
    assert!(router.stop().await.status.success());
    volume.write("a/main.ts", "await new Promise(() => setInterval(() => {}, 1000));");
    let builder = Router::builder(&volume).state(&state).flag("build-timeout", 600_000);
    let router = builder.start_unready().await;
    eventually("the last good version answers", || async { router.public.get("/a/").await.text() == "one" })
        .await;
    eventually("the broken one is being built", || async {
        router.admin.project("a").await.state == admin::ProjectState::Building
    })
    .await;
    assert_eq!(router.public.get("/a/").await.text(), "one");
}

#[tokio::test]
async fn after_a_restart_many_failures_are_shown_at_once_and_tried_again_later() {
    // Ten more than the scan tries again.
    let (volume, state) = (broken(20), State::new());
    let router = Router::builder(&volume).state(&state).unwatched().start().await;
    assert!(router.stop().await.status.success());
    let router = Router::builder(&volume).state(&state).unwatched().start().await;
    for (name, project) in router.admin.projects().await {
        let message = project.error.map(|error| error.message).unwrap_or_default();
        assert!(message.contains("broken"), "{name}: {message}");
    }
    // The first retry comes after five seconds.
    let later = || std::future::ready(tried_later(&router, SignedDuration::from_secs(4)) == 10);
    eventually("ten are tried later", later).await;
}

#[tokio::test]
async fn failures_that_were_not_tried_since_are_known_after_a_further_restart() {
    let (volume, state) = (broken(30), State::new());
    for expected in [30, 10, 10] {
        let router = Router::builder(&volume).state(&state).unwatched().start().await;
        let log = router.stop().await.log.text();
        assert_eq!(log.matches("tried it").count(), expected, "{log}");
    }
}

/// A volume with so many projects that fail at their start.
fn broken(projects: usize) -> Volume {
    let volume = Volume::new();
    for n in 0..projects {
        volume.write(&format!("p{n}/main.ts"), "console.log('tried it'); throw new Error('broken');");
    }
    volume
}

/// Returns how many projects were tried so long after their failure was shown, and not before.
fn tried_later(router: &Router, pause: SignedDuration) -> usize {
    let mut times: BTreeMap<String, [Option<Timestamp>; 2]> = BTreeMap::new();
    for record in router.log.records() {
        let Some(project) = record["project.name"].as_str() else { continue };
        let message = record["message"].as_str().unwrap_or_default();
        let kinds = [message.contains("failed: Error: broken"), message == "tried it"];
        let at: Option<Timestamp> = record["timestamp"].as_str().and_then(|text| text.parse().ok());
        let known = times.entry(project.to_owned()).or_default();
        for (known, _) in known.iter_mut().zip(kinds).filter(|(_, is)| *is) {
            *known = known.or(at);
        }
    }
    let is_later = |times: &&[Option<Timestamp>; 2]| match times {
        [Some(failed), Some(tried)] => tried.duration_since(*failed) > pause,
        _ => false,
    };
    times.values().filter(is_later).count()
}

#[tokio::test]
async fn after_a_restart_with_more_projects_than_cells_each_version_starts_with_its_first_request() {
    let (volume, state) = (Volume::new(), State::new());
    for name in ["a", "b", "c"] {
        volume.write(&format!("{name}/main.ts"), hello(name));
    }
    let start =
        |cells: usize| Router::builder(&volume).state(&state).flag("max-cells", cells).unwatched().start();
    assert!(start(3).await.stop().await.status.success());
    let router = start(3).await;
    assert!(router.admin.projects().await.values().all(|project| project.pid.is_some()), "all can run");
    assert!(router.stop().await.status.success());
    volume.write("c/main.ts", hello("changed"));
    let router = start(2).await;
    let projects = router.admin.projects().await;
    let running: Vec<_> = projects.values().map(|project| (&*project.name, project.pid.is_some())).collect();
    assert_eq!(running, [("a", false), ("b", false), ("c", true)], "a changed one is built");
    for (name, text) in [("a", "a"), ("b", "b"), ("c", "changed")] {
        assert_eq!(router.public.get(&format!("/{name}/")).await.text(), text);
    }
}

#[tokio::test]
async fn a_router_that_was_killed_leaves_nothing_that_stops_the_next_one() {
    let (volume, state) = (Volume::with("a", hello("one")), State::new());
    let router = Router::builder(&volume).state(&state).start().await;
    volume.write("a/main.ts", hello("two"));
    router.signal(Signal::KILL);
    router.ended().await;
    let router = Router::builder(&volume).state(&state).start().await;
    assert_eq!(router.public.get("/a/").await.text(), "two");
}

#[tokio::test]
async fn a_removed_project_is_not_brought_back_by_a_restart() {
    let (volume, state) = (Volume::with("a", hello("one")), State::new());
    let router = Router::builder(&volume).state(&state).start().await;
    assert!(router.stop().await.status.success());
    volume.remove("a");
    let router = Router::builder(&volume).state(&state).start().await;
    router.public.get("/a/").await.assert_problem(404, "unknown-project");
}

#[tokio::test]
async fn sigterm_lets_requests_in_flight_end_and_exits_with_0() {
    let volume = Volume::with("a", lasting("one"));
    let router = Router::start(&volume).await;
    let mut connection = router.public.connect().await;
    let (upload, request) = Upload::post("/a/echo");
    upload.send("1").await;
    let mut stream = connection.stream(request).await;
    assert_eq!(stream.next().await.as_deref(), Some("one 1"));
    let public = router.public.clone();
    router.signal(Signal::TERM);
    eventually("no new connection is taken", || async { public.try_connect().await.is_err() }).await;
    upload.send("2").await;
    assert_eq!(stream.next().await.as_deref(), Some("one 2"));
    upload.end();
    assert_eq!(stream.next().await, None);
    let ended = router.ended().await;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log.text());
}

#[tokio::test]
async fn sigterm_is_bounded_by_the_grace_time() {
    let volume = Volume::with("a", lasting("one"));
    let router = Router::builder(&volume).flag("grace", 300).start().await;
    let mut connection = router.public.connect().await;
    let (upload, request) = Upload::post("/a/echo");
    upload.send("1").await;
    let mut stream = connection.stream(request).await;
    assert_eq!(stream.next().await.as_deref(), Some("one 1"));
    assert_eq!(router.stop().await.status.code(), Some(0));
}

#[tokio::test]
async fn no_cell_outlives_a_router_that_is_killed() {
    let volume = Volume::with("a", "export default { fetch: () => new Response(String(Deno.pid)) };");
    let router = Router::start(&volume).await;
    let cell: u32 = router.public.get("/a/").await.text().parse().expect("a process id");
    let runs =
        || std::fs::read_to_string(format!("/proc/{cell}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    assert!(runs());
    router.signal(Signal::KILL);
    eventually("the cell ends", || std::future::ready(!runs())).await;
    router.ended().await;
}
