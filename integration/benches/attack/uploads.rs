//! Input from elsewhere: archives through the bridge, packages through an installation.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::bridge::tree::Tree;
use switchyard_integration::fixtures::hello;
use switchyard_integration::registry::Registry;
use switchyard_integration::upload::archive::{self, Tar};
use switchyard_integration::upload::{Part, Upload};
use switchyard_integration::volume::Volume;
use tar::EntryType;
use tokio::time::timeout;

use crate::attempt::{Attempt, Verdict};
use crate::stage::{HANGS, Stage, get};
use crate::user::User;

pub(crate) const ATTEMPTS: &[Attempt] = &[
    Attempt {
        number: "H21a",
        severity: "held before",
        deed: "uploads with paths, links and devices that lead out, in parts, tar and zip",
        broken: "one is taken, or anything on the volume has changed",
        as_each: false,
        make: |_| Box::pin(escapes()),
    },
    Attempt {
        number: "H21b",
        severity: "held before",
        deed: "uploads that unpack to 600 MB, and to 200,000 files",
        broken: "one is taken, or the volume has changed",
        as_each: false,
        make: |_| Box::pin(bombs()),
    },
    Attempt {
        number: "H22a",
        severity: "held before",
        deed: "packages with paths, links and devices that lead out, or with other bytes than published",
        broken: "anything is written or read elsewhere, or tampered code runs",
        as_each: true,
        make: |user| Box::pin(packages(user)),
    },
];

const PATHS: [&str; 9] = [
    "../main.ts",
    "x/../../b/main.ts",
    "/etc/switchyard-escaped",
    "//etc/switchyard-escaped",
    "..\\b\\main.ts",
    "C:/x.ts",
    "..",
    "x\u{7}.ts",
    ".switchyard-bridge/../../x",
];

const LINKS: [&str; 5] = ["../b/main.ts", "/etc/passwd", "../../../../etc/passwd", "/proc/self/root", ".."];

const DEVICES: [EntryType; 3] = [EntryType::Fifo, EntryType::Char, EntryType::Block];

async fn escapes() -> Verdict {
    let main = hello("two");
    let mut uploads: Vec<(String, Upload)> = Vec::new();
    for path in PATHS {
        let part = Part::file(path, "x");
        uploads.push((format!("part {path:?}"), Upload::main(&main).and(&part)));
        let bytes = Tar::new().file("main.ts", &main).file(path, "x").end();
        uploads.push((format!("tar {path:?}"), Upload::archive("a.tar", bytes)));
        uploads.push((
            format!("zip {path:?}"),
            Upload::archive("a.zip", archive::zip(&[("main.ts", main.as_str()), (path, "x")])),
        ));
    }
    for target in LINKS {
        for kind in [EntryType::Symlink, EntryType::Link] {
            let bytes = Tar::new().file("main.ts", &main).link("l", kind, target).file("l/x", "x").end();
            uploads.push((format!("{kind:?} to {target:?}"), Upload::archive("a.tar", bytes)));
            let bytes = Tar::new().file("main.ts", &main).link("l", kind, target).end();
            uploads.push((format!("{kind:?} to {target:?} alone"), Upload::archive("a.tar", bytes)));
        }
    }
    for kind in DEVICES {
        let bytes = Tar::new().file("main.ts", &main).entry("d", kind, "", |_| {}).end();
        uploads.push((format!("{kind:?}"), Upload::archive("a.tar", bytes)));
    }
    refused(uploads).await
}

/// Sends each; none may be taken.
async fn refused(uploads: Vec<(String, Upload)>) -> Verdict {
    let volume = Volume::with("a", hello("one"));
    volume.write("b/main.ts", hello("b"));
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    let tree = Tree::of_projects(volume.root());
    let (mut wrong, count) = (Vec::new(), uploads.len());
    for (what, upload) in uploads {
        let reply = timeout(HANGS * 3, bridge.deploy("a", &upload)).await;
        let status = reply.map(|reply| reply.status).unwrap_or_default();
        if !matches!(status, 400 | 413 | 422) {
            wrong.push(format!("{what}: {status}"));
        }
        if Tree::of_projects(volume.root()) != tree {
            wrong.push(format!("{what}: the volume has changed"));
        }
    }
    if std::path::Path::new("/etc/switchyard-escaped").exists() {
        wrong.push("a file was written to /etc".to_owned());
    }
    bridge.clean().await;
    Verdict::of(wrong, format!("{count} uploads"))
}

