//! Requests that come through the bridge.

use futures_util::{SinkExt, StreamExt};
use rustix::process::Signal;
use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::client::{self, post, request, with_header};
use switchyard_integration::fixtures::{ECHO, hello, lasting, slow};
use switchyard_integration::probe::Probe;
use switchyard_integration::upload::Upload;
use switchyard_integration::volume::Volume;
use switchyard_integration::{eventually, within};
use tokio_tungstenite::tungstenite::Message;

#[tokio::test]
async fn requests_reach_their_project_by_host_and_by_path() {
    let volume = Volume::with("blog", ECHO);
    let routers = Replicas::start(&volume, 2).await;
    let bridge = routers.start_bridge().await;
    let by_path = bridge.forward.get("/blog/x/%20y?z=1").await;
    assert!(by_path.version().is_some_and(|version| version.starts_with("blog@")), "{:?}", by_path.headers);
    let echo = by_path.json();
    assert_eq!((echo["path"].as_str(), echo["query"].as_str()), (Some("/x/%20y"), Some("?z=1")));
    let by_host = with_header(request("/x"), "host", "blog.example.com");
    let echo = bridge.forward.send(by_host).await.json();
    assert_eq!((echo["path"].as_str(), echo["host"].as_str()), (Some("/x"), Some("blog.example.com")));
    bridge.forward.get("/none/").await.assert_problem(404, "unknown-project");
    // The bridge's own paths are the projects' here.
    bridge.forward.get("/deploys").await.assert_problem(404, "unknown-project");
}

#[tokio::test]
async fn methods_and_large_bodies_go_through_whole() {
    let volume = Volume::with("a", ECHO);
    let routers = Replicas::start(&volume, 2).await;
    let bridge = routers.start_bridge().await;
    let body = "0123456789".repeat(300_000);
    let echo = bridge.forward.send(post("/a/", body.clone())).await.json();
    assert_eq!((echo["method"].as_str(), echo["body"].as_str()), (Some("POST"), Some(body.as_str())));
}

#[tokio::test]
async fn a_kept_connection_survives_the_change_from_one_version_to_the_next() {
    let volume = Volume::with("a", hello("one"));
    let routers = Replicas::start(&volume, 2).await;
    let bridge = routers.start_bridge().await;
    let mut connection = bridge.forward.connect().await;
    assert_eq!(connection.get("/a/").await.text(), "one");
    let probe = Probe::start(&bridge.forward, "/a/").await;
    bridge.deploy_live("a", &Upload::main(hello("two"))).await;
    assert_eq!(connection.get("/a/").await.text(), "two");
    probe.finish().await.no_failures().none_mixed();
}

#[tokio::test]
async fn the_client_address_reaches_the_project_and_cannot_be_forged() {
    let volume = Volume::with("a", ECHO);
    let trusting =
        |_, router: switchyard_integration::router::Builder| router.flag("trusted-proxy", "127.0.0.1/32");
    let routers = Replicas::start_each(volume.root(), 1, trusting).await;
    let forged = || {
        let request = with_header(request("/a/"), "x-forwarded-for", "6.6.6.6");
        let request = with_header(request, "x-forwarded-proto", "https");
        with_header(request, "x-forwarded-host", "evil.example.com")
    };
    let bridge = routers.start_bridge().await;
    let echo = bridge.forward.send(forged()).await.json();
    let headers = &echo["headers"];
    // The client, and behind it the bridge, which the router trusts.
    assert_eq!(headers["x-forwarded-for"], "127.0.0.1, 127.0.0.1", "{echo}");
    assert_eq!(headers["x-forwarded-proto"], "http", "{echo}");
    assert_eq!(headers["x-forwarded-host"], bridge.forward.address.to_string(), "{echo}");
    bridge.stop().await;

    let bridge = routers.bridge().flag("trusted-proxy", "127.0.0.0/8").start().await;
    let echo = bridge.forward.send(forged()).await.json();
    let headers = &echo["headers"];
    assert!(headers["x-forwarded-for"].as_str().is_some_and(|chain| chain.starts_with("6.6.6.6")), "{echo}");
    assert_eq!(headers["x-forwarded-proto"], "https", "{echo}");
    assert_eq!(headers["x-forwarded-host"], "evil.example.com", "{echo}");
}

