//! The metrics of the process itself, under the names that Prometheus' client libraries use.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use rustix::process::{Resource, getrlimit};

/// The processor's ticks in a second, as Linux counts them for programs.
const TICKS: f64 = 100.0;

/// Processor time, memory, threads, descriptors and start of this process, read from `/proc` at each
/// scrape. What cannot be read is left out.
#[derive(Debug)]
pub struct ProcessMetrics;

/// The numbers of `/proc/self/stat` after the program's name, which begin with the state.
struct Stat(Vec<String>);

impl Stat {
    fn read() -> Option<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        let (_, after) = stat.rsplit_once(')')?;
        Some(Self(after.split_ascii_whitespace().map(str::to_owned).collect()))
    }

    /// The field with this number in proc(5).
    fn field(&self, number: usize) -> Option<f64> {
        self.0.get(number.checked_sub(3)?)?.parse().ok()
    }
}

impl Collector for ProcessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        let stat = Stat::read();
        let field = |number| stat.as_ref().and_then(|stat| stat.field(number));
        let seconds =
            field(14).zip(field(15)).map(|(user, system)| ConstCounter::new((user + system) / TICKS));
        put(encoder, "process_cpu_seconds", "User and system processor time", seconds)?;
        let began = booted().zip(field(22)).map(|(booted, ticks)| ConstGauge::new(booted + ticks / TICKS));
        put(encoder, "process_start_time_seconds", "Start of the process, since the Unix epoch", began)?;
        put(encoder, "process_threads", "Threads of the process", field(20).map(ConstGauge::new))?;
        let resident = resident().map(ConstGauge::new);
        put(encoder, "process_resident_memory_bytes", "Resident memory of the process", resident)?;
        let open = std::fs::read_dir("/proc/self/fd").ok().map(|open| ConstGauge::new(signed(open.count())));
        put(encoder, "process_open_fds", "Open file descriptors of the process", open)?;
        let most = getrlimit(Resource::Nofile).current.map(|most| ConstGauge::new(signed(most)));
        put(encoder, "process_max_fds", "Limit of open file descriptors", most)
    }
}

/// The time at which the machine was started, in seconds since the Unix epoch.
fn booted() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime ")?.parse().ok())
}

fn resident() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    kilobytes.trim().strip_suffix("kB")?.trim().parse::<i64>().ok()?.checked_mul(1024)
}

fn signed(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

fn put(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metric: Option<impl EncodeMetric>,
) -> fmt::Result {
    let Some(metric) = metric else { return Ok(()) };
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn the_process_is_measured_in_base_units() {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(ProcessMetrics));
        let mut page = String::new();
        text::encode(&mut page, &registry).unwrap();
        let value = |name: &str| -> f64 {
            let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            value.unwrap_or_else(|| panic!("no {name} in {page}")).parse().unwrap()
        };
        assert!(value("process_cpu_seconds_total") >= 0.0);
        assert!(value("process_resident_memory_bytes") > 1e6);
        assert!(value("process_threads") >= 1.0 && value("process_open_fds") >= 3.0);
        assert!(value("process_max_fds") >= value("process_open_fds"));
        let now = jiff::Timestamp::now().as_second() as f64;
        let age = now - value("process_start_time_seconds");
        assert!((-2.0..3600.0).contains(&age), "{age}");
    }
}
