//! The time from the acceptance of a run to the first line that its task prints.

use std::time::Duration;

use switchyard_integration::runs::{Served, TaskProject};
use switchyard_integration::volume::Volume;

use crate::say;
use crate::stats::percentile;

const RUNS: usize = 50;

/// Longer than it takes to make a spare.
const BETWEEN: Duration = Duration::from_millis(400);

/// The most milliseconds at the median, by issue 15: with a spare, and without.
const GOALS: [f64; 2] = [15.0, 60.0];

pub(super) async fn run() {
    say(format!("{RUNS} runs of a task that prints a line, one after the other:\n"));
    say("| spares | p50 ms | p95 ms | goal p50 |");
    say("|---:|---:|---:|---:|");
    for (spares, goal) in [2, 0].into_iter().zip(GOALS) {
        measure(spares, goal).await;
    }
    say("");
}

async fn measure(spares: usize, goal: f64) {
    let volume = Volume::new();
    let prints = "export default () => console.log(\"line\");";
    TaskProject::new("a").task("hello", serde_json::json!({}), prints).write(&volume);
    let served = Served::start_with(&volume, |serve| serve.flag("spares", spares)).await;
    served.api.knows("a:hello").await;
    let mut times = Vec::new();
    for _ in 0..RUNS {
        tokio::time::sleep(BETWEEN).await;
        let run = served.api.start("a:hello").wait(10).succeeded().await;
        let log = served.api.log(run.id).await;
        let first = log.lines.first().expect("the task prints a line").at;
        times.push(first.duration_since(run.queued_at).as_secs_f64() * 1e3);
    }
    let (p50, p95) = (percentile(&times, 50.0), percentile(&times, 95.0));
    say(format!("| {spares} | {p50:.1} | {p95:.1} | {goal} |"));
}
