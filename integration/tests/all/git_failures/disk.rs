//! A disk of the state folder, or of the volume, that is full. Left out where a test may not mount.

use std::fs;

use switchyard_contract::source::SyncOutcome;
use switchyard_integration::bridge::mounts::Mounts;
use switchyard_integration::eventually;

use super::scene::Scene;

#[tokio::test]
async fn a_full_disk_of_the_mirrors_is_named_and_what_is_live_stays() {
    if !Mounts::are_possible() {
        return; // Containers often forbid it.
    }
    let scene = Scene::new().await;
    scene.source(&scene.file_url(), "");
    let first = scene.push("one").await;
    let mounts = Mounts::new();
    fs::create_dir(scene.state()).unwrap();
    // More than has to stay free.
    mounts.tmpfs("80m", &scene.state());
    let shop = Scene::started(scene.bridge().inside(&mounts)).await;
    shop.follows(&first).await;
    let filler = mounts.seen_from_outside(&scene.state().join("filler"));
    fs::write(&filler, vec![1; 40 << 20]).unwrap();
    let second = scene.push("two").await;
    let synced = shop.sync().await;
    assert!([422, 507].contains(&synced.status), "{synced:#?}");
    assert_eq!(synced.report.outcome, SyncOutcome::Failed, "{synced:#?}");
    let detail = shop.names("disk-full").await;
    assert!(detail.contains("bytes are free"), "{detail}");
    scene.still("one").await;
    assert_eq!(shop.status().await.applied.as_deref(), Some(first.as_str()));
    fs::remove_file(&filler).unwrap();
    shop.syncs_to(&second).await;
    scene.still("two").await;
}

#[tokio::test]
async fn a_disk_of_the_mirrors_that_is_full_to_the_last_byte_stops_no_bridge() {
    if !Mounts::are_possible() {
        return; // Containers often forbid it.
    }
    let scene = Scene::new().await;
    scene.source(&scene.file_url(), "");
    let commit = scene.push("one").await;
    let mounts = Mounts::new();
    fs::create_dir(scene.state()).unwrap();
    mounts.tmpfs("80m", &scene.state());
    // No room for the first mirror, nor for the source's state.
    let filler = mounts.seen_from_outside(&scene.state().join("filler"));
    let full = fs::write(&filler, vec![1; 90 << 20]);
    assert_eq!(full.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    let shop = Scene::started(scene.bridge().inside(&mounts)).await;
    shop.names("disk-full").await;
    assert_eq!(scene.routers.texts("/own/").await, ["own"]);
    fs::remove_file(&filler).unwrap();
    eventually("the source recovers", || async { shop.sync().await.status == 200 }).await;
    shop.follows(&commit).await;
    scene.still("one").await;
}

#[tokio::test]
async fn a_commit_that_a_read_only_volume_cannot_take_changes_nothing() {
    if !Mounts::are_possible() {
        return; // Containers often forbid it.
    }
    let scene = Scene::new().await;
    scene.source(&scene.file_url(), "");
    let first = scene.push("one").await;
    let mounts = Mounts::new();
    mounts.bind(scene.volume.root());
    let shop = Scene::started(scene.bridge().inside(&mounts)).await;
    shop.follows(&first).await;
    mounts.writable(scene.volume.root(), false);
    let second = scene.push("two").await;
    let synced = shop.sync().await;
    assert_ne!(synced.status, 200, "{synced:#?}");
    let status = shop.status().await;
    assert!(status.problem.is_some() && status.applied == Some(first), "{status:#?}");
    scene.still("one").await;
    mounts.writable(scene.volume.root(), true);
    shop.syncs_to(&second).await;
    scene.still("two").await;
}
