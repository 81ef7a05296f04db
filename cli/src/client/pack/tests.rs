use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use futures_util::StreamExt as _;
use http_body_util::BodyExt as _;
use tempfile::TempDir;

use super::*;
use crate::client::files::{self, Packages, Rules};

fn folder() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("lib")).unwrap();
    fs::write(dir.path().join("main.ts"), "one").unwrap();
    fs::write(dir.path().join("lib/a.ts"), vec![b'a'; 3 * PIECE]).unwrap();
    fs::write(dir.path().join("lib").join("long".repeat(50)), "long").unwrap();
    dir
}

fn upload(dir: &TempDir, message: Option<&str>) -> Arc<Upload> {
    let root = dir.path().canonicalize().unwrap();
    let files = files::list(&root, &root, &Rules::default(), Packages::Send).unwrap();
    let project = ProjectName::parse("blog").unwrap();
    Arc::new(Upload { projects: vec![(project, files)], message: message.map(str::to_owned) })
}

async fn packed(upload: &Arc<Upload>) -> (Result<Vec<u8>, reqwest::Error>, Result<(), FilesError>) {
    let (packing, body, _) = Packing::start(upload.clone(), "b");
    let body = body.collect().await.map(|body| body.to_bytes().to_vec());
    (body, packing.end().await)
}

/// The parts: name, filename, content.
async fn parts(body: Vec<u8>) -> Vec<(String, Option<String>, Bytes)> {
    let stream = stream::iter([Ok::<_, io::Error>(Bytes::from(body))]).boxed();
    let mut multipart = multer::Multipart::new(stream, "b");
    let mut parts = Vec::new();
    while let Some(part) = multipart.next_field().await.unwrap() {
        let name = part.name().unwrap().to_owned();
        parts.push((name, part.file_name().map(str::to_owned), part.bytes().await.unwrap()));
    }
    parts
}

#[tokio::test]
async fn an_upload_is_one_archive_of_plain_files_in_order() {
    let dir = folder();
    let (body, ended) = packed(&upload(&dir, None)).await;
    ended.unwrap();
    let parts = parts(body.unwrap()).await;
    let [(name, Some(filename), archive)] = &parts[..] else { panic!("{parts:?}") };
    assert_eq!((name.as_str(), filename.as_str()), ("project", "project.tar.zst"));
    let mut archive = tar::Archive::new(zstd::Decoder::new(archive.as_ref()).unwrap());
    let mut paths = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        assert_eq!((entry.header().mode().unwrap(), entry.header().mtime().unwrap()), (0o644, 0));
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        assert_eq!(content, fs::read(dir.path().join(path.strip_prefix("blog/").unwrap())).unwrap());
        paths.push(path);
    }
    assert_eq!(paths, ["blog/lib/a.ts", &format!("blog/lib/{}", "long".repeat(50)), "blog/main.ts"]);
}

#[tokio::test]
async fn a_message_is_a_part_of_its_own() {
    let (body, _) = packed(&upload(&folder(), Some("it's \"new\"\n"))).await;
    let parts = parts(body.unwrap()).await;
    let message = ("message".to_owned(), None, Bytes::from("it's \"new\"\n"));
    assert_eq!(parts[0], message);
    assert_eq!(parts.len(), 2);
}

#[tokio::test]
async fn the_same_files_give_the_same_bytes() {
    let (one, other) = (folder(), folder());
    let executable = fs::Permissions::from_mode(0o700);
    fs::set_permissions(other.path().join("main.ts"), executable).unwrap();
    let (one, _) = packed(&upload(&one, None)).await;
    let (other, _) = packed(&upload(&other, None)).await;
    assert!(one.unwrap() == other.unwrap());
}

#[tokio::test]
async fn a_file_that_changes_after_it_was_listed_breaks_the_upload() {
    for (text, what) in [("", "size"), ("more", "size"), ("two", "content")] {
        let dir = folder();
        let upload = upload(&dir, None);
        fs::write(dir.path().join("main.ts"), text).unwrap();
        let (body, ended) = packed(&upload).await;
        assert!(body.is_err(), "the body must not look whole");
        let error = ended.unwrap_err().to_string();
        assert!(error.contains("main.ts") && error.contains(what), "{error}");
    }
}

#[tokio::test]
async fn an_upload_that_is_not_read_can_be_ended() {
    let dir = folder();
    let noise: Vec<u8> =
        std::iter::repeat_with(|| *Uuid::new_v4().as_bytes()).take(100_000).flatten().collect();
    fs::write(dir.path().join("noise.bin"), &noise).unwrap();
    let (packing, body, flow) = Packing::start(upload(&dir, None), "b");
    packing.end().await.unwrap();
    assert_eq!(flow.borrow().sent, 0);
    drop(body);
}

#[tokio::test]
async fn the_flow_tells_how_far_it_is_and_ends_with_the_body() {
    let dir = folder();
    let upload = upload(&dir, None);
    let (packing, body, mut flow) = Packing::start(upload.clone(), "b");
    let body = body.collect().await.unwrap().to_bytes();
    packing.end().await.unwrap();
    let end = *flow.borrow_and_update();
    assert_eq!(end, Flow { read: upload.projects[0].1.bytes(), sent: body.len() as u64 });
    assert!(flow.changed().await.is_err());
}
