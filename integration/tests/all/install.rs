//! Packages and remote modules that the router fetches, where the operator allows it.

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use rustix::process::geteuid;
use serde_json::json;
use switchyard_contract::admin::ReloadOutcome;
use switchyard_contract::event::Diagnostic;
use switchyard_integration::eventually;
use switchyard_integration::fixtures::hello;
use switchyard_integration::registry::Registry;
use switchyard_integration::router::{Builder, Router, State};
use switchyard_integration::volume::Volume;

/// Answers what the package `greeting` exports.
pub(crate) const GREETS: &str =
    "import greeting from 'greeting';\nexport default { fetch: () => new Response(greeting) };\n";

pub(crate) fn exports(text: &str) -> String {
    format!("module.exports = {text:?};\n")
}

/// `greeting` 1.0.0 says what `word` 1.0.0 says.
pub(crate) async fn registry() -> Registry {
    let registry = Registry::start().await;
    registry.publish("word", "1.0.0", json!({}), &[("index.js", &exports("hello"))]);
    let manifest = json!({"dependencies": {"word": "^1.0.0"}});
    registry.publish("greeting", "1.0.0", manifest, &[("index.js", "module.exports = require('word');\n")]);
    registry
}

/// A project, `a`, that greets.
pub(crate) fn greeting() -> Volume {
    let volume = Volume::with("a", GREETS);
    volume.write("a/package.json", r#"{"dependencies": {"greeting": "^1.0.0"}}"#);
    volume
}

pub(crate) async fn serves(router: &Router, text: &str) {
    assert_eq!(router.admin.project("a").await.error, None);
    assert_eq!(router.public.get("/a/").await.text(), text);
}

pub(crate) async fn fails(router: &Router) -> Diagnostic {
    let status = router.admin.project("a").await;
    status.error.expect("it fails")
}

/// Projects are given `NPM_TOKEN`.
fn with_token(router: Builder, volume: &Volume) -> Builder {
    volume.write("_policy/policy.toml", "[defaults.env]\nNPM_TOKEN = \"s3cret\"\n");
    router.flag("policy", volume.path("_policy/policy.toml").display())
}

fn installations(state: &State) -> usize {
    std::fs::read_dir(state.path().join("packages/a")).map_or(0, Iterator::count)
}

#[tokio::test]
async fn packages_of_package_json_are_fetched_and_served() {
    let (registry, volume) = (registry().await, greeting());
    let router = registry.router(&volume).start().await;
    serves(&router, "hello").await;
    assert!(!volume.path("a/node_modules").exists() && !volume.path("a/deno.lock").exists());
}

#[tokio::test]
async fn what_is_there_is_not_asked_for_again() {
    let (registry, volume, state) = (registry().await, greeting(), State::new());
    let router = registry.router(&volume).state(&state).start().await;
    assert!(!registry.take_requests().is_empty());
    volume.write("a/main.ts", GREETS.replace("(greeting)", "(greeting + '!')"));
    assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Live);
    serves(&router, "hello!").await;
    drop(router);
    // A router that starts again, even one that may not fetch anything.
    let router = registry.known(&volume).state(&state).start().await;
    serves(&router, "hello!").await;
    assert_eq!(registry.take_requests(), [""; 0]);
}

#[tokio::test]
async fn a_tarball_is_downloaded_once_for_all_projects() {
    let (registry, volume) = (registry().await, greeting());
    volume.copy_in(&volume.path("a"), "b");
    let router = registry.router(&volume).start().await;
    serves(&router, "hello").await;
    volume.copy_in(&volume.path("a"), "c");
    registry.take_requests();
    assert_eq!(router.admin.reload("c").await.outcome, ReloadOutcome::Live);
    let requests = registry.take_requests();
    assert!(!requests.is_empty() && !requests.iter().any(|path| path.ends_with(".tgz")), "{requests:?}");
}

