//! Commands about projects: versions, differences, the way back, locks, reloads, and where the bridge is.

use switchyard_integration::bridge::Bridge;
use switchyard_integration::bridge::cli::{Outcome, run, run_with};
use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::eventually;
use switchyard_integration::fixtures::hello;
use switchyard_integration::upload::{Part, Upload};
use switchyard_integration::volume::Volume;

async fn start() -> (Volume, Replicas, Bridge) {
    let volume = Volume::new();
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    (volume, routers, bridge)
}

async fn deploy(bridge: &Bridge, project: &str, text: &str) {
    bridge.deploy_live(project, &Upload::main(hello(text))).await;
}

async fn ok(bridge: &Bridge, args: &[&str]) -> Outcome {
    let outcome = run(bridge, args).await;
    assert_eq!(outcome.code, Some(0), "{args:?}: {outcome:#?}");
    outcome
}

async fn refused(bridge: &Bridge, args: &[&str], code: i32, text: &str) {
    let outcome = run(bridge, args).await;
    assert!(outcome.code == Some(code) && outcome.stderr.contains(text), "{args:?}: {outcome:#?}");
}

#[tokio::test]
async fn rollbacks_walk_back_and_never_to_the_version_that_was_left() {
    let (_volume, routers, bridge) = start().await;
    for text in ["one", "two", "bad"] {
        deploy(&bridge, "a", text).await;
    }
    let planned = ok(&bridge, &["rollback", "a", "--dry-run"]).await;
    assert!(planned.stdout.contains("M main.ts") && planned.stdout.contains("two"), "{planned:#?}");
    assert_eq!(routers.texts("/a/").await, ["bad"]);
    let back = ok(&bridge, &["rollback", "a", "-m", "it was bad"]).await;
    assert!(back.stderr.contains("the files are there") && !back.stderr.contains("received"), "{back:#?}");
    assert_eq!(routers.texts("/a/").await, ["two"]);
    let newest = bridge.client.get("/deploys").await.json();
    assert_eq!(newest["deploys"][0]["message"], "it was bad", "{newest}");
    let versions = ok(&bridge, &["versions", "a"]).await;
    assert_eq!(versions.stdout.matches("it was bad").count(), 1, "{versions:#?}");
    assert!(versions.stdout.contains("(rolled back: it was bad)"), "{versions:#?}");
    ok(&bridge, &["rollback", "a"]).await;
    assert_eq!(routers.texts("/a/").await, ["one"]);
    refused(&bridge, &["rollback", "a"], 1, "switchyard versions a").await;
    assert_eq!(routers.texts("/a/").await, ["one"]);
    deploy(&bridge, "a", "three").await;
    ok(&bridge, &["rollback", "a"]).await;
    assert_eq!(routers.texts("/a/").await, ["one"]);
    ok(&bridge, &["remove", "a", "-y"]).await;
    for verb in ["reload", "logs", "open", "inspect"] {
        refused(&bridge, &[verb, "a"], 1, "a is removed: switchyard rollback a restores it until").await;
        refused(&bridge, &[verb, "none"], 1, "there is no project none").await;
    }
    refused(&bridge, &["events", "none"], 1, "there is no project none").await;
    let planned = ok(&bridge, &["rollback", "a", "--dry-run"]).await;
    assert!(planned.stderr.contains("a rollback restores it"), "{planned:#?}");
    ok(&bridge, &["rollback", "a"]).await;
    assert_eq!(routers.texts("/a/").await, ["one"]);
}

