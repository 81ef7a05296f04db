//! Unreachable routers delay no deploy, catch up automatically, and serve no older version until
//! then.

use std::time::Instant;

use rustix::process::Signal;
use switchyard_contract::deploy::DeployOutcome;
use switchyard_integration::bridge::Bridge;
use switchyard_integration::bridge::record::Record;
use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::client::{post, with_method};
use switchyard_integration::eventually;
use switchyard_integration::fixtures::{hello, slow};
use switchyard_integration::probe::Probe;
use switchyard_integration::upload::Upload;
use switchyard_integration::volume::Volume;

/// A deploy with a long timeout for routers: waiting for an absent one would fail the test.
const PATIENT: u64 = 120_000;

async fn two(volume: &Volume) -> (Replicas, Bridge) {
    let routers = Replicas::start(volume, 2).await;
    let bridge = routers.bridge().flag("deploy-timeout", PATIENT).start().await;
    bridge.asks_all().await;
    (routers, bridge)
}

/// Checks that the record names router 1, and it alone, as behind.
fn assert_second_is_behind(record: &Record, routers: &Replicas) {
    let url = routers.admin_url(1);
    assert_eq!(record.behind, std::slice::from_ref(&url), "{record:#?}");
    let entry = record.routers.iter().find(|entry| entry.router == url);
    assert!(entry.is_some_and(|entry| entry.error.is_some()), "{record:#?}");
}

/// Waits until no router is behind any more.
async fn all_caught_up(bridge: &Bridge) {
    eventually("no router is behind", || async {
        let projects = bridge.client.get("/projects").await.json();
        let routers = projects["routers"].as_array().expect("routers are listed");
        routers.iter().all(|router| router["behind"].as_array().is_some_and(Vec::is_empty))
    })
    .await;
}

