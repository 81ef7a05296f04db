//! Commands against a bridge that answers as RFC 0009 specifies.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use tempfile::TempDir;

use self::fake::{FakeBridge, ReceivedRequest, Reply};
use super::files::{Files, Packages, Rules};
use super::*;
use crate::commands;
use switchyard_contract::digest::Digest;
use switchyard_program::settings::CommandLine;

mod deploy;
mod fake;
mod others;
mod project;
mod source;
mod task;

const TOKEN: &str = "tok3n-of-ci";

/// The output of a command, and its exit status.
#[derive(Debug)]
struct Ran {
    out: String,
    err: String,
    exit: u8,
}

impl Ran {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap()
    }
}

/// Longer than any test waits.
const LONG: Duration = Duration::from_secs(60);

/// Runs a command line as `main` does.
async fn run_line(
    args: &[&str],
    silence: Duration,
    env: impl Fn(&str) -> Option<OsString>,
    console: &mut Console<'_>,
) -> u8 {
    match commands::parse(args.iter().map(OsString::from), &env) {
        Ok(CommandLine::Run(commands::Command::Client(command))) => {
            run(*command, silence, &env, console).await
        }
        Ok(CommandLine::Run(other)) => panic!("{other:?}"),
        Ok(CommandLine::Print(text)) => {
            console.print(&text).unwrap();
            0
        }
        Err(problems) => {
            problems.iter().for_each(|problem| console.complain(&problem.to_string()).unwrap());
            USAGE
        }
    }
}

async fn run_at(to: &str, args: &[&str], silence: Duration) -> Ran {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let env = BTreeMap::from([("SWITCHYARD_TO", to), ("SWITCHYARD_TOKEN", TOKEN)]);
    let mut console = Console {
        out: &mut out,
        err: &mut err,
        terminal: false,
        input: None,
        piped: None,
        look: Look::default(),
    };
    let env = |name: &str| env.get(name).map(OsString::from);
    let exit = run_line(args, silence, env, &mut console).await;
    let ran = Ran { out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap(), exit };
    assert!(!format!("{ran:?}").contains(TOKEN), "{ran:?}");
    ran
}

async fn run_with(bridge: &FakeBridge, args: &[&str]) -> Ran {
    run_at(&bridge.to(), args, LONG).await
}

/// A project called blog.
struct Blog {
    _dir: TempDir,
    path: String,
}

impl Blog {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap().join("blog");
        fs::create_dir_all(root.join("node_modules/x")).unwrap();
        fs::write(root.join("main.ts"), "export default {}\n").unwrap();
        fs::write(root.join("node_modules/x/index.js"), "1").unwrap();
        Self { path: root.to_str().unwrap().to_owned(), _dir: dir }
    }

    fn digest(&self) -> Digest {
        listed(&self.path).digest
    }

    fn version(&self) -> String {
        format!("blog@{}", self.digest().short())
    }

    /// The answer of a bridge with two routers, for a live deploy.
    fn record(&self) -> Value {
        record("live", Some(self.digest()))
    }
}

fn listed(path: &str) -> Files {
    files::list(path.as_ref(), path.as_ref(), &Rules::default(), Packages::Send).unwrap()
}

fn record(outcome: &str, digest: Option<Digest>) -> Value {
    let version = digest.map(|digest| format!("blog@{}", digest.short()));
    let reports = json!([{"project": "blog", "outcome": outcome, "timings_ms": {}}]);
    json!({
        "deploy": "d1", "action": "deploy", "phase": "done", "outcome": outcome, "status": 200,
        "at": "2026-03-01T12:00:00Z",
        "projects": [{"project": "blog", "digest": digest, "version": version, "previous": null}],
        "routers": [
            {"router": "http://r1:8001", "reports": reports, "error": null},
            {"router": "http://r2:8001", "reports": reports, "error": null},
        ],
        "timings_ms": {"total": 311.6},
    })
}

fn step(phase: &str, router: Option<&str>, outcome: Option<&str>) -> String {
    event("phase", &json!({"deploy": "d1", "phase": phase, "router": router, "outcome": outcome, "ms": 1.5}))
}

/// The events of a deploy that ends so.
fn events(status: u16, body: &Value) -> String {
    [
        ": hello\n\n".to_owned(),
        step("store", None, None),
        step("hold", None, None),
        step("hold", Some("http://r1:8001"), Some("held")),
        step("hold", Some("http://r2:8001"), Some("held")),
        step("build", None, None),
        ":\n\n".to_owned(),
        step("build", Some("http://r2:8001"), Some("built")),
        event("done", &json!({"status": status, "body": body})),
    ]
    .concat()
}

fn event(kind: &str, data: &Value) -> String {
    format!("event: {kind}\ndata: {data}\n\n")
}

fn problem(slug: &str, detail: &str) -> Value {
    json!({"type": format!("urn:switchyard:problem:{slug}"), "detail": detail})
}

/// The parts of an upload by name, and the archive's files by path.
async fn received(requests: &ReceivedRequest) -> (BTreeMap<String, Bytes>, BTreeMap<String, String>) {
    let boundary = multer::parse_boundary(requests.headers["content-type"].to_str().unwrap()).unwrap();
    let body = stream::iter([Ok::<_, io::Error>(requests.body.clone().unwrap())]).boxed();
    let mut multipart = multer::Multipart::new(body, boundary);
    let mut parts = BTreeMap::new();
    while let Some(part) = multipart.next_field().await.unwrap() {
        parts.insert(part.name().unwrap().to_owned(), part.bytes().await.unwrap());
    }
    let mut archive = tar::Archive::new(zstd::Decoder::new(parts["project"].as_ref()).unwrap());
    let mut files = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        files.insert(entry.path().unwrap().to_str().unwrap().to_owned(), text);
    }
    (parts, files)
}

#[tokio::test]
async fn a_wrong_command_line_is_reported_before_any_request() {
    let bridge = FakeBridge::answering([]).await;
    let ran = run_with(&bridge, &["deploy", "--projec", "x"]).await;
    assert_eq!((ran.exit, ran.out.as_str()), (64, ""));
    assert!(ran.err.contains("did you mean --project?"), "{}", ran.err);
    assert!(bridge.requests().is_empty());
}

#[tokio::test]
async fn help_is_a_result() {
    let ran = run_at("http://127.0.0.1:1", &["deploy", "--help"], LONG).await;
    assert_eq!((ran.exit, ran.err.as_str()), (0, ""));
    assert!(ran.out.contains("--message"));
}
