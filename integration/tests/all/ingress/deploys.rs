//! Deploys that come through the ingress.

use std::path::Path;

use http::Request;
use switchyard_integration::bridge::phases::Phases;
use switchyard_integration::bridge::record::Record;
use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::bridge::{Bridge, with_token};
use switchyard_integration::client::{Body, post, request, with_header};
use switchyard_integration::eventually;
use switchyard_integration::fixtures::hello;
use switchyard_integration::ingress::{Behind, Ingress, Kind};
use switchyard_integration::router::Builder;
use switchyard_integration::upload::Upload;
use switchyard_integration::upload::wire::Wire;
use switchyard_integration::volume::Volume;
use tempfile::NamedTempFile;

use super::raw::{gate, open};
use switchyard_contract::deploy::DeployOutcome;

const HOST: &str = "deploy.example.com";
const TOKEN: &str = "ci-token-0123456789";

/// Two routers that trust the ingress.
async fn replicas(volume: &Volume) -> Replicas {
    // A project may connect to the test's own server.
    volume.write("_policy/policy.toml", "[defaults.permissions]\nprivate_net = [\"127.0.0.1\"]\n");
    let policy = volume.path("_policy/policy.toml");
    let flags = |router: Builder| router.flag("trusted-proxy", "127.0.0.1").flag("policy", policy.display());
    Replicas::start_each(volume.root(), 2, |_, router| flags(router)).await
}

/// The whole of `examples/ingress`.
async fn ingress(kind: Kind, routers: &Replicas, bridge: &Bridge) -> Ingress {
    let routers = [routers[0].public.address, routers[1].public.address];
    Ingress::start(kind, &Behind { routers, bridge: Some(bridge.client.address) }).await
}

fn tokens() -> NamedTempFile {
    let file = NamedTempFile::new().expect("a temporary file can be made");
    let text =
        format!("[[token]]\nname = \"ci\"\ntoken = \"{TOKEN}\"\nprojects = [\"*\"]\nactions = [\"*\"]\n");
    std::fs::write(file.path(), text).expect("a file can be written");
    file
}

fn to_bridge(request: Request<Body>) -> Request<Body> {
    with_header(request, "host", HOST)
}

#[tokio::test]
async fn projects_deployed_through_the_ingress_are_served_through_it() {
    let tokens = tokens();
    for kind in Kind::installed() {
        let volume = Volume::new();
        let routers = replicas(&volume).await;
        let bridge = routers.bridge().flag("token-file", tokens.path().display()).start().await;
        let ingress = ingress(kind, &routers, &bridge).await;
        let upload = || to_bridge(Upload::browser("blog", &[("main.ts", hello("one"))]).to("/deploy/blog"));

        let nobodys = ingress.public.send(upload()).await;
        nobodys.assert_problem(401, "unauthorized");
        let others = with_header(with_token(upload(), TOKEN), "origin", "http://elsewhere.test");
        ingress.public.send(others).await.assert_problem(403, "foreign-origin");

        // A form on the bridge's own host sends this in a browser.
        let own = with_header(with_token(upload(), TOKEN), "origin", &format!("http://{HOST}"));
        let record = Record::of(&ingress.public.send(own).await);
        assert_eq!(
            (record.outcome, record.by.as_deref()),
            (Some(DeployOutcome::Live), Some("ci")),
            "{kind:?}"
        );
        for _ in 0..2 {
            let served = ingress.public.send(with_header(request("/"), "host", "blog.example.com")).await;
            assert_eq!(
                (served.text().as_str(), served.version()),
                ("one", Some(record.version())),
                "{kind:?}"
            );
        }
        let again = format!("/deploys/{}", record.deploy);
        let again = ingress.public.send(to_bridge(with_token(request(&again), TOKEN))).await;
        assert_eq!(Record::of(&again).deploy, record.deploy, "{kind:?}");
    }
}

