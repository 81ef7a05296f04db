//! Runs that go wrong in every way, that are cancelled, and that are tried again: each ends alone, with
//! its reason.

use serde_json::{Value, json};
use switchyard_contract::run::{RetryRun, RunDetail, RunId, RunState};
use switchyard_integration::client::Client;
use switchyard_integration::eventually;
use switchyard_integration::fixtures::hello;
use switchyard_integration::probe::Probe;
use switchyard_integration::runs::{RunsApi, Served, TaskProject, held, returns};
use switchyard_integration::volume::Volume;

/// Serves its label, and lets runs of [`held`] go on at `/open`.
const MAIN: &str = "export default { fetch(request) {
    if (new URL(request.url).pathname.endsWith('/open')) {
        Deno.writeTextFileSync(`${Deno.env.get('DATA_DIR')}/gate`, '');
    }
    return new Response('victim');
} };
";

/// Small limits, so that each fault meets its own soon. Processor time that others take counts for
/// `event_loop`.
const POLICY: &str = "[defaults.limits]\nmemory = \"200MB\"\nevent_loop = \"3s\"\nrun_log = \"200KB\"\n\
                      run_result = \"10KB\"\n";

/// One kind of end.
struct Fault {
    name: &'static str,
    /// The body of the handler, which has `ctx`.
    body: &'static str,
    settings: &'static str,
    state: RunState,
    reason: &'static str,
    /// A part of the message.
    says: &'static str,
}

const fn fault(name: &'static str, reason: &'static str, says: &'static str, body: &'static str) -> Fault {
    Fault { name, body, settings: "{}", state: RunState::Failed, reason, says }
}

const FAULTS: &[Fault] = &[
    fault("loops", "event-loop", "limits.event_loop", "for (;;);"),
    fault(
        "eats",
        "memory",
        "limits.memory",
        "const all = []; for (;;) { all.push(new Array(1e5).fill(0).map(Math.random)); await later(1); }",
    ),
    fault("aborts", "abort", "its process ended", "process.abort();"),
    fault("forks", "threw", "starts no programs", "await new Deno.Command('/bin/true').output();"),
    fault("exits", "exit", "Deno.exit(3)", "Deno.exit(3);"),
    fault("throws", "threw", "no luck today", "throw new TypeError('no luck today');"),
    fault("drops", "threw", "dropped", "Promise.reject(new Error('dropped')); await later(60_000);"),
    fault("waits", "threw", "never settles", "await new Promise(() => {});"),
    fault("returns_a_cycle", "result", "circular", "const a = {}; a.a = a; return a;"),
    fault("returns_a_bigint", "result", "BigInt", "return { big: 1n };"),
    fault("returns_too_much", "result", "run_result", "return 'x'.repeat(20_000);"),
    Fault {
        // The start of its process counts, which a busy machine takes longer for.
        settings: r#"{"timeout": "3s"}"#,
        state: RunState::TimedOut,
        ..fault("takes_long", "timeout", "3s", "await later(60_000);")
    },
];

fn module(body: &str) -> String {
    format!(
        "import process from 'node:process';
         const later = (ms) => new Promise((done) => setTimeout(done, ms));
         export default async (ctx) => {{ console.log('begins'); {body}\n}};
         void process; void later;\n"
    )
}

fn open(public: &Client) -> impl Future<Output = ()> {
    let public = public.clone();
    async move {
        assert_eq!(public.get("/victim/open").await.status, 200);
    }
}

/// A project whose tasks are the faults, one that prints, and one that waits, beside a bystander.
fn write_faults(volume: &Volume) {
    volume.write("_policy/policy.toml", POLICY);
    volume.project("bystander").file("main.ts", hello("bystander")).write();
    let mut project = TaskProject::new("victim")
        .file("main.ts", MAIN)
        .task("held", json!({}), held("patient", "gate"))
        .task(
            "prints",
            json!({}),
            module(
                "console.log('the first line');
                 const line = 'x'.repeat(32767);
                 for (let i = 0; i < 1 << 15; i++) { console.log(line); if (i % 100 === 0) await later(0); }
                 console.log('the last line');
                 return 'printed';",
            ),
        );
    for fault in FAULTS {
        let settings = serde_json::from_str(fault.settings).expect("it is JSON");
        project = project.task(fault.name, settings, module(fault.body));
    }
    project.write(volume);
}

