//! The answers of a deploy: at once, at the end, or phase by phase; and never twice by accident.

use switchyard_contract::deploy::DeployOutcome;
use switchyard_integration::bridge::record::Record;
use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::client::{Body, with_header};
use switchyard_integration::fixtures::{hello, slow};
use switchyard_integration::upload::Upload;
use switchyard_integration::volume::Volume;

fn keyed(upload: &Upload, key: &str) -> http::Request<Body> {
    with_header(upload.to("/deploy/a"), "idempotency-key", key)
}

#[tokio::test]
async fn without_waiting_the_answer_is_202_and_the_record_tells_on() {
    let volume = Volume::new();
    let routers = Replicas::start(&volume, 2).await;
    let bridge = routers.start_bridge().await;
    let reply = bridge.client.send(Upload::main(slow("one", 300)).to("/deploy/a?wait=0")).await;
    assert_eq!(reply.status, 202, "{}", reply.text());
    let accepted = Record::of(&reply);
    assert_eq!((accepted.outcome, accepted.status), (None, None));
    let done = bridge.done(&accepted.deploy).await;
    assert_eq!((done.outcome, done.status), (Some(DeployOutcome::Live), Some(200)));
    assert_eq!(routers.texts("/a/").await, ["one", "one"]);
}

#[tokio::test]
async fn without_waiting_the_record_also_tells_of_a_failure() {
    let volume = Volume::new();
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    let reply = bridge.client.send(Upload::main("export default {").to("/deploy/a?wait=0")).await;
    let done = bridge.done(&Record::of(&reply).deploy).await;
    assert_eq!((done.outcome, done.status), (Some(DeployOutcome::Failed), Some(422)));
    assert_eq!(done.problem.as_ref().unwrap()["type"], "urn:switchyard:problem:build-failed");
}

#[tokio::test]
async fn a_stream_of_events_tells_the_phases_in_their_order_and_then_the_answer() {
    let volume = Volume::with("a", hello("old"));
    let routers = Replicas::start(&volume, 2).await;
    let bridge = routers.start_bridge().await;
    let mut phases = bridge.follow(Upload::main(hello("new")).to("/deploy/a")).await;
    let (status, body) = phases.done().await;
    assert_eq!(routers.texts("/a/").await, ["new", "new"]);
    let record: Record = serde_json::from_value(body).unwrap();
    assert_eq!((status, record.outcome), (200, Some(DeployOutcome::Live)));
    let order = ["receive", "store", "hold", "build", "publish", "done"];
    let positions: Vec<_> =
        phases.seen.iter().map(|seen| order.iter().position(|known| known == seen)).collect();
    assert!(positions.is_sorted() && positions.iter().all(Option::is_some), "{:?}", phases.seen);
    for phase in ["hold", "build", "publish"] {
        assert!(phases.seen.iter().any(|seen| seen == phase), "{phase} is not in {:?}", phases.seen);
    }
}

#[tokio::test]
async fn a_stream_of_events_ends_with_the_problem_where_there_is_one() {
    let volume = Volume::new();
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    let mut phases = bridge.follow(Upload::main("export default {").to("/deploy/a")).await;
    let (status, body) = phases.done().await;
    assert_eq!((status, body["type"].as_str()), (422, Some("urn:switchyard:problem:build-failed")));
    assert!(!phases.seen.iter().any(|seen| seen == "publish"), "{:?}", phases.seen);
}

#[tokio::test]
async fn an_invalid_upload_gets_a_plain_problem_even_if_events_were_requested() {
    let volume = Volume::new();
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    let request = Upload::curl(&[("../main.ts", "")]).to("/deploy/a");
    let reply = bridge.client.send(with_header(request, "accept", "text/event-stream")).await;
    reply.assert_problem(400, "bad-upload");
}

#[tokio::test]
async fn a_repeated_key_is_answered_with_the_deploy_that_it_created() {
    let volume = Volume::new();
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    let one = Upload::main(hello("one"));
    let first = Record::of(&bridge.client.send(keyed(&one, "k1")).await);
    bridge.deploy_live("a", &Upload::main(hello("two"))).await;
    let again = Record::of(&bridge.client.send(keyed(&one, "k1")).await);
    assert_eq!((&again.deploy, again.projects.len()), (&first.deploy, 1));
    assert_eq!(routers.texts("/a/").await, ["two"], "nothing was deployed again");
}

#[tokio::test]
async fn a_key_that_is_repeated_while_its_deploy_runs_waits_for_it() {
    let volume = Volume::new();
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    let upload = Upload::main(slow("one", 500));
    let mut phases = bridge.follow(keyed(&upload, "k1")).await;
    phases.until("build").await;
    let second = Record::of(&bridge.client.send(keyed(&upload, "k1")).await);
    let (status, first) = phases.done().await;
    assert_eq!((status, first["deploy"].as_str()), (200, Some(second.deploy.as_str())));
    assert_eq!(second.outcome, Some(DeployOutcome::Live));
}

#[tokio::test]
async fn a_key_that_is_reused_with_other_files_is_refused() {
    let volume = Volume::new();
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    Record::of(&bridge.client.send(keyed(&Upload::main(hello("one")), "k1")).await);
    let reply = bridge.client.send(keyed(&Upload::main(hello("two")), "k1")).await;
    reply.assert_problem(422, "idempotency-key-reused");
    assert_eq!(routers.texts("/a/").await, ["one"]);
    bridge.clean().await;
}

#[tokio::test]
async fn a_failed_deploys_key_answers_the_failure_again() {
    let volume = Volume::new();
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    let broken = Upload::main("export default {");
    let first = bridge.client.send(keyed(&broken, "k1")).await.assert_problem(422, "build-failed");
    let again = bridge.client.send(keyed(&broken, "k1")).await.assert_problem(422, "build-failed");
    assert_eq!(first["deploy"], again["deploy"]);
}

#[tokio::test]
async fn keys_and_records_outlive_the_bridge() {
    let volume = Volume::new();
    let routers = Replicas::start(&volume, 1).await;
    let one = Upload::main(hello("one"));
    let bridge = routers.start_bridge().await;
    let first = Record::of(&bridge.client.send(keyed(&one, "k1")).await);
    bridge.kill().await;
    let bridge = routers.start_bridge().await;
    let known = bridge.record(&first.deploy).await;
    assert_eq!((known.outcome, known.digest()), (Some(DeployOutcome::Live), first.digest()));
    let again = Record::of(&bridge.client.send(keyed(&one, "k1")).await);
    assert_eq!(again.deploy, first.deploy);
    let other = bridge.client.send(keyed(&Upload::main(hello("two")), "k1")).await;
    other.assert_problem(422, "idempotency-key-reused");
}

#[tokio::test]
async fn all_deploys_are_listed_with_the_newest_first() {
    let volume = Volume::new();
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    let mut made = Vec::new();
    for label in ["one", "two", "three"] {
        made.insert(0, bridge.deploy_live("a", &Upload::main(hello(label))).await.deploy.clone());
    }
    let reply = bridge.client.get("/deploys").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let listed = reply.json();
    let listed = listed["deploys"].as_array().expect("a list of deploys");
    let ids: Vec<_> = listed.iter().map(|record| record["deploy"].as_str().unwrap()).collect();
    assert_eq!(ids, made);
}
