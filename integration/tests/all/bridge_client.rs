//! `switchyard deploy` and its siblings, as pipelines use them: by exit status and `--json`.

use std::path::Path;

use serde_json::json;
use switchyard_contract::deploy::DeployOutcome;
use switchyard_integration::bridge::cli::{run, run_with};
use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::bridge::tree::{self, Tree};
use switchyard_integration::bridge::{Bridge, addresses};
use switchyard_integration::eventually;
use switchyard_integration::fixtures::hello;
use switchyard_integration::registry::Registry;
use switchyard_integration::volume::Volume;

async fn start() -> (Volume, Volume, Replicas, Bridge) {
    let (volume, source) = (Volume::new(), Volume::new());
    source.project("site").file("main.ts", hello("one")).file("lib/x.txt", "x").write();
    let routers = Replicas::start(&volume, 2).await;
    let bridge = routers.start_bridge().await;
    (volume, source, routers, bridge)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of the test's own")
}

#[tokio::test]
async fn deploy_sends_a_folder_and_exits_with_0_when_it_is_live() {
    let (volume, source, routers, bridge) = start().await;
    let folder = source.path("site");
    let outcome = run(&bridge, &["deploy", text(&folder), "--json"]).await;
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    assert_eq!(outcome.json()["projects"][0]["digest"], tree::digest(&folder));
    assert_eq!(routers.texts("/site/").await, ["one", "one"]);
    assert_eq!(tree::digest(&volume.path("site")), tree::digest(&folder));

    let outcome =
        run(&bridge, &["deploy", text(&folder), "--project", "other", "--message", "by hand"]).await;
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    assert_eq!(routers.texts("/other/").await, ["one", "one"]);
    assert!(outcome.stdout.contains("other@") || outcome.stderr.contains("other@"), "{outcome:#?}");
    let newest = bridge.client.get("/deploys").await.json();
    assert_eq!(newest["deploys"][0]["message"], "by hand", "{newest}");
}