#[tokio::test]
async fn without_permission_nothing_is_fetched_and_what_is_missing_is_named() {
    let (registry, volume) = (registry().await, greeting());
    let router = registry.known(&volume).start().await;
    let error = fails(&router).await;
    assert!(
        error.message.contains("\"greeting\"") && error.message.contains("(npm install)"),
        "{}",
        error.message
    );
    assert!(error.message.contains("--allow-install"), "{}", error.message);
    assert!(!error.message.contains("computed"), "its name is in the source: {}", error.message);
    assert_eq!((error.file.as_deref(), error.line), (Some("main.ts"), Some(1)));
    let url = registry.url("/mod.ts");
    for (specifier, named) in [
        ("npm:greeting@1", "\"greeting\""),
        ("npm:other@1", "'npm:other@1'"),
        (&url, &url),
        ("jsr:@x/y@1", "\"jsr:@x/y@1\""),
    ] {
        volume.write("a/main.ts", format!("\nimport '{specifier}';\n{}", hello("x")));
        router.admin.reload("a").await;
        let error = fails(&router).await;
        assert!(error.message.contains(named), "{}", error.message);
        assert!(error.message.contains("--allow-install"), "{}", error.message);
        assert_eq!((error.file.as_deref(), error.line), (Some("main.ts"), Some(2)));
    }
    assert_eq!(registry.take_requests(), [""; 0]);
}

#[tokio::test]
async fn a_registry_that_cannot_be_reached_is_named() {
    let (registry, volume) = (registry().await, greeting());
    volume.write("a/.npmrc", "registry=http://127.0.0.1:9/\n");
    let router = registry.router(&volume).env("NPM_CONFIG_REGISTRY", "").start().await;
    let error = fails(&router).await;
    // Not public, not the operator's own, and the policy says nothing of it.
    assert!(error.message.contains("http://127.0.0.1:9/greeting"), "{}", error.message);
    assert!(error.message.contains("private_net"), "{}", error.message);
}

#[tokio::test]
async fn a_package_that_does_not_exist_is_named() {
    let (registry, volume) = (registry().await, greeting());
    volume.write("a/package.json", r#"{"dependencies": {"gone": "^1.0.0"}}"#);
    let router = registry.router(&volume).start().await;
    let error = fails(&router).await;
    assert!(error.message.contains("gone"), "{}", error.message);
}

#[tokio::test]
async fn a_tarball_that_is_not_what_was_published_is_refused() {
    let (registry, volume) = (registry().await, greeting());
    registry.tamper("word", "1.0.0");
    let router = registry.router(&volume).start().await;
    let error = fails(&router).await;
    assert!(error.message.contains("word@1.0.0") && error.message.contains("checksum"), "{}", error.message);
    // Once the registry has the right one, nothing is left of the wrong one.
    registry.publish("word", "1.0.0", json!({}), &[("index.js", &exports("hello"))]);
    assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Live);
    serves(&router, "hello").await;
}

#[tokio::test]
async fn a_lock_decides_and_one_that_does_not_fit_is_refused() {
    let (registry, volume) = (registry().await, greeting());
    volume.write("a/deno.json", "{}");
    let state = State::new();
    let router = registry.router(&volume).state(&state).start().await;
    serves(&router, "hello").await;
    let checkouts = std::fs::read_dir(state.path().join("packages/a")).unwrap();
    let folder = checkouts.flatten().next().unwrap().path();
    let lock = std::fs::read_to_string(folder.join("deno.lock")).unwrap();
    // Newer versions are there now, and the lock names the old ones.
    registry.publish("word", "1.1.0", json!({}), &[("index.js", &exports("newer"))]);
    volume.write("a/deno.lock", lock);
    assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Live);
    serves(&router, "hello").await;
    volume.write("a/package.json", r#"{"dependencies": {"greeting": "^1.0.0", "word": "^1.1.0"}}"#);
    router.admin.reload("a").await;
    let error = fails(&router).await;
    assert_eq!(error.file.as_deref(), Some("deno.lock"));
    assert!(error.message.starts_with("deno.lock does not fit the project: run"), "{}", error.message);
    // Without one, the newest is taken.
    volume.remove("a/deno.lock");
    assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Live);
    serves(&router, "newer").await;
}

