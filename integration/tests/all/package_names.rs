//! Package names that lead out of the installation folder.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use switchyard_integration::registry::Registry;
use switchyard_integration::router::State;
use switchyard_integration::volume::Volume;

use crate::install::{exports, fails, greeting, registry, serves};

/// Path from the folder where Deno caches packages to the tarballs that all projects share. The
/// second to last part is the folder of the projects that reach only public addresses.
const SHARED: &str = "../../../../.downloads/e3b0c44298fc1c14/zz";

/// The registry gets the name as one path segment and answers; the tarball is elsewhere.
fn publish(registry: &Registry, name: &str) {
    registry.publish("zz", "1.0.0", json!({}), &[("index.js", &exports("attack"))]);
    registry.publish(name, "1.0.0", json!({}), &[("index.js", &exports("attack"))]);
    registry.redirect("/.downloads/e3b0c44298fc1c14/zz/-/1.0.0.tgz", "/zz/-/1.0.0.tgz");
}

/// Nothing but tarballs is there, under hashes of their URLs.
fn assert_only_tarballs(state: &Path) {
    for folder in fs::read_dir(state.join("packages/.downloads")).expect("the folder exists").flatten() {
        assert!(folder.file_type().expect("it is there").is_dir());
        for file in fs::read_dir(folder.path()).expect("the folder exists").flatten() {
            let name = file.file_name().into_string().expect("it is UTF-8");
            assert!(file.file_type().expect("it is there").is_file() && name.len() == 64, "{name}");
        }
    }
}

async fn assert_refused(registry: &Registry, volume: &Volume, name: &str, named_by: &str) {
    let state = State::new();
    let router = registry.router(volume).state(&state).start().await;
    let error = fails(&router).await;
    let expected = format!("{name:?} is not a valid package name");
    assert!(error.message.contains(&expected), "{}", error.message);
    let text = error.file.clone().unwrap_or_default() + &error.message;
    assert!(text.contains(named_by), "{named_by}: {error:?}");
    let requests = registry.take_requests();
    assert!(!requests.iter().any(|path| path.contains("..") || path.contains("zz")), "{requests:?}");
    assert_only_tarballs(state.path());
}

#[tokio::test]
async fn names_in_package_json_do_not_lead_out_of_the_folder() {
    for manifest in [
        json!({"dependencies": {SHARED: "1"}}),
        json!({"dependencies": {"alias": format!("npm:{SHARED}@1")}}),
        json!({"optionalDependencies": {SHARED: "1"}}),
        json!({"peerDependencies": {SHARED: "1"}}),
    ] {
        let (registry, volume) = (registry().await, greeting());
        publish(&registry, SHARED);
        volume.write("a/package.json", manifest.to_string());
        assert_refused(&registry, &volume, SHARED, "package.json").await;
    }
}

#[tokio::test]
async fn names_in_answers_of_a_registry_do_not_lead_out_of_the_folder() {
    let depends = |field: &str, name: &str, version: &str| json!({field: {name: version}});
    let alias = format!("npm:{SHARED}@1");
    for manifest in [
        depends("dependencies", SHARED, "1"),
        depends("dependencies", "alias", &alias),
        depends("peerDependencies", SHARED, "1"),
    ] {
        let (registry, volume) = (registry().await, greeting());
        publish(&registry, SHARED);
        registry.publish("greeting", "1.1.0", manifest, &[("index.js", &exports("x"))]);
        assert_refused(&registry, &volume, SHARED, "greeting").await;
    }
}

#[tokio::test]
async fn names_that_packages_give_to_others_do_not_lead_out_of_the_folder() {
    let (registry, volume) = (registry().await, greeting());
    let manifest: Value = json!({"dependencies": {SHARED: "npm:word@1"}});
    registry.publish("greeting", "1.1.0", manifest, &[("index.js", &exports("x"))]);
    assert_refused(&registry, &volume, SHARED, "greeting@1.1.0").await;
}

#[tokio::test]
async fn names_in_specifiers_do_not_lead_out_of_the_folder() {
    for name in ["@x/..", ".."] {
        let (registry, volume) = (registry().await, greeting());
        let main =
            format!("import x from 'npm:{name}@1';\nexport default {{ fetch: () => new Response(x) }};\n");
        volume.write("a/main.ts", main);
        assert_refused(&registry, &volume, name, "main.ts").await;
    }
}

#[tokio::test]
async fn names_in_a_lock_do_not_lead_out_of_the_folder() {
    let (registry, volume) = (registry().await, greeting());
    publish(&registry, SHARED);
    let locked = |dependencies: Value| {
        json!({"integrity": "sha512-AAAA", "tarball": registry.url("/zz/-/1.0.0.tgz"),
            "dependencies": dependencies})
    };
    let lock = json!({
        "version": "5",
        "specifiers": {"npm:greeting@1": "1.0.0"},
        "npm": {"greeting@1.0.0": locked(json!([SHARED])), format!("{SHARED}@1.0.0"): locked(json!([]))},
        "workspace": {"packageJson": {"dependencies": ["npm:greeting@1"]}},
    });
    volume.write("a/package.json", r#"{"dependencies": {"greeting": "1"}}"#);
    volume.write("a/deno.json", "{}");
    volume.write("a/deno.lock", lock.to_string());
    assert_refused(&registry, &volume, SHARED, "lock").await;
}

#[tokio::test]
async fn a_version_that_is_not_chosen_may_have_any_names() {
    let (registry, volume) = (registry().await, greeting());
    registry.publish("greeting", "0.9.0", json!({"dependencies": {SHARED: "1", "": "1"}}), &[]);
    let router = registry.router(&volume).start().await;
    serves(&router, "hello").await;
}
