//! Git sources: a commit becomes what every router answers, and is shown everywhere.

use std::path::Path;
use std::process::Stdio;

use switchyard_contract::commit::CommitInfo;
use switchyard_contract::source::{SourceState, SyncOutcome};
use switchyard_integration::bridge::Bridge;
use switchyard_integration::bridge::addresses::reserve;
use switchyard_integration::bridge::record::Record;
use switchyard_integration::bridge::tree;
use switchyard_integration::client::Client;
use switchyard_integration::eventually;
use switchyard_integration::fixtures::hello;
use switchyard_integration::git::{Repository, git};
use switchyard_integration::sources::{Scene, Source, SourcesFile, following};
use switchyard_integration::upload::{Upload, archive};
use switchyard_integration::volume::Volume;
use switchyard_integration::within;

/// A repository with one project, `api`.
async fn repository() -> (Repository, String) {
    let repository = Repository::create().await;
    let first = repository.commit(&[("api/main.ts", &hello("one"))], "first").await;
    (repository, first)
}

async fn commit(repository: &Repository, label: &str) -> String {
    repository.commit(&[("api/main.ts", &hello(label))], label).await
}

/// Runs git in a clone as its developer does.
async fn developer(folder: &Path, arguments: &[&str]) -> String {
    let mut command = git(folder);
    command.current_dir(folder).args(arguments).stdout(Stdio::piped());
    let output = within("git ends", command.output()).await.expect("it is there");
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("it is there").trim().to_owned()
}

/// The text and the commit of an answer.
async fn answer(client: &Client, path: &str) -> (String, Option<String>) {
    let reply = client.get(path).await;
    (reply.text(), reply.header("x-switchyard-commit").map(str::to_owned))
}

#[tokio::test]
async fn an_edit_is_committed_and_synced_and_the_next_request_has_it() {
    let clone = Volume::new();
    let committed = async |label: &str| {
        clone.write("billing/main.ts", hello(label));
        developer(clone.root(), &["add", "-A"]).await;
        developer(clone.root(), &["commit", "--quiet", "-m", label]).await;
        developer(clone.root(), &["rev-parse", "HEAD"]).await
    };
    developer(clone.root(), &["init", "--quiet", "--initial-branch=work"]).await;
    let first = committed("one").await;
    let source = Source::new("config", &format!("file://{}", clone.root().display()));
    let scene = Scene::start(&[source.follows("ref", "HEAD")]).await;
    scene.api.synced("config", &first).await;
    assert_eq!(answer(&scene.routers[0].public, "/billing/").await, ("one".to_owned(), Some(first.clone())));

    let second = committed("update select-coverage logic").await;
    let reports = scene.api.sync_all().await;
    let expected = ("update select-coverage logic".to_owned(), Some(second.clone()));
    assert_eq!(answer(&scene.routers[0].public, "/billing/").await, expected);
    assert_eq!(answer(&scene.bridge.forward, "/billing/").await, expected);
    let [report] = reports.as_slice() else { panic!("{reports:#?}") };
    assert_eq!(
        (report.source.as_str(), report.outcome, &report.commit, &report.previous),
        ("config", SyncOutcome::Live, &Some(second), &Some(first)),
        "{report:#?}"
    );
    assert_eq!(report.projects.len(), 1, "{report:#?}");
    let digest = report.projects[0].digest.map(|digest| digest.to_string());
    assert_eq!(digest, Some(tree::digest(&scene.volume.path("billing"))));
    let total = report.timings_ms["total"];
    for phase in ["fetch", "build", "publish"] {
        assert!((0.0..=total).contains(&report.timings_ms[phase]), "{phase}: {:?}", report.timings_ms);
    }
}

