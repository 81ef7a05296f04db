//! Static sites as projects: found by their files; reloaded, deployed and replaced like all others;
//! and files beside code.

use std::fs;

use http::Method;
use serde_json::json;
use switchyard_contract::admin::ProjectState;
use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::client::{request, with_header, with_method};
use switchyard_integration::fixtures::hello;
use switchyard_integration::probe::Probe;
use switchyard_integration::router::Router;
use switchyard_integration::upload::Upload;
use switchyard_integration::volume::Volume;
use switchyard_integration::{eventually, within};

const APP: &str = "<!doctype html><script type=module src=/assets/index-Bx7Q.js></script>";

/// A project as Vite leaves it behind: sources, a package.json and the output.
fn vite(volume: &Volume) {
    for (path, text) in [
        (
            "package.json",
            r#"{"scripts": {"dev": "vite", "build": "vite build"}, "devDependencies": {"vite": "7"}}"#,
        ),
        ("index.html", "<script type=module src=/src/main.tsx></script>"),
        ("src/main.tsx", "document.title = 'x';"),
        ("vite.config.ts", "export default {};"),
        ("dist/index.html", APP),
        ("dist/assets/index-Bx7Q.js", "built"),
    ] {
        volume.write(&format!("a/{path}"), text);
    }
}

fn entry(config: &serde_json::Value) -> String {
    json!({ "switchyard": config }).to_string()
}

#[tokio::test]
async fn the_built_folder_of_a_front_end_is_served_from_the_projects_root() {
    let volume = Volume::new();
    vite(&volume);
    let router = Router::start(&volume).await;
    assert_eq!(router.public.get("/a/").await.text(), APP);
    assert_eq!(router.public.get("/a/assets/index-Bx7Q.js").await.text(), "built");
    assert_eq!(router.public.get("/a/src/main.tsx").await.status, 404);
    assert_eq!(router.admin.project("a").await.state, ProjectState::Live);
    // Without its output the site is no longer valid, and the live version keeps serving.
    volume.rename("a/dist", "_dist");
    let report = router.admin.reload("a").await;
    let error = report.error.unwrap();
    assert_eq!(error.file.as_deref(), Some("index.html"));
    assert!(
        error.message.contains("loads /src/main.tsx, which browsers do not run: build the site"),
        "{error:?}"
    );
    let reply = router.public.get("/a/").await;
    assert_eq!((reply.text().as_str(), reply.header("x-switchyard-stale").is_some()), (APP, true));
}

#[tokio::test]
async fn the_page_of_a_single_page_application_answers_navigations_alone() {
    let volume = Volume::new();
    vite(&volume);
    let router = Router::start(&volume).await;
    let get = async |path: &str, name: &'static str, value: &str| {
        let reply = router.public.send(with_header(request(path), name, value)).await;
        (reply.status, reply.text() == APP)
    };
    let page = "text/html,application/xhtml+xml,*/*;q=0.8";
    assert_eq!(get("/a/users/7", "accept", page).await, (200, true));
    assert_eq!(get("/a/users/john.doe", "accept", page).await, (200, true));
    assert_eq!(get("/a/users/7", "accept", "*/*").await, (200, true));
    assert_eq!(get("/a/users/john.doe", "accept", "*/*").await, (404, false));
    assert_eq!(get("/a/users/7", "sec-fetch-mode", "navigate").await, (200, true));
    assert_eq!(get("/a/users/7", "sec-fetch-mode", "cors").await, (404, false));
    assert_eq!(get("/a/users/7", "accept", "application/json").await, (404, false));
    assert_eq!(get("/a/assets/gone.js", "accept", page).await, (404, false));
    assert_eq!(get("/a/favicon.ico", "accept", "*/*").await, (404, false));
    // A not-found page shows that the page has no router in the browser.
    volume.write("a/dist/404.html", "none");
    router.admin.reload("a").await;
    assert_eq!(get("/a/users/7", "accept", page).await, (404, false));
    volume.write("a/deno.json", entry(&json!({"static": {"root": "dist", "fallback": true}})));
    router.admin.reload("a").await;
    assert_eq!(get("/a/users/7", "accept", page).await, (200, true));
}

