//! Uploads as browsers, curl and routers send them.

mod archives;
mod links;

use std::convert::Infallible;
use std::fs;

use futures_util::stream;
use http::StatusCode;
use sha2::{Digest as _, Sha256};

use super::*;
use std::time::Duration;
use switchyard_contract::digest::Digest;

const BOUNDARY: &str = "----boundary";

struct Upload {
    kind: String,
    body: Vec<u8>,
    limits: UploadLimits,
    shape: UploadShape,
}

fn one() -> UploadShape {
    UploadShape::One(ProjectName::parse("blog").unwrap())
}

/// A part as browsers and curl write it, with the filename as it stands between the quotes.
fn part(filename: &str, content: &[u8]) -> Vec<u8> {
    let head = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{filename}\"\r\nContent-Type: application/octet-stream\r\n\r\n"
    );
    [head.as_bytes(), content, b"\r\n"].concat()
}

impl Upload {
    fn raw(parts: &[Vec<u8>]) -> Self {
        let end = format!("--{BOUNDARY}--\r\n");
        Self {
            kind: format!("multipart/form-data; boundary={BOUNDARY}"),
            body: [parts.concat(), end.into_bytes()].concat(),
            limits: UploadLimits::default(),
            shape: one(),
        }
    }

    fn of(paths: &[&str]) -> Self {
        Self::raw(&paths.iter().map(|path| part(path, path.as_bytes())).collect::<Vec<_>>())
    }

    fn archive(name: &str, content: &[u8]) -> Self {
        Self::raw(&[part(name, content)])
    }

    fn many(self) -> Self {
        Self { shape: UploadShape::Many, ..self }
    }

    fn limited(mut self, set: impl FnOnce(&mut UploadLimits)) -> Self {
        set(&mut self.limits);
        self
    }

    async fn send(&self) -> Result<Accepted, UploadError> {
        self.send_chunks(self.body.chunks(1000).map(Bytes::copy_from_slice).collect()).await
    }

    async fn send_chunks(&self, chunks: Vec<Bytes>) -> Result<Accepted, UploadError> {
        let dir = tempfile::tempdir().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(http::header::CONTENT_TYPE, self.kind.parse().unwrap());
        let body = stream::iter(chunks.into_iter().map(Ok::<_, Infallible>));
        let received = receive(&headers, body, &self.shape, dir.path(), &self.limits).await?;
        let left = fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(left, received.trees.len(), "nothing but the trees is left in the staging folder");
        Ok(Accepted { received, _dir: dir })
    }

    async fn refused(&self) -> UploadError {
        match self.send().await {
            Ok(taken) => panic!("it was accepted: {:?}", taken.received),
            Err(refused) => refused,
        }
    }
}

struct Accepted {
    received: ReceivedUpload,
    _dir: tempfile::TempDir,
}

impl Accepted {
    fn paths(&self, index: usize) -> Vec<String> {
        let mut all = Vec::new();
        walk(&self.received.trees[index].dir, "", &mut all);
        all.sort();
        all
    }
}

fn walk(dir: &Path, prefix: &str, all: &mut Vec<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.path().is_dir() {
            walk(&entry.path(), &format!("{path}/"), all);
        } else {
            all.push(path);
        }
    }
}

fn digest(paths: &[&str]) -> Digest {
    Digest::of_files(paths.iter().map(|path| (path.to_owned(), Sha256::digest(path).into())))
}

#[tokio::test]
async fn each_part_is_a_file_at_the_path_that_its_filename_says() {
    let taken = Upload::of(&["main.ts", "src/a.ts", "src/deep/b.ts"]).send().await.unwrap();
    assert_eq!(taken.paths(0), ["main.ts", "src/a.ts", "src/deep/b.ts"]);
    let tree = &taken.received.trees[0];
    assert_eq!(tree.digest, digest(&["main.ts", "src/a.ts", "src/deep/b.ts"]));
    assert_eq!((tree.files, tree.bytes), (3, 28));
}

#[tokio::test]
async fn the_folder_that_a_browser_names_is_not_part_of_the_project() {
    let taken = Upload::of(&["my blog/main.ts", "my blog/src/a.ts"]).send().await.unwrap();
    assert_eq!(taken.paths(0), ["main.ts", "src/a.ts"]);
    let taken = Upload::of(&["src/a.ts", "main.ts"]).send().await.unwrap();
    assert_eq!(taken.paths(0), ["main.ts", "src/a.ts"]);
}

#[tokio::test]
async fn a_quote_in_a_name_is_read_as_curl_and_browsers_write_it() {
    for written in ["a%22b.ts", "a\\\"b.ts"] {
        let taken = Upload::of(&[written, "main.ts"]).send().await.unwrap();
        assert_eq!(taken.paths(0), ["a\"b.ts", "main.ts"]);
    }
}

