//! A project whose packages come from the volume, are fetched, and come from the volume again.

use serde_json::json;
use switchyard_integration::router::{Router, State};
use switchyard_integration::volume::Volume;
use switchyard_integration::{eventually, probe::Probe};

use crate::install::{GREETS, exports, greeting, registry};

async fn answers(router: &Router, text: &str) {
    eventually(text, || async {
        let found = router.public.get("/a/").await;
        found.text() == text && found.header("x-switchyard-stale").is_none()
    })
    .await;
}

/// A package of the volume whose installation is complete.
fn install(volume: &Volume, path: &str, text: &str) {
    volume.write(&format!("a/{path}/index.js"), exports(text));
    volume.write("a/node_modules/.package-lock.json", "{}");
}

#[tokio::test]
async fn packages_that_go_are_fetched_and_give_way_to_those_that_come_back() {
    let (registry, volume) = (registry().await, greeting());
    let router = registry.watched(&volume).start().await;
    answers(&router, "hello").await;
    let probe = Probe::start(&router.public, "/a/").await;
    for _ in 0..2 {
        install(&volume, "node_modules/greeting", "installed");
        answers(&router, "installed").await;
        volume.remove("a/node_modules");
        answers(&router, "hello").await;
    }
    probe.finish().await.no_failures();
    // Only the cache of a tool, which counts as no packages.
    volume.write("a/node_modules/.cache/tool.json", "{}");
    volume.write("a/main.ts", GREETS.replace("(greeting)", "(`${greeting}!`)"));
    answers(&router, "hello!").await;
}

#[tokio::test]
async fn a_package_that_is_missing_on_the_volume_is_named_and_no_earlier_download_is_used() {
    let (registry, volume) = (registry().await, greeting());
    let router = registry.watched(&volume).start().await;
    answers(&router, "hello").await;
    let mut events = router.events().await;
    install(&volume, "node_modules/other", "other");
    events.wait_failed("a").await;
    let error = router.admin.project("a").await.error.expect("it fails");
    assert!(error.message.contains("greeting") && !error.message.contains("hoisted"), "{error:?}");
}

/// Two members, one of which needs the other; nothing is read before the first request, so that a
/// build alone proves nothing.
fn workspace(volume: &Volume) {
    let member = |name: &str, needs: &str| {
        json!({"name": name, "version": "1.0.0", "dependencies": {needs: "*"}}).to_string()
    };
    let server = "const http = require('http');\n\
                  http.createServer((request, response) => response.end(require('@w/say'))).listen(3000);\n";
    volume
        .project("a")
        .file("package.json", r#"{"name": "root", "workspaces": ["web", "say"]}"#)
        .file("web/package.json", member("@w/web", "@w/say"))
        .file("say/package.json", member("@w/say", "word"))
        .file("say/index.js", "module.exports = require('word');\n")
        .file("web/server.cjs", server)
        .file("deno.json", r#"{"switchyard": {"entry": "web/server.cjs"}}"#)
        .write();
}

#[tokio::test]
async fn a_workspaces_packages_go_and_come_back_over_restarts() {
    let (registry, volume, state) = (registry().await, Volume::new(), State::new());
    workspace(&volume);
    let mut router = registry.watched(&volume).state(&state).start().await;
    answers(&router, "hello").await;
    for _ in 0..2 {
        volume.link("../../say", "a/node_modules/@w/say");
        install(&volume, "node_modules/word", "installed");
        answers(&router, "installed").await;
        router.stop().await;
        router = registry.watched(&volume).state(&state).start().await;
        answers(&router, "installed").await;
        volume.remove("a/node_modules");
        answers(&router, "hello").await;
        router.stop().await;
        router = registry.watched(&volume).state(&state).start().await;
        answers(&router, "hello").await;
    }
}
