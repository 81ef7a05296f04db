use super::*;

#[tokio::test]
async fn a_rollback_and_a_removal_are_requested_like_a_deploy() {
    let digest = Digest::from([0xab; 32]);
    let live = Reply::Events(events(200, &record("live", Some(digest))), 9);
    let removed = Reply::Events(events(200, &record("removed", None)), 9);
    let bridge = FakeBridge::answering([live, removed]).await;
    let ran = run_with(&bridge, &["rollback", "blog", "abababababab"]).await;
    assert_eq!((ran.out.as_str(), ran.exit), ("blog@abababababab is live on 2 routers (312 ms)\n", 0));
    let ran = run_with(&bridge, &["remove", "blog", "--yes"]).await;
    assert_eq!((ran.out.as_str(), ran.exit), ("blog is removed from 2 routers (312 ms)\n", 0));

    let requests = bridge.requests();
    let paths: Vec<_> =
        requests.iter().map(|requests| (requests.method.as_str(), requests.path.as_str())).collect();
    assert_eq!(paths, [("POST", "/projects/blog/rollback?to=abababababab"), ("DELETE", "/projects/blog")]);
    for requests in &requests {
        assert_eq!(requests.headers["accept"], "text/event-stream");
        assert!(requests.headers.contains_key("idempotency-key"));
    }
}

#[tokio::test]
async fn an_unknown_project_ends_with_status_one() {
    let mut unknown = problem("unknown-project", "there is no project blog");
    unknown["project"] = json!("blog");
    let unknown = Reply::Json(404, unknown);
    for args in [
        &["status", "blog"][..],
        &["remove", "blog", "--yes"],
        &["rollback", "blog"],
        &["logs", "blog"],
        &["reload", "blog"],
        &["open", "blog"],
        &["inspect", "blog"],
    ] {
        let bridge = FakeBridge::answering([unknown.clone()]).await;
        let ran = run_with(&bridge, args).await;
        assert_eq!((ran.exit, ran.out.as_str(), ran.err.as_str()), (1, "", "there is no project blog\n"));
    }
}

/// Runs `remove` with these flags, and types `answer` at the prompt.
async fn remove_answered(bridge: &FakeBridge, flags: &[&str], answer: &str) -> Ran {
    let (mut out, mut err, mut input) = (Vec::new(), Vec::new(), answer.as_bytes());
    let to = bridge.to();
    let args = [&["remove", "blog", "--to", &to], flags].concat();
    let mut console = Console {
        out: &mut out,
        err: &mut err,
        terminal: false,
        input: Some(&mut input),
        piped: None,
        look: Look::default(),
    };
    let exit = run_line(&args, LONG, |_| None, &mut console).await;
    Ran { out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap(), exit }
}

#[tokio::test]
async fn a_removal_is_confirmed_on_a_terminal_and_refused_without_one() {
    let bridge = FakeBridge::answering([]).await;
    let ran = run_with(&bridge, &["remove", "blog"]).await;
    assert_eq!((ran.exit, ran.out.as_str()), (64, ""));
    assert!(ran.err.contains("--yes"), "{ran:?}");
    for (flags, answer) in [(&[][..], "n\n"), (&[], ""), (&[], "blo\n"), (&["--delete-data"], "y\n")] {
        let ran = remove_answered(&bridge, flags, answer).await;
        assert_eq!(ran.exit, 2, "{answer:?}");
        assert!(ran.err.contains("Type ") && ran.err.contains("blog was not removed"), "{ran:?}");
    }
    assert!(bridge.requests().is_empty(), "nothing is sent without a yes");
}

#[tokio::test]
async fn a_removal_reports_how_to_restore_or_delete_the_kept_data() {
    let removed = |data: &str| {
        let mut record = record("removed", None);
        record["projects"][0]["removal"] = json!({"at": "2026-11-01T10:00:00Z", "until": "2026-12-01T10:00:00Z", "version": "blog@1", "data": data});
        Reply::Events(events(200, &record), 9)
    };
    let bridge = FakeBridge::answering([removed("keep"), removed("delete")]).await;
    let ran = remove_answered(&bridge, &[], "y\n").await;
    assert_eq!(ran.exit, 0, "{ran:?}");
    for part in ["until 2026-12-01 10:00 UTC", "rollback blog restores it with its data", "--delete-data"] {
        assert!(ran.out.contains(part), "{ran:?}");
    }
    let ran = remove_answered(&bridge, &["--delete-data"], "blog\n").await;
    assert!(ran.out.contains("its data is deleted"), "{ran:?}");
    let requests = bridge.requests();
    let paths: Vec<_> = requests.iter().map(|requests| requests.path.as_str()).collect();
    assert_eq!(paths, ["/projects/blog", "/projects/blog?data=delete"]);
}

