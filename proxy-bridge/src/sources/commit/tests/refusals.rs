//! Commits that cannot be deployed: each is named by its path in the repository.

use super::*;

#[tokio::test]
async fn names_that_are_not_safe_everywhere_are_refused_by_their_paths() {
    for (path, says) in [
        ("a\\b.ts", "backslash"),
        ("con.ts", "device"),
        ("dot.", "ends with a dot"),
        ("a\nb.ts", "a\\nb.ts"),
        ("c:x.ts", "drive letter"),
    ] {
        let scene = Scene::new(APPS).await;
        let file = format!("apps/api/{path}");
        let text = scene.unreceived("api", &[("apps/api/main.ts", ""), (&file, "")]).await;
        assert!(text.starts_with("apps/api/") && text.contains(says), "{path}: {text}");
    }
}

#[tokio::test]
async fn names_that_are_one_on_some_systems_are_refused() {
    for (one, other) in
        [("Readme.md", "README.md"), ("lib/x", "Lib/y"), ("\u{e9}.ts", "e\u{301}.ts"), ("ß.ts", "SS.ts")]
    {
        let scene = Scene::new(APPS).await;
        let (a, b) = (format!("apps/api/{one}"), format!("apps/api/{other}"));
        let text = scene.unreceived("api", &[("apps/api/main.ts", ""), (&a, ""), (&b, "")]).await;
        assert!(text.starts_with("apps/api/") && text.contains("are the same name"), "{text}");
    }
}

#[tokio::test]
async fn gits_own_folder_does_not_come_in_by_any_spelling() {
    let scene = Scene::new(APPS).await;
    let commit = scene.commit(&[("apps/api/main.ts", ""), ("apps/api/.github/x.yml", "x")]);
    let blob = scene.git(&["rev-parse", "HEAD:apps/api/main.ts"], "");
    let read = scene.read(&commit).await;
    let tree = scene.receive(&read, "api").await.unwrap();
    assert_eq!(files(&tree.dir).into_keys().collect::<Vec<_>>(), [".github/x.yml", "main.ts"]);
    for spelling in [".git", ".GIT", "git~1", ".git ", ".g\u{200c}it"] {
        let inner = scene.git(&["mktree"], &format!("100644 blob {blob}\tconfig\n"));
        let entries = format!("100644 blob {blob}\tmain.ts\n040000 tree {inner}\t{spelling}\n");
        let api = scene.git(&["mktree"], &entries);
        let apps = scene.git(&["mktree"], &format!("040000 tree {api}\tapi\n"));
        let root = scene.git(&["mktree"], &format!("040000 tree {apps}\tapps\n"));
        let commit = scene.commit_tree(&root);
        let resolved = Resolved { commit, name: Some("refs/heads/main".to_owned()) };
        let fetched = scene.mirror.fetch("shop", &resolved).await;
        assert!(matches!(fetched, Err(crate::git::GitError::Refused(_))), "{spelling:?}: {fetched:?}");
    }
}

#[tokio::test]
async fn links_out_of_the_project_are_refused_by_their_paths() {
    for (target, says) in [
        ("/etc/passwd", "leads out"),
        ("../b/main.ts", "leads out"),
        ("lib/../../b/main.ts", "leads out"),
        ("none", "points to nothing"),
        ("link", "circle"),
        (".", "a folder that it is in"),
    ] {
        let scene = Scene::new(APPS).await;
        scene.link("apps/api/link", target);
        let files = [("apps/api/main.ts", ""), ("apps/b/main.ts", ""), ("apps/api/lib/x", "")];
        let text = scene.unreceived("api", &files).await;
        assert!(text.starts_with("apps/api/link: ") && text.contains(says), "{target}: {text}");
    }
}

#[tokio::test]
async fn a_shared_file_is_no_link() {
    let scene = Scene::new(&format!("{APPS}\nshared = [\"deno.json\"]")).await;
    scene.link("deno.json", "other.json");
    let read = scene.read(&scene.commit(&[("apps/a/main.ts", ""), ("other.json", "{}")])).await;
    let (into, limits) = (scene.staging(), UploadLimits::default());
    let error = read.receive_shared(&scene.mirror, "deno.json", &into, &limits).await.unwrap_err();
    assert_eq!(error.to_string(), "deno.json: it is a symbolic link: put the file in its place");
}

