//! A project that is read from a local folder instead of the volume (`--allow-override`).

use std::path::{Path, PathBuf};

use switchyard_contract::admin::ReloadOutcome;
use switchyard_contract::event::{EventType, Trigger};
use switchyard_integration::client::Reply;
use switchyard_integration::eventually;
use switchyard_integration::fixtures::hello;
use switchyard_integration::router::{Builder, Router, State};
use switchyard_integration::volume::Volume;

/// A folder of a developer, with a project of the name `api` in `my-api`.
fn local() -> Volume {
    Volume::with("my-api", hello("local"))
}

fn allowing(volume: &Volume, local: &Volume) -> Builder {
    Router::builder(volume).flag("allow-override", local.root().display())
}

fn folder(local: &Volume) -> PathBuf {
    local.path("my-api").canonicalize().expect("the folder is there")
}

fn is_marked(reply: &Reply) -> bool {
    reply.header("x-switchyard-override") == Some("1")
}

#[tokio::test]
async fn a_save_in_the_local_folder_is_live_and_the_volume_is_not_read_until_the_override_ends() {
    let (volume, local) = (Volume::with("api", hello("volume")), local());
    let router = allowing(&volume, &local).start().await;
    let mut events = router.events().await;
    events.wait_live("api").await;
    assert!(!is_marked(&router.public.get("/api/").await));

    let report = router.admin.set_override("api", &folder(&local)).await;
    assert_eq!(report.outcome, ReloadOutcome::Live, "{report:?}");
    let reply = router.public.get("/api/").await;
    assert_eq!((reply.text().as_str(), is_marked(&reply)), ("local", true));
    let shown = folder(&local).display().to_string();
    assert_eq!(router.admin.project("api").await.overridden.as_ref(), Some(&shown));
    let set = events.wait_for(EventType::OverrideSet, "api").await;
    assert_eq!(set.data.folder.as_ref(), Some(&shown));
    events.wait_live("api").await;

    volume.write("api/main.ts", hello("ignored"));
    local.write("my-api/main.ts", hello("saved"));
    let live = events.wait_live("api").await;
    assert_eq!(live.data.trigger, Some(Trigger::Watch));
    assert_eq!(router.public.get("/api/").await.text(), "saved");

    let report = router.admin.end_override("api").await;
    assert_eq!(report.outcome, ReloadOutcome::Live, "{report:?}");
    let reply = router.public.get("/api/").await;
    assert_eq!((reply.text().as_str(), is_marked(&reply)), ("ignored", false));
    assert_eq!(router.admin.project("api").await.overridden, None);
    events.wait_for(EventType::OverrideEnded, "api").await;
    volume.write("api/main.ts", hello("volume again"));
    eventually("the volume is watched", || async {
        router.public.get("/api/").await.text() == "volume again"
    })
    .await;
}

#[tokio::test]
async fn an_override_survives_a_restart_until_the_flag_no_longer_allows_it() {
    let (volume, local, state) = (Volume::with("api", hello("volume")), local(), State::new());
    let router = allowing(&volume, &local).state(&state).start().await;
    router.admin.set_override("api", &folder(&local)).await;
    assert!(router.stop().await.status.success());
    let router = allowing(&volume, &local).state(&state).start().await;
    let reply = router.public.get("/api/").await;
    assert_eq!((reply.text().as_str(), is_marked(&reply)), ("local", true));
    local.write("my-api/main.ts", hello("saved"));
    eventually("the save is live", || async { router.public.get("/api/").await.text() == "saved" }).await;
    assert!(router.stop().await.status.success());

    // A broken volume must not bring the local folder back.
    volume.write("api/main.ts", "export default {");
    let router = Router::builder(&volume).state(&state).start().await;
    assert_eq!(router.public.get("/api/").await.status, 503);
    volume.write("api/main.ts", hello("volume"));
    eventually("the volume is served", || async { router.public.get("/api/").await.text() == "volume" })
        .await;
    let log = router.stop().await.log.text();
    assert!(log.contains("the override of api is dropped"), "{log}");
    let router = allowing(&volume, &local).state(&state).start().await;
    assert_eq!(router.public.get("/api/").await.text(), "volume");
}

#[tokio::test]
async fn a_folder_outside_of_the_allowed_ones_is_refused_however_it_is_named() {
    let (volume, local) = (Volume::with("api", hello("volume")), local());
    let outside = Volume::with("secret", hello("secret"));
    let secret = outside.path("secret");
    local.link(&secret, "link");
    let router = allowing(&volume, &local).start().await;
    let dotted = format!("{}/../{}", folder(&local).display(), "..");
    let allowed = local.root().display().to_string();
    for path in [&secret.display().to_string(), &local.path("link").display().to_string(), &dotted, &allowed]
    {
        let problem =
            router.admin.try_override("api", path).await.assert_problem(403, "override-not-allowed");
        assert!(problem["detail"].as_str().unwrap().contains("--allow-override"), "{problem}");
    }
    for path in ["my-api", local.path("gone").to_str().unwrap()] {
        router.admin.try_override("api", path).await.assert_problem(422, "no-folder");
    }
    router.admin.try_override("_api", &secret.display().to_string()).await.assert_problem(400, "bad-request");
    assert_eq!(router.public.get("/api/").await.text(), "volume");

    let router = Router::start(&volume).await;
    let problem = router.admin.try_override("api", folder(&local).to_str().unwrap()).await;
    let problem = problem.assert_problem(403, "override-not-allowed");
    assert!(problem["detail"].as_str().unwrap().contains("allows no overrides"), "{problem}");
}

