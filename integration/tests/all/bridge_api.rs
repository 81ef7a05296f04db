//! The bridge's API: accepted requests, and answers to others.

use http::Method;
use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::bridge::tree::Tree;
use switchyard_integration::client::{with_header, with_method};
use switchyard_integration::eventually;
use switchyard_integration::fixtures::hello;
use switchyard_integration::upload::Upload;
use switchyard_integration::volume::Volume;

#[tokio::test]
async fn a_browsers_form_is_taken_from_the_bridges_own_pages_only() {
    let volume = Volume::with("a", hello("one"));
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    let form = |origin: &str| {
        with_header(Upload::browser("a", &[("main.ts", hello("two"))]).to("/deploy/a"), "origin", origin)
    };
    let tree = Tree::of_projects(volume.root());
    let host = bridge.client.address;
    for origin in
        ["https://elsewhere.test", "null", &format!("http://elsewhere.test/{host}"), "http://127.0.0.1"]
    {
        bridge.client.send(form(origin)).await.assert_problem(403, "foreign-origin");
        let removal = with_header(with_method(Method::DELETE, "/projects/a"), "origin", origin);
        bridge.client.send(removal).await.assert_problem(403, "foreign-origin");
    }
    bridge.clean().await;
    assert_eq!(Tree::of_projects(volume.root()), tree);
    let own = bridge.client.send(form(&format!("http://{host}"))).await;
    assert_eq!(own.status, 200, "{}", own.text());
    assert_eq!(routers.texts("/a/").await, ["two"]);
}

#[tokio::test]
async fn a_wrong_method_is_answered_with_the_allowed_ones() {
    let volume = Volume::with("a", hello("one"));
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    for (method, path, right) in [
        (Method::GET, "/deploy", "POST"),
        (Method::GET, "/deploy/a", "POST"),
        (Method::PUT, "/deploy/a", "POST"),
        (Method::POST, "/deploys", "GET"),
        (Method::DELETE, "/deploys/1", "GET"),
        (Method::POST, "/projects", "GET"),
        (Method::POST, "/projects/a", "GET or DELETE"),
        (Method::POST, "/projects/a/versions", "GET"),
        (Method::GET, "/projects/a/rollback", "POST"),
        (Method::POST, "/projects/a/logs", "GET"),
        (Method::PUT, "/events", "POST or GET"),
        (Method::POST, "/", "GET"),
        (Method::POST, "/healthz", "GET"),
        (Method::POST, "/readyz", "GET"),
        (Method::POST, "/metrics", "GET"),
    ] {
        let reply = bridge.client.send(with_method(method.clone(), path)).await;
        let problem = reply.assert_problem(405, "method-not-allowed");
        assert_eq!(problem["detail"], format!("use {right}"), "{method} {path}");
        let allow = right.replace(" or ", ", ");
        assert_eq!(reply.header("allow"), Some(allow.as_str()), "{method} {path}");
    }
}

#[tokio::test]
async fn a_missing_path_is_not_found_with_any_method() {
    let volume = Volume::with("a", hello("one"));
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    for path in ["/nowhere", "/deploy/a/b", "/projects/a/nothing", "/deploys/1/2", "/metrics/", "//deploys"] {
        for method in [Method::GET, Method::POST, Method::DELETE] {
            let reply = bridge.client.send(with_method(method, path)).await;
            assert_eq!(reply.status, 404, "{path}: {}", reply.text());
            reply.assert_problem(404, "unknown-path");
        }
    }
}

#[tokio::test]
async fn an_upload_that_does_not_say_how_long_it_is_has_the_same_limit() {
    let volume = Volume::with("a", hello("one"));
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.bridge().flag("max-upload", 20_000).start().await;
    let tree = Tree::of_projects(volume.root());
    let chunked = |size: usize| {
        let upload = Upload::curl(&[("x.txt", "x".repeat(size)), ("main.ts", hello("two"))]);
        with_header(upload.to("/deploy/a"), "transfer-encoding", "chunked")
    };
    // The last one is far larger than what lies in the connection's buffers.
    for size in [20_001, 100_000, 4_000_000] {
        let problem = bridge.client.send(chunked(size)).await.assert_problem(413, "upload-too-large");
        assert!(
            problem["detail"].as_str().is_some_and(|detail| detail.contains("--max-upload")),
            "{problem}"
        );
    }
    bridge.clean().await;
    assert_eq!(Tree::of_projects(volume.root()), tree);
    let allowed = bridge.client.send(chunked(10_000)).await;
    assert_eq!(allowed.status, 200, "{}", allowed.text());
}

