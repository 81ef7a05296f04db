//! The ways in which people, editors and tools change a volume, under a steady probe.

use std::time::Duration;

use switchyard_contract::event::EventType;
use switchyard_integration::eventually;
use switchyard_integration::fixtures::{half, hello, pair};
use switchyard_integration::probe::Probe;
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;

#[tokio::test]
async fn a_deleted_project_is_drained_and_then_unknown() {
    let volume = Volume::with("a", hello("one"));
    volume.project("b").file("main.ts", hello("b")).write();
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    let first = events.wait_live("a").await;
    let probe = Probe::start(&router.public, "/b/").await;
    volume.remove("a");
    let removed = events.wait_removed("a").await;
    assert_eq!(removed.data.previous, first.data.version);
    router.public.get("/a/").await.assert_problem(404, "unknown-project");
    let draining = router.admin.projects().await.remove("a");
    assert!(draining.is_none_or(|project| project.live.is_none()), "shown as live still");
    assert_eq!(events.wait_retired("a").await.data.version, first.data.version);
    eventually("it is forgotten", || async { !router.admin.projects().await.contains_key("a") }).await;
    probe.finish().await.no_failures().versions_monotonic(&["b"]);
}

#[tokio::test]
async fn a_renamed_project_is_live_under_its_new_name_only() {
    let volume = Volume::with("a", hello("one"));
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    events.wait_live("a").await;
    volume.rename("a", "b");
    events.wait_live("b").await;
    events.wait_removed("a").await;
    assert_eq!(router.public.get("/b/").await.text(), "one");
    router.public.get("/a/").await.assert_problem(404, "unknown-project");
    volume.write("b/main.ts", hello("two"));
    events.wait_live("b").await;
    assert_eq!(router.public.get("/b/").await.text(), "two");
}

#[tokio::test]
async fn a_project_that_is_deleted_and_written_again_is_followed_again() {
    let volume = Volume::with("a", hello("one"));
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    events.wait_live("a").await;
    volume.remove("a");
    events.wait_removed("a").await;
    volume.project("a").file("main.ts", hello("two")).write();
    events.wait_live("a").await;
    assert_eq!(router.public.get("/a/").await.text(), "two");
    volume.replace("a/main.ts", hello("three"));
    events.wait_live("a").await;
    assert_eq!(router.public.get("/a/").await.text(), "three");
}

#[tokio::test]
async fn a_folder_swapped_for_another_loses_no_request() {
    let volume = Volume::with("a", hello("one"));
    let router = Router::builder(&volume).flag("debounce", 100).start().await;
    let mut events = router.events().await;
    events.wait_live("a").await;
    let probe = Probe::start(&router.public, "/a/").await;
    // A git checkout of another branch does this, or a deploy that moves the old folder away.
    volume.project("_next").file("main.ts", hello("two")).write();
    volume.rename("a", "_old");
    volume.rename("_next", "a");
    events.wait_live("a").await;
    volume.replace("a/main.ts", hello("three"));
    events.wait_live("a").await;
    probe.finish().await.no_failures().none_mixed().versions_monotonic(&["one", "two", "three"]);
}