#[tokio::test]
async fn ignored_files_are_left_out_but_packages_are_stored() {
    let paths = ["main.ts", ".git/HEAD", "main.ts~", ".DS_Store", "node_modules/a/index.js"];
    let taken = Upload::of(&paths).send().await.unwrap();
    assert_eq!(taken.paths(0), ["main.ts", "node_modules/a/index.js"]);
    assert_eq!(taken.received.left_out, 3);
    assert_eq!(taken.received.trees[0].digest, digest(&["main.ts"]));
}

#[tokio::test]
async fn a_message_is_kept_and_any_other_field_is_refused() {
    let field = |name: &str| {
        format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\nhello\r\n")
            .into_bytes()
    };
    let taken = Upload::raw(&[field("message"), part("main.ts", b"1")]).send().await.unwrap();
    assert_eq!(taken.received.message.as_deref(), Some("hello"));
    let refused = Upload::raw(&[field("other"), part("main.ts", b"1")]).refused().await;
    assert_eq!((refused.part.as_deref(), refused.field.as_deref()), (Some("other"), Some("filename")));
}

#[tokio::test]
async fn several_projects_have_a_folder_each() {
    let taken = Upload::of(&["blog/main.ts", "shop/main.ts", "shop/src/a.ts"]).many().send().await.unwrap();
    let names: Vec<_> = taken.received.trees.iter().map(|tree| tree.project.to_string()).collect();
    assert_eq!(names, ["blog", "shop"]);
    assert_eq!(taken.paths(1), ["main.ts", "src/a.ts"]);
    let wrapped = Upload::of(&["all/blog/main.ts", "all/shop/main.ts"]).many().send().await.unwrap();
    assert_eq!(wrapped.received.trees.len(), 2);
    let single = Upload::of(&["blog/main.ts", "blog/src/a.ts"]).many().send().await.unwrap();
    assert_eq!(single.received.trees[0].project.as_str(), "blog");
}

#[tokio::test]
async fn a_folder_that_is_not_a_project_and_a_file_beside_the_folders_are_refused() {
    let refused = Upload::of(&["Bl og/main.ts", "shop/main.ts"]).many().refused().await;
    assert!(refused.detail.contains("Bl og"), "{}", refused.detail);
    let refused = Upload::of(&["blog/main.ts", "main.ts"]).many().refused().await;
    assert_eq!(refused.part.as_deref(), Some("main.ts"));
}

#[tokio::test]
async fn content_with_a_transfer_encoding_is_refused_instead_of_stored() {
    let encoded = |encoding: &str| {
        let part = String::from_utf8(part("main.ts", b"MQ==")).unwrap();
        let header = format!("Content-Transfer-Encoding: {encoding}\r\nContent-Type");
        Upload::raw(&[part.replace("Content-Type", &header).into_bytes()])
    };
    for encoding in ["base64", "Quoted-Printable", "x-gzip"] {
        let refused = encoded(encoding).refused().await;
        assert!(refused.detail.contains(encoding), "{}", refused.detail);
        assert_eq!(refused.part.as_deref(), Some("main.ts"));
    }
    for encoding in ["binary", "8BIT", "7bit"] {
        assert_eq!(encoded(encoding).send().await.unwrap().paths(0), ["main.ts"]);
    }
}

#[tokio::test]
async fn a_bad_name_is_refused_with_its_part() {
    let long = "x".repeat(256);
    let deep = format!("{}main.ts", "d/".repeat(600));
    let names = [
        "../main.ts",
        "a/../main.ts",
        "a/./b.ts",
        "/etc/passwd",
        "C:/main.ts",
        "a/",
        "a/",
        "a\\\\b.ts",
        "a//b.ts",
        "a%0Ab.ts",
        "..",
        "con",
        "aux.ts",
        "src/COM1.txt",
        "lpt².js",
        "nul.tar.gz",
        "trailing.",
        "trailing ",
        &long,
        &deep,
        "\u{85}.ts",
    ];
    for name in names {
        let refused = Upload::of(&["ok.ts", name]).refused().await;
        assert!(refused.part.is_some(), "{name:?}: {refused:?}");
        assert!(
            matches!(refused.status, StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE),
            "{refused:?}"
        );
    }
    // A header cannot even have that name.
    assert_eq!(Upload::of(&["ok.ts", "a\u{7}.ts"]).refused().await.slug, "bad-upload");
}

#[tokio::test]
async fn names_that_only_look_bad_are_accepted() {
    for name in
        ["[id].tsx", "...rest.ts", "a b.ts", "console.ts", "com10", "ä.ts", "ab:c.ts", ".env", "a%20b.ts"]
    {
        Upload::of(&["main.ts", name]).send().await.unwrap_or_else(|refused| panic!("{name:?}: {refused:?}"));
    }
}

