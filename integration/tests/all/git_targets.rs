//! The refs that a source can follow: a branch, the newest of many tags, one commit, or any ref.

use switchyard_contract::source::SyncOutcome;
use switchyard_integration::client::Client;
use switchyard_integration::fixtures::hello;
use switchyard_integration::git::Repository;
use switchyard_integration::sources::{Scene, Source};

async fn commit_to(repository: &Repository, branch: &str, label: &str) -> String {
    repository.on(branch).file("api/main.ts", hello(label)).commit(label).await
}

async fn text(client: &Client) -> String {
    client.get("/api/").await.text()
}

#[tokio::test]
async fn a_source_follows_its_branch_and_no_other() {
    let repository = Repository::create().await;
    commit_to(&repository, "main", "main").await;
    let release = commit_to(&repository, "release/1.x", "release").await;
    let scene = Scene::start(&[Source::of("shop", &repository).key("branch", "\"release/1.x\"")]).await;
    let report = scene.api.synced("shop", &release).await;
    assert_eq!(report.ref_name.as_deref(), Some("refs/heads/release/1.x"));
    commit_to(&repository, "main", "newer").await;
    assert_eq!(scene.api.sync("shop").await.outcome, SyncOutcome::Unchanged);
    assert_eq!(text(&scene.routers[0].public).await, "release");
    let status = scene.api.status("shop").await;
    assert!(status.follows.contains("release/1.x"), "{}", status.follows);
}

#[tokio::test]
async fn a_forced_push_is_followed_and_the_version_before_can_be_rolled_back_to() {
    let repository = Repository::create().await;
    let first = commit_to(&repository, "main", "one").await;
    let second = commit_to(&repository, "main", "two").await;
    let scene = Scene::start(&[Source::of("shop", &repository)]).await;
    scene.api.synced("shop", &second).await;
    let third = repository.on("main").unrelated().file("api/main.ts", hello("three")).commit("three").await;
    scene.api.goes_live("shop", &third).await;
    assert_eq!(text(&scene.routers[0].public).await, "three");
    repository.force_push("main", &first).await;
    scene.api.goes_live("shop", &first).await;
    assert_eq!(text(&scene.routers[0].public).await, "one");
    let versions = scene.bridge.client.get("/projects/api/versions").await.json();
    let known = versions["versions"].as_array().map(Vec::len);
    assert_eq!(known, Some(3), "{versions:#}");
}

#[tokio::test]
async fn the_newest_tag_is_that_of_the_greatest_version() {
    let repository = Repository::create().await;
    let mut commits = Vec::new();
    for tag in ["v1.2.0", "v1.10.0", "v1.9.0", "v2.0.0", "nightly"] {
        let commit = commit_to(&repository, "main", tag).await;
        repository.tag(tag, &commit).await;
        commits.push(commit);
    }
    let scene = Scene::start(&[Source::of("shop", &repository).follows("tag", "v1.*")]).await;
    let report = scene.api.synced("shop", &commits[1]).await;
    assert_eq!(report.ref_name.as_deref(), Some("refs/tags/v1.10.0"));
    assert_eq!(text(&scene.routers[0].public).await, "v1.10.0");

    let newer = commit_to(&repository, "main", "annotated").await;
    repository.annotated_tag("v1.11.0", &newer, "a release").await;
    let report = scene.api.goes_live("shop", &newer).await;
    assert_eq!(report.ref_name.as_deref(), Some("refs/tags/v1.11.0"));
    assert_eq!(text(&scene.routers[0].public).await, "annotated");
    assert_eq!(scene.api.sync("shop").await.outcome, SyncOutcome::Unchanged);
}

