//! Records of requests: their ids, the last ones of a project, and their number.

use std::path::Path;

use futures_util::{SinkExt as _, StreamExt as _};
use rustix::process::Signal;
use serde_json::Value;
use switchyard_integration::bridge::cli::{Following, run};
use switchyard_integration::bridge::fronts::Fronts;
use switchyard_integration::client::{Client, request, with_header};
use switchyard_integration::fixtures::hello;
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;
use switchyard_integration::{eventually, within};
use tokio_tungstenite::tungstenite::Message;

/// Answers with the status in the path.
const STATUSES: &str = "export default { fetch(request) {\n\
    if (request.headers.get('upgrade')) { const { socket, response } = Deno.upgradeWebSocket(request);\n\
      socket.onmessage = () => socket.close(); return response; }\n\
    const { pathname } = new URL(request.url);\n\
    const headers = { 'x-request-id': 'the project says so' };\n\
    return new Response('ok', { status: Number(pathname.slice(1)) || 200, headers });\n\
} };\n";

/// The requests of project `a`, once there are so many.
async fn listed(listener: &Client, query: &str, count: usize) -> Vec<Value> {
    let path = format!("/projects/a/requests?{query}");
    let ask =
        || async { listener.get(&path).await.json()["requests"].as_array().cloned().unwrap_or_default() };
    eventually("the requests have ended", || async { ask().await.len() == count }).await;
    ask().await
}

fn paths(requests: &[Value]) -> Vec<&str> {
    requests.iter().filter_map(|request| request["path"].as_str()).collect()
}

#[tokio::test]
async fn every_answer_of_both_listeners_has_the_id_of_its_request() {
    let volume = Volume::with("a", STATUSES);
    volume.project("site").file("index.html", "hi").write();
    let fronts = Fronts::start(&volume).await;
    for (name, front) in fronts.each() {
        for path in ["/a/", "/a/503", "/site/", "/none/", "/%zz"] {
            let given = front.send(with_header(request(path), "x-request-id", "my-1")).await;
            assert_eq!(given.header("x-request-id"), Some("my-1"), "{name} {path}");
            assert_eq!(given.headers.get_all("x-request-id").iter().count(), 1, "{name} {path}");
            let made = front.get(path).await;
            assert_eq!(made.header("x-request-id").map(str::len), Some(16), "{name} {path}");
            // This header ends at the router: the request is not plain.
            let long = with_header(request(path), "connection", "keep-alive, x-request-id");
            let long = front.send(with_header(long, "x-request-id", "my-2")).await;
            assert_eq!(long.header("x-request-id"), Some("my-2"), "{name} {path}");
        }
        let refused = front.raw("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n").await;
        assert!(refused.contains("\r\nx-request-id: "), "{name}: {refused}");
    }
}

#[tokio::test]
async fn the_last_requests_of_a_project_are_listed_and_followed() {
    let volume = Volume::with("a", STATUSES);
    let router = Router::start(&volume).await;
    router.public.get("/a/200?secret=1").await;
    router.public.send(with_header(request("/a/503"), "connection", "keep-alive, x-unknown")).await;
    let requests = listed(&router.admin.client, "", 2).await;
    assert_eq!(paths(&requests), ["/a/503", "/a/200"]);
    let live = router.admin.project("a").await.live.expect("it is live").version;
    for (request, status) in requests.iter().zip([503, 200]) {
        assert_eq!((&request["status"], &request["method"]), (&status.into(), &"GET".into()), "{request}");
        assert_eq!((&request["version"], &request["bytes"]), (&live.as_str().into(), &2.into()), "{request}");
        assert_eq!(request["client"], "127.0.0.1");
        assert!(request["total_ms"].as_f64() >= request["head_ms"].as_f64(), "{request}");
    }
    assert_eq!(paths(&listed(&router.admin.client, "status=5xx", 1).await), ["/a/503"]);
    assert_eq!(listed(&router.admin.client, "method=POST", 0).await, [Value::Null; 0]);

    let mut reader = router.admin.client.connect().await;
    let mut following = reader.stream(request("/projects/a/requests?follow&limit=1&status=101")).await;
    router.public.get("/a/404").await;
    let mut socket = router.public.websocket("/a/socket").await.unwrap();
    socket.send(Message::text("bye")).await.unwrap();
    while within("the project hangs up", socket.next()).await.is_some() {}
    drop(socket);
    let event = within("the WebSocket is followed", following.next()).await.expect("it goes on");
    assert!(event.contains("event: request") && event.contains("\"websocket\":true"), "{event}");
    assert!(event.contains("/a/socket") && !event.contains("/a/404"), "{event}");
}