#[tokio::test]
async fn metrics_cover_deploys_routers_and_forwarded_requests() {
    let volume = Volume::new();
    let mut routers = Replicas::start(&volume, 2).await;
    let bridge = routers.start_bridge().await;
    bridge.deploy_live("a", &Upload::main(hello("one"))).await;
    bridge.deploy("a", &Upload::main("export default {")).await.assert_problem(422, "build-failed");
    for _ in 0..3 {
        assert_eq!(bridge.forward.get("/a/").await.status, 200);
    }
    let metrics_page = async || {
        let page = bridge.client.get("/metrics").await;
        assert_eq!(page.status, 200, "{}", page.text());
        page.text()
    };
    let value = |page: &str, series: &str| -> f64 {
        let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series} in {page}")).parse().expect("a number")
    };
    let page = metrics_page().await;
    for (outcome, count) in [("live", 1.0), ("failed", 1.0)] {
        let series = format!("switchyard_bridge_deploys_total{{action=\"deploy\",outcome=\"{outcome}\"}}");
        assert_eq!(value(&page, &series), count, "{page}");
    }
    assert_eq!(value(&page, "switchyard_bridge_deploy_seconds_count"), 2.0);
    let forwarded = |index: usize| {
        let router = routers.admin_url(index);
        format!("switchyard_bridge_forwarded_requests_total{{router=\"{router}\",status=\"2xx\"}}")
    };
    assert_eq!(value(&page, &forwarded(0)) + value(&page, &forwarded(1)), 3.0, "{page}");

    let ready = [0, 1]
        .map(|index| format!("switchyard_bridge_router_ready{{router=\"{}\"}}", routers.admin_url(index)));
    assert_eq!(ready.each_ref().map(|series| value(&page, series)), [1.0, 1.0]);
    routers.kill(1).await;
    eventually("the killed router is not ready", || async { value(&metrics_page().await, &ready[1]) == 0.0 })
        .await;
    assert_eq!(value(&metrics_page().await, &ready[0]), 1.0);
}

#[tokio::test]
async fn a_parameter_that_is_not_known_is_refused_and_does_nothing() {
    let volume = Volume::with("a", hello("one"));
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    let upload = || Upload::main(hello("two"));
    for (request, says) in [
        (upload().to("/deploy/a?wiat=0"), "did you mean \"wait\"?"),
        (upload().to("/deploy/a?wait=maybe"), "invalid wait \"maybe\": expected 0 or 1"),
        (with_method(Method::DELETE, "/projects/a?data=some"), "expected keep or delete"),
        (with_method(Method::POST, "/projects/a/rollback?version=1"), "unknown query parameter \"version\""),
        (with_method(Method::GET, "/projects/a/logs?lines=many"), "invalid lines \"many\""),
        (with_method(Method::GET, "/deploys?x=1"), "no parameter is taken here"),
    ] {
        let path = request.uri().to_string();
        let problem = bridge.client.send(request).await.assert_problem(400, "bad-request");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(says)), "{path}: {problem}");
    }
    bridge.clean().await;
    assert_eq!(routers.texts("/a/").await, ["one"]);
    // More lines than a router keeps are all that it keeps.
    assert_eq!(bridge.client.get("/projects/a/logs?lines=5000").await.status, 200);
}

#[tokio::test]
async fn the_openapi_document_describes_the_endpoints() {
    let volume = Volume::with("a", hello("one"));
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    let reply = bridge.client.get("/openapi.json").await;
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")));
    let document: serde_json::Value = serde_json::from_slice(&reply.body).expect("it is JSON");
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["paths"]["/deploy/{project}"]["post"]["requestBody"].is_object(), "{document}");
    assert!(document["components"]["schemas"]["DeployRecord"].is_object(), "{document}");
}
