//! The limits that a policy may set: their names, units and ranges.

use std::time::Duration;

use super::allowance::Allowance;
use super::error::InvalidValue;

/// One limit that a policy may set.
pub(super) struct Limit {
    pub(super) name: &'static str,
    pub(super) unit: Unit,
    pub(super) least: Bound,
    pub(super) most: Bound,
    /// The router's flag with the value for all projects.
    pub(super) flag: Option<&'static str>,
    /// Stores the value: bytes, milliseconds, a count, or 1 for `true`.
    pub(super) set: fn(&mut Allowance, u64),
    /// Returns the value in the same form.
    pub(super) get: fn(&Allowance) -> u64,
}

/// The unit of a limit.
#[derive(Clone, Copy)]
pub(super) enum Unit {
    /// Bytes: `"256MB"`, or a number.
    Size,
    /// Milliseconds: `"30s"`
    Time,
    Count,
    /// `true` or `false`.
    Flag,
}

/// The end of a limit's range.
pub(super) struct Bound {
    pub(super) value: u64,
    /// The value as a policy spells it.
    pub(super) text: &'static str,
    /// The reason for this end of the range.
    pub(super) why: &'static str,
}

const fn bound(value: u64, text: &'static str, why: &'static str) -> Bound {
    Bound { value, text, why }
}

/// The most processes of one version: each costs a V8 heap and a thread.
pub(super) const MOST_CELLS: u64 = 16;

const NONE: Bound = bound(0, "0", "");
const A_DAY: Bound = bound(86_400_000, "24h", "a longer time would not limit anything");
const A_HUNDRED_THOUSAND: Bound = bound(100_000, "100000", "each holds memory of the router");

