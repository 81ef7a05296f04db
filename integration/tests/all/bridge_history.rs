//! Rollbacks, removals, and the bridge's record of each version.

use serde_json::Value;
use switchyard_contract::deploy::DeployOutcome;
use switchyard_integration::bridge::Bridge;
use switchyard_integration::bridge::record::Record;
use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::bridge::tree::{self, Tree};
use switchyard_integration::client::with_method;
use switchyard_integration::eventually;
use switchyard_integration::fixtures::{half, hello, pair};
use switchyard_integration::probe::Probe;
use switchyard_integration::upload::Upload;
use switchyard_integration::volume::Volume;

async fn rollback(bridge: &Bridge, query: &str) -> Record {
    Record::of(&bridge.client.post(&format!("/projects/a/rollback{query}")).await)
}

#[tokio::test]
async fn a_rollback_goes_to_the_version_before_and_the_volume_with_it() {
    let volume = Volume::new();
    let routers = Replicas::start(&volume, 2).await;
    let bridge = routers.start_bridge().await;
    let files =
        |label| [("main.ts", pair().to_owned()), ("a.ts", half("a", label)), ("b.ts", half("b", label))];
    let first = bridge.deploy_live("a", &Upload::curl(&files("1"))).await;
    let tree = Tree::of(&volume.path("a"));
    let second = bridge.deploy_live("a", &Upload::main(hello("2"))).await;
    let probe = Probe::start(&routers[1].public, "/a/").await;

    let back = rollback(&bridge, "").await;
    assert_eq!(routers.texts("/a/").await, ["1:1", "1:1"]);
    assert_eq!((back.action.as_str(), back.outcome), ("rollback", Some(DeployOutcome::Live)));
    assert_eq!(
        (back.digest(), back.project("a").previous.as_deref()),
        (first.digest(), Some(second.version()))
    );
    assert_eq!(Tree::of(&volume.path("a")).files(), tree.files());
    assert_eq!(tree::digest(&volume.path("a")), first.digest());
    probe.finish().await.no_failures().none_mixed().versions_monotonic(&["2", "1:1"]);
    bridge.audited("rollback", "a", "live").await;
}

#[tokio::test]
async fn a_rollback_goes_to_the_given_digest() {
    let volume = Volume::new();
    let routers = Replicas::start(&volume, 2).await;
    let bridge = routers.start_bridge().await;
    let mut digests = Vec::new();
    for label in ["1", "2", "3", "4"] {
        let record = bridge.deploy_live("a", &Upload::main(hello(label))).await;
        digests.push(record.digest().to_owned());
    }
    for (to, label) in [(digests[1].as_str(), "2"), (&digests[0][..12], "1"), (digests[3].as_str(), "4")] {
        let back = rollback(&bridge, &format!("?to={to}")).await;
        assert!(back.digest().starts_with(to), "{back:?}");
        assert_eq!(routers.texts("/a/").await, [label, label]);
    }
    let unknown = "0".repeat(64);
    let reply = bridge.client.post(&format!("/projects/a/rollback?to={unknown}")).await;
    reply.assert_problem(404, "unknown-version");
    bridge.client.post("/projects/none/rollback").await.assert_problem(404, "unknown-project");
    assert_eq!(routers.texts("/a/").await, ["4", "4"]);
}

#[tokio::test]
async fn after_an_editor_broke_it_a_rollback_goes_to_the_last_good_version() {
    let volume = Volume::new();
    let routers = Replicas::start(&volume, 2).await;
    let bridge = routers.start_bridge().await;
    bridge.deploy_live("a", &Upload::main(hello("1"))).await;
    let good = bridge.deploy_live("a", &Upload::main(hello("2"))).await;
    volume.replace("a/main.ts", "export default {");
    for router in routers.iter() {
        eventually("the router has noticed", || async {
            router.admin.project("a").await.state == switchyard_contract::admin::ProjectState::Failed
        })
        .await;
    }
    let back = rollback(&bridge, "").await;
    assert_eq!(back.digest(), good.digest());
    assert_eq!(tree::digest(&volume.path("a")), good.digest());
    for router in routers.iter() {
        let reply = router.public.get("/a/").await;
        assert_eq!((reply.text().as_str(), reply.header("x-switchyard-stale")), ("2", None));
    }
}

#[tokio::test]
async fn a_project_that_never_had_another_version_cannot_go_back() {
    let volume = Volume::new();
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    bridge.deploy_live("a", &Upload::main(hello("1"))).await;
    bridge.client.post("/projects/a/rollback").await.assert_problem(404, "unknown-version");
    assert_eq!(routers.texts("/a/").await, ["1"]);
}

