use http::StatusCode;
use serde_json::{Value, json};

use super::*;

fn routers(outcomes: &[Option<&str>]) -> Value {
    let routers = outcomes.iter().enumerate().map(|(n, outcome)| match outcome {
        Some(outcome) => {
            json!({"router": format!("r{n}"), "reports": [{"project": "blog", "outcome": outcome}]})
        }
        None => json!({"router": format!("r{n}"), "reports": [], "error": "no connection"}),
    });
    routers.collect()
}

/// Standard output, standard error and the exit status.
fn printed(print: impl FnOnce(&mut Console<'_>) -> u8) -> (String, String, u8) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let exit = print(&mut Console {
        out: &mut out,
        err: &mut err,
        terminal: false,
        input: None,
        piped: None,
        look: Default::default(),
    });
    (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap(), exit)
}

fn succeeded(outcome: &str, routers: Value) -> (String, String) {
    let record = json!({
        "deploy": "d1", "action": "deploy", "phase": "done", "at": "2026-03-01T12:00:00Z", "outcome": outcome, "routers": routers, "timings_ms": {"total": 311.7}, "behind": ["r1"],
        "projects": [{"project": "blog", "digest": "ab".repeat(32), "version": "blog@3f9a1c2b7d4e"}]
    });
    let record = serde_json::from_value(record).unwrap();
    let (out, err, _) = printed(|console| {
        success(console, &record).unwrap();
        0
    });
    (out, err)
}

fn failed(status: u16, problem: &Value, json: bool) -> (String, String, u8) {
    let answer = Answer { status: StatusCode::from_u16(status).unwrap(), body: problem.to_string() };
    printed(|console| print_answer(console, json, &answer).unwrap())
}

#[test]
fn a_deploy_reports_which_version_is_live_on_which_router() {
    let (out, err) = succeeded("live", routers(&[Some("live"), Some("unchanged")]));
    assert_eq!(out, "blog@3f9a1c2b7d4e is live on 2 routers (312 ms)\n");
    assert_eq!(err, "");
    let (out, _) = succeeded("live", routers(&[Some("live")]));
    assert_eq!(out, "blog@3f9a1c2b7d4e is live on 1 router (312 ms)\n");
}

#[test]
fn routers_that_are_behind_are_named() {
    let (out, err) = succeeded("live", routers(&[Some("live"), None]));
    assert_eq!(out, "blog@3f9a1c2b7d4e is live on 1 of 2 routers (312 ms)\n");
    assert_eq!(err, "  r1: no connection; it gets no requests until it serves the deployed version\n");
}

#[test]
fn a_version_that_does_not_build_is_reported_with_location_and_frame() {
    let problem = json!({
        "type": "urn:switchyard:problem:build-failed", "detail": "blog does not build; nothing was published",
        "project": "blog", "routers": routers(&[Some("failed")]),
        "error": {"message": "Expected ','", "file": "main.ts", "line": 3, "column": 12, "frame": "> 3 | x\n    | ^\n"}
    });
    let (out, err, exit) = failed(422, &problem, false);
    assert_eq!(out, "");
    assert_eq!(
        err,
        "main.ts:3:12: Expected ','\n> 3 | x\n    | ^\nblog does not build; nothing was published\n"
    );
    assert_eq!(exit, 1);
}

#[test]
fn a_refused_upload_names_part_and_field() {
    let problem = json!({"type": "urn:switchyard:problem:bad-upload", "detail": "no links: replace it",
        "part": "project", "field": "filename"});
    let (_, err, exit) = failed(400, &problem, false);
    assert_eq!(err, "no links: replace it (part \"project\") (field \"filename\")\n");
    assert_eq!(exit, 2);
}

#[test]
fn silent_routers_are_named_with_where_the_files_are() {
    let problem = json!({"type": "urn:switchyard:problem:routers-unreachable",
        "detail": "one router did not answer; the files are on the volume", "routers": routers(&[Some("live"), None])});
    let (_, err, exit) = failed(504, &problem, false);
    assert_eq!(err, "one router did not answer; the files are on the volume\n  r1: no connection\n");
    assert_eq!(exit, 3);
}

#[test]
fn scripts_get_the_problem_unchanged() {
    let problem = json!({"type": "urn:switchyard:problem:unauthorized", "detail": "no token"});
    let (out, err, exit) = failed(401, &problem, true);
    assert_eq!((out.as_str(), err.as_str(), exit), (format!("{problem}\n").as_str(), "", 2));
}

#[test]
fn an_answer_that_is_not_a_problem_document_is_reported_by_its_status() {
    let answer = Answer { status: StatusCode::BAD_GATEWAY, body: "<html>".to_owned() };
    for json in [false, true] {
        let (out, err, exit) = printed(|console| print_answer(console, json, &answer).unwrap());
        assert_eq!(out, "");
        assert!(err.contains("502 Bad Gateway"), "{err}");
        assert_eq!(exit, 3);
    }
}
