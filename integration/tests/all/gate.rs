//! The gate of the admin listener: commands come from the operator, not from pages in a browser.

use http::Method;
use switchyard_integration::client::{
    Body, Client, Raw, Reply, json_body, post, request, with_header, with_method,
};
use switchyard_integration::fixtures::hello;
use switchyard_integration::router::Router;
use switchyard_integration::usage::raise_descriptors;
use switchyard_integration::volume::Volume;
use switchyard_integration::{eventually, within};

const TOKEN: &str = "one-0123456789abcdef";

const HOLD: &str = r#"{"id": "d1", "projects": ["a"], "lease_ms": 600000}"#;

/// The streams that the admin listener serves at once, its other requests, and its connections in all.
const STREAMS: usize = 256;
const REQUESTS: usize = 216;
const CONNECTIONS: usize = 512;

/// One request to each endpoint.
fn everything() -> Vec<http::Request<Body>> {
    let gets = [
        "/projects",
        "/projects/a",
        "/projects/a/logs",
        "/projects/a/checkouts",
        "/projects/a/checkouts/0123456789ab",
        "/projects/a/inspect",
        "/events",
        "/metrics",
        "/openapi.json",
        "/json",
        "/json/list",
        "/json/version",
        "/nowhere",
    ];
    let posts = ["/_reload", "/_reload/a", "/_deploys/d1/build", "/_deploys/d1/publish"];
    let mut all: Vec<_> = gets.map(request).into();
    all.extend(posts.map(|path| with_method(Method::POST, path)));
    all.push(json_body(post("/_deploys", HOLD)));
    all.push(with_method(Method::DELETE, "/_deploys/d1"));
    all
}

async fn send_with(client: &Client, request: http::Request<Body>, name: &'static str, value: &str) -> Reply {
    client.send(with_header(request, name, value)).await
}

#[tokio::test]
async fn a_name_that_was_rebound_to_the_listener_reads_and_does_nothing() {
    let volume = Volume::with("a", hello("one"));
    let router = Router::builder(&volume).flag("inspect", "a").start().await;
    let admin = &router.admin.client;
    for host in ["evil.example", "localhost.evil.example:8001", "a.localhost"] {
        for request in everything() {
            let what = format!("{} {} of {host}", request.method(), request.uri());
            let refused = send_with(admin, request, "host", host).await;
            assert_eq!(refused.status, 403, "{what}");
            refused.assert_problem(403, "foreign-host");
        }
    }
    assert_eq!(router.admin.project("a").await.held_by, None);
    for host in ["127.0.0.1", "LOCALHOST.:1", "[::1]:8001", "[fe80::1%25eth0]"] {
        assert_eq!(send_with(admin, request("/projects"), "host", host).await.status, 200, "{host}");
    }
}

#[tokio::test]
async fn a_page_of_another_site_sends_no_command() {
    let volume = Volume::with("a", hello("one"));
    let router = Router::start(&volume).await;
    let admin = &router.admin.client;
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("origin", "http://127.0.0.1:8000"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        for request in everything() {
            let what = format!("{} {} with {name}: {value}", request.method(), request.uri());
            let refused = send_with(admin, request, name, value).await;
            assert_eq!(refused.status, 403, "{what}");
            refused.assert_problem(403, "foreign-origin");
        }
    }
    assert_eq!(router.admin.project("a").await.held_by, None);
    let own = format!("http://{}", admin.address);
    assert_eq!(send_with(admin, with_method(Method::POST, "/_reload"), "origin", &own).await.status, 200);
    let link = with_header(request("/projects"), "sec-fetch-mode", "navigate");
    assert_eq!(send_with(admin, link, "sec-fetch-site", "cross-site").await.status, 200);
    let frame = with_header(request("/events"), "sec-fetch-mode", "navigate");
    let frame = with_header(frame, "sec-fetch-dest", "iframe");
    send_with(admin, frame, "sec-fetch-site", "cross-site").await.assert_problem(403, "foreign-origin");
}

#[tokio::test]
async fn a_body_of_another_type_is_refused_with_the_command_that_works() {
    let volume = Volume::with("a", hello("one"));
    let router = Router::start(&volume).await;
    let admin = &router.admin.client;
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        let refused = send_with(admin, post("/_deploys", HOLD), "content-type", kind).await;
        let problem = refused.assert_problem(415, "unsupported-media-type");
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(detail.contains("curl -X POST -H 'content-type: application/json' -d '{"), "{detail}");
        assert!(detail.ends_with(&format!("http://{}/_deploys", admin.address)), "{detail}");
        let refused = send_with(admin, post("/_reload/a", "x"), "content-type", kind).await;
        refused.assert_problem(415, "unsupported-media-type");
    }
    admin.send(post("/_deploys", HOLD)).await.assert_problem(415, "unsupported-media-type");
    assert_eq!(router.admin.project("a").await.held_by, None);
    // The request that `curl -d ''` sends.
    let empty = send_with(admin, post("/_reload/a", ""), "content-type", "application/x-www-form-urlencoded");
    assert_eq!(empty.await.status, 200);
    assert_eq!(admin.send(json_body(post("/_reload/a", "{}"))).await.status, 200);
}

