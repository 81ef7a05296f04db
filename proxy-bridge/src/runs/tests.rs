//! The control of runs with a fake router: each call to it is in the test's hands.

mod dispatch;
mod incarnations;
mod keys;
mod registry;
mod retry;
mod starts;
mod steps;
mod versions;
mod views;

use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::ledger::{LedgerSettings, Retention};
use crate::routers::testing::{FakeRouter, LONG, all_ready, digest, following};
use switchyard_contract::project::ProjectName;
use switchyard_contract::task::{ProjectTasks, RunLimits, TaskSet};

/// A router whose live version of `work` declares tasks, and all that the control needs.
struct Scene {
    router: FakeRouter,
    shared: Arc<Shared>,
    commands: Option<mpsc::Receiver<Command>>,
    catalog: JoinHandle<()>,
    control: Option<JoinHandle<()>>,
    _dir: TempDir,
}

impl Scene {
    /// The set is written as JSON. The router's process is `one`.
    async fn new(set: Value) -> Self {
        Self::with_maker(set, Arc::new(NoMaker)).await
    }

    async fn with_maker(set: Value, maker: Arc<dyn VersionMaker>) -> Self {
        let router = FakeRouter::start("one").await;
        router.declare(&tasks('a', set));
        router.script("GET /_runs", 200, &known_runs("one", &[]));
        let routers = following(&[&router]);
        all_ready(&routers).await;
        let dir = TempDir::new().unwrap();
        let settings = LedgerSettings { dir: dir.path().to_owned(), retention: Retention::default() };
        let (ledger, _) = Ledger::open(settings).unwrap();
        let (catalog, follower) = Catalog::start(routers.clone(), ledger.clone()).await.unwrap();
        let (commands, received) = mpsc::channel(COMMANDS);
        let (metrics, progress) = (Arc::new(RunMetrics::new(ledger.clone())), Progress::default());
        let shared = Shared {
            commands,
            ledger,
            catalog,
            routers,
            progress,
            metrics,
            maker,
            traces: Traces::default(),
        };
        let scene = Self {
            router,
            shared: Arc::new(shared),
            commands: Some(received),
            catalog: follower,
            control: None,
            _dir: dir,
        };
        scene.until_known(digest('a').parse().ok()).await;
        scene
    }

    /// Starts the control, by which the handle's requests are answered.
    async fn run(&mut self) -> Runs {
        let control = self.control().await;
        let commands = self.commands.take().expect("there is one control");
        self.control = Some(tokio::spawn(control.run(commands)));
        Runs(self.shared.clone())
    }

    /// A control whose messages the test takes, one by one.
    async fn control(&self) -> Control {
        Control::new(&self.shared, Timestamp::now()).await.unwrap()
    }

    /// Makes another version live: its digest is of this digit. Returns once it is known.
    async fn declare(&self, digit: char, set: Value) {
        let tasks = tasks(digit, set);
        self.router.declare(&tasks);
        self.until_known(Some(tasks.digest).filter(|_| !tasks.set.is_empty())).await;
    }

    /// Waits until the tasks of this version are known, or until none are.
    async fn until_known(&self, version: Option<Digest>) {
        let mut changed = self.shared.catalog.changed();
        let known = || self.shared.catalog.all().get(&project()).map(|tasks| tasks.digest);
        let is_so = async {
            while known() != version {
                changed.changed().await.unwrap();
            }
        };
        timeout(LONG, is_so).await.expect("the tasks are known in time");
    }

    /// Waits for a call to the router, as in `POST /_runs`, and returns its body. Those before it are
    /// dropped.
    async fn call(&mut self, call: &str) -> Value {
        let calls = async {
            loop {
                let (name, _, body) = self.router.calls.recv().await.expect("the router is there");
                if name == call {
                    return serde_json::from_slice(&body).unwrap_or_default();
                }
            }
        };
        timeout(LONG, calls).await.unwrap_or_else(|_| panic!("{call} is called in time"))
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.catalog.abort();
        self.control.iter().for_each(JoinHandle::abort);
    }
}

fn project() -> ProjectName {
    ProjectName::parse("work").unwrap()
}

/// The tasks of a version whose digest is of one digit.
fn tasks(digit: char, set: Value) -> ProjectTasks {
    let set: TaskSet = serde_json::from_value(set).unwrap();
    ProjectTasks {
        project: project(),
        version: format!("work@{}", &digest(digit)[..12]),
        digest: digest(digit).parse().unwrap(),
        commit: None,
        hash: set.hash(),
        set,
        limits: RunLimits::default(),
    }
}

/// A task with further settings.
fn task(name: &str, settings: Value) -> Value {
    let mut task = json!({
        "name": name,
        "declared_in": "deno.json",
        "code": { "kind": "module", "path": format!("tasks/{name}.ts") },
        "overlap": "allow",
    });
    let settings = settings.as_object().expect("settings are an object").clone();
    task.as_object_mut().expect("a task is an object").extend(settings);
    task
}

/// A pipeline of steps in a list.
fn pipeline(name: &str, steps: &[&str]) -> Value {
    let steps: Vec<_> =
        steps.iter().map(|step| json!({ "name": step, "task": step, "config": null })).collect();
    json!({ "name": name, "declared_in": "deno.json", "steps": steps, "overlap": "allow" })
}

/// A request for a run, as by a person.
fn by_hand(task: &str) -> StartRun {
    StartRun {
        task: task.parse().unwrap(),
        trigger: RunTrigger::Manual,
        by: None,
        key: None,
        params: Value::Null,
        input: Value::Null,
        version: None,
        consistency: None,
        parent: None,
        force: false,
    }
}

/// The answer to `GET /_runs`: these runs are under way.
fn known_runs(process: &str, runs: &[RunId]) -> String {
    let version = json!({ "name": "work@aaaaaaaaaaaa", "digest": digest('a'), "spec": "s" });
    let run = |id: &RunId| json!({ "run": id, "attempt": 1, "project": "work", "version": version, "ended": false });
    let runs: Vec<_> = runs.iter().map(run).collect();
    json!({ "router": process, "max_runs": 8, "runs": runs }).to_string()
}