#[tokio::test]
async fn a_project_that_includes_files_of_the_volume_is_deployed_as_any_other() {
    let (volume, source, routers, bridge) = start().await;
    volume.write("_shared/text.ts", "export const text = 'shared';\n");
    source
        .project("blog")
        .file("deno.json", r#"{"switchyard": {"include": ["../_shared"]}}"#)
        .file(
            "main.ts",
            "import { text } from '../_shared/text.ts';\nDeno.serve(() => new Response(text));\n",
        )
        .write();
    let outcome = run(&bridge, &["deploy", text(&source.path("blog"))]).await;
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    assert_eq!(routers.texts("/blog/").await, ["shared", "shared"]);
}

#[tokio::test]
async fn deploy_exits_with_1_and_the_location_if_the_version_does_not_build() {
    let (volume, source, _routers, bridge) = start().await;
    source.write("site/main.ts", "export default {\n  fetch( {\n");
    let outcome = run(&bridge, &["deploy", text(&source.path("site"))]).await;
    assert_eq!(outcome.code, Some(1), "{outcome:#?}");
    assert!(outcome.stderr.contains("main.ts"), "{outcome:#?}");
    let outcome = run(&bridge, &["deploy", text(&source.path("site")), "--json"]).await;
    assert_eq!((outcome.code, outcome.json()["error"]["file"].as_str()), (Some(1), Some("main.ts")));
    assert!(!volume.path("site").exists());
    let outcome = run(&bridge, &["deploy", text(&source.path("site")), "--keep"]).await;
    assert_eq!(outcome.code, Some(1), "{outcome:#?}");
    assert!(volume.path("site").exists());
}

#[tokio::test]
async fn deploy_without_waiting_tells_the_id() {
    let (_volume, source, routers, bridge) = start().await;
    let outcome = run(&bridge, &["deploy", text(&source.path("site")), "--no-wait", "--json"]).await;
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    let record = bridge.done(outcome.json()["deploy"].as_str().expect("an id")).await;
    assert_eq!(record.outcome, Some(DeployOutcome::Live));
    assert_eq!(routers.texts("/site/").await, ["one", "one"]);
}

#[tokio::test]
async fn ignored_files_are_not_sent() {
    let (volume, source, _routers, bridge) = start().await;
    source.write("site/.switchyardignore", "# what stays here\n*.log\n/secret/\n!kept.log\n");
    for path in ["debug.log", "lib/deep.log", "kept.log", "secret/key.txt", "lib/secret/fine.txt"] {
        source.write(&format!("site/{path}"), "x");
    }
    source.write("site/.git/HEAD", "ref");
    source.write("site/.gitignore", "lib/\n");
    let outcome = run(&bridge, &["deploy", text(&source.path("site")), "--json"]).await;
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    let mut files = Tree::of(&volume.path("site")).files();
    files.retain(|path| path != ".switchyardignore");
    assert_eq!(files, [".gitignore", "kept.log", "lib/secret/fine.txt", "lib/x.txt", "main.ts"]);
}

#[tokio::test]
async fn ignored_files_and_env_files_are_not_sent_but_the_folder_of_the_entry_is() {
    let (volume, source, routers, bridge) = start().await;
    let folder = source.path("site");
    std::fs::remove_file(folder.join("main.ts")).unwrap();
    source.write("site/package.json", r#"{"main": "dist/server.js", "type": "module"}"#);
    source.write("site/.gitignore", "dist/\nnode_modules/\n*.log\n");
    source.write(
        "site/dist/server.js",
        "import x from 'x';\nexport default { fetch: () => new Response(x) };\n",
    );
    source.write("site/node_modules/x/package.json", r#"{"name": "x", "main": "dist/i.js"}"#);
    source.write("site/node_modules/x/dist/i.js", "module.exports = 'packed';\n");
    for path in [".env", ".env.production", "a.log", "dist/.env", "dist/.gitignore"] {
        source.write(&format!("site/{path}"), "*");
    }
    let dry = run_with(&["deploy", text(&folder), "--dry-run", "--json"], &[]).await;
    assert_eq!(dry.code, Some(0), "{dry:#?}");
    assert!(!volume.path("site").exists());
    let outcome = run(&bridge, &["deploy", text(&folder)]).await;
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    assert!(
        outcome.stderr.contains("left out, 3 (.env*): .env, .env.production, dist/.env\n"),
        "{outcome:#?}"
    );
    assert!(outcome.stderr.contains("left out, 1 (.gitignore): a.log\n"), "{outcome:#?}");
    assert_eq!(routers.texts("/site/").await, ["packed", "packed"]);
    let sent = dry.json()["projects"][0]["files"].clone();
    let sent: Vec<_> = sent.as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect();
    let mut stored = Tree::of(&volume.path("site")).files();
    stored.sort();
    let counted: Vec<_> = sent.into_iter().filter(|path| !path.starts_with("node_modules/")).collect();
    stored.retain(|path| !path.starts_with("node_modules/"));
    assert_eq!(stored, counted);
    assert_eq!(dry.json()["projects"][0]["digest"], tree::digest(&volume.path("site")));
}

#[tokio::test]
async fn packages_are_left_to_routers_that_install_them_and_older_ones_do_not_stay() {
    let registry = Registry::start().await;
    registry.publish("word", "2.0.0", json!({}), &[("index.js", "module.exports = 'installed';\n")]);
    let (volume, source) = (Volume::new(), Volume::new());
    let main = "import word from 'word';\nexport default { fetch: () => new Response(word) };\n";
    let package = r#"{"dependencies": {"word": "^2.0.0"}}"#;
    source.project("site").file("main.ts", main).file("package.json", package).write();
    source.write("site/node_modules/word/index.js", "module.exports = 'sent';\n");
    volume.write("site/node_modules/word/index.js", "module.exports = 'old';\n");
    let router = registry.router(&volume).start().await;
    let bridge = Bridge::builder(&volume).router(&router).start().await;
    bridge.asks_all().await;
    let folder = source.path("site");
    let outcome = run(&bridge, &["deploy", text(&folder)]).await;
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    let notice = "left out, 1 (the routers install packages): node_modules/\n";
    assert!(outcome.stderr.contains(notice), "{outcome:#?}");
    assert_eq!(router.public.get("/site/").await.text(), "installed");
    assert!(!volume.path("site/node_modules").exists());
    assert_eq!(bridge.client.get("/routers").await.json()["routers"][0]["installs"], true);

    let outcome = run(&bridge, &["deploy", text(&folder), "--send-packages"]).await;
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    assert!(volume.path("site/node_modules/word/index.js").exists());
}

#[tokio::test]
async fn nothing_that_a_project_wrote_reaches_the_terminal_as_a_command() {
    let (_volume, source, _routers, bridge) = start().await;
    let evil = "console.log('\\x1b]0;title\\x07 \\x9b2J \\u202e end');\n";
    source.write("site/main.ts", format!("{evil}{}", hello("two")));
    let folder = source.path("site");
    let harmless = |text: &str| !text.contains(|c: char| c == '\u{202e}' || (c.is_control() && c != '\n'));
    let outcome = run(&bridge, &["deploy", text(&folder)]).await;
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    for args in [&["logs", "site"][..], &["logs", "site", "--json"]] {
        let outcome = run(&bridge, args).await;
        assert_eq!(outcome.code, Some(0), "{outcome:#?}");
        assert!(harmless(&outcome.stdout), "{outcome:#?}");
        assert!(outcome.stdout.contains(" end"), "{outcome:#?}");
    }
    assert!(run(&bridge, &["logs", "site"]).await.stdout.contains(r"␛]0;title␇ \u{9b}2J \u{202e} end"));

    // Deno removes the terminal sequences that it knows from error messages.
    let shown = r"Error: \u{9b}31m\u{202e}␍ forged";
    source.write("site/main.ts", "throw new Error('\\x1b[2J\\x9b31m\\u202e' + '\\r forged');\n");
    let outcome = run(&bridge, &["deploy", text(&folder)]).await;
    assert_eq!(outcome.code, Some(1), "{outcome:#?}");
    assert!(harmless(&outcome.stderr) && outcome.stderr.contains(shown), "{outcome:#?}");
    let outcome = run(&bridge, &["deploy", text(&folder), "--keep"]).await;
    assert_eq!(outcome.code, Some(1), "{outcome:#?}");
    eventually("the status has the error", || async {
        let outcome = run(&bridge, &["status"]).await;
        assert!(harmless(&outcome.stdout), "{outcome:#?}");
        outcome.stdout.contains(shown)
    })
    .await;
}

#[tokio::test]
async fn a_link_is_refused_with_its_name_or_left_out_but_never_followed() {
    let (volume, source, _routers, bridge) = start().await;
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "secret").unwrap();
    source.link(secret.path(), "site/lib/link.txt");
    let outcome = run(&bridge, &["deploy", text(&source.path("site"))]).await;
    assert!(matches!(outcome.code, Some(0 | 2 | 64)), "{outcome:#?}");
    assert!(format!("{outcome:?}").contains("link.txt"), "it says nothing of the link: {outcome:#?}");
    assert!(!volume.path("site/lib/link.txt").exists());
}

#[tokio::test]
async fn refusals_exit_with_2_and_no_answer_with_3() {
    let (_volume, source, routers, bridge) = start().await;
    let folder = source.path("site");
    let tokens = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(
        tokens.path(),
        "[[token]]\nname = \"x\"\ntoken = \"a-token-0123456789\"\nprojects = [\"site\"]\nactions = [\"*\"]\n",
    )
    .unwrap();
    bridge.stop().await;
    let bridge = routers.bridge().flag("token-file", tokens.path().display()).start().await;
    let outcome = run(&bridge, &["deploy", text(&folder)]).await;
    assert_eq!(outcome.code, Some(2), "no token: {outcome:#?}");
    assert!(outcome.stderr.contains("SWITCHYARD_TOKEN"), "{outcome:#?}");
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), "a-token-0123456789\n").unwrap();
    let with_token = ["deploy", text(&folder), "--token-file", text(token.path())];
    assert_eq!(run(&bridge, &with_token).await.code, Some(0));
    let other = [&with_token[..], &["--project", "other"]].concat();
    assert_eq!(run(&bridge, &other).await.code, Some(2), "a token for another project");

    let to = format!("http://{}", bridge.client.address);
    let environment = [("SWITCHYARD_TO", to.as_str()), ("SWITCHYARD_TOKEN", "a-token-0123456789")];
    let outcome = run_with(&["deploy", text(&folder)], &environment).await;
    assert_eq!(outcome.code, Some(0), "by the environment: {outcome:#?}");

    let router = routers.iter().next().expect("a router");
    for address in [router.public.address, router.admin.client.address] {
        let to = format!("http://{address}");
        let outcome = run_with(&["deploy", text(&folder), "--to", &to], &[]).await;
        assert_eq!(outcome.code, Some(1), "a router's address: {outcome:#?}");
        assert!(outcome.stderr.contains("--to must be the bridge's own address"), "{outcome:#?}");
    }

    let unused = format!("http://{}", addresses::reserve());
    let outcome = run_with(&["deploy", text(&folder), "--to", &unused], &[]).await;
    assert_eq!(outcome.code, Some(3), "{outcome:#?}");
    assert!(outcome.stderr.contains(&unused), "{outcome:#?}");
}

