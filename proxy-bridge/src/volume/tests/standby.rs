//! The wait for a volume that another bridge uses.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::*;

/// A bound, not a measurement.
const WAIT: Duration = Duration::from_secs(30);

/// Waits for the volume in a thread of its own.
fn waiting(scene: &Scene) -> mpsc::Receiver<(Volume, Vec<UnfinishedDeploy>)> {
    let (sender, taken) = mpsc::channel();
    let projects = scene.dir.path().to_owned();
    thread::spawn(move || sender.send(Volume::wait(&projects).unwrap()));
    taken
}

#[test]
fn a_waiting_bridge_gets_the_volume_with_the_unfinished_deploys_of_the_one_before() {
    let scene = Scene::new(true);
    scene.write("blog/main.ts", "old");
    let (volume, _) = scene.open();
    let taken = waiting(&scene);
    let mut staging = volume.stage("d1").unwrap();
    let changes = [put(&staging, "blog", "new")];
    staging.store(&changes).unwrap();
    staging.swap(&changes).unwrap();
    assert!(taken.try_recv().is_err(), "there is one bridge at a time");
    drop((staging, volume));
    let (_volume, unfinished) = taken.recv_timeout(WAIT).unwrap();
    assert_eq!(unfinished.len(), 1);
    assert_eq!(scene.tree("blog"), one("main.ts", "new"));
}

#[test]
fn a_waiting_bridge_locks_the_file_that_others_find() {
    let scene = Scene::new(true);
    let (volume, _) = scene.open();
    let taken = waiting(&scene);
    fs::remove_file(scene.root().join(OWN).join("lock")).unwrap();
    drop(volume);
    let (_volume, _) = taken.recv_timeout(WAIT).unwrap();
    assert!(matches!(Volume::open(scene.dir.path()), Err(OpenError::InUse(_))));
}
