//! The commits of versions: given by a deploy, shown by the router, and named in a rollback.

use std::fs;

use switchyard_contract::admin::{Hold, ReloadOutcome};
use switchyard_contract::commit::CommitInfo;
use switchyard_contract::deploy::DeployRecord;
use switchyard_contract::project::ProjectName;
use switchyard_integration::bridge::record::Record;
use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::eventually;
use switchyard_integration::fixtures::hello;
use switchyard_integration::router::{Router, State};
use switchyard_integration::upload::Upload;
use switchyard_integration::volume::Volume;

const COMMIT: &str = "x-switchyard-commit";

/// Answers the label, and claims to be of a commit.
fn forger(label: &str) -> String {
    let headers = "{ headers: { 'x-switchyard-commit': 'f'.repeat(40) } }";
    format!("export default {{ fetch: () => new Response({label:?}, {headers}) }};")
}

fn commit(digit: &str) -> CommitInfo {
    let ref_name = Some("refs/heads/main".to_owned());
    CommitInfo { source: "shop".to_owned(), commit: digit.repeat(40), ref_name }
}

/// Deploys what is on the volume, from a commit or from none. Returns the outcome.
async fn deploy(router: &Router, id: &str, from: Option<CommitInfo>) -> ReloadOutcome {
    let project = ProjectName::parse("a").expect("it is a name");
    let commits = from.map(|commit| (project.clone(), commit)).into_iter().collect();
    let hold = Hold { id: id.to_owned(), projects: vec![project], lease_ms: 600_000, commits };
    let reply = router.admin.send_hold(&hold).await;
    assert_eq!(reply.status, 204, "{}", reply.text());
    let built = router.admin.build(id).await;
    assert!(built.iter().all(|report| report.error.is_none()), "{built:?}");
    router.admin.publish(id).await[0].outcome
}

/// Returns the commit in the header and the one in the status.
async fn shown(router: &Router) -> (Option<String>, Option<CommitInfo>) {
    let header = router.public.get("/a/").await.header(COMMIT).map(str::to_owned);
    (header, router.admin.project("a").await.live.and_then(|live| live.commit))
}

fn both(commit: CommitInfo) -> (Option<String>, Option<CommitInfo>) {
    (Some(commit.commit.clone()), Some(commit))
}

#[tokio::test]
async fn a_version_shows_the_commit_that_it_was_deployed_from_and_no_other() {
    let (volume, state) = (Volume::with("a", forger("one")), State::new());
    let router = Router::builder(&volume).state(&state).unwatched().start().await;
    let mut events = router.events().await;
    assert_eq!(shown(&router).await, (None, None), "a version that was found has none");

    volume.write("a/main.ts", forger("two"));
    assert_eq!(deploy(&router, "d1", Some(commit("a"))).await, ReloadOutcome::Live);
    assert_eq!(shown(&router).await, both(commit("a")));
    let is_of = |event: &switchyard_contract::event::Event| event.data.commit == Some(commit("a"));
    let event = events.wait("an event names it", is_of).await;
    assert_eq!(event.data.version, router.admin.project("a").await.live.map(|live| live.version));

    // The same files in another commit, and in an upload.
    assert_eq!(deploy(&router, "d2", Some(commit("b"))).await, ReloadOutcome::Unchanged);
    assert_eq!(shown(&router).await, both(commit("b")));
    let is_of = |event: &switchyard_contract::event::Event| event.data.commit == Some(commit("b"));
    events.wait("an event names the other one", is_of).await;
    assert_eq!(deploy(&router, "d3", None).await, ReloadOutcome::Unchanged);
    assert_eq!(shown(&router).await, both(commit("b")));

    assert!(router.stop().await.status.success());
    let router = Router::builder(&volume).state(&state).unwatched().start().await;
    let mut events = router.events().await;
    assert_eq!(shown(&router).await, both(commit("b")), "it is kept over a restart");

    volume.write("a/main.ts", forger("three"));
    assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Live);
    assert_eq!(shown(&router).await, (None, None));
    assert_eq!(events.wait_retired("a").await.data.commit, Some(commit("b")));
    volume.write("a/main.ts", forger("two"));
    assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Live);
    assert_eq!(shown(&router).await, (None, None), "the watch does not know where files come from");
}

#[tokio::test]
async fn a_hold_with_an_invalid_commit_is_refused() {
    let volume = Volume::with("a", hello("one"));
    let router = Router::start(&volume).await;
    let project = ProjectName::parse("a").expect("it is a name");
    let wrong = CommitInfo { commit: "main".to_owned(), ..commit("a") };
    let commits = [(project.clone(), wrong)].into();
    let hold = Hold { id: "d".to_owned(), projects: vec![project], lease_ms: 600_000, commits };
    let problem = router.admin.send_hold(&hold).await.assert_problem(400, "bad-request");
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("commits") && detail.contains("\"main\""), "{detail}");
}

#[tokio::test]
async fn a_rollback_goes_to_the_version_of_a_commit() {
    let volume = Volume::new();
    let routers = Replicas::start(&volume, 2).await;
    let bridge = routers.start_bridge().await;
    let first = bridge.deploy_live("a", &Upload::main(hello("1"))).await;
    for label in ["2", "3"] {
        bridge.deploy_live("a", &Upload::main(hello(label))).await;
    }
    assert!(bridge.stop().await.status.success());
    // As a source would have deployed it.
    let file = volume.path(&format!(".switchyard-bridge/deploys/{}.json", first.deploy));
    let text = fs::read(&file).expect("the record is there");
    let mut record: DeployRecord = serde_json::from_slice(&text).expect("it is a record");
    record.commit = Some(commit("c"));
    fs::write(&file, serde_json::to_vec(&record).expect("a record is JSON")).expect("it can be written");

    let bridge = routers.start_bridge().await;
    let unknown = bridge.client.post("/projects/a/rollback?to=ddddddd").await;
    let problem = unknown.assert_problem(404, "unknown-version");
    assert!(problem["detail"].as_str().unwrap_or_default().contains("ddddddd"), "{problem}");
    let back = Record::of(&bridge.client.post("/projects/a/rollback?to=ccccccc").await);
    assert_eq!((back.digest(), back.commit.clone()), (first.digest(), Some(commit("c"))));
    assert_eq!(routers.texts("/a/").await, ["1", "1"]);
    for router in routers.iter() {
        assert_eq!(shown(router).await, both(commit("c")));
    }
    assert_eq!(bridge.audited("rollback", "a", "live").await["commit"], commit("c").commit);
    eventually("the bridge shows it", || async {
        bridge.project("a").await["routers"][0]["live"]["commit"]["source"] == "shop"
    })
    .await;
}
