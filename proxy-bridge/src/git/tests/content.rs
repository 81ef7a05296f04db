//! Trees and blobs of a commit.

use std::sync::mpsc;

use super::*;
use crate::git::{Blob, BlobsError, Piece, TreeLimits, TreeMode};

const BOUNDS: TreeLimits = TreeLimits { files: 100, bytes: 10 << 20, path_bytes: 1000 };

#[tokio::test]
async fn a_folder_of_a_commit_is_listed_and_read() {
    let place = Place::new();
    let large = "0123456789".repeat(20_000);
    let commit = place.commit(&[
        ("apps/api/main.ts", "export {}"),
        ("apps/api/lib/é \"x\"\t.ts", "äöü"),
        ("apps/api/empty", ""),
        ("apps/api/large", &large),
        ("apps/other/x", "x"),
    ]);
    let mirror = place.mirror().await;
    fetch(&mirror, &main_branch()).await.unwrap();
    let entries = mirror.tree(&commit, "apps/api", BOUNDS).await.unwrap();
    let names = entries.iter().map(|entry| (entry.path.as_str(), entry.size)).collect::<Vec<_>>();
    assert_eq!(names, [("empty", 0), ("large", 200_000), ("lib/é \"x\"\t.ts", 6), ("main.ts", 9)]);
    assert_eq!(mirror.tree(&commit, "", BOUNDS).await.unwrap().len(), 5);

    let blobs = entries.iter().map(|entry| Blob { id: entry.id.clone(), size: entry.size }).collect();
    let (sender, received) = mpsc::channel::<Piece>();
    let take = move |piece| sender.send(piece);
    drop(mirror.read_blobs(blobs, take).await.unwrap());
    let mut contents = vec![Vec::new(); 4];
    let mut ended = Vec::new();
    for piece in received {
        contents[piece.index].extend_from_slice(&piece.bytes);
        if piece.last {
            ended.push(piece.index);
        }
    }
    assert_eq!(contents, [b"".as_slice(), large.as_bytes(), "äöü".as_bytes(), b"export {}"]);
    assert_eq!(ended, [0, 1, 2, 3]);
}

#[tokio::test]
async fn ids_tell_what_a_commit_changed() {
    let place = Place::new();
    let first = place.commit(&[("a/x", "1"), ("b/x", "1"), ("deno.json", "{}")]);
    let mirror = place.mirror().await;
    fetch(&mirror, &main_branch()).await.unwrap();
    let second = place.commit(&[("a/x", "2")]);
    fetch(&mirror, &main_branch()).await.unwrap();
    let paths = ["a", "b", "deno.json", "none", "a/none", "deno.json/x", ""];
    let before = mirror.tree_ids(&first, &paths).await.unwrap();
    let after = mirror.tree_ids(&second, &paths).await.unwrap();
    let same = before.iter().zip(&after).map(|(before, after)| before == after).collect::<Vec<_>>();
    assert_eq!(same, [false, true, true, true, true, true, false]);
    let there = after.iter().map(Option::is_some).collect::<Vec<_>>();
    assert_eq!(there, [true, true, true, false, false, false, true]);
    for path in ["/a", "a/", "../a", "a/./b", "a\nb", "a//b"] {
        assert!(matches!(mirror.tree_id(&second, path).await, Err(GitError::Refused(_))), "{path:?}");
    }
    let none = mirror.tree(&second, "none", BOUNDS).await.unwrap_err().to_string();
    assert!(none.contains("has no folder \"none\""), "{none}");
}

