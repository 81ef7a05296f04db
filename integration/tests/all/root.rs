//! The projects root is followed by name: the folder behind it may be replaced at any time, or be
//! missing for a while.

use std::fs;

use switchyard_contract::admin::ReloadOutcome;
use switchyard_contract::deploy::DeployOutcome;
use switchyard_contract::event::EventType;
use switchyard_integration::bridge::mounts::Mounts;
use switchyard_integration::bridge::record::Record;
use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::client::{post, with_method};
use switchyard_integration::eventually;
use switchyard_integration::fixtures::{counting, hello};
use switchyard_integration::probe::Probe;
use switchyard_integration::router::{Builder, Router};
use switchyard_integration::upload::Upload;
use switchyard_integration::volume::Volume;

const PACKAGED: &str =
    "export default { fetch: async () => new Response((await import('pack')).default) };\n";

/// A commit as git-sync checks it out: each in a folder of its own.
fn commit(volume: &Volume, commit: &str, files: &[(&str, &str)]) {
    for (path, text) in files {
        volume.write(&format!(".worktrees/{commit}/{path}"), text);
    }
}

async fn answers(router: &Router, path: &str, text: &str) {
    eventually(&format!("{path} answers {text}"), || async { router.public.get(path).await.text() == text })
        .await;
}

async fn root_changes(router: &Router) -> f64 {
    router.admin.metric("switchyard_root_changes_total", "").await.expect("it is counted")
}

