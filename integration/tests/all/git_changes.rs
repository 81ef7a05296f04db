//! Commits that change several projects: all of them go live or none, and only what differs is
//! built.

use std::collections::BTreeMap;
use std::time::Duration;

use switchyard_contract::source::{SyncOutcome, SyncReport};
use switchyard_integration::bridge::record::Record;
use switchyard_integration::bridge::tree::Tree;
use switchyard_integration::client::{Reply, with_method};
use switchyard_integration::fixtures::hello;
use switchyard_integration::git::{Change, Repository};
use switchyard_integration::probe::Probe;
use switchyard_integration::sources::{Scene, Source};

const NAMES: [&str; 3] = ["a", "b", "c"];
const BROKEN: &str = "export default {\n  fetch() { return new Response('x' }\n};\n";

/// Answers the label of `../_shared/mod.ts`.
const OF_SHARED: &str =
    "import { label } from '../_shared/mod.ts';\nexport default { fetch: () => new Response(label) };\n";
const INCLUDING: &str = r#"{ "switchyard": { "include": ["../_shared"] } }"#;

fn labelled(label: &str) -> String {
    format!("export const label = {label:?};\n")
}

/// Commits `main.ts` of the three projects.
async fn commit(repository: &Repository, mains: [&str; 3], message: &str) -> String {
    let change = repository.on("main");
    let change = NAMES
        .iter()
        .zip(mains)
        .fold(change, |change, (name, main)| change.file(&format!("{name}/main.ts"), main));
    change.commit(message).await
}

/// The outcome of each project of a sync.
fn outcomes(report: &SyncReport) -> BTreeMap<&str, SyncOutcome> {
    report.projects.iter().map(|project| (project.project.as_str(), project.outcome)).collect()
}

fn names(report: &SyncReport) -> Vec<&str> {
    report.projects.iter().map(|project| project.project.as_str()).collect()
}

/// The projects of the sync's deploy, and those that the first router reported.
async fn deployed(scene: &Scene, report: &SyncReport) -> (Vec<String>, Vec<String>) {
    let record: Record = scene.bridge.record(report.deploy.as_deref().expect("there was a deploy")).await;
    let changed = record.projects.iter().map(|project| project.project.to_string());
    let built = record.routers[0].reports.iter().map(|report| report.project.clone());
    (changed.collect(), built.collect())
}

/// Text, version, commit and staleness of every project at every router.
async fn answers(scene: &Scene) -> Vec<(String, Option<String>, Option<String>, bool)> {
    let mut answers = Vec::new();
    for router in scene.routers.iter() {
        for name in NAMES {
            let reply = router.public.get(&format!("/{name}/")).await;
            let header = |name| reply.header(name).map(str::to_owned);
            let stale = header("x-switchyard-stale").is_some();
            answers.push((
                reply.text(),
                header("x-switchyard-version"),
                header("x-switchyard-commit"),
                stale,
            ));
        }
    }
    answers
}

#[tokio::test]
async fn a_commit_with_a_broken_project_changes_none_and_the_fix_brings_all_at_once() {
    let repository = Repository::create().await;
    let (one, two) = (hello("one"), hello("two"));
    let first = commit(&repository, [&one; 3], "first").await;
    let scene = Scene::with_routers(2, &[Source::of("shop", &repository)]).await;
    scene.api.synced("shop", &first).await;
    let (before, tree) = (answers(&scene).await, Tree::of_projects(scene.volume.root()));
    assert!(
        before
            .iter()
            .all(|(text, _, commit, stale)| { text == "one" && commit.as_ref() == Some(&first) && !stale })
    );
    let probe = Probe::start(&scene.routers[1].public, "/a/").await;

    let broken = commit(&repository, [&two, &two, BROKEN], "broken").await;
    let reply: Reply = scene.api.post("shop", "sync").await;
    let problem = reply.assert_problem(422, "build-failed");
    assert_eq!(problem["project"], "c", "{problem}");
    let error = &problem["error"];
    assert_eq!((error["file"].as_str(), error["line"].as_u64()), (Some("main.ts"), Some(2)), "{problem}");
    assert!(error["frame"].as_str().is_some_and(|frame| frame.contains("new Response('x' }")), "{problem}");
    let report: SyncReport = serde_json::from_value(problem["sync"].clone()).unwrap();
    assert_eq!((&report.commit, &report.previous), (&Some(broken.clone()), &Some(first.clone())));
    assert_eq!((report.outcome, names(&report)), (SyncOutcome::Failed, NAMES.to_vec()), "{report:#?}");
    assert!(report.projects.iter().all(|project| project.outcome == SyncOutcome::Failed), "{report:#?}");
    assert_eq!(answers(&scene).await, before);
    assert_eq!(Tree::of_projects(scene.volume.root()), tree);
    scene.bridge.clean().await;
    let status = scene.api.status("shop").await;
    assert_eq!((&status.applied, &status.failed), (&Some(first.clone()), &Some(broken)));
    assert_eq!(status.problem.map(|problem| problem.kind), Some("failed".to_owned()));

    let fixed = repository.on("main").file("c/main.ts", &two).commit("fixed").await;
    let report = scene.api.goes_live("shop", &fixed).await;
    assert_eq!((names(&report), &report.previous), (NAMES.to_vec(), &Some(first)), "{report:#?}");
    assert_eq!(deployed(&scene, &report).await.0, NAMES);
    assert!(
        answers(&scene)
            .await
            .iter()
            .all(|(text, _, commit, stale)| { text == "two" && commit.as_ref() == Some(&fixed) && !stale })
    );
    probe.finish().await.no_failures().versions_monotonic(&["one", "two"]);
    let status = scene.api.status("shop").await;
    assert_eq!((status.applied, status.failed, status.problem), (Some(fixed), None, None));
}

