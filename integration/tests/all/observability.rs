//! The metrics, and `examples/observability` with a real Prometheus.

use std::collections::BTreeSet;
use std::fs;

use http::Method;
use serde_json::Value;
use switchyard_contract::admin::ProjectState;
use switchyard_integration::client::{Upload, with_method};
use switchyard_integration::fixtures::lasting;
use switchyard_integration::git::Repository;
use switchyard_integration::prometheus::{Prometheus, example, promtool, with_tokens};
use switchyard_integration::router::Router;
use switchyard_integration::runs::RunsApi;
use switchyard_integration::sources::{Scene, Source};
use switchyard_integration::volume::Volume;
use switchyard_integration::{eventually, within};

/// Answers, fails and crashes, as the path says.
const MAIN: &str = "export default { fetch: (request) => {
    const { pathname } = new URL(request.url);
    if (pathname === '/crash') Deno.exit(1);
    return new Response(pathname, { status: pathname === '/fail' ? 500 : 200 });
} };";

const DENO_JSON: &str = r#"{ "switchyard": { "tasks": { "digest": { "entry": "./digest.ts" } } } }"#;

#[tokio::test]
async fn each_project_has_its_state_requests_and_processes_in_the_metrics_until_it_is_removed() {
    let volume = Volume::with("a", lasting("one"));
    volume.write("b/main.ts", "export default {");
    let policy = tempfile::NamedTempFile::new().expect("a file can be made");
    fs::write(policy.path(), "[defaults.limits]\nmax_in_flight = 1\nmax_queued = 1\n")
        .expect("it can be written");
    let router = Router::builder(&volume).flag("policy", policy.path().display()).start().await;
    let metric = async |name: &str, label: &str| router.admin.metric(name, label).await;
    let (upload, request) = Upload::post("/a/wait");
    let public = router.public.clone();
    let held = tokio::spawn(async move { public.send(request).await });
    let in_flight = "switchyard_project_requests_in_flight";
    eventually("a request is in flight", || async { metric(in_flight, "\"a\"").await == Some(1.0) }).await;
    let public = router.public.clone();
    let waits = tokio::spawn(async move { public.get("/a/").await });
    let queued = "switchyard_project_requests_queued";
    eventually("a request waits", || async { metric(queued, "\"a\"").await == Some(1.0) }).await;
    router.public.get("/a/").await.assert_problem(503, "overloaded");
    for (name, label, value) in [
        ("switchyard_ready", "", 1.0),
        ("switchyard_build_info", "deno=\"", 1.0),
        ("switchyard_live_projects", "", 1.0),
        ("switchyard_project_requests_limit", "\"a\"", 1.0),
        ("switchyard_project_queue_limit", "\"a\"", 1.0),
        ("switchyard_requests_rejected_total", "\"a\"", 1.0),
        ("switchyard_project_processes", "\"a\"", 1.0),
        ("switchyard_project_processes", "\"b\"", 0.0),
        ("switchyard_project_version_info", "version=\"a@", 1.0),
        ("switchyard_reloads_total", "project=\"a\",outcome=\"live\"", 1.0),
        ("switchyard_reloads_total", "project=\"b\",outcome=\"failed\"", 1.0),
    ] {
        assert_eq!(metric(name, label).await, Some(value), "{name} {label}");
    }
    for state in ProjectState::ALL {
        let is = |current| Some(f64::from(u8::from(state == current)));
        let label = |project: &str| format!("project=\"{project}\",state=\"{}\"", state.as_str());
        assert_eq!(metric("switchyard_project_state", &label("a")).await, is(ProjectState::Live));
        assert_eq!(metric("switchyard_project_state", &label("b")).await, is(ProjectState::Failed));
    }
    let memory = metric("switchyard_project_memory_bytes", "\"a\"").await;
    assert!(memory > Some(1e6) && memory < metric("switchyard_project_memory_limit_bytes", "\"a\"").await);
    upload.end();
    for reply in [held, waits] {
        assert_eq!(within("it is answered", reply).await.expect("it does not panic").status, 200);
    }
    volume.remove("a");
    volume.remove("b");
    eventually("nothing is left of the projects", || async {
        !router.admin.client.get("/metrics").await.text().contains("project=\"")
    })
    .await;
}

