//! `switchyard init`: each template builds and serves.

use std::path::Path;

use switchyard_integration::bridge::cli::run_with;
use switchyard_integration::dev::Dev;
use switchyard_integration::fixtures::examples;
use switchyard_integration::volume::Volume;

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of the test's own")
}

async fn init(volume: &Volume, template: &str) {
    let folder = volume.path(template);
    let outcome = run_with(&["init", text(&folder), "--template", template], &[]).await;
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    assert!(outcome.stdout.contains("switchyard dev"), "{outcome:#?}");
    let needs_packages = folder.join("package.json").exists();
    assert_eq!(outcome.stdout.contains("npm install"), needs_packages, "{outcome:#?}");
}

#[tokio::test]
async fn each_template_builds_and_answers() {
    let volume = Volume::new();
    for template in ["hello", "hono", "express", "react", "websocket", "cron", "static", "task"] {
        init(&volume, template).await;
    }
    for template in ["hono", "express", "react"] {
        // As npm installs them.
        let packages = examples().join(template).join("node_modules");
        assert!(Path::new(&packages).is_dir(), "the packages of {template} are missing: run `make test`");
        volume.copy_in(&packages, &format!("{template}/node_modules"));
    }
    let dev = Dev::builder(volume.root()).start().await;
    for (template, text) in [
        ("hello", "Hello from /"),
        ("hono", "The Left Hand of Darkness"),
        ("express", "Buy milk"),
        ("react", "Rucksack"),
        ("websocket", "Say something"),
        ("cron", "Every minute"),
        ("static", "served as they are"),
        ("task", "has a task"),
    ] {
        dev.printed(&[&format!("✓ {template} ")]).await;
        let reply = dev.public.get(&format!("/{template}/")).await;
        assert!(reply.status == 200 && reply.text().contains(text), "{template}: {}", reply.text());
    }
    let tasks = dev.api.get("/tasks").await.text();
    assert!(tasks.contains("greet"), "{tasks}");
}

#[tokio::test]
async fn a_folder_with_files_and_a_wrong_template_are_refused() {
    let volume = Volume::new();
    init(&volume, "hello").await;
    let folder = volume.path("hello");
    let again = run_with(&["init", folder.to_str().unwrap()], &[]).await;
    assert!(again.code == Some(1) && again.stderr.contains("is not empty"), "{again:#?}");
    let wrong = run_with(&["init", "x", "--template", "helo"], &[]).await;
    assert_eq!(wrong.code, Some(64), "{wrong:#?}");
    assert!(wrong.stderr.contains("--template: ") && wrong.stderr.contains("hello"), "{wrong:#?}");
}
