//! Names, links and other entries by which an upload could reach beyond its project.

use std::io::Write;

use switchyard_integration::bridge::replicas::Replicas;
use switchyard_integration::bridge::tree::Tree;
use switchyard_integration::fixtures::hello;
use switchyard_integration::probe::Probe;
use switchyard_integration::upload::archive::{Tar, tar, zip, zip_with};
use switchyard_integration::upload::{Part, Upload};
use switchyard_integration::volume::Volume;
use tar::EntryType;
use zip::write::SimpleFileOptions;

/// Every one must be refused as a whole with 400, name what is wrong, and change nothing.
async fn all_refused(uploads: Vec<(String, Upload)>) {
    let volume = Volume::with("a", hello("one"));
    volume.write("b/main.ts", hello("b"));
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    let (tree, probe) = (Tree::of_projects(volume.root()), Probe::start(&routers[0].public, "/a/").await);
    for (what, upload) in uploads {
        let reply = bridge.deploy("a", &upload).await;
        assert_eq!(reply.status, 400, "{what}: {}", reply.text());
        let problem = reply.assert_problem(400, "bad-upload");
        // A name that cannot be in a header cannot be reported.
        assert!(!problem["part"].is_null() || problem["field"] == "body", "{what}: no part in {problem}");
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(detail.len() > 20, "{what}: {problem}");
        assert_eq!(Tree::of_projects(volume.root()), tree, "{what}");
    }
    bridge.clean().await;
    probe.finish().await.no_failures().versions_monotonic(&["one"]);
}

const BAD: [&str; 20] = [
    "../main.ts",
    "x/../../main.ts",
    "x/../main.ts",
    "./../x",
    "/etc/passwd",
    "//x",
    "C:/x.ts",
    "C:x.ts",
    "x\\y.ts",
    "..\\x.ts",
    "x\u{7}.ts",
    "x\u{85}.ts",
    "x/CON",
    "aux.txt",
    "x/NUL.ts",
    "com1",
    "LPT9.log",
    "x/",
    "..",
    ".",
];

fn with_main(path: &str) -> [(&str, String); 2] {
    [("main.ts", hello("two")), (path, "x".to_owned())]
}

#[tokio::test]
async fn bad_names_of_parts_are_refused() {
    let uploads = BAD.map(|path| (format!("{path:?}"), Upload::curl(&with_main(path))));
    all_refused(uploads.into()).await;
}

#[tokio::test]
async fn bad_names_in_a_tar_are_refused() {
    // A name that ends in / is valid for a folder; `.` is the folder that contains everything.
    let bad = BAD.into_iter().filter(|path| !["x/", "."].contains(path));
    let uploads = bad.map(|path| (format!("{path:?}"), Upload::archive("a.tar", tar(&with_main(path)))));
    all_refused(uploads.collect()).await;
}

#[tokio::test]
async fn bad_names_in_a_zip_are_refused() {
    let bad = BAD.into_iter().filter(|path| !["x/", "."].contains(path));
    let uploads = bad.map(|path| (format!("{path:?}"), Upload::archive("a.zip", zip(&with_main(path)))));
    all_refused(uploads.collect()).await;
}

#[tokio::test]
async fn names_with_nul_or_no_utf_8_and_names_that_are_too_long_are_refused() {
    let long = "x".repeat(256);
    let deep = "x/".repeat(33) + "y";
    let mut uploads: Vec<_> =
        [&long, &deep].map(|path| (path.clone(), Upload::curl(&with_main(path)))).into();
    uploads.push(("no UTF-8".to_owned(), {
        let head = b"Content-Disposition: form-data; name=\"file\"; filename=\"x\xff.ts\"";
        Upload::raw("x", &[Part::file("main.ts", hello("two")), Part::raw(&[head], "")])
    }));
    uploads.push(("NUL".to_owned(), Upload::curl(&with_main("x\0y.ts"))));
    uploads.push(("NUL, escaped".to_owned(), {
        let head = "Content-Disposition: form-data; name=\"file\"; filename*=UTF-8''x%00y.ts";
        Upload::raw("x", &[Part::raw(&[head], "")])
    }));
    uploads.push(("escaped ..".to_owned(), {
        let head = "Content-Disposition: form-data; name=\"file\"; filename*=UTF-8''..%2Fy.ts";
        Upload::raw("x", &[Part::raw(&[head], "")])
    }));
    all_refused(uploads).await;
}

