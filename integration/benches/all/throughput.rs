//! Requests a second and their p99, through the router, through nginx, and straight to `deno serve`.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use switchyard_integration::fixtures;
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;
use tempfile::tempdir;

use crate::peers;
use crate::say;
use crate::stats::median;

/// The number of rounds. Peers take turns, so that a slower machine affects all alike.
const ROUNDS: usize = 7;
const SECONDS: u32 = 5;
const CONNECTIONS: u32 = 32;

struct Lane {
    name: &'static str,
    url: String,
    rates: Vec<f64>,
    p99: Vec<f64>,
}

pub(crate) async fn run() -> Result<()> {
    let volume = Volume::with("hello", fixtures::hello("Hello, World!"));
    let router = Router::builder(&volume).flag("debounce", 500).start().await;
    let dir = tempdir()?;
    let main = volume.path("hello/main.ts");
    let deno = peers::deno_serve(&main)?;
    let (nginx, _upstream) = peers::nginx_and_deno(&main, dir.path())?;
    let lane = |name, url| Lane { name, url, rates: Vec::new(), p99: Vec::new() };
    let mut lanes = [
        lane("`deno serve` alone", format!("http://{}/", deno.address)),
        lane("nginx in front of `deno serve`", format!("http://{}/", nginx.address)),
        lane("`switchyard router`", format!("http://{}/hello/", router.public.address)),
    ];
    for _ in 0..ROUNDS {
        for lane in &mut lanes {
            let (rate, p99) = wrk(&lane.url)?;
            lane.rates.push(rate);
            lane.p99.push(p99);
        }
    }
    say("## Throughput of a hello world\n");
    say(format!(
        "`wrk -t1 -c{CONNECTIONS} -d{SECONDS}s --latency` on the same machine, {ROUNDS} rounds in turn; \
         medians, and the median of the ratios round by round.\n"
    ));
    say("| | requests/s | to nginx | p99 ms | to nginx |");
    say("|---|---:|---:|---:|---:|");
    let [_, nginx, ..] = &lanes;
    for lane in &lanes {
        say(format!(
            "| {} | {:.0} | {:.2} | {:.2} | {:.2} |",
            lane.name,
            median(&lane.rates),
            median(&ratios(&lane.rates, &nginx.rates)),
            median(&lane.p99),
            median(&ratios(&lane.p99, &nginx.p99)),
        ));
    }
    say("");
    Ok(())
}

fn ratios(ours: &[f64], theirs: &[f64]) -> Vec<f64> {
    ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect()
}

/// Requests a second, and the p99 in milliseconds.
fn wrk(url: &str) -> Result<(f64, f64)> {
    let output = Command::new("wrk")
        .args(["-t1", "--latency", &format!("-c{CONNECTIONS}"), &format!("-d{SECONDS}s"), url])
        .output()
        .context("run wrk")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(!text.contains("Non-2xx"), "{url} answered errors:\n{text}");
    ensure!(!text.contains("Socket errors"), "{url} hung up:\n{text}");
    let after = |word: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(word));
        line.map(str::trim).with_context(|| format!("find {word} in:\n{text}"))
    };
    let rate = after("Requests/sec:")?.parse().context("parse wrk's rate")?;
    Ok((rate, milliseconds(after("99%")?)?))
}

fn milliseconds(text: &str) -> Result<f64> {
    let units = [("us", 1e-3), ("ms", 1.0), ("s", 1e3)];
    let found = units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)));
    let (number, factor) = found.with_context(|| format!("{text:?} is not a time"))?;
    Ok(number.parse::<f64>().with_context(|| format!("{text:?} is not a time"))? * factor)
}
