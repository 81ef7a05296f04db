//! Runs of wrk: as many requests as a server answers, on some connections.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tempfile::NamedTempFile;

use crate::lane::Lane;

/// The figures of one run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// Requests a second.
    pub(crate) rate: f64,
    /// Milliseconds.
    pub(crate) p50: f64,
    /// Milliseconds.
    pub(crate) p99: f64,
    /// Processor time of all processes of the server, in microseconds per request.
    pub(crate) cpu: f64,
}

/// A load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) connections: u32,
    pub(crate) time: Duration,
    /// In Lua; empty: `GET` of the lane's path.
    pub(crate) script: &'static str,
}

impl Load {
    /// Loads a server from the blocking pool, so that tasks of the bench go on.
    pub(crate) async fn put_on(self, lane: &Lane) -> Result<Sample> {
        self.put_at(lane, &lane.path).await
    }

    /// Loads another path of a server.
    pub(crate) async fn put_at(self, lane: &Lane, path: &str) -> Result<Sample> {
        let before = lane.cpu();
        let url = format!("http://{}{path}", lane.address);
        let run = tokio::task::spawn_blocking(move || self.run(&url)).await;
        let (requests, mut sample) = run.context("run wrk")??;
        sample.cpu = (lane.cpu() - before) / requests * 1e6;
        Ok(sample)
    }

    /// The number of requests, and the sample without processor time.
    fn run(self, url: &str) -> Result<(f64, Sample)> {
        let script = NamedTempFile::new().context("make a script for wrk")?;
        let mut command = Command::new("wrk");
        command.args(["-t1", "--latency", &format!("-c{}", self.connections)]);
        command.arg(format!("-d{}s", self.time.as_secs()));
        if !self.script.is_empty() {
            std::fs::write(script.path(), self.script).context("write a script for wrk")?;
            command.arg("-s").arg(script.path());
        }
        let output = command.arg(url).output().context("run wrk (run `tools/deps bench`)")?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "wrk {url}:\n{text}{}", String::from_utf8_lossy(&output.stderr));
        ensure!(!text.contains("Non-2xx"), "{url} answered errors:\n{text}");
        ensure!(!text.contains("Socket errors"), "{url} hung up:\n{text}");
        let after = |word: &str| {
            let line = text.lines().find_map(|line| line.trim().strip_prefix(word));
            line.map(str::trim).with_context(|| format!("find {word} in:\n{text}"))
        };
        let rate = after("Requests/sec:")?.parse().context("parse wrk's rate")?;
        let requests = text.lines().find_map(|line| line.trim().split_once(" requests in "));
        let (requests, _) = requests.with_context(|| format!("find the requests in:\n{text}"))?;
        let requests = requests.parse().context("parse wrk's requests")?;
        let (p50, p99) = (milliseconds(after("50%")?)?, milliseconds(after("99%")?)?);
        Ok((requests, Sample { rate, p50, p99, cpu: f64::NAN }))
    }
}

fn milliseconds(text: &str) -> Result<f64> {
    let units = [("us", 1e-3), ("ms", 1.0), ("s", 1e3)];
    let found = units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)));
    let (number, factor) = found.with_context(|| format!("{text:?} is not a time"))?;
    Ok(number.parse::<f64>().with_context(|| format!("{text:?} is not a time"))? * factor)
}
