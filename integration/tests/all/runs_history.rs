//! The history of runs: what a run leaves, its log while it grows, keys of requests, and the bounds of
//! all that is kept.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use switchyard_contract::run::{RunState, RunTrigger};
use switchyard_integration::bridge::{self, with_token};
use switchyard_integration::client::{json_body, post, request, with_header};
use switchyard_integration::runs::{Routed, RunsApi, Served, TaskProject, held, returns};
use switchyard_integration::volume::Volume;
use switchyard_integration::{eventually, within};

const TOKENS: &str = "[[token]]\nname = \"ci\"\ntoken = \"ci-token-0123456789\"\nprojects = [\"blog\"]\n\
                      actions = [\"run\", \"read\"]\n";
const CI: &str = "ci-token-0123456789";

fn blog() -> TaskProject {
    let params = json!({"params": {"name": {"type": "string"}}});
    TaskProject::new("blog")
        .task("quick", json!({}), returns("quick"))
        .task("other", json!({}), returns("other"))
        .task("held", json!({}), held("patient", "gate"))
        .task(
            "greet",
            params,
            "export default ({ params, input, run }) => ({ hello: params.name, input, attempt: run.attempt });",
        )
        .task(
            "counts",
            json!({}),
            "export default async () => { for (let i = 0; i < 25; i++) console.log(`line ${i}`); };",
        )
        // Random text cannot be compressed much.
        .task(
            "large",
            json!({}),
            "const random = (bytes) => {
                 const parts = [];
                 for (; bytes > 0; bytes -= 49152) {
                     parts.push(btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(36864)))));
                 }
                 return parts;
             };
             export default () => {
                 for (const line of random(900_000)) console.log(line);
                 return random(900_000).join('');
             };",
        )
}

#[tokio::test]
async fn a_run_keeps_who_started_it_its_version_parameters_and_result() {
    let (volume, tokens) = (Volume::new(), tempfile::NamedTempFile::new().expect("a file can be made"));
    fs::write(tokens.path(), TOKENS).expect("a file can be written");
    blog().write(&volume);
    let served =
        Served::start_with(&volume, |builder| builder.flag("token-file", tokens.path().display())).await;
    let client = &served.api.client;
    let start =
        |body: Value| with_token(json_body(post("/tasks/blog:greet/run?wait=15", body.to_string())), CI);
    eventually("the task is known", || async {
        client.send(with_token(request("/tasks/blog:greet"), CI)).await.status == 200
    })
    .await;
    let reply = client.send(start(json!({"params": {"name": "you"}, "input": [1, 2]}))).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let run = reply.json()["run"].clone();
    assert_eq!(run["result"], json!({"hello": "you", "input": [1, 2], "attempt": 1}), "{run:#}");
    assert_eq!(
        (&run["by"], &run["trigger"], &run["state"]),
        (&json!("ci"), &json!("manual"), &json!("succeeded"))
    );
    assert_eq!(run["params"], json!({"name": "you"}));
    let task = client.send(with_token(request("/tasks/blog:greet"), CI)).await.json();
    assert_eq!(run["version"]["name"], task["version"], "{task:#}");
    for earlier in ["queued_at", "started_at"] {
        assert!(run[earlier].as_str() <= run["ended_at"].as_str(), "{run:#}");
    }
    let unknown = start(json!({"params": {"nam": "you"}}));
    client.send(unknown).await.assert_problem(422, "invalid-params");
    // A caller who may not run may not cancel or retry either.
    let id = run["id"].as_str().expect("it has an id");
    client.get(&format!("/runs/{id}")).await.assert_problem(401, "unauthorized");
    let cancel = with_token(post(&format!("/runs/{id}/cancel"), ""), CI);
    client.send(cancel).await.assert_problem(403, "forbidden");
}

#[tokio::test]
async fn the_same_key_is_one_run_also_after_a_kill_of_the_bridge() {
    let volume = Volume::new();
    blog().write(&volume);
    let mut routed = Routed::start(&volume, 1).await;
    routed.api.knows("blog:quick").await;
    let first = routed.api.start("blog:quick").key("order 7").begun().await;
    assert!(first.is_new);
    let id = first.run.id;
    routed.api.ended(id).await;
    let other = routed.api.start("blog:other").key("order 7").begun().await;
    assert!(other.is_new && other.run.id != id, "a key is a task's own");
    routed.restart_bridge().await;
    routed.api.knows("blog:quick").await;
    for _ in 0..2 {
        let again = routed.api.start("blog:quick").key("order 7").begun().await;
        assert!(!again.is_new && again.run.id == id, "{again:#?}");
        assert_eq!((again.run.state, again.run.key), (RunState::Succeeded, None), "the key is not shown");
    }
    let at_once = (0..8).map(|_| {
        let start = routed.api.start("blog:quick").key("order 8");
        async move { start.begun().await }
    });
    let started = futures_util::future::join_all(at_once).await;
    assert_eq!(started.iter().filter(|started| started.is_new).count(), 1);
    assert!(started.iter().all(|one| one.run.id == started[0].run.id));
    assert_eq!(routed.api.runs("task=blog:quick").await.len(), 2);
}