#[tokio::test]
async fn names_that_some_file_system_takes_for_one_are_refused() {
    let pairs = [
        ("x.txt", "x.txt"),
        ("x.txt", "X.txt"),
        ("x/y.txt", "X/z.txt"),
        ("caf\u{e9}.txt", "cafe\u{301}.txt"),
        ("straße.txt", "STRASSE.txt"),
        ("x", "x/y.txt"),
        ("x/y.txt", "x"),
    ];
    let files = |(a, b): (&'static str, &'static str)| {
        [("main.ts", hello("two")), (a, "1".to_owned()), (b, "2".to_owned())]
    };
    let mut uploads = Vec::new();
    for pair in pairs {
        uploads.push((format!("{pair:?}"), Upload::curl(&files(pair))));
        uploads.push((format!("tar {pair:?}"), Upload::archive("a.tar", tar(&files(pair)))));
    }
    all_refused(uploads).await;
}

#[tokio::test]
async fn links_that_lead_out_devices_and_set_user_ids_in_a_tar_are_refused() {
    let main = || Tar::new().file("main.ts", hello("two"));
    let device = |kind| {
        main().entry("x", kind, "", |header| {
            header.set_device_major(1).and(header.set_device_minor(3)).unwrap();
        })
    };
    let mode = |mode| main().entry("x", EntryType::Regular, "x", |header| header.set_mode(mode));
    let tars = [
        ("a link out", main().link("x", EntryType::Symlink, "../b")),
        ("a link to a path", main().link("x", EntryType::Symlink, "/etc/passwd")),
        ("a link to nothing", main().link("x", EntryType::Symlink, "gone")),
        ("a link to itself", main().link("x", EntryType::Symlink, "x")),
        ("a link to its folder", main().link("lib/x", EntryType::Symlink, "../lib")),
        ("a file through a link", main().link("x", EntryType::Symlink, "/tmp").file("x/y", "")),
        ("a hard link out", main().link("x", EntryType::Link, "../b/main.ts")),
        ("a character device", device(EntryType::Char)),
        ("a block device", device(EntryType::Block)),
        ("a pipe", main().entry("x", EntryType::Fifo, "", |_| {})),
        ("set user id", mode(0o4755)),
        ("set group id", mode(0o2755)),
        ("twice the same", main().file("main.ts", hello("three"))),
    ];
    let uploads = tars.map(|(what, tar)| (what.to_owned(), Upload::archive("a.tar", tar.end())));
    all_refused(uploads.into()).await;
}

#[tokio::test]
async fn links_that_lead_out_and_set_user_ids_in_a_zip_are_refused() {
    let options = SimpleFileOptions::default();
    let link = zip_with(|zip| {
        zip.add_symlink("x", "../b", options).unwrap();
        zip.start_file("main.ts", options).unwrap();
        zip.write_all(hello("two").as_bytes()).unwrap();
    });
    let mut set_user_id = zip(&[("main.ts", hello("two"))]);
    // The upper half of `external_attr` in the central directory is the Unix mode.
    let central = set_user_id.windows(4).rposition(|bytes| bytes == b"PK\x01\x02").unwrap();
    set_user_id[central + 5] = 3;
    set_user_id[central + 40..central + 42].copy_from_slice(&0o104_755_u16.to_le_bytes());
    all_refused(vec![
        ("a link".to_owned(), Upload::archive("a.zip", link)),
        ("set user id".to_owned(), Upload::archive("a.zip", set_user_id)),
    ])
    .await;
}

/// Imports a package that is found through a link, as npm makes them for workspaces.
const IMPORTS: &str = "import left from 'left';\nimport ui from '@me/ui';\n\
    export default { fetch: () => new Response(left + ui) };\n";

