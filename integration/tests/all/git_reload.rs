//! The file of sources, read at the start and again by SIGHUP: sources come, change and go, and a
//! wrong file changes nothing.

use rustix::process::Signal;
use switchyard_integration::bridge::Bridge;
use switchyard_integration::bridge::addresses::reserve;
use switchyard_integration::client::Client;
use switchyard_integration::eventually;
use switchyard_integration::fixtures::hello;
use switchyard_integration::git::Repository;
use switchyard_integration::sources::{Scene, Source, SourcesFile, following};
use switchyard_integration::volume::Volume;
use switchyard_integration::within;

async fn repository(project: &str) -> (Repository, String) {
    let repository = Repository::create().await;
    let first = repository.commit(&[(&format!("{project}/main.ts"), &hello("one"))], "first").await;
    (repository, first)
}

#[tokio::test]
async fn after_sighup_sources_that_were_added_changed_and_removed_are_followed_so() {
    let ((shop, of_shop), (blog, of_blog)) = (repository("shop").await, repository("blog").await);
    let [shop_source, blog_source] = [Source::of("shop", &shop), Source::of("blog", &blog)];
    let scene = Scene::start(std::slice::from_ref(&shop_source)).await;
    scene.api.synced("shop", &of_shop).await;

    scene.configure(&[shop_source.clone(), blog_source.clone()]).await;
    scene.api.live("blog", &of_blog).await;
    assert_eq!(scene.routers.texts("/blog/").await, ["one"]);

    let next = shop.on("next").file("shop/main.ts", hello("next")).commit("next").await;
    scene.configure(&[shop_source.key("branch", "\"next\""), blog_source.clone()]).await;
    scene.api.live("shop", &next).await;
    assert_eq!(scene.routers.texts("/shop/").await, ["next"]);

    scene.configure(&[blog_source]).await;
    let names =
        || async { scene.api.statuses().await.into_iter().map(|status| status.source).collect::<Vec<_>>() };
    eventually("one source is left", || async { names().await == ["blog"] }).await;
    scene.api.post("shop", "sync").await.assert_problem(404, "unknown-source");
    assert_eq!(scene.routers.texts("/shop/").await, ["next"], "its projects stay");
}

#[tokio::test]
async fn a_source_that_comes_back_goes_on_from_what_is_live() {
    let (repository, first) = repository("shop").await;
    let source = Source::of("shop", &repository);
    let scene = Scene::start(std::slice::from_ref(&source)).await;
    scene.api.synced("shop", &first).await;
    let before = scene.api.commits("shop").await;
    scene.configure(&[]).await;
    assert_eq!(scene.api.statuses().await, []);
    scene.configure(&[source]).await;
    scene.api.synced("shop", &first).await;
    assert_eq!(scene.api.commits("shop").await, before);
}

#[tokio::test]
async fn a_wrong_file_is_refused_with_line_and_column_and_the_old_one_stays() {
    let (repository, first) = repository("shop").await;
    let source = Source::of("shop", &repository);
    let scene = Scene::start(std::slice::from_ref(&source)).await;
    scene.api.synced("shop", &first).await;
    // The sixth key of the table, which begins at line 1 with its header.
    scene.file.write(&[source.clone().key("brnch", "\"x\"")]);
    scene.bridge.signal(Signal::HUP);
    let refused = scene.bridge.log.wait_for(|record| {
        let record = record.to_string();
        record.contains("--sources is invalid") && record.contains("7:1: source")
    });
    let refused = within("the file is refused", refused).await.expect("it is logged").to_string();
    for says in ["keeping its old content", "sources.toml", "brnch", "did you mean"] {
        assert!(refused.contains(says), "{says:?} is not in {refused}");
    }
    let second = repository.commit(&[("shop/main.ts", &hello("two"))], "second").await;
    scene.api.goes_live("shop", &second).await;
    assert_eq!(scene.routers.texts("/shop/").await, ["two"]);
    scene.configure(&[source]).await;
    assert_eq!(scene.api.statuses().await.len(), 1);
}

#[tokio::test]
async fn a_bridge_does_not_start_with_a_wrong_file_and_tells_all_of_its_faults() {
    let (volume, state) = (Volume::new(), Volume::new());
    let file = SourcesFile::new(&[]);
    file.write_text("[[source]]\nname = \"shop\"\nurl = \"file:///nowhere\"\npoll = \"1s\"\nlfs = 1\n");
    let nobody = || Client::new(reserve());
    let builder = Bridge::builder(&volume).router_at(&nobody(), &nobody());
    let ended = following(builder, &file, state.root(), &nobody()).run_to_end().await;
    assert_eq!(ended.status.code(), Some(64), "{}", ended.log.text());
    let text = ended.log.text();
    for says in ["--sources", "sources.toml", "4:8", "must be 5s to 24h", "5:7", "projects: is missing"] {
        assert!(text.contains(says), "{says:?} is not in {text}");
    }
}

#[tokio::test]
async fn a_repository_of_this_machine_must_be_below_a_folder_that_is_allowed() {
    let (repository, _) = repository("shop").await;
    let (volume, state) = (Volume::new(), Volume::new());
    let file = SourcesFile::new(&[Source::of("shop", &repository)]);
    let nobody = || Client::new(reserve());
    let builder = Bridge::builder(&volume).router_at(&nobody(), &nobody());
    let builder = following(builder, &file, state.root(), &nobody()).flag("allow-local", "/usr/share");
    let ended = builder.run_to_end().await;
    assert_eq!(ended.status.code(), Some(64), "{}", ended.log.text());
    let text = ended.log.text();
    for says in ["3:7", "shop", "--allow-local"] {
        assert!(text.contains(says), "{says:?} is not in {text}");
    }
}