#[tokio::test]
async fn status_projects_versions_records_and_events_tell_the_commit() {
    let (repository, first) = repository().await;
    let scene = Scene::with_routers(2, &[Source::of("shop", &repository)]).await;
    let mut events = scene.routers[1].events().await;
    scene.api.synced("shop", &first).await;
    let second = commit(&repository, "two").await;
    let report = scene.api.goes_live("shop", &second).await;
    let expected = CommitInfo {
        source: "shop".to_owned(),
        commit: second.clone(),
        ref_name: Some("refs/heads/main".to_owned()),
    };
    assert_eq!(report.ref_name, expected.ref_name);

    let status = scene.api.status("shop").await;
    assert_eq!((&status.applied, &status.seen), (&Some(second.clone()), &Some(second.clone())));
    assert_eq!((status.state, &status.problem, &status.failed), (SourceState::Idle, &None, &None));
    assert!(status.synced_at.is_some() && status.next_poll.is_some(), "{status:#?}");
    assert!(status.mirror_bytes > 0, "{status:#?}");
    let [project] = status.projects.as_slice() else { panic!("{status:#?}") };
    let tree = repository.git_output(&["rev-parse", &format!("{second}:api")]).await;
    assert_eq!((project.project.as_str(), project.path.as_str(), &project.tree), ("api", "api", &tree));
    let digest = tree::digest(&scene.volume.path("api"));
    assert_eq!(project.digest.map(|digest| digest.to_string()), Some(digest.clone()));
    assert_eq!(scene.api.statuses().await.len(), 1);

    let record = scene.bridge.record(report.deploy.as_deref().expect("there was a deploy")).await;
    assert_eq!((record.commit.as_ref(), record.digest()), (Some(&expected), digest));
    for (text, commit) in [("two", &second)] {
        for router in scene.routers.iter() {
            assert_eq!(answer(&router.public, "/api/").await, (text.to_owned(), Some(commit.clone())));
        }
    }
    let expected = serde_json::to_value(&expected).unwrap();
    eventually("/projects of the bridge has the commit at both routers", || async {
        let project = scene.bridge.project("api").await;
        (0..2).all(|index| project["routers"][index]["live"]["commit"] == expected)
    })
    .await;
    let versions = scene.bridge.client.get("/projects/api/versions").await.json();
    let commits: Vec<_> =
        (0..2).map(|index| versions["versions"][index]["commit"]["commit"].clone()).collect();
    assert_eq!(commits, [second.as_str(), &first], "{versions:#}");
    events.wait_live("api").await;
    let live = serde_json::to_value(events.wait_live("api").await).unwrap();
    assert_eq!(live["data"]["commit"], expected, "{live:#}");

    let commits = scene.api.commits("shop").await;
    let ids: Vec<_> = commits.iter().map(|commit| commit.commit.as_str()).collect();
    assert_eq!(ids, [second.as_str(), &first]);
    let deployed = scene.api.deployed("shop", &first[..9]).await;
    assert_eq!((deployed.commit, deployed.projects.len()), (first, 1));
    scene.bridge.client.get("/sources/shop/commits/0123456").await.assert_problem(404, "unknown-commit");
    scene.bridge.client.get("/sources/none").await.assert_problem(404, "unknown-source");
}

#[tokio::test]
async fn a_sync_with_nothing_new_deploys_nothing_and_says_so() {
    let (repository, first) = repository().await;
    let mut scene = Scene::start(&[Source::of("shop", &repository)]).await;
    scene.api.synced("shop", &first).await;
    let before = (scene.api.commits("shop").await, scene.routers.answers("/api/").await);
    let unchanged = async |scene: &Scene| {
        let report = scene.api.sync("shop").await;
        assert_eq!((report.outcome, &report.commit), (SyncOutcome::Unchanged, &Some(first.clone())));
        assert_eq!((report.projects.len(), &report.deploy), (0, &None), "{report:#?}");
        assert_eq!((scene.api.commits("shop").await, scene.routers.answers("/api/").await), before);
    };
    unchanged(&scene).await;
    unchanged(&scene).await;
    // Another process, which has to read what is applied.
    scene.restart_bridge().await;
    unchanged(&scene).await;
}

