//! The effect of each fault on a bystander that gets requests all the time, first alone and then
//! beside it.

use std::sync::Arc;

use anyhow::Result;
use switchyard_integration::faults::{self, Fault, Scene};

use crate::report::{Cell, Table, number, pick, text};
use crate::stats::percentile;

/// Requests to the bystander in each phase: its p99 is the tenth slowest.
const REQUESTS: u64 = 1000;

/// The number of crashes in a row after which the offender gets another version: more would stop
/// it.
const DEATHS: usize = 3;

/// The promised limit: p99 with the fault over p99 alone.
const PROMISED: f64 = 1.5;

pub(crate) async fn run() -> Result<()> {
    let requests = pick(REQUESTS, 100);
    let about = format!(
        "Two clients asking every 4 ms, {requests} requests or more each way, with each action repeated again and again, and \
         first with none: a neighbour that is busy and harmless. Goal: none fails, and p99 is at most {PROMISED} times \
         its value alone."
    );
    let columns = [
        text("fault"),
        number("p99 alone", "ms", 2),
        number("with it", "ms", 2),
        number("ratio", "", 2),
        number("to a harmless one", "", 2),
        number("failed", "", 0),
        text("how the offender ended"),
    ];
    let mut table = Table::begin("containment", "A bystander beside each fault", about, columns);
    let harmless = measure(&faults::HARMLESS, requests).await;
    table.row(harmless.cells(&harmless));
    let mut rows = Vec::new();
    for fault in faults::all() {
        let row = measure(fault, requests).await;
        table.row(row.cells(&harmless));
        rows.push(row);
    }
    let failed: usize = rows.iter().map(|row| row.failed).sum();
    table.note(format!(
        "Failed in all: {failed}. Beyond {PROMISED}, of {}: {} of its value alone; {} of its value beside a harmless one.",
        rows.len(),
        beyond(&rows, |row| row.alone),
        beyond(&rows, |_| harmless.with)
    ));
    table.end()
}

/// The latencies of the bystander of one fault, in milliseconds.
struct Row {
    name: String,
    alone: f64,
    with: f64,
    failed: usize,
    ended: String,
}

impl Row {
    fn cells(&self, harmless: &Self) -> [Cell; 7] {
        let Self { name, alone, with, failed, ended } = self;
        [
            name.as_str().into(),
            (*alone).into(),
            (*with).into(),
            (with / alone).into(),
            (with / harmless.with).into(),
            (*failed).into(),
            ended.as_str().into(),
        ]
    }
}

fn beyond(rows: &[Row], usual: impl Fn(&Row) -> f64) -> String {
    let beyond = rows.iter().filter(|row| row.with > PROMISED * usual(row));
    let names: Vec<_> = beyond.map(|row| row.name.as_str()).collect();
    format!("{} ({})", names.len(), names.join(", "))
}

async fn measure(fault: &'static Fault, requests: u64) -> Row {
    let scene = Arc::new(Scene::of(fault).await);
    let mut bystander = scene.bystander().await;
    bystander.pass(requests).await;
    bystander.disturb();
    let target = bystander.answered() + requests;
    let mut deaths = 0;
    let mut ended = String::new();
    for round in 1.. {
        let deed = scene.clone();
        let renewed = deaths == DEATHS;
        deaths = if renewed { 0 } else { deaths };
        // A fault with an unexpected end is a row of the table and does not end the bench.
        let commit = tokio::spawn(async move {
            if renewed {
                deed.offer(&fault.project(), fault, &round.to_string()).await;
            }
            deed.commit(&fault.project(), fault).await
        });
        match commit.await {
            Ok(outcome) => {
                deaths += usize::from(outcome.has_died());
                ended = outcome.to_string();
            }
            Err(_) => ended = "not as expected: see its test".to_owned(),
        }
        if bystander.answered() >= target {
            break;
        }
    }
    let seen = bystander.stop().await;
    Row {
        name: fault.name.replace('_', " "),
        alone: percentile(&seen.alone(), 99.0),
        with: percentile(&seen.disturbed(), 99.0),
        failed: seen.failed(),
        ended,
    }
}
