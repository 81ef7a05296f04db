//! The time from the acceptance of a run to the first line that its task prints.

use std::time::Duration;

use anyhow::Result;
use switchyard_integration::runs::{Served, TaskProject};
use switchyard_integration::volume::Volume;

use crate::report::{Table, number, pick};
use crate::stats::percentile;

const RUNS: usize = 50;

/// Longer than it takes to make a spare.
const BETWEEN: Duration = Duration::from_millis(400);

/// The most milliseconds at the median, by issue 15: with a spare, and without.
const GOALS: [f64; 2] = [15.0, 60.0];

pub(super) async fn run() -> Result<()> {
    let about = format!(
        "{} runs of a task that prints a line, one after the other, from acceptance to the line.",
        runs()
    );
    let columns = [
        number("spares", "", 0),
        number("p50", "ms", 1),
        number("p95", "ms", 1),
        number("goal p50", "ms", 0),
    ];
    let mut table = Table::begin("runs-starts", "Tasks: from acceptance to the first line", about, columns);
    for (spares, goal) in [2, 0].into_iter().zip(GOALS) {
        let times = measure(spares).await;
        let (p50, p95) = (percentile(&times, 50.0), percentile(&times, 95.0));
        table.row([spares.into(), p50.into(), p95.into(), goal.into()]);
    }
    table.end()
}

fn runs() -> usize {
    pick(RUNS, 5)
}

async fn measure(spares: usize) -> Vec<f64> {
    let volume = Volume::new();
    let prints = "export default () => console.log(\"line\");";
    TaskProject::new("a").task("hello", serde_json::json!({}), prints).write(&volume);
    let served = Served::start_with(&volume, |serve| serve.flag("spares", spares)).await;
    served.api.knows("a:hello").await;
    let mut times = Vec::new();
    for _ in 0..runs() {
        tokio::time::sleep(BETWEEN).await;
        let run = served.api.start("a:hello").wait(10).succeeded().await;
        let log = served.api.log(run.id).await;
        let first = log.lines.first().expect("the task prints a line").at;
        times.push(first.duration_since(run.queued_at).as_secs_f64() * 1e3);
    }
    times
}
