//! The branches of a server, and the times of commits.

use super::*;

#[tokio::test]
async fn only_branches_that_begin_so_are_found() {
    let place = Place::new();
    let mirror = place.mirror().await;
    assert!(mirror.branches(&["feature/"]).await.unwrap().is_empty(), "an empty repository has none");
    let commit = place.commit(&[("a.ts", "1")]);
    for branch in ["feature/x", "feature/a/b", "develop", "refs/heads/feature/y"] {
        place.run(&["branch", branch], "");
    }
    place.run(&["tag", "feature/tag"], "");
    place.run(&["update-ref", "refs/pull/7/head", "HEAD"], "");
    let found = mirror.branches(&["feature/", "develop"]).await.unwrap();
    let names: Vec<_> = found.keys().map(String::as_str).collect();
    assert_eq!(names, ["develop", "feature/a/b", "feature/x"]);
    assert!(found.values().all(|head| *head == commit));
    assert!(mirror.branches(&[]).await.unwrap().is_empty());
    let many: Vec<_> = (0..100).map(|n| format!("feature/{n}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).chain(["develop"]).collect();
    assert_eq!(mirror.branches(&many).await.unwrap().into_keys().collect::<Vec<_>>(), ["develop"]);
}

#[tokio::test]
async fn a_commit_that_is_kept_has_its_committers_time() {
    let place = Place::new();
    place.commit(&[("a.ts", "1")]);
    let mirror = place.mirror().await;
    let commit = fetch(&mirror, &main_branch()).await.unwrap();
    let time = place.run(&["log", "-1", "--format=%ct"], "");
    assert_eq!(mirror.committed_at("shop", &commit).await.unwrap().to_string(), time);
    let error = mirror.committed_at("other", &commit).await.unwrap_err();
    assert!(matches!(error, GitError::Damaged(_)), "{error:?}");
}