#[test]
fn promtool_accepts_the_settings_and_each_alert_fires_as_its_test_says() {
    let folder = with_tokens();
    promtool(folder.path(), &["check", "config", "prometheus.yml"]);
    promtool(folder.path(), &["test", "rules", "alerts.test.yml"]);
    let (alerts, tests) = (text("alerts.yml"), text("alerts.test.yml"));
    for alert in alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(tests.contains(&format!("alertname: {alert}\n")), "{alert} has no test");
    }
}

#[tokio::test]
async fn prometheus_has_data_for_each_panel_of_the_dashboard_and_each_alert() {
    let repository = Repository::create().await;
    let files = [
        ("api/main.ts", MAIN),
        ("api/deno.json", DENO_JSON),
        ("api/digest.ts", "export default () => 'done';\n"),
    ];
    let commit = repository.commit(&files, "first").await;
    let scene = Scene::start(&[Source::of("shop", &repository)]).await;
    scene.api.synced("shop", &commit).await;
    let client = &scene.bridge.client;
    eventually("the task is known", || async { client.get("/tasks/api:digest").await.status == 200 }).await;
    RunsApi::new(client).result("api:digest").await;
    for (path, status) in [("/api/", 200), ("/api/fail", 500), ("/api/crash", 502), ("/api/", 200)] {
        // Forwarded as one that is not sent again.
        let reply = scene.bridge.forward.send(with_method(Method::POST, path)).await;
        assert_eq!(reply.status, status, "{path}: {}", reply.text());
    }

    let router = scene.routers.iter().next().expect("there is one").admin.client.address;
    let prometheus = Prometheus::start(router, client.address).await;
    // Rates need two samples.
    prometheus.series("rate(switchyard_runs_total[1m])").await;
    prometheus.series("rate(switchyard_requests_total[1m])").await;
    let dashboard: Value = serde_json::from_str(&text("dashboard.json")).expect("it is JSON");
    let queries = queries(&dashboard["panels"]);
    assert!(queries.len() > 30, "{queries:?}");
    for query in &queries {
        prometheus.series(query).await;
    }
    // Nothing is reloaded meanwhile.
    for query in self::queries(&dashboard["annotations"]["list"]) {
        prometheus.query(&query).await;
    }
    eventually("the alerts were evaluated", || async {
        health(&prometheus).await == ["ok".to_owned()].into()
    })
    .await;
    let known = prometheus.get("/api/v1/label/__name__/values").await;
    let known: Vec<&str> = known.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for name in names(&text("alerts.yml")) {
        assert!(known.contains(&name.as_str()), "no metric is called {name}");
    }
    let documented = names(&text("../../docs/observability.md"));
    for name in known.into_iter().filter(|name| name.starts_with("switchyard_")) {
        let parts = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part));
        assert!(documented.contains(parts.unwrap_or(name)), "{name} is not in docs/observability.md");
    }
}

fn text(file: &str) -> String {
    fs::read_to_string(example().join(file)).expect("the example has the file")
}

/// The expressions of panels or annotations, for all routers and projects.
fn queries(list: &Value) -> Vec<String> {
    let items = list.as_array().expect("it is a list").iter();
    let all =
        items.flat_map(|item| item["targets"].as_array().cloned().unwrap_or_else(|| [item.clone()].into()));
    let variables = [("$router", ".*"), ("$project", ".*"), ("$__rate_interval", "1m")];
    let fill = |text: &str| variables.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
    all.filter_map(|item| item["expr"].as_str().map(fill)).collect()
}

/// The metrics that a text names.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|character: char| !(character.is_ascii_alphanumeric() || character == '_'));
    words.filter(|word| word.starts_with("switchyard_")).map(str::to_owned).collect()
}

/// The states of the rules.
async fn health(prometheus: &Prometheus) -> BTreeSet<String> {
    let groups = prometheus.get("/api/v1/rules").await;
    let groups = groups["groups"].as_array().expect("there are groups").iter();
    let rules = groups.flat_map(|group| group["rules"].as_array().expect("it has rules").clone());
    rules.map(|rule| rule["health"].as_str().unwrap_or_default().to_owned()).collect()
}