#[tokio::test]
async fn projects_that_do_not_go_together_go_live_without_the_broken_one() {
    let repository = Repository::create().await;
    let (one, two) = (hello("one"), hello("two"));
    let first = commit(&repository, [&one; 3], "first").await;
    let source = Source::of("shop", &repository).key("together", "\"project\"");
    let scene = Scene::with_routers(2, &[source]).await;
    scene.api.synced("shop", &first).await;

    let broken = commit(&repository, [&two, &two, BROKEN], "broken").await;
    let report = scene.api.refused("shop", "sync", 422).await;
    let expected = [("a", SyncOutcome::Live), ("b", SyncOutcome::Live), ("c", SyncOutcome::Failed)]
        .into_iter()
        .collect();
    assert_eq!(outcomes(&report), expected, "{report:#?}");
    let expected = [("two", &broken), ("two", &broken), ("one", &first)];
    for (index, (text, _, commit, _)) in answers(&scene).await.iter().enumerate() {
        let expected = expected[index % NAMES.len()];
        assert_eq!((text.as_str(), commit.as_ref()), (expected.0, Some(expected.1)));
    }
    let status = scene.api.status("shop").await;
    assert_eq!((status.applied, status.failed), (Some(first), Some(broken)));

    let fixed = repository.on("main").file("c/main.ts", &two).commit("fixed").await;
    let report = scene.api.goes_live("shop", &fixed).await;
    assert_eq!(names(&report), ["c"], "{report:#?}");
    assert!(answers(&scene).await.iter().all(|(text, ..)| text == "two"));
}

#[tokio::test]
async fn a_commit_that_changes_no_project_is_noted_and_builds_nothing() {
    let repository = Repository::create().await;
    let one = hello("one");
    let first = commit(&repository, [&one; 3], "first").await;
    let scene = Scene::start(&[Source::of("shop", &repository)]).await;
    scene.api.synced("shop", &first).await;
    let before = answers(&scene).await;
    let second = repository.commit(&[("README.md", "about")], "second").await;
    let report = scene.api.sync("shop").await;
    assert_eq!((report.outcome, &report.commit), (SyncOutcome::Unchanged, &Some(second.clone())));
    assert_eq!((report.projects.len(), report.deploy.is_some()), (0, false), "{report:#?}");
    assert_eq!(scene.api.status("shop").await.applied, Some(second));
    // The versions were made from the commit before.
    assert_eq!(answers(&scene).await, before);
}

#[tokio::test]
async fn the_same_files_are_deployed_again_when_that_is_forced() {
    let repository = Repository::create().await;
    let one = hello("one");
    let first = commit(&repository, [&one; 3], "first").await;
    let scene = Scene::start(&[Source::of("shop", &repository)]).await;
    scene.api.synced("shop", &first).await;
    scene.volume.write("a/main.ts", hello("edited"));
    let reply = scene.api.post("shop", "sync?force=1").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(scene.volume.read("a/main.ts"), one);
    assert_eq!(scene.routers.texts("/a/").await, ["one"]);
}