async fn serve(volume: &Volume) -> Served {
    let policy = volume.path("_policy/policy.toml");
    Served::start_with(volume, |builder| builder.flag("policy", policy.display())).await
}

/// Waits for the end of a run that may take long: each look at it is bounded, and so is their number.
async fn ended_late(api: &RunsApi, id: RunId) -> RunDetail {
    for _ in 0..12 {
        let detail = api.client.get(&format!("/runs/{id}?wait=15")).await.json();
        if detail["ended_at"].is_string() {
            return api.run(id).await;
        }
    }
    panic!("run {id} has not ended within three minutes")
}

#[tokio::test]
async fn each_fault_ends_its_run_alone_with_its_reason() {
    let volume = Volume::new();
    write_faults(&volume);
    let served = serve(&volume).await;
    served.api.knows("victim:held").await;
    let probes = [
        Probe::start(&served.serve.public, "/bystander/").await,
        Probe::start(&served.serve.public, "/victim/").await,
    ];
    let patient = served.api.start("victim:held").running().await.run.id;
    for fault in FAULTS {
        let started = served.api.start(&format!("victim:{}", fault.name)).begun().await;
        let ended = ended_late(&served.api, started.run.id).await.run;
        let error = ended.error.clone().unwrap_or_default();
        assert_eq!((ended.state, &*error.reason), (fault.state, fault.reason), "{}: {ended:#?}", fault.name);
        assert!(error.message.contains(fault.says), "{}: {error:#?}", fault.name);
        assert_eq!(ended.result, None, "{}", fault.name);
        assert!(served.api.lines(ended.id).await.iter().any(|line| line == "begins"), "{}", fault.name);
        for probe in &probes {
            probe.pass(4).await;
        }
    }
    let thrown = served.api.start("victim:throws").ended().await.run.error.expect("it failed");
    let diagnostic = thrown.diagnostic.expect("its place is known");
    assert_eq!(diagnostic.file.as_deref(), Some("throws.ts"), "{diagnostic:#?}");
    assert_eq!(served.api.run(patient).await.run.state, RunState::Running, "another run went on");
    open(&served.serve.public).await;
    assert_eq!(served.api.ended(patient).await.run.result, Some(json!("patient")));
    let [bystander, own] = probes;
    bystander.finish().await.no_failures().versions_monotonic(&["bystander"]);
    own.finish().await.no_failures().versions_monotonic(&["victim"]);
}

#[tokio::test]
async fn a_gigabyte_of_lines_is_kept_by_its_head_and_tail() {
    let volume = Volume::new();
    write_faults(&volume);
    let served = serve(&volume).await;
    served.api.knows("victim:prints").await;
    let probes = [
        Probe::start(&served.serve.public, "/bystander/").await,
        Probe::start(&served.serve.public, "/victim/").await,
    ];
    let started = served.api.start("victim:prints").running().await;
    let ended = ended_late(&served.api, started.run.id).await.run;
    assert_eq!((ended.state, ended.result.clone()), (RunState::Succeeded, Some(json!("printed"))));
    assert_eq!(ended.log_lines, (1 << 15) + 3, "all lines are counted");
    let lines = served.api.lines(ended.id).await;
    assert_eq!(lines[..2], ["begins", "the first line"]);
    assert_eq!(lines.last().map(String::as_str), Some("the last line"));
    let bytes: usize = lines.iter().map(String::len).sum();
    assert!((100_000..400_000).contains(&bytes), "{bytes} bytes of a log of at most 200 KB");
    let [bystander, own] = probes;
    bystander.finish().await.no_failures();
    own.finish().await.no_failures();
}

