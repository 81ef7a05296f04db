//! Trusted proxies, with trusted forwarding headers.

use switchyard_integration::client::{request, with_header};
use switchyard_integration::fixtures::ECHO;
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;

#[tokio::test]
async fn headers_of_a_trusted_proxy_are_passed_on() {
    let volume = Volume::with("a", ECHO);
    let router = Router::builder(&volume).flag("trusted-proxy", "10.0.0.0/8,127.0.0.1").start().await;
    let mut echo = request("/a/x");
    for (name, value) in [
        ("x-forwarded-for", "6.6.6.6, 203.0.113.7, 10.1.2.3"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "www.example.com"),
        ("x-forwarded-prefix", "/evil"),
    ] {
        echo = with_header(echo, name, value);
    }
    let seen = router.public.send(echo).await.json();
    let headers = &seen["headers"];
    assert_eq!(headers["x-forwarded-for"], "6.6.6.6, 203.0.113.7, 10.1.2.3, 127.0.0.1");
    assert_eq!(headers["x-forwarded-proto"], "https");
    assert_eq!(headers["x-forwarded-host"], "www.example.com");
    assert_eq!(headers["x-forwarded-prefix"], "/a", "the router removed it, and no client can set it");
    assert_eq!(headers["host"], router.public.address.to_string());
    assert_eq!(seen["address"], "203.0.113.7", "the last address that is not a trusted proxy");
}

#[tokio::test]
async fn other_proxies_are_not_trusted_even_if_one_is() {
    let volume = Volume::with("a", ECHO);
    let router = Router::builder(&volume).flag("trusted-proxy", "10.0.0.0/8").start().await;
    let echo = with_header(request("/a/"), "x-forwarded-for", "6.6.6.6");
    let seen = router.public.send(echo).await.json();
    assert_eq!(seen["headers"]["x-forwarded-for"], "127.0.0.1");
    assert_eq!(seen["address"], "127.0.0.1");
}

#[tokio::test]
async fn an_invalid_network_is_refused_at_start() {
    let volume = Volume::new();
    let ended = Router::builder(&volume).flag("trusted-proxy", "everybody").run_to_end().await;
    assert_eq!(ended.status.code(), Some(64));
    assert!(
        ended.log.text().contains("--trusted-proxy: invalid network \"everybody\""),
        "{}",
        ended.log.text()
    );
}
