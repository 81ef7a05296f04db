//! Files that LFS keeps, in a repository of this machine.

use sha2::{Digest as _, Sha256};

use super::*;

const LFS: &str = "projects = [{ path = \"apps/*\" }]\nlfs = true";

/// Puts a content where git-lfs keeps it, and returns its pointer.
fn keep(repository: &Path, content: &[u8]) -> String {
    let oid = format!("{:x}", Sha256::digest(content));
    let folder = repository.join(".git/lfs/objects").join(&oid[..2]).join(&oid[2..4]);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(&oid), content).unwrap();
    format!("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {}\n", content.len())
}

#[tokio::test]
async fn contents_are_in_the_places_of_their_pointers() {
    let scene = Scene::new(LFS).await;
    let large = (0..=255).cycle().take(300_000).collect::<Vec<u8>>();
    let (one, two) = (keep(&scene.repository(), &large), keep(&scene.repository(), b""));
    let commit = scene.commit(&[
        ("apps/api/main.ts", "1"),
        ("apps/api/img/logo.png", &one),
        ("apps/api/img/same.png", &one),
        ("apps/api/empty", &two),
        ("apps/b/main.ts", "2"),
    ]);
    let read = scene.read(&commit).await;
    let tree = scene.receive(&read, "api").await.unwrap();
    let found = files(&tree.dir);
    assert_eq!(found.keys().collect::<Vec<_>>(), ["empty", "img/logo.png", "img/same.png", "main.ts"]);
    assert!(found["img/logo.png"] == large && found["img/same.png"] == large && found["empty"].is_empty());
    scene.receive(&read, "b").await.unwrap();
}

#[tokio::test]
async fn a_submodules_contents_come_from_its_own_repository() {
    let lines = format!("{LFS}\nsubmodules = [\"apps/api/lib\"]\nallow = [\"file://{{dir}}/lib\"]");
    let scene = Scene::new(&lines).await;
    let lib = scene.dir.path().join("lib");
    fs::create_dir(&lib).unwrap();
    scene.git_in(&lib, &["init", "-q", "-b", "main", "."], "");
    let (inner, outer) = (keep(&lib, b"inner"), keep(&scene.repository(), b"outer"));
    fs::write(lib.join("logo"), inner).unwrap();
    scene.git_in(&lib, &["add", "-A", "."], "");
    scene.git_in(&lib, &["commit", "-q", "-m", "x"], "");
    let commit = scene.git_in(&lib, &["rev-parse", "HEAD"], "");
    let text = "[submodule \"x\"]\n\tpath = apps/api/lib\n\turl = ../lib\n";
    scene.commit(&[("apps/api/main.ts", "1"), ("apps/api/logo", &outer), (".gitmodules", text)]);
    scene.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},apps/api/lib")], "");
    scene.git(&["commit", "-q", "-m", "x"], "");
    let read = scene.read(&scene.git(&["rev-parse", "HEAD"], "").parse().unwrap()).await;
    let found = files(&scene.receive(&read, "api").await.unwrap().dir);
    assert_eq!((found["logo"].as_slice(), found["lib/logo"].as_slice()), (&b"outer"[..], &b"inner"[..]));
}

#[tokio::test]
async fn contents_that_cannot_be_had_are_told_by_their_paths() {
    let scene = Scene::new(LFS).await;
    let there = keep(&scene.repository(), b"there");
    let missing =
        format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 1\n", "0a1b".repeat(16));
    let wrong = keep(&scene.repository(), b"wrong").replace("size 5", "size 4");
    for (pointer, says) in [
        (missing.as_str(), "it is not there"),
        (&wrong, "apps/api/logo: the LFS content"),
        ("version https://git-lfs.github.com/spec/v1\nsize 12\n", "it is a malformed LFS pointer"),
    ] {
        let files = [("apps/api/main.ts", "1"), ("apps/api/a", there.as_str()), ("apps/api/logo", pointer)];
        let text = scene.unreceived("api", &files).await;
        assert!(text.starts_with("apps/api/logo: ") && text.contains(says), "{text}");
    }
}

#[tokio::test]
async fn contents_beyond_the_size_of_a_project_are_not_asked_for() {
    let scene = Scene::new(LFS).await;
    let pointer = keep(&scene.repository(), &[7; 5000]);
    let read = scene.read(&scene.commit(&[("apps/api/main.ts", "1"), ("apps/api/big", &pointer)])).await;
    let limits = UploadLimits { size: 4999, ..UploadLimits::default() };
    let error = read.receive(&scene.mirror, &name("api"), &scene.staging(), &limits).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, ReceiveError::Invalid(_)), "{error:?}");
    assert!(text.starts_with("apps/api/big: ") && text.contains("--max-size"), "{text}");
}
