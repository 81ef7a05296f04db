//! Refs that move in unusual ways, go, and come back.

use switchyard_contract::source::{DeployedCommits, SyncOutcome};
use switchyard_integration::fixtures::hello;

use super::scene::{Scene, Shop};

async fn deployed(shop: &Shop) -> Vec<String> {
    let reply = shop.bridge.client.get("/sources/shop/commits").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let commits: DeployedCommits =
        serde_json::from_value(reply.json()).expect("the answer is the JSON of the contract");
    commits.commits.into_iter().map(|deployed| deployed.commit).collect()
}

#[tokio::test]
async fn a_forced_push_is_deployed_and_the_old_commit_is_kept() {
    let scene = Scene::new().await;
    scene.source(&scene.file_url(), "");
    scene.push("one").await;
    let second = scene.push("two").await;
    let shop = scene.start().await;
    shop.follows(&second).await;
    let change = scene.repository.on("main").unrelated();
    let third = change.file("apps/api/main.ts", hello("three")).commit("Another history").await;
    shop.syncs_to(&third).await;
    scene.still("three").await;
    assert_eq!(deployed(&shop).await, [third.clone(), second.clone()]);
    // The repository forgets what no ref has.
    scene.repository.git_output(&["gc", "--quiet", "--prune=now"]).await;
    let synced = shop.sync_with(&format!("?commit={second}")).await;
    assert_eq!((synced.status, synced.report.outcome), (200, SyncOutcome::Live), "{synced:#?}");
    scene.still("two").await;
}

#[tokio::test]
async fn a_branch_that_is_not_there_is_named_and_followed_when_it_is() {
    let scene = Scene::new().await;
    scene.push("one").await;
    scene.source_of(&scene.file_url(), "branch = \"release\"\n");
    let shop = scene.start().await;
    let detail = shop.names("branch-gone").await;
    assert!(detail.contains("release"), "{detail}");
    shop.is_unreachable("branch-gone").await;
    let commit = scene.repository.branch("release").await;
    shop.syncs_to(&commit).await;
    scene.answers("api", "one").await;
}

#[tokio::test]
async fn a_branch_that_is_deleted_leaves_what_is_live_and_is_followed_when_it_is_back() {
    let scene = Scene::new().await;
    scene.source(&scene.file_url(), "");
    let first = scene.push("one").await;
    let shop = scene.start().await;
    shop.follows(&first).await;
    scene.repository.delete_branch("main").await;
    let detail = shop.is_unreachable("branch-gone").await;
    assert!(detail.contains("main"), "{detail}");
    shop.is_unreachable("branch-gone").await;
    assert_eq!(shop.status().await.applied.as_deref(), Some(first.as_str()));
    scene.still("one").await;
    // The same commit, and then another history.
    scene.repository.force_push("main", &first).await;
    shop.syncs_to(&first).await;
    scene.repository.delete_branch("main").await;
    shop.is_unreachable("branch-gone").await;
    let second = scene.push("two").await;
    shop.syncs_to(&second).await;
    scene.still("two").await;
}

#[tokio::test]
async fn a_tag_that_moves_is_reported_and_followed_only_where_that_is_wanted() {
    let scene = Scene::new().await;
    let first = scene.push("one").await;
    scene.repository.tag("v1.0.0", &first).await;
    scene.source_of(&scene.file_url(), "tag = \"v1.*\"\n");
    let shop = scene.start().await;
    shop.follows(&first).await;
    let second = scene.push("two").await;
    scene.repository.tag("v1.0.0", &second).await;
    let detail = shop.is_invalid().await;
    assert!(detail.contains("v1.0.0") && detail.contains("moving_tags"), "{detail}");
    assert_eq!(shop.status().await.applied.as_deref(), Some(first.as_str()));
    scene.still("one").await;
    // A newer tag is no tag that moved.
    let third = scene.push("three").await;
    scene.repository.tag("v1.1.0", &third).await;
    shop.syncs_to(&third).await;
    scene.still("three").await;

    let fourth = scene.push("four").await;
    scene.repository.tag("v1.1.0", &fourth).await;
    shop.is_invalid().await;
    scene.source_of(&scene.file_url(), "tag = \"v1.*\"\nmoving_tags = true\n");
    shop.reload();
    shop.follows(&fourth).await;
    let fifth = scene.push("five").await;
    scene.repository.annotated_tag("v1.1.0", &fifth, "Moved").await;
    shop.syncs_to(&fifth).await;
    scene.still("five").await;
}
