//! Routers that are silent, or away, while a commit is deployed.

use rustix::process::Signal;
use switchyard_contract::source::SyncOutcome;
use switchyard_integration::eventually;
use switchyard_integration::fixtures::slow;
use switchyard_integration::probe::Probe;

use super::scene::Scene;

#[tokio::test]
async fn a_router_that_falls_silent_during_a_sync_holds_up_nothing_and_catches_up() {
    let scene = Scene::with_routers(2).await;
    scene.source(&scene.file_url(), "");
    let first = scene.push("one").await;
    let shop = scene.start().await;
    shop.follows(&first).await;
    let probe = Probe::start(&scene.routers[0].public, "/api/").await;
    let second = scene.repository.commit(&[("apps/api/main.ts", &slow("two", 2000))], "Slow").await;
    assert_eq!(shop.bridge.client.post("/sources/shop/sync?wait=0").await.status, 202);
    eventually("the routers build", || async {
        scene.routers[1].admin.project("api").await.state != switchyard_contract::admin::ProjectState::Live
            || shop.status().await.state == switchyard_contract::source::SourceState::Deploying
    })
    .await;
    scene.routers[1].signal(Signal::STOP);
    shop.follows(&second).await;
    assert_eq!(scene.routers[0].public.get("/api/").await.text(), "two");
    scene.routers[1].signal(Signal::CONT);
    scene.answers("api", "two").await;
    probe.finish().await.no_failures().none_mixed().versions_monotonic(&["one", "two"]);
}

#[tokio::test]
async fn a_commit_that_no_router_takes_is_tried_again_until_one_does() {
    let scene = Scene::new().await;
    scene.source(&scene.file_url(), "");
    let first = scene.push("one").await;
    let shop = Scene::started(scene.bridge().flag("deploy-timeout", 3000)).await;
    shop.follows(&first).await;
    let second = scene.push("two").await;
    scene.routers[0].signal(Signal::STOP);
    let synced = shop.sync().await;
    assert!([SyncOutcome::Unreachable, SyncOutcome::Failed].contains(&synced.report.outcome), "{synced:#?}");
    assert!(synced.status >= 400, "{synced:#?}");
    let status = shop.status().await;
    let kind = status.problem.as_ref().map(|problem| problem.kind.as_str());
    assert!(matches!(kind, Some("unreachable" | "failed")), "{status:#?}");
    assert_eq!(status.applied, Some(first));
    scene.routers[0].signal(Signal::CONT);
    // Nobody asks for it.
    shop.follows(&second).await;
    scene.still("two").await;
}

#[tokio::test]
async fn a_router_that_starts_again_serves_the_commit_that_is_live() {
    let mut scene = Scene::with_routers(2).await;
    scene.source(&scene.file_url(), "");
    let first = scene.push("one").await;
    let shop = scene.start().await;
    shop.follows(&first).await;
    scene.routers.kill(1).await;
    let second = scene.push("two").await;
    shop.syncs_to(&second).await;
    assert_eq!(scene.routers[0].public.get("/api/").await.text(), "two");
    scene.routers.start_again(1).await;
    scene.answers("api", "two").await;
    shop.bridge.asks_all().await;
    let third = scene.push("three").await;
    shop.syncs_to(&third).await;
    scene.still("three").await;
}
