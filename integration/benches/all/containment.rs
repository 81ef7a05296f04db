//! What a project that does nothing notices of one that does all it should not: each fault beside a bystander that is
//! asked all the time, first alone and then with it.

use std::sync::Arc;

use switchyard_integration::faults::{self, Fault, Scene};

use crate::say;
use crate::stats::percentile;

/// Of the bystander, each way: its p99 is the tenth slowest of them.
const REQUESTS: u64 = 1000;

/// After so many deaths in a row the offender is given another version: with some more it would be stopped.
const DEATHS: usize = 4;

/// What is promised: p99 with the fault over p99 alone.
const PROMISED: f64 = 1.5;

pub(crate) async fn run() {
    say("## A bystander of each fault\n");
    say(format!(
        "Two clients asking every 4 ms, {REQUESTS} requests or more each way, with each deed done again and again."
    ));
    say(format!("Promised: none fails, and p99 is at most {PROMISED} times what it is alone.\n"));
    say("| fault | p99 ms alone | with it | ratio | failed | how the offender ended |");
    say("|---|---:|---:|---:|---:|---|");
    let mut beyond = Vec::new();
    for fault in faults::all() {
        let ratio = measure(fault).await;
        if ratio > PROMISED {
            beyond.push(fault.name.replace('_', " "));
        }
    }
    let beyond = if beyond.is_empty() { "none".to_owned() } else { beyond.join(", ") };
    say(format!("\nBeyond what is promised: {beyond}.\n"));
}

/// The ratio of the two p99.
async fn measure(fault: &'static Fault) -> f64 {
    let scene = Arc::new(Scene::of(fault).await);
    let mut bystander = scene.bystander().await;
    bystander.pass(REQUESTS).await;
    bystander.disturb();
    let target = bystander.answered() + REQUESTS;
    let mut ended = String::new();
    for round in 1.. {
        let deed = scene.clone();
        // What ends in another way than it should is a row of the table, and not the end of the bench.
        let commit = tokio::spawn(async move {
            if round % DEATHS == 0 {
                deed.offer(&fault.project(), fault, &round.to_string()).await;
            }
            deed.commit(&fault.project(), fault).await.to_string()
        });
        ended = commit.await.unwrap_or_else(|_| "not as it should: see its test".to_owned());
        if bystander.answered() >= target {
            break;
        }
    }
    let seen = bystander.stop().await;
    let (alone, with) = (percentile(&seen.alone(), 99.0), percentile(&seen.disturbed(), 99.0));
    let (name, failed, ratio) = (fault.name.replace('_', " "), seen.failed(), with / alone);
    say(format!("| {name} | {alone:.2} | {with:.2} | {ratio:.2} | {failed} | {ended} |"));
    ratio
}
