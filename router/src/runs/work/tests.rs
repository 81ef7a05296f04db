//! Tests of what a run executes.

use std::sync::Arc;

use serde_json::json;
use switchyard_contract::commit::CommitInfo;
use switchyard_contract::digest::Digest;
use switchyard_contract::project::ProjectName;
use switchyard_contract::run::RunId;
use switchyard_contract::task::{ParamKind, ParamSpec, Restart, TaskPermissions, TaskSet};
use switchyard_protocol::PlatformApi;
use switchyard_tasks::declared::Declared;

use super::*;
use crate::checkout::Store;
use crate::policy::Grant;
use crate::version::{Tenant, Version};

fn task(name: &str) -> TaskSpec {
    let spec = json!({
        "name": name,
        "declared_in": "deno.json",
        "code": { "kind": "module", "path": format!("tasks/{name}.ts") },
    });
    serde_json::from_value(spec).unwrap()
}

/// A version with these tasks. No test reads its files.
fn version(tasks: Vec<TaskSpec>, registry: Option<&str>) -> RunnableVersion {
    let state = tempfile::tempdir().unwrap();
    let store = Store::open(state.path()).unwrap();
    let blog = Tenant::first(&ProjectName::parse("blog").unwrap());
    let version = Version::new(&blog, Digest::from([1; 32]));
    let env = [("KEY".to_owned(), "k".to_owned()), ("OTHER".to_owned(), "o".to_owned())];
    let grant = Grant { env: env.into(), ..Grant::default() };
    let launch = LaunchSpec {
        checkout: store.pinned(&version),
        version,
        entry: Entry { path: "main.ts".into(), ..Entry::default() },
        include: Vec::new(),
        grant: Arc::new(grant),
        api: PlatformApi::default(),
        port: Some(3000),
        compress: false,
        import_map: None,
        modules: Arc::default(),
        job: None,
        output: None,
    };
    let set = TaskSet { tasks, pipelines: Vec::new(), registry: registry.map(str::to_owned) };
    let tasks = Arc::new(Declared { set, ..Declared::default() });
    let commit =
        CommitInfo { source: "s".into(), commit: "a".repeat(40), ref_name: Some("refs/heads/main".into()) };
    RunnableVersion { launch: Arc::new(launch), tasks, commit: Some(Arc::new(commit)) }
}

fn request(work: RunWork) -> RunRequest {
    RunRequest {
        run: RunId::new_now(),
        attempt: 2,
        project: ProjectName::parse("blog").unwrap(),
        incarnation: None,
        version: None,
        work,
        params: json!({}),
        input: json!("in"),
        config: serde_json::Value::Null,
        parent: None,
        depth: 0,
        pipeline: serde_json::Value::Null,
        trigger: "manual".into(),
        scheduled_at: None,
        time_ms: None,
        journal: Vec::new(),
        traceparent: None,
    }
}

fn of_task(name: &str) -> RunRequest {
    request(RunWork::Task { task: TaskName::parse(name).unwrap() })
}

fn launched(work: Work) -> (LaunchSpec, Call) {
    let Code::Cell(launch) = work.code else { panic!("it has a cell of its own") };
    let Some(Job::Call(call)) = launch.job.clone() else { panic!("it is a call") };
    (*launch, *call)
}

#[test]
fn a_task_runs_its_module_with_the_run_in_its_context() {
    let version = version(vec![task("digest")], None);
    let work = prepare(&of_task("digest"), &version, &[]).unwrap();
    assert_eq!(work.version.spec, task("digest").hash());
    assert_eq!(work.version.commit.as_ref(), version.commit.as_deref());
    assert_eq!(work.time, Some(Duration::from_secs(600)));
    let (launch, call) = launched(work);
    assert_eq!((launch.entry.path.as_str(), launch.port), ("tasks/digest.ts", None));
    assert_eq!((call.run.task.as_str(), call.run.attempt), ("digest", 2));
    assert_eq!(call.run.commit, Some("a".repeat(40)));
    assert_eq!((call.handler, call.input, call.max_result), (Handler::Task, json!("in"), 1 << 20));
}

