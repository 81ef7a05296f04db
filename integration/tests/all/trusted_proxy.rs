//! Trusted proxies: whose forwarding headers are believed.

use switchyard_integration::client::{request, with_header};
use switchyard_integration::fixtures::ECHO;
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;

#[tokio::test]
async fn what_a_trusted_proxy_says_is_carried_on() {
    let volume = Volume::with("a", ECHO);
    let router = Router::builder(&volume).flag("trusted-proxy", "10.0.0.0/8,127.0.0.1").start().await;
    let mut asked = request("/a/x");
    for (name, value) in [
        ("x-forwarded-for", "6.6.6.6, 203.0.113.7, 10.1.2.3"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "www.example.com"),
        ("x-forwarded-prefix", "/evil"),
    ] {
        asked = with_header(asked, name, value);
    }
    let seen = router.public.send(asked).await.json();
    let headers = &seen["headers"];
    assert_eq!(headers["x-forwarded-for"], "6.6.6.6, 203.0.113.7, 10.1.2.3, 127.0.0.1");
    assert_eq!(headers["x-forwarded-proto"], "https");
    assert_eq!(headers["x-forwarded-host"], "www.example.com");
    assert_eq!(headers["x-forwarded-prefix"], "/a", "the router took it off, and nobody else says so");
    assert_eq!(headers["host"], router.public.address.to_string());
    assert_eq!(seen["address"], "203.0.113.7", "the last that is no trusted proxy");
}

#[tokio::test]
async fn others_are_not_believed_though_somebody_is() {
    let volume = Volume::with("a", ECHO);
    let router = Router::builder(&volume).flag("trusted-proxy", "10.0.0.0/8").start().await;
    let asked = with_header(request("/a/"), "x-forwarded-for", "6.6.6.6");
    let seen = router.public.send(asked).await.json();
    assert_eq!(seen["headers"]["x-forwarded-for"], "127.0.0.1");
    assert_eq!(seen["address"], "127.0.0.1");
}

#[tokio::test]
async fn a_network_that_is_none_is_refused_at_start() {
    let volume = Volume::new();
    let ended = Router::builder(&volume).flag("trusted-proxy", "everybody").run_to_end().await;
    assert_eq!(ended.status.code(), Some(64));
    assert!(
        ended.log.text().contains("--trusted-proxy: invalid network \"everybody\""),
        "{}",
        ended.log.text()
    );
}
