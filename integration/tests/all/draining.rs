//! Draining: requests finish on the version that they began on, within the grace time.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use switchyard_integration::client::Upload;
use switchyard_integration::fixtures::lasting;
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;
use switchyard_integration::{eventually, within};
use tokio_tungstenite::tungstenite::Message;

#[tokio::test]
async fn a_request_in_flight_ends_on_the_version_it_began_on() {
    let volume = Volume::with("a", lasting("one"));
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    let first = events.wait_live("a").await.data.version;
    let (upload, request) = Upload::post("/a/wait");
    let client = router.public.clone();
    let held = tokio::spawn(async move { client.send(request).await });
    eventually("it is in flight", || async { router.admin.project("a").await.in_flight == 1 }).await;
    volume.replace("a/main.ts", lasting("two"));
    events.wait_live("a").await;
    assert_eq!(router.public.get("/a/").await.text(), "two");
    upload.end();
    let reply = within("the request in flight is answered", held).await.unwrap();
    assert_eq!((reply.text().as_str(), reply.version()), ("one", first.as_deref()));
    assert_eq!(events.wait_retired("a").await.data.version, first);
}

#[tokio::test]
async fn a_stream_continues_on_the_version_that_it_began_on() {
    let volume = Volume::with("a", lasting("one"));
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    let first = events.wait_live("a").await.data.version;
    let mut connection = router.public.connect().await;
    let (upload, request) = Upload::post("/a/echo");
    upload.send("1").await;
    let mut stream = connection.stream(request).await;
    assert_eq!(stream.next().await.as_deref(), Some("one 1"));
    volume.replace("a/main.ts", lasting("two"));
    events.wait_live("a").await;
    upload.send("2").await;
    assert_eq!(stream.next().await.as_deref(), Some("one 2"));
    assert!(!router.admin.project("a").await.draining.is_empty());
    upload.end();
    assert_eq!(stream.next().await, None);
    assert_eq!(events.wait_retired("a").await.data.version, first);
}

#[tokio::test]
async fn a_websocket_stays_on_the_version_that_it_began_on_and_a_new_one_does_not() {
    let volume = Volume::with("a", lasting("one"));
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    let first = events.wait_live("a").await.data.version;
    let mut old = router.public.websocket("/a/").await.unwrap();
    old.send(Message::text("1")).await.unwrap();
    assert_eq!(within("an echo", old.next()).await.unwrap().unwrap(), Message::text("one 1"));
    volume.replace("a/main.ts", lasting("two"));
    events.wait_live("a").await;
    let mut new = router.public.websocket("/a/").await.unwrap();
    for (socket, expected) in [(&mut old, "one 2"), (&mut new, "two 2")] {
        socket.send(Message::text("2")).await.unwrap();
        assert_eq!(within("an echo", socket.next()).await.unwrap().unwrap(), Message::text(expected));
    }
    old.close(None).await.unwrap();
    while within("the other end closes too", old.next()).await.is_some() {}
    drop(old);
    assert_eq!(events.wait_retired("a").await.data.version, first);
}

#[tokio::test]
async fn a_kept_connections_next_request_goes_to_the_new_version() {
    let volume = Volume::with("a", lasting("one"));
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    events.wait_live("a").await;
    let mut connection = router.public.connect().await;
    let mut h2 = router.public.connect_h2c().await;
    assert_eq!(connection.get("/a/").await.text(), "one");
    assert_eq!(h2.get("/a/").await.text(), "one");
    volume.replace("a/main.ts", lasting("two"));
    events.wait_live("a").await;
    assert_eq!(connection.get("/a/").await.text(), "two");
    assert_eq!(h2.get("/a/").await.text(), "two");
}

#[tokio::test]
async fn requests_that_outlast_the_grace_time_are_cut_off() {
    let volume = Volume::with("a", lasting("one"));
    let router = Router::builder(&volume).flag("grace", 300).start().await;
    let mut events = router.events().await;
    let first = events.wait_live("a").await.data.version;
    let mut connection = router.public.connect().await;
    let (upload, request) = Upload::post("/a/echo");
    upload.send("1").await;
    let mut stream = connection.stream(request).await;
    assert_eq!(stream.next().await.as_deref(), Some("one 1"));
    let began = Instant::now();
    volume.replace("a/main.ts", lasting("two"));
    events.wait_live("a").await;
    assert_eq!(events.wait_retired("a").await.data.version, first);
    assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
    assert!(stream.try_next().await.is_none_or(|chunk| chunk.is_err()));
}

#[tokio::test]
async fn several_old_versions_drain_side_by_side() {
    let volume = Volume::with("a", lasting("v0"));
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    events.wait_live("a").await;
    let mut held = Vec::new();
    for index in 0..3 {
        let mut connection = router.public.connect().await;
        let (upload, request) = Upload::post("/a/echo");
        upload.send("x").await;
        let mut stream = connection.stream(request).await;
        assert_eq!(stream.next().await, Some(format!("v{index} x")));
        held.push((connection, upload, stream));
        volume.replace("a/main.ts", lasting(&format!("v{}", index + 1)));
        events.wait_live("a").await;
    }
    assert_eq!(router.admin.project("a").await.draining.len(), 3);
    for (index, (_connection, upload, mut stream)) in held.into_iter().enumerate() {
        upload.send("y").await;
        assert_eq!(stream.next().await, Some(format!("v{index} y")));
        upload.end();
        assert_eq!(stream.next().await, None);
        events.wait_retired("a").await;
    }
    assert_eq!(router.admin.project("a").await.draining.len(), 0);
}

#[tokio::test]
async fn a_removed_projects_requests_in_flight_end_too() {
    let volume = Volume::with("a", lasting("one"));
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    let (upload, request) = Upload::post("/a/echo");
    upload.send("1").await;
    let mut connection = router.public.connect().await;
    let mut stream = connection.stream(request).await;
    assert_eq!(stream.next().await.as_deref(), Some("one 1"));
    volume.remove("a");
    events.wait_removed("a").await;
    upload.send("2").await;
    assert_eq!(stream.next().await.as_deref(), Some("one 2"));
    upload.end();
    assert_eq!(stream.next().await, None);
    events.wait_retired("a").await;
}

#[tokio::test]
async fn a_project_that_returns_while_it_drains_shows_no_reload_from_before_its_removal() {
    let volume = Volume::with("a", lasting("one"));
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    events.wait_live("a").await;
    let (upload, request) = Upload::post("/a/echo");
    upload.send("1").await;
    let mut connection = router.public.connect().await;
    let mut stream = connection.stream(request).await;
    assert_eq!(stream.next().await.as_deref(), Some("one 1"));
    volume.remove("a");
    events.wait_removed("a").await;
    volume.write("a/main.ts", lasting("two"));
    let second = events.wait_live("a").await.data.version;
    eventually("it is shown", || async {
        router.admin.projects().await.get("a").is_some_and(|shown| shown.live.is_some())
    })
    .await;
    let shown = router.admin.project("a").await;
    assert_eq!(shown.draining.len(), 1);
    let reloads: Vec<_> = shown.reloads.into_iter().map(|reload| reload.version).collect();
    assert_eq!(reloads, [second]);
    upload.end();
    assert_eq!(stream.next().await, None);
    events.wait_retired("a").await;
}
