//! Shared entries: folders and files beside the projects.

use super::*;

fn shared(name: &str) -> SharedName {
    SharedName::parse(name).unwrap()
}

fn entry(name: &str) -> EntryName {
    EntryName::Shared(shared(name))
}

/// Stages a folder with one file, or a file where the name has no folder's.
fn put_shared(staging: &Staging, name: &str, text: &str) -> Change {
    let path = staging.incoming().join(name);
    let is_folder = name.starts_with('_');
    if is_folder {
        fs::create_dir(&path).unwrap();
        fs::write(path.join("mod.ts"), text).unwrap();
    } else {
        fs::write(&path, text).unwrap();
    }
    Change::PutShared(SharedTree { name: shared(name), path, is_folder, digest: Digest::from([2; 32]) })
}

impl Scene {
    /// The content of a shared file, or of the one file in a shared folder.
    fn shared(&self, name: &str) -> Option<String> {
        let path = self.root().join(name);
        fs::read_to_string(if path.is_dir() { path.join("mod.ts") } else { path }).ok()
    }
}

/// A volume with a project, a shared folder and file that a deploy replaces, one of each that it
/// removes, and one project that it keeps.
fn old(scene: &Scene) {
    for (path, text) in [
        ("api/main.ts", "old"),
        ("kept/main.ts", "kept"),
        ("_shared/mod.ts", "old"),
        ("deno.json", "old"),
        ("_gone/mod.ts", "old"),
        ("gone.json", "old"),
    ] {
        scene.write(path, text);
    }
}

fn all_changes(staging: &Staging) -> Vec<Change> {
    vec![
        put(staging, "api", "new"),
        put_shared(staging, "_shared", "new"),
        put_shared(staging, "deno.json", "new"),
        put_shared(staging, "_first", "new"),
        put_shared(staging, "first.json", "new"),
        Change::RemoveShared(shared("_gone")),
        Change::RemoveShared(shared("gone.json")),
        Change::RemoveShared(shared("never.json")),
        Change::Keep(name("kept")),
    ]
}

/// Checks that the volume is as [`old`] left it, or as [`all_changes`] want it.
fn assert_volume(scene: &Scene, is_new: bool, case: &str) {
    let (text, kept) = (if is_new { "new" } else { "old" }, one("main.ts", "kept"));
    assert_eq!(scene.tree("api"), one("main.ts", text), "{case}");
    assert_eq!(scene.tree("kept"), kept, "{case}");
    for name in ["_shared", "deno.json"] {
        assert_eq!(scene.shared(name).as_deref(), Some(text), "{case}: {name}");
    }
    for name in ["_first", "first.json"] {
        assert_eq!(scene.shared(name).as_deref(), is_new.then_some("new"), "{case}: {name}");
    }
    for name in ["_gone", "gone.json"] {
        assert_eq!(scene.shared(name).as_deref(), (!is_new).then_some("old"), "{case}: {name}");
    }
    assert!(!scene.root().join("never.json").exists(), "{case}");
}

#[test]
fn shared_entries_are_replaced_and_removed_with_the_projects_and_put_back_with_them() {
    both(|scene| {
        old(&scene);
        let (volume, _) = scene.open();
        let mut staging = volume.stage("d1").unwrap();
        let changes = all_changes(&staging);
        staging.store(&changes).unwrap();
        staging.swap(&changes).unwrap();
        staging.commit(&ending()).unwrap();
        assert_volume(&scene, true, "swapped");
        assert!(changes.iter().all(|change| staging.is_ours(&change.entry())));
        assert!(!staging.is_committed());
        assert_eq!(staging.put_back().unwrap(), RestoreReport::default());
        assert_volume(&scene, false, "put back");
        staging.finish().unwrap();
        assert!(scene.staged().is_empty());

        let mut staging = volume.stage("d2").unwrap();
        let changes = all_changes(&staging);
        staging.store(&changes).unwrap();
        staging.swap(&changes).unwrap();
        staging.finish().unwrap();
        assert_volume(&scene, true, "settled");
        assert!(scene.staged().is_empty());
    });
}

