//! Refusals: an invalid deploy is refused as a whole, with a named reason, and changes nothing.

use switchyard_integration::bridge::Bridge;
use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::bridge::tree::Tree;
use switchyard_integration::client::{self, post, with_header, with_method};
use switchyard_integration::eventually;
use switchyard_integration::fixtures::{hello, slow};
use switchyard_integration::probe::Probe;
use switchyard_integration::upload::wire::Wire;
use switchyard_integration::upload::{Part, Upload, archive};
use switchyard_integration::volume::Volume;

/// A volume with `a`, one router, and a bridge with small limits.
async fn small() -> (Volume, Replicas, Bridge) {
    let volume = Volume::with("a", hello("one"));
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.bridge();
    let bridge = [
        ("max-upload", 20_000),
        ("max-size", 10_000),
        ("max-files", 5),
        ("max-depth", 3),
        ("max-name", 20),
        ("max-part-headers", 1000),
        ("max-boundary", 40),
    ]
    .into_iter()
    .fold(bridge, |bridge, (flag, limit)| bridge.flag(flag, limit))
    .start()
    .await;
    (volume, routers, bridge)
}

async fn unchanged(volume: &Volume, bridge: &Bridge, tree: &Tree) {
    bridge.clean().await;
    assert_eq!(Tree::of_projects(volume.root()), *tree);
}

#[tokio::test]
async fn limits_are_reported_with_their_value_and_flag() {
    let (volume, routers, bridge) = small().await;
    let (tree, probe) = (Tree::of_projects(volume.root()), Probe::start(&routers[0].public, "/a/").await);
    let many: Vec<_> = (0..6).map(|index| format!("{index}.txt")).collect();
    let many: Vec<_> = many.iter().map(|path| (path.as_str(), "")).collect();
    let large = [("main.ts", "x".repeat(10_001))];
    for (flag, limit, upload) in [
        ("max-upload", "20000", Upload::curl(&[("main.ts", "x".repeat(20_001))])),
        ("max-size", "10000", Upload::curl(&large)),
        ("max-size", "10000", Upload::archive("a.tar", archive::tar(&large))),
        ("max-size", "10000", Upload::archive("a.tar.gz", archive::gzip(archive::tar(&large)))),
        ("max-size", "10000", Upload::archive("a.tar.zst", archive::zstd(archive::tar(&large)))),
        ("max-size", "10000", Upload::archive("a.zip", archive::zip(&large))),
        ("max-files", "5", Upload::curl(&many)),
        ("max-files", "5", Upload::archive("a.zip", archive::zip(&many))),
    ] {
        let problem = bridge.deploy("a", &upload).await.assert_problem(413, "upload-too-large").to_string();
        assert!(problem.contains(flag) && problem.contains(limit), "{flag}: {problem}");
    }
    unchanged(&volume, &bridge, &tree).await;
    probe.finish().await.no_failures().versions_monotonic(&["one"]);
}

#[tokio::test]
async fn limits_of_names_and_heads_are_reported_too() {
    let (volume, _routers, bridge) = small().await;
    let tree = Tree::of_projects(volume.root());
    let long_head = format!("x-note: {}", "x".repeat(1000));
    let disposition = "Content-Disposition: form-data; name=\"file\"; filename=\"main.ts\"";
    for (what, upload) in [
        ("max-depth", Upload::curl(&[("main.ts", ""), ("1/2/3/4/5/6/7.txt", "")])),
        ("max-name", Upload::curl(&[("main.ts", ""), ("0123456789-0123456789", "")])),
        ("max-part-headers", Upload::raw("x", &[Part::raw(&[disposition, long_head.as_str()], "")])),
        ("max-boundary", Upload::raw(&"x".repeat(41), &[Part::file("main.ts", "")])),
    ] {
        let reply = bridge.deploy("a", &upload).await;
        assert!(matches!(reply.status, 400 | 413), "{what}: {} {}", reply.status, reply.text());
        let problem = reply.json().to_string();
        assert!(problem.contains(what), "{what}: {problem}");
    }
    unchanged(&volume, &bridge, &tree).await;
}