#[tokio::test]
async fn bodies_stream_both_ways_at_once() {
    let volume = Volume::with("a", lasting("one"));
    let routers = Replicas::start(&volume, 2).await;
    let bridge = routers.start_bridge().await;
    let (upload, request) = client::Upload::post("/a/echo");
    upload.send("1").await;
    let mut connection = bridge.forward.connect().await;
    let mut stream = connection.stream(request).await;
    assert_eq!(stream.next().await.as_deref(), Some("one 1"));
    upload.send("2").await;
    assert_eq!(stream.next().await.as_deref(), Some("one 2"));
    bridge.deploy_live("a", &Upload::main(hello("two"))).await;
    upload.send("3").await;
    assert_eq!(stream.next().await.as_deref(), Some("one 3"));
    upload.end();
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn a_client_that_disconnects_is_disconnected_from_the_project_too() {
    let volume = Volume::with("a", lasting("one"));
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    let (upload, request) = client::Upload::post("/a/echo");
    upload.send("1").await;
    let mut connection = bridge.forward.connect().await;
    let mut stream = connection.stream(request).await;
    assert_eq!(stream.next().await.as_deref(), Some("one 1"));
    assert_eq!(routers[0].admin.project("a").await.in_flight, 1);
    drop((stream, connection, upload));
    eventually("it is no longer in flight", || async { routers[0].admin.project("a").await.in_flight == 0 })
        .await;
}

#[tokio::test]
async fn streams_of_http_2_reach_their_projects() {
    let volume = Volume::with("a", lasting("one"));
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    let mut connection = bridge.forward.connect_h2c().await;
    let (upload, request) = client::Upload::post("/a/echo");
    upload.send("1").await;
    let mut stream = connection.stream(request).await;
    assert_eq!(stream.next().await.as_deref(), Some("one 1"));
    assert_eq!(connection.get("/a/").await.text(), "one", "beside the other stream");
    upload.end();
    // The end may come as an empty frame first.
    while let Some(piece) = stream.next().await {
        assert_eq!(piece, "");
    }
}

#[tokio::test]
async fn websockets_go_through_and_on_over_a_deploy() {
    let volume = Volume::with("a", lasting("one"));
    let routers = Replicas::start(&volume, 2).await;
    let bridge = routers.start_bridge().await;
    let mut old = bridge.forward.websocket("/a/").await.unwrap();
    old.send(Message::text("1")).await.unwrap();
    assert_eq!(within("an echo", old.next()).await.unwrap().unwrap(), Message::text("one 1"));
    bridge.deploy_live("a", &Upload::main(lasting("two"))).await;
    let mut new = bridge.forward.websocket("/a/").await.unwrap();
    for (socket, expected) in [(&mut old, "one 2"), (&mut new, "two 2")] {
        socket.send(Message::text("2")).await.unwrap();
        assert_eq!(within("an echo", socket.next()).await.unwrap().unwrap(), Message::text(expected));
    }
    old.close(None).await.unwrap();
    while within("the other end closes too", old.next()).await.is_some() {}
}

#[tokio::test]
async fn a_bridge_that_ends_lets_requests_in_flight_end() {
    let volume = Volume::with("a", lasting("one"));
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    let (upload, request) = client::Upload::post("/a/echo");
    upload.send("1").await;
    let mut connection = bridge.forward.connect().await;
    let mut stream = connection.stream(request).await;
    assert_eq!(stream.next().await.as_deref(), Some("one 1"));
    let forward = bridge.forward.clone();
    bridge.signal(Signal::TERM);
    eventually("no new connection is taken", || async { forward.try_connect().await.is_err() }).await;
    upload.send("2").await;
    assert_eq!(stream.next().await.as_deref(), Some("one 2"));
    upload.end();
    assert_eq!(stream.next().await, None);
    let ended = bridge.ended().await;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log.text());
}

#[tokio::test]
async fn a_bridge_that_ends_finishes_its_deploy() {
    let volume = Volume::with("a", hello("old"));
    let routers = Replicas::start(&volume, 2).await;
    let bridge = routers.start_bridge().await;
    let upload = Upload::main(slow("new", 500));
    let mut phases = bridge.follow(upload.to("/deploy/a")).await;
    phases.until("build").await;
    bridge.signal(Signal::TERM);
    assert_eq!(phases.done().await.0, 200);
    assert_eq!(routers.texts("/a/").await, ["new", "new"]);
    assert_eq!(bridge.ended().await.status.code(), Some(0));
}
