//! Signals that a supervisor sends: some reload, some stop, none ends a server by surprise.

use rustix::process::Signal;
use serde_json::Value;
use switchyard_integration::bridge::addresses::SECRET;
use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::bridge::signed;
use switchyard_integration::fixtures::hello;
use switchyard_integration::log::Log;
use switchyard_integration::receiver::Receiver;
use switchyard_integration::router::Router;
use switchyard_integration::upload::Upload;
use switchyard_integration::volume::Volume;
use switchyard_integration::within;

const OTHER: &str = "whsec_b3RoZXIgc2VjcmV0IG90aGVyIHNlY3JldA==";

async fn logged(log: &Log, text: &str) {
    let says = |record: &Value| record["message"].as_str().is_some_and(|message| message.contains(text));
    assert!(within(text, log.wait_for(says)).await.is_some(), "the log ended without {text:?}");
}

#[tokio::test]
async fn signals_that_mean_something_else_elsewhere_end_neither_router_nor_bridge() {
    let volume = Volume::with("a", hello("one"));
    let routers = Replicas::start(&volume, 1).await;
    // Without a file that could be read again.
    let router = Router::start(&volume).await;
    let bridge = routers.start_bridge().await;
    for signal in [Signal::USR1, Signal::USR2, Signal::PIPE, Signal::HUP] {
        router.signal(signal);
        bridge.signal(signal);
    }
    for log in [&router.log, &bridge.log] {
        logged(log, "SIGUSR1 is ignored").await;
        logged(log, "SIGUSR2 is ignored").await;
        logged(log, "SIGHUP: ").await;
    }
    logged(&router.log, "no setting names a file to reload").await;
    assert_eq!(router.public.get("/a/").await.text(), "one");
    bridge.deploy_live("a", &Upload::main(hello("two"))).await;
}

#[tokio::test]
async fn a_pipe_instead_of_a_file_blocks_no_later_sighup_and_no_sigterm() {
    let volume = Volume::with("a", hello("one"));
    volume.write("_policy", "");
    volume.write("_secret", SECRET);
    let routers = Replicas::start(&volume, 1).await;
    let router = Router::builder(&volume).flag("policy", volume.path("_policy").display()).start().await;
    let bridge = routers.bridge().flag("event-secret-file", volume.path("_secret").display()).start().await;
    for file in ["_policy", "_secret"] {
        volume.remove(file);
        let made = std::process::Command::new("mkfifo").arg(volume.path(file)).status().unwrap();
        assert!(made.success(), "mkfifo failed");
    }
    router.signal(Signal::HUP);
    bridge.signal(Signal::HUP);
    logged(&router.log, "_policy cannot be read: it is not a plain file").await;
    logged(&bridge.log, "_secret: it is not a plain file").await;

    for (file, text) in [("_policy", ""), ("_secret", SECRET)] {
        volume.remove(file);
        volume.write(file, text);
    }
    router.signal(Signal::HUP);
    bridge.signal(Signal::HUP);
    logged(&router.log, "reloaded --policy").await;
    logged(&bridge.log, "reloaded --event-secret-file").await;
    router.signal(Signal::TERM);
    bridge.signal(Signal::TERM);
    assert!(within("the router's end", router.ended()).await.status.success());
    assert!(within("the bridge's end", bridge.ended()).await.status.success());
}

#[tokio::test]
async fn sigquit_stops_as_sigterm_does() {
    let volume = Volume::with("a", hello("one"));
    let routers = Replicas::start(&volume, 1).await;
    let router = Router::start(&volume).await;
    let bridge = routers.start_bridge().await;
    router.signal(Signal::QUIT);
    assert!(router.ended().await.status.success());
    bridge.signal(Signal::QUIT);
    assert!(bridge.ended().await.status.success());
}

#[tokio::test]
async fn after_sighup_a_router_signs_its_events_with_the_current_secret() {
    let mut receiver = Receiver::start().await;
    let volume = Volume::with("a", hello("one"));
    volume.write("_secret", OTHER);
    let router = Router::builder(&volume)
        .flag("event-url", &receiver.url)
        .flag("event-secret-file", volume.path("_secret").display());
    let router = router.start().await;
    logged(&router.log, "event refused").await;
    volume.write("_secret", "");
    router.signal(Signal::HUP);
    logged(&router.log, "--event-secret-file is invalid, keeping its old content").await;
    volume.write("_secret", SECRET);
    router.signal(Signal::HUP);
    logged(&router.log, "reloaded --event-secret-file").await;
    volume.write("a/main.ts", hello("two"));
    let event = receiver.next().await.event;
    assert_eq!(event.data.project, "a");
}

#[tokio::test]
async fn after_sighup_a_bridge_calls_the_routers_with_the_current_token() {
    let volume = Volume::with("a", hello("one"));
    volume.write("_admin", "old-admin-token-0123456789\n");
    let admin = volume.path("_admin").display().to_string();
    let routers =
        Replicas::start_each(volume.root(), 1, |_, router| router.flag("admin-token-file", &admin)).await;
    let bridge = routers.bridge().flag("admin-token-file", &admin).start().await;
    bridge.asks_all().await;
    let record = bridge.deploy_live("a", &Upload::main(hello("two"))).await;

    volume.write("_admin", "new-admin-token-0123456789\n");
    routers[0].signal(Signal::HUP);
    logged(&routers[0].log, "reloaded --admin-token-file").await;
    bridge.signal(Signal::HUP);
    logged(&bridge.log, "reloaded --admin-token-file").await;
    bridge.asks_all().await;
    let next = bridge.deploy_live("a", &Upload::main(hello("three"))).await;
    assert_ne!(next.version(), record.version());
}

#[tokio::test]
async fn a_bridge_verifies_events_with_the_current_secret() {
    let volume = Volume::with("a", hello("one"));
    volume.write("_secret", SECRET);
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.bridge().flag("event-secret-file", volume.path("_secret").display()).start().await;
    let mut events = routers[0].events().await;
    let event = events.wait_live("a").await;
    let post = |id: &str, secret| bridge.client.send(signed::event(&event, id, secret, signed::now()));
    assert_eq!(post("evt_1", SECRET).await.status, 204);
    volume.write("_secret", OTHER);
    bridge.signal(Signal::HUP);
    logged(&bridge.log, "reloaded --event-secret-file").await;
    assert_eq!(post("evt_2", OTHER).await.status, 204);
    assert_eq!(post("evt_3", SECRET).await.status, 401);
}