#[tokio::test]
async fn a_cancelled_handler_can_clean_up_and_one_that_does_not_listen_is_killed() {
    let volume = Volume::new();
    TaskProject::new("victim")
        .file("main.ts", MAIN)
        .task(
            "soft",
            json!({}),
            "export default async ({ signal }) => {
                 console.log('begins');
                 await new Promise((done) => signal.addEventListener('abort', done));
                 console.log(`cleaned up: ${signal.reason.message}`);
                 return 'done anyway';
             };",
        )
        .task(
            "hard",
            json!({}),
            "export default async () => { for (;;) {
                 console.log('deaf');
                 await new Promise((done) => setTimeout(done, 50));
             } };",
        )
        .write(&volume);
    let served = Served::start(&volume).await;
    let (api, admin) = (&served.api, &served.serve.admin);
    api.knows("victim:soft").await;
    let probe = Probe::start(&served.serve.public, "/victim/").await;
    for (task, first) in [("victim:soft", "begins"), ("victim:hard", "deaf")] {
        let id = api.start(task).running().await.run.id;
        api.printed(id, first).await;
        let ended = api.cancel(id).await.run;
        assert_eq!((ended.state, &ended.result), (RunState::Cancelled, &None), "{ended:#?}");
        assert_eq!(ended.error.expect("it was cancelled").reason, "cancelled");
        if task == "victim:soft" {
            assert!(api.lines(id).await.iter().any(|line| line.starts_with("cleaned up: ")));
        }
        api.client.post(&format!("/runs/{id}/cancel")).await.assert_problem(409, "ended");
        eventually("the router has no run any more", || async {
            admin.client.get("/_runs").await.json()["runs"] == json!([])
        })
        .await;
    }
    probe.finish().await.no_failures();
}

#[tokio::test]
async fn a_run_that_waits_for_its_turn_or_its_next_attempt_is_cancelled_at_once() {
    let volume = Volume::new();
    TaskProject::new("victim")
        .task("held", json!({"overlap": "queue"}), held("patient", "gate"))
        .task(
            "fails",
            json!({"retry": {"attempts": 2, "backoff": "1h"}}),
            "export default () => { throw 1; };",
        )
        .write(&volume);
    let served = Served::start(&volume).await;
    let api = &served.api;
    api.knows("victim:held").await;
    let first = api.start("victim:held").running().await.run.id;
    let second = api.start("victim:held").begun().await.run.id;
    let failing = api.start("victim:fails").begun().await.run.id;
    let again = api.run_becomes(failing, "it waits", |detail| detail.run.next_attempt_at.is_some()).await.run;
    assert_eq!((again.state, again.attempt, again.attempts), (RunState::Queued, 2, 2));
    for id in [second, failing] {
        let ended = api.cancel(id).await.run;
        assert_eq!(ended.state, RunState::Cancelled, "{ended:#?}");
    }
    assert_eq!(api.run(first).await.run.state, RunState::Running);
    assert_eq!(api.cancel(first).await.run.state, RunState::Cancelled);
}

/// A task that prints its version and attempt, waits for the gate, and throws.
fn unlucky(label: &str) -> String {
    format!(
        "const gate = `${{Deno.env.get('DATA_DIR')}}/gate`;
         const there = () => Deno.stat(gate).then(() => true, () => false);
         export default async (ctx) => {{
             console.log(`{label} ${{ctx.run.attempt}}`);
             while (!await there()) await new Promise((go) => setTimeout(go, 10));
             throw new Error('{label} fails');
         }};"
    )
}

fn unlucky_project(label: &str) -> TaskProject {
    let settings = json!({"retry": {"attempts": 3, "backoff": "100ms"}});
    TaskProject::new("victim").file("main.ts", MAIN).task("unlucky", settings, unlucky(label))
}

#[tokio::test]
async fn further_attempts_pause_longer_each_and_keep_to_the_version_of_the_first() {
    let volume = Volume::new();
    unlucky_project("old").write(&volume);
    let served = Served::start(&volume).await;
    let (api, admin) = (&served.api, &served.serve.admin);
    let old = api.knows_live("victim:unlucky", admin).await.overview.version;
    let id = api.start("victim:unlucky").running().await.run.id;
    api.printed(id, "old 1").await;
    unlucky_project("new").write(&volume);
    admin.reload("victim").await;
    let new = api.knows_live("victim:unlucky", admin).await.overview.version;
    assert_ne!(old, new);
    open(&served.serve.public).await;

    let ended = api.ended(id).await.run;
    assert_eq!((ended.state, ended.attempt, ended.attempts), (RunState::Failed, 3, 3), "{ended:#?}");
    assert_eq!(ended.error.expect("it failed").message, "Error: old fails");
    assert_eq!(ended.version.expect("it ran").name, old);
    let log = api.log(id).await;
    let printed: Vec<_> = log.lines.iter().filter(|line| line.stream == "stdout").collect();
    let texts: Vec<_> = printed.iter().map(|line| (line.attempt, &*line.line)).collect();
    assert_eq!(texts, [(1, "old 1"), (2, "old 2"), (3, "old 3")]);
    let retried = |record: &Value| record["event"] == "run.retried";
    let pauses: Vec<_> = served.serve.log.records().into_iter().filter(retried).collect();
    let message = |index: usize| pauses[index]["message"].as_str().unwrap_or_default();
    assert_eq!(pauses.len(), 2);
    assert!(message(0).ends_with("100ms") && message(1).ends_with("200ms"), "{pauses:#?}");

    let by_hand = api.retry(id, Some("latest")).await.run;
    assert_eq!(by_hand.version.expect("it ran").name, new);
    assert_eq!(by_hand.parent, Some(id));
    let same = api.retry(id, None).await.run;
    assert_eq!(same.version.expect("it ran").name, old, "by the task's rule it is the same version");
}

