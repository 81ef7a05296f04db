//! Webhooks of tasks: who may start a run, what the answer is, and what hostile senders achieve.

use std::time::Duration;

use http::{Method, Request};
use rustix::process::Signal;
use serde_json::{Value, json};
use switchyard_contract::bounds::RUN_INPUT;
use switchyard_contract::run::{RunId, RunState, RunTrigger};
use switchyard_integration::bystander;
use switchyard_integration::client::{Body, Client, Reply, json_body, post, request, with_method};
use switchyard_integration::eventually;
use switchyard_integration::probe::Probe;
use switchyard_integration::runs::{Routed, TaskProject, held, yaml_task};
use switchyard_integration::sources::{Delivery, Forge, HOOK_SECRET};
use switchyard_integration::usage::Usage;
use switchyard_integration::volume::Volume;

/// The result of a task that returns what it was given.
const TELLS: &str = "export default ({ params, input }) => ({ params, input });\n";

const POLICY: &str = "_policy/policy.toml";

/// The project `hooks`, whose secret is in the policy of its routers.
fn hooks() -> TaskProject {
    let signed = |path: &str, kind: &str| json!({ "webhook": { "path": path, "secret": "HOOK_SECRET", "kind": kind } });
    TaskProject::new("hooks")
        .task("github", signed("github", "github"), TELLS)
        .task("standard", signed("a/standard", "standard"), TELLS)
        .task("secretless", json!({ "webhook": { "path": "secretless", "secret": "GONE" } }), TELLS)
        .task(
            "open",
            json!({
                "webhook": { "path": "open", "open": true },
                "params": { "count": { "type": "integer", "default": 7 } },
            }),
            TELLS,
        )
        .task(
            "sync",
            json!({ "webhook": { "path": "sync", "open": true, "sync": true, "get": true } }),
            TELLS,
        )
        .task(
            "page",
            json!({ "webhook": { "path": "page", "open": true, "sync": true } }),
            "export default ({ output }) => output.html('<b>hello</b>');\n",
        )
        .task(
            "fails",
            json!({ "webhook": { "path": "fails", "open": true, "sync": true } }),
            "export default () => { throw new Error('the password is swordfish'); };\n",
        )
        .task("hold", json!({ "webhook": { "path": "hold", "open": true } }), held("hold", "gate"))
        .file("tasks/plain/task.yaml", yaml_task("plain", "webhook: /hooks/plain", ""))
        .file("tasks/plain/task.ts", "export default () => 'plain';\n")
}

fn policy(limits: &str) -> String {
    format!(
        "[projects.hooks.env]\nHOOK_SECRET = {HOOK_SECRET:?}\n[projects.hooks.limits]\nrun_queue = 10\n{limits}\n"
    )
}

/// The project beside one that is asked all the time, on one router and a bridge.
async fn scene() -> (Volume, Routed, Probe) {
    let volume = Volume::new();
    bystander::write(&volume);
    hooks().write(&volume);
    volume.write(POLICY, policy(""));
    let file = volume.path(POLICY);
    let router = |_, router: switchyard_integration::router::Builder| router.flag("policy", file.display());
    let routed = Routed::start_with(&volume, 1, router, |bridge| bridge).await;
    routed.api.knows("hooks:open").await;
    let probe = Probe::start(&routed.routers[0].public, "/bystander/").await;
    (volume, routed, probe)
}

/// A delivery that its sender signs with the secret of the policy.
fn signed(forge: Forge) -> Delivery {
    forge.push("", "9fceb02d0ae598e95dc970b74767f19372d61af8")
}

fn forged(forge: Forge) -> Delivery {
    forge.push_of("", "refs/heads/main", "9fceb02d0ae598e95dc970b74767f19372d61af8", "guessed")
}

fn json_post(path: &str, body: &Value) -> Request<Body> {
    json_body(post(path, body.to_string()))
}

/// The run that an answer names.
fn run_of(reply: &Reply) -> RunId {
    assert_eq!(reply.status, 202, "{}", reply.text());
    serde_json::from_value(reply.json()["run"].clone()).expect("it names its run")
}

#[tokio::test]
async fn a_signed_delivery_is_a_run_of_the_history_before_it_is_answered() {
    let (_volume, routed, bystander) = scene().await;
    for (forge, path, task) in
        [(Forge::Github, "github", "hooks:github"), (Forge::Standard, "a/standard", "hooks:standard")]
    {
        let reply = routed.hooks.send(signed(forge).request_at(path)).await;
        let run = routed.api.run(run_of(&reply)).await.run;
        assert_eq!((run.task.to_string().as_str(), run.trigger), (task, RunTrigger::Webhook));
        let result = routed.api.ended(run.id).await.run.result.expect("it succeeds");
        assert!(result["input"].to_string().contains("9fceb02d"), "{result}");
    }
    let log = routed.bridge.log.text() + &routed.routers[0].log.text();
    assert!(!log.contains(HOOK_SECRET), "a log has the secret");
    bystander.finish().await.no_failures();
}

