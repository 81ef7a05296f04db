//! Lifecycle options of projects: health checks before publishing, idle timeouts, and the number of
//! cells.

use switchyard_contract::admin::{ProjectState, ReloadOutcome};
use switchyard_integration::client::Upload;
use switchyard_integration::eventually;
use switchyard_integration::fixtures::{hello, lasting};
use switchyard_integration::probe::Probe;
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;

const CHECKED: &str = r#"{"switchyard": {"healthcheck": "/healthz?deep"}}"#;

/// Answers with the label, and to the health check with the result of `check`.
fn checked(label: &str, check: &str) -> String {
    format!(
        "export default {{ fetch(request, info) {{
            const {{ pathname, search, host }} = new URL(request.url);
            if (pathname === '/healthz') {{ {check} }}
            return new Response({label:?});
        }} }};"
    )
}

#[tokio::test]
async fn a_version_that_is_not_well_is_not_published() {
    let volume = Volume::with("a", checked("one", "return new Response(null, { status: 204 });"));
    volume.write("a/deno.json", CHECKED);
    let router = Router::builder(&volume).unwatched().start().await;
    let probe = Probe::start(&router.public, "/a/").await;
    for (check, said) in [
        ("return new Response('no', { status: 503 });", "answered 503 Service Unavailable"),
        ("return Response.redirect('http://a.localhost/');", "answered 302 Found"),
        ("Deno.exit(3);", "was not answered"),
    ] {
        volume.write("a/main.ts", checked("two", check));
        let report = router.admin.reload("a").await;
        let error = report.error.unwrap();
        assert_eq!((report.outcome, error.file.as_deref()), (ReloadOutcome::Failed, Some("deno.json")));
        let begin = format!("the health check GET /healthz?deep {said}");
        assert!(error.message.starts_with(&begin), "{}", error.message);
    }
    volume.write("a/main.ts", checked("three", "return new Response('fine');"));
    assert_eq!(router.admin.reload("a").await.outcome, ReloadOutcome::Live);
    probe.finish().await.no_failures().none_mixed().versions_monotonic(&["one", "three"]);
}

#[tokio::test]
async fn a_health_check_that_is_not_answered_ends_with_the_build() {
    let volume = Volume::with("a", checked("one", "return new Promise(() => {});"));
    volume.write("a/deno.json", CHECKED);
    volume.project("b").file("main.ts", hello("b")).write();
    let router = Router::builder(&volume).flag("build-timeout", 1000).start().await;
    let error = router.admin.project("a").await.error.unwrap();
    assert!(error.message.contains("left of --build-timeout"), "{}", error.message);
    assert_eq!(router.public.get("/b/").await.text(), "b");
}

#[tokio::test]
async fn the_health_check_looks_like_a_request() {
    let check = "const seen = [
            request.method, host, search, request.headers.get('host'), request.headers.get('x-forwarded-host'),
            request.headers.get('x-forwarded-proto'), request.headers.get('x-forwarded-for'), info.remoteAddr.hostname,
        ].join(' ');
        const wanted = 'GET a.localhost ?deep a.localhost a.localhost http 127.0.0.1 127.0.0.1';
        if (seen !== wanted) console.log(seen);
        return new Response(null, { status: seen === wanted ? 200 : 500 });";
    let volume = Volume::with("a", checked("one", check));
    volume.write("a/deno.json", CHECKED);
    let router = Router::builder(&volume).unwatched().start().await;
    assert_eq!(router.public.get("/a/").await.text(), "one", "{:?}", router.admin.project("a").await.error);
}

#[tokio::test]
async fn an_idle_process_ends_and_the_next_request_has_another_one_started() {
    let volume = Volume::with("a", hello("a"));
    volume.write("a/deno.json", r#"{"switchyard": {"idle": 1}}"#);
    volume.project("b").file("main.ts", hello("b")).write();
    let router = Router::start(&volume).await;
    let (first, other) = (router.admin.project("a").await.pid, router.admin.project("b").await.pid);
    assert!(first.is_some());
    eventually("it is idle", || async { router.admin.project("a").await.state == ProjectState::Idle }).await;
    assert_eq!(router.admin.project("a").await.pid, None);
    assert_eq!(router.public.get("/a/").await.text(), "a");
    let again = router.admin.project("a").await;
    assert_eq!(again.state, ProjectState::Live);
    assert!(again.pid.is_some() && again.pid != first);
    assert_eq!(again.crashes.len(), 0);
    assert_eq!(
        router.admin.project("b").await.pid,
        other,
        "a project without that setting keeps its process"
    );
}

#[tokio::test]
async fn a_process_with_a_request_in_it_is_not_idle() {
    let volume = Volume::with("a", lasting("a"));
    volume.project("b").file("main.ts", hello("b")).write();
    for project in ["a", "b"] {
        volume.write(&format!("{project}/deno.json"), r#"{"switchyard": {"idle": "1s"}}"#);
    }
    let router = Router::start(&volume).await;
    let (upload, request) = Upload::post("/a/wait");
    let public = router.public.clone();
    let waiting = tokio::spawn(async move { public.send(request).await });
    eventually("the request is in", || async { router.admin.project("a").await.in_flight == 1 }).await;
    // The last request of this project comes after the other's: if it is idle, the other one would
    // be too.
    assert_eq!(router.public.get("/b/").await.text(), "b");
    eventually("the other is idle", || async { router.admin.project("b").await.state == ProjectState::Idle })
        .await;
    assert_eq!(router.admin.project("a").await.state, ProjectState::Live);
    drop(upload);
    assert_eq!(waiting.await.unwrap().text(), "a");
    eventually("it is idle, too", || async { router.admin.project("a").await.state == ProjectState::Idle })
        .await;
}

/// Answers with its process id; `/wait` does so at the end of the request's body, `/die` never.
const WHO: &str = "export default { async fetch(request) {
        const { pathname } = new URL(request.url);
        if (pathname === '/die') Deno.exit(1);
        if (pathname === '/wait') await request.text();
        return new Response(String(Deno.pid));
    } };";

