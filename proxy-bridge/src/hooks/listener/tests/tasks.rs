//! Webhooks of tasks, over the listener.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::BoxFuture;
use serde_json::json;
use switchyard_contract::admin::HookCheck;
use switchyard_contract::bounds::RUN_INPUT;
use switchyard_contract::run::{Run, RunError, RunId, RunState, RunTrigger};
use switchyard_contract::task::{Consistency, TaskId, WebhookSignature, WebhookTrigger};
use switchyard_edge::webhook::testing::Delivery;

use super::*;
use crate::hooks::{HookStart, TaskWebhook, Unproven};

/// Tasks whose webhooks have the task's name as their path, and the runs that were started.
#[derive(Default)]
struct Tasks {
    starts: Mutex<Vec<(HookStart, Run)>>,
    refused: Mutex<Vec<(String, String)>>,
    /// The end of a run for which a request waits.
    end: Mutex<Option<(RunState, Value)>>,
    away: bool,
}

impl Tasks {
    fn starts(&self) -> Vec<HookStart> {
        self.starts.lock().unwrap().iter().map(|(start, _)| start.clone()).collect()
    }

    fn last_refusal(&self) -> String {
        self.refused.lock().unwrap().last().unwrap().1.clone()
    }
}

impl TaskHooks for Tasks {
    fn find(&self, path: &str) -> Option<TaskWebhook> {
        let mut trigger = WebhookTrigger {
            path: path.to_owned(),
            signature: None,
            open: path.starts_with("open"),
            sync: path.ends_with("sync"),
            get: path.contains("get"),
        };
        match path {
            "open" | "open/get" | "open/sync" | "policy" | "closed" => {}
            "github" | "gitea" | "standard" | "azure" => {
                let (kind, secret) = (path.to_owned(), "HOOK_SECRET".to_owned());
                trigger.signature = Some(WebhookSignature { kind, secret });
            }
            _ => return None,
        }
        Some(TaskWebhook {
            task: "shop:digest".parse().unwrap(),
            trigger,
            may_be_open: path == "policy",
            params: Vec::new(),
            request_time: Duration::from_secs(30),
        })
    }

    fn verify(&self, check: HookCheck) -> BoxFuture<'_, Result<(), Unproven>> {
        assert_eq!((check.project.as_str(), check.secret.as_str()), ("shop", "HOOK_SECRET"));
        assert!(!check.headers.iter().any(|(name, _)| name == "cookie"), "{check:?}");
        let secret = WebhookSecret::new(check.kind.parse().unwrap(), [SECRET]).unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in &check.headers {
            let name: http::HeaderName = name.parse().unwrap();
            headers.append(name, value.parse().unwrap());
        }
        let proven = Verifier::new(&secret, &headers, Timestamp::now()).and_then(|mut verifier| {
            verifier.update(&STANDARD.decode(&check.body).unwrap());
            verifier.finish()
        });
        let problem = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no-router", "no router is there");
        let answer = match proven {
            _ if self.away => Err(Unproven::Unavailable(problem())),
            proven => proven.map_err(|why| Unproven::Refused(why.to_string())),
        };
        Box::pin(async { answer })
    }

    fn start(&self, start: HookStart) -> BoxFuture<'_, Result<Run, Problem>> {
        let mut starts = self.starts.lock().unwrap();
        let known = starts.iter().find(|(known, _)| start.key.is_some() && known.key == start.key);
        let run = known.map(|(_, run)| run.clone()).unwrap_or_else(|| {
            let run = run(start.task.clone());
            starts.push((start, run.clone()));
            run
        });
        Box::pin(async { Ok(run) })
    }

    fn wait(&self, id: RunId, limit: Duration) -> BoxFuture<'_, Result<Run, Problem>> {
        assert_eq!(limit, Duration::from_secs(30));
        let mut run = run("shop:digest".parse().unwrap());
        run.id = id;
        if let Some((state, result)) = self.end.lock().unwrap().clone() {
            run.state = state;
            match state {
                RunState::Succeeded => run.result = Some(result),
                _ => run.error = Some(RunError::new("threw", "a secret message")),
            }
        }
        Box::pin(async { Ok(run) })
    }

    fn refused(&self, path: &str, _: Option<&TaskId>, why: &str) {
        self.refused.lock().unwrap().push((path.to_owned(), why.to_owned()));
    }
}

