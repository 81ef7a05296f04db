//! Removals, and the versions and the data that they keep for the same project, and never for
//! another one of its name.

use std::fs;
use std::path::PathBuf;

use http::Method;
use rustix::process::Signal;
use serde_json::Value;
use switchyard_contract::admin::ReloadOutcome;
use switchyard_contract::deploy::DeployOutcome;
use switchyard_integration::bridge::Bridge;
use switchyard_integration::bridge::record::Record;
use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::client::{Reply, with_method};
use switchyard_integration::eventually;
use switchyard_integration::fixtures::{counting, hello};
use switchyard_integration::router::Router;
use switchyard_integration::upload::Upload;
use switchyard_integration::volume::Volume;

async fn delete(bridge: &Bridge, query: &str) -> Reply {
    bridge.client.send(with_method(Method::DELETE, &format!("/projects/a{query}"))).await
}

async fn remove(bridge: &Bridge, query: &str) -> Record {
    let record = Record::of(&delete(bridge, query).await);
    assert_eq!(record.outcome, Some(DeployOutcome::Removed), "{record:#?}");
    record
}

async fn rollback(bridge: &Bridge, query: &str) -> Record {
    Record::of(&bridge.client.post(&format!("/projects/a/rollback{query}")).await)
}

fn upload(version: u32) -> Upload {
    Upload::main(counting(version))
}

/// The folders in `data` of a router.
fn data(router: &Router) -> Vec<PathBuf> {
    let entries = fs::read_dir(router.state.path().join("data")).expect("the folder can be read");
    entries.map(|entry| entry.expect("the folder can be read").path()).collect()
}

async fn no_data(router: &Router) {
    eventually("the data is deleted", || std::future::ready(data(router).is_empty())).await;
}

#[tokio::test]
async fn a_deploy_after_a_removal_begins_without_data_and_a_rollback_brings_the_data_back() {
    let volume = Volume::new();
    let routers = Replicas::start(&volume, 2).await;
    let bridge = routers.start_bridge().await;
    let first = bridge.deploy_live("a", &upload(1)).await;
    assert_eq!(routers.texts("/a/").await, ["1: 1 1 1 1 1"; 2]);
    remove(&bridge, "").await;
    for router in routers.iter() {
        router.public.get("/a/").await.assert_problem(404, "unknown-project");
    }
    // The same files again, but another project.
    bridge.deploy_live("a", &upload(1)).await;
    assert_eq!(routers.texts("/a/").await, ["1: 1 1 1 1 1"; 2]);
    let versions = bridge.client.get("/projects/a/versions").await.json();
    assert_eq!(versions["versions"].as_array().map(Vec::len), Some(1), "{versions}");
    // Other files of the project are not shared either.
    let later = format!("a.{}", routers[0].admin.project("a").await.incarnation);
    for folder in ["cache", "checkouts", "data"] {
        let entries = fs::read_dir(routers[0].state.path().join(folder)).expect("it can be read");
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert!(names.into_iter().any(|name| name.starts_with(&later)), "{folder}");
    }
    bridge.deploy_live("a", &upload(2)).await;
    assert_eq!(routers.texts("/a/").await, ["2: 2 2 2 2 2"; 2]);
    remove(&bridge, "").await;
    let shown = bridge.client.get("/projects").await.json();
    assert_eq!(shown["projects"][0]["removed"]["data"], "keep", "{shown}");

    let back = rollback(&bridge, "").await;
    assert_eq!(back.outcome, Some(DeployOutcome::Live));
    assert_eq!(routers.texts("/a/").await, ["2: 3 3 3 3 3"; 2], "the newest removal is undone");
    remove(&bridge, "").await;
    let versions = bridge.client.get("/projects/a/versions").await.json();
    let listed: Vec<_> = versions["versions"].as_array().unwrap().iter().collect();
    let of_first = listed.iter().find(|version| version["incarnation"] == "first").expect("it is kept");
    assert_eq!(
        (&of_first["version"], of_first["kept"].as_array().unwrap().len()),
        (&first.version().into(), 2)
    );
    // The version of both incarnations: the newest is meant.
    rollback(&bridge, &format!("?to={}", first.digest())).await;
    assert_eq!(routers.texts("/a/").await, ["1: 4 4 4 4 4"; 2]);
}

