//! Projects whose folder left the repository: they go only when somebody or the settings say so, and
//! never most of them by themselves.

use switchyard_contract::source::{SourceStatus, SyncOutcome};
use switchyard_integration::fixtures::hello;
use switchyard_integration::git::Repository;
use switchyard_integration::sources::{Scene, Source};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// A source with four projects that are live, and this rule for those that leave.
async fn four(removed: &str) -> (Repository, Scene, String) {
    let repository = Repository::create().await;
    let one = hello("one");
    let files = NAMES.map(|name| format!("{name}/main.ts"));
    let files = files.each_ref().map(|path| (path.as_str(), one.as_str()));
    let first = repository.commit(&files, "first").await;
    let source = Source::of("shop", &repository).key("removed", &format!("{removed:?}"));
    let scene = Scene::start(&[source]).await;
    scene.api.synced("shop", &first).await;
    (repository, scene, first)
}

/// Commits that projects are gone, and that `a` is new.
async fn without(repository: &Repository, gone: &[&str]) -> String {
    let change = repository.on("main").file("a/main.ts", hello("two"));
    gone.iter().fold(change, |change, name| change.remove(name)).commit("without").await
}

/// The answer of each project; `None` for one that is unknown.
async fn texts(scene: &Scene) -> [Option<String>; 4] {
    let mut texts = [const { None }; 4];
    for (text, name) in texts.iter_mut().zip(NAMES) {
        let reply = scene.routers[0].public.get(&format!("/{name}/")).await;
        if reply.status == 200 {
            *text = Some(reply.text());
        } else {
            reply.assert_problem(404, "unknown-project");
        }
    }
    texts
}

fn some<const N: usize>(texts: [Option<&str>; N]) -> [Option<String>; N] {
    texts.map(|text| text.map(str::to_owned))
}

fn asks(status: &SourceStatus) -> Vec<&str> {
    status.asks.iter().map(|project| project.as_str()).collect()
}

#[tokio::test]
async fn a_removal_waits_for_a_yes_while_the_rest_of_the_commit_is_live() {
    let (repository, scene, _) = four("ask").await;
    let second = without(&repository, &["c"]).await;
    let report = scene.api.goes_live("shop", &second).await;
    let waiting = report.projects.iter().find(|project| project.project.as_str() == "c");
    assert_eq!(waiting.map(|project| project.outcome), Some(SyncOutcome::Blocked), "{report:#?}");
    let status = scene.api.status("shop").await;
    assert_eq!((asks(&status), status.applied.as_ref()), (vec!["c"], Some(&second)));
    assert_eq!(texts(&scene).await, some([Some("two"), Some("one"), Some("one"), Some("one")]));
    assert_eq!(scene.api.sync("shop").await.outcome, SyncOutcome::Unchanged);
    let explained = scene.api.explain("shop", "").await;
    assert!(explained.notes.iter().any(|note| note.contains("source approve shop")), "{explained:#?}");

    let report = scene.api.approve("shop").await;
    assert_eq!(report.outcome, SyncOutcome::Live, "{report:#?}");
    let removed: Vec<_> =
        report.projects.iter().map(|one| (one.project.as_str(), one.path.is_some())).collect();
    assert_eq!(removed, [("c", false)]);
    assert_eq!(texts(&scene).await, some([Some("two"), Some("one"), None, Some("one")]));
    assert!(!scene.volume.path("c").exists());
    let status = scene.api.status("shop").await;
    assert_eq!((asks(&status), status.projects.len()), (vec![], 3));
    scene.api.post("shop", "approve").await.assert_problem(409, "nothing-to-do");
}

#[tokio::test]
async fn a_folder_that_comes_back_needs_no_answer_any_more() {
    let (repository, scene, _) = four("ask").await;
    let second = without(&repository, &["c"]).await;
    scene.api.goes_live("shop", &second).await;
    let third = repository.commit(&[("c/main.ts", &hello("back"))], "back").await;
    scene.api.goes_live("shop", &third).await;
    assert_eq!(asks(&scene.api.status("shop").await), [""; 0]);
    assert_eq!(texts(&scene).await, some([Some("two"), Some("one"), Some("back"), Some("one")]));
}

