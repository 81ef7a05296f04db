use super::*;

const RUN: &str = "018f0000-0000-7000-8000-000000000000";

fn run_of(state: &str, more: &Value) -> Value {
    let mut run = json!({
        "id": RUN, "task": "blog:reports/digest", "state": state, "trigger": "manual",
        "queued_at": "2026-03-01T12:00:00Z", "attempt": 1, "attempts": 1,
    });
    run.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    run
}

fn accepted() -> Reply {
    Reply::Json(202, json!({"run": run_of("queued", &json!({})), "is_new": true}))
}

fn succeeded() -> Value {
    run_of(
        "succeeded",
        &json!({"started_at": "2026-03-01T12:00:00Z", "ended_at": "2026-03-01T12:00:01.250Z",
        "result": {"sent": 3}}),
    )
}

fn lines(bridge: &FakeBridge) -> Vec<String> {
    bridge.requests().iter().map(|request| format!("{} {}", request.method, request.path)).collect()
}

#[tokio::test]
async fn a_start_sends_parameters_and_input_and_names_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("in.json");
    fs::write(&file, "[1]").unwrap();
    let bridge = FakeBridge::answering([accepted()]).await;
    let input = file.to_str().unwrap();
    let args = ["task", "run", "blog:reports/digest", "--param", "to=x", "--param", "n:=3", "--input", input];
    let ran = run_with(&bridge, &args).await;
    assert_eq!(ran.exit, 0, "{ran:?}");
    assert!(ran.out.contains("is queued") && ran.out.contains(RUN), "{ran:?}");
    assert_eq!(lines(&bridge), ["POST /tasks/blog:reports%2Fdigest/run"]);
    let request = &bridge.requests()[0];
    assert!(request.headers.contains_key("idempotency-key"));
    let body: Value = serde_json::from_slice(request.body.as_ref().unwrap()).unwrap();
    assert_eq!((&body["params"], &body["input"]), (&json!({"to": "x", "n": 3}), &json!([1])));
}

#[tokio::test]
async fn a_start_whose_connection_breaks_is_sent_again_with_its_key() {
    let bridge = FakeBridge::answering([Reply::Break, accepted()]).await;
    let ran = run_with(&bridge, &["pipeline", "run", "blog:import"]).await;
    assert_eq!(ran.exit, 0, "{ran:?}");
    let requests = bridge.requests();
    assert_eq!(lines(&bridge), ["POST /pipelines/blog:import/run"; 2]);
    assert_eq!(requests[0].headers["idempotency-key"], requests[1].headers["idempotency-key"]);
}

#[tokio::test]
async fn a_run_that_is_waited_for_decides_the_exit_status() {
    let error = json!({"reason": "threw", "message": "no \u{1b} way"});
    let failed = run_of("failed", &json!({"error": error}));
    for (end, exit, says) in [(succeeded(), 0, "succeeded after 1.25 s"), (failed, 1, "threw: no ␛ way")] {
        let running = Reply::Json(200, run_of("running", &json!({})));
        let bridge = FakeBridge::answering([accepted(), running, Reply::Json(200, end)]).await;
        let ran = run_with(&bridge, &["task", "run", "blog:reports/digest", "--wait"]).await;
        assert_eq!(ran.exit, exit, "{ran:?}");
        assert!(ran.err.contains(says), "{ran:?}");
        assert_eq!(ran.out, if exit == 0 { "{\"sent\":3}\n" } else { "" });
        let wait = format!("GET /runs/{RUN}?wait=25");
        assert_eq!(lines(&bridge)[1..], [wait.clone(), wait]);
    }
}

#[tokio::test]
async fn a_run_that_is_followed_prints_its_lines_and_its_result() {
    let line = |n: u64| {
        event(
            "line",
            &json!({"n": n, "at": "2026-03-01T12:00:00Z", "stream": "stdout", "line": format!("l{n}")}),
        )
    };
    let events = [": hello\n\n".to_owned(), line(0), line(1), event("end", &succeeded())].concat();
    let bridge = FakeBridge::answering([accepted(), Reply::Events(events, 9)]).await;
    let ran = run_with(&bridge, &["task", "run", "blog:reports/digest", "--follow"]).await;
    assert_eq!(ran.exit, 0, "{ran:?}");
    let expected = "2026-03-01T12:00:00Z stdout l0\n2026-03-01T12:00:00Z stdout l1\n{\"sent\":3}\n";
    assert_eq!(ran.out, expected);
    assert_eq!(lines(&bridge)[1], format!("GET /runs/{RUN}/logs?from=0&follow=1"));
}

