//! Commits that cannot be deployed as they are: what serves stays, the message names the path, and
//! the next commit without the fault goes live.

use switchyard_contract::source::SyncOutcome;
use switchyard_integration::bridge::tree::Tree;
use switchyard_integration::fixtures::{half, hello};
use switchyard_integration::git::Change;
use switchyard_integration::probe::Probe;

use super::scene::{Scene, Shop};

/// Adds a fault to a commit.
type Faulty = for<'a> fn(Change<'a>) -> Change<'a>;

/// A commit that nobody has.
const NOWHERE: &str = "00112233445566778899aabbccddeeff00112233";

/// The change to the project, and the words of the message.
const FAULTS: [(Faulty, &[&str]); 17] = [
    (|change| change.lfs_pointer("apps/api/model.bin", b"large"), &["model.bin", "LFS", "lfs = true"]),
    (|change| change.gitlink("apps/api/vendor", NOWHERE), &["vendor", "submodules"]),
    (|change| change.symlink("apps/api/passwd", "/etc/passwd"), &["passwd"]),
    (|change| change.symlink("apps/api/up", "../../outside.txt"), &["up"]),
    (|change| change.symlink("apps/api/out", "../other"), &["out"]),
    (|change| change.symlink("apps/api/lib/up", "../../../../../../../../etc"), &["lib/up"]),
    (|change| change.symlink("apps/api/a", "b").symlink("apps/api/b", "a"), &["apps/api/"]),
    (|change| change.symlink("apps/api/self", "."), &["self"]),
    (|change| change.symlink("apps/api/git", ".git/config"), &["git"]),
    (|change| change.file("apps/api/Main.ts", "").file("apps/api/x", ""), &["ain.ts"]),
    (|change| change.file("apps/api/A/x", "").file("apps/api/a/x", ""), &[]),
    (|change| change.file("apps/api/\u{e9}", "").file("apps/api/e\u{301}", ""), &[]),
    (|change| change.file("apps/api/con.txt", ""), &["con.txt"]),
    (|change| change.file("apps/api/a\\b", ""), &["backslash"]),
    (|change| change.file("apps/api/\u{1b}[2J", ""), &[]),
    (|change| change.file("apps/API/main.ts", hello("twin")), &["apps/API", "apps/api"]),
    (|change| change.file("apps/not.a.name/main.ts", hello("x")), &["apps/not.a.name"]),
];

async fn start(scene: &Scene) -> Shop {
    scene.source(&scene.file_url(), "");
    let first = scene.push("good").await;
    let shop = scene.start().await;
    shop.follows(&first).await;
    shop
}

#[tokio::test]
async fn a_commit_that_cannot_be_deployed_changes_nothing_and_its_message_names_the_path() {
    let scene = Scene::new().await;
    let shop = start(&scene).await;
    let good = scene.repository.head("main").await.unwrap();
    let before = Tree::of_projects(scene.volume.root());
    for (index, (faulty, words)) in FAULTS.iter().enumerate() {
        let change = faulty(scene.repository.on("main").file("apps/api/main.ts", hello("bad")));
        let bad = change.commit("Bad").await;
        let detail = shop.is_rejected().await;
        assert!(words.iter().all(|word| detail.contains(word)), "{index}: {words:?} not in {detail}");
        assert!(!detail.contains(char::is_control), "{index}: {detail:?}");
        let status = shop.status().await;
        assert_eq!(status.applied.as_ref(), Some(&good), "{index}");
        assert_eq!(status.failed, Some(bad), "{index}");
        scene.still("good").await;
        assert_eq!(Tree::of_projects(scene.volume.root()), before, "{index}");
        scene.repository.force_push("main", &good).await;
        shop.syncs_to(&good).await;
    }
    // Nothing of them is left to be in the way.
    let next = scene.push("next").await;
    shop.syncs_to(&next).await;
    scene.still("next").await;
}

#[tokio::test]
async fn faults_beside_the_projects_concern_nobody() {
    let scene = Scene::new().await;
    let shop = start(&scene).await;
    let change = scene.repository.on("main").file("apps/api/main.ts", hello("next"));
    let change = change.gitlink("vendor/lib", NOWHERE).lfs_pointer("assets/film.bin", b"large");
    let change = change.symlink("etc", "/etc").file("docs/A", "").file("docs/a", "");
    let commit = change.commit("Odd things elsewhere").await;
    shop.syncs_to(&commit).await;
    scene.still("next").await;
}

