//! The effect of each fault on a bystander that gets requests all the time, first alone and then
//! beside it.

use std::sync::Arc;

use switchyard_integration::faults::{self, Fault, Scene};

use crate::say;
use crate::stats::percentile;

/// Requests to the bystander in each phase: its p99 is the tenth slowest.
const REQUESTS: u64 = 1000;

/// The number of crashes in a row after which the offender gets another version: more would stop
/// it.
const DEATHS: usize = 3;

/// The promised limit: p99 with the fault over p99 alone.
const PROMISED: f64 = 1.5;

pub(crate) async fn run() {
    say("## A bystander beside each fault\n");
    say(format!(
        "Two clients asking every 4 ms, {REQUESTS} requests or more each way, with each deed done again and again, and \
         first with none: a neighbour that is busy and harmless."
    ));
    say(format!("Goal: none fails, and p99 is at most {PROMISED} times its value alone.\n"));
    say("| fault | p99 ms alone | with it | ratio | to a harmless one | failed | how the offender ended |");
    say("|---|---:|---:|---:|---:|---:|---|");
    let harmless = measure(&faults::HARMLESS).await;
    harmless.tell(&harmless);
    let mut rows = Vec::new();
    for fault in faults::all() {
        let row = measure(fault).await;
        row.tell(&harmless);
        rows.push(row);
    }
    let failed: usize = rows.iter().map(|row| row.failed).sum();
    say(format!("\nFailed in all: {failed}. Beyond {PROMISED}, of {}:", rows.len()));
    say(format!("- of its value alone: {}", beyond(&rows, |row| row.alone)));
    say(format!("- of its value beside a harmless one: {}\n", beyond(&rows, |_| harmless.with)));
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
    fn tell(&self, harmless: &Self) {
        let Self { name, alone, with, failed, ended } = self;
        let (ratio, to_harmless) = (with / alone, with / harmless.with);
        say(format!(
            "| {name} | {alone:.2} | {with:.2} | {ratio:.2} | {to_harmless:.2} | {failed} | {ended} |"
        ));
    }
}

fn beyond(rows: &[Row], usual: impl Fn(&Row) -> f64) -> String {
    let beyond = rows.iter().filter(|row| row.with > PROMISED * usual(row));
    let names: Vec<_> = beyond.map(|row| row.name.as_str()).collect();
    format!("{} ({})", names.len(), names.join(", "))
}

async fn measure(fault: &'static Fault) -> Row {
    let scene = Arc::new(Scene::of(fault).await);
    let mut bystander = scene.bystander().await;
    bystander.pass(REQUESTS).await;
    bystander.disturb();
    let target = bystander.answered() + REQUESTS;
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
