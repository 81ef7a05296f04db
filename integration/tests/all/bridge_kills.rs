//! The bridge is killed at any point: the volume has one whole tree, and clients of the project
//! notice nothing.

use futures_util::future::join_all;
use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::bridge::tree::Tree;
use switchyard_integration::eventually;
use switchyard_integration::fixtures::{half, hello, pair};
use switchyard_integration::probe::Probe;
use switchyard_integration::upload::Upload;
use switchyard_integration::upload::wire::Wire;
use switchyard_integration::volume::Volume;

/// A project that reveals a mix of two trees, in its answer and in its files.
fn files(label: &str) -> Vec<(String, String)> {
    let mut files = vec![
        ("a.ts".to_owned(), half("a", label)),
        ("b.ts".to_owned(), half("b", label)),
        ("main.ts".to_owned(), pair().to_owned()),
    ];
    files.extend((0..20).map(|index| (format!("{label}-{index}.txt"), label.repeat(500))));
    files
}

fn upload(files: &[(String, String)]) -> Upload {
    let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text)).collect();
    Upload::browser("a", &files)
}

fn write(volume: &Volume, project: &str, files: &[(String, String)]) {
    for (path, text) in files {
        volume.write(&format!("{project}/{path}"), text);
    }
}

/// The trees of a volume before and after, made where nothing goes wrong.
fn trees(old: &[(String, String)], new: &[(String, String)]) -> [Tree; 2] {
    [old, new].map(|files| {
        let volume = Volume::new();
        write(&volume, "a", files);
        Tree::of(&volume.path("a"))
    })
}

/// Waits until every router answers with the same label, and the volume has the tree that belongs
/// to it. Returns which of the two it is.
async fn agree(routers: &Replicas, volume: &Volume, trees: &[Tree; 2], labels: [&str; 2]) -> usize {
    let served = async |index: usize| {
        let texts = routers.texts("/a/").await;
        texts.iter().all(|text| text == labels[index]) && Tree::of(&volume.path("a")) == trees[index]
    };
    let what = "all routers serve the volume's version";
    eventually(what, || async { served(0).await || served(1).await }).await;
    usize::from(!served(0).await)
}

async fn killed_at(phase: &str, new: Vec<(String, String)>, label: &str) {
    let old = files("old");
    let trees = trees(&old, &new);
    let volume = Volume::new();
    write(&volume, "a", &old);
    let routers = Replicas::start(&volume, 2).await;
    let probes = join_all(routers.iter().map(|router| Probe::start(&router.public, "/a/"))).await;
    let bridge = routers.start_bridge().await;
    let mut phases = bridge.follow(upload(&new).to("/deploy/a")).await;
    phases.until(phase).await;
    bridge.kill().await;
    let tree = Tree::of(&volume.path("a"));
    assert!(trees.contains(&tree), "at {phase} the volume has neither tree whole: {tree:#?}");

    let bridge = routers.start_bridge().await;
    bridge.clean().await;
    agree(&routers, &volume, &trees, ["old:old", label]).await;
    for probe in probes {
        probe.finish().await.no_failures().none_mixed().versions_monotonic(&["old:old", label]);
    }
    // The next deploy is not delayed.
    bridge.deploy_live("a", &Upload::main(hello("next"))).await;
    assert_eq!(routers.texts("/a/").await, ["next", "next"]);
}

#[tokio::test]
async fn killed_in_any_phase_the_bridge_leaves_one_whole_tree_and_the_next_one_finishes() {
    let mut new = files("new");
    new[2].1 = format!("await new Promise((done) => setTimeout(done, 300));\n{}", pair());
    for phase in ["receive", "store", "hold", "build", "publish", "done"] {
        killed_at(phase, new.clone(), "new:new").await;
    }
}

#[tokio::test]
async fn killed_in_any_phase_of_a_broken_deploy_the_old_version_stays() {
    let broken = "await new Promise((done) => setTimeout(done, 300));\nthrow new Error('no');\n";
    let (old, new) = (files("old"), vec![("main.ts".to_owned(), broken.to_owned())]);
    let trees = trees(&old, &new);
    for phase in ["store", "hold", "build"] {
        let volume = Volume::new();
        write(&volume, "a", &old);
        let routers = Replicas::start(&volume, 2).await;
        let probe = Probe::start(&routers[0].public, "/a/").await;
        let bridge = routers.start_bridge().await;
        let mut phases = bridge.follow(upload(&new).to("/deploy/a")).await;
        phases.until(phase).await;
        bridge.kill().await;
        let bridge = routers.start_bridge().await;
        bridge.clean().await;
        let tree = Tree::of(&volume.path("a"));
        assert!(trees.contains(&tree), "at {phase} the volume has neither tree whole: {tree:#?}");
        assert_eq!(routers.texts("/a/").await, ["old:old", "old:old"]);
        probe.finish().await.no_failures().versions_monotonic(&["old:old"]);
    }
}

