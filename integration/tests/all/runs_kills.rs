//! Bridges and routers that are killed while runs wait, begin, run and end: each accepted run ends
//! once, and none is started twice.

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use switchyard_contract::run::{Run, RunId, RunState};
use switchyard_integration::client::Client;
use switchyard_integration::fixtures::hello;
use switchyard_integration::log::Log;
use switchyard_integration::probe::Probe;
use switchyard_integration::runs::{Routed, TaskProject, held, returns};
use switchyard_integration::volume::Volume;
use switchyard_integration::{eventually, within};

/// Serves its label, and lets runs of [`held`] go on at `/open`.
const MAIN: &str = "export default { fetch(request) {
    if (new URL(request.url).pathname.endsWith('/open')) {
        Deno.writeTextFileSync(`${Deno.env.get('DATA_DIR')}/gate`, '');
    }
    return new Response('victim');
} };
";

fn write(volume: &Volume, runs: u32) {
    volume.write("_policy/policy.toml", format!("[defaults.limits]\nruns = {runs}\n"));
    volume.project("bystander").file("main.ts", hello("bystander")).write();
    let retried = json!({"retry": {"attempts": 2, "backoff": "50ms"}});
    TaskProject::new("victim")
        .file("main.ts", MAIN)
        .task("held", json!({}), held("patient", "gate"))
        .task("retried", retried, held("patient", "gate"))
        .task("quick", json!({}), returns("quick"))
        .write(volume);
}

/// Routers that run that many runs of a project at once, and a bridge.
async fn start(volume: &Volume, routers: usize, runs: u32) -> Routed {
    write(volume, runs);
    let policy = volume.path("_policy/policy.toml");
    let change = |_, router: switchyard_integration::router::Builder| {
        router.flag("policy", policy.display()).flag("max-runs", runs)
    };
    let routed = Routed::start_with(volume, routers, change, |bridge| bridge).await;
    routed.api.knows("victim:held").await;
    routed
}

async fn open(public: &Client) {
    assert_eq!(public.get("/victim/open").await.status, 200);
}

/// The attempts of each run that a router has begun, by its log.
fn begun(log: &Log) -> BTreeMap<String, Vec<u64>> {
    let mut begun: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for record in log.records().iter().filter(|record| record["message"] == "a run begins") {
        let run = record["run"].as_str().expect("it is named").to_owned();
        begun.entry(run).or_default().push(record["attempt"].as_u64().expect("it is numbered"));
    }
    begun
}

fn logged(log: &Log, message: &str) -> usize {
    log.records().iter().filter(|record| record["message"] == message).count()
}

/// Waits for all ends, each within a bound of its own.
async fn all_ended(routed: &Routed, ids: &[RunId]) -> Vec<Run> {
    let mut ended = Vec::new();
    for id in ids {
        ended.push(routed.api.ended(*id).await.run);
    }
    ended
}

/// Waits until a router keeps nothing of any run.
async fn nothing_kept(routed: &Routed, router: usize) {
    let client = &routed.routers[router].admin.client;
    eventually("the router keeps no run any more", || async {
        client.get("/_runs").await.json()["runs"] == json!([])
    })
    .await;
}

#[tokio::test]
async fn killed_with_20_running_and_20_queued_runs_the_bridge_takes_over_and_all_end_once() {
    let volume = Volume::new();
    let mut routed = start(&volume, 1, 20).await;
    let probe = Probe::start(&routed.routers[0].public, "/bystander/").await;
    let own = Probe::start(&routed.routers[0].public, "/victim/").await;
    let mut ids = Vec::new();
    for _ in 0..40 {
        ids.push(routed.api.start("victim:held").begun().await.run.id);
    }
    routed.api.counted("state=running", 20).await;
    assert_eq!(routed.api.runs("state=queued").await.len(), 20);
    routed.kill_bridge().await;
    open(&routed.routers[0].public).await;
    let log = routed.routers[0].log.clone();
    eventually("the runs end while no bridge is there", || async { logged(&log, "a run has ended") == 20 })
        .await;
    routed.start_bridge().await;
    for run in all_ended(&routed, &ids).await {
        assert_eq!((run.state, run.attempt), (RunState::Succeeded, 1), "{run:#?}");
        assert_eq!(run.result, Some(json!("patient")));
        assert_eq!(routed.api.lines(run.id).await, ["held patient"]);
    }
    let begun = begun(&log);
    assert_eq!(begun.len(), 40);
    assert!(begun.values().all(|attempts| attempts == &[1]), "{begun:#?}");
    nothing_kept(&routed, 0).await;
    probe.finish().await.no_failures().versions_monotonic(&["bystander"]);
    own.finish().await.no_failures().versions_monotonic(&["victim"]);
}