#[tokio::test]
async fn an_older_incarnation_is_brought_back_by_its_version() {
    let volume = Volume::new();
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    let first = bridge.deploy_live("a", &upload(1)).await;
    routers.texts("/a/").await;
    remove(&bridge, "").await;
    bridge.deploy_live("a", &upload(2)).await;
    let to_first = format!("/projects/a/rollback?to={}", first.digest());
    bridge.client.post(&to_first).await.assert_problem(404, "unknown-version");
    remove(&bridge, "").await;
    assert_eq!(rollback(&bridge, &format!("?to={}", first.digest())).await.digest(), first.digest());
    assert_eq!(routers.texts("/a/").await, ["1: 2 2 2 2 2"]);
}

#[tokio::test]
async fn data_is_deleted_if_requested_with_the_removal_or_later() {
    let volume = Volume::new();
    let routers = Replicas::start(&volume, 2).await;
    let bridge = routers.start_bridge().await;
    bridge.deploy_live("a", &upload(1)).await;
    routers.texts("/a/").await;
    delete(&bridge, "?data=perhaps").await.assert_problem(400, "bad-request");
    remove(&bridge, "?data=delete").await;
    for router in routers.iter() {
        no_data(router).await;
    }
    rollback(&bridge, "").await;
    assert_eq!(routers.texts("/a/").await, ["1: 1 1 1 1 1"; 2], "the code is restored, the data is not");
    remove(&bridge, "").await;
    assert_eq!(bridge.project("a").await["removed"]["data"], "keep");
    assert_eq!(data(&routers[0]).len(), 1);
    delete(&bridge, "").await.assert_problem(404, "unknown-project");
    remove(&bridge, "?data=delete").await;
    for router in routers.iter() {
        no_data(router).await;
    }
    assert_eq!(bridge.project("a").await["removed"]["data"], "delete");
    delete(&bridge, "?data=delete").await.assert_problem(404, "unknown-project");
    rollback(&bridge, "").await;
    assert_eq!(routers.texts("/a/").await, ["1: 1 1 1 1 1"; 2]);
}

/// The number of visits in an answer of [`counting`].
fn visits(text: &str) -> usize {
    let count = text.split(' ').nth(1).and_then(|count| count.parse().ok());
    count.unwrap_or_else(|| panic!("no visits in {text:?}"))
}

#[tokio::test]
async fn a_router_that_was_stopped_during_the_removal_hands_the_old_data_to_no_project() {
    let volume = Volume::new();
    let routers = Replicas::start(&volume, 2).await;
    let bridge = routers.bridge().flag("quorum", 1).flag("deploy-timeout", 3000).start().await;
    bridge.asks_all().await;
    bridge.deploy_live("a", &upload(1)).await;
    assert_eq!(routers.texts("/a/").await, ["1: 1 1 1 1 1"; 2]);
    for _ in 0..20 {
        routers[1].public.get("/a/").await;
    }
    routers[1].signal(Signal::STOP);
    remove(&bridge, "?data=delete").await;
    bridge.deploy_live("a", &upload(1)).await;
    routers[1].signal(Signal::CONT);
    let incarnation = routers[0].admin.project("a").await.incarnation;
    assert!(!incarnation.is_first());
    // The router serves the same files of another incarnation: until it learns of the new one, it
    // gets no requests for the project.
    eventually("the bridge calls it again", || async {
        let shown = bridge.client.get("/projects").await.json();
        shown["routers"].as_array().unwrap().iter().all(|router| router["ready"] == true)
    })
    .await;
    for _ in 0..10 {
        let text = bridge.forward.get("/a/").await.text();
        assert!(visits(&text) <= 10, "the old data has more visits: {text}");
    }
    eventually("the router has noticed", || async {
        let status = routers[1].admin.project("a").await;
        status.incarnation == incarnation && status.live.is_some() && status.draining.is_empty()
    })
    .await;
    let text = routers[1].public.get("/a/").await.text();
    assert!(visits(&text) <= 11, "the old data has more visits: {text}");
    let old = routers[1].state.path().join("data/a");
    eventually("the old data is deleted", || std::future::ready(!old.exists())).await;
}

#[tokio::test]
async fn a_router_that_was_down_during_the_removal_hands_the_old_data_to_no_project() {
    let volume = Volume::new();
    let mut routers = Replicas::start(&volume, 2).await;
    let bridge = routers.bridge().flag("quorum", 1).flag("deploy-timeout", 3000).start().await;
    bridge.asks_all().await;
    for fate in ["keep", "delete"] {
        bridge.deploy_live("a", &upload(1)).await;
        eventually("both serve it", || async {
            routers.texts("/a/").await.iter().all(|text| text.starts_with("1: "))
        })
        .await;
        let before = data(&routers[1]);
        routers.kill(1).await;
        remove(&bridge, &format!("?data={fate}")).await;
        bridge.deploy_live("a", &upload(1)).await;
        routers.start_again(1).await;
        bridge.asks_all().await;
        assert_eq!(routers[1].public.get("/a/").await.text(), "1: 1 1 1 1 1");
        if fate == "keep" {
            assert!(before.iter().all(|folder| folder.exists()), "kept data stays");
        } else {
            eventually("the old data is deleted", || {
                std::future::ready(before.iter().all(|folder| !folder.exists()))
            })
            .await;
        }
    }
}