#[tokio::test]
async fn requests_at_all_routers_are_counted_together() {
    let volume = Volume::with("a", STATUSES);
    volume.write("quiet/main.ts", hello("quiet"));
    let fronts = Fronts::start(&volume).await;
    for path in ["/a/200", "/a/200", "/a/200", "/a/500"] {
        fronts.bridge.forward.get(path).await;
    }
    let api = &fronts.bridge.client;
    let requests = listed(api, "limit=3", 3).await;
    assert_eq!(paths(&requests), ["/a/500", "/a/200", "/a/200"]);
    assert!(requests.iter().all(|request| request["router"].is_string()), "{requests:?}");
    let metrics = api.get("/projects/a/metrics").await.json();
    let minutes = metrics["minutes"].as_array().expect("there are minutes");
    let sum = |key: &str| minutes.iter().filter_map(|minute| minute[key].as_u64()).sum::<u64>();
    assert_eq!((sum("requests"), sum("errors")), (4, 1), "{metrics}");
    assert!(minutes[0]["p95_ms"].is_f64(), "{metrics}");
    let loads = api.get("/metrics/projects").await.json();
    let [a, quiet] = &loads["projects"].as_array().expect("it is a list")[..] else { panic!("{loads}") };
    assert_eq!(
        (&a["project"], &a["requests"], &loads["errors"]),
        (&"a".into(), &4.into(), &Value::Array(vec![]))
    );
    assert!(a["used"]["memory"].as_u64() < a["used"]["max_memory"].as_u64(), "{loads}");
    assert_eq!((&quiet["requests"], &quiet["used"]["processes"]), (&0.into(), &1.into()));

    let listed = run(&fronts.bridge, &["requests", "a", "--status", "5xx"]).await;
    let lines: Vec<_> = listed.stdout.lines().collect();
    assert!(listed.code == Some(0) && lines.len() == 2 && lines[0].starts_with("TIME"), "{listed:?}");
    assert!(lines[1].contains(" GET ") && lines[1].contains(" 500 "), "{listed:?}");
    let mut following = Following::start(&fronts.bridge, &["requests", "a", "-f", "--json"]);
    following.printed("/a/500").await;
    fronts.bridge.forward.get("/a/201").await;
    let line = following.printed("/a/201").await;
    assert_eq!(serde_json::from_str::<Value>(&line).expect("it is JSON")["status"], 201);
}

#[tokio::test]
async fn the_access_log_has_every_request_without_secrets_and_follows_a_rotation() {
    let volume = Volume::with("a", STATUSES);
    let dir = tempfile::tempdir().unwrap();
    let (path, moved) = (dir.path().join("access.log"), dir.path().join("access.log.1"));
    let router = Router::builder(&volume).flag("access-log", path.display()).start().await;
    let secret = with_header(request("/a/200?token=hush"), "authorization", "Bearer hush");
    router.public.send(secret).await;
    router
        .public
        .send(with_header(request("/a/404?token=hush"), "connection", "keep-alive, x-unknown"))
        .await;
    router.public.get("/none/").await;
    let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    eventually("three requests are logged", || async { read(&path).lines().count() == 3 }).await;
    let text = read(&path);
    let lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("it is JSON")).collect();
    assert!(!text.contains("hush") && !text.contains("token"), "{text}");
    let statuses: Vec<_> = lines.iter().filter_map(|line| line["status"].as_u64()).collect();
    assert_eq!(statuses, [200, 404, 404]);
    let projects: Vec<_> = lines.iter().map(|line| line["project"].as_str()).collect();
    assert_eq!(projects, [Some("a"), Some("a"), None]);

    std::fs::rename(&path, &moved).unwrap();
    router.signal(Signal::HUP);
    eventually("the file is there again", || async { path.exists() }).await;
    let says = router.log.wait_for(|record| {
        record["message"].as_str().is_some_and(|text| text.contains("reloaded --access-log: "))
    });
    within("it is logged", says).await.expect("the log goes on");
    router.public.get("/a/201").await;
    assert_eq!(router.stop().await.status.code(), Some(0));
    assert!(read(&path).contains("/a/201") && read(&moved) == text, "{}", read(&path));
}
