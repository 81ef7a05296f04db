//! The time from a save to the first run with the new code.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;
use switchyard_integration::runs::{Served, TaskProject, returns};
use switchyard_integration::volume::Volume;

use crate::report::{Table, number, pick};
use crate::stats::percentile;

const SAVES: usize = 30;
const DEBOUNCE_MS: u64 = 50;

/// Longer than a build: the next save begins in quiet, with the spares full again.
const BETWEEN: Duration = Duration::from_millis(500);

/// The most milliseconds that 95 % of the saves may take, by issue 15.
const GOAL_P95: f64 = 100.0;

pub(super) async fn run() -> Result<()> {
    let volume = Volume::new();
    TaskProject::new("a").task("label", json!({ "overlap": "allow" }), returns("v0")).write(&volume);
    let served =
        Served::start_with(&volume, |serve| serve.flag("spares", 4).flag("debounce", DEBOUNCE_MS)).await;
    served.api.knows("a:label").await;
    let mut times = Vec::new();
    let saves = pick(SAVES, 5);
    for save in 1..=saves {
        tokio::time::sleep(BETWEEN).await;
        let label = format!("v{save}");
        let began = Instant::now();
        volume.write("a/label.ts", returns(&label));
        // The time at which the run was asked for that has the new code: what it takes is measured
        // elsewhere.
        loop {
            let asked = began.elapsed();
            let run = served.api.start("a:label").wait(10).succeeded().await;
            if run.result == Some(json!(label)) {
                times.push(asked.as_secs_f64() * 1e3);
                break;
            }
        }
    }
    let (p50, p95) = (percentile(&times, 50.0), percentile(&times, 95.0));
    let about = format!(
        "{saves} saves of a task's module (`--debounce {DEBOUNCE_MS}`), each until a run is asked for that has the \
         new code. Runs are asked for one after the other meanwhile."
    );
    let columns = [number("p50", "ms", 1), number("p95", "ms", 1), number("goal p95", "ms", 0)];
    let mut table = Table::begin("runs-saves", "Tasks: from a save to a run of the new code", about, columns);
    table.row([p50.into(), p95.into(), GOAL_P95.into()]);
    table.end()
}
