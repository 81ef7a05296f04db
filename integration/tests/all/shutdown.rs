//! The end of a process as seen by its project: handlers of SIGTERM, `beforeunload`, `beforeExit`,
//! `unload` and `exit`, at a replacement, when the process is idle, and when the router stops.

use rustix::process::Signal;
use serde_json::Value;
use switchyard_contract::admin;
use switchyard_contract::event::{Event, EventType};
use switchyard_integration::client::{Client, Upload};
use switchyard_integration::fixtures::hello;
use switchyard_integration::probe::Probe;
use switchyard_integration::router::{Router, State};
use switchyard_integration::volume::Volume;
use switchyard_integration::{eventually, within};

/// Logged if a process takes longer to end than it may.
const UNFINISHED: &str = "its handlers of SIGTERM";

/// A project that records events in `DATA_DIR` with `note`, answers with the notes of all its
/// processes, and does `more`.
fn noting(more: &str) -> String {
    format!(
        "import fs from 'node:fs';\nimport http from 'node:http';\nimport process from 'node:process';\n\
         const file = `${{process.env.DATA_DIR}}/notes`;\n\
         const note = (text) => fs.appendFileSync(file, `${{text}} `);\n\
         const notes = () => fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : '';\n\
         const later = (ms) => new Promise((done) => setTimeout(done, ms));\n{more}\n"
    )
}

/// The same, served by `Deno.serve`, with every kind of handler for the end.
fn listening(more: &str) -> String {
    noting(&format!(
        "addEventListener('beforeunload', () => note('beforeunload'));\n\
         addEventListener('unload', () => note('unload'));\n\
         process.on('exit', () => note('exit'));\n{more}\n\
         Deno.serve(() => new Response(notes()));"
    ))
}

async fn notes(client: &Client) -> String {
    client.get("/a/").await.text().trim().to_owned()
}

async fn noted(client: &Client, expected: &str) {
    eventually(&format!("{expected:?} is noted"), || async { notes(client).await == expected }).await;
}

/// Replaces project `a` once it is live, and waits until the old version's process has ended.
async fn replace(volume: &Volume, router: &Router, main: &str) {
    let old = router.public.get("/a/").await.version().map(str::to_owned);
    let mut events = router.events().await;
    volume.replace("a/main.ts", main);
    let is_old = |event: &Event| event.kind == EventType::VersionRetired && event.data.version == old;
    events.wait("the old version is retired", is_old).await;
}

fn was_logged(router: &Router, text: &str) -> bool {
    router.log.lines().iter().any(|line| line.contains(text))
}

#[tokio::test]
async fn handlers_of_sigterm_run_at_a_replacement_and_their_work_is_awaited() {
    let handlers = "process.on('SIGTERM', async (signal) => { note(signal); await later(100); note('flushed'); });\n\
                    Deno.addSignalListener('SIGTERM', () => note('listener'));\n\
                    process.on('beforeExit', () => note('beforeExit'));\n\
                    process.on('SIGINT', () => note('interrupted'));";
    let volume = Volume::with("a", listening(handlers));
    let router = Router::start(&volume).await;
    replace(&volume, &router, &noting("Deno.serve(() => new Response(notes()));")).await;
    let order = "SIGTERM listener flushed beforeunload beforeExit unload exit";
    assert_eq!(notes(&router.public).await, order, "an idle server does not delay it");
    assert!(!was_logged(&router, UNFINISHED), "{}", router.log.text());
}

#[tokio::test]
async fn handlers_of_sigterm_run_when_the_router_stops() {
    let main = listening(
        "process.on('SIGTERM', async () => { await later(100); note('flushed'); process.exit(0); });",
    );
    let (volume, state) = (Volume::with("a", main.clone()), State::new());
    let router = Router::builder(&volume).state(&state).start().await;
    let mut events = router.events().await;
    events.wait_live("a").await;
    // A version that was replaced a moment ago is waited for, too.
    volume.replace("a/main.ts", format!("{main}note('two');\n"));
    events.wait_live("a").await;
    router.signal(Signal::TERM);
    assert!(router.ended().await.status.success());
    let router = Router::builder(&volume).state(&state).start().await;
    let notes = notes(&router.public).await;
    assert_eq!(notes.matches("flushed").count(), 2, "{notes}");
}

