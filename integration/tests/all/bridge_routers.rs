//! A router dies, hangs or comes back in the middle of a deploy.

use rustix::process::Signal;
use switchyard_integration::bridge::Bridge;
use switchyard_integration::bridge::phases::Phases;
use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::eventually;
use switchyard_integration::fixtures::{hello, slow};
use switchyard_integration::probe::Probe;
use switchyard_integration::upload::Upload;
use switchyard_integration::volume::Volume;

async fn mid_deploy(bridge: &Bridge) -> Phases {
    let mut phases = bridge.follow(Upload::main(slow("new", 1500)).to("/deploy/a")).await;
    phases.until("build").await;
    phases
}

#[tokio::test]
async fn with_a_quorum_of_all_a_router_killed_in_mid_deploy_is_named_in_a_504() {
    let volume = Volume::with("a", hello("old"));
    let mut routers = Replicas::start(&volume, 2).await;
    let bridge = routers.bridge().flag("quorum", 2).flag("deploy-timeout", 4000).start().await;
    let probe = Probe::start(&routers[0].public, "/a/").await;
    let mut phases = mid_deploy(&bridge).await;
    routers.kill(1).await;
    let (status, problem) = phases.done().await;
    assert_eq!((status, problem["type"].as_str()), (504, Some("urn:switchyard:problem:routers-unreachable")));
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("volume")), "{problem}");
    let silent = problem["routers"].as_array().unwrap().iter().find(|entry| !entry["error"].is_null());
    assert_eq!(silent.map(|entry| &entry["router"]), Some(&routers.admin_url(1).into()), "{problem}");

    routers.start_again(1).await;
    bridge.clean().await;
    let main = volume.read("a/main.ts");
    assert!(main == hello("old") || main == slow("new", 1500), "{main}");
    let label = if main == hello("old") { "old" } else { "new" };
    eventually("both serve the volume's version", || async { routers.texts("/a/").await == [label, label] })
        .await;
    probe.finish().await.no_failures().none_mixed().versions_monotonic(&["old", "new"]);
    bridge.asks_all().await;
    bridge.deploy_live("a", &Upload::main(hello("next"))).await;
    assert_eq!(routers.texts("/a/").await, ["next", "next"]);
}

#[tokio::test]
async fn a_router_that_is_back_in_time_takes_part_or_is_named() {
    let volume = Volume::with("a", hello("old"));
    let mut routers = Replicas::start(&volume, 2).await;
    let bridge = routers.start_bridge().await;
    let probe = Probe::start(&routers[0].public, "/a/").await;
    let mut phases = mid_deploy(&bridge).await;
    routers.kill(1).await;
    routers.start_again(1).await;
    let (status, answer) = phases.done().await;
    assert!(matches!(status, 200 | 504), "{answer}");
    if status == 200 {
        assert_eq!(routers.texts("/a/").await, ["new", "new"]);
    }
    let label = if volume.read("a/main.ts") == hello("old") { "old" } else { "new" };
    eventually("both serve the volume's version", || async { routers.texts("/a/").await == [label, label] })
        .await;
    probe.finish().await.no_failures().none_mixed().versions_monotonic(&["old", "new"]);
}

#[tokio::test]
async fn with_a_quorum_of_one_a_dead_router_holds_up_nothing() {
    let volume = Volume::with("a", hello("old"));
    let mut routers = Replicas::start(&volume, 2).await;
    let bridge = routers.bridge().flag("quorum", 1).flag("deploy-timeout", 4000).start().await;
    routers.kill(1).await;
    let record = bridge.deploy_live("a", &Upload::main(hello("new"))).await;
    assert_eq!(routers.texts("/a/").await, ["new"]);
    let dead = record.routers.iter().find(|entry| entry.router == routers.admin_url(1));
    assert!(dead.is_some_and(|entry| entry.error.is_some()), "{record:#?}");
    routers.start_again(1).await;
    assert_eq!(routers.texts("/a/").await, ["new", "new"]);
}

#[tokio::test]
async fn a_router_that_is_paused_and_resumed_holds_nothing_forever() {
    let volume = Volume::with("a", hello("old"));
    let routers = Replicas::start(&volume, 2).await;
    let bridge = routers.bridge().flag("deploy-timeout", 2000).start().await;
    let mut phases = mid_deploy(&bridge).await;
    routers[1].signal(Signal::STOP);
    let (status, problem) = phases.done().await;
    routers[1].signal(Signal::CONT);
    assert_eq!(status, 504, "{problem}");
    volume.replace("a/main.ts", hello("editor"));
    eventually("an editor's change is served by both", || async {
        routers.texts("/a/").await == ["editor", "editor"]
    })
    .await;
}
