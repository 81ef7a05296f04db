//! Forwarding: the data between client and project, and the headers about the client.

use http::{Method, StatusCode};
use serde_json::json;
use switchyard_integration::client::{post, request, with_header, with_method};
use switchyard_integration::fixtures::{ECHO, lasting};
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;

#[tokio::test]
async fn the_clients_address_is_set_by_the_router_and_cannot_be_forged() {
    let volume = Volume::with("a", ECHO);
    let router = Router::start(&volume).await;
    let mut forged = request("/a/");
    for (name, value) in [
        ("x-forwarded-for", "6.6.6.6"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-prefix", "/evil"),
        ("forwarded", "for=6.6.6.6"),
        ("x-real-ip", "6.6.6.6"),
        ("x-deno-client-address", "6.6.6.6:6"),
    ] {
        forged = with_header(forged, name, value);
    }
    let reply = router.public.send(forged).await;
    let echo = reply.json();
    assert_eq!(echo["headers"]["x-forwarded-for"], "127.0.0.1");
    assert_eq!(echo["headers"]["x-forwarded-proto"], "http");
    assert_eq!(echo["headers"]["x-forwarded-host"], router.public.address.to_string());
    assert_eq!(echo["headers"]["x-forwarded-prefix"], "/a");
    assert_eq!(echo["address"], "127.0.0.1");
    assert!(!reply.text().contains("6.6.6.6") && !reply.text().contains("evil"), "{}", reply.text());
}

#[tokio::test]
async fn hop_by_hop_headers_are_dropped_and_others_pass() {
    let volume = Volume::with("a", ECHO);
    let router = Router::start(&volume).await;
    let mut request = request("/a/");
    for (name, value) in [
        ("connection", "keep-alive, x-hop"),
        ("x-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("te", "trailers"),
        ("proxy-connection", "keep-alive"),
        ("proxy-authorization", "Basic eDp5"),
        ("cookie", "a=1; b=2"),
        ("authorization", "Bearer x"),
        ("x-end", "1"),
    ] {
        request = with_header(request, name, value);
    }
    let echo = router.public.send(request).await.json();
    for dropped in ["x-hop", "keep-alive", "te", "proxy-connection", "proxy-authorization"] {
        assert_eq!(echo["headers"][dropped], json!(null), "{dropped}");
    }
    for (name, value) in [("cookie", "a=1; b=2"), ("authorization", "Bearer x"), ("x-end", "1")] {
        assert_eq!(echo["headers"][name], value);
    }
}

#[tokio::test]
async fn status_headers_and_several_cookies_come_back_as_the_project_set_them() {
    let main = r#"
        const headers = new Headers({ "x-own": "yes", "x-switchyard-version": "forged" });
        headers.append("set-cookie", "a=1");
        headers.append("set-cookie", "b=2");
        export default { fetch: () => new Response(null, { status: 418, headers }) };
    "#;
    let volume = Volume::with("a", main);
    let router = Router::start(&volume).await;
    let reply = router.public.get("/a/").await;
    assert_eq!((reply.status, reply.header("x-own")), (StatusCode::IM_A_TEAPOT.as_u16(), Some("yes")));
    assert_eq!(reply.headers.get_all("set-cookie").iter().collect::<Vec<_>>(), ["a=1", "b=2"]);
    assert_eq!(reply.headers.get_all("x-switchyard-version").iter().count(), 1);
    assert!(reply.version().is_some_and(|version| version.starts_with("a@")));
}

#[tokio::test]
async fn every_method_passes() {
    let volume = Volume::with("a", ECHO);
    let router = Router::start(&volume).await;
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"] {
        let method: Method = method.parse().unwrap();
        let reply = router.public.send(with_method(method.clone(), "/a/")).await;
        assert_eq!(reply.json()["method"], method.as_str());
    }
    let head = router.public.send(with_method(Method::HEAD, "/a/")).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[tokio::test]
async fn a_connection_is_kept_for_many_requests() {
    let volume = Volume::with("a", lasting("one"));
    let router = Router::start(&volume).await;
    let mut connection = router.public.connect().await;
    for _ in 0..50 {
        assert_eq!(connection.get("/a/").await.text(), "one");
        assert_eq!(connection.send(post("/a/echo", "x")).await.text(), "one x");
    }
}

#[tokio::test]
async fn http_1_0_and_pipelined_requests_are_answered() {
    let volume = Volume::with("a", lasting("one"));
    let router = Router::start(&volume).await;
    let old = router.public.raw("GET /a/ HTTP/1.0\r\nHost: x\r\n\r\n").await;
    assert!(old.starts_with("HTTP/1.0 200") || old.starts_with("HTTP/1.1 200"), "{old}");
    assert!(old.ends_with("one"), "{old}");
    let get = "GET /a/ HTTP/1.1\r\nHost: x\r\n";
    let both = router.public.raw(format!("{get}\r\n{get}Connection: close\r\n\r\n")).await;
    assert_eq!(both.matches("HTTP/1.1 200 OK").count(), 2, "{both}");
}

#[tokio::test]
async fn http_2_without_tls_carries_many_requests_side_by_side() {
    let volume = Volume::with("a", lasting("one"));
    let router = Router::start(&volume).await;
    let mut first = router.public.connect_h2c().await;
    assert_eq!(first.get("/a/").await.text(), "one");
    let requests = (0..20).map(|index| {
        let mut shared = first.share().unwrap();
        tokio::spawn(async move { shared.send(post("/a/echo", index.to_string())).await.text() })
    });
    for (index, reply) in requests.collect::<Vec<_>>().into_iter().enumerate() {
        assert_eq!(reply.await.unwrap(), format!("one {index}"));
    }
}
