//! URLs in the file of sources that lead to programs, options, secrets or folders of others.

use std::os::unix::fs::symlink;

use switchyard_integration::fixtures::hello;
use switchyard_integration::git::Repository;

use super::watch::Trap;
use crate::git_failures::scene::Scene;

/// Starts a bridge that must not start, and returns its log.
async fn refused(scene: &Scene) -> String {
    let ended = scene.bridge().run_to_end().await;
    let log = ended.log.text();
    assert_eq!(ended.status.code(), Some(64), "{log}");
    assert!(log.contains("sources.toml"), "{log}");
    log
}

#[tokio::test]
async fn urls_that_are_programs_or_options_are_refused_at_the_start() {
    let scene = Scene::new().await;
    let trap = Trap::set();
    let command = trap.command("url").replace(' ', "%20");
    for url in [
        format!("ext::sh -c {}", trap.command("url")),
        format!("ext::{command}"),
        "fd::17/x".to_owned(),
        format!("--upload-pack={command}"),
        format!("-u{command}"),
        format!("ssh://-oProxyCommand={command}/x"),
        format!("ssh://git@-oProxyCommand={command}/x"),
        format!("-oProxyCommand={command}:x"),
        "git@host:-x".to_owned(),
        "ssh://host/-x".to_owned(),
        "https://host/../x".to_owned(),
        "https://host/%2e%2e/x".to_owned(),
        "https://host/a%0ab".to_owned(),
        "https://host:99999/x".to_owned(),
        "https://user:hunter2@host/x".to_owned(),
        "https://hunter2@host/x".to_owned(),
        "ftp://host/x".to_owned(),
        "/srv/x.git".to_owned(),
        "../x.git".to_owned(),
    ] {
        scene.source(&url, "");
        let log = refused(&scene).await;
        assert!(log.contains("url") && !log.contains("hunter2"), "{url}: {log}");
    }
    trap.was_not_reached();
}

#[tokio::test]
async fn transports_without_encryption_have_to_be_wanted() {
    let scene = Scene::new().await;
    for url in ["http://127.0.0.1:9/x.git", "git://127.0.0.1:9/x.git"] {
        let text =
            format!("[[source]]\nname = \"shop\"\nurl = \"{url}\"\nprojects = [{{ path = \"apps/*\" }}]\n");
        scene.write("sources.toml", &text);
        let log = refused(&scene).await;
        assert!(log.contains("insecure = true"), "{log}");
    }
}

#[tokio::test]
async fn repositories_of_this_machine_outside_of_the_allowed_folders_are_refused_at_the_start() {
    let scene = Scene::new().await;
    let other = Repository::create().await;
    other.commit(&[("apps/api/main.ts", &hello("other"))], "Other").await;
    let root = scene.repository.root().display();
    let link = scene.repository.root().join("link.git");
    symlink(other.path(), &link).unwrap();
    let beside = format!("{root}-beside/repo.git");
    for path in [
        other.path().display().to_string(),
        link.display().to_string(),
        beside,
        "/".to_owned(),
        "/etc".to_owned(),
        format!("{root}/..{}", other.path().display()),
    ] {
        scene.source(&format!("file://{path}"), "");
        let log = refused(&scene).await;
        assert!(log.contains("allow-local") || log.contains("url"), "{path}: {log}");
    }
    // Without the flag there is no such folder.
    scene.source(&scene.file_url(), "");
    let builder =
        scene.routers.bridge().flag("sources", scene.write("x", "").with_file_name("sources.toml").display());
    let ended = builder.flag("state", scene.state().display()).run_to_end().await;
    assert_eq!(ended.status.code(), Some(64), "{}", ended.log.text());
    assert!(ended.log.text().contains("--allow-local"), "{}", ended.log.text());
}

#[tokio::test]
async fn a_hostile_file_of_sources_is_refused_while_it_runs_and_the_old_one_stays() {
    let scene = Scene::new().await;
    scene.source(&scene.file_url(), "");
    let first = scene.push("one").await;
    let shop = scene.start().await;
    shop.follows(&first).await;
    let trap = Trap::set();
    let other = Repository::create().await;
    for url in [
        format!("ext::sh -c {}", trap.command("url")),
        format!("file://{}", other.path().display()),
        "https://user:hunter2@host/x".to_owned(),
    ] {
        scene.source(&url, "");
        let is_refusal = |record: &serde_json::Value| {
            let level = record["level"].as_str().unwrap_or_default();
            ["WARN", "ERROR"].contains(&level) && record.to_string().contains("sources.toml")
        };
        let count = || shop.bridge.log.records().iter().filter(|record| is_refusal(record)).count();
        let before = count();
        shop.reload();
        let said = || std::future::ready(count() > before);
        switchyard_integration::eventually("the refusal is logged", said).await;
        let next = scene.push(&url.len().to_string()).await;
        shop.syncs_to(&next).await;
    }
    assert!(!shop.bridge.log.text().contains("hunter2"));
    trap.was_not_reached();
}
