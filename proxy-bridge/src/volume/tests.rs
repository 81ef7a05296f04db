//! Swaps of trees, with crashes in between.

use std::collections::BTreeMap;

use super::journal::Journal;
use super::*;
use crate::tree::Tree;
use switchyard_contract::digest::Digest;
use switchyard_contract::incarnation::{DataFate, Incarnation};

mod removals;
mod shared;
mod standby;

struct Scene {
    dir: tempfile::TempDir,
    exchange: bool,
}

impl Scene {
    fn new(exchange: bool) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), exchange }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap()
    }

    fn open(&self) -> (Volume, Vec<UnfinishedDeploy>) {
        let (volume, mut unfinished) = Volume::open(self.dir.path()).unwrap();
        let can_exchange = volume.can_exchange() && self.exchange;
        Arc::get_mut(&mut volume.folder()).unwrap().can_exchange = can_exchange;
        for one in &mut unfinished {
            let journal = Journal::read(&self.staged()[0]).unwrap().unwrap();
            one.staging = Staging::again(&volume.folder(), self.staged()[0].clone(), journal);
        }
        (volume, unfinished)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// All files of a project by path; `None` without a folder.
    fn tree(&self, project: &str) -> Option<BTreeMap<String, String>> {
        let root = self.root().join(project);
        root.is_dir().then(|| files(&root, ""))
    }

    fn staged(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.root().join(OWN).join("staging")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

fn files(dir: &Path, prefix: &str) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type().unwrap().is_dir() {
            all.extend(files(&entry.path(), &format!("{path}/")));
        } else {
            all.insert(path, fs::read_to_string(entry.path()).unwrap());
        }
    }
    all
}

fn one(path: &str, text: &str) -> Option<BTreeMap<String, String>> {
    Some(BTreeMap::from([(path.to_owned(), text.to_owned())]))
}

fn name(project: &str) -> ProjectName {
    ProjectName::parse(project).unwrap()
}

fn project(name: &str) -> EntryName {
    EntryName::Project(ProjectName::parse(name).unwrap())
}

fn put(staging: &Staging, project: &str, text: &str) -> Change {
    let dir = staging.incoming().join(project);
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("main.ts"), text).unwrap();
    let (digest, carries_packages) = (Digest::from([1; 32]), true);
    Change::Put(Tree { project: name(project), dir, digest, files: 1, bytes: 1, carries_packages })
}

/// Leaves all as a bridge does that is killed: the kernel takes its locks away.
fn kill(mut staging: Staging) {
    staging.root = None;
    std::mem::forget(staging);
}

/// Runs the test with folders that can be exchanged, and without.
fn both(test: impl Fn(Scene)) {
    test(Scene::new(true));
    test(Scene::new(false));
}

#[test]
fn a_swap_replaces_and_putting_back_restores() {
    both(|scene| {
        scene.write("blog/main.ts", "old");
        let (volume, _) = scene.open();
        let mut staging = volume.stage("d1").unwrap();
        let changes = [put(&staging, "blog", "new"), put(&staging, "shop", "first")];
        staging.store(&changes).unwrap();
        staging.swap(&changes).unwrap();
        assert_eq!(scene.tree("blog"), one("main.ts", "new"));
        assert_eq!(scene.tree("shop"), one("main.ts", "first"));
        assert!(staging.is_ours(&project("blog")) && staging.is_ours(&project("shop")));
        assert_eq!(staging.put_back().unwrap(), RestoreReport::default());
        assert_eq!(scene.tree("blog"), one("main.ts", "old"));
        assert_eq!(scene.tree("shop"), None, "a first deploy leaves no folder");
        staging.finish().unwrap();
        assert!(scene.staged().is_empty());
    });
}

#[test]
fn a_project_can_be_taken_away_and_put_back() {
    both(|scene| {
        scene.write("blog/main.ts", "old");
        let (volume, _) = scene.open();
        let mut staging = volume.stage("d1").unwrap();
        let changes = [Change::Remove(name("blog"), DataFate::Keep)];
        staging.store(&changes).unwrap();
        staging.swap(&changes).unwrap();
        assert_eq!(scene.tree("blog"), None);
        assert!(staging.is_ours(&project("blog")));
        staging.put_back().unwrap();
        assert_eq!(scene.tree("blog"), one("main.ts", "old"));
    });
}

#[test]
fn concurrent_edits_are_left_alone() {
    both(|scene| {
        scene.write("blog/main.ts", "old");
        let (volume, _) = scene.open();
        let mut staging = volume.stage("d1").unwrap();
        let changes = [put(&staging, "blog", "new")];
        staging.store(&changes).unwrap();
        staging.swap(&changes).unwrap();
        scene.write("blog/more.ts", "theirs");
        assert!(!staging.is_ours(&project("blog")));
        assert_eq!(staging.put_back().unwrap().left, [project("blog")]);
        assert_eq!(scene.tree("blog").unwrap()["more.ts"], "theirs");
    });
}

