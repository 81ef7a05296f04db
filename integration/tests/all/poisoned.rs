//! Projects that modify JavaScript's built-in classes: most changes do not affect Deno's servers
//! and the glue around them; if a cell can no longer answer, the router notices, and gives the
//! version another process.

use switchyard_contract::event::{DeathReason, EventType};
use switchyard_integration::bystander::Bystander;
use switchyard_integration::client::post;
use switchyard_integration::eventually;
use switchyard_integration::fixtures::hello;
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;

/// Evaluates the posted code, and answers.
const WEB: &str = "
    const evaluate = eval;
    export default { async fetch(request) {
        if (request.method === 'POST') evaluate(await request.text());
        return new Response('good', { headers: { 'x-a': 'b' } });
    }};";
const NODE: &str = "
    import http from 'node:http';
    const evaluate = eval;
    http.createServer((request, response) => {
        let text = '';
        request.on('data', (data) => text += data);
        request.on('end', () => {
            if (text !== '') evaluate(text);
            response.setHeader('x-a', 'b');
            response.end('good');
        });
    }).listen(3000);";

const THROW: &str = "() => { throw new Error('poisoned') }";

/// Replaces all methods of a class.
fn methods(class: &str) -> String {
    format!(
        "for (const name of Reflect.ownKeys({class}.prototype)) {{
            if (name === 'constructor') continue;
            try {{ {class}.prototype[name] = {THROW} }} catch {{}}
        }}"
    )
}

/// Makes all objects of a class throw when their property `name` is read.
fn getter(class: &str, name: &str) -> String {
    format!("Object.defineProperty({class}, {name}, {{ configurable: true, get: {THROW} }})")
}

/// Limits that detect a project that does not answer quickly.
const QUICK: &str = "event_loop = \"500ms\"\nrequest_time = \"500ms\"";

async fn serving(main: &str, limits: &str) -> (Volume, Router) {
    let volume = Volume::new();
    volume.write("a/main.mjs", main);
    volume.write("_policy/policy.toml", format!("[projects.a.limits]\n{limits}\n"));
    volume.project("bystander").file("main.ts", hello("bystander")).write();
    let policy = volume.path("_policy/policy.toml");
    let router = Router::builder(&volume).flag("policy", policy.display()).start().await;
    (volume, router)
}

async fn poison(router: &Router, how: &str) {
    // The answer to this may be poisoned already.
    let _ = router.public.send(post("/a/", how.to_owned())).await;
}

async fn answers(router: &Router) -> bool {
    router.public.get("/a/").await.text() == "good"
}

/// Poisons one cell in all these ways, which must neither keep it from answering nor get it
/// replaced.
async fn nothing_changes(main: &str, ways: &[String]) {
    let (_volume, router) = serving(main, "").await;
    let pid = router.admin.project("a").await.pid;
    for how in ways {
        poison(&router, how).await;
        for _ in 0..5 {
            assert!(answers(&router).await, "{how}");
        }
    }
    assert_eq!(router.admin.project("a").await.pid, pid);
}

/// Poisons a cell so that it cannot answer. It must be replaced, and no other project may notice.
async fn is_replaced(main: &str, how: &str) {
    let router = replaced_for(DeathReason::Unhealthy, main, how).await;
    let warned =
        |record: &serde_json::Value| record["level"] == "WARN" && record.to_string().contains("probe");
    assert!(router.log.records().iter().any(warned), "{}", router.log.text());
}

async fn replaced_for(reason: DeathReason, main: &str, how: &str) -> Router {
    let (_volume, router) = serving(main, QUICK).await;
    let bystander = Bystander::start(&router).await;
    let mut events = router.events().await;
    let pid = router.admin.project("a").await.pid;
    poison(&router, how).await;
    let died = async { events.wait_for(EventType::CellDied, "a").await };
    let flood = async {
        loop {
            let _ = router.public.get("/a/").await;
        }
    };
    let died = tokio::select! {
        died = died => died,
        () = flood => unreachable!("it never ends"),
    };
    let death = died.data.death.expect("it says how");
    assert!(death.reason == reason && death.restart_ms == Some(0), "{death:?}");
    assert_eq!(death.message.contains("probe"), reason == DeathReason::Unhealthy, "{death:?}");
    eventually("another cell answers", || answers(&router)).await;
    assert_ne!(router.admin.project("a").await.pid, pid);
    assert_eq!(router.admin.project("a").await.crashes[0].death.reason, reason);
    bystander.finish(&router).await;
    router
}

