//! The files of a commit on their way to the staging folder.

use std::os::unix::fs::PermissionsExt as _;

use sha2::{Digest as _, Sha256};

use super::super::store::{self, Step, StoreError};
use super::*;
use switchyard_contract::digest::Digest;

#[tokio::test]
async fn files_are_as_in_the_commit_whatever_its_attributes_say() {
    let scene = Scene::new(APPS).await;
    let binary = (0..=255).cycle().take(200_000).collect::<Vec<u8>>();
    let contents: [(&str, &[u8]); 7] = [
        (".gitattributes", b"* text=auto eol=crlf ident export-ignore export-subst\n"),
        (".gitignore", b"*.ts\n"),
        ("binary", &binary),
        ("crlf.txt", b"a\r\nb\r\n"),
        ("empty", b""),
        ("lib/é x.ts", b"// $Id$ $Format:%H$\n"),
        ("main.ts", b"export default {}"),
    ];
    for (path, content) in contents {
        // Written as a blob, as git add would change it by the attributes.
        scene.put(&format!("apps/api/{path}"), content);
        let file = format!("apps/api/{path}");
        let blob = scene.git(&["hash-object", "-w", "--no-filters", &file], "");
        scene.git(&["update-index", "--add", "--cacheinfo", &format!("100644,{blob},{file}")], "");
    }
    scene.git(&["commit", "-q", "-m", "x"], "");
    let read = scene.read(&scene.git(&["rev-parse", "HEAD"], "").parse().unwrap()).await;
    let tree = scene.receive(&read, "api").await.unwrap();
    let expected = contents.map(|(path, content)| (path.to_owned(), content.to_vec()));
    assert_eq!(files(&tree.dir), BTreeMap::from(expected));
    let hashes = contents.map(|(path, content)| (path, <[u8; 32]>::from(Sha256::digest(content))));
    assert_eq!((tree.project, tree.digest), (name("api"), Digest::of_files(hashes)));
    assert_eq!((tree.files, tree.dir.file_name().unwrap().to_str()), (7, Some("api")));
    assert!(tree.carries_packages);
}

#[tokio::test]
async fn modes_are_dropped() {
    let scene = Scene::new(APPS).await;
    scene.put("apps/api/run.sh", "");
    let file = scene.repository().join("apps/api/run.sh");
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
    let read = scene.read(&scene.commit(&[("apps/api/main.ts", "")])).await;
    let tree = scene.receive(&read, "api").await.unwrap();
    let mode = |path: &str| fs::metadata(tree.dir.join(path)).unwrap().permissions().mode();
    assert_eq!(mode("run.sh"), mode("main.ts"));
    assert_eq!(mode("run.sh") & 0o111, 0);
}

#[tokio::test]
async fn links_are_followed_where_they_stay_in_the_project() {
    let scene = Scene::new(APPS).await;
    scene.link("apps/api/b.ts", "lib/a.ts");
    scene.link("apps/api/copy", "lib");
    let read = scene.read(&scene.commit(&[("apps/api/main.ts", "1"), ("apps/api/lib/a.ts", "2")])).await;
    let tree = scene.receive(&read, "api").await.unwrap();
    let found = files(&tree.dir);
    let found = found.iter().map(|(path, content)| (path.as_str(), content.as_slice()));
    let expected: [(&str, &[u8]); 4] =
        [("b.ts", b"2"), ("copy/a.ts", b"2"), ("lib/a.ts", b"2"), ("main.ts", b"1")];
    assert_eq!(found.collect::<Vec<_>>(), expected);
    assert!(!tree.dir.join("b.ts").is_symlink());
}

#[tokio::test]
async fn a_whole_repository_is_a_project() {
    let scene = Scene::new(r#"projects = [{ path = ".", as = "site" }]"#).await;
    let read = scene.read(&scene.commit(&[("index.html", "x"), ("css/a.css", "y")])).await;
    let tree = scene.receive(&read, "site").await.unwrap();
    assert_eq!(files(&tree.dir).into_keys().collect::<Vec<_>>(), ["css/a.css", "index.html"]);
    let whole = scene.git(&["rev-parse", "HEAD^{tree}"], "");
    assert_eq!(read.projects()[&name("site")].tree.as_str(), whole);
}

#[tokio::test]
async fn several_entries_are_received_into_one_folder_at_a_time() {
    let lines = format!("{APPS}\nshared = [\"libs/_shared\", \"deno.json\"]");
    let scene = Scene::new(&lines).await;
    let commit = scene.commit(&[
        ("apps/a/main.ts", "a"),
        ("apps/b/main.ts", "b"),
        ("libs/_shared/mod.ts", "s"),
        ("deno.json", "{}"),
    ]);
    let read = scene.read(&commit).await;
    let (into, limits, mirror) = (scene.staging(), UploadLimits::default(), &scene.mirror);
    let (a, b) = (name("a"), name("b"));
    let (a, b, folder, file) = tokio::join!(
        read.receive(mirror, &a, &into, &limits),
        read.receive(mirror, &b, &into, &limits),
        read.receive_shared(mirror, "_shared", &into, &limits),
        read.receive_shared(mirror, "deno.json", &into, &limits),
    );
    let (folder, file) = (folder.unwrap(), file.unwrap());
    assert_eq!((a.unwrap().dir, b.unwrap().dir), (into.join("a"), into.join("b")));
    assert_eq!((&folder.0, &file.0), (&into.join("_shared"), &into.join("deno.json")));
    let digest = |path, content: &str| Digest::of_files([(path, Sha256::digest(content).into())]);
    assert_eq!((folder.1, file.1), (digest("mod.ts", "s"), digest("deno.json", "{}")));
    let found = files(&into).into_keys().collect::<Vec<_>>();
    assert_eq!(found, ["_shared/mod.ts", "a/main.ts", "b/main.ts", "deno.json"]);
    assert!(!read.shared()["deno.json"].is_folder && read.shared()["_shared"].is_folder);
}

#[tokio::test]
async fn nothing_is_placed_by_a_reading_that_ends_early() {
    let dir = tempfile::tempdir().unwrap();
    let into = dir.path().join("own");
    let (steps, thread) = store::start(name("a"), into.clone(), UploadLimits::default());
    steps.send(vec![Step::Begin("main.ts".to_owned())]).await.unwrap();
    steps.send(vec![Step::End]).await.unwrap();
    drop(steps);
    assert!(matches!(thread.await.unwrap(), Err(StoreError::Interrupted)));
    assert!(!into.join("a").exists());
}

#[tokio::test]
async fn a_volume_that_fails_is_told_apart_from_a_wrong_commit() {
    let scene = Scene::new(APPS).await;
    let read = scene.read(&scene.commit(&[("apps/api/main.ts", "1")])).await;
    let none = scene.dir.path().join("none/none");
    let limits = UploadLimits::default();
    let error = read.receive(&scene.mirror, &name("api"), &none, &limits).await.unwrap_err();
    assert!(matches!(error, ReceiveError::Volume(_)), "{error:?}");
}