#[tokio::test]
async fn a_project_of_a_git_source_is_removed_with_the_flag_that_says_so() {
    let refusal = problem("bound-to-source", "blog comes from the git source shop: send override=1");
    let removed = Reply::Events(events(200, &record("removed", None)), 9);
    let bridge = FakeBridge::answering([Reply::Json(409, refusal), removed]).await;
    let ran = run_with(&bridge, &["remove", "blog", "--yes"]).await;
    assert!(ran.exit == 2 && ran.err.contains("git source shop"), "{ran:?}");
    let ran = run_with(&bridge, &["remove", "blog", "--yes", "--override", "--delete-data"]).await;
    assert_eq!(ran.exit, 0, "{ran:?}");
    let requests = bridge.requests();
    let paths: Vec<_> = requests.iter().map(|request| request.path.as_str()).collect();
    assert_eq!(paths, ["/projects/blog", "/projects/blog?data=delete&override=1"]);
}

#[tokio::test]
async fn a_bridge_behind_a_path_is_found() {
    let bridge = FakeBridge::answering([Reply::Json(200, json!({"projects": []}))]).await;
    let ran = run_at(&format!("{}/deploys/", bridge.to()), &["status"], LONG).await;
    assert_eq!((ran.exit, ran.out.as_str()), (0, "no projects\n"));
    assert_eq!(bridge.requests()[0].path, "/deploys/projects");
}

fn blog(routers: &[&str]) -> Value {
    let live = json!({"digest": "ab", "version": "blog@1"});
    let part = routers.iter().map(|router| json!({"router": router, "state": "live", "live": live}));
    json!({"project": "blog", "skew": false, "routers": part.collect::<Vec<_>>()})
}

#[tokio::test]
async fn the_status_of_one_project_is_a_table_too_and_scripts_get_the_json() {
    let reply = Reply::Json(200, blog(&["r1", "r2"]));
    let bridge = FakeBridge::answering([reply.clone(), reply]).await;
    let ran = run_with(&bridge, &["status", "blog"]).await;
    assert_eq!(ran.out, "PROJECT  STATE  VERSION\nblog     live   blog@1\n");
    let ran = run_with(&bridge, &["status", "blog", "--json"]).await;
    assert_eq!(ran.json(), blog(&["r1", "r2"]));
}

fn line(router: &str, text: &str) -> String {
    let data = json!({"router": router, "timestamp": "2026-03-01T12:00:00Z", "project": "blog", "version": "blog@1",
        "pid": 7, "stream": "stdout", "line": text});
    event("line", &data)
}

#[tokio::test]
async fn log_lines_name_their_router_only_where_there_are_several() {
    let table = [(&["r1"][..], ""), (&["r1", "r2"], "r1 ")];
    for (routers, name) in table {
        let lines = line("r1", "one") + &line("r1", "two é");
        let replies = [Reply::Json(200, blog(routers)), Reply::Events(lines, 3)];
        let bridge = FakeBridge::answering(replies).await;
        let ran = run_with(&bridge, &["logs", "blog", "--lines", "2"]).await;
        let head = format!("{name}2026-03-01T12:00:00.000Z blog@1 stdout");
        assert_eq!(ran.out, format!("{head} one\n{head} two é\n"));
        assert_eq!((ran.exit, ran.err.as_str()), (0, ""));
        assert_eq!(bridge.requests()[1].path, "/projects/blog/logs?lines=2");
    }
}

#[tokio::test]
async fn log_lines_are_shown_escaped_and_control_no_terminal() {
    let evil = "a\tb\u{1b}[2J\u{9b}31m\u{202e}\r\nINFO forged";
    for json in [false, true] {
        let replies = [Reply::Json(200, blog(&["r1"])), Reply::Events(line("r1", evil), 50)];
        let bridge = FakeBridge::answering(replies).await;
        let args = ["logs", "blog", "--json"];
        let ran = run_with(&bridge, &args[..if json { 3 } else { 2 }]).await;
        assert_eq!(ran.out.lines().count(), 1, "{}", ran.out);
        if json {
            assert!(
                !ran.out.trim_end().contains(|c: char| c.is_control() || c == '\u{202e}'),
                "{:?}",
                ran.out
            );
            assert_eq!(ran.json()["line"], evil);
        } else {
            assert!(ran.out.ends_with("stdout a\tb␛[2J\\u{9b}31m\\u{202e}␍␊INFO forged\n"), "{:?}", ran.out);
        }
    }
}

