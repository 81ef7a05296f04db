//! Requests that come through the bridge while a router is away, or lags behind a deploy.

use rustix::process::Signal;
use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::client::{self, post};
use switchyard_integration::fixtures::{hello, lasting};
use switchyard_integration::probe::Probe;
use switchyard_integration::router::Router;
use switchyard_integration::upload::Upload;
use switchyard_integration::volume::Volume;
use switchyard_integration::{eventually, within};

#[tokio::test]
async fn a_router_that_goes_away_in_order_loses_no_request() {
    let volume = Volume::with("a", hello("one"));
    let mut routers =
        Replicas::start_each(volume.root(), 2, |_, router| router.flag("drain-delay", 3000)).await;
    let bridge = routers.start_bridge().await;
    let probe = Probe::with_connections(&bridge.forward, "/a/", 4).await;
    for index in 0..2 {
        // A post that is under way when the router has ended is dropped, and its connection with it.
        let mut posts = bridge.forward.connect().await;
        let going = routers.take(index);
        going.signal(Signal::TERM);
        let ended = going.ended();
        tokio::pin!(ended);
        let ended = loop {
            tokio::select! {
                ended = &mut ended => break ended,
                reply = posts.send(post("/a/", "x")) => {
                    assert_eq!(reply.text(), "one");
                    // An answer that comes before the end of the body ends the connection.
                    if reply.ends_connection() {
                        posts = bridge.forward.connect().await;
                    }
                }
            }
        };
        assert!(ended.status.success(), "{}", ended.log.text());
        routers.start_again(index).await;
        bridge.ready().await;
        eventually("the bridge calls it again", || async {
            bridge.forward.get("/a/").await;
            routers[index]
                .admin
                .metric("switchyard_requests_total", "")
                .await
                .is_some_and(|count| count > 0.0)
        })
        .await;
    }
    probe.finish().await.no_failures().versions_monotonic(&["one"]);
}

#[tokio::test]
async fn a_router_that_is_killed_loses_no_get() {
    let volume = Volume::with("a", hello("one"));
    let mut routers = Replicas::start(&volume, 3).await;
    let bridge = routers.start_bridge().await;
    let probe = Probe::with_connections(&bridge.forward, "/a/", 4).await;
    for index in [0, 2] {
        routers.kill(index).await;
        probe.pass(100).await;
    }
    probe.finish().await.no_failures().versions_monotonic(&["one"]);
}

#[tokio::test]
async fn a_request_that_may_have_been_processed_is_not_repeated_elsewhere() {
    let volume = Volume::with("a", lasting("one"));
    let mut routers = Replicas::start(&volume, 2).await;
    let bridge = routers.start_bridge().await;
    let (upload, request) = client::Upload::post("/a/wait");
    upload.send("1").await;
    let forward = bridge.forward.clone();
    let pending = tokio::spawn(async move { forward.send(request).await });
    let in_flight = async |router: &Router| router.admin.project("a").await.in_flight == 1;
    eventually("a router has it", || async { in_flight(&routers[0]).await || in_flight(&routers[1]).await })
        .await;
    let busy = usize::from(in_flight(&routers[1]).await);
    routers.kill(busy).await;
    let reply = within("it is answered", pending).await.unwrap();
    assert!(matches!(reply.status, 502..=504), "{} {}", reply.status, reply.text());
    let other = &routers[1 - busy];
    let served = other.admin.metric("switchyard_requests_total", "project=\"a\"").await;
    assert!(served.is_none_or(|count| count == 0.0), "{served:?}");
}

#[tokio::test]
async fn without_a_router_requests_get_a_retry_after() {
    let volume = Volume::with("a", hello("one"));
    let mut routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    assert_eq!(bridge.forward.get("/a/").await.text(), "one");
    routers.kill(0).await;
    eventually("the bridge has noticed", || async { bridge.client.get("/readyz").await.status == 503 }).await;
    let reply = bridge.forward.get("/a/").await;
    reply.assert_problem(503, "no-routers");
    assert!(reply.header("retry-after").is_some(), "{:?}", reply.headers);
    routers.start_again(0).await;
    eventually("it recovers automatically", || async { bridge.forward.get("/a/").await.status == 200 }).await;
}

#[tokio::test]
async fn after_the_200_no_request_is_answered_by_an_older_version_though_a_router_lags() {
    let volume = Volume::with("a", hello("old"));
    let routers = Replicas::start(&volume, 2).await;
    let bridge = routers.bridge().flag("quorum", 1).flag("deploy-timeout", 3000).start().await;
    for _ in 0..20 {
        assert_eq!(bridge.forward.get("/a/").await.text(), "old");
    }
    routers[1].signal(Signal::STOP);
    bridge.deploy_live("a", &Upload::main(hello("new"))).await;
    let answered = std::time::Instant::now();
    let probe = Probe::with_connections(&bridge.forward, "/a/", 4).await;
    probe.pass(200).await;
    routers[1].signal(Signal::CONT);
    eventually("the router that was behind has it too", || async {
        routers[1].public.get("/a/").await.text() == "new"
    })
    .await;
    probe.pass(200).await;
    probe.finish().await.no_failures().after(answered, "new");
}

#[tokio::test]
async fn a_single_router_that_is_behind_gets_requests_of_other_projects_alone() {
    let volume = Volume::with("a", hello("old"));
    volume.project("b").file("main.ts", hello("b")).write();
    let mut routers = Replicas::start(&volume, 2).await;
    let bridge = routers.bridge().flag("quorum", 1).flag("deploy-timeout", 3000).start().await;
    routers.kill(1).await;
    bridge.deploy_live("a", &Upload::main(hello("new"))).await;
    let probe = Probe::start(&bridge.forward, "/a/").await;
    let other = Probe::start(&bridge.forward, "/b/").await;
    routers.start_again(1).await;
    probe.pass(100).await;
    probe.finish().await.no_failures().versions_monotonic(&["new"]);
    other.finish().await.no_failures().versions_monotonic(&["b"]);
}