#[tokio::test]
async fn forged_and_unsigned_deliveries_and_unknown_paths_get_one_answer() {
    let (_volume, routed, bystander) = scene().await;
    let good = signed(Forge::Github);
    let refused = [
        ("a wrong signature", forged(Forge::Github).request_at("github")),
        ("another body", good.clone().with_body("{}").request_at("github")),
        ("the format of another sender", good.request_at("a/standard")),
        ("an old or wrong signature", forged(Forge::Standard).request_at("a/standard")),
        ("no signature", json_post("/hooks/github", &json!({}))),
        ("a variable without a value", good.request_at("secretless")),
        ("a webhook that is closed", good.request_at("plain")),
        ("an unknown path", good.request_at("nowhere")),
        ("an unknown path, unsigned", json_post("/hooks/nowhere", &json!({}))),
    ];
    let mut answers = Vec::new();
    for (what, request) in refused {
        let reply = routed.hooks.send(request).await;
        reply.assert_problem(401, "unauthorized");
        answers.push((what, reply.text()));
    }
    for (what, answer) in &answers {
        assert_eq!(*answer, answers[0].1, "{what} shows by its answer");
    }
    for path in ["/hooks/github", "/hooks/open", "/hooks/nowhere", "/hooks/plain"] {
        routed.hooks.get(path).await.assert_problem(405, "method-not-allowed");
    }
    let large = "x".repeat(RUN_INPUT + 1);
    for (path, delivery) in [("github", good.clone()), ("nowhere", good.clone()), ("open", good)] {
        let reply = routed.hooks.send(delivery.with_body(&large).request_at(path)).await;
        assert_eq!(reply.status, 413, "{path}: {}", reply.text());
    }
    assert_eq!(routed.api.runs("project=hooks").await, []);
    bystander.finish().await.no_failures();
}

#[tokio::test]
async fn a_delivery_that_comes_again_is_the_same_run_also_after_a_restart_of_the_bridge() {
    let (_volume, mut routed, bystander) = scene().await;
    for (forge, path) in [(Forge::Github, "github"), (Forge::Standard, "a/standard")] {
        let delivery = signed(forge);
        let first = run_of(&routed.hooks.send(delivery.request_at(path)).await);
        assert_eq!(run_of(&routed.hooks.send(delivery.request_at(path)).await), first);
        routed.api.ended(first).await;
        assert_eq!(run_of(&routed.hooks.send(delivery.request_at(path)).await), first);
        routed.restart_bridge().await;
        routed.api.knows("hooks:github").await;
        assert_eq!(run_of(&routed.hooks.send(delivery.request_at(path)).await), first);
    }
    assert_eq!(routed.api.runs("project=hooks").await.len(), 2);
    bystander.finish().await.no_failures();
}

#[tokio::test]
async fn the_policy_opens_webhooks_whose_format_cannot_say_so() {
    let (volume, routed, bystander) = scene().await;
    let open = || json_post("/hooks/plain", &json!({ "a": 1 }));
    routed.hooks.send(open()).await.assert_problem(401, "unauthorized");
    volume.replace(POLICY, policy("open_webhooks = true"));
    routed.routers[0].signal(Signal::HUP);
    let is_open = |detail: &switchyard_contract::task_overview::TaskDetail| detail.limits.open_webhooks;
    // The router tells the bridge, which asks for all of its projects less often.
    let opened = routed.api.becomes("hooks:plain", "it is open", is_open);
    tokio::time::timeout(Duration::from_secs(5), opened).await.expect("the bridge knows it at once");
    // Webhooks of this format answer with the result.
    let reply = routed.hooks.send(open()).await;
    assert_eq!((reply.status, reply.json()), (200, json!("plain")));
    // The policy opens no webhook that has a secret.
    let unsigned = json_post("/hooks/github", &json!({}));
    routed.hooks.send(unsigned).await.assert_problem(401, "unauthorized");
    bystander.finish().await.no_failures();
}