#[tokio::test]
async fn a_sync_that_nobody_waits_for_goes_on() {
    let (repository, first) = repository().await;
    let scene = Scene::start(&[Source::of("shop", &repository)]).await;
    scene.api.synced("shop", &first).await;
    for path in ["/sources/shop/sync?wait=0", "/repo/sync?wait=0"] {
        let next = commit(&repository, path).await;
        assert_eq!(scene.bridge.client.post(path).await.status, 202);
        scene.api.live("shop", &next).await;
        assert_eq!(scene.routers.texts("/api/").await, [path]);
    }
}

#[tokio::test]
async fn a_push_is_found_by_polling_alone() {
    let (repository, first) = repository().await;
    let scene = Scene::start(&[Source::of("shop", &repository).key("poll", "\"5s\"")]).await;
    scene.api.live("shop", &first).await;
    let second = commit(&repository, "two").await;
    scene.api.live("shop", &second).await;
    assert_eq!(answer(&scene.routers[0].public, "/api/").await, ("two".to_owned(), Some(second)));
}

#[tokio::test]
async fn a_rollback_names_the_commit_that_it_goes_to() {
    let (repository, first) = repository().await;
    let scene = Scene::start(&[Source::of("shop", &repository)]).await;
    scene.api.synced("shop", &first).await;
    let second = commit(&repository, "two").await;
    scene.api.goes_live("shop", &second).await;
    for (to, text, commit) in [(&first[..], "one", &first), (&second[..7], "two", &second)] {
        let reply = scene.bridge.client.post(&format!("/projects/api/rollback?to={to}")).await;
        let record = Record::of(&reply);
        assert_eq!(record.commit.as_ref().map(|commit| &commit.commit), Some(commit), "{record:#?}");
        let expected = (text.to_owned(), Some(commit.clone()));
        assert_eq!(answer(&scene.routers[0].public, "/api/").await, expected);
    }
    let unknown = "0123456789abcdef0123456789abcdef01234567";
    let reply = scene.bridge.client.post(&format!("/projects/api/rollback?to={unknown}")).await;
    assert_eq!(reply.status, 404, "{}", reply.text());
}

#[tokio::test]
async fn an_upload_of_a_projects_that_a_source_has_must_say_that_it_overrides() {
    let (repository, first) = repository().await;
    let scene = Scene::start(&[Source::of("shop", &repository)]).await;
    scene.api.synced("shop", &first).await;
    let upload = Upload::main(hello("mine"));
    let many =
        Upload::archive("x.tar", archive::tar(&[("api/main.ts", hello("mine")), ("b/main.ts", hello("b"))]));
    for request in [upload.to("/deploy/api"), many.to("/deploy")] {
        let problem = scene.bridge.client.send(request).await.assert_problem(409, "bound-to-source");
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(detail.contains("shop") && detail.contains("override=1"), "{problem}");
    }
    assert_eq!(answer(&scene.routers[0].public, "/api/").await, ("one".to_owned(), Some(first.clone())));
    assert!(!scene.volume.path("b").exists());
    scene.bridge.clean().await;

    // A project of nobody is not bound.
    scene.bridge.deploy_live("b", &Upload::main(hello("b"))).await;
    Record::of(&scene.bridge.client.send(upload.to("/deploy/api?override=1")).await);
    assert_eq!(answer(&scene.routers[0].public, "/api/").await, ("mine".to_owned(), None));
    let second = commit(&repository, "two").await;
    scene.api.goes_live("shop", &second).await;
    assert_eq!(answer(&scene.routers[0].public, "/api/").await, ("two".to_owned(), Some(second)));
}