#[tokio::test]
async fn handlers_of_sigterm_run_when_a_process_is_idle() {
    let volume =
        Volume::with("a", listening("process.on('SIGTERM', () => { note('term'); process.exit(); });"));
    volume.write("a/deno.json", r#"{"switchyard": {"idle": "1s"}}"#);
    let router = Router::start(&volume).await;
    assert_eq!(notes(&router.public).await, "");
    let state = || async { router.admin.project("a").await.state };
    eventually("it is idle", || async { state().await == admin::ProjectState::Idle }).await;
    eventually("its handlers have run", || async { notes(&router.public).await.starts_with("term exit") })
        .await;
}

#[tokio::test]
async fn handlers_of_sigterm_run_when_the_requests_in_flight_have_ended() {
    let main = noting(
        "process.on('SIGTERM', () => { note('term'); process.exit(0); });\n\
         Deno.serve(async (request) => {\n\
             if (request.method !== 'POST') return new Response(notes());\n\
             await request.text(); note('answered'); return new Response('done');\n\
         });",
    );
    let volume = Volume::with("a", main.as_str());
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    events.wait_live("a").await;
    let (upload, request) = Upload::post("/a/");
    let client = router.public.clone();
    let held = tokio::spawn(async move { client.send(request).await });
    eventually("it is in flight", || async { router.admin.project("a").await.in_flight == 1 }).await;
    volume.replace("a/main.ts", format!("// two\n{main}"));
    events.wait_live("a").await;
    assert_eq!(notes(&router.public).await, "", "the old version has a request");
    upload.end();
    assert_eq!(within("the request is answered", held).await.unwrap().text(), "done");
    noted(&router.public, "answered term").await;
}

#[tokio::test]
async fn a_version_with_a_websocket_that_outlasts_the_grace_is_notified_of_its_end() {
    let main = listening(
        "process.on('SIGTERM', () => { note('term'); process.exit(0); });\n\
         const { serve } = Deno;\n\
         serve((request) => request.headers.get('upgrade') ? Deno.upgradeWebSocket(request).response : new Response(notes()));",
    );
    let volume = Volume::with("a", main);
    let router = Router::builder(&volume).flag("grace", 300).start().await;
    let open = router.public.websocket("/a/").await.expect("it is taken");
    replace(&volume, &router, &noting("Deno.serve(() => new Response(notes()));")).await;
    assert_eq!(notes(&router.public).await, "term exit unload");
    drop(open);
}

#[tokio::test]
async fn servers_of_node_close_and_end() {
    for (name, end) in
        [("exit", "() => { note('closed'); process.exit(0); }"), ("empty", "() => note('closed')")]
    {
        let main = noting(&format!(
            "const server = http.createServer((_, response) => response.end(notes()));\n\
             server.listen(process.env.PORT);\n\
             process.on('SIGTERM', () => server.close({end}));"
        ));
        let volume = Volume::with("a", main);
        let router = Router::start(&volume).await;
        // The connection stays open.
        assert_eq!(notes(&router.public).await, "");
        replace(&volume, &router, &noting("Deno.serve(() => new Response(notes()));")).await;
        assert_eq!(notes(&router.public).await, "closed", "{name}");
        assert!(!was_logged(&router, UNFINISHED), "{name}: {}", router.log.text());
    }
}

#[tokio::test]
async fn a_server_of_denos_shuts_down_and_ends() {
    let main = noting(
        "const server = Deno.serve(() => new Response(notes()));\n\
         Deno.addSignalListener('SIGTERM', async () => { await server.shutdown(); note('closed'); });",
    );
    let volume = Volume::with("a", main);
    let router = Router::start(&volume).await;
    assert_eq!(notes(&router.public).await, "");
    replace(&volume, &router, &noting("Deno.serve(() => new Response(notes()));")).await;
    assert_eq!(notes(&router.public).await, "closed");
    assert!(!was_logged(&router, UNFINISHED), "{}", router.log.text());
}

#[tokio::test]
async fn a_project_without_handlers_ends_at_once_and_hears_of_it() {
    // The repeating timer would run forever.
    let volume = Volume::with("a", listening("setInterval(() => {}, 1000);"));
    let router = Router::start(&volume).await;
    replace(&volume, &router, &noting("Deno.serve(() => new Response(notes()));")).await;
    assert_eq!(notes(&router.public).await, "beforeunload unload exit");
    assert!(!was_logged(&router, UNFINISHED), "{}", router.log.text());
}

#[tokio::test]
async fn work_that_is_begun_before_the_exit_is_waited_for() {
    let first = "let once = false;\nprocess.on('beforeExit', async () => { if (once) return; once = true; await later(50); note('saved'); });";
    let volume = Volume::with("a", listening(first));
    let router = Router::start(&volume).await;
    let second = "let once = false;\naddEventListener('beforeunload', (event) => { if (once) return; once = true; event.preventDefault(); later(50).then(() => note('kept')); });";
    replace(&volume, &router, &listening(second)).await;
    let order = "beforeunload saved beforeunload unload exit";
    assert_eq!(notes(&router.public).await, order);
    replace(&volume, &router, &noting("Deno.serve(() => new Response(notes()));")).await;
    let order = format!("{order} beforeunload kept beforeunload unload exit");
    assert_eq!(notes(&router.public).await, order);
}

#[tokio::test]
async fn handlers_that_do_not_finish_are_ended_and_disturb_no_other_project() {
    for handler in [
        "() => setInterval(() => {}, 10)",
        "() => { while (true); }",
        "() => new Promise(() => setInterval(() => {}, 10))",
    ] {
        let volume = Volume::with("a", listening(&format!("process.on('SIGTERM', {handler});")));
        volume.project("b").file("main.ts", hello("b")).write();
        let router = Router::builder(&volume).flag("grace", 300).start().await;
        router.events().await.wait_live("b").await;
        let neighbour = Probe::start(&router.public, "/b/").await;
        replace(&volume, &router, &hello("two")).await;
        assert_eq!(notes(&router.public).await, "two");
        let matches = |line: &Value| line["message"].as_str().is_some_and(|text| text.contains(UNFINISHED));
        let logged =
            within("the reason is logged", router.log.wait_for(matches)).await.expect("it is logged");
        assert_eq!(logged["project.name"], "a", "{logged}");
        neighbour.finish().await.no_failures().versions_monotonic(&["b"]);
    }
}

#[tokio::test]
async fn an_error_in_a_handler_is_logged() {
    for handler in
        ["() => { throw new Error('boom'); }", "async () => { await later(1); throw new Error('boom'); }"]
    {
        let volume = Volume::with(
            "a",
            noting(&format!("process.on('SIGTERM', {handler});\nDeno.serve(() => new Response('one'));")),
        );
        let router = Router::start(&volume).await;
        replace(&volume, &router, &hello("two")).await;
        let matches =
            |line: &Value| line["message"].as_str().is_some_and(|text| text.contains("Error: boom"));
        let logged = within("it is logged", router.log.wait_for(matches)).await.expect("it is logged");
        assert_eq!(logged["project.name"], "a", "{handler}: {logged}");
        assert_eq!(notes(&router.public).await, "two");
    }
}

#[tokio::test]
async fn versions_that_do_not_come_to_an_end_do_not_add_up() {
    let main = |label: usize| {
        format!(
            "import process from 'node:process';\n\
             process.on('SIGTERM', () => setInterval(() => {{}}, 10));\n{}",
            hello(&label.to_string())
        )
    };
    let volume = Volume::with("a", main(0));
    let router = Router::start(&volume).await;
    let mut events = router.events().await;
    events.wait_live("a").await;
    for label in 1..=5 {
        volume.replace("a/main.ts", main(label));
        events.wait_live("a").await;
    }
    // Earlier versions have the grace period, which is longer than any wait here.
    let retired = events.wait_retired("a").await.data.version;
    let ending = || async { router.admin.project("a").await.draining };
    eventually("four are left", || async { ending().await.len() == 4 }).await;
    assert!(ending().await.iter().all(|version| Some(&version.version) != retired.as_ref()), "{retired:?}");
}