#[tokio::test]
async fn a_log_event_that_is_not_json_is_not_passed_on() {
    let events = "event: line\ndata: \u{1b}[2J\n\n".to_owned();
    let bridge = FakeBridge::answering([Reply::Json(200, blog(&["r1"])), Reply::Events(events, 50)]).await;
    let ran = run_with(&bridge, &["logs", "blog", "--json"]).await;
    assert_eq!((ran.exit, ran.out.as_str()), (3, ""));
    assert!(!ran.err.contains('\u{1b}'), "{:?}", ran.err);
}

#[tokio::test]
async fn scripts_get_one_json_object_for_each_line() {
    let replies =
        [Reply::Json(200, blog(&["r1"])), Reply::Events(line("r1", "one") + &line("r1", "two"), 50)];
    let bridge = FakeBridge::answering(replies).await;
    let ran = run_with(&bridge, &["logs", "blog", "--json"]).await;
    let lines: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.iter().map(|line| &line["line"]).collect::<Vec<_>>(), ["one", "two"]);
}

#[tokio::test]
async fn a_router_with_an_unreadable_log_is_named() {
    let events = event("error", &json!({"router": "r2", "error": "no connection"})) + &line("r1", "one");
    let bridge =
        FakeBridge::answering([Reply::Json(200, blog(&["r1", "r2"])), Reply::Events(events, 50)]).await;
    let ran = run_with(&bridge, &["logs", "blog"]).await;
    assert_eq!((ran.exit, ran.err.as_str()), (3, "r2: no connection\n"));
    assert!(ran.out.ends_with("one\n"));
}

#[tokio::test]
async fn a_log_that_is_followed_and_ends_has_been_cut_off() {
    let bridge =
        FakeBridge::answering([Reply::Json(200, blog(&["r1"])), Reply::Events(line("r1", "one"), 50)]).await;
    let ran = run_at(&bridge.to(), &["logs", "blog", "--follow"], Duration::from_secs(1)).await;
    assert_eq!(ran.exit, 3);
    assert!(ran.out.ends_with("one\n") && ran.err.contains("ended the log"), "{ran:?}");
    assert_eq!(bridge.requests()[1].path, "/projects/blog/logs?follow=1");
}

/// Standard output that the reader has closed.
struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_reader_that_stops_early_is_not_a_failure() {
    let bridge = FakeBridge::answering([Reply::Json(200, json!({"projects": []}))]).await;
    let mut err = Vec::new();
    let mut console = Console {
        out: &mut Closed,
        err: &mut err,
        terminal: false,
        input: None,
        piped: None,
        look: Look::default(),
    };
    let to = bridge.to();
    let args = ["status", "--to", &to];
    assert_eq!(run_line(&args, LONG, |_| None, &mut console).await, 0);
    assert!(err.is_empty());
}

#[tokio::test]
async fn what_is_followed_goes_on_without_a_line_twice_when_the_bridge_is_back() {
    let timed =
        |second: u32, text: &str| line("r1", text).replace("12:00:00Z", &format!("12:00:{second:02}Z"));
    let again = timed(1, "one") + &timed(2, "two") + &event("resumed", &json!({"router": "r1"}));
    let replies = [
        Reply::Json(200, blog(&["r1"])),
        Reply::BreakAfter(timed(1, "one")),
        Reply::Break,
        Reply::Json(404, problem("unknown-project", "there is no project blog")),
        Reply::Events(again, 50),
        Reply::Json(401, problem("unauthorized", "no")),
    ];
    let bridge = FakeBridge::answering(replies).await;
    let ran = run_with(&bridge, &["logs", "blog", "--follow"]).await;
    let texts: Vec<_> = ran.out.lines().filter_map(|line| line.rsplit(' ').next()).collect();
    assert_eq!((ran.exit, texts), (2, vec!["one", "two"]), "{}", ran.err);
    for part in ["trying again for", "the bridge is back", "r1: it is back"] {
        assert!(ran.err.contains(part), "{part}: {}", ran.err);
    }
    assert_eq!(bridge.requests()[4].path, "/projects/blog/logs?lines=1000&follow=1");
}

#[tokio::test]
async fn a_filter_that_takes_no_line_is_named() {
    let replies = [Reply::Json(200, blog(&["r1"])), Reply::Events(line("r1", "one"), 50)];
    let bridge = FakeBridge::answering(replies).await;
    let ran = run_with(&bridge, &["logs", "blog", "--request", "zz"]).await;
    assert_eq!((ran.exit, ran.err.as_str()), (0, "no line matches --request zz\n"));
}