#[tokio::test]
async fn two_names_that_are_one_somewhere_are_refused() {
    for (a, b) in [
        ("main.ts", "main.ts"),
        ("Main.ts", "main.ts"),
        ("src/a.ts", "SRC/b.ts"),
        ("\u{e9}.ts", "e\u{301}.ts"),
        ("straße.ts", "STRASSE.ts"),
        ("a", "a/b.ts"),
        ("a/b.ts", "a"),
    ] {
        let refused = Upload::of(&["ok.ts", a, b]).refused().await;
        assert_eq!((refused.slug, refused.field.as_deref()), ("bad-upload", Some("filename")), "{a} {b}");
    }
}

#[tokio::test]
async fn each_limit_is_reported_with_its_flag() {
    let upload = || Upload::of(&["main.ts", "a/b/c/d/e.ts"]);
    type Set = fn(&mut UploadLimits);
    let cases: [(&str, Set); 4] = [
        ("max-upload", |limits| limits.body = 100),
        ("max-size", |limits| limits.size = 10),
        ("max-files", |limits| limits.files = 2),
        ("max-part-headers", |limits| limits.part_headers = 20),
    ];
    for (flag, set) in cases {
        let refused = upload().limited(set).refused().await;
        assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE, "{flag}: {refused:?}");
        assert!(refused.detail.contains(&format!("--{flag}")), "{flag}: {}", refused.detail);
    }
    let refused = upload().limited(|limits| limits.depth = 3).refused().await;
    assert!(refused.detail.contains("--max-depth"));
    let refused = upload().limited(|limits| limits.name = 5).refused().await;
    assert!(refused.detail.contains("--max-name"));
    let refused = upload().limited(|limits| limits.boundary = 3).refused().await;
    assert!(refused.detail.contains("--max-boundary"));
}

#[tokio::test]
async fn headers_without_an_end_are_refused_before_they_fill_the_memory() {
    let mut endless = format!("--{BOUNDARY}\r\nX-Long: ").into_bytes();
    endless.resize(4 << 20, b'x');
    let upload = Upload { body: endless, ..Upload::of(&[]) };
    let refused = upload.refused().await;
    assert!(refused.detail.contains("--max-part-headers"), "{}", refused.detail);
}

#[tokio::test]
async fn an_upload_that_takes_too_long_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut headers = HeaderMap::new();
    headers.insert(
        http::header::CONTENT_TYPE,
        format!("multipart/form-data; boundary={BOUNDARY}").parse().unwrap(),
    );
    let never = stream::pending::<Result<Bytes, Infallible>>();
    let limits = UploadLimits { time: Duration::from_millis(5), ..UploadLimits::default() };
    let refused = receive(&headers, never, &one(), dir.path(), &limits).await.unwrap_err();
    assert_eq!((refused.status, refused.slug), (StatusCode::REQUEST_TIMEOUT, "upload-timeout"));
}

#[tokio::test]
async fn other_kinds_of_bodies_are_unsupported_and_a_missing_boundary_is_reported() {
    for (kind, status) in [
        ("application/json", StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("application/x-www-form-urlencoded", StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("multipart/form-data", StatusCode::BAD_REQUEST),
    ] {
        let refused = Upload { kind: kind.into(), ..Upload::of(&["main.ts"]) }.refused().await;
        assert_eq!(refused.status, status, "{kind}: {refused:?}");
    }
}

#[tokio::test]
async fn an_empty_upload_is_refused() {
    for upload in [Upload::raw(&[]), Upload::of(&[".DS_Store"]), Upload::of(&["node_modules/a.js"])] {
        assert_eq!(upload.refused().await.slug, "bad-upload");
    }
}

#[tokio::test]
async fn an_upload_that_is_cut_off_anywhere_is_never_accepted() {
    let upload = Upload::of(&["main.ts", "src/a.ts"]);
    // The last four bytes are the closing dashes and their line end.
    for length in 0..upload.body.len() - 4 {
        let cut = vec![Bytes::copy_from_slice(&upload.body[..length])];
        assert!(upload.send_chunks(cut).await.is_err(), "{length} bytes of {}", upload.body.len());
    }
}

#[tokio::test]
async fn it_does_not_matter_how_the_bytes_are_cut_into_chunks() {
    let upload = Upload::of(&["main.ts", "src/a.ts"]);
    for size in [1, 2, 3, 7, 64] {
        let chunks = upload.body.chunks(size).map(Bytes::copy_from_slice).collect();
        let taken = upload.send_chunks(chunks).await.unwrap();
        assert_eq!(taken.received.trees[0].digest, digest(&["main.ts", "src/a.ts"]), "{size}");
    }
}
