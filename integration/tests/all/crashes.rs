//! A project that ends its own process, and its neighbours.

use switchyard_contract::event::{DeathReason, EventType};
use switchyard_integration::client::{Upload, post};
use switchyard_integration::fixtures::{hello, lasting};
use switchyard_integration::probe::Probe;
use switchyard_integration::receiver::Receiver;
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;
use switchyard_integration::{eventually, within};

/// Serves a project that crashes on request. It must answer again, and no other project may notice.
async fn dies(how: &str) {
    let main = format!(
        "function fetch(request) {{
            if (request.url.endsWith('/die')) {{ {how} }}
            return new Response('one');
        }}
        export default {{ fetch }};"
    );
    let volume = Volume::with("a", main);
    volume.project("b").file("main.ts", hello("b")).write();
    let router = Router::start(&volume).await;
    assert_eq!(router.public.get("/a/").await.text(), "one");
    let neighbour = Probe::start(&router.public, "/b/").await;
    let pid = router.admin.project("b").await.pid;
    let reply = router.public.get("/a/die").await;
    reply.assert_problem(502, "cell-died");
    let version = router.admin.project("a").await.live.expect("it is live").version;
    let requests = router.admin.client.get("/projects/a/requests").await.json();
    let died =
        requests["requests"].as_array().expect("a list").iter().find(|request| request["status"] == 502);
    assert_eq!(died.map(|died| &died["version"]), Some(&version.into()), "{requests}");
    assert_eq!(router.public.get("/a/").await.text(), "one", "the next request waits for the next cell");
    assert_eq!(router.admin.project("b").await.pid, pid);
    neighbour.finish().await.no_failures().versions_monotonic(&["b"]);
}

#[tokio::test]
async fn an_exit_in_a_handler() {
    dies("Deno.exit(7);").await;
}

#[tokio::test]
async fn an_abort_of_v8_in_a_handler() {
    dies("'x'.repeat(2 ** 28).split('');").await;
}

#[tokio::test]
async fn a_kill_of_the_own_process() {
    dies("Deno.kill(Deno.pid, 'SIGKILL'); while (true);").await;
}

#[tokio::test]
async fn an_unhandled_rejection() {
    dies("Promise.reject(new Error('dropped')); return new Promise(() => {});").await;
}

#[tokio::test]
async fn an_endless_loop_in_a_handler_is_a_timeout_and_no_business_of_the_neighbour() {
    let volume = Volume::with("a", "export default { fetch: () => { for (;;); } };");
    volume.project("b").file("main.ts", hello("b")).write();
    let router = Router::builder(&volume).flag("request-timeout", 500).start().await;
    let mut events = router.events().await;
    events.wait_live("a").await;
    let neighbour = Probe::start(&router.public, "/b/").await;
    router.public.get("/a/").await.assert_problem(504, "timeout");
    // The loop still runs; a new version must get through all the same.
    volume.replace("a/main.ts", hello("mended"));
    events.wait_live("a").await;
    assert_eq!(router.public.get("/a/").await.text(), "mended");
    neighbour.finish().await.no_failures().versions_monotonic(&["b"]);
}

#[tokio::test]
async fn the_log_names_the_crashed_version_and_the_reason() {
    let volume = Volume::with("a", "export default { fetch: () => Deno.exit(7) };");
    let router = Router::start(&volume).await;
    let version = router.admin.project("a").await.live.expect("a is live").version;
    router.public.get("/a/").await.assert_problem(502, "cell-died");
    let logged = router.log.wait_for(|record| {
        let text = record.to_string();
        text.contains(&version) && text.contains('7') && record["level"] != "INFO"
    });
    assert!(within("it is logged", logged).await.is_some());
}

/// [`lasting`], with a request that ends it.
fn mortal(how: &str) -> String {
    lasting("one").replacen(
        "const { pathname } = new URL(request.url);",
        &format!("const {{ pathname }} = new URL(request.url);\n  if (pathname === \"/die\") {{ {how} }}"),
        1,
    )
}

/// The reports about a cell that crashes this way.
async fn death_after(how: &str) -> (DeathReason, Option<i32>, Option<i32>) {
    let volume = Volume::with("a", mortal(how));
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    let pid = router.admin.project("a").await.pid;
    let _ = router.public.get("/a/die").await;
    let died = events.wait_for(EventType::CellDied, "a").await;
    let status = router.admin.project("a").await;
    let shown = status.crashes.first().expect("it is shown");
    let death = died.data.death.expect("it says how");
    assert_eq!((Some(&shown.version), &shown.death), (died.data.version.as_ref(), &death));
    assert_eq!(death.restart_ms, Some(0));
    let label = format!("reason=\"{}\"", death.reason.as_str());
    assert_eq!(router.admin.metric("switchyard_cells_died_total", &label).await, Some(1.0));
    assert_eq!(router.public.get("/a/").await.text(), "one");
    assert_ne!(router.admin.project("a").await.pid, pid);
    (death.reason, death.code, death.signal)
}

