//! Drift: the volume differs from the commit that is live, which is reported and put back.

use switchyard_contract::source::SourceStatus;
use switchyard_integration::fixtures::hello;
use switchyard_integration::git::Repository;
use switchyard_integration::sources::{Scene, Source};

const INCLUDES: &str = r#"{ "switchyard": { "include": ["../_lib"] } }"#;
const MAIN: &str =
    r#"import { text } from "../_lib/text.ts"; export default { fetch: () => new Response(text) };"#;

fn lib(text: &str) -> String {
    format!("export const text = {text:?};\n")
}

fn is_missing(status: &SourceStatus) -> bool {
    status.projects.iter().any(|project| project.missing)
}

fn has_drift(status: &SourceStatus) -> bool {
    status.projects.iter().any(|project| project.missing || project.drift.is_some())
}

#[tokio::test]
async fn a_project_whose_folder_is_gone_is_drift_and_is_put_back() {
    let repository = Repository::create().await;
    let first = repository.commit(&[("api/main.ts", &hello("one"))], "one").await;
    let scene = Scene::start(&[Source::of("shop", &repository)]).await;
    scene.api.synced("shop", &first).await;
    scene.volume.remove("api");
    scene.api.becomes("shop", "the folder is missed", is_missing).await;
    scene.configure(&[Source::of("shop", &repository).key("drift", "\"restore\"")]).await;
    scene.api.becomes("shop", "the folder is back", |status| !has_drift(status)).await;
    assert_eq!(scene.routers.texts("/api/").await, ["one"]);
}

#[tokio::test]
async fn a_source_in_hold_puts_back_what_is_live_and_the_commit_that_waits_goes_on_waiting() {
    let repository = Repository::create().await;
    repository.commit(&[("api/main.ts", &hello("one"))], "one").await;
    let source = || Source::of("shop", &repository).key("publish", "\"hold\"").key("drift", "\"restore\"");
    let scene = Scene::start(&[source()]).await;
    scene.api.sync("shop").await;
    scene.api.publish("shop").await;
    let second = repository.commit(&[("api/main.ts", &hello("two"))], "two").await;
    scene.api.sync("shop").await;
    scene.volume.write("api/main.ts", hello("edited"));
    scene.api.becomes("shop", "the edit is drift", has_drift).await;
    let status = scene.api.becomes("shop", "the edit is gone", |status| !has_drift(status)).await;
    assert_eq!(status.ready, Some(second));
    assert_eq!(scene.routers.texts("/api/").await, ["one"]);
}

#[tokio::test]
async fn a_shared_folder_that_was_edited_is_put_back_with_the_projects_that_include_it() {
    let repository = Repository::create().await;
    let files = [("api/main.ts", MAIN), ("api/deno.json", INCLUDES), ("_lib/text.ts", &lib("one"))];
    let first = repository.commit(&files, "one").await;
    let scene = Scene::start(&[Source::of("shop", &repository).key("shared", "[\"_lib\"]")]).await;
    scene.api.synced("shop", &first).await;
    assert_eq!(scene.routers.texts("/api/").await, ["one"]);
    scene.volume.write("_lib/text.ts", lib("edited"));
    scene.api.becomes("shop", "the edit is drift", has_drift).await;
    let reply = scene.api.post("shop", "sync?force=1").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(scene.routers.texts("/api/").await, ["one"]);
    assert_eq!(scene.volume.read("_lib/text.ts"), lib("one"));
}

#[tokio::test]
async fn a_freeze_that_was_answered_outlasts_a_kill() {
    let repository = Repository::create().await;
    let first = repository.commit(&[("api/main.ts", &hello("one"))], "one").await;
    let mut scene = Scene::start(&[Source::of("shop", &repository)]).await;
    scene.api.synced("shop", &first).await;
    scene.api.freeze("shop", "release").await;
    scene.restart_bridge().await;
    assert_eq!(scene.api.status("shop").await.frozen.as_deref(), Some("release"));
}
