//! The delay of runs behind their due times, with a thousand schedules.

use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use serde_json::json;
use switchyard_integration::runs::{Served, TaskProject};
use switchyard_integration::volume::Volume;

use crate::report::{Table, number, pick};
use crate::stats::percentile;

const SCHEDULES: usize = 1_000;

/// One of the schedules is due each second.
const WATCHED: Duration = Duration::from_secs(100);

/// The most milliseconds that 99 % of the starts may be late, by issue 15.
const GOAL_P99: f64 = 50.0;

pub(super) async fn run() -> Result<()> {
    let volume = Volume::new();
    let first = Timestamp::now().as_second() / 60 + 1;
    for project in 0..SCHEDULES / 100 {
        let mut tasks = TaskProject::new(&format!("p{project}"));
        for number in 0..100 {
            let second = project * 100 + number;
            // Once an hour, each at another second.
            let minute = (first + i64::try_from(second / 60).unwrap_or_default()) % 60;
            let schedule = format!("{} {minute} * * * *", second % 60);
            tasks =
                tasks.task(&format!("t{number}"), json!({ "cron": schedule }), "export default () => {};");
        }
        tasks.write(&volume);
    }
    let served = Served::start_with(&volume, |serve| serve.flag("spares", 2)).await;
    for project in 0..SCHEDULES / 100 {
        served.api.knows(&format!("p{project}:t0")).await;
    }
    // Until the first minute is over, some of them in a quick run too.
    tokio::time::sleep(pick(WATCHED, Duration::from_secs(70))).await;
    let runs = served.api.runs("limit=1000").await;
    let late = runs.iter().filter_map(|run| Some(run.started_at?.duration_since(run.scheduled_at?)));
    let late: Vec<f64> = late.map(|late| late.as_secs_f64() * 1e3).collect();
    let (p50, p99) = (percentile(&late, 50.0), percentile(&late, 99.0));
    let about = format!("Starts of {} due times of {SCHEDULES} schedules, one each second.", late.len());
    let columns = [number("late p50", "ms", 1), number("late p99", "ms", 1), number("goal p99", "ms", 0)];
    let mut table = Table::begin("runs-due", "Tasks: due times", about, columns);
    table.row([p50.into(), p99.into(), GOAL_P99.into()]);
    table.end()
}
