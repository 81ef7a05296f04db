//! One hot project with one process and with two, and the most that a router does by itself.

use std::time::Duration;

use anyhow::Result;
use switchyard_integration::volume::Volume;

use crate::lane::{Lane, router};
use crate::report::{Table, number, pick, text};
use crate::stats::{median, ratios};
use crate::wrk::{Load, Sample};

const ROUNDS: usize = 7;
const TIME: Duration = Duration::from_secs(4);
const WARM_UP: Duration = Duration::from_secs(1);

/// Enough to keep two processes busy; more would take their cores.
const FEW: u32 = 4;
const MANY: u32 = 64;

/// Some milliseconds of work without a pause.
const BUSY: &str = "export default { fetch() {
  let sum = 0;
  for (let n = 0; n < 3_000_000; n++) sum = (sum * 31 + n) | 0;
  return new Response(String(sum));
} };";

pub(crate) async fn run() -> Result<()> {
    let volume = Volume::new();
    for (name, cells) in [("one", 1), ("two", 2)] {
        let config = format!(r#"{{"switchyard": {{"cells": {cells}}}}}"#);
        volume.project(name).file("main.js", BUSY).file("deno.json", config).write();
    }
    let page = "<!doctype html>Hello, World!";
    volume.project("site").file("index.html", page).file("docs/index.html", page).write();
    let lane = Lane::of(router(&volume).start().await, "/");
    cells(&lane).await?;
    ceiling(&lane).await
}

async fn cells(router: &Lane) -> Result<()> {
    let (rounds, load) = (pick(ROUNDS, 2), load(FEW));
    let about = format!(
        "A handler that computes for some milliseconds. wrk with {FEW} connections on the same machine, {rounds} rounds \
         of {:?} in turn; medians, and the median of the ratios round by round.",
        load.time
    );
    let columns = [
        number("cells", "", 0),
        number("requests/s", "", 0),
        number("to one", "", 2),
        number("p99", "ms", 1),
    ];
    let mut table = Table::begin("cells", "A hot project with two processes", about, columns);
    let [one, two] = in_turn(router, ["/one/", "/two/"], load, rounds).await?;
    for (cells, samples) in [(1_usize, &one), (2, &two)] {
        let ratio = median(&ratios(&rates(samples), &rates(&one)));
        table.row([cells.into(), median(&rates(samples)).into(), ratio.into(), p99(samples).into()]);
    }
    table.end()
}

async fn ceiling(router: &Lane) -> Result<()> {
    let (rounds, load) = (pick(ROUNDS, 2), load(MANY));
    let about = format!(
        "Answers of the router itself, without a process behind it: all that it does for a request but the hop to a \
         cell. wrk with {MANY} connections, {rounds} rounds of {:?} in turn; medians.",
        load.time
    );
    let columns =
        [text("answer"), number("requests/s", "", 0), number("p99", "ms", 2), number("CPU", "µs", 1)];
    let mut table = Table::begin("ceiling", "The router's ceiling", about, columns);
    let names = ["a page of a static site", "a redirect of a static site"];
    let all = in_turn(router, ["/site/", "/site/docs"], load, rounds).await?;
    for (name, samples) in names.into_iter().zip(&all) {
        let cpu: Vec<_> = samples.iter().map(|sample| sample.cpu).collect();
        table.row([name.into(), median(&rates(samples)).into(), p99(samples).into(), median(&cpu).into()]);
    }
    table.end()
}

fn load(connections: u32) -> Load {
    Load { connections, time: pick(TIME, Duration::from_secs(2)), script: "" }
}

/// Loads two paths of a router in turn.
async fn in_turn(router: &Lane, paths: [&str; 2], load: Load, rounds: usize) -> Result<[Vec<Sample>; 2]> {
    let mut all = [Vec::new(), Vec::new()];
    for round in 0..=rounds {
        for (path, samples) in paths.iter().zip(&mut all) {
            let time = if round == 0 { WARM_UP } else { load.time };
            let sample = Load { time, ..load }.put_at(router, path).await?;
            if round > 0 {
                samples.push(sample);
            }
        }
    }
    Ok(all)
}

fn rates(samples: &[Sample]) -> Vec<f64> {
    samples.iter().map(|sample| sample.rate).collect()
}

fn p99(samples: &[Sample]) -> f64 {
    median(&samples.iter().map(|sample| sample.p99).collect::<Vec<_>>())
}