#[tokio::test]
async fn an_exit_is_told_with_its_code() {
    assert_eq!(death_after("Deno.exit(7);").await, (DeathReason::Exit, Some(7), None));
}

#[tokio::test]
async fn an_abort_is_reported_as_an_abort() {
    let how = "(await import('node:process')).default.abort();";
    assert_eq!(death_after(how).await, (DeathReason::Abort, None, Some(6)));
}

#[tokio::test]
async fn a_throw_after_the_answer_is_reported_as_an_exit() {
    let how = "setTimeout(() => { throw new Error('late'); }); return new Response('bye');";
    assert_eq!(death_after(how).await, (DeathReason::Exit, Some(1), None));
}

#[tokio::test]
async fn a_crash_ends_all_requests_in_the_cell_at_once_and_reports_their_number() {
    let volume = Volume::with("a", mortal("Deno.exit(7);"));
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    let held = [(); 2].map(|()| {
        let (upload, request) = Upload::post("/a/wait");
        let client = router.public.clone();
        (upload, tokio::spawn(async move { client.send(request).await }))
    });
    let (upload, request) = Upload::post("/a/echo");
    upload.send("1").await;
    let mut connection = router.public.connect().await;
    let mut stream = connection.stream(request).await;
    assert_eq!(stream.next().await.as_deref(), Some("one 1"));
    eventually("all are in flight", || async { router.admin.project("a").await.in_flight == 3 }).await;
    router.public.get("/a/die").await.assert_problem(502, "cell-died");
    for (_upload, reply) in held {
        within("its end", reply).await.unwrap().assert_problem(502, "cell-died");
    }
    let rest = within("the stream's end", stream.try_next()).await;
    assert!(rest.is_some_and(|rest| rest.is_err()), "a response that is cut off does not look complete");
    let died = events.wait_for(EventType::CellDied, "a").await;
    assert_eq!(died.data.death.map(|death| death.in_flight), Some(4));
    assert_eq!(events.count(EventType::VersionRetired, "a"), 0);
}

#[tokio::test]
async fn after_each_death_the_next_request_is_answered() {
    let volume = Volume::with("a", mortal("Deno.exit(7);"));
    let router = Router::start(&volume).await;
    let mut connection = router.public.connect().await;
    for _ in 0..4 {
        connection.get("/a/die").await.assert_problem(502, "cell-died");
        assert_eq!(connection.get("/a/").await.text(), "one");
        assert_eq!(connection.send(post("/a/wait", "x")).await.text(), "one");
    }
}

#[tokio::test]
async fn a_crash_while_draining_is_not_reported() {
    let dies =
        "export default { fetch: async (request) => { if (await request.text() === 'die') Deno.exit(3); } };";
    let volume = Volume::with("a", dies);
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    events.wait_live("a").await;
    let (upload, request) = Upload::post("/a/");
    let client = router.public.clone();
    let held = tokio::spawn(async move { client.send(request).await });
    eventually("it is in flight", || async { router.admin.project("a").await.in_flight == 1 }).await;
    volume.replace("a/main.ts", hello("two"));
    events.wait_live("a").await;
    upload.send("die").await;
    upload.end();
    within("its end", held).await.unwrap().assert_problem(502, "cell-died");
    events.wait_retired("a").await;
    assert_eq!(events.count(EventType::CellDied, "a"), 0);
    assert_eq!(router.admin.project("a").await.crashes, []);
    assert_eq!(router.public.get("/a/").await.text(), "two");
}

#[tokio::test]
async fn the_ingress_is_notified_of_a_crash() {
    let mut receiver = Receiver::start().await;
    let volume = Volume::with("a", "export default { fetch: () => Deno.exit(7) };");
    let router = Router::builder(&volume)
        .flag("event-url", &receiver.url)
        .flag("event-secret-file", receiver.secret_file.path().display())
        .start()
        .await;
    router.public.get("/a/").await.assert_problem(502, "cell-died");
    let died = receiver.until(|event| event.kind == EventType::CellDied).await.pop().unwrap();
    let death = died.data.death.unwrap();
    assert_eq!((death.reason, death.code, death.in_flight), (DeathReason::Exit, Some(7), 1));
}