#[tokio::test]
async fn routers_that_do_not_answer_in_time_exit_with_3() {
    let (volume, source, mut routers, bridge) = start().await;
    bridge.stop().await;
    let bridge = routers.bridge().flag("quorum", 2).flag("deploy-timeout", 1000).start().await;
    routers.kill(1).await;
    let outcome = run(&bridge, &["deploy", text(&source.path("site"))]).await;
    assert_eq!(outcome.code, Some(3), "{outcome:#?}");
    assert!(outcome.stderr.contains(&routers.admin_url(1)), "{outcome:#?}");
    assert!(volume.root().exists());
}

#[tokio::test]
async fn a_router_that_is_away_is_named_and_the_deploy_is_done() {
    let (_volume, source, mut routers, bridge) = start().await;
    routers.kill(1).await;
    let outcome = run(&bridge, &["deploy", text(&source.path("site"))]).await;
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    assert!(outcome.stdout.contains("is live on 1 of 2 routers"), "{outcome:#?}");
    let named =
        outcome.stderr.lines().find(|line| line.contains(&routers.admin_url(1)) && line.contains("away"));
    assert!(named.is_some_and(|line| line.contains("gets no requests until")), "{outcome:#?}");
}

#[tokio::test]
async fn a_wrong_command_line_exits_with_64_and_suggests_the_right_one() {
    for arguments in [
        vec!["deploy", ".", "--to", "no url"],
        vec!["deploy", "/nowhere/at/all", "--to", "http://127.0.0.1:1"],
        vec!["deploy", ".", "--to", "http://127.0.0.1:1", "--project", "Not A Name"],
        vec!["deploy", ".", "--to", "http://127.0.0.1:1", "--colour"],
        vec!["rollback", "--to", "http://127.0.0.1:1"],
        vec!["undeploy", "a"],
    ] {
        let outcome = run_with(&arguments, &[]).await;
        assert_eq!(outcome.code, Some(64), "{arguments:?}: {outcome:#?}");
        assert!(!outcome.stderr.is_empty(), "{arguments:?}");
    }
    for (wrong, right) in [("undeploy", "deploy"), ("stauts", "status")] {
        let outcome = run_with(&[wrong, "a"], &[]).await;
        assert_eq!(outcome.stderr.lines().count(), 2, "one problem, not the bridge's own: {outcome:#?}");
        assert!(outcome.stderr.contains(&format!("did you mean {right:?}?")), "{outcome:#?}");
    }
}

