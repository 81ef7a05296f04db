//! Versions whose checkouts are gone: a rollback makes them again from their commits.

use std::fs;

use switchyard_integration::bridge::record::Record;
use switchyard_integration::eventually;
use switchyard_integration::fixtures::hello;
use switchyard_integration::git::Repository;
use switchyard_integration::sources::{Scene, Source};

/// A source with two deployed commits, of which no router keeps the first.
async fn pruned() -> (Repository, Scene, String, String) {
    let repository = Repository::create().await;
    let first = repository.commit(&[("api/main.ts", &hello("one"))], "first").await;
    let scene = Scene::with_routers(2, &[Source::of("shop", &repository)]).await;
    scene.api.synced("shop", &first).await;
    let second = repository.commit(&[("api/main.ts", &hello("two"))], "second").await;
    let old = version(&scene).await;
    scene.api.goes_live("shop", &second).await;
    forget(&scene, &old).await;
    (repository, scene, first, second)
}

/// The version of `api` that is live.
async fn version(scene: &Scene) -> String {
    let answers = scene.routers.answers("/api/").await;
    answers[0].1.clone().expect("an answer names its version")
}

/// Deletes the checkouts of a version, as routers do with old ones.
async fn forget(scene: &Scene, version: &str) {
    for router in scene.routers.iter() {
        let folder = router.state.path().join("checkouts").join(version);
        fs::remove_dir_all(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    }
    eventually("no router has the version", || async {
        let versions = scene.bridge.client.get("/projects/api/versions").await.json();
        let all = versions["versions"].as_array().expect("versions are listed");
        all.iter().all(|one| one["version"] != version || one["kept"].as_array().is_none_or(Vec::is_empty))
    })
    .await;
}

async fn rollback(scene: &Scene, to: &str) -> Record {
    Record::of(&scene.bridge.client.post(&format!("/projects/api/rollback?to={to}")).await)
}

#[tokio::test]
async fn a_version_that_no_router_keeps_is_made_again_from_its_commit() {
    let (_repository, scene, first, second) = pruned().await;
    let record = rollback(&scene, &first[..9]).await;
    assert_eq!(record.commit.as_ref().map(|commit| &commit.commit), Some(&first), "{record:#?}");
    assert_eq!(scene.routers.texts("/api/").await, ["one", "one"]);
    let reply = scene.routers[0].public.get("/api/").await;
    assert_eq!(reply.header("x-switchyard-commit"), Some(first.as_str()));

    // The one that was live is there still.
    rollback(&scene, &second).await;
    assert_eq!(scene.routers.texts("/api/").await, ["two", "two"]);
}

#[tokio::test]
async fn a_commit_that_the_mirror_lost_is_fetched_again() {
    let (_repository, mut scene, first, _) = pruned().await;
    // Its source is followed anew, with a mirror that has the newest commit only.
    let mirrors = scene.state.path().join("mirrors");
    fs::remove_dir_all(&mirrors).expect("the mirrors can be deleted");
    scene.restart_bridge().await;
    rollback(&scene, &first).await;
    assert_eq!(scene.routers.texts("/api/").await, ["one", "one"]);
}

#[tokio::test]
async fn a_commit_that_has_other_files_with_the_settings_of_now_is_not_rolled_back_to() {
    let (repository, scene, first, _) = pruned().await;
    let moved = repository.commit(&[("apps/api/main.ts", &hello("moved"))], "moved").await;
    scene.configure(&[Source::of("shop", &repository).key("projects", r#"[{ path = "apps/*" }]"#)]).await;
    scene.api.live("shop", &moved).await;
    let before = scene.routers.texts("/api/").await;
    let reply = scene.bridge.client.post(&format!("/projects/api/rollback?to={first}")).await;
    assert_eq!(reply.status, 422, "{}", reply.text());
    let detail = reply.json()["detail"].as_str().unwrap_or_default().to_owned();
    for part in ["no router keeps", &first, "source shop"] {
        assert!(detail.contains(part), "{detail}");
    }
    assert_eq!(scene.routers.texts("/api/").await, before);
    scene.bridge.clean().await;
}

#[tokio::test]
async fn a_version_of_an_upload_has_no_commit_to_be_made_again_from() {
    let (_repository, scene, ..) = pruned().await;
    let live = version(&scene).await;
    let digits = live.rsplit('@').next().expect("it has digits").to_owned();
    let unknown: String = digits.chars().map(|digit| if digit == '0' { '1' } else { '0' }).collect();
    let reply = scene.bridge.client.post(&format!("/projects/api/rollback?to=api@{unknown}")).await;
    reply.assert_problem(404, "unknown-version");
}