#[test]
fn the_shortest_limit_of_time_holds_and_a_daemon_has_none() {
    let mut daemon = task("daemon");
    daemon.triggers = vec![TaskTrigger::Daemon { restart: Restart::Always }];
    let slow = TaskSpec { timeout_ms: Some(3_600_000), ..task("slow") };
    let quick = TaskSpec { timeout_ms: Some(5_000), ..task("quick") };
    let version = version(vec![daemon, slow, quick], None);
    let time =
        |request: &RunRequest| prepare(request, &version, &[]).unwrap().time.map(|time| time.as_secs());
    assert_eq!(time(&of_task("slow")), Some(600));
    assert_eq!(time(&of_task("quick")), Some(5));
    assert_eq!(time(&RunRequest { time_ms: Some(1_000), ..of_task("quick") }), Some(1));
    assert_eq!(time(&RunRequest { time_ms: Some(1_000), ..of_task("daemon") }), None);
}

#[test]
fn a_task_has_its_parameters_and_no_more_rights_than_it_names() {
    let mut limited = task("limited");
    limited.params = vec![ParamSpec {
        name: "n".into(),
        kind: ParamKind::Integer,
        description: None,
        required: false,
        default: Some(json!(7)),
        options: Vec::new(),
    }];
    limited.permissions = Some(TaskPermissions { env: Some(vec!["KEY".into()]), ..Default::default() });
    let version = version(vec![limited], None);
    let (launch, call) = launched(prepare(&of_task("limited"), &version, &[]).unwrap());
    assert_eq!(call.params, json!({ "n": 7 }));
    assert_eq!(launch.grant.env.keys().collect::<Vec<_>>(), ["KEY"]);
    assert_eq!(version.launch.grant.env.len(), 2, "the project keeps its own");
    let wrong = RunRequest { params: json!({ "n": "x" }), ..of_task("limited") };
    assert!(matches!(prepare(&wrong, &version, &[]), Err(NoWork::InvalidParams(_))));
}

#[test]
fn the_handler_scheduled_is_called_in_the_entry() {
    let mut scheduled = task("scheduled");
    scheduled.code = TaskCode::Scheduled;
    let cron = json!({ "kind": "cron", "schedules": ["0 * * * *"], "zone": "UTC" });
    scheduled.triggers = vec![serde_json::from_value(cron).unwrap()];
    let version = version(vec![scheduled], None);
    let due = "2026-11-29T12:00:00Z".parse().unwrap();
    let request = RunRequest { scheduled_at: Some(due), ..of_task("scheduled") };
    let (launch, call) = launched(prepare(&request, &version, &[]).unwrap());
    assert_eq!(launch.entry.path, "main.ts");
    let cron = "0 * * * *".to_owned();
    assert_eq!(call.handler, Handler::Scheduled { cron, at_ms: due.as_millisecond() });
}

#[test]
fn a_cron_of_the_code_runs_in_a_cell_that_serves() {
    let cron = TaskSpec { code: TaskCode::Cron { name: "nightly".into() }, ..task("cron/nightly") };
    let work = prepare(&of_task("cron/nightly"), &version(Vec::new(), None), &[cron]).unwrap();
    assert!(matches!(work.code, Code::Cron(name) if name == "nightly"));
}

#[test]
fn a_step_runs_the_module_that_the_registry_names() {
    let module = |path: &str| {
        request(RunWork::Module { path: path.into(), name: "ingest".into(), config: json!({ "a": 1 }) })
    };
    let version = version(Vec::new(), Some("tasks/index.js"));
    let (launch, call) = launched(prepare(&module("tasks/ingest.js"), &version, &[]).unwrap());
    assert_eq!((launch.entry.path.as_str(), call.config), ("tasks/ingest.js", json!({ "a": 1 })));
    for path in ["", "/etc/passwd", "https://h/x.js", "a\\b"] {
        assert!(matches!(prepare(&module(path), &version, &[]), Err(NoWork::InvalidPath(_))), "{path}");
    }
    let Code::Cell(launch) = prepare(&request(RunWork::Registry), &version, &[]).unwrap().code else {
        panic!("it has a cell of its own")
    };
    assert_eq!(launch.entry.path, "tasks/index.js");
    assert!(matches!(launch.job, Some(Job::Registry { .. })));
}

#[test]
fn what_a_version_does_not_have_is_named() {
    let version = version(vec![task("digest")], None);
    let error = prepare(&of_task("digset"), &version, &[]).unwrap_err().to_string();
    assert!(error.contains("blog@") && error.contains("did you mean \"digest\"?"), "{error}");
    let error = prepare(&request(RunWork::Registry), &version, &[]).unwrap_err().to_string();
    assert!(error.contains("names no registry"), "{error}");
}