/// The same numbers in each run.
fn numbers(mut seed: u64) -> impl FnMut(usize) -> usize {
    move |below| {
        // splitmix64
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as usize % below
    }
}

#[tokio::test]
async fn killed_at_fifty_places_of_an_upload_the_bridge_leaves_the_old_tree() {
    let (old, new) = (files("old"), files("new"));
    let [old_tree, _] = trees(&old, &new);
    let volume = Volume::new();
    write(&volume, "a", &old);
    let routers = Replicas::start(&volume, 2).await;
    let probes = join_all(routers.iter().map(|router| Probe::start(&router.public, "/a/"))).await;
    let upload = upload(&new);
    let mut number = numbers(9);
    let mut bridge = routers.start_bridge().await;
    for _ in 0..50 {
        let mut wire = Wire::open(&bridge.client, "/deploy/a", &upload).await;
        // Up to the last byte but one: an incomplete upload is never deployed.
        let offset = number(wire.len() - 1);
        wire.send_until(offset).await;
        if offset > wire.head_len() + upload.end_of(0) {
            eventually("the upload is being received", || std::future::ready(!bridge.staged().is_empty()))
                .await;
        }
        bridge.kill().await;
        assert_eq!(Tree::of(&volume.path("a")), old_tree, "killed after {offset} bytes");
        bridge = routers.start_bridge().await;
        bridge.clean().await;
    }
    assert_eq!(routers.texts("/a/").await, ["old:old", "old:old"]);
    for probe in probes {
        probe.finish().await.no_failures().none_mixed().versions_monotonic(&["old:old"]);
    }
    bridge.deploy_live("a", &upload).await;
    assert_eq!(routers.texts("/a/").await, ["new:new", "new:new"]);
}

#[tokio::test]
async fn killed_soon_after_the_last_byte_the_bridge_leaves_one_whole_tree() {
    let volume = Volume::new();
    let (mut number, mut on_volume) = (numbers(10), 0);
    let all: Vec<_> = (0..11).map(|index| files(&format!("v{index}"))).collect();
    write(&volume, "a", &all[0]);
    let routers = Replicas::start(&volume, 2).await;
    let probe = Probe::start(&routers[0].public, "/a/").await;
    for index in 1..all.len() {
        let trees = trees(&all[on_volume], &all[index]);
        let labels = [on_volume, index].map(|index| format!("v{index}:v{index}"));
        let bridge = routers.start_bridge().await;
        let mut wire = Wire::open(&bridge.client, "/deploy/a", &upload(&all[index])).await;
        wire.send_until(wire.len()).await;
        // The only sleep: a kill at an arbitrary moment.
        tokio::time::sleep(std::time::Duration::from_micros(number(60_000) as u64)).await;
        bridge.kill().await;
        assert!(trees.contains(&Tree::of(&volume.path("a"))), "neither tree is whole");
        let bridge = routers.start_bridge().await;
        bridge.clean().await;
        if agree(&routers, &volume, &trees, [&labels[0], &labels[1]]).await == 1 {
            on_volume = index;
        }
    }
    let labels: Vec<_> = (0..all.len()).map(|index| format!("v{index}:v{index}")).collect();
    let labels: Vec<_> = labels.iter().map(String::as_str).collect();
    probe.finish().await.no_failures().none_mixed().versions_monotonic(&labels);
}

#[tokio::test]
async fn a_bridge_that_dies_while_deleting_leaves_the_project_or_takes_it_away() {
    let volume = Volume::with("b", hello("b"));
    write(&volume, "a", &files("old"));
    let routers = Replicas::start(&volume, 2).await;
    let whole = Tree::of(&volume.path("a"));
    let bridge = routers.start_bridge().await;
    let delete = switchyard_integration::client::with_method(http::Method::DELETE, "/projects/a");
    let mut phases = bridge.follow(delete).await;
    phases.until("hold").await;
    bridge.kill().await;
    let tree = Tree::of(&volume.path("a"));
    assert!(tree == whole || !volume.path("a").exists(), "{tree:#?}");
    let bridge = routers.start_bridge().await;
    bridge.clean().await;
    eventually("all routers agree with the volume", || async {
        let texts = routers.texts("/a/").await;
        let there = volume.path("a").exists();
        texts.iter().all(|text| (text == "old:old") == there)
    })
    .await;
}
