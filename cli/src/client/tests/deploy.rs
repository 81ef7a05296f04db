use super::*;
use switchyard_contract::project::ProjectName;

const HOW_TO_GIVE_ONE: &str = "; give the token with --token-file or in SWITCHYARD_TOKEN";

#[tokio::test]
async fn a_folder_is_sent_and_its_phases_are_shown() {
    let blog = Blog::new();
    let bridge = FakeBridge::answering([Reply::Events(events(200, &blog.record()), 7)]).await;
    let ran = run_with(&bridge, &["deploy", &blog.path, "--message", "it's new", "--keep"]).await;
    assert_eq!(ran.exit, 0, "{}", ran.err);
    let version = blog.version();
    assert_eq!(ran.out, format!("{version} is live on 2 routers (312 ms)\n"));
    let expected = format!("{version}: 2 files, 19 B\nreceived\nstored\nbuilt on 1 of 2 routers\n");
    assert_eq!(ran.err, expected);

    let [requests] = &bridge.requests()[..] else { panic!() };
    assert_eq!((requests.method.as_str(), requests.path.as_str()), ("POST", "/deploy/blog?keep=1"));
    assert_eq!(requests.headers["accept"], "text/event-stream");
    assert_eq!(requests.headers["authorization"], format!("Bearer {TOKEN}").as_str());
    let (parts, files) = received(requests).await;
    assert_eq!(parts["message"], "it's new");
    let expected = [("blog/main.ts", "export default {}\n"), ("blog/node_modules/x/index.js", "1")];
    assert_eq!(files, expected.map(|(path, text)| (path.to_owned(), text.to_owned())).into());
}

#[tokio::test]
async fn a_project_of_a_git_source_is_deployed_with_the_flag_that_says_so() {
    let blog = Blog::new();
    let refusal = problem("bound-to-source", "blog comes from the git source shop: deploy --override");
    let done = Reply::Events(events(200, &blog.record()), 100);
    let bridge = FakeBridge::answering([Reply::Json(409, refusal), done]).await;
    let ran = run_with(&bridge, &["deploy", &blog.path]).await;
    assert!(ran.exit == 2 && ran.err.contains("--override"), "{ran:?}");
    let ran = run_with(&bridge, &["deploy", &blog.path, "--override"]).await;
    assert_eq!(ran.exit, 0, "{ran:?}");
    let paths: Vec<_> = bridge.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(paths, ["/deploy/blog", "/deploy/blog?override=1"]);
}

#[tokio::test]
async fn phases_are_read_wherever_their_bytes_are_cut() {
    let blog = Blog::new();
    for size in [1, 2, 3, 11, 64, 4096] {
        let bridge = FakeBridge::answering([Reply::Events(events(200, &blog.record()), size)]).await;
        let ran = run_with(&bridge, &["deploy", &blog.path]).await;
        assert_eq!(ran.exit, 0, "pieces of {size}: {}", ran.err);
        assert!(ran.err.contains("built on 1 of 2 routers"), "pieces of {size}: {}", ran.err);
    }
}

#[tokio::test]
async fn scripts_get_the_record_and_nothing_else() {
    let blog = Blog::new();
    let bridge = FakeBridge::answering([Reply::Events(events(200, &blog.record()), 100)]).await;
    let ran = run_with(&bridge, &["deploy", &blog.path, "--json"]).await;
    assert_eq!((ran.json(), ran.err.as_str(), ran.exit), (blog.record(), "", 0));
}

#[tokio::test]
async fn a_bridge_that_answers_without_events_is_understood() {
    let blog = Blog::new();
    let bridge = FakeBridge::answering([Reply::Json(200, blog.record())]).await;
    let ran = run_with(&bridge, &["deploy", &blog.path]).await;
    assert_eq!((ran.exit, ran.out.contains("is live on 2 routers")), (0, true), "{ran:?}");
}

#[tokio::test]
async fn a_version_that_does_not_build_is_reported_and_ends_with_status_one() {
    let blog = Blog::new();
    let mut body = problem("build-failed", "blog does not build");
    body["error"] = json!({"message": "no", "file": "main.ts", "line": 3, "column": 12, "frame": "> 3 | x"});
    for reply in [Reply::Events(events(422, &body), 10), Reply::Json(422, body)] {
        let bridge = FakeBridge::answering([reply]).await;
        let ran = run_with(&bridge, &["deploy", &blog.path]).await;
        assert_eq!((ran.exit, ran.out.as_str()), (1, ""));
        assert!(ran.err.contains("main.ts:3:12: no\n> 3 | x\nblog does not build\n"), "{}", ran.err);
    }
}

