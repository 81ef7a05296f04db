//! Changes without file events: a queue that overflows, and file systems without events.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;

use rustix::process::Signal;
use switchyard_contract::event::Trigger;
use switchyard_integration::eventually;
use switchyard_integration::fixtures::hello;
use switchyard_integration::probe::Probe;
use switchyard_integration::router::{Router, can_limit_watches};
use switchyard_integration::volume::Volume;

#[tokio::test]
async fn polling_finds_changes_that_the_watch_does_not_report() {
    let volume = Volume::with("a", hello("one"));
    let router = Router::builder(&volume).unwatched().flag("poll", 50).start().await;
    let mut events = router.events().await;
    events.wait_live("a").await;
    let probe = Probe::start(&router.public, "/a/").await;
    volume.write("a/main.ts", hello("two"));
    assert_eq!(events.wait_live("a").await.data.trigger, Some(Trigger::Poll));
    assert_eq!(router.admin.metric("switchyard_polling", "").await, Some(1.0));
    volume.project("b").file("main.ts", hello("b")).write();
    events.wait_live("b").await;
    volume.remove("b");
    events.wait_removed("b").await;
    probe.finish().await.no_failures().none_mixed().versions_monotonic(&["one", "two"]);
}

#[tokio::test]
async fn after_an_overflow_of_the_event_queue_everything_is_looked_at_again() {
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let limit: usize = limit.trim().parse().unwrap();
    let volume = Volume::with("a", hello("one"));
    volume.project("b").file("main.ts", hello("one")).write();
    let router = Router::start(&volume).await;
    router.signal(Signal::STOP);
    // Events of two files by turns, so that the kernel cannot merge them; the change of `b` comes
    // when the queue is full.
    for _ in 0..limit {
        volume.write("a/x.txt", "1");
        volume.write("a/y.txt", "1");
    }
    volume.write("b/main.ts", hello("two"));
    router.signal(Signal::CONT);
    eventually("the lost change is served", || async { router.public.get("/b/").await.text() == "two" })
        .await;
    assert!(router.admin.metric("switchyard_lost_events_total", "").await.is_some_and(|lost| lost >= 1.0));
    let logged = router.log.wait_for(|record| record["level"] == "WARN" || record["level"] == "ERROR");
    assert!(switchyard_integration::within("it is logged", logged).await.is_some());
}

#[tokio::test]
async fn a_folder_that_is_replaced_and_its_old_one_deleted_at_once_is_seen() {
    let volume = Volume::with("a", hello("one"));
    let router = Router::start(&volume).await;
    router.signal(Signal::STOP);
    volume.project("_new/a").file("main.ts", hello("two")).write();
    volume.exchange("_new/a", "a");
    volume.remove("_new/a");
    router.signal(Signal::CONT);
    eventually("the new folder is served", || async { router.public.get("/a/").await.text() == "two" }).await;
    volume.replace("a/main.ts", hello("three"));
    eventually("and watched", || async { router.public.get("/a/").await.text() == "three" }).await;
}

#[tokio::test]
async fn if_no_more_folders_can_be_watched_the_router_polls_and_logs_it() {
    if !can_limit_watches() {
        return; // Containers often forbid it.
    }
    let volume = Volume::new();
    for index in 0..20 {
        volume.project(&format!("p{index}")).file("main.ts", hello("one")).file("x/y.txt", "").write();
    }
    let router = Router::builder(&volume).watch_limit(10).start().await;
    let mut events = router.events().await;
    for index in 0..20 {
        events.wait_live(&format!("p{index}")).await;
        volume.replace(&format!("p{index}/main.ts"), hello("two"));
    }
    for index in 0..20 {
        events.wait_live(&format!("p{index}")).await;
        assert_eq!(router.public.get(&format!("/p{index}/")).await.text(), "two");
    }
    assert_eq!(router.admin.metric("switchyard_polling", "").await, Some(1.0));
    let logged = router
        .log
        .wait_for(|record| record["level"] == "WARN" && record.to_string().contains("max_user_watches"));
    assert!(switchyard_integration::within("it is logged", logged).await.is_some());
}

/// The number of changes that the router has found by comparison alone.
async fn unseen(router: &Router) -> usize {
    let counted = router.admin.metric("switchyard_unseen_changes_total", "").await;
    counted.expect("the router counts them") as usize
}

#[tokio::test]
async fn a_change_without_a_file_event_is_found_by_comparison_and_counted() {
    let volume = Volume::with("a", hello("one"));
    volume.project("b").file("main.ts", hello("one")).write();
    // A write through another name of a file raises no event in this folder.
    volume.write("_outside/main.ts", hello("one"));
    volume.remove("a/main.ts");
    fs::hard_link(volume.path("_outside/main.ts"), volume.path("a/main.ts")).unwrap();
    let router = Router::builder(&volume).flag("compare", 100).start().await;
    let mut events = router.events().await;
    events.wait_live("a").await;
    events.wait_live("b").await;
    let probe = Probe::start(&router.public, "/a/").await;
    for (index, label) in ["two", "six", "ten"].into_iter().enumerate() {
        // In one step: a file that is emptied first may be seen to change twice.
        let file = File::options().write(true).open(volume.path("_outside/main.ts")).unwrap();
        file.write_all_at(hello(label).as_bytes(), 0).unwrap();
        assert_eq!(events.wait_live("a").await.data.trigger, Some(Trigger::Poll));
        // The first change may have come before the state that it is compared with, and one that was
        // read for another reason is counted after it is live.
        eventually("the changes before it are counted", || async { unseen(&router).await >= index }).await;
        assert!(unseen(&router).await <= index + 1, "each is counted once");
    }
    // By now all projects were read once more because of the first comparison.
    volume.replace("b/main.ts", hello("two"));
    assert_eq!(events.wait_live("b").await.data.trigger, Some(Trigger::Watch));
    assert_eq!(router.admin.metric("switchyard_polling", "").await, Some(0.0));
    probe.finish().await.no_failures().none_mixed().versions_monotonic(&["one", "two", "six", "ten"]);
}

#[tokio::test]
async fn without_inotify_the_router_polls_and_names_the_limit_to_raise() {
    if !can_limit_watches() {
        return; // Containers often forbid it.
    }
    let volume = Volume::with("a", hello("one"));
    let router = Router::builder(&volume).without_inotify().start().await;
    let mut events = router.events().await;
    events.wait_live("a").await;
    volume.replace("a/main.ts", hello("two"));
    events.wait_live("a").await;
    assert_eq!(router.public.get("/a/").await.text(), "two");
    let logged = router
        .log
        .wait_for(|record| record["level"] == "WARN" && record.to_string().contains("max_user_instances"));
    assert!(switchyard_integration::within("it is logged", logged).await.is_some());
}
