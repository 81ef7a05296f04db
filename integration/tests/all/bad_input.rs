//! Invalid settings, and invalid projects.

use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::process::geteuid;
use switchyard_contract::admin::{ProjectState, ReloadOutcome};
use switchyard_integration::fixtures::hello;
use switchyard_integration::router::{Builder, Router, ServerExit};
use switchyard_integration::volume::Volume;

const EX_USAGE: i32 = 64;

fn assert_names(ended: &ServerExit, problems: &[&str]) {
    let text = ended.log.text();
    assert_eq!(ended.status.code(), Some(EX_USAGE), "{text}");
    for problem in problems {
        assert!(text.contains(problem), "{problem:?} is not in:\n{text}");
    }
}

#[tokio::test]
async fn every_wrong_flag_is_named_at_once() {
    let volume = Volume::new();
    let ended = Router::builder(&volume)
        .flag("debounce", "soon")
        .flag("listen", "nowhere")
        .flag("no-such-flag", "x")
        .flag("event-url", "ftp://x")
        .run_to_end()
        .await;
    assert_names(
        &ended,
        &[
            "--debounce",
            "soon",
            "--listen",
            "nowhere",
            "--no-such-flag",
            "--event-url",
            "--event-secret-file",
        ],
    );
}

#[tokio::test]
async fn all_missing_or_unusable_files_are_named_at_once() {
    let volume = Volume::new();
    volume.write("file", "");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let state = volume.path("file/state").display().to_string();
    let missing = volume.path("missing");
    let ended = Builder::for_projects(&missing)
        .flag("state", &state)
        .flag("listen", &address)
        .flag("event-url", "http://127.0.0.1:1/")
        .flag("event-secret-file", volume.path("no-secret").display())
        .run_to_end()
        .await;
    let missing = missing.display().to_string();
    assert_names(
        &ended,
        &["--projects", &missing, "--state", &state, "--listen", &address, "--event-secret-file"],
    );
}

#[tokio::test]
async fn a_projects_root_that_is_a_file_is_refused() {
    let volume = Volume::new();
    volume.write("file", "");
    let ended = Builder::for_projects(&volume.path("file")).run_to_end().await;
    assert_names(&ended, &["--projects", "file"]);
}

#[tokio::test]
async fn a_state_folder_on_a_read_only_file_system_is_refused() {
    let volume = Volume::new();
    // A folder that even root cannot write to.
    let ended = Router::builder(&volume).flag("state", "/proc/switchyard").run_to_end().await;
    assert_names(&ended, &["--state", "/proc/switchyard"]);
}

#[tokio::test]
async fn both_listeners_on_one_port_are_refused() {
    let volume = Volume::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let ended = Router::builder(&volume).flag("listen", &free).flag("admin", &free).run_to_end().await;
    assert_names(&ended, &[&free]);
}

/// Serves an invalid project beside a valid one, and checks the reported error.
async fn invalid(volume: &Volume, name: &str, says: &[&str]) {
    volume.project("good").file("main.ts", hello("good")).write();
    let router = Router::start(volume).await;
    assert_eq!(router.public.get("/good/").await.text(), "good");
    let projects = router.admin.projects().await;
    assert_eq!(projects["good"].state, ProjectState::Live);
    let project = projects.get(name).unwrap_or_else(|| panic!("{name:?} is not named: {projects:#?}"));
    assert!([ProjectState::Invalid, ProjectState::Failed].contains(&project.state), "{project:?}");
    let error = project.error.as_ref().expect("it reports the error");
    for part in says {
        assert!(
            error.message.contains(part) || error.file.as_deref() == Some(*part),
            "{part:?} is not in {error:?}"
        );
    }
}

#[tokio::test]
async fn an_invalid_name_is_named() {
    for name in ["my app", "-a", "ünïcode", "a.b"] {
        invalid(&Volume::with(name, hello("one")), name, &[name]).await;
    }
}

#[tokio::test]
async fn an_entry_that_is_missing_is_named() {
    let volume = Volume::new();
    volume.project("a").file("deno.json", r#"{"switchyard": {"entry": "./gone.ts"}}"#).write();
    invalid(&volume, "a", &["gone.ts"]).await;
    let volume = Volume::new();
    volume.project("a").file("README.md", "no code").write();
    invalid(&volume, "a", &["main"]).await;
}

#[tokio::test]
async fn an_entry_outside_the_project_is_refused() {
    let volume = Volume::new();
    volume.write("_secret/main.ts", hello("leaked"));
    volume.project("a").file("deno.json", r#"{"switchyard": {"entry": "../_secret/main.ts"}}"#).write();
    invalid(&volume, "a", &["../_secret/main.ts"]).await;
}

#[tokio::test]
async fn a_config_that_does_not_parse_is_named() {
    let volume = Volume::new();
    volume.project("a").file("main.ts", hello("one")).file("deno.json", "{ oops").write();
    invalid(&volume, "a", &["deno.json"]).await;
}

#[tokio::test]
async fn a_link_that_leaves_the_project_is_refused() {
    for target in [Path::new("/etc/hostname"), Path::new("../good/main.ts")] {
        let volume = Volume::with("a", hello("one"));
        volume.link(target, "a/leak.txt");
        invalid(&volume, "a", &["leak.txt"]).await;
    }
}

#[tokio::test]
async fn a_link_that_leads_nowhere_or_to_itself_is_named() {
    let volume = Volume::with("a", hello("one"));
    volume.link("gone.txt", "a/dangling.txt");
    invalid(&volume, "a", &["dangling.txt"]).await;
    let volume = Volume::with("a", hello("one"));
    volume.link("loop", "a/loop");
    invalid(&volume, "a", &["loop"]).await;
    let volume = Volume::with("a", hello("one"));
    volume.link(".", "a/again");
    invalid(&volume, "a", &["again"]).await;
}

#[tokio::test]
async fn a_name_with_a_control_character_is_named() {
    let volume = Volume::with("a", hello("one"));
    volume.write("a/new\nline.txt", "x");
    invalid(&volume, "a", &["control character"]).await;
}

#[tokio::test]
async fn sockets_and_pipes_are_not_files_of_the_project_and_block_nothing() {
    let volume = Volume::with("a", hello("one"));
    let router = Router::builder(&volume).unwatched().start().await;
    let _listener = UnixListener::bind(volume.path("a/socket")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(volume.path("a/pipe")).status().unwrap();
    assert!(made.success());
    assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Unchanged);
    assert_eq!(router.public.get("/a/").await.text(), "one");
}

#[tokio::test]
async fn a_file_that_may_not_be_read_is_named() {
    if geteuid().is_root() {
        return; // Root may read everything.
    }
    let volume = Volume::with("a", hello("one"));
    volume.write("a/secret.txt", "x");
    let unreadable = std::os::unix::fs::PermissionsExt::from_mode(0o000);
    std::fs::set_permissions(volume.path("a/secret.txt"), unreadable).unwrap();
    invalid(&volume, "a", &["secret.txt"]).await;
}

#[tokio::test]
async fn a_project_that_becomes_invalid_keeps_its_version_and_says_so() {
    let volume = Volume::with("a", hello("one"));
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    events.wait_live("a").await;
    volume.link("/etc/hostname", "a/leak.txt");
    let failed = events.wait_failed("a").await;
    assert!(failed.data.error.is_some_and(|error| format!("{error:?}").contains("leak.txt")));
    assert_eq!(router.public.get("/a/").await.text(), "one");
    volume.remove("a/leak.txt");
    volume.write("a/main.ts", hello("two"));
    events.wait_live("a").await;
    assert_eq!(router.public.get("/a/").await.text(), "two");
}
