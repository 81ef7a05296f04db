//! A writer of a project's folder affects only that project: regardless of its size and of changes
//! during a read, a neighbor's edits go live and the router starts.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rustix::fs::{CWD, FileType, Mode, OFlags, RenameFlags, mkdirat, mknodat, openat, renameat_with};
use rustix::process::Signal;
use switchyard_contract::admin::ProjectState;
use switchyard_integration::eventually;
use switchyard_integration::fixtures::hello;
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;

/// A volume with an offender `a` and a neighbour `b`.
fn volume() -> Volume {
    let volume = Volume::with("a", hello("one"));
    volume.project("b").file("main.ts", hello("b")).write();
    volume
}

/// Saves the neighbour this many times, and waits for each version.
async fn neighbour_is_fine(volume: &Volume, router: &Router, times: usize) {
    for n in 0..times {
        let label = format!("{n} of {times}");
        volume.replace("b/main.ts", hello(&label));
        eventually("the neighbour's edit is live", || async {
            router.public.get("/b/").await.text() == label
        })
        .await;
    }
}

/// Saves the offender, and waits until the change is served.
async fn offender_is_served(volume: &Volume, router: &Router, label: &str) {
    volume.replace("a/main.ts", hello(label));
    eventually("the offender's edit is live", || async { router.public.get("/a/").await.text() == label })
        .await;
}

/// Waits until the offender has failed with each of these in its error.
async fn fails(router: &Router, says: &[&str]) {
    eventually(&format!("it fails with {says:?}"), || async {
        let status = router.admin.project("a").await;
        let message = status.error.map(|error| error.message).unwrap_or_default();
        status.state == ProjectState::Invalid && says.iter().all(|says| message.contains(says))
    })
    .await;
}

fn sparse(path: &Path, size: u64) {
    File::create(path).and_then(|file| file.set_len(size)).expect("a file can be made");
}

fn pipe(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe can be made");
}

/// Does something again and again, until it is dropped.
struct Loop {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Loop {
    fn start(mut step: impl FnMut() + Send + 'static) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let ending = end.clone();
        let thread = std::thread::spawn(move || {
            while !ending.load(Ordering::Relaxed) {
                step();
            }
        });
        Self { end, thread: Some(thread) }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        // A panic in it was printed.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// The bytes of all files in a folder, as they seem to be.
fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size(&entry.path()),
        metadata => metadata.map_or(0, |metadata| metadata.len()),
    });
    sizes.sum()
}

#[tokio::test]
async fn a_project_over_a_limit_fails_alone_and_names_the_limit_its_value_and_what_raises_it() {
    let volume = volume();
    let router = Router::builder(&volume)
        .flag("max-project-files", 20)
        .flag("max-project-folders", 10)
        .flag("max-project-size", 1_000_000)
        .flag("max-file-size", 600_000)
        .start()
        .await;
    // The project's own configuration cannot raise them.
    let config = r#"{"switchyard": {"limits": {"project_files": 1000000}}}"#;
    volume.write("a/deno.json", config);
    eventually("it is refused", || async { router.admin.project("a").await.state != ProjectState::Live })
        .await;
    volume.remove("a/deno.json");
    let many = |n: usize| volume.write(&format!("a/f{n}"), "");
    (0..20).for_each(many);
    fails(&router, &["more than 20 files", "--max-project-files", "limits.project_files"]).await;
    (0..20).for_each(|n| volume.remove(&format!("a/f{n}")));
    offender_is_served(&volume, &router, "two").await;
    (0..11).for_each(|n| fs::create_dir(volume.path(&format!("a/d{n}"))).unwrap());
    fails(&router, &["more than 10 folders", "--max-project-folders", "limits.project_folders"]).await;
    (0..11).for_each(|n| volume.remove(&format!("a/d{n}")));
    offender_is_served(&volume, &router, "three").await;
    sparse(&volume.path("a/large"), 600_001);
    fails(&router, &["large has 600001 bytes", "600000", "--max-file-size", "limits.file_size"]).await;
    sparse(&volume.path("a/large"), 600_000);
    sparse(&volume.path("a/other"), 500_000);
    fails(&router, &["more than 1000000 bytes", "--max-project-size", "limits.project_size"]).await;
    assert_eq!(router.public.get("/a/").await.text(), "three", "the last good version keeps serving");
    neighbour_is_fine(&volume, &router, 2).await;
    volume.remove("a/other");
    offender_is_served(&volume, &router, "four").await;
}

