//! Files and settings with which a repository would have git start programs or change what it
//! writes.

use std::fs;

use switchyard_integration::bridge::tree::Tree;
use switchyard_integration::fixtures::hello;
use switchyard_integration::git::Sshd;

use super::watch::{Trap, Watch};
use crate::git_failures::scene::Scene;

const HOOKS: [&str; 12] = [
    "post-checkout",
    "post-merge",
    "post-update",
    "pre-auto-gc",
    "pre-push",
    "pre-receive",
    "post-receive",
    "proc-receive",
    "push-to-checkout",
    "reference-transaction",
    "post-upload-pack",
    "fsmonitor-watchman",
];

/// Settings that name programs; each has the trap's command at its end.
const SETTINGS: &str = "
[core]
\thooksPath = HOOKS
\tfsmonitor = COMMAND
\tsshCommand = COMMAND
\taskPass = COMMAND
\tpager = COMMAND
\teditor = COMMAND
\tgitProxy = COMMAND
\talternateRefsCommand = COMMAND
[uploadpack]
\tpackObjectsHook = COMMAND;:
[credential]
\thelper = !COMMAND
[gpg]
\tprogram = COMMAND
[diff]
\texternal = COMMAND
[filter \"evil\"]
\tsmudge = COMMAND
\tclean = COMMAND
\tprocess = COMMAND
\trequired = true
[alias]
\tfetch = !COMMAND
\tls-tree = !COMMAND
\tcat-file = !COMMAND
[url \"ext::sh -c COMMAND\"]
\tinsteadOf = file://
\tinsteadOf = ssh://
\tinsteadOf = http://
[remote \"origin\"]
\tuploadpack = COMMAND
\tvcs = evil
[protocol]
\tallow = always
";

fn settings(trap: &Trap, hooks: &str, name: &str) -> String {
    SETTINGS.replace("COMMAND", &trap.command(name)).replace("HOOKS", hooks)
}

#[tokio::test]
async fn hooks_and_settings_of_a_served_repository_run_nothing() {
    let scene = Scene::new().await;
    let trap = Trap::set();
    let first = scene.push("one").await;
    let second = scene.push("two").await;
    let main = scene.repository.path().join("refs/heads/main");
    fs::write(&main, format!("{first}\n")).unwrap();
    // From here on the test runs no git in it.
    let hooks = scene.repository.path().join("hooks");
    HOOKS.iter().for_each(|hook| trap.program(&hooks.join(hook)));
    let config = scene.repository.path().join("config");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text + &settings(&trap, hooks.to_str().unwrap(), "of-the-repository")).unwrap();
    // Nor does the home of the bridge's git have settings.
    let home = scene.state().join("home");
    fs::create_dir_all(home.join(".config/git")).unwrap();
    for file in [".gitconfig", ".config/git/config"] {
        fs::write(home.join(file), settings(&trap, hooks.to_str().unwrap(), "of-the-home")).unwrap();
    }
    scene.source(&scene.file_url(), "");
    let shop = scene.start().await;
    let watch = Watch::of(&shop.bridge);
    shop.follows(&first).await;
    fs::write(&main, format!("{second}\n")).unwrap();
    shop.syncs_to(&second).await;
    assert_eq!(shop.sync_with("?force=1").await.status, 200);
    scene.still("two").await;
    watch.saw_only_git();
    trap.was_not_reached();
}

#[tokio::test]
async fn files_are_served_byte_by_byte_as_the_commit_has_them() {
    const TEXT: &str = "$Format:%H %an$ $Id$\r\nline\nä\r\n";
    const ATTRIBUTES: &str = "* filter=evil diff=evil merge=evil text eol=crlf ident export-subst \
                              working-tree-encoding=UTF-16\nsecret.txt export-ignore\n";
    let scene = Scene::new().await;
    let trap = Trap::set();
    let evil = settings(&trap, "hooks", "of-a-file");
    let change = scene.repository.on("main").file(".gitattributes", ATTRIBUTES);
    let change = change.file("apps/api/.gitattributes", ATTRIBUTES).file("apps/api/main.ts", hello("api"));
    let change = change.file("apps/api/version.txt", TEXT).file("apps/api/secret.txt", TEXT);
    let change = change.executable("apps/api/run.sh", format!("#!/bin/sh\n{}\n", trap.command("run")));
    let change = change.file(".gitconfig", &evil).file("apps/api/.lfsconfig", "[lfs]\n\turl = ext::sh\n");
    // A bare repository among the files, with settings of its own.
    let change = change.file("apps/api/HEAD", "ref: refs/heads/main\n").file("apps/api/config", &evil);
    let change = change.file("apps/api/objects/info/alternates", "/etc\n").file("apps/api/refs/x", "");
    let change = change.executable("apps/api/hooks/post-checkout", trap.command("hook"));
    let commit = change.commit("Attributes").await;
    scene.source(&scene.file_url(), "");
    let shop = scene.start().await;
    let watch = Watch::of(&shop.bridge);
    shop.follows(&commit).await;
    scene.still("api").await;
    for (path, text) in
        [("version.txt", TEXT), ("secret.txt", TEXT), (".gitattributes", ATTRIBUTES), ("config", &evil)]
    {
        assert_eq!(scene.volume.read(&format!("api/{path}")), text, "{path}");
    }
    let files = Tree::of(&scene.volume.path("api")).files();
    assert_eq!(files.len(), 11, "{files:?}");
    watch.saw_only_git();
    trap.was_not_reached();
}

#[tokio::test]
async fn a_fetch_by_ssh_starts_git_and_ssh_and_nothing_else() {
    let scene = Scene::new().await;
    let first = scene.push("one").await;
    let server = Sshd::start(&scene.repository).await;
    let credential = format!(
        "credential = {{ ssh_key = \"{}\", known_hosts = \"{}\" }}\n",
        server.key().display(),
        server.known_hosts().display()
    );
    scene.source(server.url(), &credential);
    let shop = scene.start().await;
    let watch = Watch::of(&shop.bridge);
    shop.follows(&first).await;
    let second = scene.push("two").await;
    shop.syncs_to(&second).await;
    let (known, key) = (server.known_hosts(), fs::read_to_string(server.key()).unwrap());
    let line = key.lines().nth(1).unwrap();
    let seen = watch.finish();
    assert!(seen.iter().any(|seen| seen.program == "ssh"), "{seen:#?}");
    for seen in &seen {
        let shown = format!("{seen:?}");
        assert!(!shown.contains(line), "the key itself is shown: {shown}");
        // Without arguments it is just ending.
        if seen.program == "ssh" && !seen.arguments.is_empty() {
            assert!(shown.contains(known.to_str().unwrap()), "{shown}");
            assert!(shown.contains("StrictHostKeyChecking=yes"), "{shown}");
        }
    }
}