#[tokio::test]
async fn refusals_end_with_two_and_silence_of_routers_with_three() {
    let blog = Blog::new();
    let table = [
        (401, "unauthorized", 2),
        (409, "deploy-under-way", 2),
        (503, "busy", 3),
        (504, "routers-unreachable", 3),
    ];
    for (status, slug, exit) in table {
        let bridge = FakeBridge::answering([Reply::Json(status, problem(slug, "because"))]).await;
        let ran = run_with(&bridge, &["deploy", &blog.path]).await;
        assert_eq!((ran.exit, ran.out.as_str()), (exit, ""), "{status}");
        let hint = if status == 401 { HOW_TO_GIVE_ONE } else { "" };
        assert!(ran.err.ends_with(&format!("because{hint}\n")), "{status}: {}", ran.err);
        assert_eq!(bridge.requests().len(), 1, "an answer is an answer");
    }
}

#[tokio::test]
async fn an_upload_that_is_refused_midway_gets_the_reason() {
    let blog = Blog::new();
    let noise: Vec<u8> = (0..400_000).flat_map(|_| *uuid::Uuid::new_v4().as_bytes()).collect();
    fs::write(format!("{}/noise.bin", blog.path), noise).unwrap();
    let refused = Reply::AtOnce(401, problem("unauthorized", "give a token"));
    let bridge = FakeBridge::answering([refused]).await;
    let ran = run_with(&bridge, &["deploy", &blog.path]).await;
    assert_eq!(ran.exit, 2, "{}", ran.err);
    assert!(ran.err.ends_with(&format!("give a token{HOW_TO_GIVE_ONE}\n")), "{}", ran.err);
    assert_eq!(bridge.requests().len(), 1);
}

#[tokio::test]
async fn a_broken_connection_is_tried_once_more_with_the_same_key_and_files() {
    let blog = Blog::new();
    let half = step("store", None, None) + "event: do";
    for broken in [Reply::Break, Reply::BreakAfter(half.clone()), Reply::Events(half, 5)] {
        let bridge = FakeBridge::answering([broken, Reply::Events(events(200, &blog.record()), 100)]).await;
        let ran = run_with(&bridge, &["deploy", &blog.path]).await;
        assert_eq!(ran.exit, 0, "{}", ran.err);
        assert!(ran.err.contains("trying again"), "{}", ran.err);
        let [first, second] = &bridge.requests()[..] else { panic!("{:?}", bridge.requests()) };
        assert_eq!(first.headers["idempotency-key"], second.headers["idempotency-key"]);
        assert_eq!(received(first).await, received(second).await);
    }
}

#[tokio::test]
async fn a_connection_that_breaks_twice_counts_as_no_answer() {
    let blog = Blog::new();
    let bridge = FakeBridge::answering([Reply::Break, Reply::Break]).await;
    let ran = run_with(&bridge, &["deploy", &blog.path]).await;
    assert_eq!((ran.exit, bridge.requests().len()), (3, 2));
    assert!(ran.err.contains("broke before the answer"), "{}", ran.err);
}

#[tokio::test]
async fn each_run_has_a_key_of_its_own() {
    let blog = Blog::new();
    let live = Reply::Json(200, blog.record());
    let bridge = FakeBridge::answering([live.clone(), live]).await;
    run_with(&bridge, &["deploy", &blog.path]).await;
    run_with(&bridge, &["deploy", &blog.path]).await;
    let [first, second] = &bridge.requests()[..] else { panic!() };
    assert_ne!(first.headers["idempotency-key"], second.headers["idempotency-key"]);
}

#[tokio::test]
async fn an_unreachable_bridge_is_named() {
    let blog = Blog::new();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ran = run_at(&format!("http://{closed}"), &["deploy", &blog.path], LONG).await;
    assert_eq!(ran.exit, 3);
    assert!(ran.err.contains(&closed.to_string()) && ran.err.contains("--to"), "{}", ran.err);
}

