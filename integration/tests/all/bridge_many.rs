//! Several projects in one deploy: all go live together, or none does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use futures_util::future::join_all;
use switchyard_contract::deploy::DeployOutcome;
use switchyard_integration::bridge::record::Record;
use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::bridge::tree::{self, Tree};
use switchyard_integration::client::Client;
use switchyard_integration::fixtures::{hello, slow};
use switchyard_integration::probe::{Answer, Report};
use switchyard_integration::upload::{Upload, archive};
use switchyard_integration::volume::Volume;
use switchyard_integration::within;
use tokio::task::JoinHandle;

const NAMES: [&str; 3] = ["a", "b", "c"];

fn volume(label: &str) -> Volume {
    let volume = Volume::new();
    for name in NAMES {
        volume.project(name).file("main.ts", hello(label)).write();
    }
    volume
}

/// Requests all projects in turn, over one connection, as if they were one: after a new version no
/// old one may follow.
struct Rounds {
    stopping: Arc<AtomicBool>,
    task: JoinHandle<Report>,
}

impl Rounds {
    fn start(client: &Client) -> Self {
        let stopping = Arc::new(AtomicBool::new(false));
        Self { task: tokio::spawn(ask_in_turn(client.clone(), stopping.clone())), stopping }
    }

    async fn finish(self) -> Report {
        self.stopping.store(true, Ordering::SeqCst);
        within("the last round", self.task).await.expect("the task does not panic")
    }
}

async fn ask_in_turn(client: Client, stopping: Arc<AtomicBool>) -> Report {
    let mut connection = client.connect().await;
    let mut answers = Vec::new();
    while !stopping.load(Ordering::SeqCst) {
        for name in NAMES {
            let began = Instant::now();
            let reply = connection.get(&format!("/{name}/")).await;
            answers.push(Answer {
                connection: 0,
                began,
                ended: Instant::now(),
                status: Ok(reply.status),
                version: reply.version().unwrap_or_default().to_owned(),
                label: reply.text(),
            });
        }
        tokio::task::yield_now().await;
    }
    Report { answers }
}

#[tokio::test]
async fn all_projects_of_an_upload_change_in_one_instant_at_each_router() {
    let volume = volume("old");
    let routers = Replicas::start(&volume, 2).await;
    let bridge = routers.start_bridge().await;
    let rounds: Vec<_> = routers
        .iter()
        .flat_map(|router| [Rounds::start(&router.public), Rounds::start(&router.public)])
        .collect();
    let files = [("a/main.ts", hello("new")), ("b/main.ts", slow("new", 200)), ("c/main.ts", hello("new"))];
    let reply = bridge.client.send(Upload::curl(&files).to("/deploy")).await;
    let record = Record::of(&reply);
    for name in NAMES {
        assert_eq!(routers.texts(&format!("/{name}/")).await, ["new", "new"]);
        let digest = record.project(name).digest.map(|digest| digest.to_string());
        assert_eq!(digest, Some(tree::digest(&volume.path(name))));
        bridge.audited("deploy", name, "live").await;
    }
    assert_eq!((record.outcome, record.projects.len()), (Some(DeployOutcome::Live), 3));
    assert!(record.routers.iter().all(|entry| entry.reports.len() == 3), "{record:?}");
    for rounds in rounds {
        rounds.finish().await.no_failures().versions_monotonic(&["old", "new"]);
    }
}

