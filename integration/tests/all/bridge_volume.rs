//! Others write to the volume too, and volumes fail.

use std::fs;

use futures_util::future::join;
use http::Method;
use serde_json::json;
use switchyard_integration::bridge::mounts::Mounts;
use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::bridge::tree::Tree;
use switchyard_integration::bridge::{Builder, staged};
use switchyard_integration::client::with_method;
use switchyard_integration::eventually;
use switchyard_integration::fixtures::{hello, slow};
use switchyard_integration::probe::Probe;
use switchyard_integration::router::Router;
use switchyard_integration::upload::Upload;
use switchyard_integration::volume::Volume;
use tempfile::tempdir;

#[tokio::test]
async fn of_two_racing_deploys_each_wins_entirely_or_gets_the_id_of_the_other() {
    let volume = Volume::with("a", hello("v0"));
    let routers = Replicas::start(&volume, 2).await;
    let bridge = routers.start_bridge().await;
    let probe = Probe::start(&routers[0].public, "/a/").await;
    let (mut refused, mut labels) = (0, vec!["v0".to_owned()]);
    for round in 0..10 {
        let [one, two] = [format!("{round}-one"), format!("{round}-two")];
        let (first, second) = [Upload::main(slow(&one, 30)), Upload::main(slow(&two, 30))]
            .map(|upload| async {
                let upload = upload;
                bridge.deploy("a", &upload).await
            })
            .into();
        let (first, second) = join(first, second).await;
        let mut won = Vec::new();
        for (label, reply) in [(&one, first), (&two, second)] {
            if reply.status == 200 {
                won.push(label.clone());
            } else {
                reply.assert_problem(409, "deploy-under-way");
                refused += 1;
            }
        }
        assert!(!won.is_empty(), "both were refused");
        let texts = routers.texts("/a/").await;
        assert!(texts[0] == texts[1] && won.contains(&texts[0]), "{texts:?} {won:?}");
        assert_eq!(volume.read("a/main.ts"), slow(&texts[0], 30));
        // In order: the version that is served was the later one.
        won.sort_by_key(|label| *label == texts[0]);
        labels.extend(won);
    }
    let labels: Vec<_> = labels.iter().map(String::as_str).collect();
    probe.finish().await.no_failures().none_mixed().versions_monotonic(&labels);
    assert!(refused > 0, "no two ever met");
    bridge.clean().await;
}

#[tokio::test]
async fn an_edit_during_a_deploy_is_not_lost() {
    let volume = Volume::with("a", hello("old"));
    let routers = Replicas::start(&volume, 2).await;
    let bridge = routers.start_bridge().await;
    let probe = Probe::start(&routers[0].public, "/a/").await;
    let mut phases = bridge.follow(Upload::main(slow("new", 500)).to("/deploy/a")).await;
    phases.until("build").await;
    volume.replace("a/main.ts", hello("editor"));
    let (status, answer) = phases.done().await;
    if status != 200 {
        assert_eq!((status, answer["type"].as_str()), (409, Some("urn:switchyard:problem:superseded")));
    }
    eventually("the editor's change is served by both", || async {
        routers.texts("/a/").await == ["editor", "editor"]
    })
    .await;
    assert_eq!(volume.read("a/main.ts"), hello("editor"));
    probe.finish().await.no_failures().none_mixed().versions_monotonic(&["old", "new", "editor"]);
}

#[tokio::test]
async fn an_edit_during_a_failing_deploy_survives_its_undo() {
    let volume = Volume::with("a", hello("old"));
    let routers = Replicas::start(&volume, 2).await;
    let bridge = routers.start_bridge().await;
    let broken = "await new Promise((done) => setTimeout(done, 500));\nthrow new Error('no');\n";
    let mut phases = bridge.follow(Upload::main(broken).to("/deploy/a")).await;
    phases.until("build").await;
    volume.replace("a/main.ts", hello("editor"));
    let (status, answer) = phases.done().await;
    // A router may have read the files before or after the editor wrote.
    match answer["type"].as_str() {
        Some("urn:switchyard:problem:superseded") => assert_eq!(status, 409, "{answer}"),
        Some("urn:switchyard:problem:build-failed") => {
            assert_eq!((status, &answer["left"]), (422, &json!(["a"])), "{answer}");
        }
        _ => panic!("{status} {answer}"),
    }
    eventually("the editor's change is served by both", || async {
        routers.texts("/a/").await == ["editor", "editor"]
    })
    .await;
    assert_eq!(volume.read("a/main.ts"), hello("editor"));
}