#[tokio::test]
async fn status_rollback_and_remove_work() {
    let (volume, source, routers, bridge) = start().await;
    let folder = source.path("site");
    let first = run(&bridge, &["deploy", text(&folder), "--json"]).await.json();
    source.write("site/main.ts", hello("two"));
    let second = run(&bridge, &["deploy", text(&folder), "--json"]).await.json();

    let status = run(&bridge, &["status", "site", "--json"]).await;
    assert_eq!(status.code, Some(0), "{status:#?}");
    let version = second["projects"][0]["version"].as_str().unwrap();
    assert!(status.json().to_string().contains(version), "{status:#?}");
    let all = run(&bridge, &["status"]).await;
    assert_eq!(all.code, Some(0), "{all:#?}");
    assert!(all.stdout.contains("site"), "{all:#?}");
    assert_eq!(run(&bridge, &["status", "none"]).await.code, Some(1));

    let back = run(&bridge, &["rollback", "site", "--json"]).await;
    assert_eq!(back.code, Some(0), "{back:#?}");
    assert_eq!(back.json()["projects"][0]["digest"], first["projects"][0]["digest"]);
    assert_eq!(routers.texts("/site/").await, ["one", "one"]);
    let digest = second["projects"][0]["digest"].as_str().unwrap();
    let forth = run(&bridge, &["rollback", "site", digest]).await;
    assert_eq!(forth.code, Some(0), "{forth:#?}");
    assert_eq!(routers.texts("/site/").await, ["two", "two"]);
    assert_eq!(run(&bridge, &["rollback", "none"]).await.code, Some(1));

    let refused = run(&bridge, &["remove", "site"]).await;
    assert_eq!(refused.code, Some(64), "it cannot ask for confirmation: {refused:#?}");
    assert!(refused.stderr.contains("--yes") && volume.path("site").exists(), "{refused:#?}");
    let removed = run(&bridge, &["remove", "site", "--yes", "--json"]).await;
    assert_eq!((removed.code, removed.json()["outcome"].as_str()), (Some(0), Some("removed")));
    assert!(!volume.path("site").exists());
    assert_eq!(run(&bridge, &["remove", "site", "--yes"]).await.code, Some(1));
    let status = run(&bridge, &["status", "site"]).await;
    assert!(status.stdout.contains("removed") && status.stdout.contains("rollback"), "{status:#?}");
    assert_eq!(run(&bridge, &["rollback", "site"]).await.code, Some(0));
    assert_eq!(routers.texts("/site/").await, ["two", "two"]);
    let removed = run(&bridge, &["remove", "site", "--yes"]).await;
    assert!(removed.stdout.contains("switchyard rollback site"), "{removed:#?}");
    let deleted = run(&bridge, &["remove", "site", "--yes", "--delete-data"]).await;
    assert_eq!(deleted.code, Some(0), "{deleted:#?}");
    assert!(deleted.stdout.contains("its data is deleted"), "{deleted:#?}");
}

#[tokio::test]
async fn logs_prints_what_the_project_printed_and_ends() {
    let (_volume, source, _routers, bridge) = start().await;
    source.write("site/main.ts", format!("console.log('printed at start');\n{}", hello("one")));
    run(&bridge, &["deploy", text(&source.path("site"))]).await;
    eventually("the lines are printed", || async {
        let outcome = run(&bridge, &["logs", "site", "--lines", "10"]).await;
        assert_eq!(outcome.code, Some(0), "{outcome:#?}");
        outcome.stdout.matches("printed at start").count() == 2
    })
    .await;
    assert_eq!(run(&bridge, &["logs", "none"]).await.code, Some(1));
}