#[tokio::test]
async fn versions_are_listed_and_compared_file_by_file() {
    let (_volume, _routers, bridge) = start().await;
    deploy(&bridge, "a", "one").await;
    let upload = Upload::main(hello("two")).and(&Part::file("lib/new.txt", "new\n"));
    bridge.deploy_live("a", &upload).await;
    let listed = ok(&bridge, &["versions", "a"]).await;
    let lines: Vec<_> = listed.stdout.lines().collect();
    let states = lines[1].contains("live") && lines[2].contains("kept");
    assert!(lines[0].starts_with("VERSION ") && states, "{lines:?}");
    let json = ok(&bridge, &["versions", "a", "--json"]).await.json();
    let digest = |at: usize| json["versions"][at]["digest"].as_str().expect("a digest").to_owned();
    let (new, old) = (digest(0), digest(1));
    let diff = ok(&bridge, &["diff", "a", &old, &new[..12]]).await.stdout;
    for part in ["A lib/new.txt", "M main.ts", "+new", "-", "one", "two"] {
        assert!(diff.contains(part), "{part}: {diff}");
    }
    let back = ok(&bridge, &["diff", "a", "--json"]).await.json();
    assert_eq!(back["files"][0]["change"], "removed", "{back}");
    refused(&bridge, &["diff", "a", "ffffffffffff"], 1, "ffffffffffff").await;
    refused(&bridge, &["diff", "a", "no"], 64, "FROM: invalid version").await;
    refused(&bridge, &["versions", "none"], 1, "there is no project none").await;
}

#[tokio::test]
async fn a_locked_project_is_not_changed_until_it_is_unlocked() {
    let (_volume, routers, bridge) = start().await;
    deploy(&bridge, "a", "one").await;
    deploy(&bridge, "a", "two").await;
    ok(&bridge, &["lock", "a", "-m", "the sale"]).await;
    refused(&bridge, &["rollback", "a"], 2, "(the sale)").await;
    refused(&bridge, &["remove", "a", "-y"], 2, "switchyard unlock a").await;
    let deployed = bridge.client.send(Upload::main(hello("three")).to("/deploy/a")).await;
    deployed.assert_problem(409, "locked");
    deploy(&bridge, "b", "other").await;
    assert_eq!(routers.texts("/a/").await, ["two"]);
    let explained = ok(&bridge, &["explain", "a"]).await.stdout;
    assert!(explained.contains("is live.") && explained.contains("It is locked since"), "{explained}");
    ok(&bridge, &["unlock", "a"]).await;
    refused(&bridge, &["unlock", "a"], 1, "a is not locked").await;
    deploy(&bridge, "a", "three").await;
    assert_eq!(routers.texts("/a/").await, ["three"]);
}

