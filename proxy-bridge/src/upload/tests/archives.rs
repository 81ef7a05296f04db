//! Archives: their kinds, names, modes and sizes.

use std::io::Write as _;

use tar::{EntryType, Header};
use zip::write::SimpleFileOptions;

use super::*;

pub(super) fn header(path: &str, kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_cksum();
    header
}

pub(super) fn tar(entries: &[(&str, EntryType, u32)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, kind, mode) in entries {
        let content = if *kind == EntryType::Regular { path.as_bytes() } else { b"" };
        builder.append(&header(path, *kind, *mode, content.len() as u64), content).unwrap();
    }
    builder.into_inner().unwrap()
}

pub(super) fn plain() -> Vec<u8> {
    tar(&[("blog/", EntryType::Directory, 0o755), ("blog/main.ts", EntryType::Regular, 0o644)])
}

pub(super) fn zipped(files: &[(&str, u32)]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (path, mode) in files {
        writer.start_file(*path, SimpleFileOptions::default().unix_permissions(*mode)).unwrap();
        writer.write_all(path.as_bytes()).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

pub(super) fn gzipped(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn every_kind_of_archive_is_unpacked() {
    let zst = zstd::encode_all(plain().as_slice(), 1).unwrap();
    for (name, content) in [
        ("blog.tar", plain()),
        ("blog.tar.gz", gzipped(&plain())),
        ("blog.TGZ", gzipped(&plain())),
        ("blog.tar.zst", zst),
    ] {
        let taken = Upload::archive(name, &content)
            .send()
            .await
            .unwrap_or_else(|refused| panic!("{name}: {refused:?}"));
        assert_eq!(taken.paths(0), ["main.ts"]);
        assert_eq!(fs::read(taken.received.trees[0].dir.join("main.ts")).unwrap(), b"blog/main.ts");
    }
    let taken = Upload::archive("blog.zip", &zipped(&[("main.ts", 0o644), ("src/a.ts", 0o644)]))
        .send()
        .await
        .unwrap();
    assert_eq!(taken.received.trees[0].digest, digest(&["main.ts", "src/a.ts"]));
}

#[tokio::test]
async fn an_archive_beside_other_files_is_a_file() {
    let upload = Upload::raw(&[part("data.zip", b"not even one"), part("main.ts", b"1")]);
    assert_eq!(upload.send().await.unwrap().paths(0), ["data.zip", "main.ts"]);
}

#[tokio::test]
async fn long_names_come_through_in_both_ways_of_writing_them() {
    let long = format!("{}/main.ts", "folder-with-a-long-name/".repeat(9).trim_end_matches('/'));
    let mut gnu = tar::Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_size(1);
    header.set_mode(0o644);
    gnu.append_data(&mut header, &long, b"1".as_slice()).unwrap();
    gnu.append_data(&mut header, "main.ts", b"2".as_slice()).unwrap();

    let mut pax = tar::Builder::new(Vec::new());
    pax.append_pax_extensions([("path", long.as_bytes())]).unwrap();
    pax.append(&super::archives::header("short", EntryType::Regular, 0o644, 1), b"1".as_slice()).unwrap();
    pax.append(&super::archives::header("main.ts", EntryType::Regular, 0o644, 1), b"2".as_slice()).unwrap();
    for content in [gnu.into_inner().unwrap(), pax.into_inner().unwrap()] {
        let taken = Upload::archive("a.tar", &content).send().await.unwrap();
        assert_eq!(taken.paths(0), [long.as_str(), "main.ts"]);
    }
}

#[tokio::test]
async fn an_entry_that_is_neither_file_nor_folder_is_refused_by_name() {
    let kinds = [
        EntryType::Symlink,
        EntryType::Link,
        EntryType::Char,
        EntryType::Block,
        EntryType::Fifo,
        EntryType::GNUSparse,
        EntryType::Continuous,
    ];
    for kind in kinds {
        let content = tar(&[("main.ts", EntryType::Regular, 0o644), ("bad", kind, 0o644)]);
        let refused = Upload::archive("a.tar", &content).refused().await;
        assert_eq!(
            (refused.part.as_deref(), refused.field.as_deref()),
            (Some("bad"), Some("type")),
            "{kind:?}"
        );
    }
    let refused = Upload::archive("a.zip", &zipped(&[("main.ts", 0o120_777)])).send().await;
    // The writer of this test keeps only permission bits: a link is made with its own call.
    assert!(refused.is_ok());
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    writer.add_symlink("bad", "/etc/passwd", SimpleFileOptions::default()).unwrap();
    let content = writer.finish().unwrap().into_inner();
    assert_eq!(Upload::archive("a.zip", &content).refused().await.field.as_deref(), Some("type"));
}

#[tokio::test]
async fn special_bits_are_refused() {
    for mode in [0o4755, 0o2755, 0o1644] {
        let content = tar(&[("main.ts", EntryType::Regular, mode)]);
        let refused = Upload::archive("a.tar", &content).refused().await;
        assert_eq!((refused.part.as_deref(), refused.field.as_deref()), (Some("main.ts"), Some("mode")));
    }
}

#[tokio::test]
async fn bad_names_in_archives_are_refused_too() {
    for name in ["../main.ts", "/main.ts", "a/../../b", "con"] {
        let content = tar(&[("ok.ts", EntryType::Regular, 0o644), (name, EntryType::Regular, 0o644)]);
        let refused = Upload::archive("a.tar", &content).refused().await;
        assert_eq!(refused.part.as_deref(), Some(name));
        let refused = Upload::archive("a.zip", &zipped(&[("ok.ts", 0o644), (name, 0o644)])).refused().await;
        assert_eq!(refused.slug, "bad-upload", "{name}");
    }
}

#[tokio::test]
async fn a_bomb_is_stopped_at_the_limit() {
    let mut builder = tar::Builder::new(Vec::new());
    let zeros = vec![0; 8 << 20];
    builder.append(&header("big", EntryType::Regular, 0o644, zeros.len() as u64), zeros.as_slice()).unwrap();
    let content = builder.into_inner().unwrap();
    for (name, content) in
        [("a.tar.gz", gzipped(&content)), ("a.tar.zst", zstd::encode_all(content.as_slice(), 1).unwrap())]
    {
        let refused = Upload::archive(name, &content).limited(|limits| limits.size = 1 << 20).refused().await;
        assert!(refused.detail.contains("--max-size"), "{}", refused.detail);
    }
}

#[tokio::test]
async fn a_damaged_archive_is_refused_wherever_it_is_cut() {
    let zst = zstd::encode_all(plain().as_slice(), 1).unwrap();
    for (name, content) in
        [("a.tar.gz", gzipped(&plain())), ("a.tar.zst", zst), ("a.zip", zipped(&[("main.ts", 0o644)]))]
    {
        for length in 0..content.len() {
            assert!(
                Upload::archive(name, &content[..length]).send().await.is_err(),
                "{name} cut at {length}"
            );
        }
    }
    // A tar has no end but two blocks of zeros, of which one is enough.
    let content = plain();
    for length in (0..content.len() - 512).step_by(64) {
        assert!(Upload::archive("a.tar", &content[..length]).send().await.is_err(), "a.tar cut at {length}");
    }
}

#[tokio::test]
async fn data_after_the_end_of_an_archive_is_refused() {
    for (name, content) in [("a.tar", plain()), ("a.tar.gz", gzipped(&plain()))] {
        let more = [content, b"garbage".to_vec()].concat();
        assert_eq!(Upload::archive(name, &more).refused().await.slug, "bad-upload", "{name}");
    }
}

#[tokio::test]
async fn an_archive_of_another_kind_than_its_name_says_is_refused() {
    for name in ["a.tar", "a.tar.gz", "a.tar.zst", "a.zip"] {
        let refused = Upload::archive(name, b"hello, this is text").refused().await;
        assert_eq!(refused.slug, "bad-upload", "{name}");
    }
}

#[tokio::test]
async fn a_checkout_is_sent_as_a_tar_and_extracted_unchanged() {
    let dir = tempfile::tempdir().unwrap();
    let content = tar(&[("src/main.ts", EntryType::Regular, 0o444)]);
    let body = stream::iter(
        content
            .chunks(100)
            .map(|chunk| Ok::<_, Infallible>(Bytes::copy_from_slice(chunk)))
            .collect::<Vec<_>>(),
    );
    let project = ProjectName::parse("blog").unwrap();
    let received = receive_tar(body, &project, dir.path(), &UploadLimits::default()).await.unwrap();
    assert_eq!(received.trees[0].digest, digest(&["src/main.ts"]));
    let broken = stream::iter([Ok(Bytes::from(content[..600].to_vec())), Err(io::Error::other("gone"))]);
    let dir = tempfile::tempdir().unwrap();
    assert!(receive_tar(broken, &project, dir.path(), &UploadLimits::default()).await.is_err());
}
