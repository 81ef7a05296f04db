//! The gate of the bridge's API: deploys come from the operator, not from pages in a browser.

use http::Method;
use switchyard_integration::bridge::addresses::SECRET;
use switchyard_integration::bridge::record::Record;
use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::bridge::tree::Tree;
use switchyard_integration::bridge::{Bridge, get_as, signed, with_token};
use switchyard_integration::client::{Body, Raw, post, request, with_header, with_method};
use switchyard_integration::fixtures::hello;
use switchyard_integration::upload::Upload;
use switchyard_integration::upload::archive::{self, Tar};
use switchyard_integration::usage::raise_descriptors;
use switchyard_integration::volume::Volume;
use tempfile::NamedTempFile;

/// The events that the API reads at once, and its connections in all.
const UNPROVEN: usize = 120;
const CONNECTIONS: usize = 1024;

const TOKEN: &str = "ci-token-0123456789";

async fn start() -> (Volume, Replicas, Bridge) {
    let volume = Volume::with("a", hello("one"));
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    (volume, routers, bridge)
}

/// One request to each endpoint.
fn everything() -> Vec<http::Request<Body>> {
    let gets = [
        "/projects",
        "/projects/a",
        "/projects/a/versions",
        "/projects/a/logs",
        "/deploys",
        "/deploys/none",
        "/metrics",
        "/openapi.json",
        "/projects/a/status",
        "/events",
        "/whoami",
        "/stream?topics=projects",
        "/ui/",
        "/ui/main.js",
        "/",
        "/nowhere",
    ];
    let mut all: Vec<_> = gets.map(request).into();
    all.push(Upload::main(hello("two")).to("/deploy/a"));
    all.push(Upload::curl(&[("a/main.ts", hello("two"))]).to("/deploy"));
    all.push(with_method(Method::POST, "/projects/a/rollback"));
    all.push(with_method(Method::DELETE, "/projects/a"));
    all
}

