//! The events that routers deliver to the bridge, by post and by pull.

use rustix::process::Signal;
use switchyard_contract::event::{Event, EventData, EventType, Timings};
use switchyard_integration::bridge::Bridge;
use switchyard_integration::bridge::addresses::SECRET;
use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::bridge::signed::{self, now};
use switchyard_integration::client::{post, with_header};
use switchyard_integration::eventually;
use switchyard_integration::fixtures::hello;
use switchyard_integration::upload::Upload;
use switchyard_integration::volume::Volume;

/// An event of a router that the bridge does not know: it is accepted if it is signed.
fn event() -> Event {
    Event {
        kind: EventType::ProjectRemoved,
        timestamp: "2026-03-01T12:00:00Z".parse().expect("a time"),
        data: EventData {
            router: "r1".into(),
            sequence: 1,
            project: "none".into(),
            digest: None,
            version: None,
            commit: None,
            incarnation: Default::default(),
            previous: None,
            trigger: None,
            changed: None,
            error: None,
            timings_ms: Timings::default(),
            death: None,
            conflict: None,
            folder: None,
        },
    }
}

/// Waits until the bridge reports that every router serves the version.
async fn told_of(bridge: &Bridge, version: &str, routers: usize) {
    eventually("the bridge knows of the version at every router", || async {
        let project = bridge.project("a").await;
        let live = project["routers"].as_array().map_or(0, |routers| {
            routers.iter().filter(|router| router["live"]["version"] == version).count()
        });
        live == routers && project["skew"] == false
    })
    .await;
}

async fn version(routers: &Replicas) -> String {
    routers.answers("/a/").await[0].1.clone().expect("a version answers")
}

#[tokio::test]
async fn a_change_by_an_editor_is_known_from_the_routers_events() {
    let volume = Volume::with("a", hello("one"));
    let routers = Replicas::start(&volume, 2).await;
    let bridge = routers.start_bridge().await;
    told_of(&bridge, &version(&routers).await, 2).await;
    volume.replace("a/main.ts", hello("two"));
    eventually("both serve it", || async { routers.texts("/a/").await == ["two", "two"] }).await;
    told_of(&bridge, &version(&routers).await, 2).await;
    volume.remove("a");
    eventually("the bridge has noticed that it is gone", || async {
        bridge.client.get("/projects/a").await.status == 404
    })
    .await;
}

#[tokio::test]
async fn a_signed_event_is_accepted_even_if_it_arrives_twice() {
    let volume = Volume::with("a", hello("one"));
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    for _ in 0..2 {
        let reply = bridge.client.send(signed::event(&event(), "evt_1", SECRET, now())).await;
        assert_eq!(reply.status, 204, "{}", reply.text());
    }
    told_of(&bridge, &version(&routers).await, 1).await;
}

#[tokio::test]
async fn an_event_that_is_not_signed_rightly_or_is_old_is_refused() {
    let volume = Volume::with("a", hello("one"));
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    let other = "whsec_b3RoZXIgc2VjcmV0IG90aGVyIHNlY3JldA==";
    let signed = |secret, at| signed::event(&event(), "evt_1", secret, at);
    for (what, request) in [
        ("another secret", signed(other, now())),
        ("ten minutes old", signed(SECRET, now() - 600)),
        ("ten minutes ahead", signed(SECRET, now() + 600)),
        ("another id", with_header(signed(SECRET, now()), "webhook-id", "evt_2")),
        ("not signed", with_header(post("/events", "{}"), "content-type", "application/json")),
    ] {
        let reply = bridge.client.send(request).await;
        assert_eq!(reply.status, 401, "{what}: {}", reply.text());
    }
    told_of(&bridge, &version(&routers).await, 1).await;
}

#[tokio::test]
async fn events_that_come_again_after_newer_ones_take_nothing_back() {
    let volume = Volume::with("a", hello("one"));
    let routers = Replicas::start(&volume, 2).await;
    let bridge = routers.start_bridge().await;
    let mut events = routers[0].events().await;
    let old = events.wait_live("a").await;
    bridge.deploy_live("a", &Upload::main(hello("two"))).await;
    let new = version(&routers).await;
    told_of(&bridge, &new, 2).await;
    for id in ["evt_again_1", "evt_again_2"] {
        let reply = bridge.client.send(signed::event(&old, id, SECRET, now())).await;
        assert_eq!(reply.status, 204, "{}", reply.text());
        told_of(&bridge, &new, 2).await;
    }
    for _ in 0..10 {
        assert_eq!(bridge.forward.get("/a/").await.text(), "two");
    }
}

#[tokio::test]
async fn events_while_the_bridge_was_down_are_caught_up() {
    let volume = Volume::with("a", hello("one"));
    let routers = Replicas::start(&volume, 2).await;
    let bridge = routers.start_bridge().await;
    told_of(&bridge, &version(&routers).await, 2).await;
    bridge.kill().await;
    volume.replace("a/main.ts", hello("two"));
    eventually("both serve it", || async { routers.texts("/a/").await == ["two", "two"] }).await;
    volume.project("b").file("main.ts", hello("b")).write();
    eventually("both serve the other", || async { routers.texts("/b/").await == ["b", "b"] }).await;
    let bridge = routers.start_bridge().await;
    told_of(&bridge, &version(&routers).await, 2).await;
    assert_eq!(bridge.forward.get("/b/").await.text(), "b");
}

#[tokio::test]
async fn events_while_the_bridge_was_slow_are_caught_up() {
    let volume = Volume::with("a", hello("v0"));
    let routers = Replicas::start(&volume, 2).await;
    let bridge = routers.start_bridge().await;
    bridge.signal(Signal::STOP);
    for index in 1..=5 {
        let label = format!("v{index}");
        volume.replace("a/main.ts", hello(&label));
        eventually("both serve it", || async { routers.texts("/a/").await == [label.as_str(), &label] })
            .await;
    }
    bridge.signal(Signal::CONT);
    told_of(&bridge, &version(&routers).await, 2).await;
}

#[tokio::test]
async fn routers_deploy_even_if_their_events_never_arrive() {
    let volume = Volume::with("a", hello("one"));
    let unused = switchyard_integration::bridge::addresses::reserve();
    let routers = Replicas::start_each(volume.root(), 2, |_, router| {
        router.flag("event-url", format!("http://{unused}/events"))
    })
    .await;
    let bridge = routers.start_bridge().await;
    bridge.deploy_live("a", &Upload::main(hello("two"))).await;
    assert_eq!(routers.texts("/a/").await, ["two", "two"]);
    told_of(&bridge, &version(&routers).await, 2).await;
}

#[tokio::test]
async fn a_router_that_starts_again_is_known_by_its_new_events() {
    let volume = Volume::with("a", hello("one"));
    let mut routers = Replicas::start(&volume, 2).await;
    let bridge = routers.start_bridge().await;
    told_of(&bridge, &version(&routers).await, 2).await;
    routers.kill(1).await;
    volume.replace("a/main.ts", hello("two"));
    routers.start_again(1).await;
    eventually("both serve it", || async { routers.texts("/a/").await == ["two", "two"] }).await;
    told_of(&bridge, &version(&routers).await, 2).await;
    // The events of a router may arrive before the bridge has polled it again, and no deploy waits
    // for a router that counts as away.
    bridge.asks_all().await;
    bridge.deploy_live("a", &Upload::main(hello("three"))).await;
    assert_eq!(routers.texts("/a/").await, ["three", "three"]);
}
