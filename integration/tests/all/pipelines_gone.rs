//! Runs and pipelines that name versions: by their own definition, and made again from their commits
//! where no router keeps them; never with other code.

use std::fs;

use serde_json::json;
use switchyard_contract::run::{ResumeRun, RunState};
use switchyard_integration::git::Repository;
use switchyard_integration::runs::{Routed, RunsApi, TaskProject, returns};
use switchyard_integration::sources::{Scene, Source};
use switchyard_integration::volume::Volume;

/// A project whose pipeline, registry, helpers and shared folder have this label.
fn files(label: &str, steps: &[&str]) -> Vec<(String, String)> {
    let deno = TaskProject::new("api")
        .set("include", json!(["../_lib"]))
        .set("registry", json!("./steps.js"))
        .task("label", json!({}), "")
        .pipeline("all", json!({ "tasks": steps, "version": "commit" }));
    let registry: Vec<_> = steps.iter().map(|step| format!("{step}: './{step}.js'")).collect();
    let mut files = vec![
        ("_lib/lib.js".to_owned(), format!("export const lib = {label:?};\n")),
        ("api/deno.json".to_owned(), deno.deno_json()),
        ("api/steps.js".to_owned(), format!("export default {{ {} }};\n", registry.join(", "))),
        ("api/label.ts".to_owned(), returns(label)),
    ];
    files.extend(steps.iter().map(|step| {
        let code = format!(
            "import {{ lib }} from '../_lib/lib.js';\n\
             export default ({{ input }}) => `${{input ?? ''}} {step} {label} ${{lib}}`.trim();\n"
        );
        (format!("api/{step}.js"), code)
    }));
    files
}

async fn commit(repository: &Repository, files: &[(String, String)], message: &str) -> String {
    let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    repository.commit(&files, message).await
}

/// The router deletes the checkouts of a version, as it does with old ones.
fn forget(scene: &Scene, version: &str) {
    for router in scene.routers.iter() {
        let folder = router.state.path().join("checkouts").join(version);
        fs::remove_dir_all(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    }
}

/// A source with two commits, of which no router keeps the first.
async fn gone(routers: usize) -> (Repository, Scene, RunsApi, String) {
    let repository = Repository::create().await;
    let first = commit(&repository, &files("old", &["one", "two"]), "first").await;
    let source = Source::of("shop", &repository).key("shared", r#"["_lib"]"#);
    let scene = Scene::with_routers(routers, &[source]).await;
    scene.api.synced("shop", &first).await;
    let api = RunsApi::new(&scene.bridge.client);
    let old = api.knows("api:all").await.overview.version;
    let second = commit(&repository, &files("new", &["one", "three"]), "second").await;
    scene.api.goes_live("shop", &second).await;
    api.becomes("api:all", "the second commit is live", |detail| detail.overview.version != old).await;
    forget(&scene, &old);
    (repository, scene, api, first)
}

#[tokio::test]
async fn a_pipeline_of_a_commit_has_that_commits_definition_registry_helpers_and_includes() {
    let (_repository, scene, api, first) = gone(2).await;
    let ended = api.start_pipeline("api:all").version(&first[..12]).ended().await;
    let is_made = |line: &String| line.contains("is made again from");
    assert!(scene.bridge.log.lines().iter().any(is_made), "no router kept it");
    let expected = json!("one old old two old old");
    assert_eq!(
        (ended.run.state, ended.run.result.clone()),
        (RunState::Succeeded, Some(expected)),
        "{ended:#?}"
    );
    for version in ended.steps.iter().map(|step| step.version.as_ref()).chain([ended.run.version.as_ref()]) {
        let commit = version.and_then(|version| version.commit.as_ref()).map(|commit| commit.commit.as_str());
        assert_eq!(commit, Some(first.as_str()), "{ended:#?}");
    }
    let live = api.start_pipeline("api:all").succeeded().await;
    assert_eq!(live.result, Some(json!("one new new three new new")));
    let resume = ResumeRun { from_step: Some("two".to_owned()), latest: false };
    let resumed = api.resume(ended.run.id, &resume).await;
    assert_eq!(resumed.run.result, ended.run.result, "{resumed:#?}");
}

#[tokio::test]
async fn a_run_of_a_version_that_no_router_keeps_uses_that_version() {
    let (_repository, _scene, api, first) = gone(1).await;
    let run = api.start("api:label").version(&first).succeeded().await;
    assert_eq!(run.result, Some(json!("old")));
    let commit = run.version.and_then(|version| version.commit).map(|commit| commit.commit);
    assert_eq!(commit, Some(first));
    assert_eq!(api.result("api:label").await, json!("new"));
}

#[tokio::test]
async fn a_run_fails_if_its_version_cannot_be_made_again() {
    let (_repository, scene, api, first) = gone(1).await;
    scene.configure(&[]).await;
    for ended in [
        api.start("api:label").version(&first).ended().await,
        api.start_pipeline("api:all").version(&first).ended().await,
    ] {
        let error = ended.run.error.as_ref().expect("it has failed");
        assert_eq!(
            (ended.run.state, error.reason.as_str()),
            (RunState::Failed, "version-gone"),
            "{ended:#?}"
        );
        assert!(ended.steps.is_empty() && error.message.contains("no router keeps api@"), "{error:#?}");
    }
}

#[tokio::test]
async fn a_retry_of_code_that_was_never_a_commit_fails_rather_than_run_other_code() {
    let volume = Volume::new();
    let project = |label: &str| TaskProject::new("api").task("label", json!({}), returns(label));
    project("old").write(&volume);
    let scene = Routed::start(&volume, 1).await;
    let api = &scene.api;
    let old = api.knows("api:label").await.overview.version;
    let first = api.start("api:label").succeeded().await;
    project("new").write(&volume);
    api.becomes("api:label", "new code is live", |detail| detail.overview.version != old).await;
    let kept = api.retry(first.id, Some("same")).await;
    assert_eq!(kept.run.result, Some(json!("old")), "its files are kept: {kept:#?}");
    let folder = scene.routers[0].state.path().join("checkouts").join(&old);
    fs::remove_dir_all(folder).expect("the checkout can be deleted");
    let retried = api.retry(first.id, Some("same")).await;
    let reason = retried.run.error.as_ref().map(|error| error.reason.as_str());
    assert_eq!((retried.run.state, reason), (RunState::Failed, Some("version-gone")), "{retried:#?}");
    let latest = api.retry(first.id, Some("latest")).await;
    assert_eq!(latest.run.result, Some(json!("new")), "{latest:#?}");
}