#[tokio::test]
async fn a_configuration_that_is_wrong_is_named_and_takes_nothing_down() {
    let volume = Volume::new();
    volume.write("a/index.html", "one");
    let router = Router::start(&volume).await;
    for (config, says) in [
        (
            json!({"static": {"root": "dist"}}),
            "\"switchyard.static.root\" in deno.json names the folder \"dist\"",
        ),
        (json!({"static": {"rot": "."}}), "\"switchyard.static.rot\" in deno.json is unknown"),
        (json!({"platform": "static", "healthcheck": "/gone"}), "the health check GET /gone finds no file"),
    ] {
        volume.write("a/deno.json", entry(&config));
        let error = router.admin.reload("a").await.error.unwrap();
        assert_eq!(error.file.as_deref(), Some("deno.json"));
        assert!(error.message.contains(says), "{}", error.message);
        assert_eq!(router.public.get("/a/").await.text(), "one");
    }
    let config = json!({"platform": "static", "healthcheck": "/", "cells": 2, "idle": "1s"});
    volume.write("a/deno.json", entry(&config));
    assert_eq!(router.admin.reload("a").await.error, None);
    let status = router.admin.project("a").await;
    assert_eq!((status.state, status.pids.len()), (ProjectState::Live, 0));
}

#[tokio::test]
async fn routes_of_a_site_lead_to_it_with_and_without_their_prefix() {
    let volume = Volume::new();
    volume.write("a/docs/index.html", "docs");
    volume.write("a/index.html", "home");
    volume.write("a/deno.json", entry(&json!({"routes": ["www.example.com", "/shop/x"]})));
    let router = Router::start(&volume).await;
    let reply = router.public.get("/shop/x/docs").await;
    assert_eq!((reply.status, reply.header("location")), (301, Some("/shop/x/docs/")));
    assert_eq!(router.public.get("/shop/x/docs/").await.text(), "docs");
    let reply = router.public.send(with_header(request("/docs"), "host", "www.example.com")).await;
    assert_eq!((reply.status, reply.header("location")), (301, Some("/docs/")));
}

#[tokio::test]
async fn a_deploy_and_a_rollback_of_a_site_are_those_of_any_project_at_all_routers() {
    let volume = Volume::new();
    let routers = Replicas::start(&volume, 2).await;
    let bridge = routers.start_bridge().await;
    let files = |label| [("index.html", label), ("same.css", "body{}")];
    let first = bridge.deploy_live("a", &Upload::curl(&files("one"))).await;
    assert_eq!(routers.texts("/a/").await, ["one", "one"]);
    let css = async |router: usize| {
        let reply = routers[router].public.get("/a/same.css").await;
        reply.header("etag").unwrap().to_owned()
    };
    let etags = (css(0).await, css(1).await);
    assert_eq!(etags.0, etags.1);
    let second = bridge.deploy_live("a", &Upload::curl(&files("two"))).await;
    assert_eq!(routers.texts("/a/").await, ["two", "two"]);
    assert_eq!((css(0).await, css(1).await), etags, "a file that did not change keeps its validator");
    let back = bridge.client.post("/projects/a/rollback").await;
    assert_eq!(back.status, 200, "{}", back.text());
    assert_eq!(routers.texts("/a/").await, ["one", "one"]);
    assert_ne!(first.digest(), second.digest());
}

#[tokio::test]
async fn a_site_outlives_a_restart_and_nothing_is_lost_while_it_becomes_code_and_a_site_again() {
    let volume = Volume::new();
    volume.write("a/index.html", "site");
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    events.wait_live("a").await;
    let probe = Probe::start(&router.public, "/a/").await;
    for _ in 0..3 {
        volume.write("a/main.ts", hello("code"));
        events.wait_live("a").await;
        events.wait_retired("a").await;
        eventually("the code answers", || async { router.public.get("/a/").await.text() == "code" }).await;
        volume.remove("a/main.ts");
        events.wait_live("a").await;
        events.wait_retired("a").await;
        eventually("the site answers", || async { router.public.get("/a/").await.text() == "site" }).await;
    }
    probe.finish().await.no_failures();
    let state = router.state.clone();
    router.stop().await;
    let again = Router::builder(&volume).state(&state).start().await;
    assert_eq!(again.public.get("/a/").await.text(), "site");
}

