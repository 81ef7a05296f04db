//! The cost of runs for a neighbour's requests: one client, while nothing runs and while twenty runs
//! are started each second, in turn.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;
use switchyard_integration::client::request;
use switchyard_integration::fixtures::hello;
use switchyard_integration::runs::{RunsApi, Served, TaskProject, returns};
use switchyard_integration::volume::Volume;

use crate::report::{Table, number, pick, text};
use crate::stats::{median, percentile, ratios};

const ROUNDS: usize = 10;
const PHASE: Duration = Duration::from_secs(4);
const RUN_EVERY: Duration = Duration::from_millis(50);
const PAUSE: Duration = Duration::from_millis(1);

/// The most that the runs may add to the 99th percentile, as a factor, by issue 15.
const GOAL: f64 = 1.5;

pub(super) async fn run() -> Result<()> {
    let volume = Volume::with("neighbour", hello("neighbour"));
    TaskProject::new("a").task("hello", json!({ "overlap": "allow" }), returns("hello")).write(&volume);
    let served = Served::start_with(&volume, |serve| serve.flag("spares", 4)).await;
    served.api.knows("a:hello").await;
    let (mut p50, mut p99, mut failed) = ([vec![], vec![]], [vec![], vec![]], 0);
    let (rounds, phase) = (pick(ROUNDS, 2), pick(PHASE, Duration::from_secs(2)));
    for _ in 0..rounds {
        for busy in [false, true] {
            let running = busy.then(|| start_runs(served.api.clone()));
            let mut times = Vec::new();
            let mut connection = served.serve.public.connect().await;
            let round = Instant::now();
            while round.elapsed() < phase {
                let began = Instant::now();
                match connection.try_send(request("/neighbour/")).await {
                    Ok(reply) if reply.status == 200 => times.push(began.elapsed().as_secs_f64() * 1e3),
                    _ => failed += 1,
                }
                tokio::time::sleep(PAUSE).await;
            }
            if let Some(running) = running {
                running.abort();
            }
            p50[usize::from(busy)].push(percentile(&times, 50.0));
            p99[usize::from(busy)].push(percentile(&times, 99.0));
        }
    }
    let ended = served.api.runs("state=succeeded&limit=1000").await.len();
    let about = format!(
        "One client of a neighbour sending a request every {PAUSE:?}, {rounds} rounds of {phase:?} each way in turn; \
         medians. {ended} runs succeeded, {failed} requests failed. Goal: p99 at most {GOAL} times."
    );
    let columns =
        [text("while"), number("p50", "ms", 2), number("p99", "ms", 2), number("p99 in turn", "times", 2)];
    let mut table = Table::begin("runs-bystander", "Requests while tasks run", about, columns);
    for (index, name) in ["nothing runs", "20 runs are started each second"].into_iter().enumerate() {
        let ratio = median(&ratios(&p99[index], &p99[0]));
        table.row([name.into(), median(&p50[index]).into(), median(&p99[index]).into(), ratio.into()]);
    }
    table.end()
}

fn start_runs(api: RunsApi) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(RUN_EVERY);
        loop {
            ticks.tick().await;
            let api = api.clone();
            // Refused where too many wait: the bench counts those that ended.
            tokio::spawn(async move { api.start("a:hello").send().await });
        }
    })
}
