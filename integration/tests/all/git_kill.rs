//! The bridge is killed at any moment of syncs: a whole commit is served, the new one or the one
//! before, and the next bridge brings the new one.

use std::time::Duration;

use futures_util::future::join_all;
use switchyard_integration::bridge::tree::Tree;
use switchyard_integration::fixtures::{half, pair};
use switchyard_integration::probe::Probe;
use switchyard_integration::upload::Upload;
use switchyard_integration::{eventually, fixtures};

use super::git_failures::scene::{Scene, Shop, numbers};

const PROJECTS: [&str; 2] = ["api", "web"];

/// The kills, and the seed of their moments.
const KILLS: u64 = 30;
const SEED: u64 = 14;

/// Two projects that reveal a mix of two commits, in their answers and in their files.
async fn push(scene: &Scene, label: &str) -> String {
    let mut change = scene.repository.on("main");
    for project in PROJECTS {
        let path = |file: &str| format!("apps/{project}/{file}");
        change = change.remove(&path("files")).file(&path("main.ts"), pair());
        change = change.file(&path("a.ts"), half("a", label)).file(&path("b.ts"), half("b", label));
        for index in 0..20 {
            change = change.file(&path(&format!("files/{label}-{index}.txt")), label.repeat(500));
        }
    }
    change.commit(label).await
}

/// Both projects as they are on the volume.
fn trees(scene: &Scene) -> [Tree; 2] {
    PROJECTS.map(|project| Tree::of(&scene.volume.path(project)))
}

/// The label of the commit that all of a router's projects serve, if it is one.
async fn served(scene: &Scene, router: usize) -> Option<String> {
    let client = &scene.routers[router].public;
    let texts =
        join_all(PROJECTS.map(|project| async move { client.get(&format!("/{project}/")).await.text() }));
    let texts = texts.await;
    let (a, b) = texts[0].split_once(':')?;
    (a == b && texts[0] == texts[1]).then(|| a.to_owned())
}

/// Waits until each router serves a whole commit: one of these two.
async fn one_whole(scene: &Scene, labels: [&str; 2]) {
    eventually("each router serves a whole commit", || async {
        let all = join_all((0..2).map(|router| served(scene, router))).await;
        all.iter().all(|label| label.as_deref().is_some_and(|label| labels.contains(&label)))
    })
    .await;
}

#[tokio::test]
async fn killed_at_thirty_moments_of_syncs_the_bridge_leaves_whole_commits_and_the_next_one_goes_on() {
    let scene = Scene::with_routers(2).await;
    scene.source(&scene.file_url(), "");
    let mut commit = push(&scene, "v0").await;
    let mut shop = scene.start().await;
    shop.follows(&commit).await;
    let mut probes = Vec::new();
    for router in scene.routers.iter() {
        for project in PROJECTS {
            probes.push(Probe::with_connections(&router.public, &format!("/{project}/"), 1).await);
        }
    }
    let mut number = numbers(SEED);
    for kill in 1..=KILLS {
        let old = trees(&scene);
        let [before, label] = [kill - 1, kill].map(|kill| format!("v{kill}"));
        commit = push(&scene, &label).await;
        let begun = shop.bridge.client.post("/sources/shop/sync?wait=0").await;
        assert_eq!(begun.status, 202, "{}", begun.text());
        // The only sleep: a kill at an arbitrary moment.
        let moment = number() % 500_000;
        tokio::time::sleep(Duration::from_micros(moment)).await;
        let what = format!("kill {kill}, after {moment} µs");
        shop.bridge.kill().await;
        let left = trees(&scene);
        one_whole(&scene, [&before, &label]).await;
        shop = scene.start().await;
        shop.follows(&commit).await;
        shop.bridge.clean().await;
        let new = trees(&scene);
        for index in 0..PROJECTS.len() {
            assert!(
                [&old[index], &new[index]].contains(&&left[index]),
                "{what}: half a tree: {:#?}",
                left[index]
            );
        }
        let expected = format!("{label}:{label}");
        for project in PROJECTS {
            scene.answers(project, &expected).await;
        }
        assert_synced(&scene, &shop, &commit, &what).await;
    }
    let labels: Vec<_> = (0..=KILLS).map(|index| format!("v{index}:v{index}")).collect();
    let labels: Vec<_> = labels.iter().map(String::as_str).collect();
    for probe in probes {
        probe.finish().await.no_failures().none_mixed().versions_monotonic(&labels);
    }
}

/// The next sync succeeds, and one mirror is left, without locks or halves of packs.
async fn assert_synced(scene: &Scene, shop: &Shop, commit: &str, what: &str) {
    let synced = shop.sync().await;
    assert_eq!((synced.status, synced.report.commit.as_deref()), (200, Some(commit)), "{what}: {synced:#?}");
    assert_eq!(scene.mirrors().len(), 1, "{what}: {:?}", scene.mirrors());
}

#[tokio::test]
async fn killed_in_its_first_sync_the_bridge_leaves_the_project_absent_or_whole() {
    let scene = Scene::with_routers(2).await;
    scene.source(&scene.file_url(), "");
    let commit = push(&scene, "first").await;
    let mut number = numbers(SEED + 1);
    for _ in 0..8 {
        let bridge = scene.bridge().start_unready().await;
        tokio::time::sleep(Duration::from_micros(number() % 300_000)).await;
        bridge.kill().await;
        for router in 0..2 {
            eventually("the projects are absent, or there", || async {
                let client = &scene.routers[router].public;
                let statuses = join_all(
                    PROJECTS.map(|project| async move { client.get(&format!("/{project}/")).await.status }),
                );
                let statuses = statuses.await;
                statuses.iter().all(|status| *status == statuses[0] && [200, 404].contains(status))
            })
            .await;
        }
    }
    let shop = scene.start().await;
    shop.follows(&commit).await;
    for project in PROJECTS {
        scene.answers(project, "first:first").await;
    }
    // Uploads to projects that no source has are not delayed.
    shop.bridge.deploy_live("own", &Upload::main(fixtures::hello("uploaded"))).await;
}