#[tokio::test]
async fn a_bridge_that_falls_silent_is_not_waited_for() {
    let blog = Blog::new();
    let bridge = FakeBridge::answering([Reply::Never]).await;
    let ran = run_at(&bridge.to(), &["deploy", &blog.path], Duration::from_millis(200)).await;
    assert_eq!(ran.exit, 3);
    assert!(ran.err.contains("has sent nothing for"), "{}", ran.err);
    assert_eq!(bridge.requests().len(), 1, "silence is not a broken connection");
}

#[tokio::test]
async fn a_server_that_is_not_a_bridge_is_reported() {
    let blog = Blog::new();
    for (page, exit) in [(Reply::Page(200, "<html>"), 3), (Reply::Page(413, "<html>"), 2)] {
        let bridge = FakeBridge::answering([page]).await;
        let ran = run_with(&bridge, &["deploy", &blog.path, "--json"]).await;
        assert_eq!((ran.exit, ran.out.as_str()), (exit, ""));
        assert!(ran.err.contains("--to") || ran.err.contains("413"), "{}", ran.err);
    }
}

#[tokio::test]
async fn other_content_than_was_sent_is_not_a_success() {
    let blog = Blog::new();
    let bridge = FakeBridge::answering([Reply::Json(200, record("live", Some(Digest::from([1; 32]))))]).await;
    let ran = run_with(&bridge, &["deploy", &blog.path]).await;
    assert_eq!(ran.exit, 2);
    assert!(ran.err.contains(&blog.version()), "{}", ran.err);
}

#[tokio::test]
async fn no_wait_returns_the_deploys_id() {
    let blog = Blog::new();
    let mut record = blog.record();
    record["outcome"] = Value::Null;
    let bridge = FakeBridge::answering([Reply::Json(202, record)]).await;
    let ran = run_with(&bridge, &["deploy", &blog.path, "--no-wait"]).await;
    assert_eq!(ran.exit, 0);
    assert_eq!(ran.out, format!("{} is under way: deploy d1\n", blog.version()));
    let [requests] = &bridge.requests()[..] else { panic!() };
    assert_eq!(requests.path, "/deploy/blog?wait=0");
    assert_eq!(requests.headers["accept"], "application/json");
}

#[tokio::test]
async fn all_projects_of_a_folder_are_one_deploy() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["shop", "blog"] {
        fs::create_dir(dir.path().join(name)).unwrap();
        fs::write(dir.path().join(name).join("main.ts"), name).unwrap();
    }
    let bridge = FakeBridge::answering([Reply::Json(202, under_way())]).await;
    let ran = run_with(&bridge, &["deploy", "--all", dir.path().to_str().unwrap()]).await;
    assert_eq!(ran.exit, 0, "{}", ran.err);
    let [requests] = &bridge.requests()[..] else { panic!() };
    assert_eq!(requests.path, "/deploy");
    let (_, files) = received(requests).await;
    assert_eq!(files.keys().collect::<Vec<_>>(), ["blog/main.ts", "shop/main.ts"]);
}

#[tokio::test]
async fn omitted_files_are_listed_before_the_upload() {
    let blog = Blog::new();
    for name in [".env", "a.log", "b.log"] {
        fs::write(format!("{}/{name}", blog.path), "x").unwrap();
    }
    fs::write(format!("{}/.gitignore", blog.path), "*.log\n").unwrap();
    let bridge = FakeBridge::answering([Reply::Json(200, blog.record())]).await;
    let ran = run_with(&bridge, &["deploy", &blog.path]).await;
    assert_eq!(ran.exit, 0, "{}", ran.err);
    let expected = "left out, 1 (.env*): .env\nleft out, 2 (.gitignore): a.log, b.log\n";
    assert!(ran.err.contains(expected), "{}", ran.err);
    let (_, files) = received(&bridge.requests()[0]).await;
    let sent: Vec<_> = files.keys().collect();
    assert_eq!(sent, ["blog/.gitignore", "blog/main.ts", "blog/node_modules/x/index.js"]);
}

#[tokio::test]
async fn a_long_list_of_omitted_files_is_shortened() {
    let blog = Blog::new();
    for number in 0..250 {
        fs::write(format!("{}/{number:03}.log", blog.path), "").unwrap();
    }
    fs::write(format!("{}/.gitignore", blog.path), "*.log\n").unwrap();
    let ran = run_at("", &["deploy", &blog.path, "--dry-run"], LONG).await;
    assert!(ran.out.contains("left out, 250 (.gitignore): 000.log, "), "{}", ran.out);
    assert!(ran.out.contains("009.log and 240 more\n"), "{}", ran.out);
}