#[tokio::test]
async fn runs_of_a_killed_router_are_lost_and_tried_again_by_policy_on_the_other_one() {
    let volume = Volume::new();
    let mut routed = start(&volume, 2, 4).await;
    let mut ids = Vec::new();
    for task in ["victim:held", "victim:retried"].repeat(4) {
        ids.push(routed.api.start(task).running().await.run.id);
    }
    let waiting = routed.api.start("victim:held").begun().await.run.id;
    let dead_url = routed.routers.admin_url(0);
    let before: Vec<_> = {
        let mut runs = Vec::new();
        for id in &ids {
            runs.push(routed.api.run(*id).await.run);
        }
        runs
    };
    let at_dead = |run: &Run| run.router.as_deref().is_some_and(|name| dead_url.contains(name));
    assert_eq!(before.iter().filter(|run| at_dead(run)).count(), 4, "{before:#?}");
    let probe = Probe::start(&routed.routers[1].public, "/bystander/").await;
    let own = Probe::start(&routed.routers[1].public, "/victim/").await;
    routed.routers.kill(0).await;
    open(&routed.routers[1].public).await;

    // A router counts as gone after 15 s of silence.
    routed.api.wait(before.iter().find(|run| at_dead(run)).expect("it has some").id).await;
    for run in &before {
        let id = run.id;
        // The second wait is for the other attempt.
        eventually("it is not at the dead router any more", || async {
            let now = routed.api.run(id).await.run;
            now.state.is_end() || !at_dead(&now)
        })
        .await;
        let ended = routed.api.ended(id).await.run;
        let is_retried = run.task.to_string() == "victim:retried";
        let expected = match (at_dead(run), is_retried) {
            (false, _) => (RunState::Succeeded, 1),
            (true, true) => (RunState::Succeeded, 2),
            (true, false) => (RunState::Lost, 1),
        };
        assert_eq!((ended.state, ended.attempt), expected, "{ended:#?}");
        if ended.state == RunState::Lost {
            assert_eq!(ended.error.expect("it is lost").reason, "lost");
        }
    }
    assert_eq!(routed.api.ended(waiting).await.run.state, RunState::Succeeded);
    let begun = begun(&routed.routers[1].log);
    assert!(begun.values().all(|attempts| attempts.len() == 1), "{begun:#?}");
    // Back with the same state, the router has nothing to tell that could change an end.
    routed.routers.start_again(0).await;
    routed.bridge.asks_all().await;
    nothing_kept(&routed, 0).await;
    assert_eq!(routed.api.runs("state=queued,starting,running").await, []);
    probe.finish().await.no_failures();
    own.finish().await.no_failures();
}

/// The same numbers in each run.
fn numbers(mut seed: u64) -> impl FnMut(u64) -> u64 {
    move |below| {
        // splitmix64
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }
}

/// Asks for a run with a key until the answer is there or the bridge is gone. Returns the run's id.
async fn ask(client: Client, key: String) -> Option<String> {
    let request = switchyard_integration::client::with_header(
        switchyard_integration::client::with_method(http::Method::POST, "/tasks/victim:quick/run"),
        "idempotency-key",
        &key,
    );
    let reply = client.try_connect().await.ok()?.try_send(request).await.ok()?;
    let started: Value = serde_json::from_slice(&reply.body).ok()?;
    Some(started["run"]["id"].as_str()?.to_owned())
}