#[tokio::test]
async fn an_editor_and_deploys_by_turns_are_both_served() {
    let volume = Volume::with("a", hello("0"));
    let routers = Replicas::start(&volume, 2).await;
    let bridge = routers.start_bridge().await;
    for index in 0..5 {
        let (edited, deployed) = (format!("edit {index}"), format!("deploy {index}"));
        volume.replace("a/main.ts", hello(&edited));
        eventually("the edit is served by both", || async {
            routers.texts("/a/").await == [edited.as_str(), &edited]
        })
        .await;
        bridge.deploy_live("a", &Upload::main(hello(&deployed))).await;
        assert_eq!(routers.texts("/a/").await, [deployed.as_str(), &deployed]);
    }
}

#[tokio::test]
async fn a_project_that_is_a_link_is_refused_or_replaced_but_never_written_through() {
    let elsewhere = tempdir().unwrap();
    std::fs::write(elsewhere.path().join("main.ts"), hello("elsewhere")).unwrap();
    let volume = Volume::new();
    volume.link(elsewhere.path(), "a");
    let before = Tree::of(elsewhere.path());
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    let reply = bridge.deploy("a", &Upload::main(hello("new"))).await;
    if reply.status == 200 {
        assert_eq!(routers.texts("/a/").await, ["new"]);
    } else {
        assert!(reply.status < 500, "{}", reply.text());
    }
    assert_eq!(Tree::of(elsewhere.path()), before);
    bridge.clean().await;
}

#[tokio::test]
async fn a_project_in_which_something_is_mounted_is_refused_and_keeps_it() {
    if !Mounts::are_possible() {
        return; // Containers often forbid it.
    }
    let volume = Volume::with("a", hello("one"));
    std::fs::create_dir(volume.path("a/data")).unwrap();
    let router = Router::start(&volume).await;
    let mounts = Mounts::new();
    mounts.tmpfs("4m", &volume.path("a/data"));
    let bridge = Builder::for_projects(volume.root()).router(&router).inside(&mounts).start().await;
    let tree = Tree::of_projects(volume.root());
    bridge.deploy("a", &Upload::main(hello("two"))).await.assert_problem(409, "not-a-folder");
    assert_eq!(Tree::of_projects(volume.root()), tree);
    bridge.clean().await;
}

#[tokio::test]
async fn leftovers_of_an_earlier_bridge_are_cleaned_and_those_of_others_are_not() {
    let volume = Volume::with("a", hello("one"));
    volume.write(".switchyard-bridge/staging/left-over/a/main.ts", "half of a fi");
    volume.write("_mine/notes.txt", "somebody's");
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    bridge.clean().await;
    assert_eq!(volume.read("_mine/notes.txt"), "somebody's");
    assert_eq!(routers.texts("/a/").await, ["one"]);
}

/// Recursion would end the bridge, or the removal for want of descriptors, and so would each start
/// after it.
#[tokio::test]
async fn a_folder_of_any_depth_in_a_project_holds_up_neither_its_removal_nor_the_next_start() {
    let volume = Volume::in_memory();
    volume.project("a").file("main.ts", hello("old")).write();
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    // The path is too long for any call: each folder is made around those that are there.
    let (outer, inner) = (volume.path(".outer"), volume.path(".inner"));
    fs::create_dir(&outer).unwrap();
    for _ in 0..20_000 {
        fs::rename(&outer, &inner).unwrap();
        fs::create_dir(&outer).unwrap();
        fs::rename(&inner, outer.join("d")).unwrap();
    }
    fs::rename(&outer, volume.path("a/.git")).unwrap();
    let removal = with_method(Method::DELETE, "/projects/a");
    assert_eq!(bridge.client.send(removal).await.status, 200);
    bridge.clean().await;
    bridge.stop().await;
    let bridge = routers.start_bridge().await;
    bridge.deploy_live("b", &Upload::main(hello("new"))).await;
}