#[tokio::test]
async fn a_dry_run_shows_what_would_be_sent_and_sends_nothing() {
    let blog = Blog::new();
    fs::write(format!("{}/.env", blog.path), "SECRET=1").unwrap();
    let bridge = FakeBridge::answering([]).await;
    let ran = run_with(&bridge, &["deploy", &blog.path, "--dry-run"]).await;
    let expected = format!(
        "{}: 2 files, 19 B\n        18 B  main.ts\n         1 B  node_modules/\nleft out, 1 (.env*): .env\n\
         nothing was sent\n",
        blog.version()
    );
    assert_eq!((ran.out, ran.err.as_str(), ran.exit), (expected, "", 0));
    let ran = run_with(&bridge, &["deploy", &blog.path, "--dry-run", "--json"]).await;
    let expected = json!({
        "dry_run": true, "left_out": [],
        "projects": [{
            "project": "blog", "digest": blog.digest(), "version": blog.version(), "bytes": 19,
            "files": [{"path": "main.ts", "bytes": 18}, {"path": "node_modules/x/index.js", "bytes": 1}],
            "left_out": [{"path": ".env", "reason": "env"}],
        }],
    });
    assert_eq!((ran.json(), ran.exit), (expected, 0));
    assert!(bridge.requests().is_empty());
}

#[tokio::test]
async fn a_dry_run_of_all_names_the_folders_that_are_left_out() {
    let dir = tempfile::tempdir().unwrap();
    for path in ["shop/main.ts", "blog/main.ts", "blog/a.log", "old/main.ts"] {
        fs::create_dir_all(dir.path().join(path).parent().unwrap()).unwrap();
        fs::write(dir.path().join(path), path).unwrap();
    }
    fs::write(dir.path().join(".gitignore"), "/old\n*.log\n").unwrap();
    let args = ["deploy", "--all", dir.path().to_str().unwrap(), "--dry-run"];
    let ran = run_at("", &args, LONG).await;
    assert_eq!(ran.exit, 0, "{}", ran.err);
    assert!(ran.out.contains("left out, 2 (.gitignore): old/, blog/a.log\n"), "{}", ran.out);
    let ran = run_at("", &[&args[..], &["--json"]].concat(), LONG).await;
    let projects: Vec<_> =
        ran.json()["projects"].as_array().unwrap().iter().map(|one| one["project"].clone()).collect();
    assert_eq!(projects, ["blog", "shop"]);
    assert_eq!(ran.json()["left_out"], json!([{"path": "old/", "reason": "gitignore"}]));
}

/// The record of a deploy that has just been accepted.
fn under_way() -> Value {
    json!({
        "deploy": "d1", "action": "deploy", "phase": "receive", "at": "2026-03-01T12:00:00Z", "projects": []
    })
}

fn routers(installs: &[bool]) -> Value {
    let routers =
        installs.iter().map(|installs| json!({"router": "r", "reachable": true, "installs": installs}));
    json!({"routers": routers.collect::<Vec<_>>()})
}

#[tokio::test]
async fn packages_are_left_out_where_all_routers_install_them() {
    let blog = Blog::new();
    fs::write(format!("{}/package.json", blog.path), "{}").unwrap();
    let table = [(&[true, true][..], false), (&[true, false], true), (&[], true)];
    for (installs, sent) in table {
        let live = under_way();
        let bridge =
            FakeBridge::answering([Reply::Json(200, routers(installs)), Reply::Json(202, live)]).await;
        let ran = run_with(&bridge, &["deploy", &blog.path]).await;
        assert_eq!(ran.exit, 0, "{}", ran.err);
        let [requests, deployed] = &bridge.requests()[..] else { panic!("{:?}", bridge.requests()) };
        assert_eq!(requests.path, "/routers");
        assert_eq!(deployed.path, if sent { "/deploy/blog" } else { "/deploy/blog?packages=0" });
        let (_, files) = received(deployed).await;
        assert_eq!(files.contains_key("blog/node_modules/x/index.js"), sent, "{installs:?}");
        let notice = "left out, 1 (the routers install packages): node_modules/";
        assert_eq!(ran.err.contains(notice), !sent, "{}", ran.err);
    }
    let bridge = FakeBridge::answering([Reply::Json(202, under_way())]).await;
    run_with(&bridge, &["deploy", &blog.path, "--send-packages"]).await;
    assert!(received(&bridge.requests()[0]).await.1.contains_key("blog/node_modules/x/index.js"));
}

