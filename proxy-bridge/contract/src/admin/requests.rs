//! The last requests of a project, and samples of all of them by minute.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::durations::quantile_ms;

/// `GET /projects/{name}/requests`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Requests {
    /// The newest end first.
    pub requests: Vec<RequestInfo>,
}

/// A request that has ended: the data of the events of `GET /projects/{name}/requests?follow`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RequestInfo {
    /// The time at which the request was routed.
    pub timestamp: Timestamp,
    /// The `x-request-id` that the project and the client have seen.
    pub id: String,
    /// The project's name.
    pub project: String,
    /// The name of the version that answered. `null` if none did.
    pub version: Option<String>,
    /// The method.
    pub method: String,
    /// The path without its query, cut off after 256 bytes.
    pub path: String,
    /// The status. `null` if the client left before the answer began.
    pub status: Option<u16>,
    /// The bytes of the answer's body.
    pub bytes: u64,
    /// The time from the request's head to the end of the answer, in milliseconds.
    pub total_ms: f64,
    /// The time to the head of the answer, in milliseconds. `null` if the client left before.
    pub head_ms: Option<f64>,
    /// The time for which the request waited until the project had room for it, in milliseconds.
    pub queued_ms: f64,
    /// The client's address, as far as proxies are trusted.
    #[schema(value_type = String)]
    pub client: IpAddr,
    /// `true`: the request became a WebSocket, and ended with it. Absent otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub websocket: bool,
    /// `true`: the answer's body did not come to its end. Absent otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut_off: bool,
}

/// `GET /projects/{name}/metrics`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RequestSamples {
    /// The minutes of the last hour that had requests, the oldest first.
    pub minutes: Vec<RequestSample>,
}

/// The requests that ended in one minute. A duration is from a request's head to the end of its
/// answer. WebSockets, and requests whose client left before the answer, have none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RequestSample {
    /// The minute's begin.
    pub minute: Timestamp,
    /// The number of requests.
    pub requests: u64,
    /// The number of answers with a status from 500.
    pub errors: u64,
    /// The sum of the durations, in milliseconds.
    pub sum_ms: f64,
    /// The durations by bucket: at most 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500 ms, 1, 2.5,
    /// 5, 10, 30, 60 s, and more.
    pub durations: Vec<u64>,
    /// The duration that half of the requests do not exceed, in milliseconds, interpolated in its
    /// bucket. `null` without durations.
    pub p50_ms: Option<f64>,
    /// The duration that 95 % of the requests do not exceed.
    pub p95_ms: Option<f64>,
    /// The duration that 99 % of the requests do not exceed.
    pub p99_ms: Option<f64>,
}

impl RequestSample {
    /// The sample of these counts.
    pub fn new(minute: Timestamp, [requests, errors]: [u64; 2], sum_ms: f64, durations: Vec<u64>) -> Self {
        let [p50_ms, p95_ms, p99_ms] = [0.5, 0.95, 0.99].map(|quantile| quantile_ms(&durations, quantile));
        Self { minute, requests, errors, sum_ms, durations, p50_ms, p95_ms, p99_ms }
    }

    /// The sample of all requests of two samples, in the minute of the first.
    #[must_use]
    pub fn merged(self, other: &Self) -> Self {
        let durations = sum(self.durations, &other.durations);
        let counts = [self.requests + other.requests, self.errors + other.errors];
        Self::new(self.minute, counts, self.sum_ms + other.sum_ms, durations)
    }
}

/// `GET /metrics/projects`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProjectLoads {
    /// The projects that had requests in the last minute, or have processes, by name.
    pub projects: Vec<ProjectLoad>,
}

/// The requests of a project that ended in the last minute. What of it belongs to the minute of the
/// clock before this one is an estimate: its share of that minute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProjectLoad {
    /// The project's name.
    pub project: String,
    /// The requests per second.
    pub per_second: f64,
    /// The share of answers with a status from 500, from 0 to 1.
    pub error_share: f64,
    /// The duration that 95 % of the requests do not exceed, in milliseconds, interpolated in its
    /// bucket. `null` without durations.
    pub p95_ms: Option<f64>,
    /// The number of requests.
    pub requests: u64,
    /// The number of answers with a status from 500.
    pub errors: u64,
    /// The durations by bucket: see [`RequestSample::durations`].
    pub durations: Vec<u64>,
    /// The resources that it uses now.
    #[serde(default)]
    pub used: ProjectUse,
}