fn marks(volume: &Volume) -> Vec<String> {
    let entries = std::fs::read_dir(volume.path(".switchyard-bridge/behind")).expect("the folder exists");
    entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[tokio::test]
async fn a_dead_router_is_named_and_catches_up_when_it_is_back() {
    let volume = Volume::with("a", hello("old"));
    let (mut routers, bridge) = two(&volume).await;
    routers.kill(1).await;
    let record = bridge.deploy_live("a", &Upload::main(hello("new"))).await;
    assert_second_is_behind(&record, &routers);
    let answered = Instant::now();
    assert_eq!(bridge.project("a").await["routers"][1]["behind"], true);
    let probe = Probe::with_connections(&bridge.forward, "/a/", 4).await;
    routers.start_again(1).await;
    eventually("it has caught up", || async { routers.texts("/a/").await == ["new", "new"] }).await;
    all_caught_up(&bridge).await;
    probe.pass(100).await;
    probe.finish().await.no_failures().after(answered, "new");
    bridge.asks_all().await;
    let record = bridge.deploy_live("a", &Upload::main(hello("newer"))).await;
    assert_eq!(record.behind, Vec::<String>::new());
    assert_eq!(routers.texts("/a/").await, ["newer", "newer"]);
}

#[tokio::test]
async fn a_hung_router_is_detected_and_holds_nothing_when_it_resumes() {
    let volume = Volume::with("a", hello("old"));
    let (routers, bridge) = two(&volume).await;
    // The deploy asks it to hold before the bridge knows that it hangs.
    routers[1].signal(Signal::STOP);
    let mut phases = bridge.follow(Upload::main(hello("new")).to("/deploy/a")).await;
    let mut named = false;
    let (status, body) = loop {
        let message = phases.next().await.expect("the events end with done");
        if message.event == "done" {
            break (message.data["status"].clone(), message.data["body"].clone());
        }
        let of_second = message.data["router"] == routers.admin_url(1);
        named |= of_second && message.data["outcome"] == "unreachable" && message.data["phase"] == "hold";
    };
    assert_eq!(status, 200, "{body}");
    assert!(named, "the phases name it");
    assert_eq!(body["behind"], serde_json::json!([routers.admin_url(1)]), "{body}");
    let answered = Instant::now();
    let probe = Probe::with_connections(&bridge.forward, "/a/", 4).await;
    routers.go_on(1);
    eventually("it has caught up", || async { routers.texts("/a/").await == ["new", "new"] }).await;
    all_caught_up(&bridge).await;
    probe.pass(100).await;
    probe.finish().await.no_failures().after(answered, "new");
}

#[tokio::test]
async fn a_router_that_is_known_to_hang_gets_no_calls_and_delays_nothing() {
    let volume = Volume::with("a", hello("old"));
    let (routers, bridge) = two(&volume).await;
    routers.hang(1, &bridge).await;
    for label in ["one", "two"] {
        let record = bridge.deploy_live("a", &Upload::main(hello(label))).await;
        assert_second_is_behind(&record, &routers);
    }
    routers.go_on(1);
    eventually("it has caught up", || async { routers.texts("/a/").await == ["two", "two"] }).await;
    all_caught_up(&bridge).await;
}

#[tokio::test]
async fn a_router_that_goes_away_in_any_phase_holds_up_nothing() {
    let volume = Volume::with("a", hello("0"));
    let (mut routers, bridge) = two(&volume).await;
    let probe = Probe::start(&bridge.forward, "/a/").await;
    for (label, phase, signal) in [
        ("1", "hold", Signal::KILL),
        ("2", "build", Signal::KILL),
        ("3", "publish", Signal::KILL),
        ("4", "build", Signal::STOP),
    ] {
        let mut phases = bridge.follow(Upload::main(slow(label, 300)).to("/deploy/a")).await;
        phases.until(phase).await;
        routers[1].signal(signal);
        let (status, body) = phases.done().await;
        assert_eq!(status, 200, "{phase}: {body}");
        if phase == "build" {
            assert_eq!(body["behind"], serde_json::json!([routers.admin_url(1)]), "{body}");
        }
        assert_eq!(bridge.forward.get("/a/").await.text(), label);
        if signal == Signal::STOP {
            routers.go_on(1);
        } else {
            routers.take(1).ended().await;
            routers.start_again(1).await;
        }
        eventually("both serve it", || async { routers.texts("/a/").await == [label, label] }).await;
        all_caught_up(&bridge).await;
        bridge.asks_all().await;
    }
    probe.finish().await.no_failures().versions_monotonic(&["0", "1", "2", "3", "4"]);
}

#[tokio::test]
async fn rollbacks_removals_and_several_projects_work_without_a_dead_router() {
    let volume = Volume::with("a", hello("one"));
    for name in ["b", "gone"] {
        volume.project(name).file("main.ts", hello("one")).write();
    }
    let (mut routers, bridge) = two(&volume).await;
    bridge.deploy_live("a", &Upload::main(hello("two"))).await;
    routers.kill(1).await;
    let files = [("b/main.ts", hello("two")), ("c/main.ts", hello("two"))];
    let record = Record::of(&bridge.client.send(Upload::curl(&files).to("/deploy")).await);
    assert_second_is_behind(&record, &routers);
    let record = Record::of(&bridge.client.send(post("/projects/a/rollback", "")).await);
    assert_second_is_behind(&record, &routers);
    let delete = with_method(http::Method::DELETE, "/projects/gone");
    let record = Record::of(&bridge.client.send(delete).await);
    assert_eq!(record.outcome, Some(DeployOutcome::Removed), "{record:#?}");
    assert_second_is_behind(&record, &routers);

    let probes = [Probe::start(&bridge.forward, "/a/").await, Probe::start(&bridge.forward, "/b/").await];
    routers.start_again(1).await;
    for (path, label) in [("/a/", "one"), ("/b/", "two"), ("/c/", "two")] {
        eventually("both serve it", || async { routers.texts(path).await == [label, label] }).await;
    }
    all_caught_up(&bridge).await;
    for (probe, label) in probes.into_iter().zip(["one", "two"]) {
        probe.pass(20).await;
        probe.finish().await.no_failures().versions_monotonic(&[label]);
    }
    bridge.forward.get("/gone/").await.assert_problem(404, "unknown-project");
}

#[tokio::test]
async fn a_router_that_is_starting_holds_up_nothing() {
    let volume = Volume::with("a", hello("old"));
    let (mut routers, bridge) = two(&volume).await;
    routers.kill(1).await;
    // The router is ready only when this version is built; by then the deploy was answered.
    volume.write("slow/main.ts", slow("slow", 9000));
    routers.start_unready(1).await;
    let record = bridge.deploy_live("a", &Upload::main(hello("new"))).await;
    assert_eq!(routers[1].admin.client.get("/readyz").await.status, 503);
    assert!(record.routers.iter().any(|entry| !entry.reports.is_empty()), "{record:#?}");
    assert_eq!(bridge.forward.get("/a/").await.text(), "new");
    eventually("both serve it", || async { routers.texts("/a/").await == ["new", "new"] }).await;
}

#[tokio::test]
async fn a_router_that_is_stopping_holds_up_nothing() {
    let volume = Volume::with("a", hello("old"));
    let routers = Replicas::start_each(volume.root(), 2, |index, router| {
        if index == 1 { router.flag("drain-delay", PATIENT) } else { router }
    })
    .await;
    let bridge = routers.bridge().flag("deploy-timeout", PATIENT).start().await;
    bridge.asks_all().await;
    routers[1].signal(Signal::TERM);
    bridge.deploy_live("a", &Upload::main(hello("new"))).await;
    assert_eq!(bridge.forward.get("/a/").await.text(), "new");
}

#[tokio::test]
async fn where_no_router_can_be_reached_nothing_is_changed() {
    let volume = Volume::with("a", hello("old"));
    let (routers, bridge) = two(&volume).await;
    for index in 0..2 {
        routers[index].signal(Signal::STOP);
    }
    for _ in 0..2 {
        let problem = bridge.deploy("a", &Upload::main(hello("new"))).await.assert_problem(503, "no-routers");
        for index in 0..2 {
            let url = routers.admin_url(index);
            assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(&url)), "{problem}");
        }
        assert_eq!(volume.read("a/main.ts"), hello("old"));
    }
    bridge.clean().await;
    for index in 0..2 {
        routers.go_on(index);
    }
    bridge.asks_all().await;
    // The failed deploys no longer hold anything.
    volume.replace("a/main.ts", hello("editor"));
    eventually("an editor's change is served by both", || async {
        routers.texts("/a/").await == ["editor", "editor"]
    })
    .await;
}