#[tokio::test]
async fn a_bridge_that_refuses_to_describe_its_routers_is_reported() {
    let blog = Blog::new();
    fs::write(format!("{}/package.json", blog.path), "{}").unwrap();
    let bridge = FakeBridge::answering([Reply::Json(401, problem("unauthorized", "give a token"))]).await;
    let ran = run_with(&bridge, &["deploy", &blog.path]).await;
    assert_eq!((ran.exit, ran.err), (2, format!("give a token{HOW_TO_GIVE_ONE}\n")));
}

#[tokio::test]
async fn nothing_that_others_wrote_reaches_the_terminal_as_a_command() {
    let blog = Blog::new();
    let evil = "\u{1b}]52;c;aGk=\u{7}\u{9b}2J\u{202e}\r";
    let mut failed = problem("build-failed", &format!("blog {evil}"));
    failed["error"] =
        json!({"message": evil, "file": evil, "line": 1, "column": 1, "frame": format!("> 1 |\t{evil}\n")});
    failed["routers"] = json!([{"router": evil, "reports": [], "error": evil}]);
    failed["project"] = evil.into();
    let steps = step("build", None, None) + &step("build", Some(evil), Some(evil));
    let mut live = blog.record();
    live["projects"][0]["version"] = evil.into();
    live["routers"][0] = json!({"router": evil, "reports": [], "error": evil});
    for (status, body) in [(422, &failed), (200, &live)] {
        let done = event("done", &json!({"status": status, "body": body}));
        for json in [&[][..], &["--json"]] {
            let bridge = FakeBridge::answering([Reply::Events(steps.clone() + &done, 64)]).await;
            let ran = run_with(&bridge, &[&["deploy", &blog.path][..], json].concat()).await;
            for printed in [&ran.out, &ran.err] {
                let harmless = |c: char| (!c.is_control() && c != '\u{202e}') || matches!(c, '\n' | '\t');
                assert!(printed.chars().all(harmless), "{printed:?}");
            }
            if json.is_empty() {
                assert!((ran.out + &ran.err).contains(r"␛]52;c;aGk=␇\u{9b}2J\u{202e}␍"));
            } else {
                assert_eq!(&ran.json(), body);
            }
        }
    }
}

#[tokio::test]
async fn a_name_that_no_project_may_have_is_refused_before_anything_is_sent() {
    let blog = Blog::new();
    fs::write(format!("{}/a\nb.ts", blog.path), "").unwrap();
    let bridge = FakeBridge::answering([]).await;
    let ran = run_with(&bridge, &["deploy", &blog.path]).await;
    assert_eq!(ran.exit, 2);
    assert!(ran.err.contains("control character"), "{}", ran.err);
    assert!(bridge.requests().is_empty());
}

#[tokio::test]
async fn files_that_change_while_they_are_sent_are_the_reason_and_the_bridge_gets_no_whole_upload() {
    let blog = Blog::new();
    let projects = vec![(ProjectName::parse("blog").unwrap(), listed(&blog.path))];
    let request = ApiRequest {
        method: Method::POST,
        path: vec!["deploy", "blog"],
        query: Vec::new(),
        upload: Some(Arc::new(pack::Upload { projects, message: None })),
        wait: true,
    };
    fs::write(format!("{}/main.ts", blog.path), "more than it was when it was listed").unwrap();
    let fake = FakeBridge::answering([Reply::Json(200, blog.record())]).await;
    let bridge = Bridge::new(fake.to().parse().unwrap(), None, LONG).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut console = Console {
        out: &mut out,
        err: &mut err,
        terminal: false,
        input: None,
        piped: None,
        look: Look::default(),
    };
    let failure = send(&bridge, &request, false, &mut console).await.unwrap_err();
    assert_eq!(failure.exit, 2);
    assert!(failure.text.unwrap().contains("main.ts changed its size"));
    assert!(fake.requests().iter().all(|requests| requests.body.is_none()));
}