#[tokio::test]
async fn a_public_host_and_a_token_open_the_listener_under_other_names() {
    let volume = Volume::with("a", hello("one"));
    volume.write("_tokens", format!("{TOKEN}\n"));
    let named = Router::builder(&volume).flag("public-host", "Admin.Example.com").start().await;
    let admin = &named.admin.client;
    assert_eq!(send_with(admin, request("/projects"), "host", "admin.example.com:443").await.status, 200);
    send_with(admin, request("/projects"), "host", "x.example.com").await.assert_problem(403, "foreign-host");

    let known = Router::builder(&volume).flag("admin-token-file", volume.path("_tokens").display());
    let known = known.start().await;
    let admin = &known.admin.client;
    let call = || with_header(request("/projects"), "authorization", &format!("Bearer {TOKEN}"));
    assert_eq!(send_with(admin, call(), "host", "router.switchyard.svc:8001").await.status, 200);
    send_with(admin, request("/projects"), "host", "localhost").await.assert_problem(401, "unauthorized");
    send_with(admin, call(), "host", "two hosts").await.assert_problem(400, "bad-request");
    let reload =
        with_header(with_method(Method::POST, "/_reload"), "authorization", &format!("Bearer {TOKEN}"));
    send_with(admin, reload, "origin", "https://evil.example").await.assert_problem(403, "foreign-origin");
}

#[tokio::test]
async fn a_wrong_public_host_is_named_at_the_start() {
    let volume = Volume::new();
    for wrong in ["https://admin.example.com", "*.example.com", "admin.example.com:443", "10.0.0.1"] {
        let ended = Router::builder(&volume).flag("public-host", wrong).run_to_end().await;
        assert_eq!(ended.status.code(), Some(64), "{wrong}");
        assert!(ended.log.text().contains("--public-host: "), "{}", ended.log.text());
    }
}

#[tokio::test]
async fn a_request_names_one_host_and_health_needs_none() {
    let volume = Volume::new();
    let router = Router::start(&volume).await;
    let admin = &router.admin.client;
    let first = |answer: String| answer.lines().next().unwrap_or_default().to_owned();
    for (head, status) in [
        ("GET /projects HTTP/1.1\r\nConnection: close\r\n\r\n", "400"),
        ("GET /projects HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\nConnection: close\r\n\r\n", "400"),
        (
            "GET http://evil.example/projects HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
            "403",
        ),
        ("GET http://localhost/projects HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", "400"),
        ("GET http://localhost/projects HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "200"),
        ("GET /projects HTTP/1.0\r\n\r\n", "403"),
        ("GET /healthz HTTP/1.0\r\n\r\n", "200"),
        ("GET /readyz HTTP/1.1\r\nHost: router.switchyard.svc\r\nConnection: close\r\n\r\n", "200"),
    ] {
        let answer = first(admin.raw(head).await);
        assert_eq!(answer.split(' ').nth(1), Some(status), "{head:?}: {answer}");
    }
}

#[tokio::test]
async fn followers_and_silent_connections_leave_room_for_health_and_commands() {
    raise_descriptors();
    let volume = Volume::with("a", hello("one"));
    let router = Router::start(&volume).await;
    let admin = &router.admin.client;
    let mut followers = Vec::new();
    for _ in 0..STREAMS {
        let mut follower = admin.open().await;
        follower.send("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        follower.until(": router ").await;
        followers.push(follower);
    }
    let more = admin.get("/projects/a/logs?follow=1").await;
    more.assert_problem(503, "busy");
    assert_eq!(more.header("retry-after"), Some("1"));
    let mut silent: Vec<Raw> = Vec::new();
    for _ in 0..CONNECTIONS {
        silent.push(admin.open().await);
    }
    assert_eq!(admin.get("/healthz").await.status, 200);
    assert_eq!(router.admin.reload("a").await.project, "a");
    within("the longest silent one makes room", silent[0].rest()).await;
    drop(followers.pop());
    eventually("a closed event stream frees its slot", || async {
        admin.get("/projects/a/logs").await.status == 200
    })
    .await;
    volume.write("a/main.ts", hello("two"));
    followers[0].until("reload.live").await;
}

#[tokio::test]
async fn metrics_are_answered_when_no_other_request_is() {
    raise_descriptors();
    let volume = Volume::with("a", hello("one"));
    let router = Router::start(&volume).await;
    let admin = &router.admin.client;
    let mut holding: Vec<Raw> = Vec::new();
    for _ in 0..REQUESTS {
        let mut raw = admin.open().await;
        // The body never arrives.
        let head = "POST /_deploys HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
        raw.send(format!("{head}Content-Length: 9\r\nExpect: 100-continue\r\n\r\n")).await;
        raw.until("100 Continue").await;
        holding.push(raw);
    }
    admin.get("/projects").await.assert_problem(503, "busy");
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(admin.get(path).await.status, 200, "{path}");
    }
    drop(holding);
    eventually("a closed connection frees its slot", || async { admin.get("/projects").await.status == 200 })
        .await;
}