#[test]
fn a_deploy_with_shared_entries_that_was_killed_at_any_step_can_be_completed_or_undone() {
    let steps = 8;
    // The number of entries in place, and `true` if the next one is between its two renames.
    let cases = (0..=steps).map(|done| (done, false)).chain((0..steps).map(|done| (done, true)));
    for (done, between) in cases {
        for undo in [false, true] {
            let case = format!("{done} {between} {undo}");
            let scene = Scene::new(!between);
            old(&scene);
            let (volume, _) = scene.open();
            let mut staging = volume.stage("d1").unwrap();
            let changes = all_changes(&staging);
            staging.store(&changes).unwrap();
            let journal = Journal::of(&changes, &scene.root(), &volume.register()).unwrap();
            assert_eq!(journal.entries.len(), steps);
            journal.write(&scene.staged()[0]).unwrap();
            staging.journal = Some(journal.clone());
            for entry in &journal.entries[..done] {
                staging.put_in_place(entry).unwrap();
            }
            if between && journal.entries[done].before.is_some() {
                let entry = &journal.entries[done];
                fs::create_dir_all(staging.dir.join(OLD)).unwrap();
                fs::rename(staging.place(&entry.name), staging.old_of(entry)).unwrap();
            }
            kill(staging);
            drop(volume);

            let (_volume, mut unfinished) = scene.open();
            let found = unfinished.remove(0);
            let entries = |changes: &[Change]| changes.iter().map(Change::entry).collect::<Vec<_>>();
            assert_eq!(entries(&found.changes), entries(&changes), "{case}");
            assert!(found.changes.last().is_some_and(Change::keeps));
            let mut staging = found.staging;
            if undo {
                assert_eq!(staging.put_back().unwrap(), RestoreReport::default(), "{case}");
            } else {
                staging.complete().unwrap();
                assert!(changes.iter().all(|change| staging.is_ours(&change.entry())), "{case}");
            }
            assert_volume(&scene, !undo, &case);
            staging.finish().unwrap();
            assert!(scene.staged().is_empty());
        }
    }
}

#[test]
fn a_bridge_that_is_killed_while_it_undoes_a_deploy_undoes_the_rest_at_its_start() {
    both(|scene| {
        old(&scene);
        let (volume, _) = scene.open();
        let mut staging = volume.stage("d1").unwrap();
        let changes = all_changes(&staging);
        staging.store(&changes).unwrap();
        staging.swap(&changes).unwrap();
        // Only some of them are back.
        let journal = staging.journal.clone().unwrap();
        let (back, rest) = journal.entries.split_at(3);
        staging.journal = Some(Journal { entries: back.to_vec(), kept: Vec::new() });
        staging.put_back().unwrap();
        assert!(!rest.is_empty());
        kill(staging);
        drop(volume);

        let (_volume, mut unfinished) = scene.open();
        let mut staging = unfinished.remove(0).staging;
        assert_eq!(staging.put_back().unwrap(), RestoreReport::default());
        assert_volume(&scene, false, "undone twice");
    });
}

#[test]
fn a_shared_file_that_someone_else_writes_is_left_alone() {
    both(|scene| {
        old(&scene);
        let (volume, _) = scene.open();
        let mut staging = volume.stage("d1").unwrap();
        let changes = all_changes(&staging);
        staging.store(&changes).unwrap();
        staging.swap(&changes).unwrap();
        scene.write("_shared/theirs.ts", "theirs");
        scene.write("deno.json", "longer than before");
        assert!(!staging.is_ours(&entry("_shared")) && !staging.is_ours(&entry("deno.json")));
        assert!(staging.is_ours(&entry("_first")));
        assert_eq!(staging.put_back().unwrap().left, [entry("_shared"), entry("deno.json")]);
        assert_eq!(scene.shared("_shared").as_deref(), Some("new"));
        assert_eq!(scene.shared("deno.json").as_deref(), Some("longer than before"));
        assert_eq!(scene.shared("_first"), None);
    });
}

#[test]
fn a_folder_can_take_the_place_of_a_file_and_a_file_that_of_a_folder() {
    both(|scene| {
        scene.write("_a", "file");
        let (volume, _) = scene.open();
        let mut staging = volume.stage("d1").unwrap();
        let changes = [put_shared(&staging, "_a", "folder")];
        staging.store(&changes).unwrap();
        staging.swap(&changes).unwrap();
        assert_eq!(scene.tree("_a"), one("mod.ts", "folder"));
        staging.put_back().unwrap();
        assert_eq!(scene.shared("_a").as_deref(), Some("file"));
    });
}

#[test]
fn packages_of_a_shared_folder_are_carried_over_and_an_unchanged_file_keeps_its_time() {
    let scene = Scene::new(true);
    scene.write("_shared/node_modules/a/index.js", "kept");
    scene.write("deno.json", "same");
    let (volume, _) = scene.open();
    let mut staging = volume.stage("d1").unwrap();
    let before = scene.root().join("deno.json").metadata().unwrap().modified().unwrap();
    let changes = [put_shared(&staging, "_shared", "new"), put_shared(&staging, "deno.json", "same")];
    let staged = staging.incoming().join("deno.json");
    fs::File::open(&staged).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    staging.store(&changes).unwrap();
    staging.swap(&changes).unwrap();
    assert!(scene.root().join("_shared/node_modules/a/index.js").exists());
    assert_eq!(scene.root().join("deno.json").metadata().unwrap().modified().unwrap(), before);
}