#[tokio::test]
async fn a_full_volume_is_reported_and_changes_nothing() {
    if !Mounts::are_possible() {
        return; // Containers often forbid it.
    }
    let (mounts, folder) = (Mounts::new(), tempdir().unwrap());
    mounts.tmpfs("4m", folder.path());
    let volume = mounts.seen_from_outside(folder.path());
    std::fs::create_dir(volume.join("a")).unwrap();
    std::fs::write(volume.join("a/main.ts"), hello("one")).unwrap();
    let routers = Replicas::start_each(folder.path(), 2, |_, router| router.inside(&mounts)).await;
    let bridge = routers.bridge().inside(&mounts).start().await;
    let (tree, probe) = (Tree::of_projects(&volume), Probe::start(&routers[0].public, "/a/").await);
    let large = [("main.ts", hello("two")), ("large.bin", "x".repeat(6_000_000))];
    let reply = bridge.deploy("a", &Upload::curl(&large)).await;
    reply.assert_problem(507, "volume-full");
    eventually("nothing is left", || std::future::ready(staged(&volume).is_empty())).await;
    assert_eq!(Tree::of_projects(&volume), tree);
    bridge.deploy_live("a", &Upload::main(hello("two"))).await;
    assert_eq!(routers.texts("/a/").await, ["two", "two"]);
    probe.finish().await.no_failures().none_mixed().versions_monotonic(&["one", "two"]);
}

#[tokio::test]
async fn a_read_only_volume_is_reported_until_it_is_writable_again() {
    if !Mounts::are_possible() {
        return; // Containers often forbid it.
    }
    let volume = Volume::with("a", hello("one"));
    let router = Router::start(&volume).await;
    let mounts = Mounts::new();
    mounts.bind(volume.root());
    // The history is open for writing: on the volume it would keep it from becoming read-only.
    let state = tempfile::tempdir().unwrap();
    let bridge = Builder::for_projects(volume.root()).router(&router).inside(&mounts);
    let bridge = bridge.flag("state", state.path().display()).start().await;
    bridge.deploy_live("a", &Upload::main(hello("two"))).await;
    bridge.clean().await;
    let tree = Tree::of_projects(volume.root());
    mounts.writable(volume.root(), false);
    let reply = bridge.deploy("a", &Upload::main(hello("three"))).await;
    reply.assert_problem(500, "volume-failed");
    assert_eq!(
        (Tree::of_projects(volume.root()), router.public.get("/a/").await.text()),
        (tree, "two".into())
    );
    mounts.writable(volume.root(), true);
    bridge.deploy_live("a", &Upload::main(hello("three"))).await;
    assert_eq!(router.public.get("/a/").await.text(), "three");
}

#[tokio::test]
async fn a_staging_folder_on_another_device_is_refused_at_the_start() {
    if !Mounts::are_possible() {
        return; // Containers often forbid it.
    }
    let volume = Volume::with("a", hello("one"));
    let router = Router::start(&volume).await;
    let tree = Tree::of_projects(volume.root());
    let mounts = Mounts::new();
    mounts.tmpfs("4m", &volume.path(".switchyard-bridge/staging"));
    let ended = Builder::for_projects(volume.root()).router(&router).inside(&mounts).run_to_end().await;
    assert_eq!(ended.status.code(), Some(64));
    assert!(ended.log.text().contains("staging is a mount or a link"), "{}", ended.log.text());
    assert_eq!(
        (Tree::of_projects(volume.root()), router.public.get("/a/").await.text()),
        (tree, "one".into())
    );
}

#[tokio::test]
async fn a_damaged_history_is_moved_aside_and_named_and_the_bridge_is_ready_all_the_same() {
    let volume = Volume::with("a", hello("one"));
    let history = volume.path(".switchyard-bridge/state/history");
    fs::create_dir_all(&history).unwrap();
    fs::write(history.join("ledger.db"), "not a database ".repeat(1000)).unwrap();
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    let ready = bridge.client.get("/readyz").await;
    assert_eq!(ready.status, 200);
    assert!(ready.text().contains("history: it was damaged, and is in "), "{}", ready.text());
    bridge.stop().await;
    let bridge = routers.start_bridge().await;
    assert_eq!(bridge.client.get("/readyz").await.text(), "ready\n");
}