#[tokio::test]
async fn a_refusal_has_its_own_status() {
    for (status, slug, exit) in [
        (409, "overlap", 2),
        (422, "invalid-params", 2),
        (429, "queue-full", 2),
        (404, "unknown-task", 1),
        (503, "no-router", 3),
    ] {
        let bridge = FakeBridge::answering([Reply::Json(status, problem(slug, "why"))]).await;
        let ran = run_with(&bridge, &["task", "run", "blog:digest", "--wait"]).await;
        assert_eq!((ran.exit, ran.err.as_str()), (exit, "why\n"), "{slug}");
    }
}

#[tokio::test]
async fn the_conditions_of_a_list_are_sent() {
    let page = json!({"runs": [run_of("timed-out", &json!({}))], "next": "c2"});
    let bridge = FakeBridge::answering([Reply::Json(200, page)]).await;
    let args = [
        "run",
        "list",
        "blog:x",
        "--state",
        "failed,timed-out",
        "--since",
        "2026-03-01T08:00:00Z",
        "--limit",
        "1",
    ];
    let ran = run_with(&bridge, &args).await;
    assert_eq!(ran.exit, 0, "{ran:?}");
    assert!(ran.out.contains("timed-out") && ran.err.contains("--cursor c2"), "{ran:?}");
    let query = "task=blog%3Ax&state=failed%2Ctimed-out&since=2026-03-01T08%3A00%3A00Z&limit=1";
    assert_eq!(lines(&bridge), [format!("GET /runs?{query}")]);
}

#[tokio::test]
async fn verbs_of_a_run_send_what_they_mean() {
    let cancelled = Reply::Json(200, run_of("cancelled", &json!({})));
    for (args, reply, line, body) in [
        (&["cancel"][..], cancelled, "POST /runs/RUN/cancel?wait=25", None),
        (
            &["retry", "--version", "latest"],
            accepted(),
            "POST /runs/RUN/retry",
            Some(json!({"version": "latest"})),
        ),
        (
            &["resume", "--from-step", "b", "--latest"],
            accepted(),
            "POST /runs/RUN/resume",
            Some(json!({"from_step": "b", "latest": true})),
        ),
        (&["show"], Reply::Json(200, succeeded()), "GET /runs/RUN", None),
        (
            &["logs"],
            Reply::Json(200, json!({"lines": [], "next": 0, "is_end": true})),
            "GET /runs/RUN/logs?from=0",
            None,
        ),
        (&["delete"], Reply::Json(200, Value::Null), "DELETE /runs/RUN", None),
    ] {
        let bridge = FakeBridge::answering([reply]).await;
        let ran = run_with(&bridge, &[&["run", args[0], RUN], &args[1..]].concat()).await;
        assert_eq!(ran.exit, 0, "{ran:?}");
        assert_eq!(lines(&bridge), [line.replace("RUN", RUN)]);
        if let Some(body) = body {
            let sent = bridge.requests()[0].body.clone().unwrap();
            assert_eq!(serde_json::from_slice::<Value>(&sent).unwrap(), body);
        }
    }
}

#[tokio::test]
async fn a_wrong_input_is_named_and_nothing_is_sent() {
    let bridge = FakeBridge::answering([]).await;
    for (args, says) in [
        (&["--input", "/no/such/file"][..], "/no/such/file"),
        (&["--param", "x"], "NAME=TEXT"),
        (&["--param", "a=1", "--param", "a=2"], "given twice"),
    ] {
        let ran = run_with(&bridge, &[&["task", "run", "blog:digest"], args].concat()).await;
        assert_eq!(ran.exit, 64, "{ran:?}");
        assert!(ran.err.contains(says), "{ran:?}");
    }
    assert!(bridge.requests().is_empty());
}

#[tokio::test]
async fn a_folder_is_checked_without_a_bridge() {
    let dir = tempfile::tempdir().unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut console = Console {
        out: &mut out,
        err: &mut err,
        terminal: false,
        input: None,
        piped: None,
        look: Look::default(),
    };
    let exit = run_line(&["task", "lint", dir.path().to_str().unwrap()], LONG, |_| None, &mut console).await;
    assert_eq!((exit, err.as_slice()), (0, &b""[..]));
    let out = String::from_utf8(out).unwrap();
    assert!(out.starts_with("no tasks\nnot checked: the code.") && out.contains("Deno.cron"), "{out}");
}