#[tokio::test]
async fn a_changed_shared_folder_builds_the_projects_that_include_it_and_no_others() {
    let repository = Repository::create().await;
    let mut change = repository.on("main").file("lib/_shared/mod.ts", labelled("one"));
    for name in NAMES {
        change = change.file(&format!("apps/{name}/main.ts"), OF_SHARED);
        change = change.file(&format!("apps/{name}/deno.json"), INCLUDING);
    }
    let first = change.file("apps/alone/main.ts", hello("alone")).commit("first").await;
    let source = Source::of("shop", &repository).key("projects", r#"[{ path = "apps/*" }]"#);
    let scene = Scene::with_routers(2, &[source.key("shared", r#"["lib/_shared"]"#)]).await;
    scene.api.synced("shop", &first).await;
    assert_eq!(scene.volume.read("_shared/mod.ts"), labelled("one"));
    let alone = scene.routers.answers("/alone/").await;

    let second = repository.commit(&[("lib/_shared/mod.ts", &labelled("two"))], "second").await;
    let report = scene.api.goes_live("shop", &second).await;
    assert_eq!(names(&report), NAMES, "{report:#?}");
    let (changed, mut built) = deployed(&scene, &report).await;
    built.sort();
    assert_eq!((changed, built), (NAMES.map(str::to_owned).to_vec(), NAMES.map(str::to_owned).to_vec()));
    assert_eq!(scene.volume.read("_shared/mod.ts"), labelled("two"));
    for (text, _, commit, stale) in answers(&scene).await {
        assert_eq!((text.as_str(), commit.as_ref(), stale), ("two", Some(&second), false));
    }
    assert_eq!(scene.routers.answers("/alone/").await, alone);

    // A shared folder that breaks them is put back with them.
    let before = answers(&scene).await;
    repository.commit(&[("lib/_shared/mod.ts", "export const other = 1;\n")], "broken").await;
    scene.api.refused("shop", "sync", 422).await;
    assert_eq!(scene.volume.read("_shared/mod.ts"), labelled("two"));
    assert_eq!(answers(&scene).await, before);
}

/// Of these a monorepo has three that include the shared folder; the others are one file each.
const MANY: usize = 1000;

fn monorepo(change: Change<'_>) -> Change<'_> {
    let mut change = change.file("_shared/mod.ts", labelled("one"));
    for name in NAMES {
        change = change.file(&format!("apps/{name}/main.ts"), OF_SHARED);
        change = change.file(&format!("apps/{name}/deno.json"), INCLUDING);
    }
    (NAMES.len()..MANY).fold(change, |change, number| {
        change.file(&format!("apps/p{number:04}/index.html"), format!("<h1>{number}</h1>"))
    })
}

/// A sync with as much time as a thousand first deploys take.
async fn patient_sync(scene: &Scene) -> SyncReport {
    let mut connection = scene.bridge.client.connect().await;
    let request = with_method(http::Method::POST, "/sources/shop/sync");
    let sync = tokio::time::timeout(Duration::from_secs(180), connection.try_send(request));
    let reply = sync.await.expect("a sync ends in time").expect("it is answered");
    assert_eq!(reply.status, 200, "{}", reply.text());
    serde_json::from_slice(&reply.body).expect("the answer is the JSON of the contract")
}

#[tokio::test]
async fn of_a_thousand_projects_only_those_that_a_commit_changes_are_held_and_built() {
    let repository = Repository::create().await;
    let first = monorepo(repository.on("main")).commit("first").await;
    let source = Source::of("shop", &repository).key("projects", r#"[{ path = "apps/*" }]"#);
    let source = source.key("shared", r#"["_shared"]"#);
    let scene =
        Scene::start_with(1, &[source], |router| router, |bridge| bridge.flag("deploy-timeout", 120_000))
            .await;
    patient_sync(&scene).await;
    let status = scene.api.status("shop").await;
    assert_eq!((status.applied, status.projects.len()), (Some(first), MANY));
    let sequence = || async { scene.routers[0].admin.project("p0999").await.sequence };
    let before = sequence().await;

    let second = repository.commit(&[("apps/p0500/index.html", "<h1>new</h1>")], "second").await;
    let report = scene.api.goes_live("shop", &second).await;
    assert_eq!(names(&report), ["p0500"], "{report:#?}");
    let one = vec!["p0500".to_owned()];
    assert_eq!(deployed(&scene, &report).await, (one.clone(), one));
    assert_eq!(scene.routers.texts("/p0500/").await, ["<h1>new</h1>"]);

    let third = repository.commit(&[("_shared/mod.ts", &labelled("two"))], "third").await;
    let report = scene.api.goes_live("shop", &third).await;
    assert_eq!(names(&report), NAMES, "{report:#?}");
    assert_eq!(deployed(&scene, &report).await.1.len(), NAMES.len());
    assert!(answers(&scene).await.iter().all(|(text, ..)| text == "two"));
    assert_eq!(sequence().await, before, "a project that has not changed was touched");
}
