//! A deploy that does not build: the deployer gets the location, and nothing else changes.

use futures_util::future::join_all;
use switchyard_contract::deploy::DeployOutcome;
use switchyard_integration::bridge::Bridge;
use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::bridge::tree::Tree;
use switchyard_integration::client::Reply;
use switchyard_integration::fixtures::hello;
use switchyard_integration::probe::Probe;
use switchyard_integration::upload::Upload;
use switchyard_integration::volume::Volume;

const BROKEN: &str = "export default {\n  fetch() { return new Response('x' }\n};\n";

async fn fails(bridge: &Bridge, path: &str, main: &str) -> Reply {
    let reply = bridge.client.send(Upload::main(main).to(path)).await;
    reply.assert_problem(422, "build-failed");
    reply
}

#[tokio::test]
async fn broken_code_is_answered_with_its_location_and_changes_nothing() {
    let volume = Volume::with("a", hello("one"));
    volume.write("a/text/x.txt", "kept");
    volume.project("b").file("main.ts", hello("b")).write();
    let mut routers = Replicas::start(&volume, 2).await;
    let bridge = routers.start_bridge().await;
    let (tree, answers) = (Tree::of_projects(volume.root()), routers.answers("/a/").await);
    let probes = join_all(routers.iter().map(|router| Probe::start(&router.public, "/a/"))).await;

    let problem = fails(&bridge, "/deploy/a", BROKEN).await.json();
    assert_eq!(problem["project"], "a", "{problem}");
    let error = &problem["error"];
    assert_eq!((error["file"].as_str(), error["line"].as_u64()), (Some("main.ts"), Some(2)), "{problem}");
    assert!(error["column"].as_u64().is_some_and(|column| column > 1), "{problem}");
    assert!(error["frame"].as_str().is_some_and(|frame| frame.contains("new Response('x' }")), "{problem}");
    assert!(!problem.to_string().contains(&volume.root().display().to_string()), "{problem}");
    assert_eq!(problem["routers"].as_array().map(Vec::len), Some(2), "{problem}");
    let record = bridge.record(problem["deploy"].as_str().expect("it names the deploy")).await;
    assert_eq!((record.outcome, record.status), (Some(DeployOutcome::Failed), Some(422)));

    assert_eq!(Tree::of_projects(volume.root()), tree);
    assert_eq!(routers.answers("/a/").await, answers);
    for probe in probes {
        probe.finish().await.no_failures().none_mixed().versions_monotonic(&["one"]);
    }
    bridge.clean().await;
    bridge.audited("deploy", "a", "failed").await;

    for index in 0..2 {
        assert!(routers.take(index).stop().await.status.success());
        routers.start_again(index).await;
    }
    assert_eq!(routers.answers("/a/").await, answers, "a restart serves the same versions");
}

#[tokio::test]
async fn missing_modules_and_thrown_errors_are_reported_too() {
    let volume = Volume::with("a", hello("one"));
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    let missing = "import { x } from './gone.ts';\nexport default { fetch: () => new Response(x) };\n";
    let throws = "\n\nthrow new Error('no database');\n";
    for (main, says, line) in [(missing, "gone.ts", 1), (throws, "no database", 3)] {
        let problem = fails(&bridge, "/deploy/a", main).await.json();
        let error = &problem["error"];
        assert!(error["message"].as_str().is_some_and(|message| message.contains(says)), "{problem}");
        assert_eq!(error["line"], line, "{problem}");
    }
    assert_eq!(routers.texts("/a/").await, ["one"]);
}

#[tokio::test]
async fn a_first_deploy_that_is_broken_leaves_no_folder() {
    let volume = Volume::new();
    let routers = Replicas::start(&volume, 2).await;
    let bridge = routers.start_bridge().await;
    fails(&bridge, "/deploy/new", BROKEN).await;
    assert!(!volume.path("new").exists());
    for router in routers.iter() {
        router.public.get("/new/").await.assert_problem(404, "unknown-project");
    }
    bridge.clean().await;
}

#[tokio::test]
async fn with_keep_the_broken_files_stay_and_the_old_version_is_served() {
    let volume = Volume::with("a", hello("one"));
    let routers = Replicas::start(&volume, 2).await;
    let bridge = routers.start_bridge().await;
    let before = routers.answers("/a/").await;
    let probe = Probe::start(&routers[0].public, "/a/").await;
    fails(&bridge, "/deploy/a?keep=1", BROKEN).await;
    assert_eq!(volume.read("a/main.ts"), BROKEN);
    assert_eq!(routers.answers("/a/").await, before);
    // The same files would fail again; a fixed upload builds.
    bridge.deploy_live("a", &Upload::main(hello("two"))).await;
    assert_eq!(routers.texts("/a/").await, ["two", "two"]);
    probe.finish().await.no_failures().none_mixed().versions_monotonic(&["one", "two"]);
}

#[tokio::test]
async fn node_modules_are_put_back_with_the_rest() {
    let volume = Volume::with("a", hello("one"));
    volume.write("a/node_modules/x/index.js", "export default 1;");
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    let tree = Tree::of_projects(volume.root());
    fails(&bridge, "/deploy/a", BROKEN).await;
    assert_eq!(Tree::of_projects(volume.root()), tree);
}

#[tokio::test]
async fn routers_report_no_failed_reload_for_restored_files() {
    let volume = Volume::with("a", hello("one"));
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    let mut events = routers[0].events().await;
    events.wait_live("a").await;
    fails(&bridge, "/deploy/a", BROKEN).await;
    bridge.deploy_live("a", &Upload::main(hello("two"))).await;
    let live = events.wait_live("a").await;
    assert_eq!(live.data.trigger, Some(switchyard_contract::event::Trigger::Request));
    assert_eq!(events.count(switchyard_contract::event::EventType::ReloadFailed, "a"), 0);
}