#[tokio::test]
async fn a_tag_that_moves_is_followed_only_where_the_settings_say_so() {
    let repository = Repository::create().await;
    let first = commit_to(&repository, "main", "one").await;
    repository.tag("stable", &first).await;
    let source = Source::of("shop", &repository).follows("tag", "stable");
    let scene = Scene::start(std::slice::from_ref(&source)).await;
    scene.api.synced("shop", &first).await;
    let second = commit_to(&repository, "main", "two").await;
    repository.tag("stable", &second).await;
    let reply = scene.api.post("shop", "sync").await;
    assert!(reply.status >= 400, "{}", reply.text());
    assert!(reply.text().contains("stable") && reply.text().contains("moving_tags"), "{}", reply.text());
    assert_eq!(text(&scene.routers[0].public).await, "one");
    assert!(scene.api.status("shop").await.problem.is_some());

    scene.configure(&[source.key("moving_tags", "true")]).await;
    let status = scene.api.live("shop", &second).await;
    assert_eq!((status.problem, text(&scene.routers[0].public).await), (None, "two".to_owned()));
}

#[tokio::test]
async fn a_fixed_commit_stays_until_the_settings_name_another() {
    let repository = Repository::create().await;
    let first = commit_to(&repository, "main", "one").await;
    let second = commit_to(&repository, "main", "two").await;
    let source = Source::of("shop", &repository);
    let scene = Scene::start(&[source.clone().follows("commit", &first)]).await;
    let report = scene.api.synced("shop", &first).await;
    assert_eq!(report.ref_name, None);
    assert_eq!(text(&scene.routers[0].public).await, "one");
    assert_eq!(scene.api.sync("shop").await.outcome, SyncOutcome::Unchanged);
    scene.configure(&[source.follows("commit", &second)]).await;
    scene.api.live("shop", &second).await;
    assert_eq!(text(&scene.routers[0].public).await, "two");
}

#[tokio::test]
async fn a_ref_of_another_kind_is_followed() {
    let repository = Repository::create().await;
    commit_to(&repository, "main", "main").await;
    let first = commit_to(&repository, "work", "one").await;
    let pull = "refs/pull/7/head";
    repository.git_output(&["update-ref", pull, &first]).await;
    let scene = Scene::start(&[Source::of("shop", &repository).follows("ref", pull)]).await;
    let report = scene.api.synced("shop", &first).await;
    assert_eq!(report.ref_name.as_deref(), Some(pull));
    let second = commit_to(&repository, "work", "two").await;
    assert_eq!(scene.api.sync("shop").await.outcome, SyncOutcome::Unchanged);
    repository.git_output(&["update-ref", pull, &second]).await;
    scene.api.goes_live("shop", &second).await;
    assert_eq!(text(&scene.routers[0].public).await, "two");
}

#[tokio::test]
async fn a_sync_of_a_named_commit_goes_there_and_the_next_sync_goes_to_the_branch() {
    let repository = Repository::create().await;
    let first = commit_to(&repository, "main", "one").await;
    let second = commit_to(&repository, "main", "two").await;
    let scene = Scene::start(&[Source::of("shop", &repository)]).await;
    scene.api.synced("shop", &second).await;
    let reply = scene.api.post("shop", &format!("sync?commit={first}")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let answer = scene.routers[0].public.get("/api/").await;
    assert_eq!((answer.text().as_str(), answer.header("x-switchyard-commit")), ("one", Some(first.as_str())));
    scene.api.goes_live("shop", &second).await;
    assert_eq!(text(&scene.routers[0].public).await, "two");
    let none = "0123456789abcdef0123456789abcdef01234567";
    let reply = scene.api.post("shop", &format!("sync?commit={none}")).await;
    assert!(matches!(reply.status, 422 | 502), "{}", reply.text());
    let reply = scene.api.post("shop", "sync?commit=main").await;
    reply.assert_problem(400, "bad-request");
    assert_eq!(scene.api.status("shop").await.problem, None, "a wrong wish is no trouble of the source");
}

#[tokio::test]
async fn ids_of_sha_256_are_followed_too() {
    let repository = Repository::with_ids("sha256").await;
    let first = commit_to(&repository, "main", "one").await;
    assert_eq!(first.len(), 64);
    let scene = Scene::start(&[Source::of("shop", &repository)]).await;
    scene.api.synced("shop", &first).await;
    let second = commit_to(&repository, "main", "two").await;
    scene.api.goes_live("shop", &second).await;
    let answer = scene.routers[0].public.get("/api/").await;
    let commit = answer.header("x-switchyard-commit");
    assert_eq!((answer.text().as_str(), commit), ("two", Some(second.as_str())));
}
