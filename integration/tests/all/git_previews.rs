//! Previews: each branch that the settings name is a set of projects of its own, for as long as the
//! branch is there, young enough, and among the newest.

use switchyard_contract::source::SyncOutcome;
use switchyard_integration::bridge::signed::now;
use switchyard_integration::client::{request, with_header};
use switchyard_integration::eventually;
use switchyard_integration::fixtures::hello;
use switchyard_integration::git::Repository;
use switchyard_integration::sources::{Forge, HOOK_SECRET, Scene, Source};

const DAY: i64 = 24 * 60 * 60;

/// Commits one text for `api` to a branch, with the committer's time `age` seconds ago.
async fn push(repository: &Repository, branch: &str, label: &str, age: i64) -> String {
    let time = u64::try_from(now() - age).expect("it is after 1970");
    repository.on(branch).at(time).file("api/main.ts", hello(label)).commit(label).await
}

/// A source with a webhook and these previews, and its first commit on `main`, which is live.
async fn shop(previews: &str) -> (Repository, Scene, String) {
    let repository = Repository::create().await;
    let first = push(&repository, "main", "main", 0).await;
    let source = shop_with(&repository, previews);
    let scene = Scene::start(&[source]).await;
    scene.api.synced("shop", &first).await;
    (repository, scene, first)
}

fn shop_with(repository: &Repository, previews: &str) -> Source {
    Source::of("shop", repository).webhook("github").key("previews", previews)
}

/// The names of all sources.
async fn sources(scene: &Scene) -> Vec<String> {
    scene.api.statuses().await.into_iter().map(|status| status.source).collect()
}

/// Waits until there are exactly these sources.
async fn become_sources(scene: &Scene, names: &[&str]) {
    eventually(&format!("the sources are {names:?}"), || async { sources(scene).await == names }).await;
}

/// Waits until a preview is there, and this commit of it is live.
async fn is_live(scene: &Scene, preview: &str, commit: &str) {
    let names = || async { sources(scene).await.iter().any(|name| name == preview) };
    eventually(&format!("there is {preview}"), names).await;
    scene.api.live(preview, commit).await;
}

/// Tells the bridge of a push to a branch.
async fn pushed_to(scene: &Scene, branch: &str, commit: &str) {
    let ref_name = format!("refs/heads/{branch}");
    scene.deliver(&Forge::Github.push_of("shop", &ref_name, commit, HOOK_SECRET)).await;
}

