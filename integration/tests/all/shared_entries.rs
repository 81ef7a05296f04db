//! Deploys that change a folder or file beside the projects: the projects that include it are held,
//! and go live by the deploy alone.

use serde_json::json;
use switchyard_contract::admin::{ProjectState, ReloadOutcome, Report};
use switchyard_contract::event::EventType;
use switchyard_integration::events::Events;
use switchyard_integration::fixtures::hello;
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;

/// The folder of a deploy's new files.
const STAGED: &str = ".switchyard-bridge/staging/d/new";

const MAIN: &str = "import { label } from '../_shared/mod.ts';\nimport config from '../data.json' with { type: 'json' };\n\
                    export default { fetch: () => new Response(`${label} ${config.text}`) };\n";

fn write_shared(volume: &Volume, folder: &str, label: &str) {
    volume.write(&format!("{folder}_shared/mod.ts"), format!("export const label = {label:?};\n"));
    volume.write(&format!("{folder}data.json"), json!({ "text": label }).to_string());
}

/// Projects `a` and `b` that include a folder and a file, and one that does not.
async fn sharing() -> (Volume, Router, Events) {
    let volume = Volume::new();
    write_shared(&volume, "", "one");
    for project in ["a", "b"] {
        let config = json!({ "switchyard": { "include": ["../_shared", "../data.json"] } });
        volume.project(project).file("main.ts", MAIN).file("deno.json", config.to_string()).write();
    }
    volume.project("other").file("main.ts", hello("other")).write();
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    for project in ["a", "b", "other"] {
        events.wait_live(project).await;
    }
    (volume, router, events)
}

/// Exchanges both shared entries with the staged ones.
fn swap(volume: &Volume) {
    volume.exchange("_shared", &format!("{STAGED}/_shared"));
    volume.exchange("data.json", &format!("{STAGED}/data.json"));
}

/// Returns when the router has seen every change up to now.
async fn all_is_seen(volume: &Volume, events: &mut Events) {
    volume.project("zzz").file("main.ts", hello("seen")).move_in();
    events.wait_live("zzz").await;
    volume.remove("zzz");
    events.wait_removed("zzz").await;
}

async fn texts(router: &Router) -> [String; 2] {
    [router.public.get("/a/").await.text(), router.public.get("/b/").await.text()]
}

fn outcomes(reports: &[Report]) -> Vec<(&str, ReloadOutcome)> {
    reports.iter().map(|report| (report.project.as_str(), report.outcome)).collect()
}

fn counts(events: &Events, project: &str) -> [usize; 2] {
    [EventType::ReloadLive, EventType::ReloadFailed].map(|kind| events.count(kind, project))
}

#[tokio::test]
async fn projects_that_include_what_a_deploy_exchanges_go_live_by_the_deploy_alone() {
    let (volume, router, mut events) = sharing().await;
    for (round, label) in ["two", "three"].into_iter().enumerate() {
        let before = texts(&router).await;
        router.admin.hold("d", &["a", "b"]).await;
        write_shared(&volume, &format!("{STAGED}/"), label);
        swap(&volume);
        all_is_seen(&volume, &mut events).await;
        assert_eq!(texts(&router).await, before, "nothing is published by the watch");
        let built = router.admin.build("d").await;
        assert_eq!(outcomes(&built), [("a", ReloadOutcome::Built), ("b", ReloadOutcome::Built)]);
        assert!(built.iter().all(|report| report.own_digest.is_some() && report.own_digest != report.digest));
        assert_eq!(texts(&router).await, before);
        let live = router.admin.publish("d").await;
        assert_eq!(outcomes(&live), [("a", ReloadOutcome::Live), ("b", ReloadOutcome::Live)]);
        for project in ["a", "b"] {
            events.wait_live(project).await;
        }
        let text = format!("{label} {label}");
        assert_eq!(texts(&router).await, [text.clone(), text]);
        volume.remove(STAGED);
        all_is_seen(&volume, &mut events).await;
        for project in ["a", "b"] {
            assert_eq!(counts(&events, project), [round + 2, 0], "{project} goes live once by each deploy");
        }
    }
    assert_eq!(counts(&events, "other"), [1, 0]);
    // What was put in place is watched.
    volume.replace("_shared/mod.ts", "export const label = 'four';\n");
    events.wait_live("a").await;
    events.wait_live("b").await;
    volume.replace("data.json", json!({ "text": "five" }).to_string());
    events.wait_live("a").await;
    events.wait_live("b").await;
    assert_eq!(texts(&router).await, ["four five", "four five"]);
}

#[tokio::test]
async fn a_deploy_of_a_shared_folder_that_fails_leaves_no_trace_but_its_reports() {
    let (volume, router, mut events) = sharing().await;
    let before = [router.admin.project("a").await.live, router.admin.project("b").await.live];
    router.admin.hold("d", &["a", "b"]).await;
    write_shared(&volume, &format!("{STAGED}/"), "two");
    volume.write(&format!("{STAGED}/_shared/mod.ts"), "export const = 1;\n");
    swap(&volume);
    let failed = router.admin.build("d").await;
    assert_eq!(outcomes(&failed), [("a", ReloadOutcome::Failed), ("b", ReloadOutcome::Failed)]);
    let error = failed[0].error.as_ref().unwrap();
    assert_eq!((error.file.as_deref(), error.line), (Some("../_shared/mod.ts"), Some(1)));
    swap(&volume);
    assert_eq!(router.admin.release("d").await.status, 204);
    volume.remove(STAGED);
    all_is_seen(&volume, &mut events).await;
    for (project, before) in ["a", "b"].into_iter().zip(before) {
        let status = router.admin.project(project).await;
        assert_eq!(
            (status.state, status.live, status.error),
            (ProjectState::Live, before, None),
            "{project}"
        );
        assert_eq!(counts(&events, project), [1, 0], "{project} is not reloaded");
    }
    assert_eq!(texts(&router).await, ["one one", "one one"]);
    // The folder that came back is watched.
    volume.replace("_shared/mod.ts", "export const label = 'own';\n");
    events.wait_live("a").await;
    events.wait_live("b").await;
    assert_eq!(texts(&router).await, ["own one", "own one"]);
}

#[tokio::test]
async fn a_shared_entry_that_a_deploy_removes_while_a_project_includes_it_is_its_failure() {
    let (volume, router, mut events) = sharing().await;
    router.admin.hold("d", &["a", "b"]).await;
    volume.write(&format!("{STAGED}/x"), "");
    volume.rename("data.json", &format!("{STAGED}/data.json"));
    let failed = router.admin.build("d").await;
    assert_eq!(outcomes(&failed), [("a", ReloadOutcome::Failed), ("b", ReloadOutcome::Failed)]);
    assert!(failed[0].error.as_ref().unwrap().message.contains("\"../data.json\", which does not exist"));
    volume.rename(&format!("{STAGED}/data.json"), "data.json");
    assert_eq!(router.admin.release("d").await.status, 204);
    all_is_seen(&volume, &mut events).await;
    for project in ["a", "b"] {
        assert_eq!(counts(&events, project), [1, 0], "{project}");
    }
}