#[tokio::test]
async fn marks_of_routers_that_are_behind_survive_a_restart_of_the_bridge() {
    let volume = Volume::with("a", hello("old"));
    volume.project("b").file("main.ts", hello("b")).write();
    let routers = Replicas::start(&volume, 2).await;
    let bridge = routers.bridge().flag("quorum", 1).start().await;
    bridge.asks_all().await;
    routers.hang(1, &bridge).await;
    bridge.deploy_live("a", &Upload::main(hello("new"))).await;
    let answered = Instant::now();
    bridge.kill().await;
    assert_eq!(marks(&volume), ["a.json"]);

    let bridge = routers.bridge().flag("quorum", 1).start().await;
    let probe = Probe::with_connections(&bridge.forward, "/a/", 4).await;
    let other = Probe::start(&bridge.forward, "/b/").await;
    probe.pass(50).await;
    routers.go_on(1);
    all_caught_up(&bridge).await;
    assert_eq!(routers.texts("/a/").await, ["new", "new"]);
    probe.pass(200).await;
    probe.finish().await.no_failures().after(answered, "new");
    other.finish().await.no_failures().versions_monotonic(&["b"]);
    eventually("its marks are cleaned up", || std::future::ready(marks(&volume).is_empty())).await;
}

#[tokio::test]
async fn a_router_that_is_not_configured_any_more_leaves_no_marks() {
    let volume = Volume::with("a", hello("old"));
    let (mut routers, bridge) = two(&volume).await;
    routers.kill(1).await;
    bridge.deploy_live("a", &Upload::main(hello("new"))).await;
    assert_eq!(marks(&volume), ["a.json"]);
    bridge.kill().await;
    let bridge = Bridge::builder(&volume).router(&routers[0]).at(&routers.addresses).start().await;
    eventually("its marks are cleaned up", || std::future::ready(marks(&volume).is_empty())).await;
    let record = bridge.deploy_live("a", &Upload::main(hello("newer"))).await;
    assert_eq!(record.behind, Vec::<String>::new());
}
