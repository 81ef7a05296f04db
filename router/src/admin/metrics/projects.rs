//! The metrics of each project. Their number grows with the projects that there are, and with
//! nothing else: no label has a path, an address or an id of a request.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::{MetricType, TypedMetric};
use switchyard_contract::admin::{ProjectLimits, ProjectState};
use switchyard_contract::durations::BOUNDS_US;

use super::super::Admin;
use crate::live::ProjectStatus;
use crate::requests::DurationCounts;

/// The values of the label `class`, from 1xx to 5xx.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The metrics of all projects, read at each scrape.
pub(super) struct ProjectMetrics(pub(super) Arc<Admin>);

/// The statuses of all projects.
type Projects = [Arc<ProjectStatus>];

impl fmt::Debug for ProjectMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProjectMetrics")
    }
}

impl Collector for ProjectMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let projects = self.0.board.all();
        encode_states(&mut encoder, &projects)?;
        encode_requests(&mut encoder, &projects)?;
        encode_limits(&mut encoder, &projects)?;
        self.encode_responses(&mut encoder)?;
        self.encode_durations(&mut encoder)?;
        self.encode_processes(&mut encoder, &projects)?;
        self.encode_logs(&mut encoder)
    }
}

impl ProjectMetrics {
    fn encode_responses(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let table = self.0.live.load();
        let help = "Responses by project and status class";
        let mut responses =
            encoder.encode_descriptor("switchyard_requests", help, None, MetricType::Counter)?;
        for entry in table.values() {
            let counts = entry.requests.counts().into_iter().zip(CLASSES);
            for (count, class) in counts.filter(|(count, _)| *count > 0) {
                let labels = [("project", entry.project.as_str()), ("class", class)];
                ConstCounter::new(count).encode(responses.encode_family(&labels)?)?;
            }
        }
        let bad = table.values().map(|entry| (entry.project.as_str(), entry.requests.bad_answers()));
        series(
            encoder,
            "switchyard_bad_answers",
            "Responses of a project's process that were not valid HTTP, too large, or cut off",
            bad.filter(|(_, count)| *count > 0).map(|(project, count)| (project, ConstCounter::new(count))),
        )?;
        series(
            encoder,
            "switchyard_requests_rejected",
            "Requests answered 503 because the project's queue was full, or the wait in it too long",
            table.values().map(|entry| (entry.project.as_str(), ConstCounter::new(entry.slots.rejected()))),
        )
    }

    fn encode_durations(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Time from a request's head to the last byte of its answer, by status class";
        let kind = MetricType::Histogram;
        let mut family =
            encoder.encode_descriptor("switchyard_request_duration_seconds", help, None, kind)?;
        let bounds = || BOUNDS_US.iter().map(|bound| *bound as f64 / 1e6).chain([f64::INFINITY]);
        for entry in self.0.live.load().values() {
            let classes = entry.ended.durations().into_iter().flatten().zip(CLASSES);
            for (DurationCounts { buckets, sum_us }, class) in classes {
                let count: u64 = buckets.iter().sum();
                if count > 0 {
                    let labels = [("project", entry.project.as_str()), ("class", class)];
                    let buckets: Vec<_> = bounds().zip(buckets).collect();
                    family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(
                        sum_us as f64 / 1e6,
                        count,
                        &buckets,
                        None,
                    )?;
                }
            }
        }
        Ok(())
    }

    fn encode_processes(&self, encoder: &mut DescriptorEncoder<'_>, projects: &Projects) -> fmt::Result {
        let usage = self.0.cells.usage();
        let used = |name: &str| usage.get(name).copied().unwrap_or_default();
        series(
            encoder,
            "switchyard_project_processes",
            "Processes that serve, finish requests of an earlier version, or do a run",
            names(projects).map(|name| (name, gauge(used(name).processes))),
        )?;
        series(
            encoder,
            "switchyard_project_memory_bytes",
            "Memory that belongs to the project's processes alone",
            names(projects).map(|name| (name, gauge(used(name).memory))),
        )
    }

