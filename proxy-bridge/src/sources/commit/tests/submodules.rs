//! Submodules: which are read, from where, and what is said about others.

use super::super::submodules;
use super::*;
use crate::git::{Credential, GitUrl, Submodule};

const SETTINGS: &str = "projects = [{ path = \"apps/*\" }]\nsubmodules = [\"apps/api/lib\"]\n\
                        allow = [\"file://{dir}/*\"]";

impl Scene {
    /// Commits `files` in another repository of the scene's folder.
    fn commit_other(&self, name: &str, files: &[(&str, &str)]) -> ObjectId {
        let other = self.dir.path().join(name);
        if !other.join(".git").exists() {
            fs::create_dir_all(&other).unwrap();
            self.git_in(&other, &["init", "-q", "-b", "main", "."], "");
        }
        for (path, content) in files {
            let path = other.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        self.git_in(&other, &["add", "-A", "."], "");
        self.git_in(&other, &["commit", "-q", "--allow-empty", "-m", "x"], "");
        self.git_in(&other, &["rev-parse", "HEAD"], "").parse().unwrap()
    }

    /// Commits a submodule at `path`, with the URL `url` or without one.
    fn commit_submodule(&self, path: &str, url: Option<&str>, commit: &ObjectId) -> ObjectId {
        let text = url.map(|url| format!("[submodule \"x\"]\n\tpath = {path}\n\turl = {url}\n"));
        self.put(".gitmodules", text.unwrap_or_default());
        self.git(&["add", "-A", "."], "");
        self.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},{path}")], "");
        self.git(&["commit", "-q", "-m", "x"], "");
        self.git(&["rev-parse", "HEAD"], "").parse().unwrap()
    }

    /// A URL of another repository in the scene's folder.
    fn url_of(&self, name: &str) -> String {
        format!("file://{}/{name}", self.dir.path().display())
    }
}

#[tokio::test]
async fn a_submodule_is_read_at_its_commit_and_kept_in_a_mirror_of_its_own() {
    let scene = Scene::new(SETTINGS).await;
    let wanted = scene.commit_other("lib", &[("mod.ts", "wanted"), ("deep/x.ts", "x")]);
    let newer = scene.commit_other("lib", &[("mod.ts", "newer")]);
    scene.commit(&[("apps/api/main.ts", "1"), ("apps/b/main.ts", "2")]);
    let mut first = None;
    for url in [scene.url_of("lib"), "../lib".to_owned()] {
        let read = scene.read(&scene.commit_submodule("apps/api/lib", Some(&url), &wanted)).await;
        let tree = scene.receive(&read, "api").await.unwrap();
        let found = files(&tree.dir);
        assert_eq!(found.keys().collect::<Vec<_>>(), ["lib/deep/x.ts", "lib/mod.ts", "main.ts"]);
        assert_eq!(found["lib/mod.ts"], b"wanted");
        first = Some(applied(&read));
    }
    let read = scene.read(&scene.commit_submodule("apps/api/lib", Some("../lib"), &newer)).await;
    let changes = crate::sources::commit::compare(&first.unwrap(), &read);
    assert_eq!((changes.changed, changes.unchanged), (vec![name("api")], vec![name("b")]));
    let open = scene.others.open.lock().await;
    assert_eq!(open.len(), 1);
    let refs = scene.git_in(open[&scene.url_of("lib")].path(), &["for-each-ref", "--format=%(refname)"], "");
    let kept = |commit| format!("refs/switchyard/shop/{commit}");
    assert!(refs.contains(&kept(&wanted)) && refs.contains(&kept(&newer)), "{refs}");
}

#[tokio::test]
async fn a_project_and_a_shared_folder_can_be_submodules() {
    let lines = "projects = [{ path = \"libs/ui\" }, { path = \"api\" }]\nshared = [\"_shared\"]\n\
                 submodules = [\"libs/ui\", \"_shared\"]\nallow = [\"file://{dir}/lib\"]";
    let scene = Scene::new(lines).await;
    let wanted = scene.commit_other("lib", &[("main.ts", "wanted")]);
    scene.commit(&[("api/main.ts", "1")]);
    let of = |path: &str| format!("[submodule \"{path}\"]\n\tpath = {path}\n\turl = ../lib\n");
    scene.put(".gitmodules", of("libs/ui") + &of("_shared"));
    scene.git(&["add", "-A", "."], "");
    for path in ["libs/ui", "_shared"] {
        scene.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{wanted},{path}")], "");
    }
    scene.git(&["commit", "-q", "-m", "x"], "");
    let read = scene.read(&scene.git(&["rev-parse", "HEAD"], "").parse().unwrap()).await;
    assert_eq!(read.projects()[&name("ui")].tree, wanted);
    assert_eq!(files(&scene.receive(&read, "ui").await.unwrap().dir)["main.ts"], b"wanted");
    let (into, limits) = (scene.staging(), UploadLimits::default());
    let (shared, _) = read.receive_shared(&scene.mirror, "_shared", &into, &limits).await.unwrap();
    assert_eq!(files(&shared)["main.ts"], b"wanted");
}