pub(super) const LIMITS: &[Limit] = &[
    Limit {
        name: "memory",
        unit: Unit::Size,
        least: bound(64_000_000, "64MB", "V8 and the runtime take about 50 MB"),
        most: bound(1_000_000_000_000, "1TB", "more would not limit anything"),
        flag: None,
        set: |allowance, value| allowance.limits.memory = value,
        get: |allowance| allowance.limits.memory,
    },
    Limit {
        name: "event_loop",
        unit: Unit::Time,
        least: bound(100, "100ms", "a garbage collection on a busy machine can take that long"),
        most: A_DAY,
        flag: None,
        set: |allowance, value| allowance.limits.event_loop_ms = value,
        get: |allowance| allowance.limits.event_loop_ms,
    },
    Limit {
        name: "workers",
        unit: Unit::Count,
        least: NONE,
        most: bound(1000, "1000", "each has a V8 heap and a thread"),
        flag: None,
        set: |allowance, value| allowance.limits.workers = u32::try_from(value).unwrap_or(u32::MAX),
        get: |allowance| allowance.limits.workers.into(),
    },
    Limit {
        name: "files",
        unit: Unit::Count,
        least: bound(64, "64", "the runtime itself has about thirty files open"),
        most: bound(1 << 20, "1048576", "the kernel allows no more (fs.nr_open)"),
        flag: None,
        set: |allowance, value| allowance.limits.files = value,
        get: |allowance| allowance.limits.files,
    },
    Limit {
        name: "disk",
        unit: Unit::Size,
        least: bound(1_000_000, "1MB", "an empty localStorage database needs part of it"),
        most: bound(1_000_000_000_000_000, "1PB", "more would not limit anything"),
        flag: None,
        set: |allowance, value| allowance.limits.disk = value,
        get: |allowance| allowance.limits.disk,
    },
    Limit {
        name: "disk_files",
        unit: Unit::Count,
        least: bound(100, "100", "databases of localStorage, KV and caches need some files"),
        most: bound(1_000_000_000, "1000000000", "more would not limit anything"),
        flag: None,
        set: |allowance, value| allowance.limits.disk_files = value,
        get: |allowance| allowance.limits.disk_files,
    },
    Limit {
        name: "cells",
        unit: Unit::Count,
        least: bound(1, "1", "a version needs a process"),
        most: bound(MOST_CELLS, "16", "each is a process with a V8 of its own"),
        flag: None,
        set: |allowance, value| allowance.cells = usize::try_from(value).unwrap_or(usize::MAX),
        get: |allowance| allowance.cells as u64,
    },
    Limit {
        name: "request_time",
        unit: Unit::Time,
        least: bound(1, "1ms", "no answer takes less"),
        most: A_DAY,
        flag: Some("--request-timeout"),
        set: |allowance, value| allowance.requests.time = Duration::from_millis(value),
        get: |allowance| millis(allowance.requests.time),
    },
    Limit {
        name: "body",
        unit: Unit::Size,
        least: NONE,
        most: bound(1_000_000_000_000, "1TB", "more would not limit anything"),
        flag: Some("--max-body"),
        set: |allowance, value| allowance.requests.body = value,
        get: |allowance| allowance.requests.body,
    },
    Limit {
        name: "max_in_flight",
        unit: Unit::Count,
        least: bound(1, "1", "with less the project could not serve"),
        most: A_HUNDRED_THOUSAND,
        flag: Some("--max-in-flight"),
        set: |allowance, value| {
            allowance.requests.max_in_flight = usize::try_from(value).unwrap_or(usize::MAX)
        },
        get: |allowance| allowance.requests.max_in_flight as u64,
    },
    Limit {
        name: "max_queued",
        unit: Unit::Count,
        least: NONE,
        most: A_HUNDRED_THOUSAND,
        flag: None,
        set: |allowance, value| allowance.requests.max_queued = usize::try_from(value).unwrap_or(usize::MAX),
        get: |allowance| allowance.requests.max_queued as u64,
    },
    Limit {
        name: "queue_timeout",
        unit: Unit::Time,
        least: NONE,
        most: A_DAY,
        flag: None,
        set: |allowance, value| allowance.requests.queue_timeout = Duration::from_millis(value),
        get: |allowance| millis(allowance.requests.queue_timeout),
    },
    Limit {
        name: "project_files",
        unit: Unit::Count,
        least: bound(10, "10", "a project has some files"),
        most: bound(10_000_000, "10000000", "the router keeps the name of each"),
        flag: Some("--max-project-files"),
        set: |allowance, value| allowance.reads.files = value,
        get: |allowance| allowance.reads.files,
    },
    Limit {
        name: "project_folders",
        unit: Unit::Count,
        least: bound(10, "10", "a project has some folders"),
        most: bound(1_000_000, "1000000", "each watch takes a kilobyte of kernel memory"),
        flag: Some("--max-project-folders"),
        set: |allowance, value| allowance.reads.folders = value,
        get: |allowance| allowance.reads.folders,
    },
    Limit {
        name: "project_size",
        unit: Unit::Size,
        least: bound(1_000_000, "1MB", "a project's files need part of it"),
        most: bound(1_000_000_000_000, "1TB", "each version has a copy"),
        flag: Some("--max-project-size"),
        set: |allowance, value| allowance.reads.bytes = value,
        get: |allowance| allowance.reads.bytes,
    },
    Limit {
        name: "file_size",
        unit: Unit::Size,
        least: bound(1_000_000, "1MB", "a bundled script needs part of it"),
        most: bound(1_000_000_000_000, "1TB", "each version has a copy"),
        flag: Some("--max-file-size"),
        set: |allowance, value| allowance.reads.file_bytes = value,
        get: |allowance| allowance.reads.file_bytes,
    },
    Limit {
        name: "read_time",
        unit: Unit::Time,
        least: bound(1000, "1s", "a busy machine can take that long"),
        most: bound(3_600_000, "1h", "another project may wait for it to end"),
        flag: Some("--read-timeout"),
        set: |allowance, value| allowance.reads.time = Duration::from_millis(value),
        get: |allowance| millis(allowance.reads.time),
    },
    Limit {
        name: "runs",
        unit: Unit::Count,
        least: bound(1, "1", "with less no task could run"),
        most: bound(1000, "1000", "each is a process with a V8 of its own"),
        flag: None,
        set: |allowance, value| allowance.runs.runs = u32::try_from(value).unwrap_or(u32::MAX),
        get: |allowance| allowance.runs.runs.into(),
    },
    Limit {
        name: "run_queue",
        unit: Unit::Count,
        least: NONE,
        most: A_HUNDRED_THOUSAND,
        flag: None,
        set: |allowance, value| allowance.runs.queue = u32::try_from(value).unwrap_or(u32::MAX),
        get: |allowance| allowance.runs.queue.into(),
    },
    Limit {
        name: "run_time",
        unit: Unit::Time,
        least: bound(1000, "1s", "starting a process on a busy machine can take that long"),
        most: bound(2_592_000_000, "720h", "a longer time would not limit anything"),
        flag: None,
        set: |allowance, value| allowance.runs.time_ms = value,
        get: |allowance| allowance.runs.time_ms,
    },
    Limit {
        name: "run_result",
        unit: Unit::Size,
        least: bound(1000, "1KB", "an error message needs part of it"),
        most: bound(16_000_000, "16MB", "the router and the bridge hold it in memory"),
        flag: None,
        set: |allowance, value| allowance.runs.result = value,
        get: |allowance| allowance.runs.result,
    },
    Limit {
        name: "run_log",
        unit: Unit::Size,
        least: bound(10_000, "10KB", "an error with its stack needs part of it"),
        most: bound(64_000_000, "64MB", "the router holds it in memory while the run is under way"),
        flag: None,
        set: |allowance, value| allowance.runs.log = value,
        get: |allowance| allowance.runs.log,
    },
    Limit {
        name: "open_webhooks",
        unit: Unit::Flag,
        least: NONE,
        most: bound(1, "true", ""),
        flag: None,
        set: |allowance, value| allowance.runs.open_webhooks = value == 1,
        get: |allowance| allowance.runs.open_webhooks.into(),
    },
];

/// The milliseconds of a time, as limits are shown.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Limit {
    /// Checks that `value` is in the range. `shown` is the value as the policy spells it.
    ///
    /// # Errors
    /// The value is out of range. The error gives the bound and its reason.
    pub(super) fn check(&self, value: u64, shown: &str) -> Result<(), InvalidValue> {
        let Self { least, most, .. } = self;
        if value < least.value {
            let reason =
                format!("{shown} is too little: at least {} is needed, because {}", least.text, least.why);
            return Err(InvalidValue::new(reason));
        }
        if value > most.value {
            let reason =
                format!("{shown} is too much: at most {} is possible, because {}", most.text, most.why);
            return Err(InvalidValue::new(reason));
        }
        Ok(())
    }
}
