//! Folders and files beside a project that are part of its versions: `"switchyard": {"include":
//! ["../_shared"]}`.

use std::path::Path;
use std::process::Command;

use serde_json::json;
use switchyard_contract::admin::{ProjectState, ReloadOutcome};
use switchyard_contract::deploy::DeployOutcome;
use switchyard_contract::event::EventType;
use switchyard_integration::bridge::Bridge;
use switchyard_integration::bridge::record::Record;
use switchyard_integration::events::Events;
use switchyard_integration::eventually;
use switchyard_integration::fixtures::hello;
use switchyard_integration::router::{Router, State};
use switchyard_integration::upload::Upload;
use switchyard_integration::volume::Volume;

/// A project's deno.json.
fn including(entries: &[&str]) -> String {
    json!({ "switchyard": { "include": entries } }).to_string()
}

/// Answers the label of `../_shared/mod.ts`.
const OF_SHARED: &str =
    "import { label } from '../_shared/mod.ts';\nexport default { fetch: () => new Response(label) };\n";

fn labelled(label: &str) -> String {
    format!("export const label = {label:?};\n")
}

/// Projects that answer with the label of the shared folder.
fn sharing(projects: &[&str]) -> Volume {
    let volume = Volume::new();
    volume.write("_shared/mod.ts", labelled("one"));
    for project in projects {
        volume
            .project(project)
            .file("main.ts", OF_SHARED)
            .file("deno.json", including(&["../_shared"]))
            .write();
    }
    volume
}

async fn text(router: &Router, path: &str) -> String {
    router.public.get(path).await.text()
}

async fn all_live(events: &mut Events, projects: &[&str]) {
    for project in projects {
        events.wait_live(project).await;
    }
}