#[tokio::test]
async fn paths_for_routers_and_operators_are_not_reachable_from_outside() {
    let tokens = tokens();
    let volume = Volume::new();
    let routers = replicas(&volume).await;
    let bridge = routers.bridge().flag("token-file", tokens.path().display()).start().await;
    for kind in Kind::installed() {
        let ingress = ingress(kind, &routers, &bridge).await;
        for path in [
            "/metrics",
            "/events",
            "/healthz",
            "/readyz",
            "/deploy/../metrics",
            "/projects/%2e%2e/metrics",
            "//metrics",
        ] {
            for call in [request(path), post(path, "{}")] {
                let method = call.method().clone();
                let reply = ingress.public.send(to_bridge(with_token(call, TOKEN))).await;
                assert!(
                    matches!(reply.status, 400 | 404 | 405),
                    "{kind:?} {method} {path}: {}",
                    reply.text()
                );
                assert!(!reply.text().contains("switchyard_bridge_"), "{kind:?} {method} {path}");
            }
        }
    }
    let page = bridge.client.send(with_token(request("/metrics"), TOKEN)).await;
    assert_eq!(page.status, 200);
    assert!(!page.text().contains("outcome=\"refused\""), "an event came through: {}", page.text());
}

#[tokio::test]
async fn a_large_upload_reaches_the_bridge_while_it_is_being_sent() {
    const LARGE: usize = 20_000_000;
    let large = "x".repeat(LARGE);
    for kind in Kind::installed() {
        let volume = Volume::new();
        let routers = replicas(&volume).await;
        let bridge = known_as_host(&routers).await;
        let ingress = ingress(kind, &routers, &bridge).await;
        let upload = Upload::curl(&[("large.txt", large.as_str()), ("main.ts", &hello("one"))]);
        let mut wire = Wire::open_by_name(&ingress.public, HOST, "/deploy/a", &upload).await;
        wire.send_until(LARGE / 2).await;
        let received = async || bridge.staged().iter().map(|path| size(path)).sum::<u64>();
        eventually("most of the upload is on the volume", || async { received().await > 9_000_000 }).await;
        let answer = wire.finish().await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{kind:?}: {answer}");
        assert_eq!(size(&volume.path("a/large.txt")), LARGE as u64, "{kind:?}");
        assert_eq!(routers.texts("/a/").await, ["one", "one"], "{kind:?}");
    }
}

#[tokio::test]
async fn phases_are_streamed_through_the_ingress_during_the_deploy() {
    for kind in Kind::installed() {
        let volume = Volume::new();
        let routers = replicas(&volume).await;
        let bridge = known_as_host(&routers).await;
        let ingress = ingress(kind, &routers, &bridge).await;
        // No router has built it before the gate is open.
        let (gate, address) = gate().await;
        let upload = Upload::main(format!("await fetch('http://{address}/');\n{}", hello("one")));
        let call = with_header(to_bridge(upload.to("/deploy/a")), "accept", "text/event-stream");
        let mut phases = Phases::begin(&ingress.public, call).await;
        phases.until("build").await;
        assert_eq!(phases.seen.last().map(String::as_str), Some("build"), "{kind:?}: {:?}", phases.seen);
        open(gate);
        let (status, record) = phases.done().await;
        assert_eq!((status, &record["outcome"]), (200, &"live".into()), "{kind:?}: {record}");
    }
}

/// A bridge without tokens behind an ingress that passes on the Host header.
async fn known_as_host(routers: &Replicas) -> Bridge {
    let bridge = routers.bridge().flag("public-host", HOST).start().await;
    bridge.asks_all().await;
    bridge
}

/// Bytes in a file, or in all files of a folder.
fn size(path: &Path) -> u64 {
    match std::fs::read_dir(path) {
        Ok(entries) => entries.filter_map(|entry| Some(size(&entry.ok()?.path()))).sum(),
        // Data that has been forwarded meanwhile does not count here.
        Err(_) => path.metadata().map_or(0, |metadata| metadata.len()),
    }
}
