//! An upload becomes what every router answers, and the 200 says so.

use std::process::Command;

use futures_util::future::join_all;
use switchyard_contract::admin::ReloadOutcome;
use switchyard_integration::bridge::record::Record;
use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::bridge::tree::{self, Tree};
use switchyard_integration::fixtures::{half, hello, pair};
use switchyard_integration::probe::Probe;
use switchyard_integration::router::is_installed;
use switchyard_integration::upload::{Part, Upload, archive};
use switchyard_integration::volume::Volume;
use tempfile::tempdir;

/// A project of two modules and a text, by which a mix of versions would show.
fn files(label: &str) -> Vec<(&'static str, String)> {
    vec![
        ("main.ts", pair().to_owned()),
        ("a.ts", half("a", label)),
        ("b.ts", half("b", label)),
        ("text/read me.txt", label.to_owned()),
    ]
}

#[tokio::test]
async fn a_new_project_answers_at_every_router_from_the_200_on() {
    let volume = Volume::new();
    let routers = Replicas::start(&volume, 3).await;
    let bridge = routers.start_bridge().await;
    let record = bridge.deploy_live("blog", &Upload::browser("blog", &files("1"))).await;
    let answers = routers.answers("/blog/").await;
    let version = Some(record.version().to_owned());
    assert_eq!(answers, vec![("1:1".to_owned(), version); 3]);

    assert_eq!((record.action.as_str(), record.status), ("deploy", Some(200)));
    assert_eq!(record.digest(), tree::digest(&volume.path("blog")));
    assert_eq!(record.version(), format!("blog@{}", &record.digest()[..12]));
    let blog = record.project("blog");
    let bytes: usize = files("1").iter().map(|(_, text)| text.len()).sum();
    assert_eq!((blog.files, blog.bytes, &blog.previous), (4, bytes as u64, &None));
    for (index, router_record) in record.routers.iter().enumerate() {
        assert_eq!((router_record.router.clone(), &router_record.error), (routers.admin_url(index), &None));
        assert_eq!(router_record.reports.len(), 1, "{router_record:?}");
        assert_eq!(router_record.reports[0].outcome, ReloadOutcome::Live);
        assert!(router_record.reports[0].timings_ms.build.is_some_and(|ms| ms > 0.0), "{router_record:?}");
    }
    let total = record.timings_ms["total"];
    for phase in ["receive", "store", "hold", "build", "publish"] {
        assert!((0.0..=total).contains(&record.timings_ms[phase]), "{phase}: {:?}", record.timings_ms);
    }
    bridge.clean().await;
}

#[tokio::test]
async fn a_new_version_takes_over_at_every_router_without_a_failed_request() {
    let volume = Volume::with("a", hello("old"));
    volume.write("a/gone.txt", "not in the upload");
    let routers = Replicas::start(&volume, 2).await;
    let bridge = routers.start_bridge().await;
    let before = routers.answers("/a/").await[0].1.clone();
    let probes = join_all(routers.iter().map(|router| Probe::start(&router.public, "/a/"))).await;
    let record = bridge.deploy_live("a", &Upload::main(hello("new"))).await;
    let answered = std::time::Instant::now();
    assert_eq!(routers.texts("/a/").await, ["new", "new"]);
    assert_eq!(record.project("a").previous, before);
    for probe in probes {
        let report = probe.finish().await;
        report.no_failures().none_mixed().versions_monotonic(&["old", "new"]).after(answered, "new");
    }
    assert_eq!(Tree::of(&volume.path("a")).files(), ["main.ts"]);
    bridge.audited("deploy", "a", "live").await;
}

#[tokio::test]
async fn the_same_files_again_are_live_already() {
    let volume = Volume::new();
    let routers = Replicas::start(&volume, 2).await;
    let bridge = routers.start_bridge().await;
    let first = bridge.deploy_live("a", &Upload::main(hello("one"))).await;
    let probe = Probe::start(&routers[0].public, "/a/").await;
    let again = bridge.deploy_live("a", &Upload::main(hello("one"))).await;
    assert_eq!(again.version(), first.version());
    assert_ne!(again.deploy, first.deploy);
    probe.finish().await.no_failures().versions_monotonic(&["one"]);
}

#[tokio::test]
async fn however_the_files_come_they_are_the_same_version() {
    let volume = Volume::new();
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    let expected = bridge.deploy_live("a", &Upload::curl(&files("1"))).await;
    let inside: Vec<_> = files("1").into_iter().map(|(path, text)| (format!("x/{path}"), text)).collect();
    let inside: Vec<_> = inside.iter().map(|(path, text)| (path.as_str(), text)).collect();
    let tar = archive::tar(&files("1"));
    for (how, upload) in [
        ("as a browser sends a folder", Upload::browser("a", &files("1"))),
        ("from a folder of another name", Upload::browser("my project", &files("1"))),
        ("tar", Upload::archive("a.tar", &tar)),
        ("tar.gz", Upload::archive("a.tar.gz", archive::gzip(&tar))),
        ("tgz", Upload::archive("a.tgz", archive::gzip(&tar))),
        ("tar.zst", Upload::archive("a.tar.zst", archive::zstd(&tar))),
        ("zip", Upload::archive("a.zip", archive::zip(&files("1")))),
        ("tar with a folder", Upload::archive("a.tar", archive::tar(&inside))),
        ("zip with a folder", Upload::archive("a.zip", archive::zip(&inside))),
    ] {
        // Something else between, so that each has to change what is live.
        bridge.deploy_live("a", &Upload::main(hello("between"))).await;
        let record = bridge.deploy_live("a", &upload).await;
        assert_eq!(record.digest(), expected.digest(), "{how}");
        assert_eq!(tree::digest(&volume.path("a")), expected.digest(), "{how}");
        assert_eq!(routers.texts("/a/").await, ["1:1"], "{how}");
    }
}