/// Returns the digest of the project with its included files, computed with coreutils in the
/// project's folder.
fn digest(project: &Path, included: &str) -> String {
    let script = format!(
        "(find -L . -type f -printf '%P\\n'; find -L {included} -type f) \
         | LC_ALL=C sort | tr '\\n' '\\0' | xargs -0 sha256sum | sha256sum"
    );
    let output = Command::new("sh").args(["-c", &script]).current_dir(project).output();
    let printed = String::from_utf8(output.expect("there is a shell").stdout).expect("digits are UTF-8");
    printed.split_whitespace().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_folder_beside_the_project_is_part_of_its_digest_and_its_checkout() {
    let (volume, state) = (sharing(&["a"]), State::new());
    volume.write("_shared/lib/x y.txt", "text");
    let router = Router::builder(&volume).state(&state).unwatched().start().await;
    assert_eq!(text(&router, "/a/").await, "one");
    let first = router.admin.project("a").await.live.unwrap();
    assert_eq!(first.digest, digest(&volume.path("a"), "../_shared"));
    volume.write("_shared/mod.ts", labelled("two"));
    let second = router.admin.reload("a").await;
    assert_eq!((second.outcome, text(&router, "/a/").await.as_str()), (ReloadOutcome::Live, "two"));
    assert_eq!(second.digest.unwrap(), digest(&volume.path("a"), "../_shared"));
    let kept = state.path().join(format!("checkouts/{}/_shared/mod.ts", first.version));
    assert_eq!(std::fs::read_to_string(kept).unwrap(), labelled("one"));

    // The next router serves from the checkout before it has built anything.
    volume.write("a/main.ts", "throw new Error('on purpose');");
    assert!(router.stop().await.status.success());
    let router = Router::builder(&volume).state(&state).unwatched().start().await;
    assert_eq!(text(&router, "/a/").await, "two");
}

#[tokio::test]
async fn without_include_nothing_beside_the_project_can_be_loaded() {
    let volume = sharing(&["a"]);
    volume.write("a/deno.json", "{}");
    let router = Router::builder(&volume).unwatched().start().await;
    let error = router.admin.project("a").await.error.unwrap();
    assert_eq!((error.file.as_deref(), error.line), (Some("main.ts"), Some(1)));
    let begin = "Module not found: \"../_shared/mod.ts\" does not exist in this version";
    assert!(error.message.contains(begin) && error.message.contains("include"), "{}", error.message);
}

#[tokio::test]
async fn a_change_reloads_exactly_the_projects_that_include_it_each_once() {
    let volume = sharing(&["a", "b"]);
    volume.project("other").file("main.ts", hello("one")).write();
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    all_live(&mut events, &["a", "b", "other"]).await;
    volume.replace("_shared/mod.ts", labelled("two"));
    all_live(&mut events, &["a", "b"]).await;
    assert_eq!((text(&router, "/a/").await, text(&router, "/b/").await), ("two".into(), "two".into()));
    volume.write("other/main.ts", hello("two"));
    events.wait_live("other").await;
    for project in ["a", "b", "other"] {
        assert_eq!(events.count(EventType::ReloadLive, project), 2, "{project}");
    }
}

#[tokio::test]
async fn projects_may_include_each_other_without_their_includes() {
    let volume = Volume::new();
    for (project, other) in [("a", "b"), ("b", "a")] {
        let main = format!(
            "import {{ label }} from '../{other}/label.ts';\nexport default {{ fetch: () => new Response(label) }};\n"
        );
        let includes = if project == "b" { vec!["../a", "../c"] } else { vec!["../b"] };
        let config = json!({ "switchyard": { "include": includes, "share": [other] } });
        volume
            .project(project)
            .file("main.ts", main)
            .file("label.ts", labelled(project))
            .file("deno.json", config.to_string())
            .write();
    }
    volume.write("c/main.ts", hello("c"));
    volume.write("c/deno.json", r#"{"switchyard": {"share": true}}"#);
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    all_live(&mut events, &["a", "b", "c"]).await;
    assert_eq!((text(&router, "/a/").await, text(&router, "/b/").await), ("b".into(), "a".into()));
    volume.replace("c/main.ts", hello("changed"));
    all_live(&mut events, &["b", "c"]).await;
    assert_eq!(events.count(EventType::ReloadLive, "a"), 1, "not what others include");
    volume.replace("a/label.ts", labelled("new"));
    all_live(&mut events, &["a", "b"]).await;
    assert_eq!(text(&router, "/b/").await, "new");
    assert_eq!(events.count(EventType::ReloadLive, "a"), 2);
}

#[tokio::test]
async fn a_project_is_included_for_as_long_as_it_shares() {
    let volume = Volume::new();
    let main = OF_SHARED.replace("../_shared", "../lib/src");
    volume.project("a").file("main.ts", main).file("deno.json", including(&["../lib/src"])).write();
    volume.project("lib").file("main.ts", hello("lib")).file("src/mod.ts", labelled("one")).write();
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    let failed = events.wait_failed("a").await.data.error.unwrap();
    assert_eq!(failed.file.as_deref(), Some("deno.json"));
    let begin = "\"switchyard.include\" in deno.json names \"../lib/src\", which lib does not share with a: put \
                 \"switchyard\": {\"share\": [\"a\"]} in lib/deno.json";
    assert!(failed.message.starts_with(begin), "{}", failed.message);
    volume.write("lib/deno.json", r#"{"switchyard": {"share": ["a"]}}"#);
    events.wait_live("a").await;
    assert_eq!(text(&router, "/a/").await, "one");

    volume.replace("lib/deno.json", r#"{"switchyard": {"share": ["other"]}}"#);
    events.wait_failed("a").await;
    volume.replace("lib/src/mod.ts", labelled("two"));
    assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Failed);
    assert_eq!(text(&router, "/a/").await, "one", "the last good version keeps serving");
    volume.replace("lib/deno.json", r#"{"switchyard": {"share": true}}"#);
    events.wait_live("a").await;
    assert_eq!(text(&router, "/a/").await, "two");
}

#[tokio::test]
async fn a_leave_that_cannot_be_understood_is_its_owners_error() {
    let volume = Volume::with("a", hello("a"));
    volume.write("a/deno.json", r#"{"switchyard": {"share": "b"}}"#);
    let router = Router::builder(&volume).unwatched().start().await;
    let error = router.admin.project("a").await.error.unwrap();
    assert_eq!(error.file.as_deref(), Some("deno.json"));
    assert!(
        error.message.starts_with("\"switchyard.share\" in deno.json must be true or a list"),
        "{}",
        error.message
    );
}

#[tokio::test]
async fn a_folder_that_appears_later_is_waited_for() {
    let volume = Volume::new();
    let main = OF_SHARED.replace("../_shared", "../_libs/shared");
    volume.project("a").file("main.ts", main).file("deno.json", including(&["../_libs/shared"])).write();
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    let failed = events.wait_failed("a").await.data.error.unwrap();
    assert_eq!(failed.file.as_deref(), Some("deno.json"));
    assert!(
        failed.message.starts_with(
            "\"switchyard.include\" in deno.json names \"../_libs/shared\", which does not exist"
        ),
        "{}",
        failed.message
    );
    volume.write("_libs/shared/mod.ts", labelled("one"));
    events.wait_live("a").await;
    assert_eq!(text(&router, "/a/").await, "one");
    volume.replace("_libs/shared/mod.ts", labelled("two"));
    events.wait_live("a").await;
    volume.remove("_libs/shared");
    events.wait_failed("a").await;
    assert_eq!(text(&router, "/a/").await, "two", "the last good version keeps serving");
    volume.write("_libs/shared/mod.ts", labelled("three"));
    events.wait_live("a").await;
    assert_eq!(text(&router, "/a/").await, "three");
}

#[tokio::test]
async fn later_includes_are_watched_from_then_on() {
    let volume = Volume::with("a", hello("alone"));
    volume.write("_shared/mod.ts", labelled("one"));
    volume.project("other").file("main.ts", hello("one")).write();
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    all_live(&mut events, &["a", "other"]).await;
    volume.write("a/deno.json", including(&["../_shared"]));
    events.wait_live("a").await;
    volume.write("_shared/deep/er.txt", "1");
    events.wait_live("a").await;
    volume.write("_shared/deep/er.txt", "2");
    events.wait_live("a").await;
    volume.write("a/deno.json", "{}");
    events.wait_live("a").await;
    volume.write("_shared/deep/er.txt", "3");
    volume.write("other/main.ts", hello("two"));
    events.wait_live("other").await;
    assert_eq!(events.count(EventType::ReloadLive, "a"), 5);
}

#[tokio::test]
async fn polling_sees_included_files() {
    let volume = sharing(&["a"]);
    let router = Router::builder(&volume).unwatched().flag("poll", 50).start().await;
    let mut events = router.events().await;
    events.wait_live("a").await;
    volume.write("_shared/mod.ts", labelled("two"));
    events.wait_live("a").await;
    assert_eq!(text(&router, "/a/").await, "two");
}

#[tokio::test]
async fn invalid_includes_are_named_with_file_and_field() {
    let volume = Volume::new();
    volume.write("_state/x", "");
    volume.link("/etc", "_etc");
    let state = volume.path("_state").display().to_string();
    let wrong = [
        ("absolute", "/etc", "does not begin"),
        ("inside", "./lib", "does not begin"),
        ("above", "../../x", "is not a plain path below the projects root"),
        ("itself", "../itself", "is the project itself"),
        ("part", "../part/lib", "is the project itself"),
        ("link", "../_etc", "symbolic link"),
        ("state-of-the-router", "../_state/data", "is the router's own"),
        ("hidden", "../.npmrc", "is hidden"),
        ("neighbour", "../itself/lib", "itself does not share with neighbour"),
        ("gone", "../gone-too", "does not exist"),
    ];
    for (project, entry, _) in wrong {
        volume.project(project).file("main.ts", hello("x")).file("lib/x.ts", "").write();
        volume.write(&format!("{project}/deno.json"), including(&[entry]));
    }
    volume.write("_leaving/mod.ts", "");
    volume.link("/etc/hostname", "_leaving/link.txt");
    volume
        .project("by-link")
        .file("main.ts", hello("x"))
        .file("deno.json", including(&["../_leaving"]))
        .write();
    let router = Router::builder(&volume).unwatched().flag("state", &state).start().await;
    let projects = router.admin.projects().await;
    for (project, entry, why) in wrong {
        let status = &projects[project];
        let error = status.error.as_ref().unwrap();
        assert_eq!(
            (status.state, error.file.as_deref()),
            (ProjectState::Invalid, Some("deno.json")),
            "{project}"
        );
        let begin = format!("\"switchyard.include\" in deno.json names {entry:?}, which ");
        assert!(error.message.starts_with(&begin) && error.message.contains(why), "{}", error.message);
    }
    let error = projects["by-link"].error.as_ref().unwrap();
    assert!(error.message.starts_with("the symbolic link ../_leaving/link.txt leaves"), "{}", error.message);
}

#[tokio::test]
async fn a_version_reads_its_included_files_and_no_others_outside_it() {
    let main = "export default { async fetch(request) {
        const read = (path) => Deno.readTextFile(path).catch((error) => error.name);
        const list = (path) => Array.fromAsync(Deno.readDir(path), (entry) => entry.name).catch((error) => error.name);
        return Response.json({
            included: await read('../_shared/data.txt'),
            byUrl: await read(new URL('../_shared/data.txt', import.meta.url)),
            beside: await list('..').then((names) => names.sort?.() ?? names),
            secret: await read('../_secret/data.txt'),
            above: await list('../..'),
            written: await Deno.writeTextFile('../_shared/data.txt', 'x').catch((error) => error.name),
        });
    } };";
    let volume = Volume::with("a", main);
    volume.write("a/deno.json", including(&["../_shared"]));
    volume.write("_shared/data.txt", "text");
    volume.write("_secret/data.txt", "secret");
    let router = Router::builder(&volume).unwatched().start().await;
    let answers = router.public.get("/a/").await.json();
    assert_eq!((&answers["included"], &answers["byUrl"]), (&"text".into(), &"text".into()));
    assert_eq!(answers["beside"], json!(["_shared", "a"]));
    assert_eq!(answers["secret"], "NotFound");
    assert_eq!((&answers["above"], &answers["written"]), (&"NotFound".into(), &"NotCapable".into()));
}

#[tokio::test]
async fn an_error_in_an_included_file_is_shown_with_its_location() {
    let volume = sharing(&["a"]);
    volume.write("_shared/mod.ts", "export const label = 'x';\nexport const = 1;\n");
    let router = Router::builder(&volume).unwatched().start().await;
    let error = router.admin.project("a").await.error.unwrap();
    assert_eq!((error.file.as_deref(), error.line), (Some("../_shared/mod.ts"), Some(2)), "{error:?}");
    volume.write("_shared/mod.ts", "export const label = 1;\nthrow new Error('on purpose');\n");
    let error = router.admin.reload("a").await.error.unwrap();
    assert_eq!((error.file.as_deref(), error.line), (Some("../_shared/mod.ts"), Some(2)), "{error:?}");
}

#[tokio::test]
async fn a_deno_workspace_is_resolved_by_the_names_of_its_members() {
    let volume = Volume::new();
    volume
        .write("deno.json", r#"{"workspace": ["./a", "./_shared"], "imports": {"root/": "./_shared/lib/"}}"#);
    volume.write(
        "_shared/deno.json",
        r#"{"name": "@acme/shared", "version": "1.0.0", "exports": {".": "./mod.ts"}}"#,
    );
    volume.write("_shared/mod.ts", labelled("member"));
    volume.write("_shared/lib/x.ts", "export const x: string = 'mapped';");
    let main = "import { label } from '@acme/shared';\nimport { x } from 'root/x.ts';\n\
                export default { fetch: () => new Response(`${label}:${x}`) };\n";
    volume
        .project("a")
        .file("main.ts", main)
        .file("deno.json", including(&["../_shared", "../deno.json"]))
        .write();
    let router = Router::start(&volume).await;
    assert_eq!(text(&router, "/a/").await, "member:mapped");
    let mut events = router.events().await;
    events.wait_live("a").await;
    volume.replace(
        "deno.json",
        r#"{"workspace": ["./a", "./_shared", "./b"], "imports": {"root/": "./_shared/lib/"}}"#,
    );
    events.wait_live("a").await;
    assert_eq!(text(&router, "/a/").await, "member:mapped", "a member that is not included is left out");
}

#[tokio::test]
async fn an_included_folder_without_files_is_refused() {
    let volume = Volume::new();
    std::fs::create_dir(volume.path("_shared")).unwrap();
    volume.project("a").file("main.ts", hello("a")).file("deno.json", including(&["../_shared"])).write();
    let router = Router::builder(&volume).unwatched().start().await;
    let error = router.admin.project("a").await.error.expect("it fails");
    assert!(error.message.contains("../_shared has no files"), "{error:?}");
    volume.write("_shared/mod.ts", "");
    assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Live);
}

#[tokio::test]
async fn a_workspace_of_package_json_shares_members_and_packages() {
    let volume = Volume::new();
    volume.write("package.json", r#"{"private": true, "workspaces": ["a", "_shared"]}"#);
    volume.write(
        "_shared/package.json",
        r#"{"name": "shared", "version": "1.0.0", "type": "module", "exports": "./mod.js"}"#,
    );
    volume.write("_shared/mod.js", "export { default as label } from 'hoisted';\n");
    volume.write(
        "node_modules/hoisted/package.json",
        r#"{"name": "hoisted", "version": "1.0.0", "main": "index.js"}"#,
    );
    volume.write("node_modules/hoisted/index.js", "module.exports = 'hoisted';\n");
    // The layout of npm.
    volume.link("../_shared", "node_modules/shared");
    volume
        .project("a")
        .file(
            "main.ts",
            "import { label } from 'shared';\nexport default { fetch: () => new Response(label) };\n",
        )
        .file("package.json", r#"{"name": "a", "type": "module", "dependencies": {"shared": "*"}}"#)
        .file("deno.json", including(&["../_shared", "../package.json"]))
        .write();
    let router = Router::builder(&volume).unwatched().start().await;
    let status = router.admin.project("a").await;
    assert_eq!(text(&router, "/a/").await, "hoisted", "{:?}", status.error);
}

#[tokio::test]
async fn packages_of_an_included_folder_are_used_where_they_are() {
    let volume = sharing(&["a"]);
    volume.write("_shared/mod.ts", "export { default as label } from 'pack';\n");
    volume.write("_shared/package.json", r#"{"dependencies": {"pack": "*"}}"#);
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    events.wait_failed("a").await;
    volume.write("_made/pack/package.json", r#"{"name": "pack", "version": "1.0.0", "type": "module"}"#);
    volume.write("_made/pack/index.js", "export default 'packed';\n");
    volume.rename("_made", "_shared/node_modules");
    events.wait_live("a").await;
    assert_eq!(text(&router, "/a/").await, "packed");
    let live = router.admin.project("a").await.live.unwrap();
    volume.write("_shared/node_modules/pack/other.js", "");
    assert_eq!(router.admin.reload("a").await.digest.unwrap(), live.digest, "packages do not count");
}

#[tokio::test]
async fn a_deployed_project_goes_live_with_what_it_includes_and_back() {
    let volume = sharing(&[]);
    let router = Router::start(&volume).await;
    let bridge = Bridge::builder(&volume).router(&router).start().await;
    let deno_json = including(&["../_shared"]);
    let upload = |main: &str| Upload::curl(&[("main.ts", main), ("deno.json", &deno_json)]);
    let first = bridge.deploy_live("a", &upload(OF_SHARED)).await;
    assert_eq!(text(&router, "/a/").await, "one");
    let live = router.admin.project("a").await.live.unwrap();
    assert_eq!((first.version(), first.digest()), (live.version.as_str(), live.digest.clone()));
    assert_eq!(live.digest, digest(&volume.path("a"), "../_shared"));

    let second = bridge.deploy_live("a", &upload(&hello("two"))).await;
    assert_eq!(text(&router, "/a/").await, "two");
    assert_ne!(second.version(), first.version());
    let back = Record::of(&bridge.client.post("/projects/a/rollback").await);
    assert_eq!((back.outcome, back.version()), (Some(DeployOutcome::Live), first.version()));
    assert_eq!(volume.read("a/main.ts"), OF_SHARED);
    eventually("the rollback answers", || async { text(&router, "/a/").await == "one" }).await;
    assert!(!volume.path("a/_shared").exists());
}