#[tokio::test]
async fn an_archive_of_a_project_with_packages_goes_live_with_the_targets_of_its_links() {
    let package = |name: &str| format!(r#"{{"name": "{name}", "type": "module", "exports": "./i.js"}}"#);
    let files = [
        ("./main.ts", IMPORTS.to_owned()),
        (
            "./package.json",
            r#"{"type": "module", "dependencies": {"left": "1"}, "workspaces": ["ui"]}"#.to_owned(),
        ),
        ("./node_modules/left/package.json", package("left")),
        ("./node_modules/left/i.js", "export default 'ok';".to_owned()),
        ("./ui/package.json", package("@me/ui")),
        ("./ui/i.js", "export default ' too';".to_owned()),
    ];
    let links = [
        ("./node_modules/.bin/left", "../left/c.js"),
        ("./node_modules/.bin/global", "/usr/lib/node_modules/x/c.js"),
        ("./node_modules/@me/ui", "../../ui"),
    ];
    let tar = files.iter().fold(Tar::new(), |tar, (path, content)| tar.file(path, content));
    let tar = links.iter().fold(tar, |tar, (path, target)| tar.link(path, EntryType::Symlink, target));
    let tar = tar.link("./also.ts", EntryType::Link, "./main.ts");
    let options = SimpleFileOptions::default();
    let zip = zip_with(|zip| {
        for (path, content) in &files {
            zip.start_file(path.trim_start_matches("./"), options).unwrap();
            zip.write_all(content.as_bytes()).unwrap();
        }
        for (path, target) in links {
            zip.add_symlink(path.trim_start_matches("./"), target, options).unwrap();
        }
    });
    let volume = Volume::new();
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    for (project, name, content) in [("a", "a.tar", tar.end()), ("b", "b.zip", zip)] {
        bridge.deploy_live(project, &Upload::archive(name, content)).await;
        assert_eq!(routers.texts(&format!("/{project}/")).await, ["ok too"]);
        let packages = volume.path(&format!("{project}/node_modules"));
        assert!(!packages.join(".bin").exists());
        // A link among the project's own files stays one.
        assert_eq!(packages.join("@me/ui").read_link().unwrap().to_str(), Some("../../ui"));
    }
    assert_eq!(volume.read("a/also.ts"), IMPORTS);
}

#[tokio::test]
async fn names_are_stored_as_clients_mean_them_or_refused() {
    let forms: [(&[u8], Option<&str>); 15] = [
        (b"filename*=utf-8''gr%C3%BC%C3%9Fe.txt", Some("grüße.txt")),
        (b"filename=\"gr__e.txt\"; filename*=UTF-8''gr%C3%BC%C3%9Fe.txt", Some("grüße.txt")),
        ("filename=\"grüße.txt\"".as_bytes(), Some("grüße.txt")),
        (b"filename=plain.txt", Some("plain.txt")),
        (b"filename=\"lib/deep/x.txt\"", Some("lib/deep/x.txt")),
        (b"filename=\"./y.txt\"", Some("y.txt")),
        (
            b"filename=\"=?utf-8?B?Z3LDvMOfZS50eHQ=?=\"; filename*=utf-8''gr%C3%BC%C3%9Fe.txt",
            Some("grüße.txt"),
        ),
        (b"filename=z.txt; filename*=utf-8''z.txt", Some("z.txt")),
        (b"filename=\"a%22b.txt\"", Some("a\"b.txt")),
        (b"filename=\"100%25.txt\"", Some("100%25.txt")),
        (b"filename=\".well-known/x.txt\"", Some(".well-known/x.txt")),
        (b"filename=\"=?utf-8?B?Z3LDvMOfZS50eHQ=?=\"", None),
        (b"filename=\"lib%2Fx.txt\"", None),
        (b"filename=\"gr%C3%BC%C3%9Fe.txt\"", None),
        (b"filename=\"gr\xfc.txt\"", None),
    ];
    let volume = Volume::new();
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    for (form, stored) in forms {
        let shown = String::from_utf8_lossy(form);
        let head = [b"Content-Disposition: form-data; name=\"file\"; ", form].concat();
        let upload = Upload::main(hello("one")).and(&Part::raw(&[head], "hi"));
        let reply = bridge.deploy("a", &upload).await;
        let Some(stored) = stored else {
            let problem = reply.assert_problem(400, "bad-upload");
            assert_eq!(problem["field"], "filename", "{shown}: {problem}");
            assert!(problem["part"].is_string(), "{shown}: {problem}");
            continue;
        };
        assert_eq!(reply.status, 200, "{shown}: {}", reply.text());
        let mut files = Tree::of(&volume.path("a")).files();
        files.retain(|path| path != "main.ts");
        assert_eq!(files, [stored], "{shown}");
    }
}

#[tokio::test]
async fn names_that_only_look_odd_are_taken() {
    let volume = Volume::new();
    let routers = Replicas::start(&volume, 1).await;
    let bridge = routers.start_bridge().await;
    let odd =
        ["with space.txt", "日本/🎉.ts", "quote'`.txt", ".env", "a..b", "-x", "con-text.ts", "100%.txt"];
    let mut files: Vec<_> = odd.iter().map(|path| (*path, (*path).to_owned())).collect();
    files.push(("main.ts", hello("one")));
    bridge.deploy_live("a", &Upload::curl(&files)).await;
    let mut expected: Vec<_> = files.iter().map(|(path, _)| (*path).to_owned()).collect();
    expected.sort();
    let mut found = Tree::of(&volume.path("a")).files();
    found.sort();
    assert_eq!(found, expected);
    assert_eq!(volume.read("a/日本/🎉.ts"), "日本/🎉.ts");
}