#[tokio::test]
async fn a_slow_download_of_a_replaced_version_ends_with_its_own_content_and_holds_no_file_open() {
    let volume = Volume::new();
    let old = "old ".repeat(4 << 20);
    volume.write("a/index.html", "one");
    volume.write("a/large.txt", &old);
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    events.wait_live("a").await;
    let mut slow = router.public.open().await;
    slow.send("GET /a/large.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    let mut text = slow.until("\r\n\r\n").await;
    eventually("the download is counted", || async { router.admin.project("a").await.in_flight == 1 }).await;
    volume.write("a/large.txt", "new ".repeat(4 << 20));
    events.wait_live("a").await;
    assert!(router.public.get("/a/large.txt").await.text().starts_with("new "));
    let status = router.admin.project("a").await;
    assert_eq!((status.draining.len(), status.draining[0].in_flight), (1, 1), "{status:?}");
    let open = fs::read_dir(format!("/proc/{}/fd", router.pid().as_raw_nonzero())).unwrap();
    let is_file = |path: std::path::PathBuf| path.ends_with("a/large.txt");
    let held =
        open.flatten().filter_map(|fd| fs::read_link(fd.path()).ok()).filter(|path| is_file(path.clone()));
    assert_eq!(held.count(), 0);
    text.push_str(&slow.rest().await);
    let body = text.split_once("\r\n\r\n").unwrap().1;
    assert!(body == old, "{} bytes of {}", body.len(), old.len());
    events.wait_retired("a").await;
    eventually("nothing drains", || async { router.admin.project("a").await.draining.is_empty() }).await;
}

#[tokio::test]
async fn files_beside_code_are_answered_without_waking_it() {
    let volume = Volume::new();
    volume.write("a/main.ts", hello("code"));
    volume.write("a/public/app.css", "css");
    volume.write("a/public/docs/index.html", "docs");
    let config = json!({"entry": "main.ts", "idle": "1s", "static": {"root": "public"}});
    volume.write("a/deno.json", entry(&config));
    let router = Router::start(&volume).await;
    assert_eq!(router.public.get("/a/other").await.text(), "code");
    eventually("it is idle", || async { router.admin.project("a").await.state == ProjectState::Idle }).await;
    assert_eq!(router.public.get("/a/app.css").await.text(), "css");
    assert_eq!(router.public.get("/a/docs").await.header("location"), Some("/a/docs/"));
    let status = router.admin.project("a").await;
    assert_eq!((status.state, status.pids.len()), (ProjectState::Idle, 0));
    assert_eq!(router.public.send(with_method(Method::POST, "/a/app.css")).await.text(), "code");
    assert_eq!(router.public.get("/a/").await.text(), "code");
    assert_eq!(router.admin.project("a").await.pids.len(), 1);
}

#[tokio::test]
async fn slow_downloads_block_no_other_client() {
    let volume = Volume::new();
    volume.write("a/index.html", "one");
    volume.write("a/large.txt", "x".repeat(16 << 20));
    let router = Router::builder(&volume).flag("max-in-flight", 2).start().await;
    let mut slow = Vec::new();
    for _ in 0..5 {
        let mut raw = router.public.open().await;
        raw.send("GET /a/large.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        let begun = raw.until("\r\n\r\n").await;
        slow.push((raw, begun));
    }
    eventually("all are counted", || async { router.admin.project("a").await.in_flight == 5 }).await;
    assert_eq!(within("another one is answered", router.public.get("/a/")).await.text(), "one");
    for (raw, begun) in &mut slow {
        begun.push_str(&raw.rest().await);
        assert_eq!(begun.split_once("\r\n\r\n").unwrap().1.len(), 16 << 20);
    }
}

#[tokio::test]
async fn downloads_over_http2_have_the_limits_of_their_project() {
    let volume = Volume::new();
    volume.write("a/index.html", "one");
    volume.write("a/large.txt", "x".repeat(16 << 20));
    let router = Router::builder(&volume).flag("max-in-flight", 2).start().await;
    let mut slow = Vec::new();
    for _ in 0..2 {
        let mut connection = router.public.connect_h2c().await;
        let head = connection.stream(request("/a/large.txt")).await;
        slow.push((connection, head));
    }
    let public = router.public.clone();
    let third = tokio::spawn(async move { public.get("/a/").await });
    eventually("it waits", || async { router.admin.project("a").await.waiting == 1 }).await;
    drop(slow);
    assert_eq!(within("the third is answered", third).await.unwrap().text(), "one");
}
