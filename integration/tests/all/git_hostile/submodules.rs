//! `.gitmodules` with options, protocols and paths that have had clients run programs.

use switchyard_integration::bridge::tree::Tree;
use switchyard_integration::fixtures::hello;

use super::watch::{Trap, Watch};
use crate::git_failures::scene::{Scene, Shop};

/// A commit that nobody has.
const NOWHERE: &str = "00112233445566778899aabbccddeeff00112233";

const PATH: &str = "apps/api/lib";

/// Sections of `.gitmodules`. COMMAND would leave a file, LOCAL is the folder of the repository.
const SECTIONS: [&str; 13] = [
    "[submodule \"lib\"]\n\tpath = apps/api/lib\n\turl = -uCOMMAND\n",
    "[submodule \"lib\"]\n\tpath = apps/api/lib\n\turl = --upload-pack=COMMAND\n",
    "[submodule \"lib\"]\n\tpath = apps/api/lib\n\turl = \"ext::sh -c COMMAND\"\n",
    "[submodule \"lib\"]\n\tpath = apps/api/lib\n\turl = \"ssh://-oProxyCommand=COMMAND/x\"\n",
    "[submodule \"lib\"]\n\tpath = apps/api/lib\n\turl = \"git@-oProxyCommand=COMMAND:x\"\n",
    "[submodule \"lib\"]\n\tpath = apps/api/lib\n\turl = LOCAL\n",
    "[submodule \"lib\"]\n\tpath = apps/api/lib\n\turl = file://LOCAL\n",
    "[submodule \"lib\"]\n\tpath = apps/api/lib\n\turl = ../other.git\n",
    "[submodule \"lib\"]\n\tpath = apps/api/lib\n\turl = \"https://other.test/x\\n.git\"\n",
    "[submodule \"lib\"]\n\tpath = apps/api/lib\n\turl = https://other.test/x.git\n\tupdate = !COMMAND\n",
    "[submodule \"../../../hooks\"]\n\tpath = apps/api/lib\n\turl = https://other.test/x.git\n",
    "[submodule \"lib\"]\n\tpath = -uCOMMAND\n\turl = https://other.test/x.git\n",
    "[submodule \"lib\"]\n\tpath = \"apps/api/lib\\r\"\n\turl = https://other.test/x.git\n",
];

async fn start(scene: &Scene, lines: &str) -> (Shop, String) {
    scene.source(&scene.file_url(), lines);
    let good = scene.push("good").await;
    let shop = scene.start().await;
    shop.follows(&good).await;
    (shop, good)
}

async fn try_all(lines: &str) {
    let scene = Scene::new().await;
    let trap = Trap::set();
    let (shop, good) = start(&scene, lines).await;
    let before = Tree::of_projects(scene.volume.root());
    let watch = Watch::of(&shop.bridge);
    for section in SECTIONS {
        let local = scene.repository.path().display().to_string();
        let section = section.replace("COMMAND", &trap.command("module")).replace("LOCAL", &local);
        let change = scene.repository.on("main").file("apps/api/main.ts", hello("bad"));
        change.file(".gitmodules", &section).gitlink(PATH, NOWHERE).commit("Module").await;
        let synced = shop.sync().await;
        assert!(synced.status >= 400, "{section}: {synced:#?}");
        let status = shop.status().await;
        assert!(status.problem.is_some() && status.applied.as_ref() == Some(&good), "{section}: {status:#?}");
        scene.still("good").await;
        assert_eq!(Tree::of_projects(scene.volume.root()), before, "{section}");
        scene.repository.force_push("main", &good).await;
    }
    shop.syncs_to(&good).await;
    watch.saw_only_git();
    trap.was_not_reached();
}

#[tokio::test]
async fn submodules_that_are_not_read_are_refused_whatever_their_url() {
    try_all("").await;
}

#[tokio::test]
async fn submodules_that_are_read_lead_only_where_the_settings_allow() {
    try_all("submodules = [\"apps/api/lib\"]\nallow = [\"https://git.example/acme/*\"]\n").await;
}

#[tokio::test]
async fn a_submodule_of_a_link_and_a_gitmodules_that_is_a_link_are_refused() {
    let scene = Scene::new().await;
    let (shop, good) = start(&scene, "submodules = [\"apps/api/lib\"]\n").await;
    for entries in [
        [("120000", ".gitmodules", "apps/api/main.ts"), ("160000", "lib", NOWHERE)],
        [("120000", ".gitattributes", "/etc/passwd"), ("120000", ".gitmodules", "../x")],
    ] {
        scene.repository.commit_unchecked("main", &entries).await;
        let synced = shop.sync_with("?allow_empty=1").await;
        assert_eq!(synced.status, 422, "{synced:#?}");
        assert_eq!(shop.status().await.applied.as_ref(), Some(&good));
        scene.still("good").await;
    }
}
