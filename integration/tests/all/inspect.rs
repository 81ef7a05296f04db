//! Debugging a project through the admin listener, with a client of Chrome's DevTools protocol.

use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};
use switchyard_integration::client::{Client, Reply, request, with_header};
use switchyard_integration::debugger::{Debugger, refusal, targets};
use switchyard_integration::fixtures::hello;
use switchyard_integration::router::{Builder, Router};
use switchyard_integration::volume::Volume;
use switchyard_integration::{eventually, within};
use tokio::task::JoinHandle;

const TOKEN: &str = "one-0123456789abcdef";

/// Computes its answer from the request in line 3 (from 0).
const GREETER: &str = r#"export default {
  fetch(request) {
    const name = new URL(request.url).searchParams.get("name");
    const greeting = `hello ${name}`;
    return new Response(greeting);
  },
};
"#;

/// The line of the breakpoint.
const STOP: u32 = 3;

fn greeter() -> Volume {
    let volume = Volume::new();
    volume.write("a/main.js", GREETER);
    volume
}

fn inspected(volume: &Volume) -> Builder {
    Router::builder(volume).flag("inspect", "a")
}

/// Attaches to the only project.
async fn attach(router: &Router) -> Debugger {
    let targets = targets(&router.admin.client).await;
    assert_eq!(targets.len(), 1, "{targets:?}");
    Debugger::attach(&router.admin.client, &targets[0]).await
}

fn ask(router: &Router, path: &'static str) -> JoinHandle<Reply> {
    let client = router.public.clone();
    tokio::spawn(async move { client.get(path).await })
}

/// Returns once a request is paused at the breakpoint, with its position.
async fn paused(debugger: &mut Debugger) -> Value {
    debugger.event("Debugger.paused", |_| true).await["callFrames"][0].clone()
}

async fn answer(pending: JoinHandle<Reply>) -> Reply {
    within("the request is answered", pending).await.expect("the client does not panic")
}