#[tokio::test]
async fn projects_are_removed_with_the_commit_where_the_settings_say_so() {
    let (repository, scene, _) = four("remove").await;
    let second = without(&repository, &["b", "c"]).await;
    let report = scene.api.goes_live("shop", &second).await;
    let changed: Vec<_> =
        report.projects.iter().map(|one| (one.project.as_str(), one.path.is_some())).collect();
    assert_eq!(changed, [("a", true), ("b", false), ("c", false)], "{report:#?}");
    assert_eq!(texts(&scene).await, some([Some("two"), None, None, Some("one")]));
}

#[tokio::test]
async fn projects_stay_where_the_settings_say_so() {
    let (repository, scene, _) = four("keep").await;
    let second = without(&repository, &["b", "c", "d"]).await;
    scene.api.goes_live("shop", &second).await;
    assert_eq!(texts(&scene).await, some([Some("two"), Some("one"), Some("one"), Some("one")]));
    let status = scene.api.status("shop").await;
    assert_eq!((asks(&status), &status.problem), (vec![], &None));
    assert_eq!(scene.api.sync("shop").await.outcome, SyncOutcome::Unchanged);
}

#[tokio::test]
async fn more_than_half_of_the_projects_never_go_without_a_yes() {
    for (rule, verb) in [("remove", "approve"), ("ask", "sync?allow_empty=1")] {
        let (repository, scene, first) = four(rule).await;
        let second = without(&repository, &["b", "c", "d"]).await;
        let problem = scene.api.post("shop", "sync").await.assert_problem(409, "blocked");
        let detail = problem["detail"].as_str().unwrap_or_default();
        for says in ["b, c, d", "source sync shop --allow-empty"] {
            assert!(detail.contains(says), "{rule}: {says:?} is not in {detail}");
        }
        assert_eq!(problem["sync"]["outcome"], "blocked", "{problem}");
        assert_eq!(texts(&scene).await, some([Some("one"); 4]), "{rule}");
        let status = scene.api.status("shop").await;
        assert_eq!((asks(&status), &status.applied), (vec!["b", "c", "d"], &Some(first)));
        assert_eq!(status.problem.as_ref().map(|problem| problem.kind.as_str()), Some("blocked"));

        let reply = scene.api.post("shop", verb).await;
        assert_eq!(reply.status, 200, "{verb}: {}", reply.text());
        assert_eq!(texts(&scene).await, some([Some("two"), None, None, None]), "{verb}");
        let status = scene.api.status("shop").await;
        assert_eq!((asks(&status), &status.problem, &status.applied), (vec![], &None, &Some(second)));
    }
}

#[tokio::test]
async fn a_repository_that_was_emptied_empties_nothing_and_the_next_commit_goes_on() {
    let (repository, scene, first) = four("remove").await;
    let change = repository.on("main").file("README.md", "moved");
    NAMES.iter().fold(change, |change, name| change.remove(name)).commit("emptied").await;
    scene.api.refused("shop", "sync", 409).await;
    assert_eq!(texts(&scene).await, some([Some("one"); 4]));

    let change = repository.on("main").file("a/main.ts", hello("two"));
    let change =
        NAMES[1..].iter().fold(change, |change, name| change.file(&format!("{name}/main.ts"), hello("one")));
    let back = change.commit("back").await;
    let report = scene.api.goes_live("shop", &back).await;
    assert_eq!(report.previous, Some(first));
    assert_eq!(texts(&scene).await, some([Some("two"), Some("one"), Some("one"), Some("one")]));
    let status = scene.api.status("shop").await;
    assert_eq!((asks(&status), &status.problem), (vec![], &None));
}
