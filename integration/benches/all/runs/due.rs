//! The delay of runs behind their due times, with a thousand schedules.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use switchyard_integration::runs::{Served, TaskProject};
use switchyard_integration::volume::Volume;

use crate::say;
use crate::stats::percentile;

const SCHEDULES: usize = 1_000;

/// One of the schedules is due each second.
const WATCHED: Duration = Duration::from_secs(100);

/// The most milliseconds that 99 % of the starts may be late, by issue 15.
const GOAL_P99: f64 = 50.0;

pub(super) async fn run() {
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
    tokio::time::sleep(WATCHED).await;
    let runs = served.api.runs("limit=1000").await;
    let late = runs.iter().filter_map(|run| Some(run.started_at?.duration_since(run.scheduled_at?)));
    let late: Vec<f64> = late.map(|late| late.as_secs_f64() * 1e3).collect();
    let (p50, p99) = (percentile(&late, 50.0), percentile(&late, 99.0));
    say(format!("Starts of {} due times of {SCHEDULES} schedules, one each second:\n", late.len()));
    say("| p50 ms late | p99 ms late | goal p99 |");
    say("|---:|---:|---:|");
    say(format!("| {p50:.1} | {p99:.1} | {GOAL_P99} |\n"));
}
