//! Contents from folders, and places that have none.

use std::process::Command;

use super::*;

/// A repository with contents that the real git-lfs put there, and their pointers.
fn repository(bare: bool) -> (tempfile::TempDir, String, LfsPointer) {
    let dir = tempfile::tempdir().unwrap();
    let mut git = Command::new("git");
    git.args(["init", "-q"]).args(bare.then_some("--bare")).arg(dir.path());
    assert!(git.status().unwrap().success());
    let pointer = pointer(b"content");
    let inner = if bare { dir.path().to_owned() } else { dir.path().join(".git") };
    let oid = pointer.oid.as_str();
    let folder = inner.join("lfs/objects").join(&oid[..2]).join(&oid[2..4]);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(oid), "content").unwrap();
    let url = format!("file://{}", dir.path().display());
    (dir, url, pointer)
}

#[tokio::test]
async fn a_repository_of_this_machine_gives_contents_from_its_folder() {
    for bare in [true, false] {
        let (_dir, url, pointer) = repository(bare);
        let lfs = Lfs::new(remote(&url, None), LIMITS).unwrap();
        let twice = [pointer.clone(), pointer.clone()];
        assert_eq!(read(&lfs, &twice).await.unwrap(), [b"content", b"content"]);
    }
}

#[tokio::test]
async fn contents_in_a_folder_are_checked_and_links_are_not_followed() {
    let (dir, url, wanted) = repository(true);
    let lfs = Lfs::new(remote(&url, None), LIMITS).unwrap();
    let oid = wanted.oid.as_str();
    let file = dir.path().join("lfs/objects").join(&oid[..2]).join(&oid[2..4]).join(oid);
    let wanted = [wanted];
    for (content, says) in [("c0ntent", "sha256"), ("conten", "6 bytes"), ("content!", "8 bytes")] {
        fs::write(&file, content).unwrap();
        let error = read(&lfs, &wanted).await.unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    fs::remove_file(&file).unwrap();
    assert!(read(&lfs, &wanted).await.unwrap_err().to_string().contains("git lfs fetch --all"));
    let outside = dir.path().join("outside");
    fs::write(&outside, "content").unwrap();
    std::os::unix::fs::symlink(&outside, &file).unwrap();
    assert!(matches!(read(&lfs, &wanted).await, Err(GitError::Refused(_))));
    fs::remove_file(&file).unwrap();
    assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
    assert!(read(&lfs, &wanted).await.unwrap_err().to_string().contains("no plain file"));
}

#[tokio::test]
async fn too_much_is_refused_before_anything_is_asked() {
    let large = LfsPointer { size: (1 << 20) + 1, ..pointer(b"") };
    let lfs = Lfs::new(remote("https://127.0.0.1:1/x", None), LIMITS).unwrap();
    let error = read(&lfs, &[large]).await.unwrap_err();
    assert!(matches!(error, GitError::TooLarge { budget: 1_048_576, .. }), "{error:?}");
    let most = LfsPointer { size: u64::MAX, ..pointer(b"") };
    assert!(matches!(read(&lfs, &[most.clone(), most]).await, Err(GitError::TooLarge { .. })));
    assert!(read(&lfs, &[]).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_server_that_is_silent_is_not_waited_for() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/x", listener.local_addr().unwrap());
    let limits = LfsLimits { timeout: Duration::from_millis(50), ..LIMITS };
    let lfs = Lfs::new(remote(&url, None), limits).unwrap();
    assert!(matches!(read(&lfs, &[pointer(b"x")]).await, Err(GitError::TimedOut { .. })));
}

#[tokio::test]
async fn a_taker_that_fails_ends_the_reading() {
    let (_dir, url, pointer) = repository(true);
    let lfs = Lfs::new(remote(&url, None), LIMITS).unwrap();
    let failed = lfs.read(vec![pointer; 50], |_| Err("full")).await.map(drop).unwrap_err();
    assert!(matches!(failed, BlobsError::Taker("full")));
}

#[test]
fn a_transport_without_lfs_is_refused_with_the_way_out() {
    for url in ["git@host:acme/shop.git", "ssh://git@host/x", "git://host/x"] {
        let error = Lfs::new(remote(url, None), LIMITS).unwrap_err().to_string();
        assert!(error.contains("is not supported") && error.contains("https URL"), "{error}");
    }
}
