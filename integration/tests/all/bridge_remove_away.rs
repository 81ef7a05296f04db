//! Removals while a router is away: they do not wait for it, and when it is back it gives the
//! removed project's data to no other.

use std::fs;
use std::path::PathBuf;

use http::Method;
use rustix::process::Signal;
use switchyard_contract::deploy::DeployOutcome;
use switchyard_integration::bridge::Bridge;
use switchyard_integration::bridge::record::Record;
use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::client::with_method;
use switchyard_integration::eventually;
use switchyard_integration::fixtures::hello;
use switchyard_integration::upload::Upload;
use switchyard_integration::volume::Volume;

/// Routers are given this much time (in ms): a removal that waits for one that is away fails the
/// test by that.
const PATIENT: u64 = 120_000;

/// A project that answers with the first name that it was asked with (`?as=`): its data reveals its
/// owner, whichever version reads it.
const OWNED: &str = "
    const file = Deno.env.get('DATA_DIR') + '/owner';
    export default { fetch(request) {
        try {
            return new Response(Deno.readTextFileSync(file));
        } catch {
            const owner = new URL(request.url).searchParams.get('as');
            Deno.writeTextFileSync(file, owner);
            return new Response(owner);
        }
    } };";

async fn start_bridge(routers: &Replicas) -> Bridge {
    routers.bridge().flag("deploy-timeout", PATIENT).start().await
}

/// Two routers, each with data of `a` that the name `old` owns.
async fn two_with_data(volume: &Volume) -> (Replicas, Bridge) {
    let routers = Replicas::start(volume, 2).await;
    let bridge = start_bridge(&routers).await;
    bridge.asks_all().await;
    bridge.deploy_live("a", &Upload::main(OWNED)).await;
    assert_eq!(routers.texts("/a/?as=old").await, ["old", "old"]);
    (routers, bridge)
}

async fn remove(bridge: &Bridge, fate: &str) -> Record {
    let request = with_method(Method::DELETE, &format!("/projects/a?data={fate}"));
    let record = Record::of(&bridge.client.send(request).await);
    assert_eq!(record.outcome, Some(DeployOutcome::Removed), "{record:#?}");
    record
}

/// Makes router 1 unreachable without notice: it is stopped, or killed.
async fn go_away(routers: &mut Replicas, signal: Signal) {
    if signal == Signal::STOP {
        routers[1].signal(signal);
    } else {
        routers.kill(1).await;
    }
}

async fn come_back(routers: &mut Replicas, signal: Signal) {
    if signal == Signal::STOP {
        routers.go_on(1);
    } else {
        routers.start_again(1).await;
    }
}

/// Returns `true` if the bridge reports both routers as ready, and none as behind.
async fn is_caught_up(bridge: &Bridge) -> bool {
    let shown = bridge.client.get("/projects").await.json();
    let routers = shown["routers"].as_array().expect("routers are listed");
    let is_well = |router: &serde_json::Value| {
        router["ready"] == true && router["behind"].as_array().is_some_and(Vec::is_empty)
    };
    routers.len() == 2 && routers.iter().all(is_well)
}

fn old_data(routers: &Replicas) -> PathBuf {
    routers[1].state.path().join("data/a")
}

/// Checks that the removed project's data on router 1 is kept, or waits until it is deleted.
async fn assert_fate(routers: &Replicas, fate: &str) {
    let data = old_data(routers);
    if fate == "keep" {
        assert_eq!(fs::read_to_string(data.join("owner")).expect("it is kept"), "old");
    } else {
        eventually("the old data is deleted", || std::future::ready(!data.exists())).await;
    }
}

