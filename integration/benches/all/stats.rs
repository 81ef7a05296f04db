//! Percentiles, and the memory of processes.

use std::fs;

use anyhow::{Context as _, Result};

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

/// The children of a process: a router's cells and spares.
pub(crate) fn children(pid: u32) -> Result<Vec<u32>> {
    let mut children = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).context("read its threads")? {
        let text = fs::read_to_string(task?.path().join("children")).unwrap_or_default();
        children.extend(text.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
    }
    Ok(children)
}