#[tokio::test]
async fn a_bomb_is_refused_before_it_is_unpacked() {
    let volume = Volume::with("a", hello("one"));
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.bridge().flag("max-size", 1_000_000).start().await;
    let tree = Tree::of_projects(volume.root());
    let zeros = vec![0_u8; 100_000_000];
    let bomb = [("main.ts", zeros.as_slice())];
    for (filename, content) in [
        ("a.tar.gz", archive::gzip(archive::tar(&bomb))),
        ("a.tar.zst", archive::zstd(archive::tar(&bomb))),
        ("a.zip", archive::zip(&bomb)),
    ] {
        let reply = bridge.deploy("a", &Upload::archive(filename, content)).await;
        reply.assert_problem(413, "upload-too-large");
    }
    unchanged(&volume, &bridge, &tree).await;
}

#[tokio::test]
async fn a_body_that_is_not_a_form_is_refused() {
    let (volume, _routers, bridge) = small().await;
    let tree = Tree::of_projects(volume.root());
    for content_type in ["application/json", "text/plain", "application/x-www-form-urlencoded"] {
        let request = with_header(post("/deploy/a", "{}"), "content-type", content_type);
        let problem = bridge.client.send(request).await.assert_problem(415, "unsupported-media-type");
        let detail = problem["detail"].as_str().unwrap_or_default();
        for works in ["curl -X POST -F 'file=@", "-H 'content-type: application/x-tar' --data-binary @"] {
            assert!(detail.contains(works), "{detail}");
        }
        assert!(detail.contains(&format!("http://{}/deploy/a", bridge.client.address)), "{detail}");
    }
    for body in ["", "{}", "no archive at all"] {
        let request = with_header(post("/deploy/a", body), "content-type", "application/x-tar");
        bridge.client.send(request).await.assert_problem(400, "bad-upload");
    }
    bridge.client.send(post("/deploy/a", "{}")).await.assert_problem(415, "unsupported-media-type");
    let whole = Upload::main(hello("two"));
    let cut = &whole.body()[..whole.body().len() - 10];
    for (content_type, body) in [
        ("multipart/form-data", whole.body()),
        ("multipart/form-data; boundary=other", whole.body()),
        (whole.content_type().as_str(), cut),
        (whole.content_type().as_str(), b"".as_slice()),
    ] {
        let request = with_header(post("/deploy/a", body.to_vec()), "content-type", content_type);
        bridge.client.send(request).await.assert_problem(400, "bad-upload");
    }
    unchanged(&volume, &bridge, &tree).await;
}

#[tokio::test]
async fn parts_that_cannot_be_files_are_refused_by_name() {
    let (volume, _routers, bridge) = small().await;
    let tree = Tree::of_projects(volume.root());
    let main = Part::file("main.ts", hello("two"));
    for (what, upload) in [
        ("no part", Upload::raw("x", &[])),
        ("only a message", Upload::raw("x", &[Part::field("message", "hello")])),
        ("a field", Upload::raw("x", &[main.clone(), Part::field("colour", "green")])),
        ("no disposition", Upload::raw("x", &[Part::raw(&["Content-Type: text/plain"], "")])),
        ("an empty filename", Upload::raw("x", &[Part::file("", "x")])),
        ("an invalid archive", Upload::archive("a.tar.gz", "not gzip")),
        ("an invalid zip", Upload::archive("a.zip", "not zip")),
        ("a tar that is cut off", Upload::archive("a.tar", &archive::tar(&[("main.ts", "xyz")])[..514])),
        ("an empty tar", Upload::archive("a.tar", archive::tar::<&str>(&[]))),
    ] {
        let problem = bridge.deploy("a", &upload).await.assert_problem(400, "bad-upload");
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{what}: {problem}");
    }
    let named = bridge.deploy("a", &Upload::raw("x", &[main, Part::field("colour", "green")])).await.json();
    assert_eq!((&named["part"], &named["field"]), (&"colour".into(), &"filename".into()), "{named}");
    unchanged(&volume, &bridge, &tree).await;
}

#[tokio::test]
async fn a_name_that_no_project_may_have_is_refused() {
    let (volume, _routers, bridge) = small().await;
    let tree = Tree::of_projects(volume.root());
    for name in ["Bl%20og", "_x", ".git", "-a", "a.b", "%2e%2e", &"a".repeat(64)] {
        let reply = bridge.deploy(name, &Upload::main(hello("one"))).await;
        assert!(matches!(reply.status, 400 | 404), "{name}: {} {}", reply.status, reply.text());
    }
    unchanged(&volume, &bridge, &tree).await;
}