#[tokio::test]
async fn a_private_registry_is_asked_with_the_token_of_npmrc() {
    let (registry, volume) = (registry().await, greeting());
    registry.require_token("s3cret");
    let host = registry.url("/").replace("http:", "");
    let npmrc = format!("registry={}\n{host}:_authToken=${{NPM_TOKEN}}\n", registry.url("/"));
    volume.write("a/.npmrc", npmrc);
    let router = with_token(registry.router(&volume), &volume).start().await;
    serves(&router, "hello").await;
    // A project without the token gets no package that another one fetched with it.
    volume.project("b").file("main.ts", GREETS).file("package.json", volume.read("a/package.json")).write();
    router.admin.reload("b").await;
    let error = router.admin.project("b").await.error.expect("it fails");
    assert!(error.message.contains("401"), "{}", error.message);
    assert!(!router.log.text().contains("s3cret"));
}

#[tokio::test]
async fn a_token_in_a_url_is_told_to_nobody() {
    let (registry, volume) = (registry().await, greeting());
    registry.require_token("another");
    let url = registry.url("/").replace("http://", "http://user:${NPM_TOKEN}@");
    volume.write("a/.npmrc", format!("registry={url}\n"));
    let router = registry.router(&volume).env("NPM_CONFIG_REGISTRY", "");
    let router = with_token(router, &volume).start().await;
    let error = fails(&router).await;
    assert!(error.message.contains("401") && error.message.contains("${NPM_TOKEN}"), "{}", error.message);
    assert!(!router.log.text().contains("s3cret"));
}

#[tokio::test]
async fn what_was_fetched_for_one_project_is_out_of_reach_of_the_others() {
    let (registry, volume, state) = (registry().await, greeting(), State::new());
    let router = registry.router(&volume).state(&state).start().await;
    let folder = std::fs::read_dir(state.path().join("packages/a")).unwrap().flatten().next().unwrap().path();
    let index = folder.join("node_modules/greeting/index.js");
    assert!(index.is_file());
    let tries = format!(
        "const index = {index:?};\n\
         const ways = {{ read: () => Deno.readTextFile(index), import: () => import(`file://${{index}}`),\n\
           write: () => Deno.writeTextFile(index, 'x'), make: () => Deno.mkdir(index + 's'),\n\
           list: () => Array.fromAsync(Deno.readDir({shared:?})) }};\n\
         const tried = async ([name, way]) => await way().then(() => name, () => '-');\n\
         export default {{ fetch: async () =>\n\
           new Response((await Promise.all(Object.entries(ways).map(tried))).join(' ')) }};\n",
        shared = state.path().join("packages/.downloads"),
    );
    volume.project("b").file("main.ts", &tries).write();
    assert_eq!(router.admin.reload("b").await.outcome, ReloadOutcome::Live);
    assert_eq!(router.public.get("/b/").await.text(), "- - - - -");
    // It can read its own packages only.
    volume.write("a/main.ts", tries);
    assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Live);
    serves(&router, "read import - - -").await;
}

#[tokio::test]
async fn a_damaged_download_is_made_again() {
    let (registry, volume, state) = (registry().await, greeting(), State::new());
    let router = registry.router(&volume).state(&state).start().await;
    let shared = std::fs::read_dir(state.path().join("packages/.downloads")).unwrap();
    let shared = shared.flatten().next().unwrap().path();
    let downloads: Vec<_> = std::fs::read_dir(shared).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(downloads.len(), 2);
    for (path, damaged) in downloads.iter().zip(["", "of an earlier life, and longer than any hash"]) {
        std::fs::write(path, damaged).unwrap();
    }
    volume.copy_in(&volume.path("a"), "b");
    assert_eq!(router.admin.reload("b").await.outcome, ReloadOutcome::Live);
    assert_eq!(router.public.get("/b/").await.text(), "hello");
}

