//! `examples/git`: the folder that its script makes, and the source that it leads to.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use switchyard_integration::bridge::cli::run_with;
use switchyard_integration::eventually;
use switchyard_integration::serve::Builder;
use tempfile::TempDir;

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/git")
}

/// Runs a program without the user's settings of git, in a folder.
fn run_in(folder: &Path, program: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(args).current_dir(folder).env_clear().env("HOME", "/nonexistent");
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.output().unwrap_or_else(|error| panic!("{}: {error}", program.display()))
}

fn git(folder: &Path, args: &[&str]) -> String {
    let output = run_in(folder, Path::new("git"), args);
    assert!(output.status.success(), "git {args:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A temporary folder, and the one in it that the script makes.
fn made() -> (TempDir, PathBuf) {
    let parent = tempfile::tempdir().expect("a temporary folder can be made");
    let folder = parent.path().join("shop");
    let output = run_in(parent.path(), &example().join("setup.sh"), &["shop"]);
    assert!(output.status.success(), "{output:?}");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(shown.contains("switchyard serve --projects") && shown.contains("--allow-local"), "{shown}");
    (parent, folder)
}

#[test]
fn the_script_makes_a_repository_a_clone_and_a_sources_file() {
    let (parent, folder) = made();
    let files = git(&folder.join("shop.git"), &["ls-tree", "-r", "--name-only", "main"]);
    let expected =
        ["apps/_shared/money.ts", "apps/cart/deno.json", "apps/cart/main.ts", "apps/hello/main.ts"];
    assert_eq!(files.lines().collect::<Vec<_>>(), expected);
    let sources = std::fs::read_to_string(folder.join("sources.toml")).expect("the script has written it");
    assert!(sources.contains(&format!("url = \"file://{}/shop.git\"", folder.display())), "{sources}");
    assert_eq!(
        git(&folder.join("shop"), &["status", "--porcelain", "--branch"]).trim(),
        "## main...origin/main"
    );

    let again = run_in(parent.path(), &example().join("setup.sh"), &["shop"]);
    let message = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(!again.status.success() && message.contains("exists already"), "{message}");
    let spaced = run_in(parent.path(), &example().join("setup.sh"), &["a b"]);
    assert!(!spaced.status.success() && !parent.path().join("a b").exists(), "{spaced:?}");
}

#[tokio::test]
async fn a_push_is_live_when_the_sync_has_ended() {
    let (_parent, folder) = made();
    let serve = Builder::for_projects(&folder.join("projects"))
        .flag("sources", folder.join("sources.toml").display())
        .flag("allow-local", folder.display())
        .start()
        .await;
    eventually("the repository is served", || async {
        serve.public.get("/cart/").await.text() == "4.20 EUR + 11.80 EUR\n"
    })
    .await;
    assert_eq!(serve.public.get("/hello/").await.text(), "Hello from a commit\n");

    let clone = folder.join("shop");
    let main = clone.join("apps/hello/main.ts");
    let text = std::fs::read_to_string(&main).expect("the clone has it");
    std::fs::write(&main, text.replace("Hello from", "Good evening from")).expect("the clone can be changed");
    git(&clone, &["commit", "--quiet", "--all", "--message", "Another greeting"]);
    git(&clone, &["push", "--quiet"]);
    let to = format!("http://{}", serve.api.address);
    let synced = run_with(&["source", "sync", "shop", "--to", &to], &[]).await;
    assert!(synced.code == Some(0) && synced.stdout.starts_with("shop: "), "{synced:#?}");
    assert_eq!(serve.public.get("/hello/").await.text(), "Good evening from a commit\n");
}