#[tokio::test]
async fn a_pushed_branch_has_a_host_of_its_own_until_it_is_deleted() {
    let (repository, scene, first) = shop(r#"{ branches = ["feature/*"] }"#).await;
    assert_eq!(sources(&scene).await, ["shop"]);
    let other = push(&repository, "other", "other", 0).await;
    pushed_to(&scene, "other", &other).await;
    let pushed = push(&repository, "feature/x", "one", 0).await;
    pushed_to(&scene, "feature/x", &pushed).await;
    is_live(&scene, "shop--feature-x", &pushed).await;
    assert_eq!(sources(&scene).await, ["shop", "shop--feature-x"]);
    let status = scene.api.status("shop--feature-x").await;
    assert_eq!(status.preview_of.as_deref(), Some("shop"));
    assert_eq!((status.follows.as_str(), status.publish.as_str()), ("branch feature/x", "follow"));
    assert_eq!(scene.routers.texts("/api--feature-x/").await, ["one"]);
    let by_host = with_header(request("/"), "host", "api--feature-x.example.com");
    assert_eq!(scene.routers[0].public.send(by_host).await.text(), "one");
    assert_eq!(scene.routers.texts("/api/").await, ["main"]);

    // The next push reaches the preview, and a sync of its own does.
    let second = push(&repository, "feature/x", "two", 0).await;
    pushed_to(&scene, "feature/x", &second).await;
    scene.api.live("shop--feature-x", &second).await;
    let third = push(&repository, "feature/x", "three", 0).await;
    scene.api.goes_live("shop--feature-x", &third).await;
    assert_eq!(scene.routers.texts("/api--feature-x/").await, ["three"]);

    repository.delete_branch("feature/x").await;
    assert_eq!(scene.api.sync("shop").await.outcome, SyncOutcome::Unchanged);
    become_sources(&scene, &["shop"]).await;
    scene.routers[0].public.get("/api--feature-x/").await.assert_problem(404, "unknown-project");
    assert!(!scene.volume.path("api--feature-x").exists());
    assert!(!scene.state.path().join("sources/shop--feature-x.json").exists());
    let status = scene.api.status("shop").await;
    assert_eq!((status.applied, status.preview_of), (Some(first), None));
    assert_eq!(scene.routers.texts("/api/").await, ["main"]);
}

#[tokio::test]
async fn the_newest_branches_have_previews_and_old_ones_have_none() {
    let (repository, scene, _) = shop(r#"{ branches = ["feature/*"], keep = "7d", most = 2 }"#).await;
    push(&repository, "feature/old", "old", 8 * DAY).await;
    let a = push(&repository, "feature/a", "a", 3 * DAY).await;
    let b = push(&repository, "feature/b", "b", 2 * DAY).await;
    scene.api.sync("shop").await;
    is_live(&scene, "shop--feature-a", &a).await;
    is_live(&scene, "shop--feature-b", &b).await;
    assert_eq!(sources(&scene).await, ["shop", "shop--feature-a", "shop--feature-b"]);

    let c = push(&repository, "feature/c", "c", DAY).await;
    scene.api.sync("shop").await;
    is_live(&scene, "shop--feature-c", &c).await;
    become_sources(&scene, &["shop", "shop--feature-b", "shop--feature-c"]).await;
    scene.routers[0].public.get("/api--feature-a/").await.assert_problem(404, "unknown-project");
    assert_eq!(scene.routers.texts("/api--feature-b/").await, ["b"]);

    // Without the key all previews end.
    scene.configure(&[Source::of("shop", &repository).webhook("github")]).await;
    become_sources(&scene, &["shop"]).await;
    assert_eq!(scene.routers.texts("/api/").await, ["main"]);
}

#[tokio::test]
async fn a_preview_that_fails_keeps_nothing_else_from_going_live() {
    let (repository, scene, _) = shop(r#"{ branches = ["feature/*"] }"#).await;
    let time = u64::try_from(now()).expect("it is after 1970");
    let broken =
        repository.on("feature/x").at(time).file("api/main.ts", "export default {").commit("x").await;
    pushed_to(&scene, "feature/x", &broken).await;
    let is_there = || async { sources(&scene).await.len() == 2 };
    eventually("the preview is there", is_there).await;
    let failed = |status: &switchyard_contract::source::SourceStatus| status.failed.is_some();
    scene.api.becomes("shop--feature-x", "it has failed", failed).await;
    let second = push(&repository, "main", "next", 0).await;
    scene.api.goes_live("shop", &second).await;
    assert_eq!(scene.api.sync_all().await.len(), 1, "previews are not among those that CI waits for");
    assert_eq!(scene.routers.texts("/api/").await, ["next"]);
}

#[tokio::test]
async fn a_preview_outlasts_a_restart_and_ends_after_it_when_its_branch_is_gone() {
    let (repository, mut scene, _) = shop(r#"{ branches = ["feature/*"] }"#).await;
    let pushed = push(&repository, "feature/x", "one", 0).await;
    scene.api.sync("shop").await;
    is_live(&scene, "shop--feature-x", &pushed).await;
    scene.restart_bridge().await;
    assert_eq!(scene.api.status("shop--feature-x").await.applied.as_ref(), Some(&pushed));
    assert_eq!(scene.routers.texts("/api--feature-x/").await, ["one"]);
    repository.delete_branch("feature/x").await;
    scene.restart_bridge().await;
    become_sources(&scene, &["shop"]).await;
    assert!(!scene.volume.path("api--feature-x").exists());
}

#[tokio::test]
async fn a_preview_is_built_with_the_shared_folders_of_its_source_or_not_at_all() {
    let repository = Repository::create().await;
    let time = u64::try_from(now()).expect("it is after 1970");
    let entry = r#"import { label } from "../_shared/label.ts";
        export default { fetch: () => new Response(label) };"#;
    let main = repository
        .on("main")
        .at(time)
        .file("_shared/label.ts", "export const label = 'one';")
        .file("api/deno.json", r#"{ "switchyard": { "include": ["../_shared"] } }"#)
        .file("api/main.ts", entry)
        .commit("main")
        .await;
    repository.force_push("feature/same", &main).await;
    repository.force_push("feature/other", &main).await;
    let other = repository.on("feature/other").at(time);
    other.file("_shared/label.ts", "export const label = 'two';").commit("other").await;
    let source = shop_with(&repository, r#"{ branches = ["feature/*"] }"#).key("shared", r#"["_shared"]"#);
    let scene = Scene::start(&[source]).await;
    scene.api.synced("shop", &main).await;
    is_live(&scene, "shop--feature-same", &main).await;
    assert_eq!(scene.routers.texts("/api--feature-same/").await, ["one"]);

    become_sources(&scene, &["shop", "shop--feature-other", "shop--feature-same"]).await;
    let failed = |status: &switchyard_contract::source::SourceStatus| status.problem.is_some();
    let status = scene.api.becomes("shop--feature-other", "it is refused", failed).await;
    let problem = status.problem.expect("it has one");
    assert_eq!(problem.kind, "invalid", "{problem:?}");
    assert!(problem.detail.contains("api--feature-other includes _shared"), "{problem:?}");
    scene.routers[0].public.get("/api--feature-other/").await.assert_problem(404, "unknown-project");
}
