//! `switchyard serve`: a router and a bridge in one process.

use std::net::TcpListener;

use http::Method;
use rustix::process::Signal;
use serde_json::Value;
use switchyard_contract::deploy::DeployOutcome;
use switchyard_integration::bridge::record::Record;
use switchyard_integration::client::{self, request, with_header, with_method};
use switchyard_integration::fixtures::{hello, lasting, slow};
use switchyard_integration::serve::{Builder, Serve};
use switchyard_integration::upload::Upload;
use switchyard_integration::volume::Volume;
use switchyard_integration::{eventually, within};

const EX_USAGE: i32 = 64;

#[tokio::test]
async fn projects_of_the_folder_are_served_and_deploys_go_live_and_back() {
    let volume = Volume::with("a", hello("one"));
    let serve = Serve::builder(&volume).start().await;
    assert_eq!(serve.public.get("/a/").await.text(), "one");
    eventually("the bridge has the router's first event", || async {
        let events = serve.api.get("/events").await.json();
        events["events"]
            .as_array()
            .is_some_and(|events| events.iter().any(|event| event["data"]["sequence"] == 1))
    })
    .await;
    volume.replace("a/main.ts", hello("two"));
    eventually("a saved file is live", || async { serve.public.get("/a/").await.text() == "two" }).await;
    let first = serve.deploy_live("b", &Upload::main(hello("first"))).await;
    assert_eq!(serve.public.get("/b/").await.text(), "first");
    serve.deploy_live("b", &Upload::main(hello("second"))).await;
    assert_eq!(serve.public.get("/b/").await.text(), "second");
    let broken = Upload::main("export default {").to("/deploy/b");
    let refused = serve.api.send(broken).await;
    assert!(refused.status == 422 && refused.text().contains("does not build"), "{}", refused.text());
    assert_eq!(serve.public.get("/b/").await.text(), "second");
    let back = Record::of(&serve.api.send(with_method(Method::POST, "/projects/b/rollback")).await);
    assert_eq!((back.outcome, back.digest()), (Some(DeployOutcome::Live), first.digest()), "{back:#?}");
    assert_eq!(serve.public.get("/b/").await.text(), "first");
    assert!(serve.stop().await.status.success());
}

/// The place of the first record whose message contains the text.
fn position(records: &[Value], text: &str) -> usize {
    let is_it = |record: &Value| record["message"].as_str().is_some_and(|message| message.contains(text));
    records.iter().position(is_it).unwrap_or_else(|| panic!("{text:?} is not in {records:#?}"))
}

#[tokio::test]
async fn sigterm_ends_the_bridge_before_the_router_and_loses_neither_deploys_nor_requests() {
    let volume = Volume::with("a", lasting("one"));
    let serve = Serve::builder(&volume).start().await;
    let (upload, waiting) = client::Upload::post("/a/wait");
    let public = serve.public.clone();
    let held = tokio::spawn(async move { public.send(waiting).await });
    eventually("it is in flight", || async { serve.admin.project("a").await.in_flight == 1 }).await;
    let api = serve.api.clone();
    let deploy =
        tokio::spawn(
            async move { Record::of(&api.send(Upload::main(slow("new", 1_500)).to("/deploy/b")).await) },
        );
    eventually("the deploy has begun", || async { volume.path("b/main.ts").exists() }).await;
    serve.signal(Signal::TERM);
    serve.logged("no new deploys").await;
    assert_eq!(serve.public.get("/a/").await.text(), "one", "the router serves until the bridge has stopped");
    let deploy = within("the deploy's outcome", deploy).await.unwrap();
    assert_eq!(deploy.outcome, Some(DeployOutcome::Live), "{deploy:#?}");
    serve.logged("no new connections").await;
    upload.end();
    assert_eq!(within("the request's response", held).await.unwrap().text(), "one");
    let ended = serve.ended().await;
    assert!(ended.status.success());
    let records = ended.log.records();
    let order = ["no new deploys", "stopped", "no new connections"].map(|text| position(&records, text));
    assert!(order.is_sorted(), "{records:#?}");
    let stopped = records.iter().filter(|record| record["message"] == "stopped").count();
    assert_eq!(stopped, 2, "{records:#?}");
}

