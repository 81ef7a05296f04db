//! Refs that move, go and come back.

use super::*;
use crate::git::Resolved;

#[tokio::test]
async fn a_push_is_fetched_alone_and_without_its_history() {
    let place = Place::new();
    let first = place.commit(&[("a.ts", "1")]);
    let second = place.commit(&[("a.ts", "2")]);
    let mirror = place.mirror().await;
    assert_eq!(fetch(&mirror, &main_branch()).await.unwrap(), second);
    assert!(matches!(mirror.tree_id(&first, "").await, Err(GitError::Damaged(_))));
    let third = place.commit(&[("a.ts", "3")]);
    assert_eq!(fetch(&mirror, &main_branch()).await.unwrap(), third);
    assert_eq!(fetch(&mirror, &main_branch()).await.unwrap(), third);
    assert!(!files(mirror.path()).iter().any(|file| file.ends_with("FETCH_HEAD")));
}

#[tokio::test]
async fn a_force_push_is_followed_and_the_old_commit_stays() {
    let place = Place::new();
    place.commit(&[("a.ts", "1")]);
    let old = place.commit(&[("a.ts", "2")]);
    let mirror = place.mirror().await;
    fetch(&mirror, &main_branch()).await.unwrap();
    place.run(&["reset", "-q", "--hard", "HEAD~1"], "");
    let new = place.commit(&[("a.ts", "3")]);
    assert_eq!(fetch(&mirror, &main_branch()).await.unwrap(), new);
    for commit in [&old, &new] {
        assert!(mirror.tree_id(commit, "a.ts").await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_deleted_branch_is_reported_by_name_and_followed_when_it_is_back() {
    let place = Place::new();
    let commit = place.commit(&[("a.ts", "1")]);
    place.run(&["branch", "feature/x"], "");
    let mirror = place.mirror().await;
    let target = RefTarget::branch("feature/x").unwrap();
    assert_eq!(fetch(&mirror, &target).await.unwrap(), commit);
    place.run(&["branch", "-D", "feature/x"], "");
    // Git matches names by their ends.
    place.run(&["branch", "refs/heads/feature/x"], "");
    let error = fetch(&mirror, &target).await.unwrap_err();
    assert_eq!(error.to_string(), "the repository has no branch feature/x");
    assert!(matches!(error, GitError::RefGone { .. }));
    place.run(&["branch", "feature/x"], "");
    assert_eq!(fetch(&mirror, &target).await.unwrap(), commit);
}

#[tokio::test]
async fn an_empty_repository_has_no_branch() {
    let place = Place::new();
    let mirror = place.mirror().await;
    assert!(matches!(fetch(&mirror, &main_branch()).await, Err(GitError::RefGone { .. })));
}

#[tokio::test]
async fn a_moved_tag_is_reported() {
    let place = Place::new();
    let first = place.commit(&[("a.ts", "1")]);
    place.run(&["tag", "v1.0.0"], "");
    let mirror = place.mirror().await;
    let target = RefTarget::tag("v1.0.0").unwrap();
    assert_eq!(fetch(&mirror, &target).await.unwrap(), first);
    let second = place.commit(&[("a.ts", "2")]);
    place.run(&["tag", "-f", "v1.0.0"], "");
    let resolved = mirror.resolve(&target).await.unwrap();
    assert_eq!(resolved, Resolved { commit: second, name: Some("refs/tags/v1.0.0".to_owned()) });
}

#[tokio::test]
async fn the_newest_tag_leads_to_its_commit_even_if_it_is_annotated() {
    let place = Place::new();
    place.commit(&[("a.ts", "1")]);
    place.run(&["tag", "v1.9.0"], "");
    let newest = place.commit(&[("a.ts", "2")]);
    place.run(&["tag", "-a", "-m", "x", "v1.10.0"], "");
    place.commit(&[("a.ts", "3")]);
    for tag in ["v2.0.0", "v1.11.0-rc.1", "nightly"] {
        place.run(&["tag", tag], "");
    }
    let mirror = place.mirror().await;
    let target = RefTarget::tag("v1.*").unwrap();
    assert_eq!(fetch(&mirror, &target).await.unwrap(), newest);
    let resolved = mirror.resolve(&RefTarget::full_ref("refs/tags/v1.10.0").unwrap()).await.unwrap();
    assert_eq!(resolved.commit, newest);
    let none = mirror.resolve(&RefTarget::tag("v3.*").unwrap()).await.unwrap_err();
    assert_eq!(none.to_string(), "the repository has no tag v3.*");
}

#[tokio::test]
async fn head_a_full_ref_and_a_commit_can_be_followed() {
    let place = Place::new();
    let first = place.commit(&[("a.ts", "1")]);
    let second = place.commit(&[("a.ts", "2")]);
    place.run(&["update-ref", "refs/pull/7/head", first.as_str()], "");
    let mirror = place.mirror().await;
    assert_eq!(fetch(&mirror, &RefTarget::full_ref("HEAD").unwrap()).await.unwrap(), second);
    let pull = RefTarget::full_ref("refs/pull/7/head").unwrap();
    assert_eq!(fetch(&mirror, &pull).await.unwrap(), first);
    place.run(&["update-ref", "-d", "refs/pull/7/head"], "");
    assert_eq!(fetch(&mirror, &RefTarget::Commit(first.clone())).await.unwrap(), first);
    let none: ObjectId = "0a1b".repeat(10).parse().unwrap();
    let error = fetch(&mirror, &RefTarget::Commit(none.clone())).await.unwrap_err();
    assert_eq!(error.to_string(), format!("the repository has no commit {none}"));
    let blob: ObjectId = place.run(&["rev-parse", "HEAD:a.ts"], "").parse().unwrap();
    assert!(fetch(&mirror, &RefTarget::Commit(blob)).await.is_err());
}

#[tokio::test]
async fn a_repository_of_sha256_is_followed() {
    let place = Place::new();
    fs::remove_dir_all(place.repository()).unwrap();
    place.run(&["init", "-q", "-b", "main", "--object-format=sha256", "."], "");
    let commit = place.commit(&[("a.ts", "1")]);
    let mirror = place.mirror().await;
    assert_eq!(fetch(&mirror, &main_branch()).await.unwrap(), commit);
    assert_eq!(mirror.tree_id(&commit, "a.ts").await.unwrap().unwrap().as_str().len(), 64);
}

#[tokio::test]
async fn commits_that_no_source_retains_are_removed() {
    let place = Place::new();
    let first = place.commit(&[("a.ts", "1")]);
    let mirror = place.mirror().await;
    fetch(&mirror, &main_branch()).await.unwrap();
    let resolved = Resolved { commit: first.clone(), name: None };
    mirror.fetch("other", &resolved).await.unwrap();
    let second = place.commit(&[("a.ts", "2")]);
    fetch(&mirror, &main_branch()).await.unwrap();
    mirror.retain("shop", std::slice::from_ref(&second)).await.unwrap();
    mirror.gc().await.unwrap();
    assert!(mirror.tree_id(&first, "").await.unwrap().is_some(), "the other source has it");
    mirror.retain("other", &[]).await.unwrap();
    mirror.gc().await.unwrap();
    assert!(mirror.tree_id(&first, "").await.is_err());
    assert!(mirror.tree_id(&second, "").await.unwrap().is_some());
    let third = place.commit(&[("a.ts", "3")]);
    assert_eq!(fetch(&mirror, &main_branch()).await.unwrap(), third);
}

#[tokio::test]
async fn names_that_git_would_take_for_options_never_reach_it() {
    let place = Place::new();
    let commit = place.commit(&[("a.ts", "1")]);
    let mirror = place.mirror().await;
    let mark = place.path("mark");
    let option = format!("--upload-pack=touch {}", mark.display());
    for target in [RefTarget::Ref(option.clone()), RefTarget::Ref("-x".to_owned())] {
        assert!(matches!(mirror.resolve(&target).await, Err(GitError::Refused(_))));
    }
    let resolved = Resolved { commit, name: None };
    for source in ["-x", "a/../b", "", "a b"] {
        assert!(matches!(mirror.fetch(source, &resolved).await, Err(GitError::Refused(_))), "{source}");
    }
    assert!(!mark.exists());
}

#[tokio::test]
async fn a_server_that_gives_refs_only_is_asked_by_name_and_a_move_in_between_is_reported() {
    let place = Place::new();
    place.commit(&[("a", "1")]);
    let program = place.program("old", "#!/bin/sh\nexec git -c protocol.version=0 \"$@\"\n");
    let git = Git::find(GitSettings { program, ..place.settings() }).await.unwrap();
    let mirror = Mirror::open(git, &place.path("mirrors"), place.remote(), LIMITS).await.unwrap();
    let resolved = mirror.resolve(&main_branch()).await.unwrap();
    let second = place.commit(&[("a", "2")]);
    let error = mirror.fetch("shop", &resolved).await.unwrap_err();
    assert!(matches!(&error, GitError::Moved { name } if name == "refs/heads/main"), "{error:?}");
    assert_eq!(fetch(&mirror, &main_branch()).await.unwrap(), second);
    assert_eq!(files(&mirror.path().join("refs")).len(), 1);
}