#[tokio::test]
async fn packages_are_fetched_as_the_cells_user_and_belong_to_the_router() {
    if !geteuid().is_root() {
        return;
    }
    let (registry, volume, state) = (registry().await, greeting(), State::new());
    std::fs::set_permissions(state.path(), Permissions::from_mode(0o711)).unwrap();
    let router = registry.router(&volume).state(&state).flag("cell-user", "nobody").start().await;
    serves(&router, "hello").await;
    let owners = |folder: &str| {
        let mut paths = vec![state.path().join(folder)];
        let mut owners = BTreeSet::new();
        while let Some(path) = paths.pop() {
            let metadata = path.symlink_metadata().unwrap();
            owners.insert(metadata.uid() == 0);
            if metadata.is_dir() {
                paths.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            }
        }
        owners
    };
    assert_eq!(owners("packages/a"), [true].into());
    assert_eq!(owners("packages/.downloads"), [false].into());
    drop(router);
    // Another user does not believe what the first one left.
    let router = registry.router(&volume).state(&state).start().await;
    serves(&router, "hello").await;
    assert_eq!(owners("packages/.downloads"), [true].into());
    assert!(downloads(&state).is_empty());
}

/// The shared tarballs, and who owns each.
fn downloads(state: &State) -> Vec<u32> {
    let folders = std::fs::read_dir(state.path().join("packages/.downloads")).expect("it can be read");
    let files = folders.flat_map(|folder| {
        std::fs::read_dir(folder.expect("it can be read").path()).expect("it can be read")
    });
    files.map(|file| file.expect("it can be read").metadata().expect("it can be read").uid()).collect()
}

#[tokio::test]
async fn projects_with_users_of_their_own_share_what_was_downloaded() {
    if !geteuid().is_root() {
        return;
    }
    let (registry, volume, state) = (registry().await, greeting(), State::new());
    let router = registry.router(&volume).state(&state).start().await;
    serves(&router, "hello").await;
    let users = |name: &str| std::fs::metadata(state.path().join("data").join(name)).unwrap().uid();
    let first = downloads(&state);
    assert_eq!(first.iter().copied().collect::<BTreeSet<_>>(), [users("a")].into());
    volume.copy_in(&volume.path("a"), "b");
    assert_eq!(router.admin.reload("b").await.outcome, ReloadOutcome::Live);
    assert_eq!(router.public.get("/b/").await.text(), "hello");
    assert_ne!(users("a"), users("b"));
    assert_eq!(downloads(&state), first, "nothing is downloaded a second time");
}

#[tokio::test]
async fn authorities_that_are_none_are_refused() {
    let volume = greeting();
    for (file, reason) in [("nowhere", "No such file"), ("a/package.json", "contains no certificate")] {
        let router = Router::builder(&volume).flag("allow-install", "");
        let ended = router.env("SSL_CERT_FILE", &volume.path(file).display().to_string()).run_to_end().await;
        assert_eq!(ended.status.code(), Some(64));
        let text = ended.log.text();
        assert!(text.contains("SSL_CERT_FILE=") && text.contains(reason), "{text}");
    }
}

#[tokio::test]
async fn a_registry_that_does_not_answer_keeps_nobody_else_waiting() {
    let (registry, volume) = (registry().await, greeting());
    volume.write("b/main.ts", hello("b"));
    // The listener does not answer: connections wait.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let builder = registry.router(&volume).env("NPM_CONFIG_REGISTRY", &url).flag("build-timeout", 1000);
    // The router is ready.
    let router = builder.start().await;
    assert_eq!(router.public.get("/b/").await.text(), "b");
    assert_eq!(router.admin.project("a").await.error, None);
}

#[tokio::test]
async fn scripts_of_packages_never_run() {
    let (registry, volume) = (registry().await, greeting());
    let mark = volume.path("ran");
    let script = format!("touch {}", mark.display());
    let scripts = json!({"preinstall": script, "install": script, "postinstall": script});
    registry.publish("greeting", "1.0.1", json!({"scripts": scripts}), &[("index.js", &exports("quiet"))]);
    volume.write(
        "a/package.json",
        json!({"dependencies": {"greeting": "1.0.1"}, "scripts": scripts}).to_string(),
    );
    volume.write("a/deno.json", r#"{"allowScripts": true}"#);
    let router = registry.router(&volume).start().await;
    serves(&router, "quiet").await;
    assert!(!mark.exists());
}

#[tokio::test]
async fn npm_specifiers_are_fetched_when_they_are_first_imported() {
    let (registry, volume) = (registry().await, Volume::with("a", hello("none")));
    let router = registry.router(&volume).start().await;
    serves(&router, "none").await;
    assert_eq!(registry.take_requests(), [""; 0]);
    volume.write("a/main.ts", GREETS.replace("'greeting'", "'npm:greeting@1'"));
    assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Live);
    serves(&router, "hello").await;
    // ... and by names that deno.json gives them.
    volume.write("a/main.ts", GREETS);
    volume.write("a/deno.json", r#"{"imports": {"greeting": "npm:greeting@^1.0.0"}}"#);
    assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Live);
    serves(&router, "hello").await;
}