#[tokio::test]
async fn the_answer_of_a_webhook_that_waits_is_the_result() {
    let (_volume, routed, bystander) = scene().await;
    let reply = routed.hooks.send(json_post("/hooks/sync", &json!({ "a": [1] }))).await;
    assert_eq!((reply.status, reply.json()["input"].clone()), (200, json!({ "a": [1] })));
    let reply = routed.hooks.get("/hooks/sync?name=Ada").await;
    assert_eq!((reply.status, reply.json()["input"].clone()), (200, json!({ "name": "Ada" })));
    let page = routed.hooks.post("/hooks/page").await;
    assert_eq!((page.status, page.text().as_str()), (200, "<b>hello</b>"));
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let failed = routed.hooks.post("/hooks/fails").await;
    failed.assert_problem(500, "run-failed");
    assert!(!failed.text().contains("swordfish"), "{}", failed.text());

    let form = post("/hooks/open", "count=3&other=x");
    let kind = "application/x-www-form-urlencoded";
    let form = switchyard_integration::client::with_header(form, "content-type", kind);
    let run = run_of(&routed.hooks.send(form).await);
    let result = routed.api.ended(run).await.run.result.expect("it succeeds");
    assert_eq!(result["params"], json!({ "count": 3 }));
    let refused = routed.hooks.send(json_post("/hooks/open", &json!({ "count": "many" }))).await;
    refused.assert_problem(422, "invalid-params");
    bystander.finish().await.no_failures();
}

#[tokio::test]
async fn strangers_do_not_use_up_the_minute_of_a_signed_webhook() {
    let (_volume, routed, bystander) = scene().await;
    let mut connection = routed.hooks.connect().await;
    for _ in 0..1100 {
        let reply = connection.send(forged(Forge::Github).request_at("github")).await;
        assert_eq!(reply.status, 401, "{}", reply.text());
        if reply.ends_connection() {
            connection = routed.hooks.connect().await;
        }
    }
    let run = run_of(&routed.hooks.send(signed(Forge::Github).request_at("github")).await);
    assert_eq!(routed.api.ended(run).await.run.state, RunState::Succeeded);
    let told = routed.bridge.log.records();
    let told = told.iter().filter(|record| record["event"] == "task.webhook-refused").count();
    assert!((1..300).contains(&told), "{told} lines of 1100 refusals");
    bystander.finish().await.no_failures();
}

/// Sends a thousand requests of hostile senders. Each gets the answer that belongs to it; only bodies
/// that are too large may lose their connection before.
async fn hostile(hooks: &Client, replayed: &Delivery) {
    let large = "x".repeat(RUN_INPUT + 1);
    let mut connection = hooks.connect().await;
    for number in 0..1000_u32 {
        let (request, statuses): (_, &[u16]) = match number % 6 {
            0 => (forged(Forge::Github).request_at("github"), &[401]),
            1 => (replayed.request_at("github"), &[202, 429]),
            2 => (with_method(Method::GET, "/hooks/github"), &[405]),
            3 if number % 5 == 0 => (replayed.clone().with_body(&large).request_at("github"), &[413]),
            3 => (signed(Forge::Github).request_at(&format!("unknown/{number}")), &[401]),
            4 => (json_post("/hooks/hold", &json!({ "number": number })), &[202, 429]),
            _ => (request("/hooks/open"), &[405]),
        };
        let reply = match connection.try_send(request).await {
            Ok(reply) => reply,
            Err(error) => {
                assert!(statuses == [413], "{number}: {error:#}");
                connection = hooks.connect().await;
                continue;
            }
        };
        assert!(statuses.contains(&reply.status), "{number}: {} {}", reply.status, reply.text());
        if reply.ends_connection() {
            connection = hooks.connect().await;
        }
    }
}

#[tokio::test]
async fn a_thousand_hostile_requests_again_and_again_leave_the_memory_flat() {
    let (_volume, routed, bystander) = scene().await;
    let replayed = signed(Forge::Github);
    let first = run_of(&routed.hooks.send(replayed.request_at("github")).await);
    let pid = u32::try_from(routed.bridge.pid().as_raw_nonzero().get()).expect("a process has an id");
    let memory = || Usage::of(pid, routed.state.path()).memory;
    let mut sizes = Vec::new();
    for _ in 0..5 {
        hostile(&routed.hooks, &replayed).await;
        sizes.push(memory());
    }
    // The first ones fill caches and the queue of runs.
    let before = sizes[..3].iter().max().copied().unwrap_or_default();
    assert!(sizes[4] < before + 4_000_000, "{sizes:?}");
    let of_github = routed.api.runs("task=hooks:github").await;
    assert_eq!(of_github.iter().map(|run| run.id).collect::<Vec<_>>(), [first]);
    for run in routed.api.runs("task=hooks:hold&state=queued,running&limit=100").await {
        routed.api.cancel(run.id).await;
    }
    eventually("all requests have left", || async { Usage::of(pid, routed.state.path()).sockets < 64 }).await;
    bystander.finish().await.no_failures();
}