#[tokio::test]
async fn trees_that_git_itself_would_not_write_are_refused() {
    let scene = Scene::new().await;
    scene.source(&scene.file_url(), "projects = [{ path = \".\", as = \"api\" }]\n");
    let good = scene.repository.commit(&[("main.ts", &hello("good"))], "Good").await;
    let shop = scene.start().await;
    shop.follows(&good).await;
    let before = Tree::of_projects(scene.volume.root());
    let bad = hello("bad");
    for entries in [
        [("100644", "..", "x"), ("100644", "main.ts", &bad)],
        [("100644", ".", "x"), ("100644", "main.ts", &bad)],
        [("100644", ".git", "x"), ("100644", "main.ts", &bad)],
        [("100644", ".GIT", "x"), ("100644", "main.ts", &bad)],
        [("100644", "git~1", "x"), ("100644", "main.ts", &bad)],
        [("100644", ".g\u{200c}it", "x"), ("100644", "main.ts", &bad)],
        [("120000", ".gitmodules", "/etc/passwd"), ("100644", "main.ts", &bad)],
        [("100644", "main.ts", &bad), ("100644", "main.ts", "twice")],
    ] {
        scene.repository.commit_unchecked("main", &entries).await;
        shop.is_rejected().await;
        assert_eq!(shop.status().await.applied.as_ref(), Some(&good), "{entries:?}");
        scene.still("good").await;
        assert_eq!(Tree::of_projects(scene.volume.root()), before, "{entries:?}");
    }
    scene.repository.force_push("main", &good).await;
    let next = scene.repository.commit(&[("main.ts", &hello("next"))], "Next").await;
    shop.syncs_to(&next).await;
    scene.still("next").await;
}

#[tokio::test]
async fn a_commit_with_one_broken_project_changes_none_of_its_projects_on_any_router() {
    let scene = Scene::with_routers(2).await;
    scene.source(&scene.file_url(), "");
    let commit = async |label: &str, broken: bool| {
        let mut change = scene.repository.on("main");
        for project in ["api", "shop", "web"] {
            change = change.file(&format!("apps/{project}/main.ts"), hello(label));
        }
        if broken {
            change = change.file("apps/web/main.ts", "throw new Error('it is broken');\n");
        }
        change.commit(label).await
    };
    let first = commit("one", false).await;
    let shop = scene.start().await;
    shop.follows(&first).await;
    let mut probes = Vec::new();
    for router in scene.routers.iter() {
        for project in ["api", "shop", "web"] {
            probes.push(Probe::with_connections(&router.public, &format!("/{project}/"), 1).await);
        }
    }
    let before = Tree::of_projects(scene.volume.root());
    let broken = commit("two", true).await;
    let synced = shop.sync().await;
    assert_eq!((synced.status, synced.report.outcome), (422, SyncOutcome::Failed), "{synced:#?}");
    let problem = synced.report.problem.unwrap().to_string();
    assert!(problem.contains("it is broken") && problem.contains("web"), "{problem}");
    shop.names("failed").await;
    let status = shop.status().await;
    assert_eq!((status.applied, status.failed), (Some(first), Some(broken)));
    assert_eq!(Tree::of_projects(scene.volume.root()), before);

    let third = commit("three", false).await;
    let synced = shop.sync().await;
    let names: Vec<_> = synced.report.projects.iter().map(|synced| synced.project.as_str()).collect();
    assert_eq!(names, ["api", "shop", "web"], "{synced:#?}");
    shop.follows(&third).await;
    for probe in probes {
        probe.finish().await.no_failures().none_mixed().versions_monotonic(&["one", "three"]);
    }
}

#[tokio::test]
async fn a_broken_project_does_not_keep_the_others_where_each_goes_by_itself() {
    let scene = Scene::new().await;
    scene.source(&scene.file_url(), "together = \"project\"\n");
    let commit = async |label: &str, web: String| {
        let change = scene.repository.on("main").file("apps/api/main.ts", hello(label));
        change.file("apps/web/main.ts", web).commit(label).await
    };
    let first = commit("one", hello("one")).await;
    let shop = scene.start().await;
    shop.follows(&first).await;
    commit("two", "throw new Error('it is broken');\n".to_owned()).await;
    let synced = shop.sync().await;
    assert_eq!((synced.status, synced.report.outcome), (422, SyncOutcome::Failed), "{synced:#?}");
    shop.names("failed").await;
    scene.still("two").await;
    scene.answers("web", "one").await;
    let third = commit("three", hello("three")).await;
    shop.syncs_to(&third).await;
    scene.still("three").await;
    scene.answers("web", "three").await;
}

#[tokio::test]
async fn a_file_that_becomes_a_folder_and_back_is_deployed() {
    let scene = Scene::new().await;
    let shop = start(&scene).await;
    for (path, label) in [("lib/a.ts", "folder"), ("lib", "file"), ("lib/b.ts", "folder again")] {
        let change = scene.repository.on("main").remove("apps/api/lib");
        let change = change.file(&format!("apps/api/{path}"), half("a", label));
        let commit = change.file("apps/api/main.ts", hello(label)).commit(label).await;
        shop.syncs_to(&commit).await;
        scene.answers("api", label).await;
        assert_eq!(scene.volume.read(&format!("api/{path}")), half("a", label));
    }
}