#[tokio::test]
async fn an_upload_that_takes_too_long_is_ended() {
    let volume = Volume::with("a", hello("one"));
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.bridge().flag("upload-timeout", 300).start().await;
    let tree = Tree::of_projects(volume.root());
    let upload = Upload::main(hello("two"));
    let (sender, request) = client::Upload::post("/deploy/a");
    let request = with_header(request, "content-type", &upload.content_type());
    sender.send(upload.body()[..upload.body().len() / 2].to_vec()).await;
    bridge.client.send(request).await.assert_problem(408, "upload-timeout");
    unchanged(&volume, &bridge, &tree).await;
}

#[tokio::test]
async fn a_deployer_that_goes_away_leaves_nothing() {
    let volume = Volume::with("a", hello("one"));
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    let tree = Tree::of_projects(volume.root());
    let upload = Upload::curl(&[("x.txt", hello("x")), ("main.ts", hello("two"))]);
    let mut wire = Wire::open(&bridge.client, "/deploy/a", &upload).await;
    wire.send_until(wire.head_len() + upload.end_of(0)).await;
    eventually("the upload is being received", || std::future::ready(!bridge.staged().is_empty())).await;
    drop(wire);
    unchanged(&volume, &bridge, &tree).await;
}

#[tokio::test]
async fn more_uploads_at_once_than_allowed_are_asked_to_retry() {
    let volume = Volume::with("a", hello("one"));
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.bridge().flag("max-uploads", 1).start().await;
    let upload = Upload::curl(&[("x.txt", hello("x")), ("main.ts", hello("two"))]);
    let mut first = Wire::open(&bridge.client, "/deploy/a", &upload).await;
    first.send_until(first.head_len() + upload.end_of(0)).await;
    eventually("the first is being received", || std::future::ready(!bridge.staged().is_empty())).await;
    let second = bridge.deploy("b", &Upload::main(hello("b"))).await;
    second.assert_problem(503, "busy");
    assert!(second.header("retry-after").is_some(), "{:?}", second.headers);
    assert!(first.finish().await.starts_with("HTTP/1.1 200"));
    bridge.deploy_live("b", &Upload::main(hello("b"))).await;
}

#[tokio::test]
async fn missing_paths_are_reported_by_kind() {
    let (_volume, _routers, bridge) = small().await;
    for (path, slug) in [
        ("/projects/none", "unknown-project"),
        ("/deploys/none", "unknown-deploy"),
        ("/nowhere", "unknown-path"),
        ("/", "unknown-path"),
    ] {
        bridge.client.get(path).await.assert_problem(404, slug);
    }
    let gone = bridge.client.send(with_method(http::Method::DELETE, "/projects/none")).await;
    gone.assert_problem(404, "unknown-project");
}

#[tokio::test]
async fn a_deploy_during_another_deploy_of_the_project_is_refused_with_the_reason() {
    let volume = Volume::with("a", hello("one"));
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    let mut phases = bridge.follow(Upload::main(slow("two", 700)).to("/deploy/a")).await;
    phases.until("build").await;
    bridge.deploy("a", &Upload::main(hello("three"))).await.assert_problem(409, "deploy-under-way");
    bridge.client.post("/projects/a/rollback").await.assert_problem(409, "deploy-under-way");
    let deleted = bridge.client.send(with_method(http::Method::DELETE, "/projects/a")).await;
    deleted.assert_problem(409, "deploy-under-way");
    bridge.deploy_live("b", &Upload::main(hello("b"))).await;
    assert_eq!(phases.done().await.0, 200);
    assert_eq!(routers.texts("/a/").await, ["two"]);
}

#[tokio::test]
async fn without_a_router_there_is_no_deploy() {
    let volume = Volume::with("a", hello("one"));
    let mut routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    routers.kill(0).await;
    let tree = Tree::of_projects(volume.root());
    routers.found_away(0, &bridge).await;
    let reply = bridge.deploy("a", &Upload::main(hello("two"))).await;
    let problem = reply.assert_problem(503, "no-routers");
    assert!(reply.header("retry-after").is_some(), "{:?}", reply.headers);
    assert!(problem["detail"].as_str().is_some_and(|it| it.contains(&routers.admin_url(0))), "{problem}");
    assert_eq!(routers.admin_url(0), problem["routers"][0]["router"], "{problem}");
    unchanged(&volume, &bridge, &tree).await;
    routers.start_again(0).await;
    bridge.ready().await;
    bridge.deploy_live("a", &Upload::main(hello("two"))).await;
}