#[tokio::test]
async fn a_pointer_of_lfs_is_refused_where_lfs_is_not_read() {
    let pointer =
        format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 12345\n", "0a1b".repeat(16));
    let scene = Scene::new(APPS).await;
    let long = format!("{pointer}{}", "x".repeat(1024));
    let commit = scene.commit(&[("apps/api/main.ts", ""), ("apps/api/docs/long.txt", &long)]);
    scene.receive(&scene.read(&commit).await, "api").await.unwrap();
    let text = scene.unreceived("api", &[("apps/api/img/logo.png", &pointer)]).await;
    assert!(text.starts_with("apps/api/img/logo.png: ") && text.contains("set lfs = true"), "{text}");
}

#[tokio::test]
async fn a_submodule_in_a_project_is_refused_and_others_are_no_matter() {
    let scene = Scene::new(APPS).await;
    let first = scene.commit(&[("apps/api/main.ts", "")]);
    let gitlink = |path: &str| {
        scene.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{first},{path}")], "");
        scene.git(&["commit", "-q", "-m", "x"], "");
        scene.git(&["rev-parse", "HEAD"], "").parse().unwrap()
    };
    let read = scene.read(&gitlink("vendor/other")).await;
    scene.receive(&read, "api").await.unwrap();
    let text = scene.refusal(&gitlink("apps/api/vendor")).await;
    assert!(text.contains("\"apps/api/vendor\" is a submodule"), "{text}");
    assert!(text.contains("submodules = [\"apps/api/vendor\"]"), "{text}");
}

#[tokio::test]
async fn a_project_that_is_a_submodule_is_told() {
    let scene = Scene::new(r#"projects = [{ path = "libs/ui" }]"#).await;
    let first = scene.commit(&[("main.ts", "")]);
    scene.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{first},libs/ui")], "");
    scene.git(&["commit", "-q", "-m", "x"], "");
    let text = scene.refusal(&scene.git(&["rev-parse", "HEAD"], "").parse().unwrap()).await;
    assert!(text.contains("submodules = [\"libs/ui\"]"), "{text}");
}

#[tokio::test]
async fn a_project_over_a_limit_is_refused_with_the_flag_that_raises_it() {
    let scene = Scene::new(APPS).await;
    // Large files beside the projects are not read.
    let commit = scene.commit(&[
        ("apps/a/main.ts", "1"),
        ("apps/b/main.ts", "12345"),
        ("apps/b/x", "12345"),
        ("data", &"x".repeat(1000)),
    ]);
    let limits = UploadLimits { files: 1, size: 9, ..UploadLimits::default() };
    let error = scene.read_within(&commit, &limits).await.unwrap_err().to_string();
    assert!(error.contains("the project \"apps/b\" has 2 files") && error.contains("--max-files"), "{error}");
    assert!(error.contains("has 10 bytes") && error.contains("--max-size"), "{error}");
    assert!(!error.contains("apps/a"), "{error}");
    let limits = UploadLimits { files: 2, size: 10, ..limits };
    scene.read_within(&commit, &limits).await.unwrap();
}

#[tokio::test]
async fn a_few_trees_that_stand_for_millions_of_files_are_refused() {
    let scene = Scene::new(APPS).await;
    let mut entry = format!("100644 blob {}", scene.git(&["hash-object", "-w", "--stdin"], "x"));
    for _ in 0..6 {
        let name = "n".repeat(50);
        let lines = (0..20).map(|number| format!("{entry}\t{name}{number:02}\n")).collect::<String>();
        entry = format!("040000 tree {}", scene.git(&["mktree"], &lines));
    }
    let commit = scene.commit_tree(entry.rsplit(' ').next().unwrap());
    let text = scene.refusal(&commit).await;
    assert!(text.contains("too many files"), "{text}");
}

#[tokio::test]
async fn a_plan_with_faults_and_an_empty_project_are_told() {
    let scene = Scene::new(APPS).await;
    let text = scene.refusal(&scene.commit(&[("apps/a/main.ts", ""), ("apps/b.c/main.ts", "")])).await;
    assert!(text.contains("\"apps/b.c\" cannot be a project"), "{text}");
    let scene = Scene::new(r#"projects = [{ path = "api" }]"#).await;
    let text = scene.unreceived("api", &[("api/.DS_Store", "")]).await;
    assert!(text.starts_with("api: ") && text.contains("no file that counts"), "{text}");
}