fn run(task: TaskId) -> Run {
    Run {
        id: RunId::new_now(),
        task,
        is_pipeline: false,
        state: RunState::Queued,
        trigger: RunTrigger::Webhook,
        by: None,
        key: None,
        scheduled_at: None,
        queued_at: Timestamp::now(),
        started_at: None,
        ended_at: None,
        version: None,
        consistency: Consistency::Run,
        attempt: 1,
        attempts: 1,
        next_attempt_at: None,
        parent: None,
        step: None,
        params: Value::Null,
        result: None,
        error: None,
        router: None,
        log_lines: 0,
    }
}

async fn start(tasks: Tasks) -> (Server, Arc<Tasks>) {
    let tasks = Arc::new(tasks);
    let server = Server::with(|hooks| hooks.with_tasks(tasks.clone())).await;
    (server, tasks)
}

fn json_body(body: &str) -> Delivery {
    Delivery::new(ForgeKind::Github, &[("content-type", "application/json"), ("cookie", "a=b")], body)
}

fn signed_json(kind: &str, body: &str) -> Delivery {
    signed(Delivery { kind: kind.parse().unwrap(), ..json_body(body) })
}

#[tokio::test]
async fn a_signed_request_starts_a_run_and_is_told_its_id() {
    let (server, tasks) = start(Tasks::default()).await;
    for (number, kind) in ["github", "gitea", "standard", "azure"].into_iter().enumerate() {
        let answer = server.post(&format!("/hooks/{kind}"), &signed_json(kind, r#"{"n": 1}"#)).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        let starts = tasks.starts();
        assert_eq!(starts.len(), number + 1);
        assert_eq!(starts[number].input, json!({"n": 1}));
        assert_eq!(answer.json()["run"], tasks.starts.lock().unwrap()[number].1.id.to_string());
    }
}

#[tokio::test]
async fn an_unknown_path_a_closed_webhook_and_a_wrong_proof_get_the_same_answer() {
    let (server, tasks) = start(Tasks::default()).await;
    let good = signed_json("github", "{}");
    let forged = json_body("{}").signed("guessed", 0);
    let mut changed = good.clone();
    changed.body.push(b' ');
    let answers = [
        server.post("/hooks/nowhere", &good).await,
        server.post("/hooks/closed", &good).await,
        server.post("/hooks/github", &forged).await,
        server.post("/hooks/github", &changed).await,
        server.post("/hooks/standard", &good).await,
        server.post("/hooks/github", &json_body("{}")).await,
        server.post("/hooks/nowhere", &json_body("{}")).await,
    ];
    for answer in &answers {
        assert_eq!((answer.status, &answer.body), (401, &answers[0].body));
        assert_eq!(answer.head, answers[0].head);
        assert!(!answer.body.contains("nowhere"));
    }
    assert!(tasks.starts().is_empty());
    assert_eq!(tasks.refused.lock().unwrap().len(), answers.len());
    server.post("/hooks/closed", &good).await;
    assert!(tasks.last_refusal().contains("open_webhooks = true"), "{}", tasks.last_refusal());
    for (path, reason) in [
        ("nowhere", "there is no webhook at this path"),
        ("closed", "open_webhooks = true"),
        ("github", "the project's variable HOOK_SECRET"),
    ] {
        server.post(&format!("/hooks/{path}"), &json_body("{}")).await;
        assert!(tasks.last_refusal().contains(reason), "{path}: {}", tasks.last_refusal());
    }
}

#[tokio::test]
async fn a_webhook_without_a_secret_is_open_where_it_or_the_policy_says_so() {
    let (server, tasks) = start(Tasks::default()).await;
    for path in ["open", "policy"] {
        assert_eq!(server.post(&format!("/hooks/{path}"), &json_body("{}")).await.status, 202, "{path}");
    }
    assert_eq!(tasks.starts().len(), 2);
}

#[tokio::test]
async fn a_delivery_that_comes_again_is_the_same_run() {
    let (server, tasks) = start(Tasks::default()).await;
    let push = signed_json("github", "{}").with("x-github-delivery", "72d3162e");
    let answers = [server.post("/hooks/github", &push).await, server.post("/hooks/github", &push).await];
    assert_eq!(answers[0].body, answers[1].body);
    assert_eq!(tasks.starts().len(), 1);
    assert_eq!(tasks.starts()[0].key.as_deref(), Some("webhook:github:72d3162e"));
    let open = json_body("{}").with("idempotency-key", "1");
    server.post("/hooks/open", &open).await;
    server.post("/hooks/open", &open).await;
    server.post("/hooks/open", &json_body("{}")).await;
    server.post("/hooks/open", &json_body("{}")).await;
    assert_eq!(tasks.starts().len(), 4);
}

#[tokio::test]
async fn the_test_of_a_new_webhook_starts_nothing_and_has_to_be_signed() {
    let (server, tasks) = start(Tasks::default()).await;
    let ping = signed_json("github", "{}").with("x-github-event", "ping");
    assert_eq!(server.post("/hooks/github", &ping).await.status, 200);
    let forged = json_body("{}").with("x-github-event", "ping").signed("guessed", 0);
    assert_eq!(server.post("/hooks/github", &forged).await.status, 401);
    assert!(tasks.starts().is_empty());
}

#[tokio::test]
async fn get_is_for_open_webhooks_that_take_it() {
    let (server, tasks) = start(Tasks::default()).await;
    for path in ["open", "github", "closed", "nowhere"] {
        let answer = server.send(&format!("GET /hooks/{path} HTTP/1.1\r\n"), b"").await;
        assert_eq!(answer.status, 405, "{path}");
        assert!(answer.head.contains("allow: post, put, patch"), "{}", answer.head);
    }
    assert!(tasks.starts().is_empty());
    let answer = server.send("GET /hooks/open/get?name=Ada&name=Eve HTTP/1.1\r\n", b"").await;
    assert_eq!(answer.status, 202);
    assert_eq!(tasks.starts()[0].input, json!({"name": ["Ada", "Eve"]}));
    let delete = server.send("DELETE /hooks/open/get HTTP/1.1\r\n", b"").await;
    assert_eq!(delete.status, 405);
}

#[tokio::test]
async fn a_result_is_the_answer_where_the_webhook_waits_for_it() {
    let (server, tasks) = start(Tasks::default()).await;
    let answer = async |state, result| {
        *tasks.end.lock().unwrap() = Some((state, result));
        server.post("/hooks/open/sync", &json_body("{}")).await
    };
    let result = answer(RunState::Succeeded, json!({"sum": 3})).await;
    assert_eq!((result.status, result.json()), (200, json!({"sum": 3})));
    let html = json!({"output": {"contentType": "text/html", "content": "<b>ä</b>"}});
    let html = answer(RunState::Succeeded, html).await;
    assert_eq!((html.status, html.body.as_str()), (200, "<b>ä</b>"));
    assert!(html.head.contains("content-type: text/html; charset=utf-8"), "{}", html.head);
    let file = json!({"output": {
        "contentType": "text/csv", "content": "YSxi", "encoding": "base64", "name": "a\"\r\n.csv",
    }});
    let file = answer(RunState::Succeeded, file).await;
    assert_eq!(file.body, "a,b");
    assert!(file.head.contains("content-disposition: attachment; filename=\"a___.csv\""), "{}", file.head);
    let hostile = json!({"output": {"contentType": "a\r\nb: c", "content": ""}});
    assert_eq!(answer(RunState::Succeeded, hostile.clone()).await.json(), hostile);
    for (state, status) in [(RunState::Failed, 500), (RunState::TimedOut, 504), (RunState::Lost, 503)] {
        let failed = answer(state, Value::Null).await;
        assert_eq!(failed.status, status);
        assert_eq!(failed.json()["type"], "urn:switchyard:problem:run-failed");
        assert!(failed.body.contains("threw") && !failed.body.contains("secret"), "{}", failed.body);
    }
    let late = answer(RunState::Running, Value::Null).await;
    assert_eq!(late.status, 202);
    assert!(late.json()["run"].is_string());
}

#[tokio::test]
async fn a_body_beyond_the_limit_and_a_flood_are_refused() {
    let (server, tasks) = start(Tasks::default()).await;
    let large = json_body(&format!("\"{}\"", "x".repeat(RUN_INPUT)));
    for path in ["open", "github", "nowhere"] {
        let delivery = large.clone().signed(SECRET, 0);
        assert_eq!(server.post(&format!("/hooks/{path}"), &delivery).await.status, 413, "{path}");
    }
    let mut refused = None;
    for _ in 0..3000 {
        let answer = server.post("/hooks/open", &json_body("1")).await;
        if answer.status != 202 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("a request is refused");
    assert_eq!(refused.status, 429);
    assert!(refused.head.contains("retry-after: 1"), "{}", refused.head);
    assert!(tasks.starts().len() >= 999, "{}", tasks.starts().len());
    assert_eq!(server.post("/hooks/policy", &json_body("1")).await.status, 202);
}

#[tokio::test]
async fn strangers_use_up_nothing_of_a_signed_webhook() {
    let (server, tasks) = start(Tasks::default()).await;
    let forged = json_body("{}").signed("guessed", 0);
    for _ in 0..1100 {
        assert_eq!(server.post("/hooks/github", &forged).await.status, 401);
    }
    assert!((120..200).contains(&tasks.refused.lock().unwrap().len()), "not all of a flood is reported");
    let genuine = signed_json("github", "{}");
    let mut taken = 0;
    while server.post("/hooks/github", &genuine).await.status == 202 {
        taken += 1;
        assert!(taken < 3000, "nothing is refused");
    }
    assert!(taken >= 1000, "{taken}");
}

#[tokio::test]
async fn a_path_that_a_stranger_chose_is_cut_in_the_log() {
    let (server, tasks) = start(Tasks::default()).await;
    server.post(&format!("/hooks/{}", "x".repeat(8000)), &json_body("{}")).await;
    assert_eq!(tasks.refused.lock().unwrap()[0].0.len(), 64);
}

#[tokio::test]
async fn a_sender_is_told_to_come_again_while_no_router_can_be_asked() {
    let (server, tasks) = start(Tasks { away: true, ..Tasks::default() }).await;
    assert_eq!(server.post("/hooks/github", &signed_json("github", "{}")).await.status, 503);
    assert!(tasks.starts().is_empty());
}

#[tokio::test]
async fn paths_of_git_are_never_tasks_and_no_tasks_are_no_webhooks() {
    let (server, _) = start(Tasks::default()).await;
    for path in ["/hooks/git", "/hooks/git/", "/hooks/git/open/more", "/hooks/", "/open"] {
        assert_eq!(server.post(path, &json_body("{}")).await.status, 404, "{path}");
    }
    let push = signed(recorded::github("push", recorded::GITHUB_PUSH));
    assert_eq!(server.deliver(&push).await.status, 202);
    let without = Server::start().await;
    assert_eq!(without.post("/hooks/open", &json_body("{}")).await.status, 404);
}