#[tokio::test]
async fn symlinks_submodules_and_executables_are_told_and_never_made() {
    let place = Place::new();
    let outside = place.path("outside");
    std::os::unix::fs::symlink(&outside, place.repository().join("link")).unwrap();
    fs::write(place.repository().join("run.sh"), "").unwrap();
    fs::set_permissions(place.repository().join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    let first = place.commit(&[]);
    place.run(&["update-index", "--add", "--cacheinfo", &format!("160000,{first},sub")], "");
    place.run(&["commit", "-q", "-m", "x"], "");
    let commit = place.head();
    let mirror = place.mirror().await;
    fetch(&mirror, &main_branch()).await.unwrap();
    let entries = mirror.tree(&commit, "", BOUNDS).await.unwrap();
    let modes = entries.iter().map(|entry| (entry.path.as_str(), entry.mode)).collect::<Vec<_>>();
    assert_eq!(
        modes,
        [("link", TreeMode::Symlink), ("run.sh", TreeMode::Executable), ("sub", TreeMode::Gitlink)]
    );
    assert_eq!(mirror.tree_id(&commit, "sub").await.unwrap(), None);
}

#[tokio::test]
async fn a_name_that_is_not_utf8_is_refused_by_its_path() {
    use std::os::unix::ffi::OsStrExt as _;
    let place = Place::new();
    fs::write(place.repository().join(OsStr::from_bytes(b"a\xff.ts")), "").unwrap();
    let commit = place.commit(&[]);
    let mirror = place.mirror().await;
    fetch(&mirror, &main_branch()).await.unwrap();
    let error = mirror.tree(&commit, "", BOUNDS).await.unwrap_err().to_string();
    assert!(error.contains("\"a\\xff.ts\" is not UTF-8"), "{error}");
}

#[tokio::test]
async fn names_that_lead_out_of_the_tree_do_not_come_in() {
    let place = Place::new();
    let blob = place.run(&["hash-object", "-w", "--stdin"], "x");
    let inner = place.run(&["mktree"], &format!("100644 blob {blob}\tconfig\n"));
    for name in ["..", ".git", ".GIT"] {
        let tree = place.run(&["mktree"], &format!("040000 tree {inner}\t{name}\n"));
        let commit = place.run(&["commit-tree", "-m", "x", &tree], "");
        place.run(&["update-ref", "refs/heads/hostile", &commit], "");
        let mirror = place.mirror().await;
        let target = RefTarget::branch("hostile").unwrap();
        let error = fetch(&mirror, &target).await.unwrap_err();
        assert!(matches!(error, GitError::Refused(_)), "{name}: {error:?}");
    }
}

#[tokio::test]
async fn a_tree_over_its_bounds_is_refused_before_a_file_is_read() {
    let place = Place::new();
    let commit = place.commit(&[("a", "12345"), ("b", "12345"), ("c", "12345")]);
    let mirror = place.mirror().await;
    fetch(&mirror, &main_branch()).await.unwrap();
    let few = TreeLimits { files: 2, ..BOUNDS };
    assert!(mirror.tree(&commit, "", few).await.unwrap_err().to_string().contains("more than 2"));
    let small = TreeLimits { bytes: 14, ..BOUNDS };
    let error = mirror.tree(&commit, "", small).await.unwrap_err();
    assert!(matches!(error, GitError::TooLarge { bytes: 15, budget: 14 }));
}

#[tokio::test]
async fn a_reader_that_fails_ends_the_reading() {
    let place = Place::new();
    let content = "x".repeat(500_000);
    let commit = place.commit(&[("a", &content), ("b", &content), ("c", &content)]);
    let mirror = place.mirror().await;
    fetch(&mirror, &main_branch()).await.unwrap();
    let id = mirror.tree_id(&commit, "a").await.unwrap().unwrap();
    let blobs = vec![Blob { id: id.clone(), size: 500_000 }; 20];
    let failed = mirror.read_blobs(blobs, |_| Err("full")).await.map(drop).unwrap_err();
    assert!(matches!(failed, BlobsError::Taker("full")));
    for wrong in [499_999, 500_001] {
        let blobs = vec![Blob { id: id.clone(), size: wrong }];
        let failed = mirror.read_blobs(blobs, |_| Ok::<_, ()>(())).await.map(drop).unwrap_err();
        assert!(matches!(failed, BlobsError::Git(GitError::Damaged(_))), "{failed:?}");
    }
    let none = vec![Blob { id: "0a1b".repeat(10).parse().unwrap(), size: 1 }];
    let failed = mirror.read_blobs(none, |_| Ok::<_, ()>(())).await.map(drop).unwrap_err();
    assert!(matches!(failed, BlobsError::Git(GitError::Damaged(_))), "{failed:?}");
}

#[tokio::test]
async fn many_blobs_are_read_without_waiting_for_each_other() {
    let place = Place::new();
    let commit = place.commit(&[("a", "12")]);
    let mirror = place.mirror().await;
    fetch(&mirror, &main_branch()).await.unwrap();
    let id = mirror.tree_id(&commit, "a").await.unwrap().unwrap();
    let blobs = vec![Blob { id, size: 2 }; 20_000];
    let (sender, received) = mpsc::channel::<usize>();
    let take = move |piece: Piece| sender.send(piece.index);
    drop(mirror.read_blobs(blobs, take).await.unwrap());
    assert!(received.iter().eq(0..20_000));
}