#[tokio::test]
async fn a_second_signal_ends_both_at_once_whichever_is_stopping() {
    let volume = Volume::with("a", lasting("one"));
    let serve = Serve::builder(&volume).flag("deploy-timeout", "1m").flag("grace", "10m").start().await;
    let (_upload, waiting) = client::Upload::post("/a/wait");
    let public = serve.public.clone();
    let _held = tokio::spawn(async move { public.send(waiting).await });
    eventually("it is in flight", || async { serve.admin.project("a").await.in_flight == 1 }).await;
    serve.signal(Signal::TERM);
    serve.logged("no new connections").await;
    serve.signal(Signal::INT);
    let ended = serve.ended().await;
    assert!(ended.status.success());
    assert!(ended.log.text().contains("stopping at once"), "{}", ended.log.text());

    let serve = Serve::builder(&volume)
        .flag("deploy-timeout", "1m")
        .flag("build-timeout", "10m")
        .flag("grace", "10m")
        .start()
        .await;
    let api = serve.api.clone();
    let _deploy =
        tokio::spawn(async move { api.send(Upload::main(slow("never", 600_000)).to("/deploy/b")).await });
    eventually("the deploy has begun", || async { volume.path("b/main.ts").exists() }).await;
    serve.signal(Signal::INT);
    serve.logged("no new deploys").await;
    serve.signal(Signal::TERM);
    assert!(serve.ended().await.status.success());
}

#[tokio::test]
async fn wrong_settings_of_both_parts_are_reported_together() {
    let volume = Volume::new();
    let flags = Serve::builder(&volume).flag("debounce", "soon").flag("quorum", 0).flag("max-head", "huge");
    let ended = flags.flag("api", "0.0.0.0:0").flag("event-url", "ftp://x").run_to_end().await;
    let text = ended.log.text();
    assert_eq!(ended.status.code(), Some(EX_USAGE), "{text}");
    for problem in ["--debounce: ", "--quorum: ", "--max-head: ", "--api: 0.0.0.0:0 is", "--event-url: "] {
        assert!(text.contains(problem), "{problem:?} is not in:\n{text}");
    }

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let missing = volume.path("missing");
    let ended = Builder::for_projects(&missing)
        .flag("policy", volume.path("no-policy").display())
        .flag("token-file", volume.path("no-tokens").display())
        .flag("api", address)
        .run_to_end()
        .await;
    let text = ended.log.text();
    assert_eq!(ended.status.code(), Some(EX_USAGE), "{text}");
    for problem in ["--policy: ", "--token-file: ", "--api: ", "is already in use", "--projects: "] {
        assert!(text.contains(problem), "{problem:?} is not in:\n{text}");
    }
    assert_eq!(text.matches("--projects: ").count(), 1, "{text}");
    assert!(!text.contains("--router"), "settings that serve does not have:\n{text}");
}

#[tokio::test]
async fn the_bridge_reaches_an_admin_listener_that_needs_tokens() {
    const TOKEN: &str = "one-0123456789abcdef";
    let volume = Volume::with("a", hello("one"));
    volume.write("_tokens", format!("{TOKEN}\n"));
    let builder = Serve::builder(&volume).flag("admin-token-file", volume.path("_tokens").display());
    let serve = builder.start().await;
    let admin = &serve.admin.client;
    admin.get("/projects").await.assert_problem(401, "unauthorized");
    let as_operator = || with_header(request("/projects"), "authorization", &format!("Bearer {TOKEN}"));
    assert_eq!(admin.send(as_operator()).await.status, 200);
    serve.deploy_live("b", &Upload::main(hello("new"))).await;
    assert_eq!(serve.public.get("/b/").await.text(), "new");
    serve.signal(Signal::HUP);
    serve.logged("reloaded --admin-token-file").await;
    assert_eq!(admin.send(as_operator()).await.status, 200);
    serve.deploy_live("b", &Upload::main(hello("newer"))).await;
    assert_eq!(serve.public.get("/b/").await.text(), "newer");
}

#[tokio::test]
async fn a_restart_keeps_the_last_good_versions_and_the_records_of_deploys() {
    let volume = Volume::with("a", hello("one"));
    let builder = Serve::builder(&volume);
    let serve = builder.start().await;
    let deploy = serve.deploy_live("b", &Upload::main(hello("deployed"))).await;
    let path = format!("/deploys/{}", deploy.deploy);
    let before = serve.api.get(&path).await.json();
    assert_eq!(serve.public.get("/a/").await.text(), "one");
    assert!(serve.stop().await.status.success());

    volume.replace("a/main.ts", "export default {");
    let serve = builder.start().await;
    assert_eq!(serve.public.get("/a/").await.text(), "one");
    assert_eq!(serve.public.get("/b/").await.text(), "deployed");
    assert_eq!(serve.api.get(&path).await.json(), before);
}