#[tokio::test]
async fn a_task_that_the_live_version_has_no_more_is_retried_on_the_code_of_its_run() {
    let volume = Volume::new();
    let project = |tasks: &[&str]| {
        let empty = TaskProject::new("victim").file("main.ts", MAIN).set("tasks", json!({}));
        tasks.iter().fold(empty, |project, name| project.task(name, json!({}), returns(name)))
    };
    project(&["old", "other"]).write(&volume);
    let served = Served::start(&volume).await;
    let (api, admin) = (&served.api, &served.serve.admin);
    api.knows("victim:old").await;
    let first = api.start("victim:old").succeeded().await;
    for rest in [&["other"][..], &[]] {
        project(rest).write(&volume);
        admin.reload("victim").await;
        for gone in ["old", "other"].into_iter().filter(|name| !rest.contains(name)) {
            api.forgets(&format!("victim:{gone}")).await;
        }
        let again = api.retry(first.id, None).await.run;
        assert_eq!((again.state, &again.result), (RunState::Succeeded, &Some(json!("old"))), "{again:#?}");
        assert_eq!(again.version, first.version);
        let latest = RetryRun { version: Some("latest".to_owned()) };
        api.post(first.id, "retry", &latest).await.assert_problem(404, "unknown-task");
    }
}

/// A project whose run imports a module only after its gate is open.
fn late_project(label: &str) -> TaskProject {
    TaskProject::new("victim")
        .file("main.ts", MAIN)
        .file("part.ts", format!("export const label = {label:?};\n"))
        .file("data.txt", format!("data of {label}"))
        .task(
            "late",
            json!({}),
            "const gate = `${Deno.env.get('DATA_DIR')}/gate`;
             const there = () => Deno.stat(gate).then(() => true, () => false);
             export default async () => {
                 console.log('begins');
                 while (!await there()) await new Promise((go) => setTimeout(go, 10));
                 const { label } = await import('./part.ts');
                 const data = await Deno.readTextFile(new URL('./data.txt', import.meta.url));
                 return [label, data];
             };",
        )
}

#[tokio::test]
async fn a_run_imports_late_from_its_own_version_although_newer_ones_have_pruned_the_others() {
    let volume = Volume::new();
    late_project("v0").write(&volume);
    let served = Served::start_with(&volume, |builder| builder.flag("keep", 0)).await;
    let (api, admin) = (&served.api, &served.serve.admin);
    let first = api.knows_live("victim:late", admin).await.overview.version;
    let id = api.start("victim:late").running().await.run.id;
    api.printed(id, "begins").await;
    for number in 1..=4 {
        late_project(&format!("v{number}")).write(&volume);
        admin.reload("victim").await;
        api.knows_live("victim:late", admin).await;
    }
    let has_first = async || {
        let checkouts = serde_json::to_value(admin.checkouts("victim").await).expect("it is plain data");
        checkouts.to_string().contains(first.split('@').next_back().expect("it has digits"))
    };
    assert!(has_first().await, "the checkout of a run under way stays");
    open(&served.serve.public).await;
    let ended = api.ended(id).await.run;
    assert_eq!(ended.result, Some(json!(["v0", "data of v0"])), "{ended:#?}");
    assert_eq!(ended.version.expect("it ran").name, first);
    // Nothing holds it any more: the next version has it pruned.
    late_project("v5").write(&volume);
    admin.reload("victim").await;
    eventually("its checkout is pruned", || async { !has_first().await }).await;
    let again = api.retry(id, Some("same")).await.run;
    assert_eq!(again.error.expect("its version is gone").reason, "version-gone");
}