#[tokio::test]
async fn when_one_of_three_is_broken_none_changes() {
    let volume = volume("old");
    let routers = Replicas::start(&volume, 2).await;
    let bridge = routers.start_bridge().await;
    let before = Tree::of_projects(volume.root());
    let answers = join_all(NAMES.map(async |name| routers.answers(&format!("/{name}/")).await)).await;
    let rounds: Vec<_> = routers.iter().map(|router| Rounds::start(&router.public)).collect();
    let broken = "export default {".to_owned();
    let files = [
        ("a/main.ts", hello("new")),
        ("b/main.ts", broken),
        ("c/main.ts", hello("new")),
        ("d/main.ts", hello("d")),
    ];
    let reply = bridge.client.send(Upload::curl(&files).to("/deploy")).await;
    let problem = reply.assert_problem(422, "build-failed");
    assert_eq!(
        (problem["project"].as_str(), problem["error"]["file"].as_str()),
        (Some("b"), Some("main.ts"))
    );
    assert_eq!(Tree::of_projects(volume.root()), before);
    let after = join_all(NAMES.map(async |name| routers.answers(&format!("/{name}/")).await)).await;
    assert_eq!(after, answers);
    for router in routers.iter() {
        router.public.get("/d/").await.assert_problem(404, "unknown-project");
    }
    for rounds in rounds {
        rounds.finish().await.no_failures().versions_monotonic(&["old"]);
    }
    bridge.clean().await;
}

#[tokio::test]
async fn several_projects_come_in_an_archive_too() {
    let volume = Volume::new();
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    let files = [("a/main.ts", hello("1")), ("b/main.ts", hello("2")), ("b/lib/x.ts", hello("x"))];
    for (filename, content) in
        [("all.tar.gz", archive::gzip(archive::tar(&files))), ("all.zip", archive::zip(&files))]
    {
        let reply = bridge.client.send(Upload::archive(filename, content).to("/deploy")).await;
        assert_eq!(Record::of(&reply).projects.len(), 2);
        assert_eq!(
            (routers.texts("/a/").await, routers.texts("/b/").await),
            (vec!["1".into()], vec!["2".into()])
        );
        assert_eq!(Tree::of(&volume.path("b")).files(), ["lib/x.ts", "main.ts"]);
    }
}

#[tokio::test]
async fn a_file_beside_the_projects_folders_or_a_bad_folder_is_refused() {
    let volume = volume("old");
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    let before = Tree::of_projects(volume.root());
    for stray in ["README.md", "Bl og/main.ts", "_x/main.ts", ".switchyard-bridge/x"] {
        let files = [("a/main.ts", hello("new")), (stray, "x".to_owned())];
        let reply = bridge.client.send(Upload::curl(&files).to("/deploy")).await;
        assert_eq!(reply.status, 400, "{stray}: {}", reply.text());
        reply.assert_problem(400, "bad-upload");
    }
    assert_eq!(Tree::of_projects(volume.root()), before);
    bridge.clean().await;
}

#[tokio::test]
async fn one_project_that_is_being_deployed_keeps_the_others_of_an_upload_waiting_too() {
    let volume = volume("old");
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    let mut phases = bridge.follow(Upload::main(slow("slow", 700)).to("/deploy/b")).await;
    phases.until("build").await;
    let files = [("a/main.ts", hello("new")), ("b/main.ts", hello("new"))];
    let reply = bridge.client.send(Upload::curl(&files).to("/deploy")).await;
    reply.assert_problem(409, "deploy-under-way");
    assert_eq!(phases.done().await.0, 200);
    assert_eq!(
        (routers.texts("/a/").await, routers.texts("/b/").await),
        (vec!["old".into()], vec!["slow".into()])
    );
}

#[tokio::test]
async fn twenty_projects_are_deployed_side_by_side() {
    let volume = Volume::new();
    let routers = Replicas::start(&volume, 2).await;
    let bridge = routers.bridge().flag("max-uploads", 20).start().await;
    let names: Vec<_> = (0..20).map(|index| format!("p{index}")).collect();
    let deploys = names.iter().map(|name| {
        let upload = Upload::main(hello(name));
        let bridge = &bridge;
        async move { bridge.deploy_live(name, &upload).await }
    });
    let records = join_all(deploys).await;
    for (name, record) in names.iter().zip(records) {
        assert!(record.version().starts_with(&format!("{name}@")));
        assert_eq!(routers.texts(&format!("/{name}/")).await, [name.as_str(), name]);
    }
}
