//! A project that ends its own process, and its neighbours.

use switchyard_integration::eventually;
use switchyard_integration::fixtures::hello;
use switchyard_integration::probe::Probe;
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;

/// Serves a project that dies when it is asked to. It must answer again, and nobody else may notice.
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
    let reply = router.public.get("/a/die").await;
    reply.assert_problem(502, "cell-died");
    eventually("the project answers again", || async { router.public.get("/a/").await.text() == "one" })
        .await;
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
async fn a_rejection_that_nobody_handles() {
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
async fn the_log_says_which_version_died_and_of_what() {
    let volume = Volume::with("a", "export default { fetch: () => Deno.exit(7) };");
    let router = Router::start(&volume).await;
    let version = router.admin.project("a").await.live.expect("a is live").version;
    router.public.get("/a/").await.assert_problem(502, "cell-died");
    let said = router.log.wait_for(|record| {
        let text = record.to_string();
        text.contains(&version) && text.contains('7') && record["level"] != "INFO"
    });
    assert!(switchyard_integration::within("the log says so", said).await.is_some());
}