#[tokio::test]
async fn a_deleted_project_disappears_from_the_volume_and_every_router() {
    let volume = Volume::with("b", hello("b"));
    let routers = Replicas::start(&volume, 2).await;
    let bridge = routers.start_bridge().await;
    let deployed = bridge.deploy_live("a", &Upload::main(hello("1"))).await;
    let neighbour = Probe::start(&routers[0].public, "/b/").await;
    let record = Record::of(&bridge.client.send(with_method(http::Method::DELETE, "/projects/a")).await);
    for router in routers.iter() {
        router.public.get("/a/").await.assert_problem(404, "unknown-project");
    }
    assert_eq!((record.action.as_str(), record.outcome), ("delete", Some(DeployOutcome::Removed)));
    assert!(!volume.path("a").exists());
    // A router whose last change came from the volume still checks the result.
    eventually("no router knows of it", || async {
        let project = bridge.project("a").await;
        project["routers"].as_array().unwrap().iter().all(|router_state| router_state["state"].is_null())
    })
    .await;
    assert_eq!(bridge.project("a").await["removed"]["version"], deployed.version());
    let again = bridge.client.send(with_method(http::Method::DELETE, "/projects/a")).await;
    again.assert_problem(404, "unknown-project");
    bridge.clean().await;
    bridge.audited("delete", "a", "removed").await;
    neighbour.finish().await.no_failures().versions_monotonic(&["b"]);
    bridge.deploy_live("a", &Upload::main(hello("again"))).await;
    assert_eq!(routers.texts("/a/").await, ["again", "again"]);
}

#[tokio::test]
async fn versions_show_the_deployer_and_the_routers() {
    let volume = Volume::new();
    let routers = Replicas::start(&volume, 2).await;
    let bridge = routers.start_bridge().await;
    let first = bridge.deploy_live("a", &Upload::main(hello("1"))).await;
    let second = bridge.deploy_live("a", &Upload::main(hello("22"))).await;
    let reply = bridge.client.get("/projects/a/versions").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let json = reply.json();
    let versions = json["versions"].as_array().expect("a list of versions");
    let names: Vec<_> = versions.iter().map(|version| version["version"].as_str().unwrap()).collect();
    assert_eq!(names, [second.version(), first.version()]);
    let count = |version: &Value, field: &str| version[field].as_array().map_or(0, Vec::len);
    assert_eq!((count(&versions[0], "live"), count(&versions[1], "live")), (2, 0), "{json}");
    assert_eq!((count(&versions[0], "kept"), count(&versions[1], "kept")), (2, 2), "{json}");
    assert_eq!(versions[0]["bytes"], hello("22").len(), "{json}");
    assert_eq!(versions[0]["files"], 1, "{json}");
    assert_eq!(versions[1]["at"], first.at.to_string(), "{json}");
    bridge.client.get("/projects/none/versions").await.assert_problem(404, "unknown-project");
}

#[tokio::test]
async fn skew_is_reported_while_one_router_is_behind() {
    let volume = Volume::with("a", hello("old"));
    // The second router does not look on its own.
    let routers =
        Replicas::start_each(
            volume.root(),
            2,
            |index, builder| {
                if index == 1 { builder.unwatched() } else { builder }
            },
        )
        .await;
    let bridge = routers.start_bridge().await;
    assert_eq!(bridge.project("a").await["skew"], false);
    volume.replace("a/main.ts", hello("new"));
    eventually("skew is reported", || async { bridge.project("a").await["skew"] == true }).await;
    let all = bridge.client.get("/projects").await.json();
    assert!(all["projects"].as_array().is_some_and(|projects| projects.len() == 1), "{all}");
    assert_eq!(all["projects"][0]["skew"], true, "{all}");
    assert_eq!(routers[1].admin.reload("a").await.outcome, switchyard_contract::admin::ReloadOutcome::Live);
    eventually("it is over", || async { bridge.project("a").await["skew"] == false }).await;
}

#[tokio::test]
async fn output_of_projects_on_any_router_is_read_through_the_bridge() {
    let volume = Volume::new();
    let routers = Replicas::start(&volume, 2).await;
    let bridge = routers.start_bridge().await;
    let main = format!("console.log('printed at start');\n{}", hello("1"));
    let record = bridge.deploy_live("a", &Upload::main(main)).await;
    eventually("lines of both routers are returned", || async {
        let reply = bridge.client.get("/projects/a/logs?lines=10").await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.text().matches("printed at start").count() == 2 && reply.text().contains(record.version())
    })
    .await;
    bridge.client.get("/projects/none/logs").await.assert_problem(404, "unknown-project");
}
