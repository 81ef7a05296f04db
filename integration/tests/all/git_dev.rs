//! A git source whose projects are read from a developer's folder (`source dev`).

use std::path::Path;

use http::Method;
use switchyard_contract::source::{OverrideRequest, Overrides, SourceStatus};
use switchyard_integration::client::{Reply, json_body, post, with_method};
use switchyard_integration::eventually;
use switchyard_integration::fixtures::hello;
use switchyard_integration::git::Repository;
use switchyard_integration::sources::{Scene, Source};
use switchyard_integration::volume::Volume;

/// A repository with two projects, and a developer's clone with other files.
async fn repository() -> (Repository, String, Volume) {
    let repository = Repository::create().await;
    let files = ["apps/api", "apps/web"].map(|folder| (format!("{folder}/main.ts"), hello("commit")));
    let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let first = repository.commit(&files, "first").await;
    let clone = Volume::new();
    for folder in ["shop/apps/api", "shop/apps/web"] {
        clone.write(&format!("{folder}/main.ts"), hello("mine"));
    }
    (repository, first, clone)
}

fn source(repository: &Repository) -> Source {
    Source::of("shop", repository).key("projects", r#"[{ path = "apps/*" }]"#)
}

/// Routers that allow the folders of `clone`.
async fn scene(count: usize, source: Source, clone: &Volume) -> Scene {
    let allowed = clone.root().display().to_string();
    let router = |builder: switchyard_integration::router::Builder| builder.flag("allow-override", &allowed);
    Scene::start_with(count, &[source], router, |bridge| bridge).await
}

async fn try_override(scene: &Scene, folder: &Path) -> Reply {
    let local_path = folder.display().to_string();
    let body = serde_json::to_vec(&OverrideRequest { local_path }).expect("a path is valid JSON");
    let mut request = json_body(post("/sources/shop/override", body));
    *request.method_mut() = Method::PUT;
    scene.bridge.client.send(request).await
}

async fn overridden(scene: &Scene, folder: &Path) -> Overrides {
    read(&try_override(scene, folder).await)
}

async fn end_override(scene: &Scene) -> Overrides {
    read(&scene.bridge.client.send(with_method(Method::DELETE, "/sources/shop/override")).await)
}

fn read(reply: &Reply) -> Overrides {
    assert_eq!(reply.status, 200, "{}", reply.text());
    serde_json::from_slice(&reply.body).expect("the answer is the JSON of the contract")
}

fn folders(status: &SourceStatus) -> Vec<Option<&str>> {
    status.projects.iter().map(|project| project.overridden.as_deref()).collect()
}

async fn texts(scene: &Scene) -> Vec<String> {
    let public = &scene.routers[0].public;
    vec![public.get("/api/").await.text(), public.get("/web/").await.text()]
}

#[tokio::test]
async fn a_source_is_read_from_a_clone_until_that_ends_and_then_the_newest_commit_is_live() {
    let (repository, first, clone) = repository().await;
    let scene = scene(1, source(&repository), &clone).await;
    scene.api.synced("shop", &first).await;
    let shop = clone.path("shop").canonicalize().unwrap();
    let overrides = overridden(&scene, &shop).await;
    assert_eq!(overrides.projects.len(), 2, "{overrides:#?}");
    assert_eq!(texts(&scene).await, ["mine", "mine"]);
    let status = scene.api.status("shop").await;
    let expected = ["apps/api", "apps/web"].map(|path| shop.join(path).display().to_string());
    assert_eq!(folders(&status), expected.each_ref().map(|path| Some(path.as_str())));

    let second = repository.commit(&[("apps/api/main.ts", &hello("second"))], "second").await;
    let before = scene.api.commits("shop").await.len();
    let reply = scene.api.post("shop", "sync").await;
    let problem = reply.assert_problem(409, "overridden");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("switchyard source dev shop --disable"), "{detail}");
    assert_eq!(scene.api.commits("shop").await.len(), before, "a deploy that cannot succeed is not recorded");
    let status = scene.api.status("shop").await;
    assert_eq!(status.problem.map(|problem| problem.kind).as_deref(), Some("overridden"));
    assert!(status.projects.iter().all(|project| project.drift.is_none()), "{:#?}", status.projects);

    clone.write("shop/apps/api/main.ts", hello("saved"));
    eventually("the save is live", || async { texts(&scene).await == ["saved", "mine"] }).await;
    assert!(end_override(&scene).await.projects.is_empty());
    let status = scene.api.live("shop", &second).await;
    assert_eq!(folders(&status), [None, None]);
    assert_eq!(texts(&scene).await, ["second", "commit"]);
}

#[tokio::test]
async fn an_override_is_of_all_projects_or_of_none() {
    let (repository, first, clone) = repository().await;
    let scene = scene(1, source(&repository), &clone).await;
    scene.api.synced("shop", &first).await;
    clone.rename("shop/apps/web", "away");
    try_override(&scene, &clone.path("shop")).await.assert_problem(422, "no-folder");
    assert_eq!(texts(&scene).await, ["commit", "commit"]);
    assert_eq!(folders(&scene.api.status("shop").await), [None, None]);
    let elsewhere = Volume::new();
    elsewhere.write("apps/api/main.ts", hello("x"));
    elsewhere.write("apps/web/main.ts", hello("x"));
    let reply = try_override(&scene, elsewhere.root()).await;
    let problem = reply.assert_problem(403, "override-not-allowed");
    assert!(problem["detail"].as_str().unwrap().contains("--allow-override"), "{problem}");
}

#[tokio::test]
async fn a_local_folder_is_refused_with_several_routers() {
    let (repository, first, clone) = repository().await;
    let scene = scene(2, source(&repository), &clone).await;
    scene.api.synced("shop", &first).await;
    try_override(&scene, &clone.path("shop")).await.assert_problem(409, "several-routers");
    assert!(end_override(&scene).await.projects.is_empty());
}