#[tokio::test]
async fn the_policy_raises_a_limit_for_one_project_and_it_is_read_again() {
    let volume = volume();
    volume.write("a/large", [0; 2000]);
    volume.write("b/large", [0; 2000]);
    volume.write("_policy/policy.toml", "");
    let router = Router::builder(&volume)
        .unwatched()
        .flag("max-file-size", 1000)
        .flag("policy", volume.path("_policy/policy.toml").display())
        .start()
        .await;
    fails(&router, &["large has 2000 bytes"]).await;
    volume.replace("_policy/policy.toml", "[projects.a.limits]\nfile_size = \"1MB\"\n");
    router.signal(Signal::HUP);
    let mut events = router.events().await;
    events.wait_live("a").await;
    assert_eq!(router.public.get("/a/").await.text(), "one");
    assert_eq!(router.admin.project("a").await.grants.unwrap().limits.file_size, 1_000_000);
    assert_eq!(router.admin.project("b").await.state, ProjectState::Invalid);
}

#[tokio::test]
async fn sparse_files_are_neither_read_nor_copied() {
    let volume = volume();
    let router = Router::start(&volume).await;
    for name in ["one", "two"] {
        sparse(&volume.path(&format!("a/{name}")), 3 << 30);
    }
    fails(&router, &["3221225472 bytes", "limits.file_size"]).await;
    for name in ["one", "two"] {
        volume.remove(&format!("a/{name}"));
    }
    fs::create_dir(volume.path("_many")).unwrap();
    for n in 0..5 {
        sparse(&volume.path(&format!("_many/{n}")), 250 << 20);
    }
    volume.rename("_many", "a/many");
    fails(&router, &["more than 1073741824 bytes", "limits.project_size"]).await;
    neighbour_is_fine(&volume, &router, 3).await;
    assert!(size(&router.state.path().join("checkouts")) < 1 << 20);
}

/// Makes folders whose path is longer than a system call takes.
fn deep(folder: &Path) {
    let name = "n".repeat(200);
    let mut at = File::open(folder).expect("a folder can be opened");
    for _ in 0..40 {
        mkdirat(&at, &name, Mode::RWXU).expect("a folder can be made");
        at = openat(&at, &name, OFlags::DIRECTORY, Mode::empty()).expect("a folder can be opened").into();
    }
}

/// Creates links that each take the kernel tens of thousands of steps.
fn labyrinth(folder: &Path) {
    fs::create_dir_all(folder.join("d")).expect("a folder can be made");
    let link = |target: &str, name: &str| symlink(target, folder.join(name)).expect("a link can be made");
    link("d", "0");
    for level in 1..38 {
        link(&format!("{}{}", "d/../".repeat(800), level - 1), &level.to_string());
    }
    (0..2000).for_each(|n| link("37", &format!("link-{n}")));
}

/// Includes a hundred folders, each behind a link of a labyrinth.
fn including(folder: &Path) -> String {
    let name = folder.file_name().and_then(|name| name.to_str()).expect("a project has a name");
    let include: Vec<_> = (0..100).map(|n| format!("../{name}/links/37/{n}")).collect();
    serde_json::json!({ "switchyard": { "include": include } }).to_string()
}

/// Creates projects that each contain something harmful.
fn bad_projects(volume: &Volume) {
    let project = |name: &str| {
        volume.write(&format!("{name}/main.ts"), hello(name));
        volume.path(name)
    };
    sparse(&project("large").join("large"), 1 << 40);
    pipe(&project("pipe").join("deno.json"));
    let links = project("links");
    for level in 0..27 {
        fs::create_dir(links.join(format!("d{level}"))).expect("a folder can be made");
        for link in ["x", "y"].iter().filter(|_| level < 26) {
            let link = links.join(format!("d{level}/{link}"));
            symlink(format!("../d{}", level + 1), link).expect("a link can be made");
        }
    }
    deep(&project("deep"));
    let packages = project("packages").join("node_modules");
    for n in 0..3000 {
        fs::create_dir_all(packages.join(format!("@{n}"))).expect("a folder can be made");
    }
    for n in 0..4 {
        sparse(&project(&format!("slow-{n}")).join("large"), 20 << 20);
    }
}

#[tokio::test]
async fn the_start_waits_for_no_bad_project_and_reports_each() {
    let volume = volume();
    bad_projects(&volume);
    let router = Router::start(&volume).await;
    assert_eq!(router.public.get("/b/").await.text(), "b");
    for (name, says) in [("large", "limits.file_size"), ("links", "limits.project_folders"), ("deep", "2048")]
    {
        let status = router.admin.project(name).await;
        assert_eq!(status.state, ProjectState::Invalid, "{name}");
        assert!(status.error.as_ref().is_some_and(|error| error.message.contains(says)), "{status:?}");
    }
    neighbour_is_fine(&volume, &router, 3).await;
    for name in ["pipe", "packages", "slow-0", "slow-3"] {
        let path = format!("/{name}/");
        eventually("it is served in the end", || async { router.public.get(&path).await.text() == name })
            .await;
    }
}