#[test]
fn packages_and_history_are_carried_over_unless_the_upload_brings_them() {
    let scene = Scene::new(true);
    for path in [
        ".git/HEAD",
        "node_modules/a/index.js",
        "web/node_modules/b/index.js",
        "gone/node_modules/c/index.js",
        "old.ts",
    ] {
        scene.write(&format!("blog/{path}"), "kept");
    }
    std::os::unix::fs::symlink("a", scene.root().join("blog/node_modules/link")).unwrap();
    let (volume, _) = scene.open();
    let mut staging = volume.stage("d1").unwrap();
    let changes = [put(&staging, "blog", "new")];
    fs::create_dir(staging.incoming().join("blog/web")).unwrap();
    staging.store(&changes).unwrap();
    staging.swap(&changes).unwrap();
    let blog = scene.root().join("blog");
    assert_eq!(fs::read_link(blog.join("node_modules/link")).unwrap(), Path::new("a"));
    fs::remove_file(blog.join("node_modules/link")).unwrap();
    let paths: Vec<_> = scene.tree("blog").unwrap().into_keys().collect();
    assert_eq!(paths, [".git/HEAD", "main.ts", "node_modules/a/index.js", "web/node_modules/b/index.js"]);

    let mut staging = volume.stage("d2").unwrap();
    let changes = [put(&staging, "blog", "newer")];
    fs::create_dir_all(staging.incoming().join("blog/node_modules/own")).unwrap();
    staging.store(&changes).unwrap();
    staging.swap(&changes).unwrap();
    assert!(!blog.join("node_modules/a").exists() && blog.join("node_modules/own").exists());
}

#[test]
fn a_bridge_that_was_killed_before_the_swap_leaves_nothing() {
    let scene = Scene::new(true);
    scene.write("blog/main.ts", "old");
    let (volume, _) = scene.open();
    let staging = volume.stage("d1").unwrap();
    put(&staging, "blog", "new");
    kill(staging);
    drop(volume);
    let (_volume, unfinished) = scene.open();
    assert!(unfinished.is_empty() && scene.staged().is_empty());
    assert_eq!(scene.tree("blog"), one("main.ts", "old"));
}

#[test]
fn a_swap_that_was_cut_off_anywhere_can_be_completed_or_undone() {
    // The number of projects in place, and `true` if the next one is between its two renames.
    for (done, between) in [(0, false), (1, false), (2, false), (0, true), (1, true)] {
        for undo in [false, true] {
            let scene = Scene::new(!between);
            scene.write("a/main.ts", "old");
            scene.write("b/main.ts", "old");
            let (volume, _) = scene.open();
            let mut staging = volume.stage("d1").unwrap();
            let changes = [put(&staging, "a", "new"), put(&staging, "b", "new")];
            staging.store(&changes).unwrap();
            let journal = Journal::of(&changes, &scene.root(), &volume.register()).unwrap();
            journal.write(&scene.staged()[0]).unwrap();
            staging.journal = Some(journal.clone());
            for entry in &journal.entries[..done] {
                staging.put_in_place(entry).unwrap();
            }
            if between {
                let entry = &journal.entries[done];
                fs::create_dir_all(staging.dir.join(OLD)).unwrap();
                fs::rename(staging.place(&entry.name), staging.old_of(entry)).unwrap();
            }
            kill(staging);
            drop(volume);

            let (_volume, mut unfinished) = scene.open();
            let mut staging = unfinished.remove(0).staging;
            let expected = if undo { "old" } else { "new" };
            if undo {
                assert_eq!(staging.put_back().unwrap(), RestoreReport::default());
            } else {
                staging.complete().unwrap();
            }
            for project in ["a", "b"] {
                assert_eq!(scene.tree(project), one("main.ts", expected), "{project} {done} {between}");
            }
            staging.finish().unwrap();
            assert!(scene.staged().is_empty());
        }
    }
}

#[test]
fn an_older_deploy_that_was_not_settled_does_not_undo_a_newer_one() {
    let scene = Scene::new(true);
    scene.write("blog/main.ts", "oldest");
    let (volume, _) = scene.open();
    let mut older = volume.stage("d1").unwrap();
    let changes = [put(&older, "blog", "older")];
    older.store(&changes).unwrap();
    older.swap(&changes).unwrap();
    let mut newer = volume.stage("d2").unwrap();
    let changes = [put(&newer, "blog", "newer")];
    newer.store(&changes).unwrap();
    newer.swap(&changes).unwrap();
    older.complete().unwrap();
    assert!(!older.is_ours(&project("blog")));
    assert_eq!(older.put_back().unwrap().left, [project("blog")]);
    older.finish().unwrap();
    assert_eq!(scene.tree("blog"), one("main.ts", "newer"));
}

#[test]
fn a_second_bridge_and_a_root_that_is_not_a_folder_are_refused() {
    let scene = Scene::new(true);
    let (_volume, _) = scene.open();
    assert!(matches!(Volume::open(scene.dir.path()), Err(OpenError::InUse(_))));
    assert!(matches!(Volume::open(&scene.root().join("nowhere")), Err(OpenError::Missing { .. })));
}