#[tokio::test]
async fn a_log_is_followed_while_it_grows_and_read_in_pages() {
    let volume = Volume::new();
    blog()
        .task(
            "talks",
            json!({}),
            "const gate = `${Deno.env.get('DATA_DIR')}/gate`;
             const there = () => Deno.stat(gate).then(() => true, () => false);
             export default async () => {
                 console.log('one'); console.log('two');
                 while (!await there()) await new Promise((go) => setTimeout(go, 10));
                 console.log('three');
             };",
        )
        .task("opens", json!({}), switchyard_integration::runs::opens("gate"))
        .write(&volume);
    let served = Served::start(&volume).await;
    let api = &served.api;
    api.knows("blog:talks").await;
    let id = api.start("blog:talks").begun().await.run.id;
    let mut connection = api.client.connect().await;
    let mut stream = connection
        .stream(with_header(request(&format!("/runs/{id}/logs")), "accept", "text/event-stream"))
        .await;
    let mut text = String::new();
    while !text.contains("two") {
        text.push_str(&stream.next().await.expect("the run goes on"));
    }
    assert!(!text.contains("three"));
    api.result("blog:opens").await;
    while !text.contains("event: end") && !text.contains("event:end") {
        text.push_str(&stream.next().await.expect("the end is told"));
    }
    let places = ["one", "two", "three", "succeeded"].map(|word| text.find(word));
    assert!(places.is_sorted() && places[0].is_some(), "{text}");

    // A reader that comes back goes on where it was.
    let back = with_header(request(&format!("/runs/{id}/logs?follow=1")), "last-event-id", "2");
    let rest = api.client.send(back).await.text();
    assert!(rest.contains("three") && !rest.contains("\"two\"") && !rest.contains("\"one\""), "{rest}");

    let counted = api.start("blog:counts").ended().await.run;
    assert_eq!((counted.log_lines, counted.trigger), (25, RunTrigger::Manual));
    let (mut from, mut read) = (0, Vec::new());
    loop {
        let page = api.client.get(&format!("/runs/{}/logs?from={from}&lines=10", counted.id)).await.json();
        let lines = page["lines"].as_array().expect("it has lines");
        assert!(lines.len() <= 10);
        read.extend(lines.iter().map(|line| line["line"].as_str().expect("it is text").to_owned()));
        from = page["next"].as_u64().expect("it is a number");
        if page["is_end"] == true {
            break;
        }
    }
    assert_eq!(read, (0..25).map(|number| format!("line {number}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_history_is_read_in_pages_by_task_and_state() {
    let volume = Volume::new();
    blog().task("fails", json!({}), "export default () => { throw new Error('no'); };").write(&volume);
    let served = Served::start(&volume).await;
    let api = &served.api;
    api.knows("blog:quick").await;
    for _ in 0..5 {
        api.result("blog:quick").await;
    }
    let failed = api.start("blog:fails").ended().await.run.id;
    let (mut cursor, mut ids) = (String::new(), Vec::new());
    loop {
        let page = api.page(&format!("task=blog:quick&limit=2{cursor}")).await;
        assert!(page.runs.len() <= 2 && page.runs.iter().all(|run| run.result.is_none()));
        ids.extend(page.runs.iter().map(|run| run.id));
        let Some(next) = page.next else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(ids.len(), 5);
    assert!(ids.is_sorted_by(|newer, older| newer > older), "the newest first");
    let by_state: Vec<_> = api.runs("state=failed,lost").await.iter().map(|run| run.id).collect();
    assert_eq!(by_state, [failed]);
    assert_eq!(api.delete(failed).await.status, 204);
    api.client.get(&format!("/runs/{failed}")).await.assert_problem(404, "unknown-run");
    api.client.get(&format!("/runs/{failed}/logs")).await.assert_problem(404, "unknown-run");
}

/// Ends the bridge and starts another one with other settings on its state.
async fn restart_with(routed: &mut Routed, change: impl FnOnce(bridge::Builder) -> bridge::Builder) {
    routed.bridge.signal(rustix::process::Signal::TERM);
    routed.bridge.has_ended().await;
    let builder = routed.routers.bridge().flag("state", routed.state.path().display());
    routed.bridge = change(builder).start().await;
    routed.bridge.asks_all().await;
    routed.api = RunsApi::new(&routed.bridge.client);
}

/// Bytes of all files in a folder.
fn bytes(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let of = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes(&entry.path()),
        // A file may go meanwhile.
        metadata => metadata.map_or(0, |metadata| metadata.len()),
    };
    entries.filter_map(Result::ok).map(of).sum()
}

/// The logs of runs in a history.
fn logs(folder: &Path) -> usize {
    let Ok(entries) = fs::read_dir(folder.join("runs")) else { return 0 };
    let days = entries.filter_map(Result::ok);
    days.map(|day| fs::read_dir(day.path()).map_or(0, Iterator::count)).sum()
}

#[tokio::test]
async fn only_so_many_runs_of_a_task_are_kept_with_their_logs() {
    let volume = Volume::new();
    blog().write(&volume);
    let mut routed = Routed::start(&volume, 1).await;
    routed.api.knows("blog:counts").await;
    let mut ids = Vec::new();
    for _ in 0..12 {
        ids.push(routed.api.start("blog:counts").ended().await.run.id);
    }
    routed.api.result("blog:quick").await;
    let history = routed.state.path().join("history");
    eventually("all logs are there", || async { logs(&history) >= 12 }).await;
    restart_with(&mut routed, |bridge| bridge.flag("max-runs-kept", 5)).await;
    eventually("the oldest are gone", || async {
        routed.api.runs("task=blog:counts").await.len() == 5 && logs(&history) == 5
    })
    .await;
    let mut kept: Vec<_> = routed.api.runs("task=blog:counts").await.iter().map(|run| run.id).collect();
    kept.reverse();
    assert_eq!(kept, ids[7..]);
    assert_eq!(routed.api.lines(ids[11]).await.len(), 25);
    assert_eq!(routed.api.runs("task=blog:quick").await.len(), 1, "another task has its own number");
}

#[tokio::test]
async fn a_history_beyond_its_size_loses_its_oldest_runs_and_gives_the_space_back() {
    const MOST: u64 = 16 << 20;
    let volume = Volume::new();
    blog().write(&volume);
    let mut routed = Routed::start(&volume, 1).await;
    routed.api.knows("blog:large").await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        let run = routed.api.start("blog:large").succeeded().await;
        assert!(run.result.is_some_and(|result| result.as_str().is_some_and(|text| text.len() > 900_000)));
        ids.push(run.id);
    }
    let history = routed.state.path().join("history");
    let before = bytes(&history);
    assert!(before > MOST + (4 << 20), "{before} bytes are not much");
    restart_with(&mut routed, |bridge| bridge.flag("history-size", MOST)).await;
    // Beside it there is the log of the database, which has a bound of its own.
    eventually("the files shrink", || async {
        bytes(&history.join("runs")) + file(&history.join("ledger.db")) <= MOST + (1 << 20)
    })
    .await;
    let kept = routed.api.runs("task=blog:large").await;
    assert!((1..20).contains(&kept.len()), "{} runs are kept", kept.len());
    assert_eq!(kept[0].id, ids[19], "the oldest went");
    assert!(routed.api.run(ids[19]).await.run.result.is_some());
    routed.api.client.get(&format!("/runs/{}", ids[0])).await.assert_problem(404, "unknown-run");
}

fn file(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

#[tokio::test]
async fn a_damaged_history_is_moved_aside_and_the_bridge_starts_with_a_new_one() {
    let volume = Volume::new();
    blog().write(&volume);
    let mut routed = Routed::start(&volume, 1).await;
    routed.api.knows("blog:quick").await;
    let old = routed.api.start("blog:quick").ended().await.run.id;
    routed.bridge.signal(rustix::process::Signal::TERM);
    routed.bridge.has_ended().await;
    let history = routed.state.path().join("history");
    let length = file(&history.join("ledger.db")) as usize;
    assert!(length > 0);
    let noise: Vec<u8> = (0..length).map(|place| (place * 31 % 251) as u8).collect();
    fs::write(history.join("ledger.db"), &noise).expect("a file can be written");
    routed.start_bridge().await;
    let told = routed.bridge.log.wait_for(|record| {
        record["message"].as_str().is_some_and(|message| message.contains("history: it was damaged"))
    });
    assert!(within("the log says so", told).await.is_some());
    let aside: Vec<_> = fs::read_dir(&history)
        .expect("a folder can be read")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("damaged-")))
        .collect();
    assert_eq!(aside.len(), 1);
    assert_eq!(fs::read(aside[0].join("ledger.db")).expect("it is kept"), noise);
    routed.api.client.get(&format!("/runs/{old}")).await.assert_problem(404, "unknown-run");
    routed.api.knows("blog:quick").await;
    assert_eq!(routed.api.result("blog:quick").await, json!("quick"));
    assert_eq!(routed.api.runs("").await.len(), 1);
}