#[tokio::test]
async fn each_process_of_a_version_is_a_target_of_its_own() {
    let volume = greeter();
    volume.write("a/deno.json", r#"{"switchyard": {"cells": 2}}"#);
    let router = inspected(&volume).start().await;
    let mut pids = Vec::new();
    for target in targets(&router.admin.client).await {
        let mut debugger = Debugger::attach(&router.admin.client, &target).await;
        let result = debugger.call("Runtime.evaluate", json!({ "expression": "Deno.pid" })).await;
        pids.push(result["result"]["value"].clone());
    }
    assert_eq!(json!(pids), json!(router.admin.project("a").await.pids));
}

#[tokio::test]
async fn a_debugger_pauses_a_request_at_a_line_and_resumes_it() {
    let volume = greeter();
    volume.write("b/main.ts", hello("neighbour"));
    let router = inspected(&volume).start().await;
    let target = &targets(&router.admin.client).await[0];
    let live = router.admin.project("a").await.live.expect("it is live").version;
    assert_eq!((&target["type"], &target["title"]), (&json!("node"), &json!(live)));
    assert!(target["url"].as_str().is_some_and(|url| url.ends_with("/a/main.js")), "{target}");
    let mut debugger = attach(&router).await;
    debugger.break_at("main.js", STOP).await;
    let pending = ask(&router, "/a/?name=you");
    let frame = paused(&mut debugger).await;
    assert_eq!((&frame["functionName"], &frame["location"]["lineNumber"]), (&json!("fetch"), &json!(STOP)));
    assert_eq!(router.public.get("/b/").await.text(), "neighbour", "a neighbour serves on");
    let on = json!({ "callFrameId": frame["callFrameId"], "expression": "name" });
    let name = debugger.call("Debugger.evaluateOnCallFrame", on).await;
    assert_eq!(name["result"]["value"], "you");
    assert!(!pending.is_finished());
    debugger.call("Debugger.resume", json!({})).await;
    assert_eq!(answer(pending).await.text(), "hello you");
}

#[tokio::test]
async fn evaluated_code_runs_in_the_project_and_its_console_is_received() {
    let main = "globalThis.visits = 0;\n\
                export default { fetch() { console.log('visit', ++visits); return new Response(`${visits}`); } };\n";
    let volume = Volume::with("a", main);
    let router = inspected(&volume).start().await;
    let mut debugger = attach(&router).await;
    debugger.call("Runtime.enable", json!({})).await;
    assert_eq!(debugger.evaluate("globalThis.visits = 41").await, 41);
    assert_eq!(router.public.get("/a/").await.text(), "42");
    let console_event = debugger.event("Runtime.consoleAPICalled", |_| true).await;
    assert_eq!(
        (&console_event["args"][0]["value"], &console_event["args"][1]["value"]),
        (&json!("visit"), &json!(42))
    );
    let mut other = attach(&router).await;
    assert_eq!(other.evaluate("globalThis.visits").await, 42, "another one beside it");
    assert_eq!(debugger.evaluate("Deno.env.get('SWITCHYARD_PROJECT')").await, "a");
}

#[tokio::test]
async fn typescript_errors_show_the_original_source() {
    let source = "interface Greeting { text: string }\n\nconst greeting: Greeting = { text: 'hello' };\n\
                  export default { fetch: () => new Response(greeting.text) };\n";
    let volume = Volume::with("a", source);
    let router = inspected(&volume).start().await;
    let mut debugger = attach(&router).await;
    debugger.call("Debugger.enable", json!({})).await;
    let main = |script: &Value| script["url"].as_str().is_some_and(|url| url.ends_with("/main.ts"));
    let script = debugger.event("Debugger.scriptParsed", main).await;
    let url = script["sourceMapURL"].as_str().expect("it has a source map");
    let map = url.strip_prefix("data:application/json;base64,").expect("it is in the URL itself");
    let map: Value = serde_json::from_slice(&BASE64_STANDARD.decode(map).unwrap()).unwrap();
    assert_eq!((&map["sources"], &map["sourcesContent"]), (&json!(["main.ts"]), &json!([source])));
    assert_eq!(router.public.get("/a/").await.text(), "hello");
}

#[tokio::test]
async fn time_does_not_run_out_while_a_debugger_has_stopped_it() {
    let volume = greeter();
    volume.write("_policy.toml", "[projects.a.limits]\nevent_loop = \"200ms\"\nrequest_time = \"200ms\"\n");
    let router = inspected(&volume).flag("policy", volume.path("_policy.toml").display()).start().await;
    let mut debugger = attach(&router).await;
    debugger.break_at("main.js", STOP).await;
    let pending = ask(&router, "/a/?name=you");
    paused(&mut debugger).await;
    // Several times what either would allow.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!pending.is_finished());
    debugger.call("Debugger.resume", json!({})).await;
    assert_eq!(answer(pending).await.text(), "hello you");
    assert!(router.admin.project("a").await.crashes.is_empty());
}

#[tokio::test]
async fn a_spinning_project_can_be_paused_and_inspected() {
    let main = "export default { fetch() { globalThis.spin = true; while (spin); return new Response('done'); } };\n";
    let volume = Volume::with("a", main);
    volume.write("_policy.toml", "[projects.a.limits]\nevent_loop = \"200ms\"\n");
    let router = inspected(&volume).flag("policy", volume.path("_policy.toml").display()).start().await;
    let mut debugger = attach(&router).await;
    debugger.call("Debugger.enable", json!({})).await;
    let pending = ask(&router, "/a/");
    eventually("it is in flight", || async { router.admin.project("a").await.in_flight == 2 }).await;
    debugger.send("Debugger.pause", json!({})).await;
    let mut frame = paused(&mut debugger).await;
    while frame["functionName"] != "fetch" {
        debugger.call("Debugger.resume", json!({})).await;
        debugger.send("Debugger.pause", json!({})).await;
        frame = paused(&mut debugger).await;
    }
    let on = json!({ "callFrameId": frame["callFrameId"], "expression": "globalThis.spin = false" });
    debugger.call("Debugger.evaluateOnCallFrame", on).await;
    debugger.call("Debugger.resume", json!({})).await;
    assert_eq!(answer(pending).await.text(), "done");
}

#[tokio::test]
async fn a_paused_project_resumes_when_its_debugger_disconnects() {
    let volume = greeter();
    let router = inspected(&volume).start().await;
    let mut debugger = attach(&router).await;
    debugger.break_at("main.js", STOP).await;
    let pending = ask(&router, "/a/?name=you");
    paused(&mut debugger).await;
    debugger.vanish();
    assert_eq!(answer(pending).await.text(), "hello you");
    assert_eq!(router.public.get("/a/?name=me").await.text(), "hello me", "its breakpoints are gone");
    eventually("nothing is left of it", || async { router.admin.project("a").await.in_flight == 0 }).await;
}

#[tokio::test]
async fn after_a_reload_the_new_version_is_the_target() {
    let volume = greeter();
    let router = inspected(&volume).flag("grace", 300).start().await;
    let mut events = router.events().await;
    events.wait_live("a").await;
    let before = targets(&router.admin.client).await[0].clone();
    let mut old = Debugger::attach(&router.admin.client, &before).await;
    old.break_at("main.js", STOP).await;
    let pending = ask(&router, "/a/?name=you");
    paused(&mut old).await;
    volume.replace("a/main.js", GREETER.replace("hello", "goodbye"));
    let live = events.wait_live("a").await.data.version.expect("it is a version's");
    let after = targets(&router.admin.client).await;
    assert_eq!((after.len(), &after[0]["title"]), (1, &json!(live)));
    let mut new = Debugger::attach(&router.admin.client, &after[0]).await;
    new.break_at("main.js", STOP).await;
    let next = ask(&router, "/a/?name=you");
    paused(&mut new).await;
    let why = old.closed().await.expect("the close frame has a reason");
    assert_eq!(
        (u16::from(why.code), why.reason.as_str()),
        (1001, format!("{} is retired", before["title"].as_str().unwrap()).as_str())
    );
    assert_eq!(events.wait_retired("a").await.data.version.as_deref(), before["title"].as_str());
    drop(pending);
    new.call("Debugger.resume", json!({})).await;
    assert_eq!(answer(next).await.text(), "goodbye you");
    let gone = before["webSocketDebuggerUrl"].as_str().unwrap().split_once("/projects").unwrap().1;
    let refused = refusal(&router.admin.client, &format!("/projects{gone}"), None).await;
    assert_eq!(refused, (404, "unknown-process".to_owned()));
    // Any process will do here.
    assert_eq!(Debugger::open(&router.admin.client, "/projects/a/inspect").await.evaluate("1 + 1").await, 2);
}

#[tokio::test]
async fn a_router_that_stops_takes_leave_of_debuggers() {
    let volume = greeter();
    let router = inspected(&volume).start().await;
    let mut debugger = attach(&router).await;
    debugger.evaluate("1").await;
    let ended = tokio::spawn(router.stop());
    let why = debugger.closed().await.expect("the close frame has a reason");
    assert!(why.reason.ends_with(" is retired"), "{why}");
    assert!(within("the router ends", ended).await.unwrap().status.success());
}

#[tokio::test]
async fn the_web_workers_of_a_project_are_found_with_it() {
    let main = "new Worker(new URL('worker.js', import.meta.url), { type: 'module' });\n\
                export default { fetch: () => new Response('main') };\n";
    let volume = Volume::with("a", main);
    volume.write("a/worker.js", "globalThis.place = 'worker';\nsetInterval(() => {}, 1000);\n");
    let router = inspected(&volume).start().await;
    let mut debugger = attach(&router).await;
    let all = json!({ "autoAttach": true, "waitForDebuggerOnStart": false, "flatten": true });
    debugger.call("Target.setAutoAttach", all).await;
    let worker = debugger.event("Target.attachedToTarget", |_| true).await;
    assert!(worker["targetInfo"]["url"].as_str().is_some_and(|url| url.ends_with("/worker.js")), "{worker}");
}

#[tokio::test]
async fn as_many_debuggers_as_may_be_and_no_more() {
    let volume = greeter();
    let router = inspected(&volume).start().await;
    let mut debuggers = Vec::new();
    for _ in 0..8 {
        let mut debugger = attach(&router).await;
        assert_eq!(debugger.evaluate("1").await, 1);
        debuggers.push(debugger);
    }
    let refused = refusal(&router.admin.client, "/projects/a/inspect", None).await;
    assert_eq!(refused, (503, "too-many-debuggers".to_owned()));
    debuggers.pop().unwrap().vanish();
    assert_eq!(attach(&router).await.evaluate("1").await, 1);
}

#[tokio::test]
async fn projects_that_the_operator_has_not_named_cannot_be_debugged() {
    let volume = greeter();
    volume.write("b/main.ts", hello("b"));
    let router = inspected(&volume).start().await;
    let admin = &router.admin.client;
    assert_eq!(targets(admin).await.len(), 1);
    assert_eq!(admin.get("/json").await.json().as_array().map(Vec::len), Some(1));
    assert_eq!(admin.get("/json/version").await.json()["Protocol-Version"], "1.3");
    assert_eq!(refusal(admin, "/projects/b/inspect", None).await, (403, "not-inspectable".to_owned()));
    assert_eq!(refusal(admin, "/projects/c/inspect", None).await, (404, "unknown-project".to_owned()));
    admin.get("/projects/a/inspect").await.assert_problem(400, "bad-request");
    assert_eq!(router.public.get("/json/list").await.status, 404, "it is the admin listener's alone");

    let off = Router::start(&volume).await;
    for path in ["/json", "/json/list", "/json/version"] {
        off.admin.client.get(path).await.assert_problem(403, "not-inspectable");
    }
    assert_eq!(
        refusal(&off.admin.client, "/projects/a/inspect", None).await,
        (403, "not-inspectable".to_owned())
    );
}

#[tokio::test]
async fn web_pages_may_not_debug() {
    let volume = greeter();
    let router = inspected(&volume).start().await;
    let admin = &router.admin.client;
    let path = "/projects/a/inspect";
    for origin in ["https://evil.example", "http://localhost:8001", "null"] {
        assert_eq!(refusal(admin, path, Some(("origin", origin))).await, (403, "foreign-origin".to_owned()));
        let page = with_header(request("/json/list"), "origin", origin);
        admin.send(page).await.assert_problem(403, "foreign-origin");
    }
    for host in ["evil.example", "localhost.evil.example:8001"] {
        assert_eq!(refusal(admin, path, Some(("host", host))).await, (403, "foreign-host".to_owned()));
        admin
            .send(with_header(request("/json/list"), "host", host))
            .await
            .assert_problem(403, "foreign-host");
    }
    let asked_as = with_header(request("/json/list"), "host", "localhost:9229");
    let target = &admin.send(asked_as).await.json()[0];
    let url = target["webSocketDebuggerUrl"].as_str().unwrap();
    assert!(url.starts_with("ws://localhost:9229/projects/a/inspect/"), "{url}");
    let devtools = [("origin".parse().unwrap(), "devtools://devtools".parse().unwrap())];
    assert!(admin.websocket_with(path, devtools.into_iter().collect()).await.is_ok());
}

#[tokio::test]
async fn a_debugger_needs_a_token_where_others_do_and_may_send_it_in_the_query() {
    let volume = greeter();
    volume.write("_tokens", format!("{TOKEN}\n"));
    let router = inspected(&volume).flag("admin-token-file", volume.path("_tokens").display()).start().await;
    let admin = &router.admin.client;
    let unauthorized = (401, "unauthorized".to_owned());
    for path in [
        "/projects/a/inspect",
        "/projects/a/inspect?token=two-0123456789abcdef",
        "/projects/a/inspect?token=",
    ] {
        assert_eq!(refusal(admin, path, None).await, unauthorized, "{path}");
    }
    admin.get(&format!("/json/list?token={TOKEN}")).await.assert_problem(401, "unauthorized");
    admin.get(&format!("/projects/a?token={TOKEN}")).await.assert_problem(401, "unauthorized");
    let listed = list_as(admin, TOKEN).await;
    assert!(!listed.text().contains(TOKEN));
    let path = format!("/projects/a/inspect?token={TOKEN}");
    assert_eq!(Debugger::open(admin, &path).await.evaluate("1 + 1").await, 2);
    let ended = router.stop().await;
    assert!(!ended.log.text().contains(TOKEN), "no token is logged");
}

async fn list_as(admin: &Client, token: &str) -> Reply {
    admin.send(with_header(request("/json/list"), "authorization", &format!("Bearer {token}"))).await
}