#[test]
fn a_folder_of_its_own_that_is_a_link_is_refused_and_nothing_is_written_through_it() {
    let scene = Scene::new(true);
    let elsewhere = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), scene.root().join(OWN)).unwrap();
    assert!(matches!(Volume::open(scene.dir.path()), Err(OpenError::OtherDevice { .. })));
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

#[test]
fn a_project_that_is_a_link_is_refused_and_stays() {
    let scene = Scene::new(true);
    scene.write("_elsewhere/main.ts", "old");
    std::os::unix::fs::symlink("_elsewhere", scene.root().join("blog")).unwrap();
    let (volume, _) = scene.open();
    let staging = volume.stage("d1").unwrap();
    let changes = [put(&staging, "blog", "new")];
    assert!(matches!(staging.store(&changes), Err(VolumeError::NotPlain(_))));
    drop(staging);
    assert_eq!(scene.tree("blog"), one("main.ts", "old"));
    assert!(scene.staged().is_empty());
}

#[test]
fn trees_that_could_not_be_restored_are_kept_for_the_next_start() {
    let scene = Scene::new(false);
    scene.write("blog/main.ts", "old");
    let (volume, _) = scene.open();
    let mut staging = volume.stage("d1").unwrap();
    let changes = [put(&staging, "blog", "new")];
    staging.store(&changes).unwrap();
    staging.swap(&changes).unwrap();
    // A folder in the way of the new tree.
    let in_the_way = staging.incoming().join("blog");
    fs::create_dir(&in_the_way).unwrap();
    assert!(staging.put_back().is_err());
    staging.settle().unwrap();
    staging.finish().unwrap();
    drop(volume);

    fs::remove_dir(in_the_way).unwrap();
    let (_volume, mut unfinished) = scene.open();
    let mut staging = unfinished.remove(0).staging;
    assert_eq!(staging.put_back().unwrap(), RestoreReport::default());
    staging.finish().unwrap();
    assert_eq!(scene.tree("blog"), one("main.ts", "old"));
    assert!(scene.staged().is_empty());
}

#[test]
fn a_settled_deploy_stays_even_if_the_bridge_is_killed_before_the_cleanup() {
    both(|scene| {
        scene.write("blog/main.ts", "old");
        let (volume, _) = scene.open();
        let mut staging = volume.stage("d1").unwrap();
        let changes = [put(&staging, "blog", "new")];
        staging.store(&changes).unwrap();
        staging.swap(&changes).unwrap();
        staging.settle().unwrap();
        kill(staging);
        drop(volume);

        let (_volume, unfinished) = scene.open();
        assert!(unfinished.is_empty());
        assert_eq!(scene.tree("blog"), one("main.ts", "new"));
        assert!(scene.staged().is_empty());
    });
}

fn ending() -> RemovalTerms {
    RemovalTerms {
        keep: jiff::SignedDuration::from_hours(1),
        versions: BTreeMap::from([(name("blog"), "blog@1".to_owned())]),
    }
}

/// Takes `blog` away, up to and with the point of no return.
fn remove_blog(volume: &Volume, deploy: &str, data: DataFate) -> Staging {
    let mut staging = volume.stage(deploy).unwrap();
    let changes = [Change::Remove(name("blog"), data)];
    staging.store(&changes).unwrap();
    staging.swap(&changes).unwrap();
    staging.commit(&ending()).unwrap();
    staging
}

#[test]
fn a_root_that_becomes_another_folder_is_followed_and_a_deploy_does_not_go_to_the_old_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let swap = |target: &str| {
        std::os::unix::fs::symlink(target, path("next")).unwrap();
        fs::rename(path("next"), path("root")).unwrap();
    };
    fs::create_dir(path("one")).unwrap();
    fs::create_dir(path("two")).unwrap();
    swap("one");
    let (volume, _) = Volume::open(&path("root")).unwrap();
    let mut staging = volume.stage("d1").unwrap();
    let changes = [put(&staging, "blog", "new")];
    staging.store(&changes).unwrap();
    swap("two");
    assert!(matches!(staging.swap(&changes), Err(VolumeError::Replaced)));
    drop(staging);
    assert!(!path("one/blog").exists());
    let mut staging = volume.stage("d2").unwrap();
    let changes = [put(&staging, "blog", "new")];
    staging.store(&changes).unwrap();
    staging.swap(&changes).unwrap();
    staging.finish().unwrap();
    assert!(path("two/blog/main.ts").exists() && volume.has(&name("blog")));
    fs::rename(path("two"), path("away")).unwrap();
    assert!(matches!(volume.stage("d3"), Err(VolumeError::Missing { .. })));
    fs::rename(path("away"), path("two")).unwrap();
    volume.stage("d4").unwrap();
    remove_blog(&volume, "d5", DataFate::Keep).finish().unwrap();
    assert_eq!(volume.register().removed().len(), 1);
    swap("one");
    volume.stage("d6").unwrap();
    assert!(volume.register().removed().is_empty(), "each folder has removals of its own");
    swap("two");
    volume.stage("d7").unwrap();
    assert_eq!(volume.register().removed().len(), 1);
}