#[tokio::test]
async fn a_handler_of_the_web_answers_whatever_becomes_of_methods_that_it_does_not_use() {
    let ways = ["String", "RegExp", "Map", "Set", "WeakMap", "WeakSet", "Date", "Symbol", "TextEncoder"];
    let ways: Vec<_> = ways.iter().map(|class| methods(class)).collect();
    let more = [
        format!("Promise.prototype.finally = Promise.prototype.then = {THROW}"),
        format!("Array.prototype[Symbol.iterator] = Array.prototype.push = {THROW}"),
        format!("Function.prototype.call = Function.prototype.apply = Function.prototype.bind = {THROW}"),
        format!("Object.assign = Object.defineProperty = Object.keys = Reflect.apply = {THROW}"),
        format!("Deno[Deno.internal].servers = Deno[Deno.internal].log = {THROW}"),
    ];
    nothing_changes(WEB, &[ways, more.to_vec()].concat()).await;
}

#[tokio::test]
async fn a_server_of_nodes_answers_whatever_becomes_of_methods_that_it_does_not_use() {
    let ways = [
        methods("RegExp"),
        methods("Promise"),
        methods("WeakMap"),
        format!("Array.prototype[Symbol.iterator] = {THROW}"),
        format!("String.prototype.toLowerCase = String.prototype.lastIndexOf = {THROW}"),
        format!("Array.prototype.splice = Array.prototype.includes = {THROW}"),
        getter("Array.prototype", "'constructor'"),
    ];
    nothing_changes(NODE, &ways).await;
}

#[tokio::test]
async fn promises_that_cannot_be_waited_for_end_the_cell() {
    is_replaced(WEB, &getter("Promise.prototype", "'constructor'")).await;
}

#[tokio::test]
async fn objects_that_look_like_promises_end_the_cell() {
    is_replaced(WEB, &getter("Object.prototype", "'then'")).await;
}

#[tokio::test]
async fn answers_whose_status_cannot_be_read_end_the_cell() {
    is_replaced(WEB, &getter("Object.prototype", "'status'")).await;
}

#[tokio::test]
async fn requests_that_cannot_be_read_end_the_cell() {
    is_replaced(WEB, &getter("Request.prototype", "'method'")).await;
}

#[tokio::test]
async fn answers_that_never_come_end_the_cell() {
    is_replaced(WEB, "Object.prototype.then = () => {}").await;
}

#[tokio::test]
async fn node_servers_that_cannot_write_an_answer_end_the_cell() {
    // An exception on the way to an answer is an uncaught error.
    replaced_for(DeathReason::Exit, NODE, &getter("Object.prototype", "'length'")).await;
}

#[tokio::test]
async fn node_servers_that_never_answer_end_the_cell() {
    is_replaced(NODE, "process.getBuiltinModule('http').ServerResponse.prototype.end = () => {}").await;
}

#[tokio::test]
async fn a_handler_that_answers_500_on_its_own_keeps_its_cell() {
    for main in [
        "export default { fetch() { throw new Error('mine'); } };",
        "export default { fetch: () => new Response('mine', { status: 500 }) };",
        "import http from 'node:http';
         http.createServer((_, response) => { response.statusCode = 503; response.end(); }).listen(3000);",
    ] {
        let (_volume, router) = serving(main, "").await;
        let events = router.events().await;
        let pid = router.admin.project("a").await.pid;
        // Long enough for the router to probe the cell more than once.
        let until = std::time::Instant::now() + std::time::Duration::from_secs(3);
        while std::time::Instant::now() < until {
            assert!(router.public.get("/a/").await.status >= 500);
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert_eq!(router.admin.project("a").await.pid, pid, "{main}");
        assert_eq!(events.count(EventType::CellDied, "a"), 0, "{main}");
    }
}