#[tokio::test]
async fn links_that_take_long_to_follow_hold_up_neither_edits_nor_the_start_nor_the_stop() {
    for flag in [None, Some("poll")] {
        let volume = volume();
        let builder = || {
            let builder = Router::builder(&volume).flag("read-timeout", 1000).flag("build-timeout", 2000);
            if let Some(flag) = flag { builder.flag(flag, 100) } else { builder }
        };
        let router = builder().start().await;
        labyrinth(&volume.path("a/links"));
        neighbour_is_fine(&volume, &router, 3).await;
        fails(&router, &["limits.read_time"]).await;
        volume.write("c/main.ts", hello("c"));
        labyrinth(&volume.path("c/links"));
        volume.write("c/deno.json", including(&volume.path("c")));
        neighbour_is_fine(&volume, &router, 3).await;
        assert!(router.stop().await.status.success());
        let router = builder().start().await;
        neighbour_is_fine(&volume, &router, 3).await;
        fs::remove_dir_all(volume.path("a/links")).unwrap();
        offender_is_served(&volume, &router, "without").await;
    }
}

#[tokio::test]
async fn a_reading_without_end_is_ended_and_tried_again_while_others_have_their_turns() {
    let volume = volume();
    let names: Vec<_> = (0..4).map(|n| format!("endless-{n}")).collect();
    for name in &names {
        volume.write(&format!("{name}/main.ts"), hello(name));
        sparse(&volume.path(&format!("{name}/large")), 1 << 40);
    }
    let router = Router::builder(&volume)
        .flag("max-file-size", 1_u64 << 40)
        .flag("max-project-size", 1_u64 << 41)
        .flag("read-timeout", 1000)
        .flag("build-timeout", 2000)
        .start()
        .await;
    neighbour_is_fine(&volume, &router, 5).await;
    let mut events = router.events().await;
    for name in &names {
        let failed = events.wait_failed(name).await;
        let message = failed.data.error.unwrap().message;
        assert!(message.contains("1000 ms") && message.contains("limits.read_time"), "{message}");
    }
    for name in &names {
        volume.remove(&format!("{name}/large"));
        events.wait_live(name).await;
    }
}

fn swap(one: PathBuf, other: PathBuf) -> Loop {
    Loop::start(move || {
        renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).expect("they can be exchanged");
    })
}

#[tokio::test]
async fn a_file_that_alternates_with_a_pipe_or_socket_delays_no_other_project() {
    let volume = volume();
    let mut sockets = Vec::new();
    let mut loops = Vec::new();
    for n in 0..4 {
        let name = format!("swapped-{n}");
        volume.write(&format!("{name}/main.ts"), hello(&name));
        volume.write(&format!("{name}/file"), "text");
        // Files with such a name do not count.
        let other = volume.path(&format!("{name}/other~"));
        if n % 2 == 0 {
            pipe(&other);
        } else {
            sockets.push(std::os::unix::net::UnixListener::bind(&other).unwrap());
        }
        loops.push((name, other));
    }
    let router = Router::start(&volume).await;
    let swapping: Vec<_> =
        loops.iter().map(|(name, other)| swap(volume.path(&format!("{name}/file")), other.clone())).collect();
    for round in 0..5 {
        for (name, _) in &loops {
            volume.replace(&format!("{name}/main.ts"), hello(&format!("{name} {round}")));
        }
        neighbour_is_fine(&volume, &router, 2).await;
    }
    drop(swapping);
    for (name, _) in &loops {
        volume.replace(&format!("{name}/main.ts"), hello("the last"));
        let path = format!("/{name}/");
        eventually("it is served", || async { router.public.get(&path).await.text() == "the last" }).await;
    }
}