/// Removes the folder directly on the volume, and waits until the router has noticed.
async fn vanish(volume: &Volume, router: &Router) {
    volume.remove("a");
    eventually("the router has noticed", || async {
        router.admin.client.get("/projects/a").await.status == 404
    })
    .await;
}

#[tokio::test]
async fn a_folder_that_vanishes_keeps_its_data_and_its_versions() {
    let volume = Volume::new();
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    let deployed = bridge.deploy_live("a", &upload(1)).await;
    assert_eq!(routers.texts("/a/").await, ["1: 1 1 1 1 1"]);
    vanish(&volume, &routers[0]).await;
    let back = rollback(&bridge, "").await;
    assert_eq!(back.digest(), deployed.digest());
    assert_eq!(routers.texts("/a/").await, ["1: 2 2 2 2 2"]);
    // Only a removal ends it, also when there is no folder any more.
    vanish(&volume, &routers[0]).await;
    remove(&bridge, "").await;
    volume.write("a/main.ts", counting(1));
    routers[0].admin.reload("a").await;
    assert_eq!(routers.texts("/a/").await, ["1: 1 1 1 1 1"], "a folder put there by hand starts fresh, too");
}

#[tokio::test]
async fn removed_data_is_deleted_after_the_retention_time() {
    let volume = Volume::new();
    let mut routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    bridge.deploy_live("a", &upload(1)).await;
    routers.texts("/a/").await;
    remove(&bridge, "").await;
    let file = volume.path(".switchyard-bridge/incarnations/a.json");
    let mut record: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    record["ended"][0]["until"] = "2026-01-01T00:00:00Z".into();
    fs::write(&file, record.to_string()).unwrap();
    bridge.stop().await;
    routers.kill(0).await;
    routers.start_again(0).await;
    let bridge = routers.start_bridge().await;
    no_data(&routers[0]).await;
    let checkouts = routers[0].state.path().join("checkouts");
    eventually("its versions are gone", || {
        std::future::ready(fs::read_dir(&checkouts).unwrap().next().is_none())
    })
    .await;
    bridge.client.get("/projects/a").await.assert_problem(404, "unknown-project");
    bridge.client.get("/projects/a/versions").await.assert_problem(404, "unknown-project");
    bridge.client.post("/projects/a/rollback").await.assert_problem(404, "unknown-project");
    bridge.deploy_live("a", &upload(1)).await;
    assert_eq!(routers.texts("/a/").await, ["1: 1 1 1 1 1"]);
}

#[tokio::test]
async fn a_project_that_never_built_is_removed_like_any_other() {
    let volume = Volume::with("a", "export default {");
    let routers = Replicas::start(&volume, 2).await;
    let bridge = routers.start_bridge().await;
    remove(&bridge, "").await;
    assert!(!volume.path("a").exists());
    // The files are kept although they were never served.
    bridge.client.post("/projects/a/rollback").await.assert_problem(422, "build-failed");
    assert!(!volume.path("a").exists() && bridge.project("a").await["removed"].is_object());
    bridge.deploy_live("a", &Upload::main(hello("good"))).await;
    assert_eq!(routers.texts("/a/").await, ["good", "good"]);
}

#[tokio::test]
async fn a_project_with_an_unreadable_incarnation_gets_no_data_and_keeps_its_last_good_version() {
    let volume = Volume::with("a", counting(1));
    let router = Router::start(&volume).await;
    assert_eq!(router.public.get("/a/").await.text(), "1: 1 1 1 1 1");
    volume.write(".switchyard-bridge/incarnations/a.json", "{\"current\"");
    volume.replace("a/main.ts", counting(2));
    let report = router.admin.reload("a").await;
    let message = report.error.expect("an error").message;
    assert!(message.contains("incarnations/a.json"), "{message}");
    assert_eq!(router.public.get("/a/").await.text(), "1: 2 2 2 2 2");
    volume.remove(".switchyard-bridge/incarnations/a.json");
    assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Live);
    assert_eq!(router.public.get("/a/").await.text(), "2: 3 3 3 3 3");
}