#[tokio::test]
async fn killed_at_twenty_moments_the_bridge_loses_no_accepted_run_and_starts_none_twice() {
    const MOMENTS: u64 = 21;
    const RUNS: u64 = 6;
    let volume = Volume::new();
    let mut routed = start(&volume, 2, 4).await;
    let probe = Probe::start(&routed.routers[0].public, "/bystander/").await;
    let mut number = numbers(15);
    let mut accepted: BTreeMap<String, String> = BTreeMap::new();
    for moment in 0..MOMENTS {
        let client = &routed.api.client;
        let logs: Vec<_> = routed.routers.iter().map(|router| router.log.clone()).collect();
        let total = |message: &str| logs.iter().map(|log| logged(log, message)).sum::<usize>();
        let asked: Vec<_> = (0..RUNS)
            .map(|index| {
                let key = format!("{moment}-{index}");
                (key.clone(), tokio::spawn(ask(client.clone(), key)))
            })
            .collect();
        // While runs are accepted, begin or end, and a moment later, which differs.
        let awaited = match moment % 3 {
            0 => None,
            1 => Some("a run begins"),
            _ => Some("a run has ended"),
        };
        if let Some(message) = awaited {
            let count = total(message) + 1 + usize::try_from(number(3)).expect("it is small");
            eventually(message, || async { total(message) >= count }).await;
        }
        tokio::time::sleep(Duration::from_micros(number(20_000))).await;
        routed.kill_bridge().await;
        for (key, ask) in asked {
            if let Some(id) = within("an answer, or none", ask).await.expect("it does not panic") {
                accepted.insert(key, id);
            }
        }
        routed.start_bridge().await;
    }
    // Requests without an answer are sent again; those with one get the same.
    for moment in 0..MOMENTS {
        for index in 0..RUNS {
            let key = format!("{moment}-{index}");
            let id = ask(routed.api.client.clone(), key.clone()).await.expect("the bridge answers");
            let known = accepted.entry(key.clone()).or_insert_with(|| id.clone());
            assert_eq!(*known, id, "{key} is one run");
        }
    }
    let ids: Vec<RunId> = accepted.values().map(|id| id.parse().expect("it is an id")).collect();
    for run in all_ended(&routed, &ids).await {
        assert_eq!((run.state, run.attempt), (RunState::Succeeded, 1), "{run:#?}");
        assert_eq!(run.result, Some(json!("quick")));
    }
    let all = routed.api.runs("limit=1000").await;
    assert_eq!(all.len() as u64, MOMENTS * RUNS, "each key is one run");
    let mut begun_at = BTreeMap::<_, u64>::new();
    for router in routed.routers.iter() {
        for (run, attempts) in begun(&router.log) {
            *begun_at.entry(run).or_default() += attempts.len() as u64;
        }
    }
    let twice: Vec<_> = begun_at.iter().filter(|(_, count)| **count != 1).collect();
    assert!(twice.is_empty() && begun_at.len() == all.len(), "{twice:?} of {}", begun_at.len());
    nothing_kept(&routed, 0).await;
    nothing_kept(&routed, 1).await;
    probe.finish().await.no_failures();
}

#[tokio::test]
async fn a_router_that_was_stopped_or_killed_keeps_results_until_the_bridge_has_them() {
    for signal in [Signal::TERM, Signal::KILL] {
        let volume = Volume::new();
        let mut routed = start(&volume, 1, 4).await;
        let mut ids = Vec::new();
        for _ in 0..3 {
            ids.push(routed.api.start("victim:held").running().await.run.id);
        }
        routed.kill_bridge().await;
        open(&routed.routers[0].public).await;
        // They are on the disk before the log has them.
        let log = routed.routers[0].log.clone();
        eventually("the runs end", || async { logged(&log, "a run has ended") == 3 }).await;
        let router = routed.routers.take(0);
        router.signal(signal);
        router.ended().await;
        routed.routers.start_again(0).await;
        let known = routed.routers[0].admin.client.get("/_runs").await.json();
        let ended = known["runs"].as_array().expect("it lists runs");
        assert_eq!(ended.len(), 3, "{known:#}");
        assert!(ended.iter().all(|run| run["ended"] == true), "{known:#}");

        routed.start_bridge().await;
        for run in all_ended(&routed, &ids).await {
            assert_eq!((run.state, run.result), (RunState::Succeeded, Some(json!("patient"))));
            assert_eq!(routed.api.lines(run.id).await, ["held patient"]);
        }
        nothing_kept(&routed, 0).await;
        let folder = routed.routers[0].state.path().join("runs");
        eventually("no file of a run is left", || async {
            std::fs::read_dir(&folder).expect("a folder can be read").next().is_none()
        })
        .await;
        assert_eq!(logged(&routed.routers[0].log, "a run begins"), 0, "nothing ran again");
    }
}

#[tokio::test]
async fn a_router_that_stops_ends_its_runs_which_are_lost_and_tried_again_by_policy() {
    let volume = Volume::new();
    let mut routed = start(&volume, 1, 4).await;
    let once = routed.api.start("victim:held").running().await.run.id;
    let twice = routed.api.start("victim:retried").running().await.run.id;
    let router = routed.routers.take(0);
    router.signal(Signal::TERM);
    router.ended().await;
    routed.routers.start_again(0).await;
    routed.bridge.asks_all().await;
    let ended = routed.api.ended(once).await.run;
    assert_eq!(ended.state, RunState::Lost, "{ended:#?}");
    assert_eq!(ended.error.expect("it is lost").reason, "router");
    open(&routed.routers[0].public).await;
    let ended = routed.api.ended(twice).await.run;
    assert_eq!((ended.state, ended.attempt), (RunState::Succeeded, 2), "{ended:#?}");
    nothing_kept(&routed, 0).await;
}
