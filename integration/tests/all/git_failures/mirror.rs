//! Mirrors that are damaged, left in the middle of a fetch, or outgrow their bound. A mirror is a
//! cache: nothing that serves is read from it.

use std::fs;
use std::path::Path;

use switchyard_contract::source::SyncOutcome;
use switchyard_integration::fixtures::hello;
use switchyard_integration::git::{CuttingProxy, Fault, GitDaemon};

use super::scene::{Scene, below};

/// A way to damage a mirror.
type Damage = fn(&Path);

const DAMAGES: [(&str, Damage); 7] = [
    ("its files are cut in half", |mirror| {
        for file in files(&mirror.join("objects")) {
            let half = fs::metadata(&file).expect("the file is there").len() / 2;
            fs::OpenOptions::new()
                .write(true)
                .open(file)
                .expect("the file can be cut")
                .set_len(half)
                .expect("the file can be cut");
        }
    }),
    ("its files are empty", |mirror| {
        for file in files(&mirror.join("objects")) {
            fs::File::options().write(true).truncate(true).open(file).expect("the file can be opened");
        }
    }),
    ("its objects are gone", |mirror| {
        files(&mirror.join("objects"))
            .iter()
            .for_each(|file| fs::remove_file(file).expect("the file can be removed"));
    }),
    ("the folder of its objects is gone", |mirror| {
        fs::remove_dir_all(mirror.join("objects")).expect("the file can be removed")
    }),
    ("its config is no config", |mirror| {
        fs::write(mirror.join("config"), "[core\n").expect("a file can be written")
    }),
    ("its HEAD is gone", |mirror| fs::remove_file(mirror.join("HEAD")).expect("the file can be removed")),
    ("it is gone", |mirror| fs::remove_dir_all(mirror).expect("the file can be removed")),
];

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let files: Vec<_> = below(folder).into_iter().filter(|path| path.is_file()).collect();
    for file in &files {
        // Git makes them read-only, which stops those who are not root.
        let mut permissions = fs::metadata(file).expect("a file has a mode").permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o600);
        fs::set_permissions(file, permissions).expect("the mode of a file can be set");
    }
    files
}

/// So many files that git keeps the pack as it is.
async fn push_many(scene: &Scene, label: &str) -> String {
    let change = scene.repository.on("main").file("apps/api/main.ts", hello(label));
    let texts = (0..150).map(|index| (format!("apps/api/{label}/{index}.txt"), format!("{label} {index}\n")));
    texts.fold(change, |change, (path, text)| change.file(&path, text)).commit(label).await
}

#[tokio::test]
async fn a_damaged_mirror_is_replaced_by_the_next_sync() {
    let scene = Scene::new().await;
    scene.source(&scene.file_url(), "");
    let first = push_many(&scene, "start").await;
    let shop = scene.start().await;
    shop.follows(&first).await;
    for (index, (what, damage)) in DAMAGES.iter().enumerate() {
        let mirrors = scene.mirrors();
        assert_eq!(mirrors.len(), 1, "{mirrors:?}");
        damage(&mirrors[0]);
        let label = format!("v{index}");
        let commit = push_many(&scene, &label).await;
        let synced = shop.sync().await;
        assert_eq!((synced.status, synced.report.outcome), (200, SyncOutcome::Live), "{what}: {synced:#?}");
        shop.follows(&commit).await;
        scene.still(&label).await;
    }
}

#[tokio::test]
async fn a_damage_that_only_the_files_show_is_repaired_when_they_are_read() {
    let scene = Scene::new().await;
    scene.source(&scene.file_url(), "");
    let commit = push_many(&scene, "one").await;
    let shop = scene.start().await;
    shop.follows(&commit).await;
    for (what, damage) in &DAMAGES[..3] {
        damage(&scene.mirrors()[0]);
        // The commit is known: nothing is fetched.
        let synced = shop.sync_with("?force=1").await;
        assert_eq!(synced.status, 200, "{what}: {synced:#?}");
        shop.follows(&commit).await;
        scene.still("one").await;
    }
}