#[test]
fn a_link_and_a_folder_that_is_no_shared_one_are_refused_and_stay() {
    let scene = Scene::new(true);
    scene.write("elsewhere/mod.ts", "old");
    scene.write("deno.json/mod.ts", "old");
    std::os::unix::fs::symlink("elsewhere", scene.root().join("_shared")).unwrap();
    let (volume, _) = scene.open();
    for name in ["_shared", "deno.json"] {
        let staging = volume.stage(&format!("put-{name}")).unwrap();
        let changes = [put_shared(&staging, name, "new")];
        assert!(matches!(staging.store(&changes), Err(VolumeError::NotShared(_))));
        let staging = volume.stage(&format!("remove-{name}")).unwrap();
        let error = staging.store(&[Change::RemoveShared(shared(name))]).unwrap_err();
        assert_eq!((error.status(), error.slug()), (http::StatusCode::CONFLICT, "not-a-folder"));
        assert_eq!(scene.shared(name).as_deref(), Some("old"));
    }
}

#[test]
fn what_was_staged_must_be_what_the_change_says() {
    let scene = Scene::new(true);
    let (volume, _) = scene.open();
    let staging = volume.stage("d1").unwrap();
    let Change::PutShared(tree) = put_shared(&staging, "_shared", "new") else { unreachable!() };
    let elsewhere = staging.incoming().join("_other");
    fs::create_dir(&elsewhere).unwrap();
    let Change::PutShared(file) = put_shared(&staging, "deno.json", "new") else { unreachable!() };
    for wrong in [
        SharedTree { is_folder: false, ..tree.clone() },
        SharedTree { path: elsewhere, ..tree.clone() },
        SharedTree { path: staging.incoming().join("_nothing"), ..tree.clone() },
        SharedTree { is_folder: true, ..file.clone() },
    ] {
        assert!(staging.store(&[Change::PutShared(wrong)]).is_err());
    }
    staging.store(&[Change::PutShared(tree), Change::PutShared(file)]).unwrap();
}

#[test]
fn a_project_that_is_kept_has_to_be_there() {
    let scene = Scene::new(true);
    scene.write("kept/main.ts", "kept");
    let (volume, _) = scene.open();
    let mut staging = volume.stage("d1").unwrap();
    let error = staging.store(&[Change::Keep(name("nowhere"))]).unwrap_err();
    assert!(matches!(error, VolumeError::NothingKept(_)) && error.to_string().contains("nowhere"));
    let changes = [Change::Keep(name("kept"))];
    staging.store(&changes).unwrap();
    staging.swap(&changes).unwrap();
    assert!(staging.is_ours(&project("kept")));
    scene.write("kept/main.ts", "edited");
    assert!(staging.is_ours(&project("kept")), "its files are not the deploy's");
    fs::remove_dir_all(scene.root().join("kept")).unwrap();
    assert!(!staging.is_ours(&project("kept")));
    assert_eq!(staging.put_back().unwrap(), RestoreReport::default());
}

#[test]
fn a_journal_of_a_version_without_shared_entries_is_read() {
    let scene = Scene::new(true);
    scene.write("blog/main.ts", "old");
    let (volume, _) = scene.open();
    let mut staging = volume.stage("d1").unwrap();
    let changes = [put(&staging, "blog", "new"), Change::Remove(name("shop"), DataFate::Keep)];
    staging.store(&changes).unwrap();
    staging.swap(&changes).unwrap();
    let file = staging.dir.join("journal.json");
    let text = fs::read_to_string(&file).unwrap();
    // Sorted, since other crates of a build can turn on the order of insertion in serde_json.
    let keys = |value: &serde_json::Value| {
        let mut keys: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        keys
    };
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(keys(&json), ["entries"], "a version without shared entries reads this journal");
    let entry = &json["entries"][0];
    assert_eq!(keys(entry), ["before", "brings_back", "data", "project", "put"]);
    assert_eq!(keys(&entry["put"]), ["bytes", "digest", "files", "identity", "listing"]);
    kill(staging);
    drop(volume);

    // As the first version wrote it.
    let mut older = json;
    for entry in older["entries"].as_array_mut().unwrap() {
        entry.as_object_mut().unwrap().retain(|key, _| !matches!(key.as_str(), "data" | "brings_back"));
    }
    fs::write(&file, older.to_string()).unwrap();
    let (_volume, mut unfinished) = scene.open();
    let found = unfinished.remove(0);
    assert_eq!(found.changes.iter().filter_map(Change::project).count(), 2);
    let mut staging = found.staging;
    staging.put_back().unwrap();
    assert_eq!(scene.tree("blog"), one("main.ts", "old"));
}

#[test]
fn a_journal_with_a_shared_entry_is_none_of_a_version_without_them() {
    let scene = Scene::new(true);
    let (volume, _) = scene.open();
    let staging = volume.stage("d1").unwrap();
    let changes = [put_shared(&staging, "_shared", "new")];
    let journal = Journal::of(&changes, &scene.root(), &volume.register()).unwrap();
    let json = serde_json::to_value(journal).unwrap();
    // It reads a project's name there, and keeps the staging folder of a journal that it cannot read.
    assert!(serde_json::from_value::<ProjectName>(json["entries"][0]["project"].clone()).is_err());
}