#[tokio::test]
async fn an_override_that_is_swapped_for_a_link_out_of_its_folder_is_not_followed() {
    let (volume, local) = (Volume::with("api", hello("volume")), local());
    let outside = Volume::with("secret", hello("secret"));
    let router = allowing(&volume, &local).start().await;
    router.admin.set_override("api", &folder(&local)).await;
    local.rename("my-api", "away");
    local.link(outside.path("secret"), "my-api");
    let report = router.admin.reload("api").await;
    assert_eq!(report.outcome, ReloadOutcome::Failed);
    assert!(report.error.unwrap().message.contains("symbolic link"));
    assert_eq!(router.public.get("/api/").await.text(), "local");
}

#[tokio::test]
async fn the_last_good_version_stays_while_the_local_folder_is_missing_and_it_is_seen_when_it_is_back() {
    let (volume, local) = (Volume::with("api", hello("volume")), local());
    let router = allowing(&volume, &local).start().await;
    router.admin.set_override("api", &folder(&local)).await;
    local.rename("my-api", "away");
    eventually("it is failed", || async {
        router.public.get("/api/").await.header("x-switchyard-stale").is_some()
    })
    .await;
    let reply = router.public.get("/api/").await;
    assert_eq!((reply.text().as_str(), is_marked(&reply)), ("local", true));
    let error = router.admin.project("api").await.error.expect("it says why").message;
    assert!(error.contains("the folder of its override is missing"), "{error}");
    local.write("away/main.ts", hello("back"));
    local.rename("away", "my-api");
    eventually("it is back", || async { router.public.get("/api/").await.text() == "back" }).await;
    local.write("my-api/main.ts", hello("saved"));
    eventually("it is watched", || async { router.public.get("/api/").await.text() == "saved" }).await;
}

#[tokio::test]
async fn a_project_that_is_not_on_the_volume_is_there_as_long_as_its_override() {
    let (volume, local) = (Volume::with("other", hello("other")), local());
    let router = allowing(&volume, &local).start().await;
    let report = router.admin.set_override("api", &folder(&local)).await;
    assert_eq!(report.outcome, ReloadOutcome::Live, "{report:?}");
    let reply = router.public.get("/api/").await;
    assert_eq!((reply.text().as_str(), is_marked(&reply)), ("local", true));
    router.admin.reload_all().await;
    assert_eq!(router.public.get("/api/").await.text(), "local");
    assert_eq!(router.admin.end_override("api").await.outcome, ReloadOutcome::Removed);
    router.public.get("/api/").await.assert_problem(404, "unknown-project");
}

#[tokio::test]
async fn includes_lie_beside_the_local_folder_or_on_the_volume() {
    let (volume, local) = (Volume::new(), Volume::new());
    let main = "import one from '../_one/mod.ts';\nimport two from '../_two/mod.ts';\n\
                export default { fetch: () => new Response(`${one} ${two}`) };";
    let config = r#"{"switchyard": {"include": ["../_one", "../_two"]}}"#;
    for folder in ["_one", "_two"] {
        volume.write(&format!("{folder}/mod.ts"), "export default 'volume';");
    }
    local.write("_two/mod.ts", "export default 'local';");
    local.project("my-api").file("main.ts", main).file("deno.json", config).write();
    let router = allowing(&volume, &local).start().await;
    let report = router.admin.set_override("api", &folder(&local)).await;
    assert_eq!(report.outcome, ReloadOutcome::Live, "{report:?}");
    assert_eq!(router.public.get("/api/").await.text(), "volume local");
    local.write("_two/mod.ts", "export default 'saved';");
    eventually("the local include is watched", || async {
        router.public.get("/api/").await.text() == "volume saved"
    })
    .await;
    volume.write("_one/mod.ts", "export default 'changed';");
    eventually("the volume's include is watched", || async {
        router.public.get("/api/").await.text() == "changed saved"
    })
    .await;
}

#[tokio::test]
async fn a_deploy_of_an_overridden_project_is_refused_and_so_is_an_override_during_a_deploy() {
    let (volume, local) = (Volume::with("api", hello("volume")), local());
    let router = allowing(&volume, &local).start().await;
    router.admin.hold("d1", &["api"]).await;
    let path = folder(&local);
    router.admin.try_override("api", path.to_str().unwrap()).await.assert_problem(409, "held");
    router.admin.release("d1").await;
    router.admin.set_override("api", &path).await;
    let problem = router.admin.try_hold("d2", &["api"]).await.assert_problem(409, "overridden");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("switchyard source dev NAME --disable"), "{detail}");
    router.admin.end_override("api").await;
    router.admin.hold("d2", &["api"]).await;
}

#[tokio::test]
async fn a_folder_of_the_flag_that_is_missing_or_relative_stops_the_start() {
    let volume = Volume::new();
    let missing = volume.path("gone").display().to_string();
    for (folder, says) in [(missing.as_str(), "create it"), ("dev", "not an absolute path")] {
        assert!(Path::new(folder).is_relative() || !Path::new(folder).exists());
        let ended = Router::builder(&volume).flag("allow-override", folder).run_to_end().await;
        assert_eq!(ended.status.code(), Some(64));
        let log = ended.log.text();
        assert!(log.contains("--allow-override") && log.contains(says), "{log}");
    }
}