async fn bombs() -> Verdict {
    let zeros = vec![0_u8; 600 << 20];
    let large = archive::gzip(archive::tar(&[("main.ts", zeros.as_slice())]));
    let zipped = archive::zip(&[("main.ts", zeros.as_slice())]);
    drop(zeros);
    let mut many = GzEncoder::new(Vec::new(), Compression::default());
    for n in 0..200_000_u32 {
        let entry = Tar::new().file(&format!("{n}"), "").end();
        // Without the two blocks that end a tar.
        many.write_all(&entry[..512]).expect("memory can be written to");
    }
    let many = many.finish().expect("memory can be written to");
    refused(vec![
        ("a gzip of 600 MB".to_owned(), Upload::archive("a.tar.gz", large)),
        ("a zip of 600 MB".to_owned(), Upload::archive("a.zip", zipped)),
        ("200,000 files".to_owned(), Upload::archive("a.tar.gz", many)),
    ])
    .await
}

/// A package with a module that exports `tampered`, and with these entries besides.
fn tarball(change: impl FnOnce(Tar) -> Tar) -> Vec<u8> {
    let tar = Tar::new().file("package/index.js", "module.exports = 'installed';");
    let tar = tar.file("package/package.json", r#"{"name":"evil","version":"1.0.0"}"#);
    archive::gzip(change(tar).end())
}

async fn packages(user: User) -> Verdict {
    let registry = Registry::start().await;
    let outside = tempfile::tempdir().expect("a temporary folder can be made");
    let target = outside.path().join("written");
    let out = target.to_string_lossy().into_owned();
    let up = format!("package/{}{}", "../".repeat(20), out.trim_start_matches('/'));
    let mut all: Vec<(&str, Vec<u8>)> = Vec::new();
    all.push((
        "up",
        tarball(|tar| if up.len() < 100 { tar.file(&up, "x") } else { tar.file("package/../../../x", "x") }),
    ));
    all.push(("absolute", tarball(|tar| tar.file(&out, "x"))));
    all.push((
        "symlink",
        tarball(|tar| {
            let folder = outside.path().to_string_lossy().into_owned();
            tar.link("package/l", EntryType::Symlink, &folder).file("package/l/written", "x")
        }),
    ));
    all.push(("passwd", tarball(|tar| tar.link("package/passwd.txt", EntryType::Symlink, "/etc/passwd"))));
    all.push(("hardlink", tarball(|tar| tar.link("package/passwd.txt", EntryType::Link, "/etc/passwd"))));
    all.push(("device", tarball(|tar| tar.entry("package/d", EntryType::Char, "", |_| {}))));
    let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
    for (name, bytes) in &all {
        registry.publish_tarball(name, "1.0.0", json!({}), bytes.clone());
    }
    registry.publish("tampered", "1.0.0", json!({}), &[("index.js", "module.exports = 'published';")]);
    registry.tamper("tampered", "1.0.0");
    let main = |name: &str| {
        format!(
            "import value from '{name}';
             import fs from 'node:fs';
             let read = '';
             try {{ read = fs.readFileSync(new URL('./node_modules/{name}/passwd.txt', import.meta.url), 'utf8'); }} catch {{ /* it is not there */ }}
             try {{ read ||= fs.readFileSync(fs.realpathSync(new URL(import.meta.resolve('{name}')).pathname.replace(/index.js$/, 'passwd.txt')), 'utf8'); }} catch {{ /* it is not there */ }}
             export default {{ fetch: () => new Response(`${{value}} ${{read}}`) }};"
        )
    };
    let prepare = |volume: &Volume| {
        for name in names.iter().copied().chain(["tampered"]) {
            volume.write(&format!("{name}/main.ts"), main(name));
            let manifest =
                json!({"dependencies": {name: "1.0.0"}, "scripts": {"postinstall": format!("touch {out}")}});
            volume.write(&format!("{name}/package.json"), manifest.to_string());
        }
    };
    let npm = registry.url("/");
    let stage = Stage::with(user, prepare, |builder| {
        builder.env("NPM_CONFIG_REGISTRY", &npm).env("JSR_URL", &npm).flag("allow-install", "")
    })
    .await;
    let mut wrong = Vec::new();
    let mut served = Vec::new();
    for name in names.into_iter().chain(["tampered"]) {
        let text =
            get(stage.router(), &format!("/{name}/")).await.map(|reply| reply.text()).unwrap_or_default();
        if text.contains("root:") || text.starts_with("tampered") {
            wrong.push(format!("{name}: {text}"));
        }
        if text.starts_with("installed") {
            served.push(name);
        }
    }
    if target.exists() {
        wrong.push(format!("{out} was written"));
    }
    stage.finish(Verdict::of(wrong, format!("7 packages, {served:?} served, nothing outside"))).await
}
