//! Links in archives.

use std::io::Write as _;

use tar::{EntryType, Header};
use zip::write::SimpleFileOptions;

use super::archives::*;
use super::*;

/// The kind of a link, its path and its target.
type Link<'a> = (EntryType, &'a str, &'a str);

/// A tar of these files, each with its own path as content, and of links.
fn linked(files: &[&str], links: &[Link<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for path in files {
        let header = header(path, EntryType::Regular, 0o644, path.len() as u64);
        builder.append(&header, path.as_bytes()).unwrap();
    }
    for (kind, path, target) in links {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o777);
        header.set_size(0);
        builder.append_link(&mut header, path, target).unwrap();
    }
    builder.into_inner().unwrap()
}

fn zip_linked(files: &[&str], links: &[Link<'_>]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for path in files {
        writer.start_file(*path, SimpleFileOptions::default()).unwrap();
        writer.write_all(path.as_bytes()).unwrap();
    }
    for (_, path, target) in links {
        writer.add_symlink(*path, *target, SimpleFileOptions::default()).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

const SOFT: EntryType = EntryType::Symlink;

#[tokio::test]
async fn links_of_a_project_with_its_packages_are_followed_as_the_client_does() {
    let files =
        ["main.ts", "lib/a.ts", "packages/ui/index.js", "node_modules/x/cli.js", "node_modules/.bin/script"];
    let links = [
        (SOFT, "node_modules/.bin/x", "../x/cli.js"),
        (SOFT, "node_modules/.bin/y", "/usr/bin/y"),
        (SOFT, "node_modules/x/node_modules/.bin/z", "../../../gone"),
        (SOFT, "node_modules/@me/ui", "../../packages/ui"),
        (SOFT, "packages/ui/node_modules/up", "../../../lib"),
        (SOFT, "also.ts", "./lib/../main.ts"),
        (SOFT, "chain.ts", "also.ts"),
        (SOFT, ".git", "/elsewhere"),
    ];
    let expected = [
        ("also.ts", "main.ts"),
        ("chain.ts", "main.ts"),
        ("lib/a.ts", "lib/a.ts"),
        ("main.ts", "main.ts"),
        ("node_modules/.bin/script", "node_modules/.bin/script"),
        ("node_modules/@me/ui/index.js", "packages/ui/index.js"),
        ("node_modules/@me/ui/node_modules/up/a.ts", "lib/a.ts"),
        ("node_modules/x/cli.js", "node_modules/x/cli.js"),
        ("packages/ui/index.js", "packages/ui/index.js"),
        ("packages/ui/node_modules/up/a.ts", "lib/a.ts"),
    ];
    for (name, content) in [("a.tar", linked(&files, &links)), ("a.zip", zip_linked(&files, &links))] {
        let taken = Upload::archive(name, &content)
            .send()
            .await
            .unwrap_or_else(|refused| panic!("{name}: {refused:?}"));
        assert_eq!(taken.paths(0), expected.map(|(path, _)| path), "{name}");
        let dir = &taken.received.trees[0].dir;
        for (path, content) in expected {
            let path = dir.join(path);
            assert!(path.symlink_metadata().unwrap().is_file(), "{path:?}");
            assert_eq!(fs::read_to_string(&path).unwrap(), content, "{path:?}");
        }
        assert_eq!(taken.received.left_out, 4);
        for (link, target) in
            [("node_modules/@me/ui", "../../packages/ui"), ("packages/ui/node_modules/up", "../../../lib")]
        {
            assert_eq!(fs::read_link(dir.join(link)).unwrap(), Path::new(target), "{link}");
        }
        let hash = |content: &str| -> [u8; 32] { Sha256::digest(content).into() };
        let counted = expected.iter().filter(|(path, _)| switchyard_contract::digest::is_counted(path));
        let counted = counted.map(|(path, content)| (*path, hash(content)));
        assert_eq!(taken.received.trees[0].digest, Digest::of_files(counted));
    }
}

#[tokio::test]
async fn links_among_packages_lead_to_their_own_project_or_are_copies() {
    let files = ["a/main.ts", "a/lib/x.js", "b/main.ts", "b/lib/y.js"];
    let links = [
        (SOFT, "a/node_modules/own", "../lib"),
        (SOFT, "a/sub/node_modules", "../lib"),
        (SOFT, "a/node_modules/self", ".."),
        (SOFT, "a/node_modules/other", "../../b/lib"),
        (SOFT, "a/node_modules/through", "own"),
        (EntryType::Link, "a/node_modules/hard.js", "a/lib/x.js"),
    ];
    for wrapper in ["", "wrap/"] {
        let wrap = |path: &str| format!("{wrapper}{path}");
        let files = files.map(wrap);
        let files: Vec<_> = files.iter().map(String::as_str).collect();
        let hard = |kind, target: &str| if kind == SOFT { target.to_owned() } else { wrap(target) };
        let links = links.map(|(kind, path, target)| (kind, wrap(path), hard(kind, target)));
        let links: Vec<_> = links.iter().map(|(kind, path, target)| (*kind, &**path, &**target)).collect();
        let taken = Upload::archive("a.tar", &linked(&files, &links)).many().send().await.unwrap();
        let dir = &taken.received.trees[0].dir;
        for (link, target) in [("own", "../lib"), ("self", ".."), ("through", "../lib")] {
            assert_eq!(fs::read_link(dir.join("node_modules").join(link)).unwrap(), Path::new(target));
        }
        let copied = dir.join("node_modules/other/y.js");
        assert_eq!(fs::read_to_string(&copied).unwrap(), wrap("b/lib/y.js"));
        for copied in ["node_modules/other", "node_modules/hard.js", "sub/node_modules"] {
            assert!(dir.join(copied).exists() && !dir.join(copied).is_symlink(), "{copied}");
        }
    }
}

#[tokio::test]
async fn nothing_is_stored_through_a_link_among_packages() {
    let files = ["main.ts", "lib/x.js"];
    for links in [
        [(SOFT, "node_modules/own", "../lib"), (SOFT, "node_modules/own/in", "../main.ts")],
        [(SOFT, "node_modules/own/in", "../../main.ts"), (SOFT, "node_modules/own", "../lib")],
    ] {
        let refused = Upload::archive("a.tar", &linked(&files, &links)).refused().await;
        assert_eq!(refused.slug, "bad-upload", "{refused:?}");
    }
    let below = ["main.ts", "lib/x.js", "node_modules/own/y.js"];
    let twice = linked(&below, &[(SOFT, "node_modules/own", "../lib")]);
    let refused = Upload::archive("a.tar", &twice).refused().await;
    assert_eq!(refused.slug, "bad-upload");
}

#[tokio::test]
async fn a_hard_link_is_another_copy() {
    let links =
        [(EntryType::Link, "blog/b.ts", "blog/main.ts"), (EntryType::Link, "./blog/c.ts", "./blog/b.ts")];
    let content = linked(&["blog/main.ts"], &links);
    let taken = Upload::archive("a.tar", &content).send().await.unwrap();
    assert_eq!(taken.paths(0), ["b.ts", "c.ts", "main.ts"]);
    let long = "a-long-folder/".repeat(12);
    let (file, link) = (format!("{long}main.ts"), format!("{long}link.ts"));
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_size(1);
    header.set_mode(0o644);
    builder.append_data(&mut header, &file, b"1".as_slice()).unwrap();
    builder.append_pax_extensions([("path", link.as_bytes()), ("linkpath", file.as_bytes())]).unwrap();
    builder.append(&super::archives::header("short", EntryType::Link, 0o644, 0), b"".as_slice()).unwrap();
    let taken = Upload::archive("a.tar", &builder.into_inner().unwrap()).send().await.unwrap();
    assert_eq!(taken.received.trees[0].files, 2);
}

#[tokio::test]
async fn a_link_that_leads_nowhere_good_is_refused_with_its_name_and_the_fix() {
    let long = "lib/../".repeat(50);
    let chain = [format!("{long}lib/a.ts"), format!("{long}x1"), format!("{long}x2")];
    let chain = [(SOFT, "x1", &*chain[0]), (SOFT, "x2", &*chain[1]), (SOFT, "x3", &*chain[2])];
    let table: [(&[Link<'_>], &str); 13] = [
        (&chain, "256 steps"),
        (&[(SOFT, "x", "/etc/passwd")], "leads out"),
        (&[(SOFT, "x", "../b")], "leads out"),
        (&[(SOFT, "lib/x", "../../b")], "leads out"),
        (&[(SOFT, "x", "lib/../../blog/main.ts")], "leads out"),
        (&[(EntryType::Link, "x", "../b/main.ts")], "leads out"),
        (&[(EntryType::Link, "x", "/etc/passwd")], "nothing"),
        (&[(SOFT, "x", "gone")], "nothing"),
        (&[(SOFT, "x", "x")], "circle"),
        (&[(SOFT, "x", "y"), (SOFT, "y", "x")], "circle"),
        (&[(SOFT, "x", ".")], "is in"),
        (&[(SOFT, "lib/x", "../lib")], "is in"),
        (&[(SOFT, "lib/x", "../other"), (SOFT, "other/y", "../lib")], "is in"),
    ];
    for (links, why) in table {
        let files = ["main.ts", "lib/a.ts", "other/a.ts"];
        let mut archives = vec![("a.tar", linked(&files, links))];
        if links.iter().all(|(kind, ..)| *kind == SOFT) {
            archives.push(("a.zip", zip_linked(&files, links)));
        }
        for (name, content) in archives {
            let refused = Upload::archive(name, &content).refused().await;
            assert_eq!((refused.slug, refused.field.as_deref()), ("bad-upload", Some("type")), "{links:?}");
            let part = refused.part.clone().unwrap_or_default();
            assert!(part.contains('x') || part.contains('y'), "{links:?}: {refused:?}");
            assert!(refused.detail.contains(why), "{links:?}: {}", refused.detail);
        }
    }
}

#[tokio::test]
async fn a_link_cannot_take_the_place_of_something_else() {
    let tables: [&[Link<'_>]; 3] = [
        &[(SOFT, "lib", "other")],
        &[(SOFT, "MAIN.ts", "lib/a.ts")],
        &[(SOFT, "x", "lib"), (SOFT, "x", "other")],
    ];
    for links in tables {
        let content = linked(&["main.ts", "lib/a.ts", "other/a.ts"], links);
        let refused = Upload::archive("a.tar", &content).refused().await;
        assert_eq!((refused.slug, refused.field.as_deref()), ("bad-upload", Some("filename")), "{links:?}");
    }
}

#[tokio::test]
async fn links_cannot_make_a_small_archive_large() {
    let mut links = Vec::new();
    for level in 0..26 {
        for side in ["a", "b"] {
            links.push((SOFT, format!("l{level}/{side}"), format!("../l{}", level + 1)));
        }
    }
    let links: Vec<_> =
        links.iter().map(|(kind, path, target)| (*kind, path.as_str(), target.as_str())).collect();
    let content = linked(&["main.ts", "l26/x.ts"], &links);
    let refused = Upload::archive("a.tar", &content).limited(|limits| limits.files = 500).refused().await;
    assert_eq!(refused.field.as_deref(), Some("max-files"), "{refused:?}");
    let large = [(SOFT, "b", "a"), (SOFT, "c", "a"), (SOFT, "d", "a")];
    let mut content = tar::Builder::new(Vec::new());
    content.append(&header("a/x", EntryType::Regular, 0o644, 1 << 20), vec![0; 1 << 20].as_slice()).unwrap();
    for (_, path, target) in large {
        let mut header = Header::new_gnu();
        header.set_entry_type(SOFT);
        header.set_size(0);
        content.append_link(&mut header, path, target).unwrap();
    }
    let content = content.into_inner().unwrap();
    let refused = Upload::archive("a.tar", &content).limited(|limits| limits.size = 2 << 20).refused().await;
    assert_eq!(refused.field.as_deref(), Some("max-size"), "{refused:?}");
}
