//! The first scan: the projects served after it, and the time at which the router is ready.

use switchyard_contract::admin::ProjectState;
use switchyard_integration::eventually;
use switchyard_integration::fixtures::hello;
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;

#[tokio::test]
async fn a_project_on_the_volume_is_served_by_a_fresh_router() {
    let volume = Volume::with("a", hello("one"));
    let router = Router::start(&volume).await;
    let reply = router.public.get("/a/").await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "one"));
    assert!(reply.version().is_some_and(|version| version.starts_with("a@")), "{:?}", reply.headers);
}

#[tokio::test]
async fn a_broken_project_does_not_keep_others_from_being_served() {
    let volume = Volume::new();
    for name in ["a", "b", "c"] {
        volume.project(name).file("main.ts", hello(name)).write();
    }
    volume.project("broken").file("main.ts", "export default {").write();
    volume.project("empty").file("README.md", "nothing to run").write();
    let router = Router::start(&volume).await;
    for name in ["a", "b", "c"] {
        assert_eq!(router.public.get(&format!("/{name}/")).await.text(), name);
    }
    for name in ["broken", "empty"] {
        router.public.get(&format!("/{name}/")).await.assert_problem(503, "no-good-version");
    }
}

#[tokio::test]
async fn the_router_is_ready_when_the_scan_is_done_and_healthy_before() {
    let volume = Volume::with("a", hello("one"));
    volume.project("slow").file("main.ts", "await new Promise(() => setInterval(() => {}, 1000));").write();
    let router = Router::builder(&volume).flag("build-timeout", 2000).start_unready().await;
    let admin = &router.admin.client;
    assert_eq!(admin.get("/healthz").await.status, 200);
    assert_eq!(admin.get("/readyz").await.status, 503);
    eventually("a is served while another is still being built", || async {
        router.public.get("/a/").await.status == 200
    })
    .await;
    assert_eq!(admin.get("/readyz").await.status, 503);
    router.ready().await;
    assert_eq!(router.admin.project("slow").await.state, ProjectState::Failed);
}

#[tokio::test]
async fn an_empty_volume_is_served() {
    let volume = Volume::new();
    let router = Router::start(&volume).await;
    router.public.get("/a/").await.assert_problem(404, "unknown-project");
    assert!(router.admin.projects().await.is_empty());
}

#[tokio::test]
async fn folders_with_a_dot_or_an_underscore_and_plain_files_are_not_projects() {
    let volume = Volume::with("a", hello("one"));
    volume.project(".git").file("main.ts", hello("no")).write();
    volume.project("_staging").file("main.ts", hello("no")).write();
    volume.write("main.ts", hello("no"));
    let router = Router::start(&volume).await;
    assert_eq!(router.admin.projects().await.into_keys().collect::<Vec<_>>(), ["a"]);
    for path in ["/.git/", "/_staging/", "/main.ts"] {
        router.public.get(path).await.assert_problem(404, "unknown-project");
    }
}

#[tokio::test]
async fn beyond_the_most_cells_a_version_starts_with_its_next_request() {
    let volume = Volume::new();
    let names = ["a", "b", "c", "d"];
    for name in names {
        volume.project(name).file("main.ts", hello(name)).write();
    }
    let router = Router::builder(&volume).flag("max-cells", 2).start().await;
    for name in names.iter().chain(&names) {
        let reply = router.public.get(&format!("/{name}/")).await;
        assert_eq!((reply.status, reply.text().as_str()), (200, *name));
    }
}