#[tokio::test]
async fn a_project_is_read_again_explained_and_opened() {
    let (volume, routers, bridge) = start().await;
    deploy(&bridge, "a", "one").await;
    let same = ok(&bridge, &["reload", "a"]).await.stdout;
    assert!(same.contains("is live already"), "{same}");
    volume.write("a/deno.json", r#"{"switchyard": {"idle": "10m"}}"#);
    ok(&bridge, &["reload", "a"]).await;
    let explained = ok(&bridge, &["explain", "a"]).await.stdout;
    let idle = explained.lines().find(|line| line.starts_with("switchyard.idle")).unwrap_or_default();
    assert!(idle.contains("\"10m\"") && idle.ends_with("deno.json:1"), "{explained}");
    for command in ["events", "versions"] {
        // The bridge learns of it a moment later.
        let is_shown = || async { ok(&bridge, &[command, "a"]).await.stdout.contains("deno.json") };
        eventually("the changed file is shown", is_shown).await;
    }
    volume.write("a/main.ts", "export default {");
    let failed = run(&bridge, &["reload"]).await;
    assert!(failed.code == Some(1) && failed.stdout.contains("a does not build: main.ts:1"), "{failed:#?}");
    let explained = ok(&bridge, &["explain", "a"]).await.stdout;
    assert!(explained.contains("serves, because") && explained.contains("main.ts:1"), "{explained}");
    let status = ok(&bridge, &["status"]).await.stdout;
    assert!(status.contains("stale"), "{status}");
    assert_eq!(run(&bridge, &["status", "--exit-code"]).await.code, Some(1));
    assert_eq!(routers.texts("/a/").await, ["one"]);
    let url = ok(&bridge, &["open", "a", "--print"]).await.stdout;
    assert!(url.starts_with("http://a.localhost:"), "{url}");
    let inspect = ok(&bridge, &["inspect", "a"]).await.stdout;
    assert!(inspect.starts_with("ws://127.0.0.1:") && inspect.contains("/projects/a/inspect"), "{inspect}");
}

#[tokio::test]
async fn the_last_line_of_a_deploy_is_the_url_and_the_current_folder_is_the_default() {
    let (_volume, _routers, bridge) = start().await;
    let source = Volume::called("shop");
    source.write("main.ts", hello("one"));
    let folder = source.root().to_str().unwrap();
    let deployed = ok(&bridge, &["deploy", folder]).await;
    let last = deployed.stdout.lines().last().unwrap_or_default();
    assert!(last.starts_with("http://shop.localhost:"), "{deployed:#?}");
    let help = run_with(&["deploy", "--help"], &[]).await.stdout;
    assert!(help.contains("[default: .]"), "{help}");
}

#[tokio::test]
async fn lines_of_several_projects_are_filtered() {
    let (_volume, _routers, bridge) = start().await;
    for name in ["a", "b"] {
        let prints = format!("console.log('{name} says hello');\nconsole.error('{name} complains');\n");
        bridge.deploy_live(name, &Upload::main(prints + &hello("x"))).await;
    }
    let both = ok(&bridge, &["logs"]).await.stdout;
    assert!(both.contains("a says hello") && both.contains("b says hello"), "{both}");
    let one = ok(&bridge, &["logs", "a", "b", "--grep", "b says"]).await.stdout;
    assert!(one.contains("b says hello") && !one.contains("a says"), "{one}");
    let errors = ok(&bridge, &["logs", "a", "--stderr", "--since", "10m"]).await.stdout;
    assert!(errors.contains("a complains") && !errors.contains("says"), "{errors}");
    assert_eq!(ok(&bridge, &["logs", "a", "--since", "0s"]).await.stdout, "");
    let json = ok(&bridge, &["logs", "a", "b", "--json"]).await.stdout;
    let is_json = |line: &str| serde_json::from_str::<serde_json::Value>(line).is_ok();
    assert!(!json.is_empty() && json.lines().all(is_json), "{json}");
}

/// The arguments and the variables of a command.
type Run<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)]);

/// A user with a folder of configuration.
struct User(Volume);

impl User {
    async fn run(&self, args: &[&str], env: &[(&str, &str)]) -> Outcome {
        let home = self.0.root().to_str().expect("a path of the test's own");
        run_with(args, &[&[("XDG_CONFIG_HOME", home)], env].concat()).await
    }
}

#[tokio::test]
async fn targets_have_names_and_flags_win_over_variables_and_those_over_the_file() {
    let (_volume, _routers, bridge) = start().await;
    deploy(&bridge, "a", "one").await;
    let url = format!("http://{}", bridge.client.address);
    let user = User(Volume::new());
    let none = user.run(&["target", "list"], &[]).await;
    assert!(none.code == Some(0) && none.stdout.contains("switchyard target add"), "{none:#?}");
    for (name, url) in [("here", url.as_str()), ("gone", "127.0.0.1:1")] {
        let added = user.run(&["target", "add", name, url], &[]).await;
        assert_eq!(added.code, Some(0), "{added:#?}");
    }
    assert_eq!(user.run(&["target", "add", "here", "http://h"], &[]).await.code, Some(1));
    let used = user.run(&["target", "use", "gone"], &[]).await;
    assert_eq!(used.code, Some(0), "{used:#?}");
    assert_eq!(user.run(&["status"], &[]).await.code, Some(3), "nobody is there");
    let port = format!(":{}", bridge.client.address.port());
    let elsewhere = ("SWITCHYARD_TO", "http://127.0.0.1:1");
    let runs: [Run<'_>; 6] = [
        (&["status", "--target", "here"], &[]),
        (&["status"], &[("SWITCHYARD_TARGET", "here")]),
        (&["status"], &[("SWITCHYARD_TO", &url)]),
        (&["status", "--to", &url], &[elsewhere]),
        (&["status", "--target", "here"], &[elsewhere]),
        (&["status", "--to", &port], &[]),
    ];
    for (args, env) in runs {
        let used = user.run(args, env).await;
        assert!(used.code == Some(0) && used.stdout.contains("live"), "{args:?} {env:?}: {used:#?}");
    }
    let list = user.run(&["target", "list"], &[]).await.stdout;
    assert!(list.contains("* gone") && list.contains("  here"), "{list}");
    let unknown = user.run(&["status", "--target", "hree"], &[]).await;
    assert!(unknown.code == Some(64) && unknown.stderr.contains("did you mean \"here\"?"), "{unknown:#?}");

    let text = user.0.read("switchyard/switchyard.toml");
    user.0.write("switchyard/switchyard.toml", format!("{text}\n[serve]\nbuild_timout = \"5s\"\n"));
    let wrong = user.run(&["status"], &[]).await;
    assert!(wrong.code == Some(64) && wrong.stderr.contains("switchyard.toml:"), "{wrong:#?}");
    assert!(wrong.stderr.contains("did you mean \"build_timeout\"?"), "{wrong:#?}");
}