#[tokio::test]
async fn a_git_checkout_of_another_branch_is_one_new_version() {
    let volume = Volume::with("a", pair());
    let git = |arguments: &str| {
        let identity = ["-c", "user.name=x", "-c", "user.email=x@example.com"];
        let mut command = std::process::Command::new("git");
        command.current_dir(volume.path("a")).args(identity).args(arguments.split(' '));
        let output = command.output().unwrap();
        assert!(output.status.success(), "git {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    };
    git("init --quiet --initial-branch=one");
    for branch in ["one", "two"] {
        if branch == "two" {
            git("checkout --quiet -b two");
        }
        for name in ["a", "b"] {
            volume.write(&format!("a/{name}.ts"), half(name, branch));
        }
        for index in 0..50 {
            volume.write(&format!("a/more/{index}.txt"), branch);
        }
        git("add --all");
        git("commit --quiet --message x");
    }
    git("checkout --quiet one");
    let router = Router::builder(&volume).flag("debounce", 100).start().await;
    let mut events = router.events().await;
    events.wait_live("a").await;
    let probe = Probe::start(&router.public, "/a/").await;
    git("checkout --quiet two");
    events.wait_live("a").await;
    probe.finish().await.no_failures().none_mixed().versions_monotonic(&["one:one", "two:two"]);
    assert_eq!(events.count(EventType::ReloadLive, "a"), 2);
}

#[tokio::test]
async fn a_swapped_symlink_of_the_project_is_a_new_version() {
    let volume = Volume::new();
    for (release, label) in [("_r1", "one"), ("_r2", "two")] {
        volume.project(release).file("main.ts", hello(label)).write();
    }
    volume.link("_r1", "a");
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    events.wait_live("a").await;
    let probe = Probe::start(&router.public, "/a/").await;
    volume.link("_r2", "a");
    events.wait_live("a").await;
    probe.finish().await.no_failures().none_mixed().versions_monotonic(&["one", "two"]);
}

#[tokio::test]
async fn a_swapped_symlink_inside_the_project_is_a_new_version() {
    let volume = Volume::new();
    volume
        .project("a")
        .file(
            "main.ts",
            "import { a } from './current/a.ts';\nexport default { fetch: () => new Response(a) };",
        )
        .file("r1/a.ts", half("a", "one"))
        .file("r2/a.ts", half("a", "two"))
        .write();
    volume.link("r1", "a/current");
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    events.wait_live("a").await;
    let probe = Probe::start(&router.public, "/a/").await;
    volume.link("r2", "a/current");
    events.wait_live("a").await;
    probe.finish().await.no_failures().none_mixed().versions_monotonic(&["one", "two"]);
}

#[tokio::test]
async fn an_editors_atomic_save_is_one_new_version() {
    let volume = Volume::with("a", hello("one"));
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    events.wait_live("a").await;
    let probe = Probe::start(&router.public, "/a/").await;
    for label in ["two", "three"] {
        // Vim's way: tries whether it may write (4913), renames the old file, writes the new one.
        volume.write("a/4913", "");
        volume.remove("a/4913");
        volume.replace("a/main.ts", hello(label));
        events.wait_live("a").await;
    }
    probe.finish().await.no_failures().none_mixed().versions_monotonic(&["one", "two", "three"]);
    assert_eq!(events.count(EventType::ReloadLive, "a"), 3);
}

#[tokio::test]
async fn of_twenty_saves_in_a_row_the_last_is_live_and_few_are_built() {
    let volume = Volume::with("a", hello("v0"));
    let router = Router::builder(&volume).flag("debounce", 200).start().await;
    let mut events = router.events().await;
    events.wait_live("a").await;
    let probe = Probe::start(&router.public, "/a/").await;
    let labels: Vec<_> = (0..=20).map(|index| format!("v{index}")).collect();
    for label in &labels[1..] {
        volume.write("a/main.ts", hello(label));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    eventually("the last save is live", || async { router.public.get("/a/").await.text() == "v20" }).await;
    let order: Vec<_> = labels.iter().map(String::as_str).collect();
    probe.finish().await.no_failures().none_mixed().versions_monotonic(&order);
    // One, unless this machine was so busy that the writer paused for longer than the debounce.
    assert!(events.count(EventType::ReloadLive, "a") <= 4, "{:#?}", events.all());
    assert_eq!(events.count(EventType::ReloadFailed, "a"), 0);
}

#[tokio::test]
async fn a_file_written_in_slow_chunks_is_live_once_and_never_torn() {
    let volume = Volume::with("a", hello("one"));
    let router = Router::builder(&volume).flag("debounce", 400).start().await;
    let mut events = router.events().await;
    events.wait_live("a").await;
    let probe = Probe::start(&router.public, "/a/").await;
    // Valid at many of its lengths, so that a torn version would be live rather than fail.
    let main = format!(
        "export default {{ fetch: () => new Response(label) }};\nvar label = 'torn';\n{}label = 'two';\n",
        "// filler\n".repeat(200)
    );
    volume.write_slowly("a/main.ts", &main, 12, Duration::from_millis(60)).await;
    events.wait_live("a").await;
    probe.finish().await.no_failures().none_mixed().versions_monotonic(&["one", "two"]);
    assert_eq!(events.count(EventType::ReloadLive, "a"), 2, "{:#?}", events.all());
    assert_eq!(events.count(EventType::ReloadFailed, "a"), 0);
}

#[tokio::test]
async fn files_that_belong_together_are_never_served_from_two_saves() {
    let volume = Volume::new();
    volume
        .project("a")
        .file("main.ts", pair())
        .file("a.ts", half("a", "0"))
        .file("b.ts", half("b", "0"))
        .write();
    let router = Router::builder(&volume).flag("debounce", 100).start().await;
    let mut events = router.events().await;
    events.wait_live("a").await;
    let probe = Probe::start(&router.public, "/a/").await;
    for label in ["1", "2", "3", "4"] {
        volume.write("a/a.ts", half("a", label));
        volume.write("a/b.ts", half("b", label));
        events.wait_live("a").await;
    }
    probe.finish().await.no_failures().none_mixed().versions_monotonic(&["0:0", "1:1", "2:2", "3:3", "4:4"]);
}

#[tokio::test]
async fn a_project_written_file_by_file_ends_with_all_of_them() {
    let volume = Volume::new();
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    volume.write("a/main.ts", pair());
    tokio::time::sleep(Duration::from_millis(60)).await;
    volume.write("a/a.ts", half("a", "1"));
    tokio::time::sleep(Duration::from_millis(60)).await;
    volume.write("a/b.ts", half("b", "2"));
    events.wait_live("a").await;
    assert_eq!(router.public.get("/a/").await.text(), "1:2");
}

#[tokio::test]
async fn new_folders_deep_inside_a_project_are_followed() {
    let volume = Volume::with("a", hello("one"));
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    events.wait_live("a").await;
    volume.write("a/x/y/z/deep.ts", half("a", "two"));
    volume.write(
        "a/main.ts",
        "import { a } from './x/y/z/deep.ts';\nexport default { fetch: () => new Response(a) };",
    );
    eventually("the new folder's file is served", || async {
        router.public.get("/a/").await.text() == "two"
    })
    .await;
    let before = events.count(EventType::ReloadLive, "a");
    volume.write("a/x/y/z/deep.ts", half("a", "three"));
    eventually("a change in it is served", || async { router.public.get("/a/").await.text() == "three" })
        .await;
    eventually("and the event is emitted", || async { events.count(EventType::ReloadLive, "a") > before })
        .await;
}
