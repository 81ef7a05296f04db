//! Percentiles, and the memory and CPU time of processes.

use std::fs;

use anyhow::{Context as _, Result};
use switchyard_integration::router::Router;

/// The value below which `percent` of the values are (nearest rank).
///
/// # Panics
/// Without values.
pub(crate) fn percentile(values: &[f64], percent: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

pub(crate) fn median(values: &[f64]) -> f64 {
    percentile(values, 50.0)
}

/// The proportional memory (PSS) of a process, in MB of 10^6 bytes: private memory, plus its share
/// of shared memory.
pub(crate) fn pss(pid: u32) -> Result<f64> {
    rollup(pid, "Pss:")
}

/// The memory that is a process's own and no file's, in MB of 10^6 bytes.
pub(crate) fn own(pid: u32) -> Result<f64> {
    rollup(pid, "Pss_Anon:")
}

fn rollup(pid: u32, field: &str) -> Result<f64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).context("read its memory")?;
    let line = rollup.lines().find_map(|line| line.strip_prefix(field));
    let line = line.with_context(|| format!("find {field} in its memory"))?;
    let kilobytes: f64 = line.trim().trim_end_matches("kB").trim().parse().context("parse its memory")?;
    Ok(kilobytes * 1024.0 / 1e6)
}

/// The process id of a router.
pub(crate) fn router_pid(router: &Router) -> Result<u32> {
    u32::try_from(router.pid().as_raw_nonzero().get()).context("a process id is positive")
}

/// The children of a process: a router's cells and spares.
pub(crate) fn children(pid: u32) -> Result<Vec<u32>> {
    let mut children = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).context("read its threads")? {
        let text = fs::read_to_string(task?.path().join("children")).unwrap_or_default();
        children.extend(text.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
    }
    Ok(children)
}

/// A process with all that it started, directly or not.
pub(crate) fn tree(pid: u32) -> Vec<u32> {
    let below = children(pid).unwrap_or_default().into_iter().flat_map(tree);
    std::iter::once(pid).chain(below).collect()
}

/// The proportional memory (PSS) of processes, in bytes. One that has ended has none.
pub(crate) fn memory(pids: &[u32]) -> f64 {
    pids.iter().filter_map(|pid| pss(*pid).ok()).sum::<f64>() * 1e6
}

/// The values over others of the same round.
pub(crate) fn ratios(ours: &[f64], theirs: &[f64]) -> Vec<f64> {
    ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect()
}

/// The CPU time of a process so far, in seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CpuTime {
    pub(crate) own: f64,
    /// That of its children which have ended and were waited for, with theirs.
    pub(crate) children: f64,
}

/// The units in a second of the times in `/proc` (USER_HZ): the same on x86 and ARM.
const TICKS: f64 = 100.0;

pub(crate) fn cpu_time(pid: u32) -> Result<CpuTime> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("read its times")?;
    // The name, in parentheses, may have spaces; the state behind it is the third field.
    let (_, fields) = stat.rsplit_once(')').context("find the end of its name")?;
    let times = fields.split_ascii_whitespace().skip(11).take(4).map(str::parse::<f64>);
    let times: Vec<f64> = times.collect::<Result<_, _>>().context("parse its times")?;
    let &[user, system, children_user, children_system] = times.as_slice() else {
        anyhow::bail!("{stat:?} has too few fields");
    };
    Ok(CpuTime { own: (user + system) / TICKS, children: (children_user + children_system) / TICKS })
}

impl CpuTime {
    /// The time spent after an earlier reading.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self { own: self.own - earlier.own, children: self.children - earlier.children }
    }
}