#[tokio::test]
async fn a_submodule_that_may_not_be_read_is_told_with_the_setting() {
    let scene = Scene::new(&SETTINGS.replace("{dir}/*", "{dir}/other")).await;
    let wanted = scene.commit_other("lib", &[("mod.ts", "wanted")]);
    scene.commit(&[("apps/api/main.ts", "1")]);
    let text = scene.refusal(&scene.commit_submodule("apps/api/lib", Some("../lib"), &wanted)).await;
    assert!(text.contains(&format!("allow = [\"{}\"]", scene.url_of("lib"))), "{text}");
    let text = scene.refusal(&scene.commit_submodule("apps/api/lib", None, &wanted)).await;
    assert!(text.contains("\"apps/api/lib\" is a submodule, but .gitmodules"), "{text}");
    assert!(scene.others.open.lock().await.is_empty());
}

#[tokio::test]
async fn a_submodule_that_a_link_leads_elsewhere_is_not_read() {
    let scene = Scene::new(SETTINGS).await;
    let outside = tempfile::tempdir().unwrap();
    let wanted = scene.commit_other("lib", &[("mod.ts", "wanted")]);
    fs::rename(scene.dir.path().join("lib"), outside.path().join("lib")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("lib"), scene.dir.path().join("lib")).unwrap();
    scene.commit(&[("apps/api/main.ts", "1")]);
    let commit = scene.commit_submodule("apps/api/lib", Some("../lib"), &wanted);
    match scene.read_within(&commit, &UploadLimits::default()).await {
        Err(error @ ReadError::Submodule { error: GitError::Refused(_), .. }) => {
            let text = error.to_string();
            assert!(text.contains("\"apps/api/lib\"") && text.contains("--allow-local"), "{text}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_commit_that_was_not_pushed_and_a_submodule_in_a_submodule_are_told() {
    let scene = Scene::new(SETTINGS).await;
    scene.commit_other("lib", &[("mod.ts", "1")]);
    scene.commit(&[("apps/api/main.ts", "1")]);
    let unknown = "0a1b".repeat(10).parse().unwrap();
    let commit = scene.commit_submodule("apps/api/lib", Some("../lib"), &unknown);
    match scene.read_within(&commit, &UploadLimits::default()).await {
        Err(ReadError::Submodule { path, url, error: GitError::RefGone { .. } }) => {
            assert_eq!((path, url), ("apps/api/lib".to_owned(), scene.url_of("lib")));
        }
        other => panic!("{other:?}"),
    }
    let lib = scene.dir.path().join("lib");
    scene.git_in(&lib, &["update-index", "--add", "--cacheinfo", &format!("160000,{unknown},inner")], "");
    scene.git_in(&lib, &["commit", "-q", "-m", "x"], "");
    let nested = scene.git_in(&lib, &["rev-parse", "HEAD"], "").parse().unwrap();
    let text = scene.refusal(&scene.commit_submodule("apps/api/lib", Some("../lib"), &nested)).await;
    assert!(text.contains("\"apps/api/lib/inner\" is a submodule in a submodule"), "{text}");
}

#[tokio::test]
async fn a_damaged_mirror_of_a_submodule_is_new_at_the_next_attempt() {
    let scene = Scene::new(SETTINGS).await;
    let wanted = scene.commit_other("lib", &[("mod.ts", "wanted")]);
    scene.commit(&[("apps/api/main.ts", "1")]);
    let read = scene.read(&scene.commit_submodule("apps/api/lib", Some("../lib"), &wanted)).await;
    let objects = scene.others.open.lock().await[&scene.url_of("lib")].path().join("objects");
    fs::remove_dir_all(objects.join("pack")).unwrap();
    for folder in fs::read_dir(&objects).unwrap().map(|entry| entry.unwrap().path()) {
        fs::remove_dir_all(folder).unwrap();
    }
    match scene.receive(&read, "api").await {
        Err(ReceiveError::Git(GitError::Other(text))) => assert!(text.contains("is new"), "{text}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(files(&scene.receive(&read, "api").await.unwrap().dir)["lib/mod.ts"], b"wanted");
}

#[tokio::test]
async fn the_credential_goes_to_the_server_of_the_source_only() {
    let scene = Scene::new(APPS).await;
    let file = scene.dir.path().join("secret");
    let mut settings = scene.settings.clone();
    settings.url = GitUrl::parse("https://git.example/acme/shop", false).unwrap();
    settings.credential = Some(Credential::Password { username: "me".to_owned(), file });
    settings.allow = ["https://git.example/acme/*", "https://GIT.example/acme/*", "https://other/*"]
        .map(str::to_owned)
        .into();
    settings.allow.extend(["http://git.example/acme/*".to_owned(), "git@git.example:acme/*".to_owned()]);
    let remote = |url: &str| {
        let submodule = Submodule { path: "lib".to_owned(), url: url.to_owned() };
        submodules::remote(&settings, &settings.url, &submodule)
    };
    for (url, is_sent) in [
        ("https://git.example/acme/lib", true),
        ("https://GIT.example/acme/lib", true),
        ("https://other/lib", false),
        ("http://git.example/acme/lib", false),
    ] {
        assert_eq!(remote(url).unwrap().credential.is_some(), is_sent, "{url}");
    }
    let error = remote("git@git.example:acme/lib").unwrap_err().to_string();
    assert!(error.contains("no ssh key") && error.contains("../other.git"), "{error}");
    let error = remote(&scene.url_of("lib")).unwrap_err().to_string();
    assert!(error.contains("a folder of this machine"), "{error}");
}