#[tokio::test]
async fn a_damaged_mirror_whose_server_is_away_changes_nothing_that_serves() {
    let scene = Scene::new().await;
    let commit = push_many(&scene, "one").await;
    let daemon = GitDaemon::start(&scene.repository).await;
    let proxy = CuttingProxy::start(daemon.address()).await;
    scene.source(&proxy.url(daemon.url()), "");
    let shop = scene.start().await;
    shop.follows(&commit).await;
    proxy.fail(Fault::Cut(0));
    fs::remove_dir_all(&scene.mirrors()[0]).unwrap();
    shop.is_unreachable("unreachable").await;
    scene.still("one").await;
    proxy.fail(Fault::None);
    let next = push_many(&scene, "two").await;
    shop.syncs_to(&next).await;
    scene.still("two").await;
}

#[tokio::test]
async fn locks_and_half_packs_of_a_killed_git_are_removed_at_the_start() {
    const LEFT: [&str; 9] = [
        "shallow.lock",
        "HEAD.lock",
        "config.lock",
        "packed-refs.lock",
        "gc.pid",
        "refs/switchyard/shop/main.lock",
        "objects/pack/tmp_pack_AbCdEf",
        "objects/pack/tmp_idx_AbCdEf",
        "objects/tmp_objdir-incoming-AbCdEf/pack/tmp_pack_x",
    ];
    let scene = Scene::new().await;
    scene.source(&scene.file_url(), "");
    let first = scene.push("one").await;
    let shop = scene.start().await;
    shop.follows(&first).await;
    shop.bridge.kill().await;
    let mirror = scene.mirrors().remove(0);
    for path in LEFT {
        let path = mirror.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "999999").unwrap();
    }
    let second = scene.push("two").await;
    let shop = scene.start().await;
    shop.follows(&second).await;
    scene.answers("api", "two").await;
    let left: Vec<_> = LEFT.iter().filter(|path| mirror.join(path).exists()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_git_that_outlives_a_killed_bridge_does_no_harm() {
    let scene = Scene::new().await;
    let first = scene.push_large("one", 100_000).await;
    let daemon = GitDaemon::start(&scene.repository).await;
    let proxy = CuttingProxy::start(daemon.address()).await;
    scene.source(&proxy.url(daemon.url()), "");
    let shop = scene.start().await;
    shop.follows(&first).await;
    proxy.fail(Fault::Stall(200_000));
    let second = scene.push_large("two", 400_000).await;
    assert_eq!(shop.bridge.client.post("/sources/shop/sync?wait=0").await.status, 202);
    // It is in the middle of the pack.
    proxy.failed(1).await;
    shop.bridge.kill().await;
    scene.still("one").await;
    proxy.fail(Fault::None);
    let shop = scene.start().await;
    shop.follows(&second).await;
    scene.still("two").await;
}

#[tokio::test]
async fn a_repository_over_its_bound_is_refused_with_the_setting_that_raises_it() {
    let scene = Scene::new().await;
    scene.source(&scene.file_url(), "max_size = \"1MiB\"\n");
    let first = scene.push("one").await;
    let shop = scene.start().await;
    shop.follows(&first).await;
    let large = scene.push_large("large", 3_000_000).await;
    let detail = shop.sync_fails(422, SyncOutcome::Failed, "too-large").await;
    assert!(detail.contains("max_size") && detail.contains("1048576"), "{detail}");
    assert_eq!(shop.status().await.applied.as_deref(), Some(first.as_str()));
    scene.still("one").await;
    // What was fetched in vain makes room for a commit that fits.
    let change = scene.repository.on("main").unrelated();
    let small = change.file("apps/api/main.ts", hello("small")).commit("Small").await;
    shop.syncs_to(&small).await;
    scene.still("small").await;

    scene.repository.force_push("main", &large).await;
    shop.sync_fails(422, SyncOutcome::Failed, "too-large").await;
    scene.still("small").await;
    scene.source(&scene.file_url(), "max_size = \"64MiB\"\n");
    shop.reload();
    shop.follows(&large).await;
    scene.still("large").await;
}

#[tokio::test]
async fn many_large_commits_one_after_the_other_stay_within_the_bound() {
    let scene = Scene::new().await;
    scene.source(&scene.file_url(), "max_size = \"2MiB\"\n");
    let first = scene.push_large("0", 600_000).await;
    let shop = scene.start().await;
    shop.follows(&first).await;
    for index in 1..8 {
        let commit = scene.push_large(&index.to_string(), 600_000).await;
        shop.syncs_to(&commit).await;
        let bytes: u64 = files(&scene.mirrors()[0]).iter().map(|file| file.metadata().unwrap().len()).sum();
        assert!(bytes < 3 << 20, "{bytes} bytes after {index} commits");
    }
    scene.still("7").await;
}
