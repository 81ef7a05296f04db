//! The limits that a policy may set: their names, and how little and how much they may be.

use std::time::Duration;

use super::allowed::Allowed;

pub(super) struct Limit {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) least: Bound,
    pub(super) most: Bound,
    /// Bytes, milliseconds or a count.
    pub(super) set: fn(&mut Allowed, u64),
}

/// How it is written.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// `"256MB"`, or bytes.
    Size,
    /// `"30s"`
    Time,
    Count,
}

pub(super) struct Bound {
    pub(super) value: u64,
    /// As somebody would write it.
    pub(super) text: &'static str,
    pub(super) why: &'static str,
}

const fn bound(value: u64, text: &'static str, why: &'static str) -> Bound {
    Bound { value, text, why }
}

/// Processes of one version.
pub(super) const MOST_CELLS: u64 = 16;

const NONE: Bound = bound(0, "0", "");
const A_DAY: Bound = bound(86_400_000, "24h", "beyond a day it is no limit");
const A_HUNDRED_THOUSAND: Bound = bound(100_000, "100000", "each holds memory of the router");

pub(super) const LIMITS: &[Limit] = &[
    Limit {
        name: "memory",
        kind: Kind::Size,
        least: bound(64_000_000, "64MB", "V8 and the runtime alone take about 50 MB"),
        most: bound(1_000_000_000_000, "1TB", "beyond that it is no limit"),
        set: |allowed, value| allowed.limits.memory = value,
    },
    Limit {
        name: "event_loop",
        kind: Kind::Time,
        least: bound(100, "100ms", "collecting garbage and a busy machine take that long at times"),
        most: A_DAY,
        set: |allowed, value| allowed.limits.event_loop_ms = value,
    },
    Limit {
        name: "workers",
        kind: Kind::Count,
        least: NONE,
        most: bound(1000, "1000", "each has a V8 heap and a thread"),
        set: |allowed, value| allowed.limits.workers = u32::try_from(value).unwrap_or(u32::MAX),
    },
    Limit {
        name: "files",
        kind: Kind::Count,
        least: bound(64, "64", "the runtime itself has about thirty open"),
        most: bound(1 << 20, "1048576", "the kernel allows no more (fs.nr_open)"),
        set: |allowed, value| allowed.limits.files = value,
    },
    Limit {
        name: "disk",
        kind: Kind::Size,
        least: bound(1_000_000, "1MB", "an empty database of localStorage needs some of it"),
        most: bound(1_000_000_000_000_000, "1PB", "beyond that it is no limit"),
        set: |allowed, value| allowed.limits.disk = value,
    },
    Limit {
        name: "disk_files",
        kind: Kind::Count,
        least: bound(100, "100", "databases of localStorage, KV and caches need some of them"),
        most: bound(1_000_000_000, "1000000000", "beyond that it is no limit"),
        set: |allowed, value| allowed.limits.disk_files = value,
    },
    Limit {
        name: "cells",
        kind: Kind::Count,
        least: bound(1, "1", "without one nothing answers"),
        most: bound(MOST_CELLS, "16", "each is a process with a V8 of its own"),
        set: |allowed, value| allowed.cells = usize::try_from(value).unwrap_or(usize::MAX),
    },
    Limit {
        name: "request_time",
        kind: Kind::Time,
        least: bound(1, "1ms", "no answer takes less"),
        most: A_DAY,
        set: |allowed, value| allowed.requests.time = Duration::from_millis(value),
    },
    Limit {
        name: "body",
        kind: Kind::Size,
        least: NONE,
        most: bound(1_000_000_000_000, "1TB", "beyond that it is no limit"),
        set: |allowed, value| allowed.requests.body = value,
    },
    Limit {
        name: "in_flight",
        kind: Kind::Count,
        least: bound(1, "1", "with less it could not be asked anything"),
        most: A_HUNDRED_THOUSAND,
        set: |allowed, value| allowed.requests.in_flight = usize::try_from(value).unwrap_or(usize::MAX),
    },
    Limit {
        name: "queue",
        kind: Kind::Count,
        least: NONE,
        most: A_HUNDRED_THOUSAND,
        set: |allowed, value| allowed.requests.queue = usize::try_from(value).unwrap_or(usize::MAX),
    },
    Limit {
        name: "patience",
        kind: Kind::Time,
        least: NONE,
        most: A_DAY,
        set: |allowed, value| allowed.requests.patience = Duration::from_millis(value),
    },
    Limit {
        name: "project_files",
        kind: Kind::Count,
        least: bound(10, "10", "a project has some files"),
        most: bound(10_000_000, "10000000", "the router keeps the name of each"),
        set: |allowed, value| allowed.reads.files = value,
    },
    Limit {
        name: "project_folders",
        kind: Kind::Count,
        least: bound(10, "10", "a project has some folders"),
        most: bound(1_000_000, "1000000", "each is watched, which takes a kilobyte of the kernel"),
        set: |allowed, value| allowed.reads.folders = value,
    },
    Limit {
        name: "project_size",
        kind: Kind::Size,
        least: bound(1_000_000, "1MB", "the files of a project need some of it"),
        most: bound(1_000_000_000_000, "1TB", "each version has a copy"),
        set: |allowed, value| allowed.reads.bytes = value,
    },
    Limit {
        name: "file_size",
        kind: Kind::Size,
        least: bound(1_000_000, "1MB", "a bundled script needs some of it"),
        most: bound(1_000_000_000_000, "1TB", "each version has a copy"),
        set: |allowed, value| allowed.reads.file_bytes = value,
    },
    Limit {
        name: "read_time",
        kind: Kind::Time,
        least: bound(1000, "1s", "a busy machine takes that long at times"),
        most: bound(3_600_000, "1h", "another project may wait for it to end"),
        set: |allowed, value| allowed.reads.time = Duration::from_millis(value),
    },
];

impl Limit {
    /// # Errors
    /// It is too little or too much; says why.
    pub(super) fn check(&self, value: u64, shown: &str) -> Result<(), String> {
        let Self { least, most, .. } = self;
        if value < least.value {
            return Err(format!("{shown} is too little: {} at least, for {}", least.text, least.why));
        }
        if value > most.value {
            return Err(format!("{shown} is too much: {} at most, for {}", most.text, most.why));
        }
        Ok(())
    }
}