#[tokio::test]
async fn a_folder_that_alternates_with_a_link_to_another_project_never_shows_its_files() {
    let volume = volume();
    let main = "import { text } from './lib/text.ts';\nexport default { fetch: () => new Response(text) };\n";
    volume.write("a/lib/text.ts", "export const text = 'own';\n");
    volume.write("victim/text.ts", "export const text = 'secret';\n");
    volume.write("victim/main.ts", hello("victim"));
    volume.write("a/main.ts", main);
    symlink("../victim", volume.path("_link")).unwrap();
    let router = Router::start(&volume).await;
    eventually("it is served", || async { router.public.get("/a/").await.text() == "own" }).await;
    {
        let _swapping = swap(volume.path("a/lib"), volume.path("_link"));
        for n in 0..20 {
            // A new version, so that the files are copied.
            volume.replace("a/main.ts", format!("{main}// {n}\n"));
            router.admin.reload("a").await;
            assert_eq!(router.public.get("/a/").await.text(), "own");
        }
        neighbour_is_fine(&volume, &router, 2).await;
    }
    let kept = fs::read_dir(router.state.path().join("checkouts")).unwrap().flatten();
    let kept = kept.map(|checkout| checkout.path().join("a/lib/text.ts")).filter(|text| text.exists());
    let kept: Vec<_> = kept.map(|text| fs::read_to_string(text).unwrap()).collect();
    assert!(!kept.is_empty() && kept.iter().all(|text| !text.contains("secret")), "{kept:?}");
}

#[tokio::test]
async fn a_file_that_grows_while_it_is_read_holds_up_only_its_project() {
    let volume = volume();
    let router = Router::start(&volume).await;
    let path = volume.path("a/growing");
    {
        let mut bytes = 0;
        let _growing = Loop::start(move || {
            bytes = if bytes < 300 << 20 { bytes + (64 << 10) } else { 0 };
            sparse(&path, bytes);
        });
        neighbour_is_fine(&volume, &router, 10).await;
    }
    volume.remove("a/growing");
    offender_is_served(&volume, &router, "whole").await;
}

#[tokio::test]
async fn thousands_of_folders_created_and_removed_delay_no_other_project_and_are_watched() {
    let volume = volume();
    let router = Router::start(&volume).await;
    for round in 0..2 {
        (0..2000).for_each(|n| fs::create_dir(volume.path(&format!("a/{n}"))).unwrap());
        neighbour_is_fine(&volume, &router, 1).await;
        // A file in the newest of them is seen.
        volume.write("a/1999/text.ts", format!("export const text = 'round {round}';\n"));
        volume.replace(
            "a/main.ts",
            "import { text } from './1999/text.ts';\nexport default { fetch: () => new Response(text) };\n",
        );
        let expected = format!("round {round}");
        eventually("a file in them is served", || async {
            router.public.get("/a/").await.text() == expected
        })
        .await;
        volume.write("a/1999/text.ts", format!("export const text = 'again {round}';\n"));
        let expected = format!("again {round}");
        eventually("and its change", || async { router.public.get("/a/").await.text() == expected }).await;
        offender_is_served(&volume, &router, &format!("without {round}")).await;
        (0..2000).for_each(|n| volume.remove(&format!("a/{n}")));
        neighbour_is_fine(&volume, &router, 1).await;
    }
    eventually("removed folders are no longer watched", || async {
        router.admin.metric("switchyard_watched_directories", "").await == Some(2.0)
    })
    .await;
}

#[tokio::test]
async fn more_folders_than_a_project_may_have_fail_it_alone_while_the_neighbour_is_reloaded() {
    let volume = volume();
    let router = Router::builder(&volume).flag("max-project-folders", 500).start().await;
    let path = volume.path("a");
    {
        let mut n = 0;
        let _making = Loop::start(move || {
            n += 1;
            let folder = path.join(format!("{}/{n}", n % 100));
            fs::create_dir_all(folder).expect("a folder can be made");
            if n % 5000 == 0 {
                (0..100).for_each(|n| drop(fs::remove_dir_all(path.join(n.to_string()))));
            }
        });
        fails(&router, &["more than 500 folders"]).await;
        neighbour_is_fine(&volume, &router, 10).await;
    }
    assert_eq!(router.public.get("/a/").await.text(), "one");
    (0..100).for_each(|n| drop(fs::remove_dir_all(volume.path(&format!("a/{n}")))));
    offender_is_served(&volume, &router, "two").await;
}

#[tokio::test]
async fn many_projects_that_take_long_to_read_keep_no_small_one_waiting() {
    let volume = volume();
    for n in 0..20 {
        volume.write(&format!("slow-{n}/main.ts"), hello("slow"));
        sparse(&volume.path(&format!("slow-{n}/large")), 1 << 40);
    }
    let router = Router::builder(&volume)
        .flag("max-file-size", 1_u64 << 40)
        .flag("max-project-size", 1_u64 << 41)
        .flag("build-timeout", 2000)
        .start()
        .await;
    assert_eq!(router.public.get("/b/").await.text(), "b");
    neighbour_is_fine(&volume, &router, 3).await;
    assert_ne!(router.admin.project("slow-7").await.state, ProjectState::Live);
}