#[tokio::test]
async fn another_package_leaves_the_versions_of_the_others_as_they_are() {
    let (registry, volume) =
        (registry().await, Volume::with("a", GREETS.replace("'greeting'", "'npm:greeting@1'")));
    registry.publish("other", "1.0.0", json!({}), &[("index.js", &exports("other"))]);
    volume.write("a/deno.json", "{}");
    let router = registry.router(&volume).start().await;
    serves(&router, "hello").await;
    registry.publish("word", "1.1.0", json!({}), &[("index.js", &exports("newer"))]);
    let both = "import a from 'npm:greeting@1';\nimport b from 'npm:other@1';\n\
                export default { fetch: () => new Response(`${a} ${b}`) };\n";
    volume.write("a/main.ts", both);
    assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Live);
    serves(&router, "hello other").await;
}

#[tokio::test]
async fn packages_on_the_volume_are_used_as_they_are() {
    let (registry, volume) = (registry().await, greeting());
    volume.write("a/node_modules/greeting/package.json", r#"{"name": "greeting", "version": "1.0.0"}"#);
    volume.write("a/node_modules/greeting/index.js", exports("own"));
    let router = registry.router(&volume).start().await;
    serves(&router, "own").await;
    assert_eq!(registry.take_requests(), [""; 0]);
}

#[tokio::test]
async fn a_project_that_includes_others_gets_its_packages_and_theirs() {
    let (registry, volume) = (registry().await, greeting());
    volume.write("_shared/mod.ts", "export { default as word } from 'npm:word';\n");
    volume.write("a/deno.json", r#"{"switchyard": {"include": ["../_shared"]}}"#);
    let main = "import greeting from 'greeting';\nimport { word } from '../_shared/mod.ts';\nexport default { fetch: () => new Response(`${greeting} ${word}`) };\n";
    volume.write("a/main.ts", main);
    let router = registry.router(&volume).start().await;
    serves(&router, "hello hello").await;
}

#[tokio::test]
async fn packages_of_a_workspace_on_the_volume_are_used_as_they_are() {
    let (registry, volume) = (registry().await, greeting());
    volume.write("package.json", r#"{"private": true, "workspaces": ["a"]}"#);
    volume.write("a/deno.json", r#"{"switchyard": {"include": ["../package.json"]}}"#);
    volume.write("node_modules/greeting/package.json", r#"{"name": "greeting", "version": "1.0.0"}"#);
    volume.write("node_modules/greeting/index.js", exports("hoisted"));
    let router = registry.router(&volume).start().await;
    serves(&router, "hoisted").await;
    assert_eq!(registry.take_requests(), [""; 0]);
}

#[tokio::test]
async fn modules_are_imported_by_their_url() {
    let (registry, volume) = (registry().await, Volume::new());
    registry.redirect("/lib", "/lib@1/mod.ts");
    registry.file(
        "/lib@1/mod.ts",
        "text/typescript",
        "import { a } from './a.js';\nimport data from './data.json' with { type: 'json' };\n\
         import greeting from 'npm:greeting@1';\n\
         export const lib: string = `${a} ${data.b} ${greeting} ${new URL(import.meta.url).pathname}`;\n",
    );
    registry.file("/lib@1/a.js", "text/javascript", "export const a = 'a';\n");
    registry.file("/lib@1/data.json", "application/json", r#"{"b": "b"}"#);
    let main = format!(
        "import {{ lib }} from '{}';\nexport default {{ fetch: () => new Response(lib) }};\n",
        registry.url("/lib")
    );
    volume.project("a").file("main.ts", &main).write();
    let router = registry.router(&volume).start().await;
    serves(&router, "a b hello /lib@1/mod.ts").await;
    registry.take_requests();
    volume.write("a/main.ts", format!("{main}// changed\n"));
    assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Live);
    assert_eq!(registry.take_requests(), [""; 0]);
}

#[tokio::test]
async fn a_module_that_is_not_there_is_named_where_it_is_imported() {
    let (registry, volume) = (registry().await, Volume::new());
    let url = registry.url("/gone.ts");
    let main = format!("import './b.ts';\n{}", hello("a"));
    volume.project("a").file("main.ts", main).file("b.ts", format!("\n\nimport '{url}';\n")).write();
    let router = registry.router(&volume).start().await;
    let error = fails(&router).await;
    assert!(error.message.contains(&url), "{}", error.message);
    assert_eq!((error.file.as_deref(), error.line), (Some("b.ts"), Some(3)));
    assert!(error.frame.is_some());
}

#[tokio::test]
async fn jsr_packages_are_imported_by_their_names() {
    let (registry, volume) = (registry().await, Volume::new());
    registry.publish_jsr("@x/word", "1.0.0", &[("mod.ts", "export const word: string = 'jsr';\n")]);
    let greets = "import { word } from 'jsr:@x/word@^1.0.0';\nexport const greeting = word as string;\n";
    registry.publish_jsr("@x/greeting", "1.2.0", &[("mod.ts", greets)]);
    volume
        .project("a")
        .file("main.ts", GREETS.replace("greeting from", "{ greeting } from"))
        .file("deno.json", r#"{"imports": {"greeting": "jsr:@x/greeting@1"}}"#)
        .write();
    let router = registry.router(&volume).start().await;
    serves(&router, "jsr").await;
}

#[tokio::test]
async fn what_was_fetched_goes_with_the_project() {
    let (registry, volume, state) = (registry().await, greeting(), State::new());
    let router = registry.router(&volume).state(&state).flag("keep", 0).start().await;
    serves(&router, "hello").await;
    registry.publish("greeting", "2.0.0", json!({}), &[("index.js", &exports("two"))]);
    volume.write("a/package.json", r#"{"dependencies": {"greeting": "^2.0.0"}}"#);
    assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Live);
    serves(&router, "two").await;
    eventually("the packages of the old version are gone", || async { installations(&state) == 1 }).await;
    volume.remove("a");
    router.admin.reload("a").await;
    // A vanished project may come back: its last good version and its packages stay for days.
    let record = state.path().join("last-good/a.json");
    let gone = || std::fs::read_to_string(&record).is_ok_and(|text| text.contains("\"gone\""));
    eventually("it is noted that the folder is gone", || std::future::ready(gone())).await;
    assert_eq!(installations(&state), 1);
    drop(router);
    let text = std::fs::read_to_string(&record).unwrap();
    let mut last_good: serde_json::Value = serde_json::from_str(&text).unwrap();
    last_good["gone"] = "2026-01-01T00:00:00Z".into();
    std::fs::write(&record, last_good.to_string()).unwrap();
    let _router = registry.router(&volume).state(&state).flag("keep", 0).start().await;
    let is_left = |path: &str| state.path().join(path).exists();
    eventually("nothing is left of it", || async { !is_left("packages/a") && !is_left("last-good/a.json") })
        .await;
}

#[tokio::test]
async fn a_change_ends_the_installation_that_it_makes_needless() {
    let (registry, volume) = (registry().await, greeting());
    // The listener does not answer: connections wait.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let router = registry.router(&volume).env("NPM_CONFIG_REGISTRY", &url).start_unready().await;
    let mut events = router.events().await;
    let accepted = tokio::task::spawn_blocking(move || silent.accept().map(|taken| (taken, silent)));
    let _held = switchyard_integration::within("it is asked", accepted).await.unwrap().unwrap();
    volume.remove("a/package.json");
    volume.write("a/main.ts", hello("changed"));
    router.admin.reload("a").await;
    events.wait_live("a").await;
    serves(&router, "changed").await;
}
