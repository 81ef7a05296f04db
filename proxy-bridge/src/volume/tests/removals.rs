//! Removals: incarnations that end and come back with their files.

use super::*;

#[test]
fn a_committed_removal_is_never_undone() {
    both(|scene| {
        scene.write("blog/main.ts", "old");
        let (volume, _) = scene.open();
        let staging = remove_blog(&volume, "d1", DataFate::Delete);
        let noted = volume.register().of(&name("blog")).unwrap();
        assert_eq!(noted.last_removal().unwrap().version.as_deref(), Some("blog@1"));
        assert!(!noted.current.is_first());
        kill(staging);
        drop(volume);

        let (volume, mut unfinished) = scene.open();
        assert_eq!(volume.register().of(&name("blog")).unwrap(), noted, "another process finds it");
        let mut staging = unfinished.remove(0).staging;
        assert!(staging.is_committed());
        staging.commit(&ending()).unwrap();
        assert_eq!(volume.register().of(&name("blog")).unwrap(), noted, "it ends once");
        staging.put_back().unwrap();
        assert_eq!(scene.tree("blog"), None);
        staging.finish().unwrap();
        assert!(scene.staged().is_empty());
    });
}

#[test]
fn a_restored_incarnation_is_current_before_its_files_exist_and_no_longer() {
    both(|scene| {
        scene.write("blog/main.ts", "old");
        let (volume, _) = scene.open();
        remove_blog(&volume, "d1", DataFate::Keep).finish().unwrap();
        let removed = volume.register().of(&name("blog")).unwrap();
        let mut staging = volume.stage("d2").unwrap();
        let Change::Put(tree) = put(&staging, "blog", "back") else { unreachable!() };
        let changes = [Change::BringBack(tree, Incarnation::FIRST)];
        staging.store(&changes).unwrap();
        staging.swap(&changes).unwrap();
        let back = volume.register().of(&name("blog")).unwrap();
        assert_eq!((back.current, back.removed), (Incarnation::FIRST, false));
        staging.put_back().unwrap();
        assert_eq!(volume.register().of(&name("blog")).unwrap(), removed);
        assert_eq!(scene.tree("blog"), None);
        staging.complete().unwrap();
        staging.commit(&ending()).unwrap();
        assert_eq!(volume.register().of(&name("blog")).unwrap(), back);
        assert_eq!(scene.tree("blog"), one("main.ts", "back"));
    });
}

#[test]
fn of_a_name_that_was_never_removed_nothing_is_noted() {
    let scene = Scene::new(true);
    let (volume, _) = scene.open();
    let mut staging = volume.stage("d1").unwrap();
    let changes = [put(&staging, "blog", "new")];
    staging.store(&changes).unwrap();
    staging.swap(&changes).unwrap();
    staging.commit(&ending()).unwrap();
    assert!(!switchyard_contract::incarnation::Incarnations::path(&scene.root(), &name("blog")).exists());
}