/// The resources that a project uses now, and its limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProjectUse {
    /// Requests that the project is handling.
    pub in_flight: usize,
    /// Requests that it may handle at once.
    pub max_in_flight: usize,
    /// Its processes: those that serve, that finish requests, and those of runs.
    pub processes: u64,
    /// Bytes of memory that belong to these processes alone.
    pub memory: u64,
    /// Bytes that so many processes may use.
    pub max_memory: u64,
}

impl ProjectLoad {
    /// The load of `project` with these counts of one minute.
    pub fn new(project: String, [requests, errors]: [u64; 2], durations: Vec<u64>) -> Self {
        let per_second = requests as f64 / 60.0;
        let error_share = errors as f64 / requests.max(1) as f64;
        let p95_ms = quantile_ms(&durations, 0.95);
        let used = ProjectUse::default();
        Self { project, per_second, error_share, p95_ms, requests, errors, durations, used }
    }

    /// The load of a project at two routers.
    #[must_use]
    pub fn merged(self, other: &Self) -> Self {
        let counts = [self.requests + other.requests, self.errors + other.errors];
        let used = self.used.merged(other.used);
        Self { used, ..Self::new(self.project, counts, sum(self.durations, &other.durations)) }
    }
}

impl ProjectUse {
    /// The use at two routers.
    fn merged(self, other: Self) -> Self {
        Self {
            in_flight: self.in_flight + other.in_flight,
            max_in_flight: self.max_in_flight + other.max_in_flight,
            processes: self.processes + other.processes,
            memory: self.memory + other.memory,
            max_memory: self.max_memory + other.max_memory,
        }
    }
}

/// Adds counts by bucket.
fn sum(mut counts: Vec<u64>, others: &[u64]) -> Vec<u64> {
    counts.resize(counts.len().max(others.len()), 0);
    for (count, more) in counts.iter_mut().zip(others) {
        *count += more;
    }
    counts
}

/// The statuses of requests that are looked for: one (`404`), or a class (`5xx`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusFilter {
    from: u16,
    to: u16,
}

/// Text that is no [`StatusFilter`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid status {0:?}: expected a status such as 404, or a class such as 5xx")]
pub struct InvalidStatus(pub String);

impl FromStr for StatusFilter {
    type Err = InvalidStatus;

    fn from_str(text: &str) -> Result<Self, InvalidStatus> {
        let invalid = || InvalidStatus(text.to_owned());
        let class = text.strip_suffix("xx").or_else(|| text.strip_suffix("XX"));
        let number: u16 = class.unwrap_or(text).parse().map_err(|_| invalid())?;
        let (from, to) = if class.is_some() {
            (number.saturating_mul(100), number.saturating_mul(100) + 99)
        } else {
            (number, number)
        };
        if (100..=599).contains(&from) { Ok(Self { from, to }) } else { Err(invalid()) }
    }
}

impl fmt::Display for StatusFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.from == self.to { self.from.fmt(f) } else { write!(f, "{}xx", self.from / 100) }
    }
}

impl StatusFilter {
    /// Returns true for a status that is looked for.
    pub fn takes(self, status: Option<u16>) -> bool {
        status.is_some_and(|status| (self.from..=self.to).contains(&status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_looked_for_by_number_or_by_class() {
        let filter = |text: &str| text.parse::<StatusFilter>().unwrap();
        assert!(
            filter("5xx").takes(Some(503)) && !filter("5xx").takes(Some(404)) && !filter("5xx").takes(None)
        );
        assert!(filter("404").takes(Some(404)) && !filter("404").takes(Some(405)));
        assert_eq!((filter("4XX").to_string(), filter("404").to_string()), ("4xx".into(), "404".into()));
        for wrong in ["", "xx", "6xx", "0xx", "99", "700xx", "5x", "-1"] {
            assert_eq!(wrong.parse::<StatusFilter>(), Err(InvalidStatus(wrong.to_owned())));
        }
    }

    #[test]
    fn samples_of_routers_add_up() {
        let sample = |counts, buckets: [u64; 3]| {
            RequestSample::new(Timestamp::UNIX_EPOCH, counts, 1.5, buckets.to_vec())
        };
        let merged = sample([3, 1], [1, 1, 1]).merged(&sample([1, 0], [1, 0, 0]));
        assert_eq!(
            merged,
            sample([4, 1], [2, 1, 1]).merged(&RequestSample { sum_ms: 1.5, ..sample([0, 0], [0; 3]) })
        );
    }
}