#[tokio::test]
async fn explain_says_why_a_commit_changes_each_project_or_does_not() {
    let repository = Repository::create().await;
    let [one, broken] = [hello("one"), "export default {".to_owned()];
    let files = ["api", "web", "admin"].map(|name| (format!("{name}/main.ts"), one.as_str()));
    let files = files.each_ref().map(|(path, text)| (path.as_str(), *text));
    let first = repository.commit(&files, "first").await;
    let scene = Scene::start(&[Source::of("shop", &repository)]).await;
    scene.api.synced("shop", &first).await;
    let change = repository.on("main").file("api/main.ts", &broken).file("new/main.ts", &one);
    let second = change.remove("admin").commit("second").await;
    scene.api.refused("shop", "sync", 422).await;

    let explained = scene.api.explain("shop", "").await;
    assert_eq!((&explained.commit, &explained.applied), (&second, &Some(first.clone())));
    let changes: Vec<_> =
        explained.projects.iter().map(|one| (one.project.as_str(), one.change.as_str())).collect();
    assert_eq!(changes, [("admin", "removed"), ("api", "changed"), ("new", "added"), ("web", "unchanged")]);
    assert!(explained.notes.iter().any(|note| note.contains("failed")), "{explained:#?}");

    let api = scene.api.explain("shop", "?project=api").await;
    let [api] = api.projects.as_slice() else { panic!("{api:#?}") };
    for commit in [&first, &second] {
        let tree = repository.git_output(&["rev-parse", &format!("{commit}:api")]).await;
        assert!(api.reason.contains(&tree[..7]), "{tree} is not in {api:#?}");
    }
    let earlier = scene.api.explain("shop", &format!("?commit={first}")).await;
    assert!(earlier.projects.iter().all(|one| one.change == "unchanged"), "{earlier:#?}");
    scene
        .bridge
        .client
        .get("/sources/shop/explain?project=none")
        .await
        .assert_problem(404, "unknown-project");
}

#[tokio::test]
async fn a_project_is_of_the_source_that_had_it_first() {
    let [(one, of_one), (two, of_two)] = [repository().await, repository().await];
    commit(&two, "of two").await;
    let first = Source::of("one", &one);
    let scene = Scene::start(std::slice::from_ref(&first)).await;
    scene.api.synced("one", &of_one).await;
    scene.configure(&[first.clone(), Source::of("two", &two)]).await;
    let report = scene.api.refused("two", "sync", 422).await;
    let problem = report.problem.unwrap_or_default().to_string();
    assert!(problem.contains("api") && problem.contains("source one"), "{problem}");
    let status = scene.api.status("two").await;
    let problem = status.problem.expect("it is shown");
    assert_eq!((problem.kind.as_str(), status.applied), ("invalid", None), "{}", problem.detail);
    assert_eq!(scene.routers.texts("/api/").await, ["one"]);

    let renamed = Source::of("two", &two).key("projects", r#"[{ path = "api", as = "other" }]"#);
    scene.configure(&[first, renamed]).await;
    scene.api.live("two", &two.head("main").await.unwrap_or(of_two)).await;
    assert_eq!(scene.routers.texts("/other/").await, ["of two"]);
    assert_eq!(scene.routers.texts("/api/").await, ["one"]);
}

#[tokio::test]
async fn a_bridge_does_not_start_with_two_sources_that_name_one_project() {
    let (repository, _) = repository().await;
    let [one, two] = ["one", "two"]
        .map(|name| Source::of(name, &repository).key("projects", r#"[{ path = "api", as = "shop" }]"#));
    let (volume, file, state) = (Volume::new(), SourcesFile::new(&[one, two]), Volume::new());
    let nobody = || Client::new(reserve());
    let builder = Bridge::builder(&volume).router_at(&nobody(), &nobody());
    let ended = following(builder, &file, state.root(), &nobody()).run_to_end().await;
    assert_eq!(ended.status.code(), Some(64), "{}", ended.log.text());
    let text = ended.log.text();
    for says in ["--sources", "one", "two", "both have the project"] {
        assert!(text.contains(says), "{says} is not in {text}");
    }
}
