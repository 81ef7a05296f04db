//! A second bridge on a volume waits, and takes over when the first one has ended.

use std::fs;

use rustix::process::Signal;
use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::bridge::{Builder, get_as};
use switchyard_integration::client::{Client, post};
use switchyard_integration::eventually;
use switchyard_integration::fixtures::{hello, slow};
use switchyard_integration::probe::Probe;
use switchyard_integration::serve::Serve;
use switchyard_integration::upload::Upload;
use switchyard_integration::volume::Volume;

/// The exit status for wrong settings.
const EX_USAGE: i32 = 64;

#[tokio::test]
async fn a_standby_takes_over_from_a_bridge_that_is_killed_and_deploys() {
    let volume = Volume::with("a", hello("old"));
    let routers = Replicas::start(&volume, 2).await;
    let probe = Probe::start(&routers[0].public, "/a/").await;
    let first = routers.start_bridge().await;
    let standby = routers.bridge().start_standby().await;
    first.deploy_live("a", &Upload::main(hello("by the first"))).await;
    first.kill().await;
    let second = standby.taken_over().await;
    second.deploy_live("a", &Upload::main(hello("by the second"))).await;
    assert_eq!(routers.texts("/a/").await, ["by the second", "by the second"]);
    assert_eq!(second.forward.get("/a/").await.text(), "by the second");
    let deploys = second.client.get("/deploys").await.text();
    assert_eq!(deploys.matches("\"deploy\":").count(), 2, "the first one's record is there: {deploys}");
    probe.finish().await.no_failures().versions_monotonic(&["old", "by the first", "by the second"]);
}

#[tokio::test]
async fn a_standby_finishes_the_deploy_in_which_the_first_bridge_was_killed() {
    let volume = Volume::with("a", hello("old"));
    let routers = Replicas::start(&volume, 2).await;
    let first = routers.start_bridge().await;
    let standby = routers.bridge().start_standby().await;
    let mut phases = first.follow(Upload::main(slow("new", 300)).to("/deploy/a")).await;
    phases.until("build").await;
    first.kill().await;
    let second = standby.taken_over().await;
    second.clean().await;
    eventually("all routers serve the deploy", || async { routers.texts("/a/").await == ["new", "new"] })
        .await;
    second.deploy_live("a", &Upload::main(hello("next"))).await;
}

#[tokio::test]
async fn a_standby_answers_probes_refuses_all_else_and_takes_no_traffic() {
    let volume = Volume::with("a", hello("one"));
    let routers = Replicas::start(&volume, 1).await;
    let first = routers.start_bridge().await;
    let standby = routers.bridge().start_standby().await;
    assert_eq!(standby.client.get("/healthz").await.status, 200);
    let replies = [
        standby.client.get("/readyz").await,
        standby.client.get("/projects").await,
        standby.client.get("/nothing").await,
        standby.client.send(post("/deploy/a", "body")).await,
    ];
    for reply in replies {
        let problem = reply.assert_problem(503, "standby");
        assert!(reply.header("retry-after").is_some(), "{problem}");
    }
    let forward = Client::new(standby.forward);
    assert!(forward.try_connect().await.is_err(), "a proxy in front turns to the other one");
    first.stop().await;
    let second = standby.taken_over().await;
    assert_eq!(second.forward.address, forward.address);
    assert_eq!(forward.get("/a/").await.text(), "one");
}

#[tokio::test]
async fn a_standby_that_is_stopped_ends_with_0_and_leaves_the_first_bridge_alone() {
    let volume = Volume::with("a", hello("old"));
    let routers = Replicas::start(&volume, 1).await;
    let first = routers.start_bridge().await;
    for signal in [Signal::TERM, Signal::INT] {
        let standby = routers.bridge().start_standby().await;
        standby.signal(signal);
        let ended = standby.ended().await;
        assert_eq!(ended.status.code(), Some(0), "{}", ended.log.text());
    }
    first.deploy_live("a", &Upload::main(hello("new"))).await;
}

#[tokio::test]
async fn of_two_standbys_one_takes_over_and_the_other_one_waits_on() {
    let volume = Volume::with("a", hello("old"));
    let routers = Replicas::start(&volume, 1).await;
    let first = routers.start_bridge().await;
    let (one, other) = (routers.bridge().start_standby().await, routers.bridge().start_standby().await);
    first.kill().await;
    let taken = || async { one.has_taken_over() || other.has_taken_over() };
    eventually("one of them takes over", taken).await;
    let (next, last) = if one.has_taken_over() { (one, other) } else { (other, one) };
    let next = next.taken_over().await;
    next.deploy_live("a", &Upload::main(hello("new"))).await;
    last.client.get("/readyz").await.assert_problem(503, "standby");
    next.kill().await;
    let last = last.taken_over().await;
    last.deploy_live("a", &Upload::main(hello("newer"))).await;
}

#[tokio::test]
async fn a_standby_reads_its_files_again_when_it_takes_over_after_a_sighup() {
    const TOKENS: [&str; 2] = ["one-0123456789abcdef", "two-0123456789abcdef"];
    let volume = Volume::with("a", hello("old"));
    let routers = Replicas::start(&volume, 1).await;
    let tokens = tempfile::NamedTempFile::new().unwrap();
    let write = |token: &str| {
        let text = format!(
            "[[token]]\nname = \"ci\"\ntoken = \"{token}\"\nprojects = [\"*\"]\n                            actions = [\"read\"]\n"
        );
        fs::write(tokens.path(), text).unwrap();
    };
    write(TOKENS[0]);
    let first = routers.start_bridge().await;
    let standby = routers.bridge().flag("token-file", tokens.path().display()).start_standby().await;
    write(TOKENS[1]);
    standby.signal(Signal::HUP);
    assert_eq!(standby.client.get("/healthz").await.status, 200, "it goes on");
    let client = Client::new(standby.client.address);
    first.kill().await;
    eventually("it has the volume", || async { standby.has_taken_over() }).await;
    eventually("the new token is valid", || async {
        client.send(get_as("/projects", TOKENS[1])).await.status == 200
    })
    .await;
    assert_eq!(client.send(get_as("/projects", TOKENS[0])).await.status, 401);
}

#[tokio::test]
async fn wrong_settings_end_a_second_bridge_at_once_and_serve_does_not_wait() {
    let volume = Volume::with("a", hello("old"));
    let routers = Replicas::start(&volume, 1).await;
    let _first = routers.start_bridge().await;
    let second = Builder::for_projects(volume.root()).flag("token-file", volume.path("none").display());
    let second = second.router(routers.iter().next().unwrap()).run_to_end().await;
    let text = second.log.text();
    assert_eq!(second.status.code(), Some(EX_USAGE), "{text}");
    assert!(text.contains("--token-file: ") && !text.contains("another bridge"), "{text}");

    let serve = Serve::builder(&volume).run_to_end().await;
    let text = serve.log.text();
    assert_eq!(serve.status.code(), Some(EX_USAGE), "{text}");
    assert!(text.contains("--projects: ") && text.contains("is in use by another bridge"), "{text}");
}