#[tokio::test]
async fn a_link_that_is_swapped_is_followed_whether_it_is_the_root_or_above_it() {
    for below in ["", "/projects"] {
        let volume = Volume::new();
        let packed = |text: &str| format!("export default '{text}';\n");
        for (name, label) in [("aaa", "one"), ("bbb", "two")] {
            let path = |path: &str| format!(".worktrees/{name}{below}/{path}");
            volume.write(&path("blog/main.ts"), hello(label));
            // The same code, with packages in another folder.
            volume.write(&path("same/main.ts"), PACKAGED);
            volume.write(&path("same/package.json"), r#"{"dependencies": {"pack": "1"}}"#);
            let manifest = r#"{"name": "pack", "version": "1.0.0", "type": "module", "exports": "./i.js"}"#;
            volume.write(&path("same/node_modules/pack/package.json"), manifest);
            volume.write(&path("same/node_modules/pack/i.js"), packed(label));
        }
        volume.write(&format!(".worktrees/aaa{below}/old/main.ts"), hello("old"));
        volume.write(&format!(".worktrees/bbb{below}/new/main.ts"), hello("new"));
        volume.link(".worktrees/aaa", "current");
        let root = volume.path(&format!("current{below}"));
        let router = Builder::for_projects(&root).start().await;
        answers(&router, "/blog/", "one").await;
        let probe = Probe::start(&router.public, "/blog/").await;

        volume.link(".worktrees/bbb", "current");
        answers(&router, "/blog/", "two").await;
        answers(&router, "/new/", "new").await;
        volume.remove(".worktrees/aaa");
        answers(&router, "/same/", "two").await;
        eventually("projects missing from the new commit are removed", || async {
            router.public.get("/old/").await.status == 404
        })
        .await;
        commit(&volume, &format!("bbb{below}"), &[("blog/main.ts", &hello("three"))]);
        answers(&router, "/blog/", "three").await;
        assert_eq!(router.admin.reload("same").await.outcome, ReloadOutcome::Unchanged);
        assert_eq!(root_changes(&router).await, 1.0);
        probe.finish().await.no_failures().none_mixed().versions_monotonic(&["one", "two", "three"]);
    }
}

#[tokio::test]
async fn a_root_that_is_missing_or_empty_takes_nothing_down_until_it_is_back() {
    let volume = Volume::new();
    volume.write("root/a/main.ts", hello("one"));
    volume.write("root/b/main.ts", hello("b"));
    let router = Builder::for_projects(&volume.path("root")).start().await;
    let mut events = router.events().await;
    let probe = Probe::start(&router.public, "/a/").await;
    volume.remove("root");
    let logged = router.log.wait_for(|record| {
        record["level"] == "WARN"
            && record["message"].as_str().is_some_and(|logged| logged.contains("is missing"))
    });
    assert!(switchyard_integration::within("it is logged", logged).await.is_some());
    let reports = router.admin.reload_all().await;
    assert!(reports.values().all(|report| report.outcome == ReloadOutcome::Unchanged), "{reports:?}");

    fs::create_dir(volume.path("root")).unwrap();
    eventually("the new root is seen", || async { root_changes(&router).await >= 1.0 }).await;
    assert_eq!(router.admin.reload("b").await.outcome, ReloadOutcome::Unchanged);
    assert_eq!(router.public.get("/b/").await.text(), "b");
    assert_eq!(events.count(EventType::ProjectRemoved, "b"), 0);

    volume.write("root/a/main.ts", hello("two"));
    answers(&router, "/a/", "two").await;
    events.wait_removed("b").await;
    volume.write("root/a/main.ts", hello("three"));
    answers(&router, "/a/", "three").await;
    probe.finish().await.no_failures().none_mixed().versions_monotonic(&["one", "two", "three"]);
}

#[tokio::test]
async fn data_of_a_removed_project_is_kept_while_the_root_is_empty() {
    let volume = Volume::new();
    volume.write("root/b/main.ts", hello("b"));
    let mut routers = Replicas::start_each(&volume.path("root"), 1, |_, builder| builder).await;
    let bridge = routers.start_bridge().await;
    bridge.deploy_live("a", &Upload::main(counting(1))).await;
    assert_eq!(routers.texts("/a/").await, ["1: 1 1 1 1 1"]);
    let removal = with_method(http::Method::DELETE, "/projects/a");
    assert_eq!(Record::of(&bridge.client.send(removal).await).outcome, Some(DeployOutcome::Removed));
    bridge.stop().await;
    routers.kill(0).await;
    volume.rename("root", "away");
    fs::create_dir(volume.path("root")).unwrap();
    // A router searches its state folder at its start.
    routers.start_again(0).await;
    routers[0].admin.reload_all().await;
    assert_eq!(routers.texts("/b/").await, ["b"], "the empty root takes nothing down");
    fs::remove_dir(volume.path("root")).unwrap();
    volume.rename("away", "root");
    let bridge = routers.start_bridge().await;
    let back = Record::of(&bridge.client.send(post("/projects/a/rollback", "")).await);
    assert_eq!(back.outcome, Some(DeployOutcome::Live), "{back:#?}");
    assert_eq!(routers.texts("/a/").await, ["1: 2 2 2 2 2"]);
}

#[tokio::test]
async fn a_mount_over_the_root_is_served() {
    if !Mounts::are_possible() {
        return; // Containers often forbid it.
    }
    let volume = Volume::with("a", hello("one"));
    let mounts = Mounts::new();
    let router = Router::builder(&volume).inside(&mounts).start().await;
    let probe = Probe::start(&router.public, "/a/").await;
    mounts.tmpfs("1m", volume.root());
    eventually("the mount is seen", || async { root_changes(&router).await == 1.0 }).await;
    let inside = mounts.seen_from_outside(&volume.path("a"));
    fs::create_dir(&inside).unwrap();
    fs::write(inside.join("main.ts"), hello("two")).unwrap();
    answers(&router, "/a/", "two").await;
    probe.finish().await.no_failures().none_mixed().versions_monotonic(&["one", "two"]);
}

#[tokio::test]
async fn a_mount_over_a_project_is_found_by_comparison() {
    if !Mounts::are_possible() {
        return; // Containers often forbid it.
    }
    let volume = Volume::with("a", hello("one"));
    let mounts = Mounts::new();
    let router = Router::builder(&volume).inside(&mounts).flag("compare", 100).start().await;
    let mut events = router.events().await;
    events.wait_live("a").await;
    mounts.tmpfs("1m", &volume.path("a"));
    events.wait_failed("a").await;
    let inside = mounts.seen_from_outside(&volume.path("a/main.ts"));
    fs::write(&inside, hello("two")).unwrap();
    answers(&router, "/a/", "two").await;
    fs::write(&inside, hello("three")).unwrap();
    answers(&router, "/a/", "three").await;
}

#[tokio::test]
async fn a_router_does_not_start_on_a_root_that_leads_nowhere() {
    let volume = Volume::new();
    volume.link("nowhere", "current");
    let ended = Builder::for_projects(&volume.path("current")).run_to_end().await;
    assert_eq!(ended.status.code(), Some(64));
    let logged = ended.log.text();
    assert!(logged.contains("current (a symbolic link to nowhere)"), "{logged}");
}

#[tokio::test]
async fn a_router_does_not_start_with_its_state_where_it_would_be_a_project() {
    let volume = Volume::with("a", hello("one"));
    for state in ["", "state", "a", "a/.state"] {
        let path = volume.path(state);
        let ended = Router::builder(&volume).flag("state", path.display()).run_to_end().await;
        assert_eq!(ended.status.code(), Some(64), "{state:?}");
        let logged = ended.log.text();
        assert!(
            logged.contains("--state") && logged.contains("is inside the projects folder"),
            "{state:?}: {logged}"
        );
    }
    assert!(!volume.path("state").exists(), "a folder was left behind");
    let router = Router::builder(&volume).flag("state", volume.path(".state").display()).start().await;
    answers(&router, "/a/", "one").await;
}

#[tokio::test]
async fn a_router_that_starts_while_the_root_is_being_filled_serves_its_previous_versions() {
    let volume = Volume::new();
    volume.write("one/a/main.ts", hello("one"));
    volume.write("one/b/main.ts", hello("b"));
    volume.link("one", "root");
    let router = Builder::for_projects(&volume.path("root")).start().await;
    let state = router.state.clone();
    router.stop().await;
    fs::create_dir(volume.path("two")).unwrap();
    volume.link("two", "root");
    let router = Builder::for_projects(&volume.path("root")).state(&state).start().await;
    assert_eq!(router.public.get("/b/").await.text(), "b");
    volume.write("two/a/main.ts", hello("two"));
    answers(&router, "/a/", "two").await;
}