fn three_times(volume: &Volume) {
    volume.write("a/deno.json", r#"{"switchyard": {"cells": 3}}"#);
}

async fn pid_of_server(router: &Router) -> u32 {
    router.public.get("/a/").await.text().parse().expect("it answers its process")
}

async fn pids(router: &Router) -> Vec<u32> {
    router.admin.project("a").await.pids
}

#[tokio::test]
async fn requests_go_to_the_process_with_the_fewest_in_it_and_else_by_turns() {
    let volume = Volume::with("a", WHO);
    three_times(&volume);
    let router = Router::start(&volume).await;
    let status = router.admin.project("a").await;
    assert_eq!((status.pids.len(), status.pid), (3, status.pids.first().copied()));
    let mut answered = Vec::new();
    for _ in 0..3 {
        answered.push(pid_of_server(&router).await);
    }
    answered.sort_unstable();
    let mut all = status.pids.clone();
    all.sort_unstable();
    assert_eq!(answered, all, "each in its turn");

    let mut waiting = Vec::new();
    for index in 0..2 {
        let (upload, request) = Upload::post("/a/wait");
        let public = router.public.clone();
        waiting.push((upload, tokio::spawn(async move { public.send(request).await.text() })));
        eventually("it is in", || async { router.admin.project("a").await.in_flight == index + 1 }).await;
    }
    let free = pid_of_server(&router).await;
    for _ in 0..5 {
        // An answer is received a moment before its request stops being counted.
        eventually("only those that wait are in", || async {
            router.admin.project("a").await.in_flight == 2
        })
        .await;
        assert_eq!(pid_of_server(&router).await, free);
    }
    let mut seen = vec![free];
    for (upload, answer) in waiting {
        drop(upload);
        seen.push(answer.await.unwrap().parse().unwrap());
    }
    seen.sort_unstable();
    assert_eq!(seen, all);
}

#[tokio::test]
async fn a_process_that_dies_is_replaced_while_the_others_serve() {
    let volume = Volume::with("a", WHO);
    three_times(&volume);
    let router = Router::start(&volume).await;
    let before = pids(&router).await;
    router.public.get("/a/die").await.assert_problem(502, "cell-died");
    for _ in 0..10 {
        assert!(pid_of_server(&router).await > 0);
    }
    // A process counts as one of the version's until its last output was read.
    eventually("three cells run again", || async {
        let status = router.admin.project("a").await;
        status.crashes.len() == 1 && status.pids.len() == 3
    })
    .await;
    let status = router.admin.project("a").await;
    assert_eq!((status.state, status.crashes.len()), (ProjectState::Live, 1));
    assert_eq!(status.pids.iter().filter(|pid| before.contains(pid)).count(), 2);
}

#[tokio::test]
async fn all_processes_of_a_version_take_over_from_all_of_the_one_before() {
    let volume = Volume::with("a", hello("one"));
    three_times(&volume);
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    events.wait_live("a").await;
    let before = pids(&router).await;
    let probe = Probe::with_connections(&router.public, "/a/", 4).await;
    volume.write("a/main.ts", hello("two"));
    events.wait_live("a").await;
    let after = pids(&router).await;
    assert!(after.len() == 3 && after.iter().all(|pid| !before.contains(pid)));
    events.wait_retired("a").await;
    probe.pass(8).await;
    probe.finish().await.no_failures().none_mixed().versions_monotonic(&["one", "two"]);
    for pid in before {
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "{pid} has ended");
    }
    volume.write("a/main.ts", "throw new Error('on purpose');");
    events.wait_failed("a").await;
    assert_eq!(pids(&router).await, after);
    volume.remove("a");
    events.wait_removed("a").await;
}

#[tokio::test]
async fn processes_are_as_many_as_the_operator_allows_and_idle_together() {
    let volume = Volume::with("a", hello("a"));
    volume.write("a/deno.json", r#"{"switchyard": {"cells": 9, "idle": 1}}"#);
    let policy = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(policy.path(), "[defaults.limits]\ncells = 2\n").unwrap();
    let router = Router::builder(&volume).flag("policy", policy.path().display()).start().await;
    assert_eq!(pids(&router).await.len(), 2);
    eventually("it is idle", || async { router.admin.project("a").await.state == ProjectState::Idle }).await;
    assert_eq!(router.public.get("/a/").await.text(), "a");
    assert_eq!(pids(&router).await.len(), 2);
}