#[tokio::test]
async fn a_server_reads_its_settings_from_the_file() {
    let (config, state) = (Volume::new(), Volume::new());
    config.write("s.toml", "[serve]\nprojects = \"missing\"\nbuild_timeout = \"soon\"\n");
    let file = config.path("s.toml");
    let serve = ["serve", "--config", file.to_str().unwrap()];
    let outcome = run_with(&serve, &[]).await;
    assert_eq!(outcome.code, Some(64), "{outcome:#?}");
    assert!(outcome.stderr.contains("--build-timeout: invalid time \"soon\""), "{outcome:#?}");
    assert!(outcome.stderr.contains("s.toml:3:1)"), "{outcome:#?}");
    let flags = ["--build-timeout", "5s", "--state", state.root().to_str().unwrap()];
    let outcome = run_with(&[&serve[..], &flags].concat(), &[]).await;
    let missing = format!("--projects: {}", config.path("missing").display());
    assert!(outcome.code == Some(64) && outcome.stderr.contains(&missing), "{outcome:#?}");
}

#[tokio::test]
async fn check_builds_and_serves_nothing() {
    let volume = Volume::with("good", hello("one"));
    let folder = volume.root().to_str().unwrap();
    let good = run_with(&["check", folder], &[]).await;
    assert!(good.code == Some(0) && good.stdout.contains("✓ good"), "{good:#?}");
    volume.write("bad/main.ts", "export default {");
    let bad = run_with(&["check", folder], &[]).await;
    assert!(bad.code == Some(1) && bad.stdout.contains("✗ bad   main.ts:1:"), "{bad:#?}");
    let one = run_with(&["check", volume.path("good").to_str().unwrap(), "--json"], &[]).await;
    assert_eq!(one.code, Some(0), "{one:#?}");
    assert_eq!(one.json()["type"], "reload.live");
    volume.write("_policy.toml", "[defaults.limits]\nmemmory = \"1GB\"\n");
    let policy = volume.path("_policy.toml");
    let wrong = run_with(&["check", folder, "--policy", policy.to_str().unwrap()], &[]).await;
    assert!(wrong.code == Some(64) && wrong.stderr.contains("did you mean \"memory\"?"), "{wrong:#?}");
}

#[tokio::test]
async fn doctor_says_what_the_machine_has() {
    let volume = Volume::new();
    let folder = volume.root().to_str().unwrap();
    let outcome = run_with(&["doctor", "--projects", folder, "--state", folder], &[]).await;
    for part in ["sandbox of cells", "folders can be watched", "port 8000", "exchanged", "history of runs"] {
        assert!(outcome.stdout.contains(part), "{part}: {outcome:#?}");
    }
    let missing = run_with(&["doctor", "--projects", "/nonexistent"], &[]).await;
    assert!(missing.code == Some(1) && missing.stdout.contains("✗ /nonexistent"), "{missing:#?}");
}