#[tokio::test]
async fn a_rebound_name_and_a_page_of_another_site_read_and_do_nothing() {
    let (volume, _routers, bridge) = start().await;
    let tree = Tree::of_projects(volume.root());
    for (name, value, slug) in [
        ("host", "evil.example", "foreign-host"),
        ("host", "a.localhost:9000", "foreign-host"),
        ("origin", "https://evil.example", "foreign-origin"),
        ("origin", "null", "foreign-origin"),
        ("origin", "http://127.0.0.1:8000", "foreign-origin"),
        ("sec-fetch-site", "cross-site", "foreign-origin"),
        ("sec-fetch-site", "same-site", "foreign-origin"),
    ] {
        for request in everything() {
            let what = format!("{} {} with {name}: {value}", request.method(), request.uri());
            let refused = bridge.client.send(with_header(request, name, value)).await;
            assert_eq!(refused.status, 403, "{what}: {}", refused.text());
            refused.assert_problem(403, slug);
        }
    }
    // A page after DNS rebinding sends its own name in both headers.
    let rebound = with_header(Upload::main(hello("two")).to("/deploy/a"), "host", "evil.example:9000");
    let rebound = with_header(rebound, "origin", "http://evil.example:9000");
    bridge.client.send(rebound).await.assert_problem(403, "foreign-host");
    bridge.clean().await;
    assert_eq!(Tree::of_projects(volume.root()), tree);
    for path in ["/healthz", "/readyz"] {
        let probe = with_header(request(path), "host", "bridge.switchyard.svc");
        assert_eq!(bridge.client.send(probe).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_public_host_and_a_token_open_the_api_under_other_names() {
    let volume = Volume::with("a", hello("one"));
    let routers = Replicas::start(&volume, 1).await;
    let named = routers.bridge().flag("public-host", "deploy.example.com").start().await;
    let upload = || with_header(Upload::main(hello("two")).to("/deploy/a"), "host", "deploy.example.com");
    Record::of(&named.client.send(with_header(upload(), "origin", "https://deploy.example.com")).await);
    let other = with_header(upload(), "origin", "https://deploy.example.com:8443");
    named.client.send(other).await.assert_problem(403, "foreign-origin");
    named.stop().await;

    let tokens = NamedTempFile::new().expect("a temporary file can be made");
    let text =
        format!("[[token]]\nname = \"ci\"\ntoken = \"{TOKEN}\"\nprojects = [\"*\"]\nactions = [\"*\"]\n");
    std::fs::write(tokens.path(), text).expect("a file can be written");
    let known = routers.bridge().flag("token-file", tokens.path().display()).start().await;
    let call = with_header(get_as("/projects", TOKEN), "host", "bridge.switchyard.svc:9000");
    assert_eq!(known.client.send(call).await.status, 200);
    let page = with_header(with_token(upload(), TOKEN), "sec-fetch-site", "cross-site");
    known.client.send(page).await.assert_problem(403, "foreign-origin");
}

#[tokio::test]
async fn routers_post_events_under_any_name_and_as_json() {
    let (_volume, routers, bridge) = start().await;
    let mut events = routers[0].events().await;
    let event = events.wait_live("a").await;
    let post_as =
        |id: &str| with_header(signed::event(&event, id, SECRET, signed::now()), "host", "bridge:9000");
    assert_eq!(bridge.client.send(post_as("evt_1")).await.status, 204);
    let text = with_header(post_as("evt_2"), "content-type", "text/plain");
    bridge.client.send(text).await.assert_problem(415, "unsupported-media-type");
}

#[tokio::test]
async fn events_that_do_not_come_leave_room_for_deploys_and_silent_connections_for_all() {
    raise_descriptors();
    let (_volume, routers, bridge) = start().await;
    let mut live = routers[0].events().await;
    let event = live.wait_live("a").await;
    let mut holding: Vec<Raw> = Vec::new();
    // One client has half of the room.
    for _ in 0..UNPROVEN / 2 {
        let mut raw = bridge.client.open().await;
        let head = "POST /events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
        raw.send(format!("{head}Content-Length: 9\r\nExpect: 100-continue\r\n\r\n")).await;
        raw.until("100 Continue").await;
        holding.push(raw);
    }
    let refused = bridge.client.send(signed::event(&event, "evt_1", SECRET, signed::now())).await;
    refused.assert_problem(503, "busy");
    assert_eq!(refused.header("retry-after"), Some("1"));
    bridge.deploy_live("a", &Upload::main(hello("two"))).await;
    for _ in 0..CONNECTIONS {
        holding.push(bridge.client.open().await);
    }
    for path in ["/healthz", "/readyz", "/metrics", "/projects"] {
        assert_eq!(bridge.client.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn an_archive_is_a_body_of_its_own_by_its_type_or_as_bytes() {
    let (_volume, routers, bridge) = start().await;
    let tar = |label: &str| Tar::new().file("main.ts", hello(label)).end();
    let upload =
        |body: Vec<u8>, kind: &'static str| with_header(post("/deploy/a", body), "content-type", kind);
    for (body, kind, label) in [
        (tar("tar"), "application/x-tar", "tar"),
        (archive::gzip(tar("gzip")), "application/gzip", "gzip"),
        (archive::zstd(tar("zstd")), "application/zstd", "zstd"),
        (archive::zip(&[("main.ts", hello("zip"))]), "application/zip", "zip"),
        (tar("bytes"), "application/octet-stream", "bytes"),
        (archive::gzip(tar("more bytes")), "application/octet-stream", "more bytes"),
    ] {
        let answer = bridge.client.send(upload(body, kind)).await;
        assert_eq!(answer.status, 200, "{label}: {}", answer.text());
        assert_eq!(routers.texts("/a/").await, [label]);
    }
    // The content type of a plain `curl --data-binary @project.tar`.
    let form = upload(tar("form"), "application/x-www-form-urlencoded");
    bridge.client.send(form).await.assert_problem(415, "unsupported-media-type");
    let text = with_header(post("/projects/a/rollback", "x"), "content-type", "text/plain");
    bridge.client.send(text).await.assert_problem(415, "unsupported-media-type");
    assert_eq!(routers.texts("/a/").await, ["more bytes"]);
}
