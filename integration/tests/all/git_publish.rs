//! The moment at which a commit goes live: at once, when somebody publishes it, not in a freeze and
//! not in a window.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use switchyard_contract::source::{SourceState, SyncOutcome};
use switchyard_integration::fixtures::hello;
use switchyard_integration::git::Repository;
use switchyard_integration::sources::{Forge, Scene, Source};

async fn commit(repository: &Repository, label: &str) -> String {
    repository.commit(&[("api/main.ts", &hello(label))], label).await
}

#[tokio::test]
async fn a_held_commit_is_built_and_waits_until_it_is_published() {
    let repository = Repository::create().await;
    let first = commit(&repository, "one").await;
    let source = Source::of("shop", &repository).key("publish", "\"hold\"");
    let scene = Scene::with_routers(2, &[source]).await;
    let report = scene.api.sync("shop").await;
    assert_eq!((report.outcome, &report.commit), (SyncOutcome::Ready, &Some(first.clone())), "{report:#?}");
    let status = scene.api.status("shop").await;
    assert_eq!(
        (status.state, &status.ready, &status.applied),
        (SourceState::Ready, &Some(first.clone()), &None)
    );
    for router in scene.routers.iter() {
        router.public.get("/api/").await.assert_problem(404, "unknown-project");
    }
    assert!(!scene.volume.path("api").exists(), "what is held lies on the volume");

    let report = scene.api.publish("shop").await;
    assert_eq!((report.outcome, &report.commit), (SyncOutcome::Live, &Some(first.clone())), "{report:#?}");
    assert_eq!(scene.routers.texts("/api/").await, ["one", "one"]);
    let nothing = scene.api.post("shop", "publish").await;
    nothing.assert_problem(409, "nothing-to-do");

    // A newer commit takes the place of one that waits.
    let live = scene.routers.answers("/api/").await;
    let second = commit(&repository, "two").await;
    assert_eq!(scene.api.sync("shop").await.outcome, SyncOutcome::Ready);
    let third = commit(&repository, "three").await;
    assert_eq!(scene.api.sync("shop").await.outcome, SyncOutcome::Ready);
    let status = scene.api.status("shop").await;
    assert_eq!((&status.ready, &status.applied), (&Some(third.clone()), &Some(first)));
    assert_eq!(scene.routers.answers("/api/").await, live);
    let explained = scene.api.explain("shop", "").await;
    assert!(explained.notes.iter().any(|note| note.contains("source publish shop")), "{explained:#?}");
    scene.api.publish("shop").await;
    assert_eq!(scene.routers.texts("/api/").await, ["three", "three"]);
    assert_eq!(scene.api.status("shop").await.state, SourceState::Idle);

    // Any commit can be published, also an earlier one.
    let reply = scene.api.post("shop", &format!("publish?commit={second}")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    for router in scene.routers.iter() {
        let reply = router.public.get("/api/").await;
        let commit = reply.header("x-switchyard-commit");
        assert_eq!((reply.text().as_str(), commit), ("two", Some(second.as_str())));
    }
}

#[tokio::test]
async fn a_held_commit_that_does_not_build_is_told_before_anybody_publishes_it() {
    let repository = Repository::create().await;
    let first = commit(&repository, "one").await;
    let scene = Scene::start(&[Source::of("shop", &repository).key("publish", "\"hold\"")]).await;
    scene.api.sync("shop").await;
    scene.api.publish("shop").await;
    let broken = repository.commit(&[("api/main.ts", "export default {")], "broken").await;
    let problem = scene.api.post("shop", "sync").await.assert_problem(422, "build-failed");
    assert_eq!(problem["sync"]["commit"], broken, "{problem}");
    let status = scene.api.status("shop").await;
    assert_eq!((status.applied, status.ready, status.failed), (Some(first), None, Some(broken)));
    let reply = scene.routers[0].public.get("/api/").await;
    assert_eq!((reply.text().as_str(), reply.header("x-switchyard-stale")), ("one", None));
    let main = scene.volume.read("api/main.ts");
    assert_eq!(main, hello("one"), "the volume has the broken files");
}

#[tokio::test]
async fn a_frozen_source_deploys_nothing_until_the_freeze_is_lifted() {
    let repository = Repository::create().await;
    let first = commit(&repository, "one").await;
    let mut scene = Scene::start(&[Source::of("shop", &repository).webhook("github")]).await;
    scene.api.synced("shop", &first).await;
    let status = scene.api.freeze("shop", "release").await;
    assert_eq!(status.frozen.as_deref(), Some("release"));

    let second = commit(&repository, "two").await;
    let problem = scene.api.post("shop", "sync").await.assert_problem(409, "frozen");
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("release") && detail.contains("--lift"), "{problem}");
    assert_eq!(problem["sync"]["outcome"], "frozen", "{problem}");
    // The webhook's commit is seen and goes no further.
    scene.deliver(&Forge::Github.push("shop", &second)).await;
    let seen = |status: &switchyard_contract::source::SourceStatus| status.seen.as_ref() == Some(&second);
    scene.api.becomes("shop", "the push is seen", seen).await;
    scene.restart_bridge().await;
    let status = scene.api.status("shop").await;
    assert_eq!((status.frozen.as_deref(), status.applied.as_ref()), (Some("release"), Some(&first)));
    assert_eq!(scene.routers.texts("/api/").await, ["one"]);

    assert_eq!(scene.api.unfreeze("shop").await.frozen, None);
    scene.api.live("shop", &second).await;
    assert_eq!(scene.routers.texts("/api/").await, ["two"]);
}

/// A window of each day in UTC, from and to so many minutes after now.
fn window(from: i64, to: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let now = i64::try_from(now.as_secs() / 60).unwrap_or_default();
    let clock = |minutes: i64| {
        let minute = (now + minutes).rem_euclid(24 * 60);
        format!("{:02}:{:02}", minute / 60, minute % 60)
    };
    format!("[{{ deny = \"{} - {}\", zone = \"UTC\" }}]", clock(from), clock(to))
}

#[tokio::test]
async fn nothing_is_deployed_in_a_window_and_the_newest_commit_when_it_is_over() {
    let repository = Repository::create().await;
    let first = commit(&repository, "one").await;
    let source = Source::of("shop", &repository);
    let later = source.clone().key("windows", &window(120, 180));
    let scene = Scene::start(&[later]).await;
    scene.api.synced("shop", &first).await;

    scene.configure(&[source.clone().key("windows", &window(-60, 60))]).await;
    let denied = |status: &switchyard_contract::source::SourceStatus| status.frozen.is_some();
    let status = scene.api.becomes("shop", "the window denies", denied).await;
    assert!(status.frozen.as_deref().is_some_and(|reason| reason.contains("denied until")), "{status:#?}");
    let second = commit(&repository, "two").await;
    let report = scene.api.refused("shop", "sync", 409).await;
    assert_eq!(report.outcome, SyncOutcome::Frozen);
    assert_eq!(scene.routers.texts("/api/").await, ["one"]);

    scene.configure(&[source]).await;
    let status = scene.api.live("shop", &second).await;
    assert_eq!((status.frozen, scene.routers.texts("/api/").await), (None, vec!["two".to_owned()]));
}