    fn encode_logs(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let dropped = self.0.cells.dropped_lines();
        series(
            encoder,
            "switchyard_log_dropped_lines",
            "Lines of a project that were not logged, as it printed more than --project-log",
            dropped.iter().map(|(project, volume)| (project.as_str(), ConstCounter::new(volume.lines))),
        )?;
        series(
            encoder,
            "switchyard_log_dropped_bytes",
            "The bytes of those lines",
            dropped.iter().map(|(project, volume)| (project.as_str(), ConstCounter::new(volume.bytes))),
        )
    }
}

fn encode_states(encoder: &mut DescriptorEncoder<'_>, projects: &Projects) -> fmt::Result {
    let help = "1 for the state that the project is in, 0 for each other one; the states of GET /projects";
    let mut states = encoder.encode_descriptor("switchyard_project_state", help, None, MetricType::Gauge)?;
    for project in projects {
        for state in ProjectState::ALL {
            let labels = [("project", project.status.name.as_str()), ("state", state.as_str())];
            let is_current = i64::from(project.status.state == state);
            ConstGauge::new(is_current).encode(states.encode_family(&labels)?)?;
        }
    }
    let help = "1 for the version that gets the project's requests";
    let mut versions =
        encoder.encode_descriptor("switchyard_project_version_info", help, None, MetricType::Gauge)?;
    for project in projects {
        let Some(live) = &project.status.live else { continue };
        let labels = [("project", project.status.name.as_str()), ("version", live.version.as_str())];
        ConstGauge::new(1_i64).encode(versions.encode_family(&labels)?)?;
    }
    Ok(())
}

fn encode_requests(encoder: &mut DescriptorEncoder<'_>, projects: &Projects) -> fmt::Result {
    series(
        encoder,
        "switchyard_project_requests_in_flight",
        "Requests that the project is handling, in any of its versions",
        projects.iter().map(|project| (project.status.name.as_str(), gauge(project.all_in_flight()))),
    )?;
    series(
        encoder,
        "switchyard_project_requests_queued",
        "Requests that wait until the project handles fewer",
        projects.iter().map(|project| (project.status.name.as_str(), gauge(project.waiting()))),
    )
}

/// The limits that the metrics beside them may reach.
fn encode_limits(encoder: &mut DescriptorEncoder<'_>, projects: &Projects) -> fmt::Result {
    let limits = || projects.iter().filter_map(with_limits);
    series(
        encoder,
        "switchyard_project_requests_limit",
        "Requests that the project may handle at once",
        limits().map(|(name, limits)| (name, gauge(limits.max_in_flight))),
    )?;
    series(
        encoder,
        "switchyard_project_queue_limit",
        "Requests that may wait",
        limits().map(|(name, limits)| (name, gauge(limits.max_queued))),
    )?;
    series(
        encoder,
        "switchyard_project_memory_limit_bytes",
        "Memory that each of the project's processes may use",
        limits().map(|(name, limits)| (name, gauge(limits.memory))),
    )
}

/// The name and limits of a project whose files were read.
fn with_limits(project: &Arc<ProjectStatus>) -> Option<(&str, &ProjectLimits)> {
    Some((&project.status.name, &project.grant.as_ref()?.shown.limits))
}

fn names(projects: &Projects) -> impl Iterator<Item = &str> {
    projects.iter().map(|project| project.status.name.as_str())
}

fn gauge(value: impl TryInto<i64>) -> ConstGauge {
    ConstGauge::new(value.try_into().unwrap_or(i64::MAX))
}

/// Encodes a metric with one value for each project.
fn series<'a, M: EncodeMetric + TypedMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl Iterator<Item = (&'a str, M)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, M::TYPE)?;
    for (project, value) in values {
        value.encode(family.encode_family(&[("project", project)])?)?;
    }
    Ok(())
}