/// After a kill: either the project exists with its data, or it is removed and another one begins
/// without.
async fn whole(routers: &Replicas, bridge: &Bridge, volume: &Volume, visits: &mut usize) {
    bridge.clean().await;
    eventually("all routers agree with the volume", || async {
        let there = volume.path("a").exists();
        let mut agree = true;
        for router in routers.iter() {
            let status = router.admin.client.get("/projects/a").await;
            let serves = status.status == 200 && !status.json()["live"].is_null();
            agree &= serves == there && (!there || status.json()["held_by"].is_null());
        }
        agree
    })
    .await;
    if !volume.path("a").exists() {
        *visits = 0;
        bridge.deploy_live("a", &upload(1)).await;
    }
    *visits += 1;
    let expected = format!("1: {}", vec![visits.to_string(); 5].join(" "));
    assert_eq!(routers.texts("/a/").await, [expected.as_str(); 2]);
}

#[tokio::test]
async fn a_bridge_killed_during_a_removal_hands_over_no_data_and_loses_none() {
    let volume = Volume::new();
    let routers = Replicas::start(&volume, 2).await;
    let mut visits = 0;
    let bridge = routers.start_bridge().await;
    whole(&routers, &bridge, &volume, &mut visits).await;
    bridge.stop().await;
    for phase in ["store", "hold", "build", "publish", "done"] {
        for query in ["", "?data=delete"] {
            let bridge = routers.start_bridge().await;
            let request = with_method(Method::DELETE, &format!("/projects/a{query}"));
            let mut phases = bridge.follow(request).await;
            phases.until(phase).await;
            bridge.kill().await;
            let bridge = routers.start_bridge().await;
            whole(&routers, &bridge, &volume, &mut visits).await;
            bridge.stop().await;
        }
    }
}

#[tokio::test]
async fn a_bridge_that_is_killed_while_it_brings_a_project_back_loses_no_data() {
    let volume = Volume::new();
    let routers = Replicas::start(&volume, 2).await;
    let bridge = routers.start_bridge().await;
    bridge.deploy_live("a", &upload(1)).await;
    assert_eq!(routers.texts("/a/").await, ["1: 1 1 1 1 1"; 2]);
    bridge.stop().await;
    for (index, phase) in ["store", "hold", "build", "publish", "done"].into_iter().enumerate() {
        let bridge = routers.start_bridge().await;
        remove(&bridge, "").await;
        let mut phases =
            bridge.follow(switchyard_integration::client::post("/projects/a/rollback", "")).await;
        phases.until(phase).await;
        bridge.kill().await;
        let bridge = routers.start_bridge().await;
        bridge.clean().await;
        if !volume.path("a").exists() {
            assert_eq!(rollback(&bridge, "").await.outcome, Some(DeployOutcome::Live), "{phase}");
        }
        let expected = format!("1: {}", vec![(index + 2).to_string(); 5].join(" "));
        eventually("both serve it", || async {
            // Asking the admin listener counts as a visit.
            let mut live = true;
            for router in routers.iter() {
                let status = router.admin.client.get("/projects/a").await;
                live &= status.status == 200 && !status.json()["live"].is_null();
            }
            live
        })
        .await;
        assert_eq!(routers.texts("/a/").await, [expected.as_str(); 2], "{phase}");
        bridge.stop().await;
    }
}

/// The same numbers in each run.
fn numbers(mut seed: u64) -> impl FnMut(u64) -> u64 {
    move |below| {
        // splitmix64
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }
}

#[tokio::test]
async fn a_bridge_killed_at_any_instant_of_a_removal_hands_over_no_data_and_loses_none() {
    let volume = Volume::new();
    let routers = Replicas::start(&volume, 2).await;
    let (mut number, mut visits) = (numbers(11), 0);
    for round in 0..12 {
        let bridge = routers.start_bridge().await;
        whole(&routers, &bridge, &volume, &mut visits).await;
        let client = bridge.client.clone();
        let query = if round % 2 == 0 { "?wait=0" } else { "?wait=0&data=delete" };
        let request = with_method(Method::DELETE, &format!("/projects/a{query}"));
        client.send(request).await;
        // The only sleep: a kill at an arbitrary moment.
        tokio::time::sleep(std::time::Duration::from_micros(number(40_000))).await;
        bridge.kill().await;
    }
    let bridge = routers.start_bridge().await;
    whole(&routers, &bridge, &volume, &mut visits).await;
}