/// A router misses the removal of a project and the deploy of the same files as another project,
/// and the bridge is killed before it is back.
async fn misses_a_removal_and_a_deploy(signal: Signal, fate: &str) {
    let volume = Volume::new();
    let (mut routers, bridge) = two_with_data(&volume).await;
    go_away(&mut routers, signal).await;
    let second = [routers.admin_url(1)];
    assert_eq!(remove(&bridge, fate).await.behind, second);
    bridge.forward.get("/a/?as=nobody").await.assert_problem(404, "unknown-project");
    assert_eq!(bridge.deploy_live("a", &Upload::main(OWNED)).await.behind, second);
    bridge.kill().await;
    let bridge = start_bridge(&routers).await;
    eventually("the bridge calls the other router", || async {
        bridge.client.get("/projects").await.json()["routers"][0]["ready"] == true
    })
    .await;
    assert_eq!(bridge.project("a").await["routers"][1]["behind"], true);
    assert_eq!(bridge.forward.get("/a/?as=new").await.text(), "new");

    come_back(&mut routers, signal).await;
    eventually("the router has caught up", || async {
        assert_eq!(bridge.forward.get("/a/?as=new").await.text(), "new");
        is_caught_up(&bridge).await
    })
    .await;
    for _ in 0..10 {
        assert_eq!(bridge.forward.get("/a/?as=new").await.text(), "new");
    }
    assert_eq!(routers.texts("/a/?as=new").await, ["new", "new"]);
    let [first, second] = [0, 1].map(|index| routers[index].admin.project("a"));
    let (first, second) = (first.await, second.await);
    assert!(!first.incarnation.is_first() && first.incarnation == second.incarnation);
    assert_eq!(bridge.project("a").await["skew"], false);
    assert_fate(&routers, fate).await;
}

#[tokio::test]
async fn a_hung_router_delays_no_removal_and_hands_old_data_to_no_project() {
    misses_a_removal_and_a_deploy(Signal::STOP, "keep").await;
    misses_a_removal_and_a_deploy(Signal::STOP, "delete").await;
}

#[tokio::test]
async fn a_dead_router_delays_no_removal_and_hands_old_data_to_no_project() {
    misses_a_removal_and_a_deploy(Signal::KILL, "keep").await;
    misses_a_removal_and_a_deploy(Signal::KILL, "delete").await;
}

#[tokio::test]
async fn a_router_that_was_away_during_a_removal_ends_the_project_on_its_own() {
    for (signal, fate) in [(Signal::STOP, "delete"), (Signal::KILL, "keep")] {
        let volume = Volume::new();
        let (mut routers, bridge) = two_with_data(&volume).await;
        go_away(&mut routers, signal).await;
        assert_eq!(remove(&bridge, fate).await.behind, [routers.admin_url(1)]);
        come_back(&mut routers, signal).await;
        eventually("the router has caught up", || async {
            bridge.forward.get("/a/").await.assert_problem(404, "unknown-project");
            is_caught_up(&bridge).await
        })
        .await;
        routers[1].public.get("/a/").await.assert_problem(404, "unknown-project");
        assert_eq!(routers[1].admin.client.get("/projects/a").await.status, 404);
        assert_fate(&routers, fate).await;
    }
}

#[tokio::test]
async fn a_rollback_does_not_go_to_a_version_of_the_removed_project_that_a_router_reported_last() {
    let volume = Volume::new();
    let routers = Replicas::start(&volume, 2).await;
    let bridge = start_bridge(&routers).await;
    bridge.asks_all().await;
    for label in ["one", "two"] {
        bridge.deploy_live("a", &Upload::main(hello(label))).await;
    }
    eventually("the bridge knows how the second router came to it", || async {
        bridge.client.get("/projects").await.json()["projects"][0]["skew"] == false
    })
    .await;
    routers.hang(1, &bridge).await;
    remove(&bridge, "keep").await;
    bridge.deploy_live("a", &Upload::main(hello("three"))).await;
    bridge.client.post("/projects/a/rollback").await.assert_problem(404, "unknown-version");
    routers.go_on(1);
    eventually("the router has caught up", || is_caught_up(&bridge)).await;
    assert_eq!(routers.texts("/a/").await, ["three", "three"]);
}