#[tokio::test]
async fn archives_of_tar_are_unpacked_even_with_long_names() {
    assert!(is_installed("tar"), "tar is not installed: run `make test`, which installs it");
    let source = Volume::new();
    let long = format!("{}/{}.txt", "folder-".repeat(20), "name-".repeat(30));
    source.project("site").file("main.ts", hello("one")).file(&long, "deep").file("é.txt", "é").write();
    let volume = Volume::new();
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    for format in ["gnu", "pax"] {
        let made = Command::new("tar")
            .args(["--format", format, "-C"])
            .arg(source.root())
            .args(["-cf", "-", "site"])
            .output()
            .unwrap();
        let record = bridge.deploy_live("a", &Upload::archive("site.tar", &made.stdout)).await;
        assert_eq!(record.digest(), tree::digest(&source.path("site")), "{format}");
        assert_eq!(volume.read(&format!("a/{long}")), "deep", "{format}");
    }
}

#[tokio::test]
async fn curl_deploys_a_project() {
    assert!(is_installed("curl"), "curl is not installed: run `make test`, which installs it");
    let folder = tempdir().unwrap();
    let volume = Volume::new();
    let routers = Replicas::start(&volume, 2).await;
    let bridge = routers.start_bridge().await;
    let mut curl = tokio::process::Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail-with-body"]);
    // More than a megabyte: curl waits for `100 continue` before it sends it.
    let padding = ("padding.txt", "x".repeat(2_000_000));
    for (path, text) in files("1").into_iter().chain([padding]) {
        let stored = folder.path().join(path.replace('/', "_"));
        std::fs::write(&stored, text).unwrap();
        curl.arg("-F").arg(format!("file=@\"{}\";filename=\"{path}\"", stored.display()));
    }
    let output = curl.arg(format!("http://{}/deploy/a", bridge.client.address)).output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text} {}", String::from_utf8_lossy(&output.stderr));
    let record: Record = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(record.digest(), tree::digest(&volume.path("a")));
    assert_eq!(routers.texts("/a/").await, ["1:1", "1:1"]);
}

#[tokio::test]
async fn one_folder_is_taken_off_only_when_nothing_is_beside_it() {
    let volume = Volume::new();
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    let both = [("src/x.ts", hello("x")), ("main.ts", hello("one"))];
    bridge.deploy_live("a", &Upload::curl(&both)).await;
    assert_eq!(Tree::of(&volume.path("a")).files(), ["main.ts", "src/x.ts"]);
    let deep = [("site/src/x.ts", hello("x")), ("site/main.ts", hello("two"))];
    bridge.deploy_live("a", &Upload::curl(&deep)).await;
    assert_eq!(Tree::of(&volume.path("a")).files(), ["main.ts", "src/x.ts"]);
    assert_eq!(routers.texts("/a/").await, ["two"]);
}

#[tokio::test]
async fn ignored_files_are_not_stored() {
    let volume = Volume::new();
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    let main = hello("one");
    let leftovers = [
        ("main.ts", main.as_str()),
        (".git/HEAD", "ref"),
        (".DS_Store", ""),
        ("main.ts~", "old"),
        (".env", "counts"),
    ];
    let record = bridge.deploy_live("a", &Upload::browser("a", &leftovers)).await;
    assert_eq!(Tree::of(&volume.path("a")).files(), [".env", "main.ts"]);
    assert_eq!(record.project("a").files, 2);
}

#[tokio::test]
async fn node_modules_stay_until_an_upload_brings_others() {
    let volume = Volume::with("a", hello("old"));
    volume.write("a/node_modules/x/index.js", "export default 1;");
    volume.write("a/.git/HEAD", "ref");
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    bridge.deploy_live("a", &Upload::main(hello("new"))).await;
    assert_eq!(volume.read("a/node_modules/x/index.js"), "export default 1;");
    assert_eq!(volume.read("a/.git/HEAD"), "ref");

    let other = [("main.ts", hello("newer")), ("node_modules/y/index.js", "export default 2;".to_owned())];
    let record = bridge.deploy_live("a", &Upload::curl(&other)).await;
    assert_eq!(Tree::of(&volume.path("a")).files(), [".git/HEAD", "main.ts", "node_modules/y/index.js"]);
    assert_eq!(record.digest(), tree::digest(&volume.path("a")));
}

#[tokio::test]
async fn a_message_is_kept_in_the_record() {
    let volume = Volume::new();
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    let upload = Upload::main(hello("one")).and(&Part::field("message", "the big rewrite"));
    let record = bridge.deploy_live("a", &upload).await;
    assert_eq!(record.message.as_deref(), Some("the big rewrite"));
    assert_eq!(bridge.record(&record.deploy).await.message, record.message);
}
