//! Tests of the inotify watcher.

use std::fs;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::*;

struct Scene {
    dir: tempfile::TempDir,
    watcher: KernelWatcher,
    events: Receiver<Event>,
}

impl Scene {
    fn new() -> Self {
        let (sender, events) = channel();
        let watcher = KernelWatcher::start(move |event: Result<Event>| {
            let _ = sender.send(event.unwrap());
        });
        let dir = tempfile::tempdir().unwrap();
        Self { dir, watcher: watcher.unwrap(), events }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn watch(&self, name: &str) {
        self.watcher.inotify.watch(&self.path(name)).unwrap();
    }

    fn watched(&self) -> Vec<PathBuf> {
        let table = self.watcher.inotify.table();
        let names = table.folders().map(|path| path.strip_prefix(self.dir.path()).unwrap());
        names.map(Path::to_owned).collect()
    }

    fn wait_for(&self, name: &str) -> EventKind {
        let path = self.path(name);
        loop {
            let event = self.events.recv_timeout(Duration::from_secs(20)).unwrap();
            if event.paths.first() == Some(&path) {
                return event.kind;
            }
        }
    }

    /// Waits until all events so far have come.
    fn settle(&self) {
        fs::write(self.path("settled"), "").unwrap();
        self.wait_for("settled");
        fs::remove_file(self.path("settled")).unwrap();
    }
}

#[test]
fn events_have_the_path_that_their_folder_has() {
    let scene = Scene::new();
    fs::create_dir_all(scene.path("a/b")).unwrap();
    for name in ["", "a", "a/b"] {
        scene.watch(name);
    }
    fs::write(scene.path("a/b/file"), "").unwrap();
    assert_eq!(scene.wait_for("a/b/file"), EventKind::Create(CreateKind::File));
    fs::rename(scene.path("a"), scene.path("c")).unwrap();
    scene.settle();
    assert_eq!(scene.watched(), [Path::new("")], "a moved folder is not watched under its old path");
    scene.watch("c/b");
    fs::create_dir(scene.path("c/b/folder")).unwrap();
    assert_eq!(scene.wait_for("c/b/folder"), EventKind::Create(CreateKind::Folder));
}

#[test]
fn the_two_ends_of_a_rename_are_distinguished() {
    let scene = Scene::new();
    fs::write(scene.path("a"), "").unwrap();
    scene.watch("");
    fs::rename(scene.path("a"), scene.path("b")).unwrap();
    assert_eq!(scene.wait_for("a"), EventKind::Any);
    assert_eq!(scene.wait_for("b"), MOVED_IN);
}

#[test]
fn a_folder_that_is_watched_under_its_new_path_stays_so_when_the_old_one_is_given_up() {
    let scene = Scene::new();
    fs::create_dir(scene.path("a")).unwrap();
    scene.watch("a");
    fs::rename(scene.path("a"), scene.path("b")).unwrap();
    scene.watch("");
    scene.watch("b");
    scene.watcher.inotify.unwatch(&scene.path("a"));
    scene.settle();
    scene.watch("b");
    fs::write(scene.path("b/file"), "").unwrap();
    scene.wait_for("b/file");
}

#[test]
fn a_removed_folder_is_forgotten_and_one_in_its_place_is_another_one() {
    let scene = Scene::new();
    scene.watch("");
    for _ in 0..3 {
        fs::create_dir_all(scene.path("a/b")).unwrap();
        scene.watch("a");
        scene.watch("a/b");
        fs::write(scene.path("a/b/file"), "").unwrap();
        scene.wait_for("a/b/file");
        fs::remove_dir_all(scene.path("a")).unwrap();
        scene.settle();
        assert_eq!(scene.watched(), [Path::new("")]);
    }
    std::os::unix::fs::symlink(".", scene.path("link")).unwrap();
    assert_eq!(scene.watcher.inotify.watch(&scene.path("link")), Err(Errno::NOTDIR));
}

#[test]
fn events_that_are_not_taken_are_not_read_without_end_and_lost_ones_are_reported() {
    let mut scene = Scene::new();
    scene.watch("");
    let file = fs::File::create(scene.path("file")).unwrap();
    // More than this and the kernel keep, each unlike the one before it.
    for n in 0..50_000 {
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        file.set_len(n % 2).unwrap();
    }
    let mut seen = 0;
    while scene.events.recv_timeout(Duration::from_millis(500)).is_ok() {
        seen += 1;
    }
    assert!((BACKLOG..2 * BACKLOG).contains(&seen), "{seen}");
    scene.watcher.configure(Config::default()).unwrap();
    while !scene.events.recv_timeout(Duration::from_secs(20)).unwrap().need_rescan() {
        scene.watcher.configure(Config::default()).unwrap();
    }
}
