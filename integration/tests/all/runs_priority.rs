//! The priority of processes: those of runs give way to those that serve.

use std::collections::BTreeSet;

use serde_json::json;
use switchyard_contract::run::RunId;
use switchyard_integration::eventually;
use switchyard_integration::probe::Probe;
use switchyard_integration::runs::{RunsApi, Served, TaskProject};
use switchyard_integration::usage::nice_values;
use switchyard_integration::volume::Volume;

/// The difference of nice values between processes of runs and those that serve.
const LOWER: i32 = 5;

/// Prints its process's number, and waits for its end.
const PRINTS: &str = "export default async ({ signal }) => {
    console.log(Deno.pid);
    await new Promise((done) => signal.addEventListener('abort', done));
};
";

/// Starts a run, and returns it with its process.
async fn start(api: &RunsApi) -> (RunId, u32) {
    let id = api.start("victim:prints").running().await.run.id;
    api.printed(id, "").await;
    let pid = api.lines(id).await[0].parse().expect("it prints a number");
    (id, pid)
}

#[tokio::test]
async fn all_threads_of_a_run_have_a_lower_priority_than_those_that_serve() {
    let volume = Volume::new();
    TaskProject::new("victim")
        .task("prints", json!({"overlap": "allow"}), PRINTS)
        .file("main.ts", "export default { fetch: () => new Response('victim') };\n")
        .write(&volume);
    let served = Served::start(&volume).await;
    let api = &served.api;
    let own = *nice_values(served.serve.pid()).first().expect("the server runs");
    api.knows("victim:prints").await;
    let probe = Probe::start(&served.serve.public, "/victim/").await;
    // The first one in a while takes a spare that serves.
    let (first, _) = start(api).await;
    let (second, pid) = start(api).await;
    assert_eq!(nice_values(pid), BTreeSet::from([own + LOWER]));
    let admin = &served.serve.admin;
    eventually("there is a spare for runs, too", || async {
        admin.metric("switchyard_spare_cells", "").await == Some(2.0)
    })
    .await;
    let (third, pid) = start(api).await;
    assert_eq!(nice_values(pid), BTreeSet::from([own + LOWER]));

    volume.write("victim/main.ts", "export default { fetch: () => new Response('newer') };\n");
    admin.reload("victim").await;
    assert_eq!(served.serve.public.get("/victim/").await.text(), "newer");
    for pid in admin.project("victim").await.pids {
        assert_eq!(nice_values(pid), BTreeSet::from([own]), "it serves");
    }
    for run in [first, second, third] {
        api.cancel(run).await;
    }
    probe.finish().await.no_failures();
}
