//! Validators of static files (`ETag`, `Last-Modified`), which servers derive from a file's time
//! and size.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::client::Client;
use switchyard_integration::router::Router;
use switchyard_integration::upload::Upload;
use switchyard_integration::volume::Volume;
use switchyard_integration::{eventually, within};

/// Answers with the time and the size of the requested file, as express and others do.
const SERVER: &str = r#"export default {
  async fetch(request: Request) {
    const path = "." + new URL(request.url).pathname;
    const { mtime, size } = await Deno.stat(path);
    return new Response(await Deno.readTextFile(path), {
      headers: {
        etag: `W/"${size.toString(16)}-${mtime!.getTime().toString(16)}"`,
        "last-modified": mtime!.toUTCString(),
      },
    });
  },
};
"#;

fn files() -> [(&'static str, &'static str); 3] {
    [("main.ts", SERVER), ("app.js", "const colour = 'red';\n"), ("same.css", "body{}\n")]
}

fn volume() -> Volume {
    let volume = Volume::new();
    for (path, text) in files() {
        volume.write(&format!("a/{path}"), text);
    }
    volume
}

fn set_time(path: &Path, time: SystemTime) {
    let file = File::options().write(true).open(path).expect("it is there");
    file.set_modified(time).expect("times can be set");
}

async fn validators(client: &Client, path: &str) -> (String, String) {
    let reply = client.get(path).await;
    let header = |name| reply.header(name).expect("it has validators").to_owned();
    (header("etag"), header("last-modified"))
}

async fn serves(client: &Client, text: &str) {
    eventually("the edit is served", || async { client.get("/a/app.js").await.text().contains(text) }).await;
}

#[tokio::test]
async fn an_unchanged_file_keeps_its_validators_over_edits_restarts_and_routers() {
    let volume = volume();
    let old = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    for path in ["a/app.js", "a/same.css"] {
        set_time(&volume.path(path), old);
    }
    let router = Router::start(&volume).await;
    let first = validators(&router.public, "/a/same.css").await;
    assert_eq!(first.1, "Tue, 14 Nov 2023 22:13:20 GMT", "the time that it has on the volume");
    let before = validators(&router.public, "/a/app.js").await;
    volume.write("a/app.js", "const colour = 'blu';\n");
    serves(&router.public, "blu").await;
    let after = validators(&router.public, "/a/app.js").await;
    assert_ne!((&before.0, &before.1), (&after.0, &after.1));
    assert_eq!(validators(&router.public, "/a/same.css").await, first);

    let state = router.state.clone();
    router.stop().await;
    let again = Router::builder(&volume).state(&state).start().await;
    let other = Router::start(&volume).await;
    for router in [&again, &other] {
        assert_eq!(validators(&router.public, "/a/same.css").await, first);
        assert_eq!(validators(&router.public, "/a/app.js").await, after);
    }
}

#[tokio::test]
async fn an_edit_of_the_same_length_and_time_gets_another_etag() {
    let volume = volume();
    let old = SystemTime::now() - Duration::from_secs(86_400);
    set_time(&volume.path("a/app.js"), old);
    let router = Router::start(&volume).await;
    let before = validators(&router.public, "/a/app.js").await;
    volume.write("a/app.js", "const colour = 'blu';\n");
    set_time(&volume.path("a/app.js"), old);
    serves(&router.public, "blu").await;
    let after = validators(&router.public, "/a/app.js").await;
    assert_ne!(before.0, after.0);
    assert_eq!(before.1, after.1, "as on every server: the file's time is what it was");
}

#[tokio::test]
async fn a_file_that_was_written_again_has_the_same_validators_on_all_routers() {
    let volume = volume();
    let router = Router::builder(&volume).unwatched().start().await;
    set_time(&volume.path("a/same.css"), SystemTime::now() - Duration::from_secs(3600));
    router.admin.reload("a").await;
    let other = Router::start(&volume).await;
    let both = [&router, &other].map(|router| &router.public);
    assert_eq!(validators(both[0], "/a/same.css").await, validators(both[1], "/a/same.css").await);
}

#[tokio::test]
async fn a_deploy_leaves_the_validators_of_files_that_it_does_not_change() {
    let volume = Volume::new();
    let mut routers = Replicas::start(&volume, 2).await;
    let bridge = routers.start_bridge().await;
    bridge.deploy_live("a", &Upload::curl(&files())).await;
    set_time(&volume.path("a/same.css"), SystemTime::now() - Duration::from_secs(86_400));
    for router in routers.iter() {
        router.admin.reload("a").await;
    }
    let first = validators(&routers[0].public, "/a/same.css").await;
    let mut next = files();
    next[1].1 = "const colour = 'blu';\n";
    bridge.deploy_live("a", &Upload::curl(&next)).await;
    routers.kill(1).await;
    within("the router starts", routers.start_again(1)).await;
    for router in routers.iter() {
        serves(&router.public, "blu").await;
        assert_eq!(validators(&router.public, "/a/same.css").await, first);
    }
}
