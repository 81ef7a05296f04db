//! The versions that a router still has the files of, and those files.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use switchyard_contract::admin::ReloadOutcome;
use switchyard_integration::client::request;
use switchyard_integration::eventually;
use switchyard_integration::fixtures::hello;
use switchyard_integration::router::{Router, State};
use switchyard_integration::volume::Volume;
use tempfile::TempDir;

/// Returns the digest of a folder, computed with coreutils.
fn digest(folder: &Path) -> String {
    let script =
        "find . -type f -printf '%P\\n' | LC_ALL=C sort | tr '\\n' '\\0' | xargs -0 sha256sum | sha256sum";
    let output = Command::new("sh").args(["-c", script]).current_dir(folder).output();
    let printed = String::from_utf8(output.expect("there is a shell").stdout).expect("digits are UTF-8");
    printed.split_whitespace().next().unwrap_or_default().to_owned()
}

/// Unpacks with the system's tar.
fn unpack(tar: &[u8]) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut command = Command::new("tar");
    command.arg("-xf").arg("-").arg("-C").arg(folder.path()).stdin(Stdio::piped());
    let mut child = command.spawn().expect("there is a tar");
    let mut stdin = child.stdin.take().expect("its standard input is a pipe");
    stdin.write_all(tar).expect("it takes the bytes");
    drop(stdin);
    assert!(child.wait().expect("it ends").success());
    folder
}

#[tokio::test]
async fn the_files_of_an_earlier_version_can_be_restored() {
    let volume = Volume::with("a", hello("one"));
    volume.write("a/lib/x y.ts", "1");
    volume.write("a/node_modules/p/index.js", "not counted");
    let router = Router::builder(&volume).unwatched().start().await;
    let first = router.admin.project("a").await.live.unwrap();
    volume.write("a/main.ts", hello("two"));
    let second = router.admin.reload("a").await;
    let listed = router.admin.checkouts("a").await.checkouts;
    let versions: Vec<_> = listed.iter().map(|one| (one.version.clone(), one.live)).collect();
    assert_eq!(versions, [(second.version.clone().unwrap(), true), (first.version.clone(), false)]);
    assert_eq!(listed[1].short, first.digest[..12]);
    assert!(listed[1].at <= listed[0].at);

    let reply = router.admin.client.get(&format!("/projects/a/checkouts/{}", listed[1].short)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("content-type"), Some("application/x-tar"));
    assert_eq!(reply.header("x-switchyard-digest"), Some(first.digest.as_str()));
    assert_eq!(reply.version(), Some(first.version.as_str()));
    let unpacked = unpack(&reply.body);
    assert_eq!(digest(unpacked.path()), first.digest);
    assert_eq!(fs::read_to_string(unpacked.path().join("main.ts")).unwrap(), hello("one"));
    assert!(!unpacked.path().join("node_modules").exists());
    let again = router.admin.client.get(&format!("/projects/a/checkouts/{}", listed[1].short)).await;
    assert_eq!(again.body, reply.body, "the same bytes each time");
}

#[tokio::test]
async fn a_missing_checkout_is_a_problem() {
    let volume = Volume::with("a", hello("one"));
    let router = Router::start(&volume).await;
    let admin = &router.admin.client;
    for short in ["000000000000", "main.ts", ".."] {
        let reply = admin.get(&format!("/projects/a/checkouts/{short}")).await;
        reply.assert_problem(404, "unknown-checkout");
    }
    admin.get("/projects/none/checkouts").await.assert_problem(404, "unknown-project");
    admin.get("/projects/none/checkouts/000000000000").await.assert_problem(404, "unknown-project");
}

#[tokio::test]
async fn a_damaged_checkout_is_not_passed_off_as_whole() {
    let (volume, state) = (Volume::with("a", hello("one")), State::new());
    let router = Router::builder(&volume).state(&state).unwatched().start().await;
    let first = router.admin.project("a").await.live.unwrap();
    volume.write("a/main.ts", hello("two"));
    assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Live);
    let damaged = state.path().join(format!("checkouts/{}/a/main.ts", first.version));
    fs::remove_file(&damaged).unwrap();
    fs::write(&damaged, hello("eno")).unwrap();
    let path = format!("/projects/a/checkouts/{}", &first.digest[..12]);
    let sent = router.admin.client.connect().await.try_send(request(&path)).await;
    assert!(sent.is_err(), "the answer breaks off: {sent:?}");

    // The next router has no reason to trust it.
    assert!(router.stop().await.status.success());
    let router = Router::builder(&volume).state(&state).unwatched().start().await;
    router.admin.client.get(&path).await.assert_problem(404, "unknown-checkout");
}

#[tokio::test]
async fn a_checkout_is_not_pruned_while_it_is_sent() {
    let volume = Volume::with("a", hello("one"));
    let large = "x".repeat(32 * 1024 * 1024);
    volume.write("a/large.txt", &large);
    let router = Router::builder(&volume).unwatched().flag("keep", 0).start().await;
    let mut events = router.events().await;
    let first = router.admin.project("a").await.live.unwrap();
    let path = format!("/projects/a/checkouts/{}", &first.digest[..12]);
    let mut connection = router.admin.client.connect().await;
    let mut stream = connection.stream(request(&path)).await;
    let mut length = stream.next().await.expect("it begins").len();
    for label in ["two", "three"] {
        volume.write("a/main.ts", hello(label));
        assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Live);
        events.wait_retired("a").await;
    }
    while let Some(chunk) = stream.next().await {
        length += chunk.len();
    }
    assert!(length > large.len() && length % 512 == 0, "{length}");
    volume.write("a/main.ts", hello("four"));
    assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Live);
    eventually("it is pruned now", || async { router.admin.checkouts("a").await.checkouts.len() == 1 }).await;
}
